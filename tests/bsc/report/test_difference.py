"""What two reports do not have in common, and what of it counts."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bsc.mapping.model import StepRecord
from bsc.plan.document import BudgetRecord, CalibrationRecord, Plan
from bsc.plan.folder import read_plan, to_json, write_plan
from bsc.report.difference import Change, Difference, FigureChange, alike, difference, difference_json, in_words
from bsc.report.difference_text import DifferenceReport
from bsc.report.document import ReportDocument
from bsc.report.text import to_text
from bsc.testing import mlp_model
from passes.assign_adc import AssignAdc
from tests.bsc.plans import coded, model_plan, plan_of
from tests.bsc.report.reports import changed, report_of

LOSSLESS = report_of(plan_of(coded([[3, 255], [-1, 255]], name="a"), coded([[7]], name="b", input="y", output="z")))
FIXED = report_of(
    plan_of(
        coded([[3, 255], [-1, 255]], name="a"),
        coded([[7]], name="b", input="y", output="z"),
        adc=AssignAdc(policy="fixed", bits=4),
    )
)


def between(old: ReportDocument, new: ReportDocument) -> Difference:
    return difference(old, new, names=("old", "new"))


def figure(old: float | None, new: float | None) -> FigureChange:
    return FigureChange(layer=None, figure="energy_j", label="energy", unit="J", old=old, new=new)


def chip_figures(report: ReportDocument) -> Iterator[str]:
    """Paths of all numbers that a report has of its plan on the chip, but for those that say where layers lie."""
    for path, record in (
        ("chip.plan", report.chip.plan),
        *((f"chip.layers.{n}", e) for n, e in report.chip.layers.items()),
    ):
        for key, value in record:
            if isinstance(value, int | float) and key not in PLACES:
                yield f"{path}.{key}"


PLACES: Final = ("slots_at_hand", "first_slot", "crossbars_per_copy", "buffer_bits")
"""What follows from the placement or the hardware."""


@pytest.mark.parametrize("path", list(chip_figures(LOSSLESS)))
def test_a_tolerance_gates_figures_of_the_chip(path: str) -> None:
    old: Any = LOSSLESS
    for name in path.split("."):
        old = old[name] if isinstance(old, dict) else getattr(old, name)
    new = old * 2 if old else 1
    found = between(LOSSLESS, changed(LOSSLESS, path, new))
    (each,) = found.figures
    assert (each.old, each.new) == (old, new)
    assert (each.layer, found.others) == (path.split(".")[2] if path.startswith("chip.layers.") else None, ())
    assert found.differs(0.5)
    assert not found.differs(1e9) or not old
    assert each.label in to_text(DifferenceReport(found=found, tolerance=0.5))


def test_a_report_and_itself() -> None:
    found = between(LOSSLESS, LOSSLESS)
    assert found.empty
    assert not found.differs(0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("plan.bsc_version", "9.9"),
        ("plan.model.file", "renamed.onnx"),
        ("plan.layers.0.arrays", "layers/0009.safetensors"),
    ],
)
def test_what_is_no_difference(path: str, value: str) -> None:
    assert between(LOSSLESS, changed(LOSSLESS, path, value)).empty


def test_other_hardware_of_the_same_name_is_told() -> None:
    own = changed(LOSSLESS, "plan.files", {"target.json": LOSSLESS.cost.target_sha256})
    (change,) = between(own, changed(own, "cost.target_sha256", "4" * 64)).facts
    assert change == Change(name="priced on", old="its own hardware", new="isaac (444444444444)")


@pytest.mark.parametrize(
    ("path", "value", "change"),
    [
        ("plan.model.sha256", "1" * 64, Change(name="model", old="000000000000", new="111111111111")),
        ("plan.target", "mine", Change(name="hardware", old="isaac (n/a)", new="mine (n/a)")),
        (
            "plan.files",
            {"target.json": "2" * 64},
            Change(name="hardware", old="isaac (n/a)", new="isaac (222222222222)"),
        ),
        ("cost.adc_law", "linear", Change(name="ADC law", old="isaac", new="linear")),
        (
            "plan.calibration",
            CalibrationRecord(sha256="3" * 64, samples=5),
            Change(name="input ranges", old="a step for each input vector", new="steps from 5 samples (333333333333)"),
        ),
        ("plan.free_batch", True, Change(name="free batch", old="no", new="yes")),
        ("plan.inputs.0.shape", (1, 3), Change(name="inputs", old="x float32 ?", new="x float32 1x3")),
    ],
)
def test_what_a_plan_was_made_of(path: str, value: object, change: Change) -> None:
    found = between(LOSSLESS, changed(LOSSLESS, path, value))
    assert change in found.facts
    assert found.differs(0)
    assert not found.differs(1e-6)
    assert not found.figures


def test_an_accuracy_test() -> None:
    budget = BudgetRecord(
        max_drop=0.01,
        held_out_sha256="4" * 64,
        split=True,
        samples=10,
        lost=2,
        gained=1,
        drop=0.1,
        drop_bound=0.3,
        confidence=0.95,
        adc_law="isaac",
        device=None,
    )
    (fact,) = between(LOSSLESS, changed(LOSSLESS, "plan.budget", budget)).facts
    assert fact == Change(
        name="accuracy test",
        old="none",
        new="max drop 0.01, split yes, samples 10, lost 2, gained 1, drop 0.1, drop bound 0.3, confidence 0.95, "
        "adc law isaac, device none, held-out data 444444444444",
    )


def test_pipeline_and_settings() -> None:
    one = changed(changed(LOSSLESS, "plan.pipeline", "a,b{x=1}"), "plan.layers.0.input_scale", 0.5)
    two = changed(changed(LOSSLESS, "plan.pipeline", "a,b{x=2}"), "plan.layers.0.input_scale", 0.25)
    found = between(one, two)
    assert (found.removed_steps, found.added_steps) == (("b{x=1}",), ("b{x=2}",))
    (layer,) = found.layers
    assert (layer.name, layer.settings) == ("a", (Change(name="input_scale", old="0.5", new="0.25"),))
    near = changed(one, "plan.layers.0.input_scale", 0.5 * (1 + 5e-10))
    assert between(one, near).empty


def test_hashes_of_a_layers_file() -> None:
    old = changed(LOSSLESS, "plan.files", {"layers/0000.safetensors": "5" * 64, "layers/0001.safetensors": "6" * 64})
    new = changed(old, "plan.files", {"layers/0000.safetensors": "7" * 64, "layers/0001.safetensors": "6" * 64})
    (layer,) = between(old, new).layers
    assert (layer.name, layer.settings, layer.arrays) == ("a", (), None)
    assert layer.hashes == Change(name="cells and ADCs", old="555555555555", new="777777777777")


def digital(file: str, operator: str, reads: str) -> StepRecord:
    return StepRecord(digital=file, operators={operator: 1}, inputs=(reads,), outputs=("out",))


def test_digital_operators() -> None:
    """Steps are found by what they write, whatever the number of their file."""
    steps = LOSSLESS.plan.steps
    old = changed(LOSSLESS, "plan.steps", (*steps, digital("digital/0002.onnx", "Relu", "z")))
    same = changed(LOSSLESS, "plan.steps", (*steps, digital("digital/0007.onnx", "Relu", "z")))
    assert between(old, same).empty
    other = changed(LOSSLESS, "plan.steps", (*steps, digital("digital/0002.onnx", "Sigmoid", "y")))
    assert between(old, other).steps == (
        Change(name="tensor out", old="Relu ×1 of z (n/a)", new="Sigmoid ×1 of y (n/a)"),
    )
    constants = changed(old, "plan.files", {"digital/0002.onnx": "8" * 64})
    assert between(old, constants).steps == (
        Change(name="tensor out", old="Relu ×1 of z (n/a)", new="Relu ×1 of z (888888888888)"),
    )
    assert between(old, LOSSLESS).steps == (Change(name="tensor out", old="Relu ×1 of z (n/a)", new=None),)


def test_layers_of_one_side_count_at_any_tolerance() -> None:
    one = report_of(plan_of(coded([[3, 255], [-1, 255]], name="a")))
    found = between(LOSSLESS, one)
    assert (found.removed, found.added) == ((Change(name="b", old="MatMul 1×1", new=None),), ())
    assert found.steps == ()
    assert {each.layer for each in found.figures} == {None, "a"}  # a larger part of what layers share is its own
    assert found.differs(1e9)
    assert between(one, LOSSLESS).added == (Change(name="b", old=None, new="MatMul 1×1"),)


def test_figures_by_hand() -> None:
    """Of layer a all four slices of both columns' + sides have cells, and of column 0 one - side: slice 0.

    Their sums are 3 in steps of 3, and 1: one bit each. In column 1 they are 6 in steps of 3, two bits, in all slices.
    So lossless bits are 1 + 1 + 4 * 2 = 10 over 16 conversions, where 4 bits each make 64.
    """
    figures = {(each.layer, each.figure): each for each in between(LOSSLESS, FIXED).figures}
    bits = figures["a", "mean_adc_bits"]
    assert (bits.old, bits.new, bits.unit) == (10 / 16, 4.0, "bit")
    conversions = figures["a", "conversions"]
    assert (conversions.old, conversions.new) == (6 * 8, 16 * 8)
    assert conversions.relative == pytest.approx(5 / 3)
    assert ("a", "proved_share") not in figures
    assert ("a", "crossbars") not in figures
    total = figures[None, "energy_j"]
    assert (total.old, total.new) == (LOSSLESS.cost.plan.energy_j, FIXED.cost.plan.energy_j)


@pytest.mark.parametrize(
    ("old", "new", "tolerance", "beyond"),
    [
        (100, 102, 0.02, False),
        (100, 98, 0.02, False),
        (0.1, 0.102, 0.02, False),
        (100, 102.001, 0.02, True),
        (100, 97.999, 0.02, True),
        (102, 100, 0.0196, True),
        (102, 100, 0.0197, False),
        (0, 1e-30, 1.0, True),
        (None, 1.0, 1.0, True),
        (1.0, None, 1.0, True),
        (100, 100.0001, 0.0, True),
    ],
)
def test_both_sides_of_the_tolerance(old: float | None, new: float | None, tolerance: float, beyond: bool) -> None:
    assert figure(old, new).beyond(tolerance) is beyond


def test_relative_changes() -> None:
    assert figure(4, 5).relative == 0.25
    assert figure(4, 3).relative == -0.25
    assert figure(0, 3).relative is None
    assert figure(None, 3).relative is None
    assert figure(1e-300, 1e300).relative is None


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (1.0, 1.0 + 9e-10, True),
        (1.0, 1.0 + 2e-9, False),
        (0.0, 0.0, True),
        (0.0, 1e-300, False),
        (None, 0.0, False),
        ({"a": 1.0}, {"a": 1.0 + 9e-10}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
    ],
)
def test_last_bits_are_no_difference(old: object, new: object, same: bool) -> None:
    assert alike(old, new) is same
    assert alike(new, old) is same


def test_values_in_words() -> None:
    assert in_words({"kernel": (3, 3), "pads": ((0, 1), (2, 3))}) == "kernel 3-3, pads 0-1-2-3"
    assert [in_words(value) for value in (None, True, False, 0.5, 3, "x")] == ["none", "yes", "no", "0.5", "3", "x"]


def reports() -> st.SearchStrategy[ReportDocument]:
    weights = st.lists(st.integers(-255, 255), min_size=1, max_size=3)
    layers = st.dictionaries(st.sampled_from("abc"), weights, min_size=1)
    policies = st.sampled_from([AssignAdc(), AssignAdc(policy="fixed", bits=3), AssignAdc(granularity="slice")])

    def report(layers: dict[str, list[int]], adc: AssignAdc) -> ReportDocument:
        tensors = ["x", *(f"t{index}" for index in range(len(layers) - 1)), "y"]
        parts = [
            coded(np.array([codes]), name=name, input=tensors[index], output=tensors[index + 1])
            for index, (name, codes) in enumerate(sorted(layers.items()))
        ]
        return report_of(plan_of(*parts, adc=adc))

    return st.builds(report, layers, policies)


@given(reports(), reports())
def test_laws(one: ReportDocument, two: ReportDocument) -> None:
    """Nothing differs from itself; both directions name the same things; less is beyond a larger tolerance."""
    assert between(one, one).empty
    there, back = between(one, two), between(two, one)
    assert [(each.name, each.old, each.new) for each in there.facts] == [
        (each.name, each.new, each.old) for each in back.facts
    ]
    assert {(each.layer, each.figure, each.old, each.new) for each in there.figures} == {
        (each.layer, each.figure, each.new, each.old) for each in back.figures
    }
    assert {each.name for each in there.layers} == {each.name for each in back.layers}
    assert {each.name for each in there.steps} == {each.name for each in back.steps}
    assert [each.name for each in there.removed] == [each.name for each in back.added]
    tolerances = [0.0, 0.01, 0.5, 10.0]
    differing = [there.differs(tolerance) for tolerance in tolerances]
    assert differing == sorted(differing, reverse=True)
    assert to_text(DifferenceReport(found=there, tolerance=0.01))
    json.loads(to_json(difference_json(there, 0.01)))


def everything(folder: Path) -> Plan:
    """A plan from a folder, with digital operators, observed sums, and the records of data."""
    rows = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    plan = model_plan(mlp_model(4, 2, 2), folder, calibration={"x": rows}, policy="calibrated")
    budget = BudgetRecord(
        max_drop=0.5,
        held_out_sha256="0" * 64,
        split=False,
        samples=100,
        lost=10,
        gained=2,
        drop=0.08,
        drop_bound=0.146,
        confidence=0.95,
        adc_law="isaac",
        device=None,
    )
    write_plan(replace(plan, provenance=plan.provenance.model_copy(update={"budget": budget})), folder / "plan.bsc")
    return read_plan(folder / "plan.bsc")


def kinds(value: Any, path: tuple[str | int, ...] = (), kind: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Leaves of a JSON document by their kind: names of layers, items of lists and resolutions are `*`."""
    if not isinstance(value, dict | list):
        yield ".".join(kind), path
        return
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        generic = isinstance(key, int) or key.isdecimal() or (kind and kind[-1] in ("layers", "conversions"))
        yield from kinds(each, (*path, key), (*kind, "*" if generic else key))


