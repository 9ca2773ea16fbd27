from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from bsc.errors import GateError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import Observed
from bsc.mapping.lossless import layer_sum_range, proved_lossless
from bsc.mapping.model import MappedModel
from bsc.mapping.placement import Placed, Rules
from bsc.numeric.column_stats import lossless_bits
from bsc.numeric.paired_bound import CONFIDENCE, drop_bound
from bsc.plan.document import BudgetRecord, CalibrationRecord, Plan
from bsc.plan.folder import read_plan, write_plan
from bsc.replay import proofs
from bsc.replay.proofs import LayerProof, check_proofs, check_records, check_vectors
from bsc.testing import mlp_model
from passes.assign_adc import AssignAdc
from passes.calibrate_adc import CalibrateAdc
from tests.bsc.plans import coded, mapped, model_plan, only_layer, plan_around, replace_arrays
from tests.bsc.replay.test_engine import Case, lossless_cases
from tests.passes.observed import plan_from_data

FIX = "\n  fix:  the plan was altered or a pass is wrong; compile again, and report it if it stays"


def with_arrays(mapping: MappedModel, **changed: Any) -> MappedModel:
    return replace(mapping, arrays=lambda layer: replace(mapping.arrays(layer), **changed))


def refusal(mapping: MappedModel) -> str:
    with pytest.raises(GateError) as caught:
        check_proofs(mapping)
    assert caught.value.exit_code == 5
    return str(caught.value)


# Two row tiles; 3 + 2 on the first and 1 on the second, both in the lowest slice of the positive column.
SMALL = mapped(coded([[3, 0], [2, -1], [1, 0]]), rows=2, cols=2)


def test_by_hand() -> None:
    """16 slice columns a row tile. Attacks: 1 + 16 vectors, and 2 for each of the 3 conversions that can move."""
    (found,) = check_proofs(SMALL).values()
    vectors = 1 + 16 + 2 * 3
    assert found == LayerProof(conversions=32, lossless=32, vectors=vectors, attacked=vectors * 8 * 3)


@settings(deadline=None, max_examples=150)
@given(lossless_cases())
def test_what_the_passes_prove_holds(case: Case) -> None:
    """Any format, encoding and tiling: bounds agree with those of other code, and no attack succeeds."""
    found = proofs._check_layer(case.layer, case.arrays, 0)
    assert found.lossless == found.conversions == case.arrays.adc_bits.size


def changed(array: np.ndarray[Any, Any], where: tuple[int, ...], value: int) -> np.ndarray[Any, Any]:
    array = array.copy()
    array[where] = value
    return array


def arrays_of(mapping: MappedModel) -> LayerArrays:
    return only_layer(mapping)[1]


def test_words_for_a_planted_bound() -> None:
    """The sum 5 recorded as 3, with the two bits that 3 needs: consistent with each other, not with the cells."""
    here, arrays = (0, 0, 0, 0), arrays_of(SMALL)
    planted = with_arrays(SMALL, sums=changed(arrays.sums, here, 3), adc_bits=changed(arrays.adc_bits, here, 2))
    assert refusal(planted) == (
        "[BSC504] layer 'fc': the recorded 'sums' of row group 0, slice 0+, column 0 are not those of its cells\n"
        "  seen: 3 recorded, 5 derived; 1 slice columns differ" + FIX
    )


def test_words_for_a_planted_resolution() -> None:
    planted = with_arrays(SMALL, adc_bits=changed(arrays_of(SMALL).adc_bits, (0, 0, 0, 0), 2))
    assert refusal(planted) == (
        "[BSC504] layer 'fc': the resolution of row group 0, slice 0+, column 0 does not cover its sums\n"
        "  seen: 2 bits in steps of 1 from code 0 on, for sums from 0 to 5 in steps of 1" + FIX
    )


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("adc_lsb", 2, "3 bits in steps of 2 from code -1 on, for sums from -1 to 5 in steps of 1"),
        ("adc_low", 0, "3 bits in steps of 1 from code 0 on, for sums from -1 to 5 in steps of 1"),
        ("adc_bits", 2, "2 bits in steps of 1 from code -1 on, for sums from -1 to 5 in steps of 1"),
    ],
)
def test_words_for_a_pair(name: str, value: int, seen: str) -> None:
    pair = mapped(coded([[3], [2], [-1]]), subtraction="analog")
    planted = with_arrays(pair, **{name: changed(getattr(arrays_of(pair), name), (0, 0, 0, 0), value)})
    problem = "the resolution of row group 0, slice 0, column 0 does not cover its sums"
    assert refusal(planted) == f"[BSC504] layer 'fc': {problem}\n  seen: {seen}{FIX}"


