"""Whole reports on plans small enough to check by eye; the compile report is in tests/golden/."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bsc.plan.cells import CrossbarIndex
from bsc.plan.document import ImportRecord
from bsc.replay.paired import PairedAccuracy
from bsc.replay.proofs import LayerProof
from bsc.replay.scores import OutputDifference
from bsc.replay.tally import LayerTally
from bsc.replay.verification import Accuracy, Verification
from bsc.report.build import layer_totals
from bsc.report.crossbars import CrossbarReport
from bsc.report.plan import LayerReport, PlanReport
from bsc.report.target import TargetReport
from bsc.report.text import to_text
from bsc.report.verification import VerificationReport, imported, verification_json
from tests.bsc.plans import ISAAC, coded, mapped, only_layer, plan_of
from tests.bsc.report.reports import LAWS, report_of
from tests.bsc.targets import without_areas, without_price


def test_layer_report() -> None:
    layer, arrays = only_layer(mapped(coded([[-27, 5], [0, 5], [64, 0]]), rows=2, cols=2))
    assert to_text(LayerReport(layer=layer, totals=layer_totals(layer, arrays))) == (
        "layer      fc (MatMul)\n"
        "weights    8 bit + sign, differential, 4 slices of 2 bit\n"
        "inputs     8 bit unsigned, step 1, 1-bit DAC\n"
        "mapped     3 of 3 rows, 2 of 2 columns\n"
        "driven     2 rows at a time\n"
        "ADC        lossless per column\n"
        "Crossbars\n"
        "\n"
        " layer   operator   K×N   vectors   tiles   crossbars   utilised    % non-zero, slice 3..0\n"
        " ─────────────────────────────────────────────────────────────────────────────────────────\n"
        " fc      MatMul     3×2         1     2×1    16 of 16      75.0%    16.7  16.7    50    50\n"
        "\n"
        "Slice columns by ADC bits assigned\n"
        "\n"
        " slice   0   1   2   mean   largest sum   lossless\n"
        " ─────────────────────────────────────────────────\n"
        " 3       7   1   .   0.12             1     100.0%\n"
        " 2       7   1   .   0.12             1     100.0%\n"
        " 1       6   1   1   0.38             2     100.0%\n"
        " 0       6   1   1   0.38             3     100.0%\n"
        "\n"
        "Slice columns by ADC bits proved to be enough\n"
        "\n"
        " slice   0   1   2   mean   largest sum   lossless\n"
        " ─────────────────────────────────────────────────\n"
        " 3       7   1   .   0.12             1     100.0%\n"
        " 2       7   1   .   0.12             1     100.0%\n"
        " 1       6   1   1   0.38             2     100.0%\n"
        " 0       6   1   1   0.38             3     100.0%\n"
        "\n"
    )


def test_crossbar_report() -> None:
    layer, arrays = only_layer(mapped(coded([[-27, 5], [0, 5], [64, 0]]), rows=2, cols=2))
    index = CrossbarIndex.parse("0,0,0,+", layer, arrays)
    assert to_text(CrossbarReport(layer=layer, arrays=arrays, index=index)) == (
        "crossbar   fc 0,0,0,+ (row tile, column tile, slice, sign)\n"
        "cells      2 rows x 2 columns in use, 50.0% non-zero\n"
        "\n"
        "Bitlines\n"
        "\n"
        " bitline   model column   non-zero cells   sum of levels   ADC bits   ADC step\n"
        " ─────────────────────────────────────────────────────────────────────────────\n"
        "       0              0                0               0          0          1\n"
        "       1              1                2               2          2          1\n"
        "\n"
    )


def test_verification_report() -> None:
    plan = plan_of(coded([[1]]))
    found = Verification(
        samples=4,
        source="data.npz",
        tallies={"fc": LayerTally(results=40, differing=3, conversions=320, clipped=5)},
        outputs={"y": OutputDifference(values=8, differing=2, largest=0.25, relative_rms=None)},
        accuracy=Accuracy(float_model=None, quantised=0.75, replayed=0.5),
        paired=PairedAccuracy(samples=4, lost=1, gained=0),
    )
    assert to_text(VerificationReport(plan=plan, found=found)) == (
        f"model      {plan.document.model.file}\n"
        "data       data.npz, 4 samples\n"
        "exact: no\n"
        "           3 of 40 layer results differ from the quantised integer model\n"
        "import     not checked against the file: not compiled from one\n"
        "clipped    5 of 320 conversions\n"
        "float      largest difference 0.25, relative RMS n/a\n"
        "accuracy   quantised 75.00%, replayed 50.00%\n"
        "drop       25.00 points: 1 samples lost, 0 gained; below 80.82 points with 95% confidence\n"
    )


def test_verification_of_several_outputs() -> None:
    """A line for each; what has no numbers is counted, and what *exact* is relative to is said."""
    plan = plan_of(coded([[1]]))
    model = plan.provenance.model.model_copy(
        update={
            "check": ImportRecord(inputs="made-up", samples=2, reason=""),
            "notes": ("the model takes one sample at a time",),
        }
    )
    checked = replace(plan, provenance=plan.provenance.model_copy(update={"model": model}))
    outputs = {
        "label": OutputDifference(values=4, differing=1, largest=None, relative_rms=None),
        "scores": OutputDifference(values=8, differing=8, largest=0.5, relative_rms=0.25),
        "names": OutputDifference(values=0, differing=0, largest=None, relative_rms=None),
    }
    found = Verification(samples=4, source="made up", tallies={}, outputs=outputs, accuracy=None, paired=None)
    assert (found.difference_max, found.difference_rms) == (0.5, 0.25)
    assert to_text(VerificationReport(plan=checked, found=found)).splitlines()[2:] == [
        "exact: yes",
        "           0 of 0 layer results differ from the quantised integer model",
        "import     equals the file in onnxruntime on 2 made-up samples, but for rounding; as recorded",
        "note       the model takes one sample at a time",
        "clipped    0 of 0 conversions",
        "float      label: 1 of 4 differ; no numbers, or not all of them finite",
        "           scores: largest difference 0.5, relative RMS 0.25",
        "           above 5%: --per-layer shows where; see --keep-digital",
        "           names: n/a: empty, or too large to be compared",
    ]


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (
            ImportRecord(inputs="data", samples=1, reason=""),
            "equals the file in onnxruntime on 1 sample, ",
        ),
        (
            ImportRecord(inputs="none", samples=0, reason="--no-import-check"),
            "not checked against the file: --no-import-check",
        ),
    ],
)
def test_words_for_how_the_import_was_checked(check: ImportRecord, text: str) -> None:
    assert imported(check).startswith(text)


def test_checked_proofs() -> None:
    found = Verification(samples=1, source="random", tallies={}, outputs=None, accuracy=None, paired=None)
    attacked = LayerProof(conversions=32, lossless=32, vectors=23, attacked=552)
    for subtraction, word in (("digital", "slice columns"), ("analog", "pairs")):
        plan = plan_of(coded([[1]]), subtraction="analog" if subtraction == "analog" else "digital")
        report = VerificationReport(plan=plan, found=found, proofs={"a": attacked, "b": attacked})
        assert to_text(report).splitlines()[-2:] == [
            f"proofs     64 {word} derived again from the cells, all as recorded; 64 lossless for any input",
            "attacks    1104 conversions under 46 inputs made against them, nothing lost",
        ]
    claims_nothing = LayerProof(conversions=32, lossless=3, vectors=0, attacked=0)
    last = to_text(VerificationReport(plan=plan, found=found, proofs={"a": claims_nothing})).splitlines()[-1]
    assert last == "proofs     32 pairs derived again from the cells, all as recorded; 3 lossless for any input"


def test_verification_without_a_model() -> None:
    plan = plan_of(coded([[1]]))
    tallies = {"fc": LayerTally(results=4, conversions=32, proved=16)}
    found = Verification(
        samples=4,
        source="random",
        tallies=tallies,
        outputs=None,
        accuracy=None,
        paired=None,
    )
    assert to_text(VerificationReport(plan=plan, found=found)).splitlines()[2:] == [
        "exact: yes",
        "           0 of 4 layer results differ from the quantised integer model",
        "import     not checked against the file: not compiled from one",
        "clipped    0 of 32 conversions, 16 of which are proved lossless and not carried out",
        "float      n/a: needs the model with --model",
    ]
    assert verification_json(found) == {
        "samples": 4,
        "data": "random",
        "exact": True,
        "layers": {"fc": {"results": 4, "differing": 0, "conversions": 32, "clipped": 0, "proved": 16}},
        "float_difference_max": None,
        "accuracy_drop": None,
        "float_difference_relative_rms": None,
        "accuracy": None,
        "proofs": None,
        "layer_differences": None,
        "outputs": None,
    }


def test_citation_keys_of_a_target_are_shown() -> None:
    text = to_text(TargetReport(target=ISAAC))
    assert text.startswith("isaac: ISAAC-CE: 128x128 arrays")
    for quantity in ISAAC.sources().values():
        key, _, _ = quantity.source.partition("]")
        assert f"{key}]" in text


def test_names_with_brackets_are_not_markup() -> None:
    plan = plan_of(coded([[1, 2]], name="[bold]fc[/bold]"))
    assert "[bold]fc[/bold]" in to_text(PlanReport(report=report_of(plan)))


def test_json_has_the_figures_of_the_report() -> None:
    plan = plan_of(coded(np.arange(12).reshape(4, 3)))
    report = report_of(plan)
    figures = report.cost
    json.dumps(figures.model_dump(mode="json"), allow_nan=False)
    parts = figures.plan.energy_by_action_j
    assert figures.plan.energy_j == math.fsum(energy or 0 for energy in parts.values())
    assert set(figures.adc_laws) == set(LAWS)
    (layer,) = report.layers.values()
    assert [sum(part.assigned_bits.values()) for part in layer.slices] == [6, 6, 6, 6]


def test_unknown_prices_are_not_zero() -> None:
    target = without_areas(without_price(ISAAC, "bus_bit"))
    plan = plan_of(coded([[1, 2]]))
    report = report_of(plan, target=target)
    assert report.cost.plan.energy_j is None
    assert report.cost.plan.energy_by_action_j["bus_bit"] is None
    lines = to_text(PlanReport(report=report)).splitlines()
    for name in ("bus", "energy", "area", "power", "operations/s/W"):
        line, *verdict = [line for line in lines if line.strip().startswith(f"{name}  ")]
        assert line.split()[-5:] == ["n/a"] * 5
        assert all(each.split()[-3:] == ["n/a"] * 3 for each in verdict)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((None, None), "a step for each input vector, without --calib data"),
        ((0.5, None), "steps of the model in 1 layers, else a step for each input vector, without --calib data"),
        ((0.5, 0.25), "steps of the model"),
    ],
)
def test_where_input_steps_come_from(steps: tuple[float | None, float | None], words: str) -> None:
    first = coded([[1]], name="a", input_scale=steps[0])
    plan = plan_of(first, coded([[1]], name="b", input_scale=steps[1], input="y", output="z"))
    text = to_text(PlanReport(report=report_of(plan)))
    assert f"; {words} digital" in " ".join(text.split())
