"""What `bsc diff` prints: nothing but what is not the same, and in the end what comes of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType

from bsc.plan.difference import ArrayDifference
from bsc.report.difference import Change, Difference, FigureChange
from bsc.report.table import Table
from bsc.report.text import new_table, plain_text
from bsc.units import UNKNOWN, format_si

ABSENT = "-"
MOST_DIGITS = 12
SI = ("J", "s", "m²", "W", "Js", "/s", "OPS", "OPS/W")
"""Units that take prefixes."""
MOST_OTHERS = 12
"""Values without a table of their own that are shown one by one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DifferenceReport:
    """What `bsc diff` prints.

    Attributes:
        found: the difference.
        tolerance: relative change of a figure that does not count.
    """

    found: Difference
    tolerance: float

    def __rich__(self) -> RenderableType:
        found = self.found
        if found.empty:
            return plain_text(f"{found.old} and {found.new} do not differ")
        parts: list[RenderableType] = [plain_text(f"old  {found.old}", f"new  {found.new}", "")]
        if found.facts or found.steps:
            parts.append(_words("Made otherwise", [*found.facts, *found.steps]))
        if found.removed_steps or found.added_steps:
            parts.append(_pipeline(found))
        if found.layers or found.removed or found.added:
            parts.append(_layers(found))
        if found.figures:
            parts.append(_figures(found.figures, self.tolerance))
        if len(found.others) > MOST_OTHERS:
            parts.append(plain_text(f"and {len(found.others)} more values of the reports, which --json lists", ""))
        elif found.others:
            parts.append(_words("Further values that differ", found.others))
        return Group(*parts, plain_text(self._verdict()))

    def _verdict(self) -> str:
        found, figures = self.found, self.found.figures
        one_sided = len(found.removed) + len(found.added)
        layers = f"{one_sided + len(found.layers)} layers and " if one_sided + len(found.layers) else ""
        if self.tolerance == 0:
            return f"different: {layers}{_count(len(figures), 'figure')}" if layers or figures else "different"
        beyond = [each for each in figures if each.beyond(self.tolerance)]
        within = "within" if not found.differs(self.tolerance) else "beyond"
        text = f"{within} the tolerance of {100 * self.tolerance:g}%"
        if beyond:
            text += f": {len(beyond)} of {_count(len(figures), 'figure')}"
        if one_sided:
            text += f"{' and' if beyond else ':'} {_count(one_sided, 'layer')} of one side alone"
        return text


def _words(title: str, changes: Sequence[Change]) -> Table:
    table = new_table(title, ("", "old", "new"), 3)
    for each in changes:
        table.add_row(each.name, each.old or ABSENT, each.new or ABSENT)
    return table


def _pipeline(found: Difference) -> RenderableType:
    lines = [*(f"- {step}" for step in found.removed_steps), *(f"+ {step}" for step in found.added_steps)]
    return plain_text(*lines, "", title="Pipeline")


def _layers(found: Difference) -> Table:
    table = new_table("Layers that differ", ("layer", "", "old", "new"), 4)
    for change in (*found.removed, *found.added):
        table.add_row(change.name, "on one side alone", change.old or ABSENT, change.new or ABSENT)
    for layer in found.layers:
        rows = [(_setting(each.name), each.old or ABSENT, each.new or ABSENT) for each in layer.settings]
        if layer.arrays is not None:
            rows += _array_rows(layer.arrays)
        elif layer.hashes is not None:
            rows.append((f"SHA-256 of {layer.hashes.name}", layer.hashes.old or ABSENT, layer.hashes.new or ABSENT))
        for position, row in enumerate(rows):
            table.add_row("" if position else layer.name, *row)
    return table


def _setting(name: str) -> str:
    return re.sub(r"\b(adc|dac)\b", lambda found: str(found[0]).upper(), name.replace("_", " "))


def _array_rows(arrays: ArrayDifference) -> list[tuple[str, str, str]]:
    counts = (
        ("weight codes", arrays.codes, arrays.all_codes),
        ("ADC settings", arrays.conversions, arrays.all_conversions),
        ("crossbars", arrays.crossbars, arrays.all_crossbars),
    )
    rows = [
        (name, "", f"mapped otherwise, {of} now" if count is None else f"{count} of {of} differ")
        for name, count, of in counts
        if count != 0
    ]
    rows += [("also", "", other) for other in arrays.others]
    return rows or [("nothing but bytes", "", "of the file")]


def _figures(figures: Sequence[FigureChange], tolerance: float) -> Table:
    beyond = (f"beyond {100 * tolerance:g}%",) if tolerance else ()
    table = new_table("Figures that differ", ("layer", "figure", "old", "new", "change", *beyond), 2)
    last: str | None = ""
    for each in figures:
        layer = "" if each.layer == last else each.layer or "all"
        marks = ["yes" if each.beyond(tolerance) else ""] if beyond else []
        table.add_row(layer, each.label, *_shown(each), _change(each), *marks)
        last = each.layer
    return table


def _shown(figure: FigureChange) -> tuple[str, str]:
    """Old and new value, with more digits where three make no difference."""
    old = new = ""
    for digits in range(3, MOST_DIGITS + 1):
        old, new = (_value(value, figure.unit, digits) for value in (figure.old, figure.new))
        if old != new:
            break
    return old, new


def _value(value: float | None, unit: str, digits: int) -> str:
    if value is None:
        return UNKNOWN
    if unit in SI:
        return format_si(value, unit, digits=digits)
    if unit == "1":
        return f"{value:.{digits - 2}%}"
    return f"{value:.{digits - 1}f}" if unit == "bit" else f"{value:.0f}"


def _change(figure: FigureChange) -> str:
    return UNKNOWN if figure.relative is None else f"{100 * figure.relative:+#.3g}".rstrip(".") + "%"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
