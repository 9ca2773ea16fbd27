"""Where the columns of a layer fall on crossbars, and how per-column and per-crossbar arrays turn into each other.

Per column is (R, S, P, N), per crossbar (T, C, S, P): row group, row tile, column tile, slice, polarity, column. A
row group is the rows of a tile that are driven together; by default all of them, and R is T.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_LINES = 1 << 14
"""Most wordlines or bitlines of a crossbar."""


def column_tiles(rows: int, columns: int, groups: int, active_rows: int, tile_cols: int) -> tuple[int, tuple[int, ...]]:
    """Cut the columns of all groups into column tiles.

    Groups share a crossbar as far as all their rows may be driven together: a read drives the same rows of each.

    Args:
        rows: rows of one group's matrix.
        columns: columns of all groups together.
        groups: convolution groups, 1 for a plain matrix.
        active_rows: wordlines of a crossbar that may be driven together.
        tile_cols: bitlines of a crossbar.

    Returns:
        Groups on one crossbar, and the first column of each column tile.
    """
    if columns == 0:
        return 1, ()
    width = columns // groups
    packed = max(1, min(active_rows // rows, tile_cols // width, groups))
    if packed > 1:
        return packed, tuple(range(0, columns, packed * width))
    return 1, tuple(start for group in range(0, columns, width) for start in range(group, group + width, tile_cols))


def crossbars_with_weights(
    sums: NDArray[Any], column_starts: tuple[int, ...], groups_per_tile: int = 1
) -> NDArray[np.bool_]:
    """Which crossbars hold a cell above 0: bool (T, C, S, P) from column sums (R, S, P, N)."""
    return per_tile(np.logical_or, per_crossbar(np.logical_or, sums > 0, column_starts), groups_per_tile)


def per_crossbar(combine: np.ufunc, values: NDArray[Any], column_starts: tuple[int, ...]) -> NDArray[Any]:
    """Combine the columns of each crossbar, row group by row group: (R, S, P, N) to (R, C, S, P)."""
    if not column_starts:
        return np.zeros((values.shape[0], 0, *values.shape[1:3]), values.dtype)
    return np.ascontiguousarray(np.moveaxis(combine.reduceat(values, column_starts, axis=-1), -1, 1))


def per_tile(combine: np.ufunc, values: NDArray[Any], groups_per_tile: int) -> NDArray[Any]:
    """Combine the row groups of each row tile: (R, ...) to (T, ...)."""
    if groups_per_tile == 1 or not len(values):
        return values
    return np.asarray(combine.reduceat(values, range(0, len(values), groups_per_tile), axis=0))


def per_row_group(values: NDArray[Any], row_groups: int, groups_per_tile: int) -> NDArray[Any]:
    """Give each row group what its row tile has: (T, ...) to (R, ...); the last tile may have fewer groups."""
    return values if groups_per_tile == 1 else np.repeat(values, groups_per_tile, axis=0)[:row_groups]


def per_column(values: NDArray[Any], column_starts: tuple[int, ...], columns: int) -> NDArray[Any]:
    """Give each column what its crossbar has: (R, C, S, P) to (R, S, P, N)."""
    return np.repeat(np.moveaxis(values, 1, -1), column_widths(column_starts, columns), axis=-1)


def column_widths(column_starts: tuple[int, ...], columns: int) -> NDArray[np.int64]:
    """Columns of each column tile, (C,)."""
    bounds = np.array((*column_starts, columns), np.int64)
    return bounds[1:] - bounds[:-1]
