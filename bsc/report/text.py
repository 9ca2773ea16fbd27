"""What reports as text are made of: lines, tables of plain cells, and text of a given width.

Reports take finished figures and only lay them out; the same figures for programs are beside each of them. Names are
made visible here (`bsc.printable`): views have no other way to text, titles and cells, and no console of their own.
"""

import io
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import rich.table
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from bsc.printable import visible, visible_lines
from bsc.report.table import Justify, Table

_LABEL = re.compile(r" +|\S+( \S+){0,3} {2,}")

REPORT_WIDTH = 110
"""Of reports that no terminal gives a width."""


def to_text(report: RenderableType, width: int = REPORT_WIDTH) -> str:
    """The report without colours, lines stripped on the right."""
    console = Console(
        width=width,
        file=io.StringIO(),
        color_system=None,
        force_terminal=False,
        force_jupyter=False,  # or a notebook would show an empty line of its own
        legacy_windows=False,
        markup=False,
    )
    with console.capture() as capture:
        # Nothing is wider than a report's own width, and looking at every line takes time.
        console.print(_Visible(report), crop=width < REPORT_WIDTH)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def print_to_terminal(report: RenderableType, console: Console) -> None:
    """The report in the width and colours of a terminal."""
    console.print(_Visible(report))


@dataclass(frozen=True)
class PlainText:
    """Lines as they are, none of which can begin another one: what does not fit continues further to the right.

    Attributes:
        lines: without their ends; the text behind a word and two spaces is what its continuation stands below.
        title: shown bold above them, with an empty line between.
    """

    lines: Sequence[str]
    title: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title is not None:
            yield Text(f"{visible(self.title)}\n", style="bold")
        for line in map(visible, self.lines):
            first, *rest = Text(line).wrap(console, options.max_width) or [Text()]
            yield first
            if rest:
                label = _LABEL.match(line)
                indent = min(label.end() if label is not None else 2, options.max_width // 2)
                behind = Text(line[len(first.plain) :].lstrip())
                for each in behind.wrap(console, options.max_width - indent):
                    yield Text(" " * indent) + each


def plain_text(*lines: str, title: str | None = None) -> PlainText:
    """Lines of a report."""
    return PlainText(lines, title)


def new_table(title: str, columns: Sequence[str], left: int = 1, *, numbers: Collection[int] = ()) -> Table:
    """A table whose first `left` columns are text, except for those in `numbers`, and the others numbers."""
    text = {*range(left)} - {*numbers}
    justify: list[Justify] = ["left" if position in text else "right" for position in range(len(columns))]
    return Table(title=title, columns=tuple(map(visible, columns)), justify=tuple(justify), stacks=True)


def pairs(rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Names, and what is to be said of each beside it."""
    grid = rich.table.Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for cells in rows:
        grid.add_row(*(Text(visible(cell)) for cell in cells))
    return grid


def counted(number: int, what: str) -> str:
    """A number of things: "1 design", "2 designs"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@dataclass(frozen=True)
class _Visible:
    """A report of which nothing invisible gets to a terminal but the codes that the console makes itself."""

    report: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.report, options):
            yield segment if segment.control else Segment(visible_lines(segment.text), segment.style)
