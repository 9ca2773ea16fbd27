"""Tables of a plan beside its baselines: figures and ratios."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bsc.report.table import Table
from bsc.report.text import new_table
from bsc.units import format_ratio

BASELINES: Final = ("uniform 8 bit", "ISAAC 8 bit", "RAELLA 7 bit")
"""What there is room for of their names."""


@dataclass(frozen=True, kw_only=True)
class BesideRow:
    """A row of such a table, in words.

    Attributes:
        label: what the figure is called.
        plan: the plan's.
        baselines: of each baseline its figure, and how many times better the plan is; None where that is not known, or
            neither more nor less is better.
        has_ratios: the figure has ratios at all.
    """

    label: str
    plan: str
    baselines: tuple[tuple[str, float | None], ...]
    has_ratios: bool = True


def beside_table(title: str, first: str, sections: Iterable[Sequence[BesideRow]]) -> Table:
    """A table beside the baselines.

    Args:
        title: of it.
        first: heading of the labels.
        sections: rows; a blank line is between two sections.
    """
    table = new_table(title, (first, "this plan", *(text for name in BASELINES for text in (name, "ratio"))))
    for rows in sections:
        table.add_section()
        for row in rows:
            ratios = [format_ratio(better) if row.has_ratios else "" for _, better in row.baselines]
            theirs = [text for text, _ in row.baselines]
            table.add_row(row.label, row.plan, *(cell for pair in zip(theirs, ratios, strict=True) for cell in pair))
    return table