def others_of(value: Any) -> list[Any]:
    """What a leaf may be instead: last digits of hashes and small parts of numbers count too."""
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1]
        case float():
            return [value * (1 + 1e-6) or 1e-6, value / 2]
        case str():
            return [f"{value[:-1]}{'0' if value[-1:] != '0' else '1'}", f"{value}x"]  # the last digit of a hash
        case _:
            return [1, "x", 0.5]


UNSEEN: Final = {
    r"plan\.bsc_version": "another version",
    r"plan\.model\.file": "another file name",
}
"""By what a path must be like, why a change there is no difference."""


def test_every_value_of_a_report_is_compared(tmp_path: Path) -> None:
    """Altered alone, each kind of value is seen, is no report any more, or is listed as free."""
    whole = json.loads(to_json(report_of(everything(tmp_path))))
    report = ReportDocument.model_validate_json(json.dumps(whole))
    unseen: set[str] = set()
    seen = 0
    for kind, path in dict(kinds(whole)).items():
        place = whole
        for key in path[:-1]:
            place = place[key]
        kept = place[path[-1]]
        for value in others_of(kept):
            place[path[-1]] = value
            try:
                altered = ReportDocument.model_validate_json(json.dumps(whole))
            except ValidationError:
                continue
            if between(report, altered).differs(0):
                seen += 1
            else:
                unseen.add(kind)
            break
        place[path[-1]] = kept
    assert [kind for kind in sorted(unseen) if not any(re.fullmatch(free, kind) for free in UNSEEN)] == []
    assert [free for free in UNSEEN if not any(re.fullmatch(free, kind) for kind in unseen)] == []
    assert seen > 150
