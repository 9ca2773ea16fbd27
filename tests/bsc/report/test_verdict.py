"""The verdict of a report: wins, losses and what is even, by the full total; what is called better is."""

from pathlib import Path

import pytest

import bsc
from bsc.report.verdict import judged, verdict_notes, word
from bsc.testing import mlp_model, save

PAIRS = {"subtract": "analog", "encoding": "centre", "cut": "4-2-2"}


@pytest.mark.parametrize(
    ("better", "said"),
    [(None, "n/a"), (1.0, "even"), (1.005, "even"), (1.006, "win"), (0.995, "even"), (0.994, "LOSS")],
)
def test_words(better: float | None, said: str) -> None:
    assert word(better) == said


def test_ratios_say_how_many_times_better(tmp_path: Path) -> None:
    report = bsc.compile(save(mlp_model(200, 150, 10), tmp_path / "m.onnx")).cost().document
    rows = {each.label: each for each in judged(report)}
    ours, _, offset, _ = report.chip.columns
    energy, pace = rows["energy, full total"], rows["inferences"]
    totals = [each.energy.total_j or 0.0 for each in report.chip.columns]
    assert energy.better == pytest.approx([total / totals[0] for total in totals[1:]])
    assert pace.better[1] == pytest.approx(offset.interval_s / ours.interval_s)
    assert rows["energy, crossbar layers"].words[1].endswith("LOSS")


def test_what_is_called_better_is(tmp_path: Path) -> None:
    """Copies as advised give the pace and the energy that were said; then there is nothing left to advise."""
    model = save(mlp_model(200, 150, 10), tmp_path / "m.onnx")
    plan = bsc.compile(model).cost()
    assert "--copies throughput" in dict(verdict_notes(plan.document))["better"]
    filled = bsc.compile(model, copies="throughput").cost()
    assert filled.inferences_per_s == plan.document.chip.filled.inferences_per_s
    assert filled.total_energy_j == plan.document.chip.filled.energy.total_j
    assert "better" not in dict(verdict_notes(filled.document))


def test_pairs_are_named_only_where_there_are_none(tmp_path: Path) -> None:
    model = save(mlp_model(200, 150, 10), tmp_path / "m.onnx")
    assert "not priced" in dict(verdict_notes(bsc.compile(model).cost().document))
    assert "not priced" not in dict(verdict_notes(bsc.compile(model, **PAIRS).cost().document))  # type: ignore[arg-type]
