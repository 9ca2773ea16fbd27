from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.compiler import column_observer as module
from bsc.compiler.column_observer import LayerObservation, observe
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.ir.adc_pass import Observation
from bsc.mapping.arrays import LayerArrays, ResolutionTables
from bsc.mapping.layer import MappedLayer
from bsc.mapping.lossless import layer_sum_range
from bsc.numeric.quantizer import input_cycles
from bsc.numeric.sharing import AdcSharing, sharing_groups
from bsc.numeric.squared_error import FACTORS
from bsc.replay.columns import read_numpy
from bsc.replay.dataset import Dataset
from bsc.replay.engine import Replayer
from bsc.testing import mlp_model, save
from tests.bsc.plans import CNN, ISAAC, coded, mapped, only_layer, slicings
from tests.passes.layers import sparse_codes


def wanted(
    granularity: AdcSharing = "column", *, vectors: int = 1000, squared_error: bool = True, seed: int = 0
) -> Observation:
    return Observation(
        granularity=granularity,
        vectors=vectors,
        seed=seed,
        squared_error=squared_error,
        mean=squared_error,
        sensitivity=False,
        prices=False,
    )


def dataset(inputs: NDArray[Any], batch: int = 5) -> Dataset:
    return Dataset(inputs={"x": inputs.astype(np.float32)}, labels=None, batch=batch, sha256="", free_batch=True)


def tables_of(seen: LayerObservation) -> ResolutionTables:
    assert seen.tables is not None
    return seen.tables


def lows_of(array: NDArray[Any] | None, of: NDArray[Any]) -> NDArray[Any]:
    """The array, or zeros where it is left out for being 0."""
    return np.zeros_like(of, np.int64) if array is None else array


