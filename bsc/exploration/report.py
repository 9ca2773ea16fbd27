"""The report of a sweep as text: what was tried, and the designs that no other one beats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import ConsoleOptions, Group, RenderableType, RenderResult

from bsc.exploration.designs import CHIP_FIGURES, FIGURES, Design, Exploration
from bsc.report.table import Table
from bsc.report.text import REPORT_WIDTH, counted, new_table, pairs, plain_text
from bsc.units import UNKNOWN, format_si

MOST_ROWS = 40
"""Designs of a front that are shown as text; the files have all of them."""
MOST_REFUSALS = 5
TIMES = "digital operators take energy there and no time"
"""What figures of chips leave out, as the report of a plan says too."""
GAP = 3
"""Between two columns."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplorationReport:
    """What `bsc explore` prints.

    Attributes:
        found: the sweep.
    """

    found: Exploration

    def __rich_console__(self, _console: object, options: ConsoleOptions) -> RenderResult:
        found, best = self.found, self.found.best
        yield pairs(summary_lines(found))
        rows = _unlike(best) if found.on_chips else best
        if best:
            yield plain_text("")
            yield front(found, rows[:MOST_ROWS], options.max_width)
        if len(rows) > MOST_ROWS:
            yield plain_text(f"and {len(rows) - MOST_ROWS} more on the front, which --csv and --html list")
        if len(rows) < len(best):
            more = counted(len(best) - len(rows), "design")
            yield plain_text(f"and {more} with the figures of one of these, which --csv and --html list")


def _unlike(designs: Sequence[Design]) -> list[Design]:
    """The first of all designs with the same figures: chips at hand that nobody needs change nothing."""
    first: dict[tuple[float | None, ...], Design] = {}
    for design in designs:
        first.setdefault(tuple(design.figures.values()), design)
    return list(first.values())


def summary_lines(found: Exploration) -> list[tuple[str, str]]:
    """What was tried and what came of it, in words."""
    refused = [design for design in found.designs if design.code is not None]
    lines = [
        ("model", found.model),
        ("space", f"{found.space}, {counted(found.grid, 'design')}, {found.method}"),
        ("tried", f"{len(found.designs)}, {len(found.designs) - len(refused)} of which can exist"),
        ("front", f"{len(found.front)} that no other design beats in {judged_in(found)}"),
    ]
    if found.data is not None:
        chips = f", the lower end of its interval on {found.trials} chips of {_devices(found.noise)}"
        lines.append(("accuracy", f"replayed on {found.data}{chips if found.noise else ''}"))
    if found.on_chips:
        lines.append(("chips", f"every design placed as bsc compile places it; {TIMES}"))
    lines += [("unknown", text) for text in _unknown(found)]
    problems: dict[str, int] = {}
    for design in refused:
        problems[f"[{design.code}] {design.problem}"] = problems.get(f"[{design.code}] {design.problem}", 0) + 1
    commonest = sorted(problems, key=lambda problem: -problems[problem])
    lines += [("refused", f"{problems[problem]} with {problem}") for problem in commonest[:MOST_REFUSALS]]
    if len(commonest) > MOST_REFUSALS:
        lines.append(("", f"and {len(commonest) - MOST_REFUSALS} more kinds"))
    return lines


def _devices(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"the worst of {', '.join(names)}"


def front(found: Exploration, designs: Sequence[Design], width: int) -> RenderableType:
    """Designs with what they chose where the space leaves a choice, and their figures, in so many columns.

    A table of all figures, of those that fit, or, where not even the objectives do, a line for each figure.
    """
    figures, objectives = shown_figures(found), len(found.objectives)
    table = _front_table(found, designs, figures)
    while len(figures) > objectives and not _fits(found, table, width):
        figures = figures[:-1]
        table = _front_table(found, designs, figures)
    if not _fits(found, table, width) and table.least_width > width:
        return _stacked(found, designs)
    left_out = shown_figures(found)[len(figures) :]
    if not left_out:
        return table
    return Group(table, plain_text(f"--csv and --html have {enumerated(left_out)} too"))


def _fits(found: Exploration, table: Table, width: int) -> bool:
    """Whether a table need not be narrowed; off chips, whose figures are few, whether it can be."""
    return (table.width if found.on_chips else table.least_width) <= width


def _front_table(found: Exploration, designs: Sequence[Design], figures: Sequence[str]) -> Table:
    axes = found.varying
    names = ["design", *map(axis_label, axes), *(FIGURES[name].label for name in figures)]
    rows = [
        [
            str(each.number),
            *(each.choices[axis] for axis in axes),
            *(show(name, each.figures[name]) for name in figures),
        ]
        for each in designs
    ]
    text = 1 + len(axes)
    if sum(max(map(len, cells)) + GAP for cells in zip(names, *rows, strict=True)) > REPORT_WIDTH:
        names = ["design", "choices", *names[text:]]
        rows = [[row[0], chosen(found, each), *row[text:]] for row, each in zip(rows, designs, strict=True)]
        text = 2
    table = new_table(f"Front in {judged_in(found)}", names, text)
    for row in rows:
        table.add_row(*row)
    return table


def _stacked(found: Exploration, designs: Sequence[Design]) -> RenderableType:
    """Designs one below the other, each with its objectives."""
    label = max(len(FIGURES[name].label) for name in found.objectives)
    lines = []
    for each in designs:
        lines.append(f"design {each.number}  {chosen(found, each)}")
        lines += [f"  {FIGURES[name].label:{label}}  {show(name, each.figures[name])}" for name in found.objectives]
    return plain_text(*lines, title=f"Front in {judged_in(found)}")


def axis_label(axis: str) -> str:
    """What reports call an axis: area and power are budgets there, beside figures of the same name."""
    return f"{axis} budget" if axis in ("area", "power") else axis


def chosen(found: Exploration, design: Design) -> str:
    """What a design chose where the space leaves a choice, in one line."""
    return ", ".join(f"{axis_label(axis)} {design.choices[axis]}" for axis in found.varying)


def shown_figures(found: Exploration) -> list[str]:
    """Figures that any design has, objectives first."""
    names = [*CHIP_FIGURES, *(name for name in FIGURES if name not in CHIP_FIGURES)]
    known = [name for name in names if any(each.figures.get(name) is not None for each in found.designs)]
    return [*found.objectives, *(name for name in known if name not in found.objectives)]


def show(name: str, value: float | None) -> str:
    """A figure as text."""
    unit = FIGURES[name].unit
    shown: Callable[[float], str] = {
        "": lambda number: f"{number:.0f}",
        "%": lambda number: f"{100 * number:.2f}%",
    }.get(unit, lambda number: format_si(number, unit))
    return UNKNOWN if value is None else shown(value)


def enumerated(names: Sequence[str]) -> str:
    """Labels of figures as an enumeration."""
    *some, last = (FIGURES[name].label for name in names)
    return f"{', '.join(some)} and {last}" if some else last


def judged_in(found: Exploration) -> str:
    """The front's objectives, and the condition that designs must meet."""
    return enumerated(found.objectives) + (", under the same ADC law" if found.several_laws else "")


def _unknown(found: Exploration) -> list[str]:
    """How many designs that can exist lack an objective, for each that any lacks."""
    lines = []
    for name in found.objectives:
        count = sum(design.code is None and design.figures.get(name) is None for design in found.designs)
        if count:
            lines.append(f"{counted(count, 'design')} {'has' if count == 1 else 'have'} no known {FIGURES[name].label}")
    return lines
