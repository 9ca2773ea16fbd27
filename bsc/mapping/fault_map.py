"""Which cells of which crossbars are stuck, read from a CSV file.

    crossbar,row,column,stuck
    0,17,3,off                  the cell stays at level 0
    0,90,3,on                   at the highest level that cells of its layer have
    12,5,127,2                  or at level 2

A crossbar is a place on the chips, counted through all of their levels, as `bsc report --crossbars` and plans count
them. Row 0 is farthest from the converters and column 0 next to the row drivers, as in `bsc inspect --crossbar`.
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappingRecord

COLUMNS: Final = ("crossbar", "row", "column", "stuck")
WORKING: Final = -1
"""Of a cell that is not stuck, where others have their level."""
_ON: Final = 1 << 15
_MOST: Final = 1 << 48


@dataclass(frozen=True, eq=False, kw_only=True)
class FaultMap:
    """Stuck cells, F of them, sorted by crossbar, row and column.

    Attributes:
        file: name of the file.
        sha256: of its bytes.
        cells: crossbar, row, column and level (F, 4); a level of `_ON` is the highest that there is.
        lines: of the file that each is on (F,).
    """

    file: str
    sha256: str
    cells: NDArray[np.int64]
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.cells)

    def of_layer(self, record: MappingRecord, layer: MappedLayer, arrays: LayerArrays) -> "LayerFaults":
        """The faults of the crossbars of a layer.

        Args:
            record: that the layer is of; the map fits it (`require_fit`).
            layer: which one.
            arrays: of the layer.
        """
        assert layer.placed is not None
        index = np.argwhere(arrays.allocated)
        places: NDArray[Any] = np.arange(len(index))
        sharing = [
            each
            for each in record.layers
            if each.placed is not None
            and each.placed.crossbars_per_copy
            and (each.placed.segment, each.placed.first_slot) == (layer.placed.segment, layer.placed.first_slot)
        ]
        if len(sharing) > 1:  # then there is a place for each slice and polarity
            places = index[:, 2] * layer.cells.polarities + index[:, 3]
        first = {
            layer.placed.first_slot + int(place): (int(t), int(c), int(s), int(p))
            for place, (t, c, s, p) in zip(places, index.tolist(), strict=True)
        }
        found: dict[tuple[int, ...], NDArray[np.int64]] = {}
        for slot, crossbar in first.items():
            start, stop = np.searchsorted(self.cells[:, 0], [slot, slot + 1])
            if start < stop:
                corner = np.array([layer.placed.row, layer.placed.column, 0])
                cells = self.cells[start:stop, 1:] - corner
                cells[cells[:, 2] == _ON, 2] = layer.cells.max_level
                found[crossbar] = cells
        return LayerFaults(crossbars=found)

    def require_fit(self, record: MappingRecord) -> None:
        """Refuse a map that is not of a plan.

        Raises:
            ModelError: BSC317 for a plan without places or with copies, and for cells that its crossbars do not have.
        """
        for layer in record.layers:
            if layer.placed is None:
                raise _unfit(
                    self.file,
                    f"layer '{layer.name}' has no place on the chips",
                    "a pipeline without 'place'",
                    "add the pass place to the pipeline",
                )
            if layer.placed.copies > 1:
                raise _unfit(
                    self.file,
                    f"layer '{layer.name}' has copies, whose faults differ",
                    f"{layer.placed.copies} copies",
                    "compile with --copies none",
                )
        placed = [(layer.placed, layer) for layer in record.layers if layer.placed is not None]
        limits = {
            "crossbar": max((on.rules.slots for on, _ in placed), default=0),
            "row": max((layer.tile_rows for _, layer in placed), default=0),
            "column": max((layer.tile_cols for _, layer in placed), default=0),
        }
        levels = max((layer.cells.max_level for _, layer in placed), default=0)
        for column, (name, limit) in enumerate(limits.items()):
            beyond = np.flatnonzero(self.cells[:, column] >= limit)
            if len(beyond):
                at = beyond[0]
                size = (
                    f"{limits['row']} rows and {limits['column']} columns" if name != "crossbar" else f"{limit} places"
                )
                raise _unfit(
                    f"{self.file}, line {self.lines[at]}",
                    "is of larger crossbars than those of the plan" if name != "crossbar" else "is of more crossbars",
                    f"{name} {self.cells[at, column]}, and {size}",
                    "give the map of the hardware that the plan is for",
                )
        beyond = np.flatnonzero((self.cells[:, 3] != _ON) & (self.cells[:, 3] > levels))
        if len(beyond):
            at = beyond[0]
            raise _unfit(
                f"{self.file}, line {self.lines[at]}",
                "has a level that no cell of the plan can have",
                f"level {self.cells[at, 3]}, and {levels} the highest",
                "write on, off or a level of the plan's cells",
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerFaults:
    """The stuck cells of one layer.

    Attributes:
        crossbars: row, column and level (F, 3) of each crossbar with any, by row tile, column tile, slice and polarity;
            rows and columns count from the layer's first ones.
    """

    crossbars: dict[tuple[int, ...], NDArray[np.int64]]

    def __len__(self) -> int:
        return sum(map(len, self.crossbars.values()))

    def levels(self, crossbar: tuple[int, ...], rows: int, columns: int) -> NDArray[np.int64] | None:
        """Levels (rows, columns) that cells are stuck at, `WORKING` where they are not; None if none is."""
        found = np.full((rows, columns), WORKING)
        for row, column, level in self.within(crossbar, rows, columns):
            found[row, column] = level
        return found if (found != WORKING).any() else None

    def within(self, crossbar: tuple[int, ...], rows: int, columns: int) -> Iterator[tuple[int, int, int]]:
        """Row, column and level of the stuck cells among the first rows and columns."""
        for row, column, level in self.crossbars.get(crossbar, np.zeros((0, 3), np.int64)).tolist():
            if 0 <= row < rows and 0 <= column < columns:
                yield row, column, level


def read_fault_map(path: Path) -> FaultMap:
    """Read a file.

    Raises:
        UsageError: BSC202 for one that cannot be read.
        ModelError: BSC317 for the first thing that is wrong in it.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        seen = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(
            "BSC202", f"fault map '{path.name}' cannot be read", seen=seen, fix="give the path of a CSV file, UTF-8"
        ) from None
    return fault_map_from_csv(text, path.name, hashlib.sha256(data).hexdigest())


