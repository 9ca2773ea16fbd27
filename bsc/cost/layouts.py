"""Which part of a layer each crossbar of one copy holds, in the order in which they are placed.

What crossbars take in and give out follows from it, and so, with their places, the traffic between these.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.cost.counts import crossbars_alone
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.numeric.encoding import CellFormat
from bsc.numeric.tiles import column_tiles, column_widths


@dataclass(frozen=True, eq=False, kw_only=True)
class CopyLayout:
    """The X crossbars of one copy of a layer.

    A block is a set of rows that a crossbar takes in: a row tile, of one group or of groups that share crossbars.

    Attributes:
        block: of each crossbar, int64 (X,).
        column_tile: likewise.
        block_rows: rows of each block, int64 (B,).
        block_lines: of each block, the channels, or for a plain matrix the inputs, that its rows are of.
        widths: columns of each column tile, int64 (C,).
    """

    block: NDArray[np.int64]
    column_tile: NDArray[np.int64]
    block_rows: NDArray[np.int64]
    block_lines: tuple[NDArray[np.int64], ...]
    widths: NDArray[np.int64]

    def shared(self, crossbars: int) -> "CopyLayout":
        """The same where a layer shares so many crossbars with others, and has one for each slice and polarity."""
        zeros = np.zeros(crossbars, np.int64)
        return CopyLayout(
            block=zeros,
            column_tile=zeros,
            block_rows=self.block_rows,
            block_lines=self.block_lines,
            widths=self.widths,
        )


def plan_layout(layer: MappedLayer, arrays: LayerArrays) -> CopyLayout:
    """Of a layer as it is mapped."""
    packed, starts = layer.column_tiles()
    alone = crossbars_alone(layer, arrays)
    held = np.concatenate([np.argwhere(arrays.allocated)[:, :2], np.argwhere(alone)])
    rows = np.arange(layer.rows) if arrays.kept_rows is None else np.asarray(arrays.kept_rows, np.int64)
    return _layout(layer, held, rows, layer.mapped_columns, (packed, starts))


def dense_layout(layer: MappedLayer, cells: CellFormat) -> CopyLayout:
    """Of a layer in a baseline, nothing left out."""
    packed, starts = column_tiles(layer.rows, layer.columns, layer.groups, layer.tile_rows, layer.tile_cols)
    tiles = np.argwhere(np.ones((-(-layer.rows // layer.tile_rows), len(starts)), bool))
    held = np.repeat(tiles, cells.slices * cells.polarities, axis=0)
    return _layout(layer, held, np.arange(layer.rows), layer.columns, (packed, starts))


def _layout(
    layer: MappedLayer,
    held: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: int,
    tiles: tuple[int, tuple[int, ...]],
) -> CopyLayout:
    """Of crossbars whose row tile and column tile are (X, 2)."""
    packed, starts = tiles
    row_tiles = -(-len(rows) // layer.tile_rows)
    groups = _groups_of(layer, packed, starts)  # of each column tile
    sets = sorted(set(groups))
    number = np.array([sets.index(each) for each in groups], np.int64)
    taps = math.prod(layer.conv.kernel) if layer.conv is not None else 1
    channels = layer.rows // taps  # of one group
    blocks = [
        [(rows[tile * layer.tile_rows :][: layer.tile_rows] // taps, each) for each in sets]
        for tile in range(row_tiles)
    ]
    flat = [pair for row in blocks for pair in row]
    row_tile, column_tile = held[:, 0], held[:, 1]
    return CopyLayout(
        block=row_tile * max(len(sets), 1) + (number[column_tile] if len(number) else 0),
        column_tile=column_tile,
        block_rows=np.array([len(each) * len(range(*of)) for each, of in flat], np.int64),
        block_lines=tuple(
            np.unique(np.concatenate([each + group * channels for group in range(*of)])) for each, of in flat
        ),
        widths=column_widths(starts, columns),
    )


def _groups_of(layer: MappedLayer, packed: int, starts: Sequence[int]) -> list[tuple[int, int]]:
    """First group of each column tile, and the one behind its last."""
    width = layer.columns // layer.groups
    if layer.groups == 1:
        return [(0, 1)] * len(starts)
    return [(start // width, min(start // width + packed, layer.groups)) for start in starts]
