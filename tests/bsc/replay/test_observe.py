from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.compiler import CompileOptions, compile_model, default_pipeline
from bsc.ir.passbase import Observation
from bsc.numeric.damage import FACTORS
from bsc.numeric.quantizer import input_cycles
from bsc.numeric.sharing import Granularity, sharing_groups
from bsc.plan.document import LayerArrays, PlanLayer
from bsc.replay import observe as module
from bsc.replay.columns import read_numpy
from bsc.replay.dataset import Dataset
from bsc.replay.engine import Replayer
from bsc.replay.observe import LayerObservation, observe
from bsc.testing import mlp_model, save
from tests.bsc.plans import CNN, ISAAC, coded, only_layer, plan_of
from tests.passes.layers import sparse_codes


def wanted(
    granularity: Granularity = "column", *, vectors: int = 1000, damage: bool = True, seed: int = 0
) -> Observation:
    return Observation(
        granularity=granularity, vectors=vectors, seed=seed, damage=damage, mean=damage, sensitivity=False
    )


def dataset(inputs: NDArray[Any], batch: int = 5) -> Dataset:
    return Dataset(inputs={"x": inputs.astype(np.float32)}, labels=None, batch=batch, sha256="", free_batch=True)


def column_sums(layer: PlanLayer, arrays: LayerArrays, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every column sum in plain integers: (cycles, V, R, S, P, N)."""
    levels = layer.cells.levels()[layer.cells.stored(arrays.codes, arrays.centres, layer.tile_rows)].astype(np.int64)
    cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
    starts = range(0, layer.mapped_rows, layer.active_rows)
    return np.stack(
        [
            np.stack(
                [
                    np.einsum(
                        "vk,knsp->vspn",
                        (inputs[:, first : first + layer.active_rows] >> shift) & ((1 << width) - 1),
                        levels[first : first + layer.active_rows],
                    )
                    for first in starts
                ],
                axis=1,
            )
            for shift, width, _ in cycles
        ]
    )


def check(layer: PlanLayer, arrays: LayerArrays, inputs: NDArray[np.int64], seen: LayerObservation) -> None:
    """An observation against sums computed another way."""
    sums = column_sums(layer, arrays, inputs)
    cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
    assert seen.vectors == len(inputs)
    assert seen.conversions == len(inputs) * len(cycles)
    np.testing.assert_array_equal(seen.highest, sums.max(axis=(0, 1)))
    assert (arrays.gcds % seen.unit == 0).all()
    assert seen.damage is not None
    assert seen.step is not None
    assert seen.mean is not None
    for bits in range(seen.beyond.shape[-1]):
        top = (1 << bits) - 1
        np.testing.assert_array_equal(seen.beyond[..., bits], (sums > top * seen.unit).sum(axis=(0, 1)))
        error = np.minimum(np.rint(sums / seen.step[..., bits]), top) * seen.step[..., bits] - sums
        shifts = np.array([sign * 2.0**shift for shift, _, sign in cycles]).reshape(-1, 1, 1, 1, 1)
        mean = (shifts * error.mean(axis=1)).sum(axis=0)
        damage = (shifts**2 * error.var(axis=1)).sum(axis=0) + mean**2
        used = (arrays.sums > 0) & (sums.max(axis=(0, 1)) > 0)
        np.testing.assert_allclose(np.where(used, mean, 0), seen.mean[..., bits], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(np.where(used, damage, 0), seen.damage[..., bits], rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    sparse_codes(),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from(["column", "tile", "slice"]),
    st.sampled_from(["differential", "offset", "centre"]),
    st.integers(0, 2**32 - 1),
)
def test_against_plain_sums(  # noqa: PLR0917
    codes: NDArray[np.int16], dac_bits: int, signed: bool, granularity: Any, encoding: Any, seed: int
) -> None:
    layer = coded(codes, input_bits=4, input_signed=signed)
    plan = plan_of(layer, dac_bits=dac_bits, rows=16, cols=5, active_rows=8, encoding=encoding)
    low, high = (-8, 8) if signed else (0, 16)
    inputs = np.random.default_rng(seed).integers(low, high, (12, len(codes)))
    seen = observe(plan, dataset(inputs), wanted(granularity))["fc"]
    check(*only_layer(plan), inputs, seen)
    groups = sharing_groups(granularity, seen.unit.shape, plan.layers[0].column_tiles()[1], 2)
    assert seen.step is not None
    if groups is not None:
        read = only_layer(plan)[1].sums > 0
        for group in np.unique(groups):
            steps = seen.step[(groups == group) & read]
            assert (steps == steps[:1]).all()


def test_the_step_is_the_best_of_those_tried() -> None:
    """One column of two cells: sums 0, 3, 6; one bit is best at a step of 3 or 6, whichever is seen."""
    plan = plan_of(coded([[3], [3]], input_bits=2))
    for inputs, step in (([[1, 1], [0, 0]], 6), ([[1, 0], [0, 1]], 3)):
        seen = observe(plan, dataset(np.array(inputs)), wanted())["fc"]
        assert seen.step is not None
        assert seen.damage is not None
        assert seen.unit[0, 0, 0, 0] == 3
        assert (seen.step[0, 0, 0, 0, 1], seen.damage[0, 0, 0, 0, 1]) == (step, 0)


def test_lots_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(-255, 256, (20, 7))
    plan = plan_of(coded(codes), rows=8)
    inputs = np.random.default_rng(1).integers(0, 256, (9, 20))
    whole = observe(plan, dataset(inputs), wanted())["fc"]
    monkeypatch.setattr(module, "LOT_VALUES", 1)
    monkeypatch.setattr(module, "best_reader", lambda: read_numpy)
    single = observe(plan, dataset(inputs), wanted())["fc"]
    for name in ("unit", "highest", "beyond", "step", "damage", "mean"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(single, name))


def test_a_part_of_the_vectors_is_seeded_and_even() -> None:
    plan = plan_of(coded(np.full((4, 3), 9)))
    inputs = np.random.default_rng(0).integers(0, 256, (40, 4))
    data = dataset(inputs)
    few = observe(plan, data, wanted(vectors=10))["fc"]
    assert few.vectors == 16  # a quarter of every batch of five, rounded up
    assert (observe(plan, data, wanted(vectors=10))["fc"].beyond == few.beyond).all()
    assert (observe(plan, data, wanted(vectors=10, seed=1))["fc"].beyond != few.beyond).any()
    assert observe(plan, data, wanted(vectors=10**6))["fc"].vectors == 40


def test_only_sums_if_nothing_else_is_wanted() -> None:
    seen = observe(plan_of(coded([[1]])), dataset(np.ones((2, 1))), wanted(damage=False))["fc"]
    assert (seen.step, seen.damage, seen.mean) == (None, None, None)


def test_a_layer_without_columns() -> None:
    plan = plan_of(coded(np.zeros((3, 2))), eliminate=True)
    for granularity in ("column", "tile", "slice"):
        seen = observe(plan, dataset(np.ones((4, 3))), wanted(granularity))["fc"]
        assert seen.beyond.shape == (0, 4, 2, 0, 1)
        assert seen.conversions == 32


def test_steps_fit_their_type() -> None:
    """8-bit cells of level 255: any step but the unit would be above 255."""
    plan = plan_of(coded(np.full((8, 1), 255)), bits_per_cell=8)
    seen = observe(plan, dataset(np.full((3, 8), 255)), wanted())["fc"]
    assert seen.step is not None
    assert (seen.step[0, 0, 0, 0] == 255).all()
    assert FACTORS.max() * 255 > 255


@pytest.mark.parametrize("samples", [1, 7])
def test_the_upstream_is_the_quantised_model(samples: int) -> None:
    """The second layer sees what the first computes."""
    first, second = coded([[2, 0], [0, 3]], name="a", output="h"), coded([[1], [2]], name="b", input="h")
    plan = plan_of(first, second)
    inputs = np.random.default_rng(0).integers(0, 40, (samples, 2))
    seen = observe(plan, dataset(inputs), wanted())
    middle = np.minimum(inputs @ np.array([[2, 0], [0, 3]]), 255)
    check(plan.layers[1], plan.arrays(plan.layers[1]), middle, seen["b"])


@pytest.mark.parametrize("granularity", ["column", "tile", "slice"])
@pytest.mark.parametrize("model", [CNN, mlp_model(12, 9, 4)], ids=["cnn", "mlp"])
def test_a_calibrated_plan_is_exact_on_its_calibration_data(
    model: onnx.ModelProto, granularity: Granularity, tmp_path: Path
) -> None:
    """If all of them were observed; and for inputs that are mostly 0 it asks for fewer bits than are proved."""
    name, shape = ("image", (40, 3, 8, 8)) if model is CNN else ("x", (40, 12))
    random = np.random.default_rng(0)
    feeds = {name: (random.standard_normal(shape) * (random.random(shape) < 0.1)).astype(np.float32)}
    np.savez(tmp_path / "calib.npz", allow_pickle=False, **feeds)
    bits = []
    for policy in ("lossless", "calibrated"):
        pipeline = default_pipeline(ISAAC, rows=16, cols=8, policy=policy, granularity=granularity)
        pipeline = pipeline.replace("calibrate-adc{", "calibrate-adc{vectors=1000000 ")
        options = CompileOptions(pipeline=pipeline, calibration=tmp_path / "calib.npz")
        plan = compile_model(save(model, tmp_path / "model.onnx"), ISAAC, options).plan
        assert plan is not None
        replayer = Replayer(plan)
        replayer.replayed(feeds)
        assert replayer.exact
        assert sum(tally.clipped for tally in replayer.tallies.values()) == 0
        bits.append(sum(int(plan.arrays(layer).adc_bits.sum()) for layer in plan.layers))
        seen = [layer.observed for layer in plan.layers]
    assert bits[1] < bits[0]
    assert [record.vectors for record in seen if record] == ([640, 640, 40] if model is CNN else [40, 40])
