"""Which slice columns share one setting of an ADC, as a number for each column."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.tiles import column_widths

AdcSharing = Literal["column", "tile", "slice"]


def sharing_groups(
    granularity: AdcSharing, shape: tuple[int, ...], column_starts: tuple[int, ...], groups_per_tile: int
) -> NDArray[np.int64] | None:
    """Number the groups of columns that share one resolution and step.

    Args:
        granularity: each "column" alone, each "tile" (crossbar, all its row groups) or each "slice" of the layer.
        shape: (R, S, Q, N) of the layer's conversions.
        column_starts: first column of each column tile.
        groups_per_tile: row groups of a full row tile.

    Returns:
        Number of each column's group (R, S, Q, N), ascending from 0 without gaps; None where every column is alone.
    """
    if granularity == "column":
        return None
    row_groups, slices, conversions, columns = shape
    slice_ = np.arange(slices).reshape(-1, 1, 1)
    if granularity == "slice":
        return np.broadcast_to(slice_, shape)
    row_tile = (np.arange(row_groups) // groups_per_tile).reshape(-1, 1, 1, 1)
    column_tile = np.repeat(np.arange(len(column_starts)), column_widths(column_starts, columns))
    plane = slice_ * conversions + np.arange(conversions).reshape(-1, 1)
    return np.asarray((row_tile * len(column_starts) + column_tile) * (slices * conversions) + plane)


def shared(combine: np.ufunc, values: NDArray[Any], groups: NDArray[np.int64] | None) -> NDArray[Any]:
    """Combine the values (R, S, Q, N) of each group and give every column what its group has.

    Args:
        combine: `np.maximum` of what is never negative, `np.minimum` of what is never positive, or `np.gcd`.
        values: one a column.
        groups: from `sharing_groups`.
    """
    if groups is None or not values.size:
        return values
    combined = np.zeros(int(groups.max()) + 1, values.dtype)
    combine.at(combined, groups.ravel(), values.ravel())
    return np.asarray(combined[groups])


def group_sums(values: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """The sum of the values (R, S, Q, N) of each group, (G,)."""
    return np.bincount(groups.ravel(), weights=values.ravel()).astype(np.float64)
