"""Where the columns of a layer fall on crossbars, and how per-column and per-crossbar arrays turn into each other.

Per column is (T, S, P, N), per crossbar (T, C, S, P): row tile, column tile, slice, polarity, column.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_LINES = 1 << 14
"""Most wordlines or bitlines of a crossbar."""


def column_tiles(rows: int, columns: int, groups: int, tile_rows: int, tile_cols: int) -> tuple[int, tuple[int, ...]]:
    """Cut the columns of all groups into column tiles.

    Args:
        rows: rows of one group's matrix.
        columns: columns of all groups together.
        groups: convolution groups, 1 for a plain matrix.
        tile_rows: wordlines of a crossbar.
        tile_cols: bitlines of a crossbar.

    Returns:
        Groups on one crossbar, and the first column of each column tile.
    """
    if columns == 0:
        return 1, ()
    width = columns // groups
    packed = max(1, min(tile_rows // rows, tile_cols // width, groups))
    if packed > 1:
        return packed, tuple(range(0, columns, packed * width))
    return 1, tuple(start for group in range(0, columns, width) for start in range(group, group + width, tile_cols))


def crossbars_with_weights(sums: NDArray[Any], column_starts: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which crossbars hold a cell above 0: bool (T, C, S, P) from column sums (T, S, P, N)."""
    return per_crossbar(np.logical_or, sums > 0, column_starts)


def per_crossbar(combine: np.ufunc, values: NDArray[Any], column_starts: tuple[int, ...]) -> NDArray[Any]:
    """Combine the columns of each crossbar: (T, S, P, N) to (T, C, S, P)."""
    if not column_starts:
        return np.zeros((values.shape[0], 0, *values.shape[1:3]), values.dtype)
    return np.ascontiguousarray(np.moveaxis(combine.reduceat(values, column_starts, axis=-1), -1, 1))


def per_column(values: NDArray[Any], column_starts: tuple[int, ...], columns: int) -> NDArray[Any]:
    """Give each column what its crossbar has: (T, C, S, P) to (T, S, P, N)."""
    return np.repeat(np.moveaxis(values, 1, -1), column_widths(column_starts, columns), axis=-1)


def column_widths(column_starts: tuple[int, ...], columns: int) -> NDArray[np.int64]:
    """Columns of each column tile, (C,)."""
    bounds = np.array((*column_starts, columns), np.int64)
    return bounds[1:] - bounds[:-1]
