"""Choosing the resolution of slice columns from what was observed of them. Axes (R, S, P, N), then B resolutions."""

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.sharing import shared


def covering_bits(
    beyond: NDArray[np.uint32], conversions: int, clip_share: float, groups: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """The fewest bits that clip at most a share of the observed conversions.

    Args:
        beyond: conversions above the highest code of 0, 1, ... bits (R, S, P, N, B); none at B - 1.
        conversions: of each column.
        clip_share: of the conversions of a column, or of a group, that may clip.
        groups: columns that share one resolution.

    Returns:
        Bits (R, S, P, N).
    """
    above = shared(np.add, beyond, groups)
    columns = shared(np.add, np.ones(beyond.shape[:4], np.int64), groups)
    return np.asarray((above <= clip_share * conversions * columns[..., None]).argmax(axis=-1))


def cheapest_bits(
    prices: NDArray[np.float64],
    damage: NDArray[np.float32],
    weight: NDArray[np.float64],
    groups: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    """The resolution of least price plus weighted damage; of equals the lowest.

    With one weight for a whole model this solves the multiple-choice knapsack, least price for a bound on the sum of
    damages, at the bounds that it meets (Everett, Operations Research 11, 1963).

    Args:
        prices: of a conversion at 0, 1, ... bits (B,).
        damage: (R, S, P, N, B).
        weight: of damage, spread over (R, S, P, N).
        groups: columns that share one resolution.

    Returns:
        Bits (R, S, P, N).
    """
    spread = np.broadcast_to(weight[..., None], (*damage.shape[:4], 1))
    if groups is not None:
        costs = shared(np.add, prices + spread * damage, groups)
        return np.asarray(costs.argmin(axis=-1))
    bits = np.empty(damage.shape[:4], np.int64)
    for row_group in range(len(bits)):  # one at a time, so that the temporaries stay in cache
        bits[row_group] = (prices + spread[row_group] * damage[row_group]).argmin(axis=-1)
    return bits


def taken(values: NDArray[np.generic], bits: NDArray[np.int64]) -> NDArray[np.generic]:
    """The value (R, S, P, N) that belongs to each column's resolution."""
    return np.asarray(np.take_along_axis(values, bits[..., None], axis=-1)[..., 0])


def bias_correction(mean: NDArray[np.floating], worth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole numbers (N,) that take the mean error of each column out of its results.

    Args:
        mean: expected error of each slice column in cell units (R, S, P, N).
        worth: of a cell unit in a result (S, P).
    """
    return np.asarray(-np.rint(np.einsum("rspn,sp->n", mean, worth.astype(np.float64))), np.int64)