def test_a_tampered_cell_is_caught(tmp_path: Path) -> None:
    """Its hash recorded again, as someone would who wants the change to go unnoticed."""
    write_plan(plan_around(SMALL), tmp_path / "plan")
    check_proofs(read_plan(tmp_path / "plan").mapping)
    codes = changed(arrays_of(SMALL).codes, (2, 0), 2)
    replace_arrays(tmp_path / "plan", "layers/0000.safetensors", codes=codes)
    assert refusal(read_plan(tmp_path / "plan").mapping) == (
        "[BSC504] layer 'fc': the recorded 'sums' of row group 1, slice 0+, column 0 are not those of its cells\n"
        "  seen: 1 recorded, 2 derived; 1 slice columns differ" + FIX
    )


@settings(deadline=None, max_examples=100)
@given(lossless_cases())
def test_the_attacks_find_any_conversion_that_is_a_bit_short(case: Case) -> None:
    """Without the check of the bounds, every conversion that can reach its highest code is caught by an attack."""
    layer, arrays = case.layer, case.arrays
    derived = proofs._Derived.of(layer, arrays)
    low, high, _ = derived.sum_range(layer)
    top = (arrays.lowest_codes + (1 << arrays.adc_bits.astype(np.int64)) - 1) * arrays.adc_lsb.astype(np.int64)
    vectors = np.concatenate(list(proofs._attacks(layer, arrays, derived, np.minimum(top - high, low), 0)))
    proofs._attack(layer, arrays, vectors)
    moving = np.argwhere(high > low)
    for here in map(tuple, moving[: proofs.ATTACKED // 8].tolist()):
        short = changed(arrays.adc_bits, here, int(arrays.adc_bits[here]) - 1)
        if high[here] <= (int(arrays.lowest_codes[here]) + (1 << int(short[here])) - 1) * int(arrays.adc_lsb[here]):
            continue  # a resolution that is shared, and more than this one needs
        with pytest.raises(GateError, match="conversions lose something under attack"):
            proofs._attack(layer, replace(arrays, adc_bits=short), vectors)


def test_plans_that_claim_nothing_are_not_attacked() -> None:
    (found,) = check_proofs(mapped(coded([[3], [3]]), adc=AssignAdc(policy="fixed", bits=2))).values()
    assert found == LayerProof(conversions=8, lossless=7, vectors=0, attacked=0)


@pytest.mark.parametrize("spare", [0, 16])
def test_calibrated_pairs_that_have_all_bits_stay_proved(spare: int) -> None:
    """Of random pairs that are driven little, those alone; of those with all bits to spare, every one."""
    codes = np.random.default_rng(0).integers(-255, 256, (40, 9))
    inputs = np.random.default_rng(1).integers(0, 256, (3, 40))
    plan = plan_from_data(codes, inputs, CalibrateAdc(spare_bits=spare), subtraction="analog")
    (found,) = check_proofs(plan.mapping).values()
    layer, arrays = only_layer(plan.mapping)
    bounds = layer_sum_range(layer, arrays)
    enough = arrays.adc_bits == lossless_bits((bounds.high - bounds.low).astype(np.uint32), bounds.step)
    assert found.lossless == np.count_nonzero(enough) == np.count_nonzero(proved_lossless(layer, arrays))
    assert (found.lossless == found.conversions) == (spare == 16)
    assert found.lossless > 0


def recorded(**changed: Any) -> Plan:
    """A plan whose layer was observed on 3 of 4 samples, 8 conversions a vector, and whose accuracy was tested."""
    budget = BudgetRecord(
        max_drop=0.5,
        held_out_sha256="0" * 64,
        split=False,
        samples=100,
        lost=10,
        gained=2,
        drop=0.08,
        drop_bound=drop_bound(10, 2, 100),
        confidence=CONFIDENCE,
        adc_law="isaac",
        device=None,
    )
    layer, arrays = only_layer(SMALL)
    zeros = np.zeros(arrays.adc_bits.shape, np.uint32)
    observed = Observed.model_validate({"samples": 3, "vectors": 6, "conversions": 48} | changed.pop("observed", {}))
    record = SMALL.record.model_copy(update={"layers": (layer.model_copy(update={"observed": observed}),)})
    mapping = replace(SMALL, record=record, arrays=lambda _: replace(arrays, observed_sums=zeros))
    plan = plan_around(mapping)
    calibration = CalibrationRecord(sha256="0" * 64, samples=4)
    provenance = {"calibration": calibration, "budget": budget.model_copy(update=changed)}
    return replace(plan, provenance=plan.provenance.model_copy(update=provenance))


OBSERVED = "layer 'fc': what is recorded of calibration data does not fit together\n  seen: "
DROP = "the recorded accuracy drop is not that of its samples\n  seen: "


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"observed": {"samples": 5}},
            f"{OBSERVED}48 conversions on 5 samples, where 6 vectors make 48 and there are 4 samples",
        ),
        (
            {"observed": {"conversions": 49}},
            f"{OBSERVED}49 conversions on 3 samples, where 6 vectors make 48 and there are 4 samples",
        ),
        (
            {"drop": 0.07},
            f"{DROP}0.07, below 0.146232 with 95% confidence, for 10 of 100 samples lost and 2 gained",
        ),
        (
            {"drop_bound": 0.1},
            f"{DROP}0.08, below 0.1 with 95% confidence, for 10 of 100 samples lost and 2 gained",
        ),
        (
            {"lost": 99},
            f"{DROP}0.08, below 0.146232 with 95% confidence, for 99 of 100 samples lost and 2 gained",
        ),
        (
            {"confidence": 0.99},
            f"{DROP}0.08, below 0.146232 with 99% confidence, for 10 of 100 samples lost and 2 gained",
        ),
        (
            {"max_drop": 0.1},
            "the recorded accuracy drop is more than the budget allows\n"
            "  seen: below 0.146232 with 95% confidence, 0.1 allowed",
        ),
    ],
)
def test_words_about_records_that_do_not_follow_from_others(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(GateError) as caught:
        check_records(recorded(**changed))
    assert str(caught.value) == f"[BSC504] {words}{FIX}"


def test_records_that_fit_together_are_taken() -> None:
    check_records(recorded())
    check_records(recorded(observed={"samples": 4}, max_drop=drop_bound(10, 2, 100)))


def test_words_about_digital_operators_that_are_not_those_of_their_file(tmp_path: Path) -> None:
    plan = model_plan(mlp_model(6, 5, 3), tmp_path)
    check_records(plan)
    steps = [
        step.model_copy(update={"operators": {"Relu": 2}}) if step.digital else step
        for step in plan.mapping.record.steps
    ]
    record = plan.mapping.record.model_copy(update={"steps": tuple(steps)})
    with pytest.raises(GateError) as caught:
        check_records(replace(plan, mapping=replace(plan.mapping, record=record)))
    assert str(caught.value) == (
        "[BSC504] the recorded digital operators before tensor 'a0' are not those of their file\n"
        "  seen: {'Relu': 2} recorded, {'Relu': 1} in the file" + FIX
    )


def test_words_about_vectors_that_are_not_those_of_an_inference() -> None:
    layer, _ = only_layer(SMALL)
    twice = SMALL.record.model_copy(update={"layers": (layer.model_copy(update={"vectors": 2}),)})
    feeds = {"x": np.zeros((1, 3), np.float32)}
    check_vectors(SMALL, feeds)
    with pytest.raises(GateError) as caught:
        check_vectors(replace(SMALL, record=twice), feeds)
    assert str(caught.value) == (
        "[BSC504] layer 'fc': the recorded 'vectors' are not those of one inference\n"
        "  seen: 2 recorded, 1 when it is run" + FIX
    )


PLACES = {"a": (0, 2), "b": (16, 3)}
"""First slots and copies of two layers of eight crossbars, on an ISAAC with IMAs of eight."""


def placed_plan(places: dict[str, tuple[int, int]], segments: tuple[int, int] = (0, 0), **rules: Any) -> Plan:
    """Two layers of eight crossbars in these places."""
    plan = plan_around(mapped(coded([[3, 0]], name="a", output="h"), coded([[2], [1]], name="b", input="h")))
    written = Rules.model_validate({"policy": "throughput", "slots": 96, "power_w": None, "pack": False} | rules)
    layers = tuple(
        layer.model_copy(
            update={
                "placed": Placed(
                    rules=written,
                    first_slot=slot,
                    copies=copies,
                    crossbars_per_copy=8,
                    row=0,
                    column=0,
                    segment=segment,
                )
            }
        )
        for layer, (slot, copies), segment in zip(plan.mapping.layers, places.values(), segments, strict=True)
    )
    record = plan.mapping.record.model_copy(update={"layers": layers})
    return replace(plan, mapping=replace(plan.mapping, record=record))


def test_segments_begin_anew_and_read_of_earlier_ones() -> None:
    reload = {"batch": 4, "cell_s": 0.0, "cell_j": 0.0, "updates": None, "device": None}
    check_records(placed_plan({"a": (0, 2), "b": (0, 3)}, (0, 1), reload=reload))
    with pytest.raises(GateError, match="'b': it is not where the layers before it end"):
        check_records(placed_plan(PLACES, (0, 1), reload=reload))
    plan = placed_plan({"a": (0, 2), "b": (0, 3)}, (0, 1), reload=reload)
    steps = plan.mapping.record.steps
    again = steps[0].model_copy(update={"inputs": steps[-1].outputs, "outputs": ("again",)})  # a, b and a once more
    record = plan.mapping.record.model_copy(update={"steps": (*steps, again)})
    with pytest.raises(
        GateError, match="'a': it reads what a later segment gives\n  seen: segment 0 reads of segment 1"
    ):
        check_records(replace(plan, mapping=replace(plan.mapping, record=record)))


NOT_THERE = "it is not where the layers before it end\n  seen: place"


@pytest.mark.parametrize(
    ("places", "rules", "words"),
    [
        ({"b": (17, 3)}, {}, f"'b': {NOT_THERE} 17, row 0, column 0 recorded, place 16, row 0, column 0 derived"),
        ({"b": (24, 3)}, {}, f"'b': {NOT_THERE} 24, row 0, column 0 recorded, place 16, row 0, column 0 derived"),
        ({"a": (0, 1)}, {}, f"'b': {NOT_THERE} 16, row 0, column 0 recorded, place 8, row 0, column 0 derived"),
        ({"a": (8, 1)}, {}, f"'a': {NOT_THERE} 8, row 0, column 0 recorded, place 0, row 0, column 0 derived"),
        ({}, {"policy": "none"}, "'a': it has copies that nobody chose\n  seen: 2 copies"),
        ({}, {"slots": 100}, "'a': the places at hand are not those of whole tiles\n  seen: 100 places"),
        ({}, {"slots": 192}, None),
        ({"a": (0, 1), "b": (8, 1)}, {"policy": "none"}, None),
    ],
)
def test_places_follow_from_copies(
    places: dict[str, tuple[int, int]], rules: dict[str, Any], words: str | None
) -> None:
    check_records(placed_plan(PLACES))
    plan = placed_plan(PLACES | places, **rules)
    if words is None:
        check_records(plan)
        return
    with pytest.raises(GateError) as caught:
        check_records(plan)
    assert str(caught.value) == f"[BSC504] layer {words}{FIX}"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (6, None),
        (7, "7 recorded, for sums from 0 to 6"),
        (5, "5 recorded, for sums from 0 to 6"),
    ],
)
def test_sums_that_no_data_can_have_caused_are_refused(value: int, seen: str | None) -> None:
    """Cells of 3 and 3: sums of 0, 3 or 6."""
    plan = plan_from_data([[3], [3]], np.array([[1, 0]]), CalibrateAdc())
    _, arrays = only_layer(plan.mapping)
    assert arrays.observed_sums is not None
    mapping = with_arrays(plan.mapping, observed_sums=changed(arrays.observed_sums, (0, 0, 0, 0), value))
    if seen is None:
        check_proofs(mapping)
    else:
        assert refusal(mapping) == (
            "[BSC504] layer 'fc': no data can have caused the recorded 'observed_sums' of row group 0, slice 0+, "
            f"column 0\n  seen: {seen} in steps of 3" + FIX
        )


@pytest.mark.parametrize(("value", "taken"), [(-6, True), (-9, False), (-4, False)])
def test_lowest_sums_of_pairs_that_no_data_can_have_caused_are_refused(value: int, *, taken: bool) -> None:
    plan = plan_from_data([[3], [-3], [-3]], np.array([[1, 0, 1]]), CalibrateAdc(), subtraction="analog")
    _, arrays = only_layer(plan.mapping)
    assert arrays.observed_lows is not None
    mapping = with_arrays(plan.mapping, observed_lows=changed(arrays.observed_lows, (0, 0, 0, 0), value))
    if taken:
        check_proofs(mapping)
    else:
        assert refusal(mapping).startswith("[BSC504] layer 'fc': no data can have caused the recorded 'observed_lows'")
