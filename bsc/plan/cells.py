"""The cell levels of single crossbars: what is programmed where."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer

POLARITIES = "+-"


@dataclass(frozen=True, kw_only=True)
class CrossbarIndex:
    """Which crossbar of a layer; written "0,1,3,+".

    Attributes:
        row_tile: below T.
        column_tile: below C.
        slice: below S, 0 least significant.
        polarity: 0 positive, 1 negative.
    """

    row_tile: int
    column_tile: int
    slice: int
    polarity: int

    @classmethod
    def parse(cls, text: str, layer: MappedLayer, arrays: LayerArrays) -> "CrossbarIndex":
        """Read the written form.

        Raises:
            UsageError: BSC201 for another form, or a crossbar that the layer does not have.
        """
        tiles, column_tiles, slices, _ = arrays.allocated.shape
        parts = text.split(",")
        try:
            numbers = [int(part) for part in parts[:3]] + [POLARITIES.index(parts[3].strip())]
        except (ValueError, IndexError):
            numbers = []
        inside = len(parts) == 4 and all(
            0 <= number < size for number, size in zip(numbers, arrays.allocated.shape, strict=False)
        )
        if not numbers or not inside or not arrays.allocated[tuple(numbers)]:
            raise UsageError(
                "BSC201",
                f"layer '{layer.name}' has no crossbar '{text}'",
                seen=f"{tiles} row tiles, {column_tiles} column tiles, {slices} slices; all-zero ones are left out",
                fix="write ROW-TILE,COLUMN-TILE,SLICE,SIGN counted from 0, such as 0,0,1,+",
            )
        return cls(row_tile=numbers[0], column_tile=numbers[1], slice=numbers[2], polarity=numbers[3])

    def __str__(self) -> str:
        return f"{self.row_tile},{self.column_tile},{self.slice},{POLARITIES[self.polarity]}"


def cell_levels(layer: MappedLayer, arrays: LayerArrays, row_group: int, columns: slice) -> NDArray[np.uint8]:
    """Levels of the cells of a row group, as they are programmed.

    Returns:
        Shape (rows of the group, columns, S, P).
    """
    rows = np.s_[row_group * layer.active_rows : (row_group + 1) * layer.active_rows]
    tile = row_group // layer.groups_per_tile
    centres = None if arrays.centres is None else arrays.centres[tile : tile + 1, columns]
    stored = layer.cells.stored(arrays.codes[rows, columns], centres, layer.tile_rows)
    levels = layer.cells.levels()[stored.astype(np.intp)]
    if arrays.flipped is None:
        return levels
    flipped = arrays.flipped[row_group, :, :, columns].transpose(2, 0, 1)
    return np.where(flipped, layer.cells.tops[:, None].astype(np.uint8) - levels, levels)


def read_levels(layer: MappedLayer, arrays: LayerArrays, row_group: int, columns: slice) -> NDArray[Any]:
    """What the conversions of a row group sum up of each row: levels, or differences of pairs that are subtracted.

    Returns:
        Shape (rows of the group, columns, S, Q), uint8, for pairs int8.
    """
    levels = cell_levels(layer, arrays, row_group, columns)
    if layer.subtraction == "digital":
        return levels
    return np.asarray(levels[..., :1].astype(np.int8) - levels[..., 1:].astype(np.int8))


def crossbar_cells(layer: MappedLayer, arrays: LayerArrays, index: CrossbarIndex) -> NDArray[np.uint8]:
    """Levels of the cells in use on one crossbar.

    Returns:
        Shape (rows in use, columns in use); groups that share the crossbar lie block-diagonally.
    """
    columns = crossbar_columns(layer, index.column_tile)
    first = index.row_tile * layer.groups_per_tile
    row_groups = range(first, min(first + layer.groups_per_tile, layer.row_groups))
    parts = [cell_levels(layer, arrays, group, slice(columns.start, columns.stop)) for group in row_groups]
    levels = np.concatenate(parts)[..., index.slice, index.polarity]
    width = layer.mapped_columns // layer.groups
    groups_here = len(columns) // width if layer.column_tiles()[0] > 1 else 1
    if groups_here == 1:
        return levels
    height = len(levels)
    blocks = np.zeros((groups_here * height, len(columns)), np.uint8)
    for group in range(groups_here):
        part = np.s_[group * width : (group + 1) * width]
        blocks[group * height : (group + 1) * height, part] = levels[:, part]
    return blocks


def crossbar_part(layer: MappedLayer, array: NDArray[Any], index: CrossbarIndex) -> NDArray[Any]:
    """What an array per column (R, S, P, N) or per conversion (R, S, Q, N) has of one crossbar.

    Returns:
        Shape (row groups of the tile, columns in use); both crossbars of a pair have its conversions.
    """
    first = index.row_tile * layer.groups_per_tile
    columns = crossbar_columns(layer, index.column_tile)
    place = min(index.polarity, array.shape[2] - 1)
    return array[first : first + layer.groups_per_tile, index.slice, place, columns.start : columns.stop]


def crossbar_columns(layer: MappedLayer, column_tile: int) -> range:
    """The mapped columns on the crossbars of one column tile."""
    starts = (*layer.column_tiles()[1], layer.mapped_columns)
    return range(starts[column_tile], starts[column_tile + 1])