def column_sums(layer: MappedLayer, arrays: LayerArrays, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every sum in front of an ADC in plain integers: (cycles, V, R, S, Q, N)."""
    levels = layer.cells.levels()[layer.cells.stored(arrays.codes, arrays.centres, layer.tile_rows)].astype(np.int64)
    if arrays.flipped is not None:
        turned = np.repeat(arrays.flipped, layer.active_rows, axis=0)[: len(levels)].transpose(0, 3, 1, 2)
        levels = np.where(turned, layer.cells.tops[:, None] - levels, levels)
    if layer.cells.analog_pairs:
        levels = levels[..., :1] - levels[..., 1:]
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


def check(layer: MappedLayer, arrays: LayerArrays, inputs: NDArray[np.int64], seen: LayerObservation) -> None:
    """An observation against sums computed another way."""
    sums = column_sums(layer, arrays, inputs)
    cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
    assert seen.vectors == len(inputs)
    assert seen.conversions == len(inputs) * len(cycles)
    np.testing.assert_array_equal(seen.highest, sums.max(axis=(0, 1), initial=0))
    np.testing.assert_array_equal(lows_of(seen.lowest, seen.highest), sums.min(axis=(0, 1), initial=0))
    assert (seen.lowest is not None) == (layer.cells.analog_pairs)
    tables, moves = tables_of(seen), layer_sum_range(layer, arrays).high > layer_sum_range(layer, arrays).low
    assert (tables.low is not None) == (layer.cells.analog_pairs)
    assert tables.mean is not None
    lows = lows_of(tables.low, tables.step)
    for bits in range(tables.step.shape[-1]):
        step, low = tables.step[..., bits], lows[..., bits]
        codes = np.rint(sums / step)
        within = np.clip(codes, low, low + (1 << bits) - 1)
        clipped = (codes != within).sum(axis=(0, 1))
        assert (clipped <= np.where(moves, tables.beyond[..., bits], 0)).all()
        error = within * step - sums
        shifts = np.array([sign * 2.0**shift for shift, _, sign in cycles]).reshape(-1, 1, 1, 1, 1)
        mean = (shifts * error.mean(axis=1)).sum(axis=0)
        squared_error = (shifts**2 * error.var(axis=1)).sum(axis=0) + mean**2
        np.testing.assert_allclose(mean, tables.mean[..., bits], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(squared_error, tables.squared_error[..., bits], rtol=1e-5, atol=1e-6)
    assert (tables.squared_error[..., -1] == 0).all()
    assert (tables.beyond[..., -1] == 0).all()


@settings(deadline=None, max_examples=40)
@given(
    sparse_codes(),
    slicings(8, most=10),
    st.booleans(),
    st.sampled_from(["column", "tile", "slice"]),
    st.integers(0, 2**32 - 1),
)
def test_against_plain_sums(
    codes: NDArray[np.int16], slicing: dict[str, Any], signed: bool, granularity: Any, seed: int
) -> None:
    layer = coded(codes, input_bits=4, input_signed=signed)
    plan = mapped(layer, rows=16, cols=5, active_rows=8, **slicing)
    low, high = (-8, 8) if signed else (0, 16)
    inputs = np.random.default_rng(seed).integers(low, high, (12, len(codes)))
    seen = observe(plan, dataset(inputs), wanted(granularity))["fc"]
    check(*only_layer(plan), inputs, seen)
    groups = sharing_groups(granularity, seen.highest.shape, plan.layers[0].column_tiles()[1], 2)
    if groups is not None:
        reached, tables = layer_sum_range(*only_layer(plan)), tables_of(seen)
        for group in np.unique(groups):
            for shared in (tables.step, lows_of(tables.low, tables.step)):
                values = shared[(groups == group) & (reached.high > reached.low)]
                assert (values == values[:1]).all()


def test_clipped_conversions_by_hand() -> None:
    """One cell of 3, of levels 0 to 3 in steps of 3: one bit clips nothing, and no bit all that is driven."""
    plan = mapped(coded([[3], [3], [3]], input_bits=2))
    seen = observe(plan, dataset(np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]])), wanted())["fc"]
    # Sums 9, 6, 0 and three times 0. A bit reads 0 and 9 or 0 and 6, and at a step of one unit 0 and 3.
    assert tables_of(seen).beyond[0, 0, 0, 0].tolist() == [2, 2, 0]
    pair = mapped(coded([[1], [-3]], input_bits=2), subtraction="analog")
    seen = observe(pair, dataset(np.array([[1, 0], [0, 1], [0, 1], [0, 1], [0, 0]])), wanted())["fc"]
    tables = tables_of(seen)
    assert seen.lowest is not None
    assert tables.low is not None
    assert (seen.lowest[0, 0, 0, 0], seen.highest[0, 0, 0, 0]) == (-3, 1)
    # One bit from -1 on at a step of 3 holds the -3, and 1 / 3 is 0; at a step of 1 three or four clip. Two bits from
    # -3 on hold all but the 1.
    assert (tables.step[0, 0, 0, 0, 1], tables.low[0, 0, 0, 0, 1]) == (3, -1)
    assert tables.beyond[0, 0, 0, 0].tolist() == [4, 3, 1, 0]
    assert tables.squared_error[0, 0, 0, 0, 3] == 0
    assert tables.low[0, 0, 0, 0, 3] == -3  # where the proof starts


def test_damage_needs_no_lucky_place_of_the_codes() -> None:
    """Sums -5 and 2 need three bits from -5 on, a place that is not tried but known from what was seen."""
    plan = mapped(coded([[-3], [-2], [2], [3], [1]], input_bits=2, weight_bits=2), subtraction="analog")
    inputs = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0]])
    tables = tables_of(observe(plan, dataset(inputs), wanted())["fc"])
    assert tables.low is not None
    assert (tables.step[0, 0, 0, 0, 3], tables.low[0, 0, 0, 0, 3], tables.squared_error[0, 0, 0, 0, 3]) == (1, -5, 0)
    assert tables.squared_error[0, 0, 0, 0, 2] > 0


def test_the_step_is_the_best_of_those_tried() -> None:
    """One column of two cells: sums 0, 3, 6; one bit is best at a step of 3 or 6, whichever is seen."""
    plan = mapped(coded([[3], [3]], input_bits=2))
    for inputs, step in (([[1, 1], [0, 0]], 6), ([[1, 0], [0, 1]], 3)):
        seen = observe(plan, dataset(np.array(inputs)), wanted())["fc"]
        tables = tables_of(seen)
        assert (tables.step[0, 0, 0, 0, 1], tables.squared_error[0, 0, 0, 0, 1]) == (step, 0)


@pytest.mark.parametrize("subtraction", ["digital", "analog"])
def test_lots_of_any_size_give_the_same(subtraction: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pairs with the same codes in both columns, since what is tried follows the widest reach of a lot."""
    codes = np.random.default_rng(0).integers(-255, 256, (20, 7))
    if subtraction == "analog":
        codes = np.concatenate([codes, -codes])
    plan = mapped(coded(codes), rows=40, subtraction=subtraction)
    inputs = np.random.default_rng(1).integers(0, 256, (9, len(codes)))
    whole = observe(plan, dataset(inputs), wanted())["fc"]
    monkeypatch.setattr(module, "LOT_VALUES", 1)
    monkeypatch.setattr(module, "best_reader", lambda: read_numpy)
    single = observe(plan, dataset(inputs), wanted())["fc"]
    np.testing.assert_array_equal(whole.highest, single.highest)
    for name in ("beyond", "step", "squared_error", "mean"):
        np.testing.assert_array_equal(getattr(whole.tables, name), getattr(single.tables, name))


def test_a_part_of_the_vectors_is_seeded_and_even() -> None:
    plan = mapped(coded(np.full((4, 3), 9)))
    inputs = np.random.default_rng(0).integers(0, 256, (40, 4))
    data = dataset(inputs)
    few = observe(plan, data, wanted(vectors=10))["fc"]
    assert few.vectors == 16  # a quarter of every batch of five, rounded up
    again, other = (tables_of(observe(plan, data, wanted(vectors=10, seed=seed))["fc"]) for seed in (0, 1))
    assert (again.beyond == tables_of(few).beyond).all()
    assert (other.beyond != tables_of(few).beyond).any()
    assert observe(plan, data, wanted(vectors=10**6))["fc"].vectors == 40


def test_only_sums_if_nothing_else_is_wanted() -> None:
    seen = observe(mapped(coded([[1]])), dataset(np.ones((2, 1))), wanted(squared_error=False))["fc"]
    assert seen.tables is None


def test_a_layer_without_columns() -> None:
    plan = mapped(coded(np.zeros((3, 2))), eliminate=True)
    for granularity in ("column", "tile", "slice"):
        seen = observe(plan, dataset(np.ones((4, 3))), wanted(granularity))["fc"]
        assert tables_of(seen).beyond.shape == (0, 4, 2, 0, 1)
        assert seen.conversions == 32


def test_steps_fit_their_type() -> None:
    """8-bit cells of level 255: any step but the unit would be above 255."""
    plan = mapped(coded(np.full((8, 1), 255)), bits_per_cell=8)
    seen = observe(plan, dataset(np.full((3, 8), 255)), wanted())["fc"]
    assert (tables_of(seen).step[0, 0, 0, 0] == 255).all()
    assert FACTORS.max() * 255 > 255


@pytest.mark.parametrize("samples", [1, 7])
def test_the_upstream_is_the_quantised_model(samples: int) -> None:
    """The second layer sees what the first computes."""
    first, second = coded([[2, 0], [0, 3]], name="a", output="h"), coded([[1], [2]], name="b", input="h")
    plan = mapped(first, second)
    inputs = np.random.default_rng(0).integers(0, 40, (samples, 2))
    seen = observe(plan, dataset(inputs), wanted())
    middle = np.minimum(inputs @ np.array([[2, 0], [0, 3]]), 255)
    check(plan.layers[1], plan.arrays(plan.layers[1]), middle, seen["b"])


@pytest.mark.parametrize("granularity", ["column", "tile", "slice"])
@pytest.mark.parametrize("model", [CNN, mlp_model(12, 9, 4)], ids=["cnn", "mlp"])
def test_a_calibrated_plan_is_exact_on_its_calibration_data(
    model: onnx.ModelProto, granularity: AdcSharing, tmp_path: Path
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
        replayer = Replayer(plan.mapping)
        replayer.replayed(feeds)
        assert replayer.exact
        assert sum(tally.clipped for tally in replayer.tallies.values()) == 0
        bits.append(sum(int(plan.mapping.arrays(layer).adc_bits.sum()) for layer in plan.mapping.layers))
        seen = [layer.observed for layer in plan.mapping.layers]
    assert bits[1] < bits[0]
    assert [record.vectors for record in seen if record] == ([640, 640, 40] if model is CNN else [40, 40])
