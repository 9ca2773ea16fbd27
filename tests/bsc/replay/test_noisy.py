"""Replay on devices: the exact replay where nothing is wrong, and by hand where one thing is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import hw_models
from bsc.hardware.device import Device
from bsc.replay.engine import LayerEngine, Replayer, ReplayOptions
from bsc.replay.loaded import PlanRunner
from bsc.replay.noisy import NoisyLayer, NoisyReplayer
from bsc.testing import mlp_model
from passes.assign_adc import AssignAdc
from passes.permute import Permute
from tests.bsc.plans import CNN, coded, mapped, model_plan, only_layer
from tests.bsc.replay.test_engine import Case, lossless_cases, lossy_cases

IDEAL = hw_models.load_device("ideal")
GENERIC = hw_models.load_device("generic")


def device(**effects: Any) -> Device:
    described: dict[str, Any] = {"name": "test", "description": "made up", "citation": "none"}
    return Device.model_validate(described | effects)


def quantity(value: float) -> dict[str, Any]:
    return {"value": value, "kind": "assumed", "source": "made up"}


@settings(deadline=None, max_examples=200)
@given(case=st.one_of(lossless_cases(), lossy_cases()))
def test_without_effects_it_is_the_exact_replay(case: Case) -> None:
    exact = LayerEngine(case.layer, case.arrays, ReplayOptions()).results(case.inputs)
    noisy = NoisyLayer(case.layer, case.arrays, IDEAL, 0, (0,)).results(case.inputs)
    np.testing.assert_array_equal(noisy, exact)


def test_whole_models_without_effects(tmp_path: Any) -> None:
    plan = model_plan(CNN, tmp_path, policy="fixed=3").mapping
    images = {"image": np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)}
    exact = Replayer(plan).replayed(images)["scores"]
    np.testing.assert_array_equal(NoisyReplayer(PlanRunner(plan), IDEAL, seed=0).replayed(images)["scores"], exact)


def test_a_code_of_zero_and_shared_crossbars_without_effects() -> None:
    plan = mapped(coded(np.arange(-8, 8).reshape(4, 4), input_scale=0.25, input_zero_point=77))
    again = plan.record.steps[0].model_copy(update={"inputs": ("y",), "outputs": ("z",)})
    record = plan.record.model_copy(
        update={
            "steps": (*plan.record.steps, again),
            "outputs": (plan.outputs[0].model_copy(update={"name": "z"}),),
        }
    )
    plan = replace(plan, record=record)
    x = {"x": np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)}
    exact = Replayer(plan).replayed(x)["z"]
    np.testing.assert_array_equal(NoisyReplayer(PlanRunner(plan), IDEAL, seed=0).replayed(x)["z"], exact)


def small() -> Case:
    random = np.random.default_rng(1)
    layer, arrays = only_layer(mapped(coded(random.integers(-255, 256, (40, 12))), rows=16, cols=5))
    return Case(layer, arrays, random.integers(0, 256, (9, 1, 40)))


def results(case: Case, effects: Device, *parts: slice, seed: int = 0, trial: int = 0) -> NDArray[np.float64]:
    computed = NoisyLayer(case.layer, case.arrays, effects, seed, (trial, 0))
    return np.concatenate([computed.results(case.inputs[part]) for part in parts or (slice(None),)])


def test_a_permuted_layer_without_effects() -> None:
    codes = np.random.default_rng(0).integers(-255, 256, (20, 9))
    plan = mapped(coded(codes), rows=8, cols=4, permute=Permute(rows="balanced", group_rows=8))
    x = np.random.default_rng(1).integers(0, 256, (3, 20)).astype(np.float32)
    np.testing.assert_array_equal(Replayer(plan).replayed({"x": x})["y"], x @ codes)
    np.testing.assert_array_equal(NoisyReplayer(PlanRunner(plan), IDEAL, seed=0).replayed({"x": x})["y"], x @ codes)


def test_same_seed_same_results_however_batches_are_cut() -> None:
    whole = results(small(), GENERIC)
    np.testing.assert_array_equal(results(small(), GENERIC, np.s_[:1], np.s_[1:6], np.s_[6:]), whole)
    assert (results(small(), GENERIC, trial=1) != whole).any()
    assert (results(small(), GENERIC, seed=1) != whole).any()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = results(small(), GENERIC)
    monkeypatch.setattr("bsc.replay.noisy.CHUNK_DIGITS", 1)
    np.testing.assert_array_equal(results(small(), GENERIC), whole)


@pytest.mark.parametrize("jobs", [2, 7])
def test_threads_change_nothing(jobs: int) -> None:
    case = small()
    alone = NoisyLayer(case.layer, case.arrays, GENERIC, 3, (0, 0))
    shared = NoisyLayer(case.layer, case.arrays, GENERIC, 3, (0, 0), jobs=jobs)
    for part in (np.s_[:4], np.s_[4:]):
        assert shared.results(case.inputs[part]).tobytes() == alone.results(case.inputs[part]).tobytes()


@pytest.mark.parametrize("effect", [effect for effect in GENERIC.effects if effect != "off_current"])
def test_every_effect_alone_changes_something(effect: str) -> None:
    strong = GENERIC.only(effect).scaled(effect, 100 if effect == "ir_drop" else 8).read_at(1e6)
    assert (results(small(), strong) != small().integers()).any()  # sums of 16 rows are small, and so are effects


@pytest.mark.parametrize("reference_column", [False, True])
def test_off_currents_are_lost_in_a_reference_column(*, reference_column: bool) -> None:
    off = device(off_current={"on_off_ratio": quantity(4), "reference_column": reference_column})
    assert (results(small(), off) == small().integers()).all() == reference_column


def test_stuck_cells_by_hand() -> None:
    """Cells stuck off read nothing; stuck on, a column of one cell at level 1 reads 3, were its ADC wide enough."""
    layer, arrays = only_layer(
        mapped(coded([[1]], weight_bits=2, input_bits=2), adc=AssignAdc(policy="fixed", bits=4), eliminate=True)
    )
    case = Case(layer, arrays, np.array([[[3]]]))
    assert results(case, IDEAL).tolist() == [[3]]
    assert results(case, device(stuck_at={"off": quantity(1)})).tolist() == [[0]]
    assert results(case, device(stuck_at={"on": quantity(1)})).tolist() == [[9]]


def test_row_groups_read_their_own_rows() -> None:
    """Four cells of level 3 are 12 together; two at a time are 6 and 6, which 3 bits hold."""
    layer, arrays = only_layer(
        mapped(coded(np.full((4, 1), 3), weight_bits=2), rows=4, active_rows=2, adc=AssignAdc(policy="fixed", bits=3))
    )
    case = Case(layer, arrays, np.ones((1, 1, 4), np.int64))
    assert results(case, IDEAL).tolist() == [[12]]
    halved = device(stuck_at={"off": quantity(1)})
    assert results(case, halved).tolist() == [[0]]


def test_an_offset_conversion_by_hand() -> None:
    """Every ADC reads two cell units too much or too little: results move by whole codes, and never below 0."""
    layer, arrays = only_layer(
        mapped(coded(np.full((4, 1), 3), weight_bits=2, input_bits=2), adc=AssignAdc(policy="fixed", bits=6))
    )
    case = Case(layer, arrays, np.full((1, 1, 4), 3))
    random = NoisyLayer(layer, arrays, device(adc_offset={"sigma_cells": quantity(2)}), 0, (0, 0))
    (offset,) = random._crossbars[0].programmed[0].adc_offset.tolist()
    minus = max(0, round(random._crossbars[1].programmed[0].adc_offset.item()))
    assert random.results(case.inputs).tolist() == [[3 * (max(0, round(12 + offset)) - minus)]]


def test_more_noise_hurts_more(tmp_path: Any) -> None:
    plan = model_plan(mlp_model(20, 9, 5), tmp_path).mapping
    inputs = {"x": np.random.default_rng(0).standard_normal((50, 20)).astype(np.float32)}
    exact = Replayer(plan).replayed(inputs)["y"]
    noise = GENERIC.only("read_noise")
    errors = [
        np.abs(
            NoisyReplayer(PlanRunner(plan), noise.scaled("read_noise", factor), seed=0).replayed(inputs)["y"] - exact
        ).mean()
        for factor in (0.5, 2, 8)
    ]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]
