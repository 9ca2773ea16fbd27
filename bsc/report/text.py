"""What reports as text are made of: tables of plain cells, and text of a given width.

Reports take finished figures and only lay them out; the same figures for programs are beside each of them.
"""

import io
from collections.abc import Collection, Iterable, Sequence

import rich.table
from rich.console import Console, RenderableType
from rich.text import Text

from bsc.report.table import Justify, Table
from bsc.visible import visible, visible_lines

REPORT_WIDTH = 110
"""Of reports that no terminal gives a width."""


def to_text(report: RenderableType, width: int = REPORT_WIDTH) -> str:
    """The report without colours, lines stripped on the right."""
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(report)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def new_table(title: str, columns: Sequence[str], left: int = 1, *, numbers: Collection[int] = ()) -> Table:
    """A table whose first `left` columns are text, except for those in `numbers`, and the others numbers."""
    text = {*range(left)} - {*numbers}
    justify: list[Justify] = ["left" if position in text else "right" for position in range(len(columns))]
    return Table(title=title, columns=tuple(map(visible, columns)), justify=tuple(justify))


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


def plain(text: str) -> Text:
    """Lines as they are, but for characters that are not printable: names in them are untrusted."""
    return Text(visible_lines(text))