def fault_map_from_csv(text: str, where: str, sha256: str) -> FaultMap:
    """The map that a text holds.

    Args:
        text: the CSV text.
        where: file name for messages.
        sha256: of the file.

    Raises:
        ModelError: BSC317 for the first thing that is wrong in it.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, [value.strip() for value in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise _unfit(where, "is not CSV", str(error), f"write {','.join(COLUMNS)} and one cell a line") from None
    header = tuple(name.lower() for name in rows[0][1]) if rows else ()
    if header != COLUMNS:
        seen = ",".join(header) or "nothing"
        raise _unfit(where, "has another header", seen, f"begin with the line {','.join(COLUMNS)}")
    cells = np.array([_cell(f"{where}, line {number}", row) for number, row in rows[1:]], np.int64).reshape(-1, 4)
    lines = np.array([number for number, _ in rows[1:]], np.int64)
    order = np.lexsort((lines, *cells[:, 2::-1].T))
    cells, lines = cells[order], lines[order]
    same = np.flatnonzero((cells[1:, :3] == cells[:-1, :3]).all(axis=1))
    if len(same):
        crossbar, row, column, _ = cells[same[0]].tolist()
        raise _unfit(
            f"{where}, line {lines[same[0] + 1]}",
            "has a cell that was there before",
            f"crossbar {crossbar}, row {row}, column {column}, on line {lines[same[0]]} too",
            "leave one of them out",
        )
    return FaultMap(file=where, sha256=sha256, cells=cells, lines=lines)


def _cell(where: str, row: list[str]) -> tuple[int, int, int, int]:
    if len(row) != len(COLUMNS):
        raise _unfit(where, "has another number of values", f"{len(row)} values", f"write {', '.join(COLUMNS)}")
    numbers = []
    for name, value in zip(COLUMNS, row, strict=True):
        word = value.lower()
        if name == "stuck" and word in ("on", "off"):
            numbers.append(_ON if word == "on" else 0)
        elif (
            value.isascii()
            and value.isdecimal()
            and len(value) < 16
            and int(value) < (_ON if name == "stuck" else _MOST)
        ):
            numbers.append(int(value))
        else:
            wanted = "on, off or a level" if name == "stuck" else "a whole number of 0 or more"
            raise _unfit(where, f"{name} cannot be used", repr(value), f"write {wanted}")
    crossbar, line, column, level = numbers
    return crossbar, line, column, level


def _unfit(where: str, problem: str, seen: str, fix: str) -> ModelError:
    return ModelError("BSC317", f"{where}: {problem}", seen=seen, fix=fix)
