"""Results that know how to show themselves: a line at a prompt, the report in `print`, and a notebook's cell."""

from abc import ABC, abstractmethod
from html import escape
from typing import TYPE_CHECKING

from bsc.printable import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.report.table import Table


class Shown(ABC):
    """Something with a report; `print` gives the text that the command of the same name prints."""

    @abstractmethod
    def __rich__(self) -> "RenderableType":
        """The report."""

    @abstractmethod
    def _line(self) -> str:
        """What it is, in a few words."""

    def __str__(self) -> str:
        from bsc.report.text import to_text

        return to_text(self.__rich__()).rstrip("\n")

    def __repr__(self) -> str:
        return f"<bsc.{type(self).__name__} {visible(self._line())}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def table_html(table: "Table") -> str:
    """A table of a report for a notebook; its cells are visible text already."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    sides = [f"text-align: {side}" for side in table.justify]
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{side}">{escape(cell)}</td>' for side, cell in zip(sides, row, strict=True))
        + "</tr>"
        for row in table.rows
    )
    return (
        f"<table><caption>{escape(visible(table.title))}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
