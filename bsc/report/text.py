"""What reports as text are made of: tables of plain cells, and text of a given width.

Reports take finished figures and only lay them out; the same figures for programs are beside each of them.
"""

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bsc.visible import visible, visible_lines

REPORT_WIDTH = 110
"""Of reports that no terminal gives a width."""


def to_text(report: RenderableType, width: int = REPORT_WIDTH) -> str:
    """The report without colours, lines stripped on the right."""
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(report)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def new_table(title: str, columns: Sequence[str], left: int = 1) -> Table:
    """A table whose first `left` columns are text and the others numbers."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(columns):
        table.add_column(name, justify="left" if position < left else "right", overflow="fold")
    return table


def counted(number: int, what: str) -> str:
    """A number of things: "1 design", "2 designs"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def plain(text: str) -> Text:
    """Lines as they are, but for characters that are not printable: names in them are untrusted."""
    return Text(visible_lines(text))


def add_row(table: Table, *cells: str) -> None:
    """Add cells as they are: names may hold line ends, and brackets that rich would read as markup."""
    table.add_row(*(Text(visible(cell)) for cell in cells))
