"""The end of a report: what a plan gains and loses beside its baselines, what that rests on, and what would be better.

The full total decides: energy and power are of all that is charged on chips, as in `bsc.report.energy`. Whatever is
named as better has been priced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rich.console import Group, RenderableType

from bsc.report.beside import BASELINES
from bsc.report.chip import ROWS, Row
from bsc.report.document import PROVED, ChipFigures, ReportDocument
from bsc.report.table import Table
from bsc.report.text import new_table, plain_text
from bsc.units import UNKNOWN, format_ratio, format_si, ratio

Word = Literal["win", "even", "LOSS", "n/a"]

EVEN: Final = 0.005 + 1e-9
"""By how much two figures may differ, relatively, to be called even."""

OFFSET: Final = BASELINES.index("ISAAC 8 bit")
_SHOWN: Final = ("latency", "inferences", "power", "operations/s/W", "area, all copies")
VERDICT_ROWS: Final = (
    Row(label="energy, full total", value=lambda each: each.energy.total_j, unit="J", more_is_better=False),
    Row(label="energy, crossbar layers", value=lambda each: each.energy.layers_j, unit="J", more_is_better=False),
    *(row for label in _SHOWN for row in ROWS if row.label == label),
)
"""What a plan is judged by, what decides first."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A figure of a plan beside its baselines.

    Attributes:
        label: what it is called.
        plan: the plan's.
        unit: of it.
        better: how many times better the plan is than each baseline; None is unknown.
    """

    label: str
    plan: float | None
    unit: str
    better: tuple[float | None, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Of each baseline the ratio and what it is: "1.36× win"."""
        return tuple(f"{format_ratio(each)} {word(each)}" if each is not None else UNKNOWN for each in self.better)


def word(better: float | None) -> Word:
    """What a figure is called that is so many times better."""
    if better is None:
        return "n/a"
    if abs(better - 1.0) <= EVEN:
        return "even"
    return "win" if better > 1.0 else "LOSS"


def judged(report: ReportDocument) -> list[Judged]:
    """All figures of the verdict."""
    return [_judged(row, report.chip.columns) for row in VERDICT_ROWS]


def _judged(row: Row, columns: tuple[ChipFigures, ...]) -> Judged:
    ours, *others = map(row.value, columns)
    better = tuple(ratio(ours, each) if row.more_is_better else ratio(each, ours) for each in others)
    return Judged(label=row.label, plan=ours, unit=row.unit, better=better)


def verdict_table(report: ReportDocument) -> Table:
    """A row for each figure."""
    table = new_table("Verdict: times better than", ("", "this plan", *BASELINES))
    for each in judged(report):
        table.add_row(each.label, format_si(each.plan, each.unit), *each.words)
    return table


def verdict_notes(report: ReportDocument) -> Iterator[tuple[str, str]]:
    """What the verdict rests on, and what would be better: a label, and the words about it."""
    yield "resolutions", basis_words(report)
    yield from _more_copies(report)
    energies = judged(report)[:2]
    if any(word(each.better[OFFSET]) == "LOSS" for each in energies) and not _has_pairs(report):
        yield (
            "not priced",
            "pairs around centres, which have one conversion for both signs: --subtract analog --encoding centre",
        )


def verdict_section(report: ReportDocument) -> RenderableType:
    """The last section of every report of a plan."""
    lines = [f"{label:<18}{words}" for label, words in verdict_notes(report)]
    return Group(plain_text(""), verdict_table(report), plain_text(*lines))


def basis_words(report: ReportDocument) -> str:
    """What resolutions rest on: "100.0% proved for any input"."""
    names = {PROVED: "proved for any input", "calibrated": "by calibration data alone"}
    shares = sorted(report.totals.rests_on.items(), key=lambda each: -each[1])
    text = ", ".join(f"{share:.1%} {names.get(name, f'assumed ({name})')}" for name, share in shares if share)
    return text or "no column is converted"


def _more_copies(report: ReportDocument) -> Iterator[tuple[str, str]]:
    """What copies that fill the place at hand would give, if they are faster and take no more energy."""
    plan, filled = report.chip.plan, report.chip.filled
    faster, less = ratio(plan.interval_s, filled.interval_s), ratio(plan.energy.total_j, filled.energy.total_j)
    if faster is None or less is None or faster <= 1 + EVEN or less < 1 - EVEN:
        return
    energy = format_si(filled.energy.total_j, "J")
    yield (
        "better",
        f"{format_si(filled.inferences_per_s, '/s')} ({format_ratio(faster)}) at {energy} an inference, "
        f"{format_ratio(less)} less: --copies throughput",
    )


def _has_pairs(report: ReportDocument) -> bool:
    return any(layer.cells.analog_pairs for layer in report.plan.layers)
