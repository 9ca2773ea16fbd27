"""Reads a plan folder with json and NumPy alone, and says what is in the cells.

Nothing in this folder but `run.py` and the tests imports bsc: what a plan means is taken from plan.schema.json and
FIGURES.md, and computed anew in the plainest way. Letters of axes: K mapped rows, N mapped columns, S slices, P
polarities, Q conversions of a slice, R row groups, T row tiles, C column tiles, V vectors, G groups.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {"BOOL": "?", "I8": "i1", "U8": "u1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4", "I64": "<i8"}
TYPES |= {"U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file: a length, a JSON header, and the bytes."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            arrays[name] = np.frombuffer(body[first:last], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


@dataclass(frozen=True, eq=False)
class Layer:
    """One crossbar layer.

    Attributes:
        record: what plan.json says of it.
        arrays: by name.
    """

    record: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def __getitem__(self, name: str) -> Any:
        return self.record[name]

    @property
    def rows(self) -> int:
        return int(self["mapped_rows"])

    @property
    def columns(self) -> int:
        return int(self["mapped_columns"])

    @property
    def paired(self) -> bool:
        """Whether the two columns of a weight are subtracted before one conversion."""
        return bool(self["subtraction"] == "analog")

    @property
    def polarities(self) -> int:
        return 1 if self["encoding"] == "offset" else 2

    @property
    def conversions(self) -> int:
        return 1 if self.paired else self.polarities

    @property
    def summed(self) -> bool:
        """Whether the sum of the inputs is needed, which a unit column reads."""
        return bool(self["encoding"] != "differential")

    @property
    def row_groups(self) -> list[range]:
        """Mapped rows that are driven together."""
        return parts(self.rows, self["active_rows"])

    def tile_of(self, row_group: int) -> int:
        return row_group * int(self["active_rows"]) // int(self["tile_rows"])

    def groups_of(self, tile: int) -> list[int]:
        """Row groups of a row tile."""
        return [r for r in range(len(self.row_groups)) if self.tile_of(r) == tile]

    @property
    def tiles(self) -> list[range]:
        """Mapped rows of every row tile."""
        return parts(self.rows, self["tile_rows"])

    @property
    def column_tiles(self) -> list[range]:
        """Mapped columns of every column tile."""
        return column_tiles(self.rows, self.columns, self["groups"], self["active_rows"], self["tile_cols"])

    def on_crossbar(self, columns: range) -> list[int]:
        """Groups of the convolution that have columns among these."""
        width = self.columns // int(self["groups"])
        return sorted({column // width for column in columns})

    @property
    def cycles(self) -> list[tuple[int, int, int]]:
        """Lowest bit, bits and sign of what is driven in each input cycle."""
        magnitude = int(self["input_bits"]) - bool(self["input_signed"])
        found = [(bits[0], len(bits), 1) for bits in parts(magnitude, self["dac_bits"])]
        return [*found, (magnitude, 1, -1)] if self["input_signed"] else found

    @property
    def highest_digit(self) -> int:
        return max((1 << width) - 1 for _, width, _ in self.cycles)

    @property
    def places(self) -> list[int]:
        """Place of the lowest bit of every slice."""
        return [sum(self["slice_bits"][:index]) for index in range(len(self["slice_bits"]))]

    def centre(self, row: int, column: int) -> int:
        """What is taken from a code before it is stored."""
        if self["encoding"] == "offset":
            return -(1 << int(self["weight_bits"]))
        if self["encoding"] == "centre":
            return int(self.arrays["centres"][row // self["tile_rows"], column])
        return 0

    def levels(self, *, upright: bool = False) -> NDArray[np.int64]:
        """Level of every cell (K, S, P, N); as if no column were flipped, if `upright`."""
        shape = (self.rows, len(self["slice_bits"]), self.polarities, self.columns)
        levels = np.zeros(shape, np.int64)
        codes = self.arrays["codes"]
        for row in range(self.rows):
            stored = [int(codes[row, column]) - self.centre(row, column) for column in range(self.columns)]
            for index, (place, bits) in enumerate(zip(self.places, self["slice_bits"], strict=True)):
                for polarity in range(self.polarities):
                    held = [max(0, value if polarity == 0 else -value) for value in stored]
                    levels[row, index, polarity] = [(value >> place) % 2**bits for value in held]
        if "flipped" not in self.arrays or upright:
            return levels
        for group, rows in enumerate(self.row_groups):
            for index, bits in enumerate(self["slice_bits"]):
                part = levels[rows.start : rows.stop, index]
                part[:] = np.where(self.arrays["flipped"][group, index], 2**bits - 1 - part, part)
        return levels


def parts(total: int, size: int) -> list[range]:
    """Numbers below `total`, so many at a time."""
    return [range(first, min(first + size, total)) for first in range(0, total, size)]


def column_tiles(rows: int, columns: int, groups: int, lines: int, tile_cols: int) -> list[range]:
    """The columns of each crossbar: as many whole groups as fit one below and beside another, or parts of one.

    Args:
        rows: of one group.
        columns: of all groups.
        groups: of the convolution.
        lines: wordlines that groups may share.
        tile_cols: bitlines of a crossbar.
    """
    if not columns:
        return []
    width = columns // groups
    together = min(lines // rows, tile_cols // width, groups)
    if together > 1:
        return parts(columns, together * width)
    return [
        range(group * width + part.start, group * width + part.stop)
        for group in range(groups)
        for part in parts(width, tile_cols)
    ]


@dataclass(frozen=True, eq=False)
class Folder:
    """A plan folder.

    Attributes:
        document: plan.json.
        target: target.json.
        layers: by name.
        path: of the folder.
    """

    document: dict[str, Any]
    target: dict[str, Any]
    layers: dict[str, Layer]
    path: Path


def read_folder(path: Path) -> Folder:
    """Read a plan folder."""
    document = json.loads((path / "plan.json").read_text(encoding="utf-8"))
    assert document["schema_version"] == 4
    layers = {
        record["name"]: Layer(record, read_arrays(path / "layers" / f"{position:04}.safetensors"))
        for position, record in enumerate(document["layers"])
    }
    return Folder(document, json.loads((path / "target.json").read_text(encoding="utf-8")), layers, path)
