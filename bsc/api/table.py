"""Tables of figures for programs: rows, columns as arrays, and a pandas frame where pandas is installed."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.printable import visible
from bsc.report.csv_line import Cell, csv_table

if TYPE_CHECKING:
    import pandas

Row = dict[str, Cell]
MOST_ROWS = 60
"""Rows that a notebook shows."""


class Table(Sequence[Row]):
    """Rows that are dictionaries, and columns that are arrays; `pandas.DataFrame(table)` takes it as it is.

    `table[0]` is a row and `table["energy_j"]` a column: float64 if all its cells are numbers or unknown (NaN), int64
    if they are whole, bool, or text as objects.

    Args:
        columns: cells by name, all of one length; an unknown figure is None.
        units: of columns that have one, SI.
    """

    def __init__(self, columns: Mapping[str, Sequence[Cell]], units: Mapping[str, str] | None = None) -> None:
        self._columns = {name: tuple(cells) for name, cells in columns.items()}
        self._units = dict(units or {})
        assert len({len(cells) for cells in self._columns.values()}) <= 1, "columns of one length"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._columns)

    @property
    def units(self) -> dict[str, str]:
        """Units by name of the column, "1" for shares; columns without one are left out."""
        return dict(self._units)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __iter__(self) -> Iterator[Row]:
        for cells in zip(*self._columns.values(), strict=True):
            yield dict(zip(self._columns, cells, strict=True))

    @overload
    def __getitem__(self, which: int) -> Row: ...
    @overload
    def __getitem__(self, which: slice) -> "Table": ...
    @overload
    def __getitem__(self, which: str) -> NDArray[Any]: ...
    def __getitem__(self, which: int | slice | str) -> "Row | Table | NDArray[Any]":
        """A row, some of the rows, or a column.

        Raises:
            IndexError: for a row that is not there.
            KeyError: for a column that is not there.
        """
        if isinstance(which, str):
            return _array(self._columns[which])
        if isinstance(which, slice):
            return Table({name: cells[which] for name, cells in self._columns.items()}, self._units)
        return {name: cells[which] for name, cells in self._columns.items()}

    def to_pandas(self) -> "pandas.DataFrame":
        """The table as a pandas frame.

        Raises:
            UsageError: BSC208 where pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UsageError(
                "BSC208",
                "there is no pandas to make a frame with",
                seen="no package 'pandas'",
                fix="install it with: pip install pandas; or take columns as arrays, as in table['energy_j']",
            ) from None
        return pandas.DataFrame({name: self[name] for name in self._columns})

    def to_csv(self) -> str:
        """The table as comma-separated values, the names of the columns first."""
        return csv_table(self._columns)

    def __repr__(self) -> str:
        rows = "1 row" if len(self) == 1 else f"{len(self)} rows"
        names = ", ".join([*self.columns[:6], *(["..."] if len(self.columns) > 6 else [])])
        return f"<bsc.Table {rows}, {len(self.columns)} columns: {visible(names)}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{_html(name)}</th>" for name in self.columns)
        rows = itertools.islice(zip(*self._columns.values(), strict=True), MOST_ROWS)
        body = "".join(f"<tr>{''.join(f'<td>{_html(_text(cell))}</td>' for cell in cells)}</tr>" for cells in rows)
        more = f"<p>{len(self)} rows, of which {MOST_ROWS} are shown</p>" if len(self) > MOST_ROWS else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _array(cells: Sequence[Cell]) -> NDArray[Any]:
    kinds = {type(cell) for cell in cells if cell is not None}
    if str in kinds or not kinds:
        return np.array(cells, object)
    if None in cells or float in kinds:
        return np.array([np.nan if cell is None else cell for cell in cells], np.float64)
    return np.array(cells, bool if kinds == {bool} else np.int64)


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _html(text: str) -> str:
    return escape(visible(text))
