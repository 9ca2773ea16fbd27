"""Choosing the resolution of conversions from what was observed of them. Axes (R, S, Q, N), then B resolutions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.sharing import group_sums


def covering_bits(
    beyond: NDArray[np.uint32],
    converted: NDArray[np.bool_],
    groups: NDArray[np.int64] | None,
    *,
    conversions: int,
    clip_share: float,
) -> NDArray[np.int64]:
    """The fewest bits that clip at most a share of the observed conversions.

    Args:
        beyond: conversions that clip at 0, 1, ... bits (R, S, Q, N, B); none at B - 1.
        converted: what is converted at all (R, S, Q, N).
        groups: columns that share one resolution.
        conversions: of each column.
        clip_share: of the conversions of a column, or of a group, that may clip.

    Returns:
        Bits (R, S, Q, N); what it says of others means nothing.
    """
    if groups is None or not groups.size:
        return np.asarray((beyond <= clip_share * conversions).argmax(axis=-1))
    above = np.stack([group_sums(beyond[..., bits], groups) for bits in range(beyond.shape[-1])], axis=-1)
    most = clip_share * conversions * _members(converted, groups)
    return np.asarray((above <= most[:, None]).argmax(axis=-1)[groups])


def cheapest_bits(
    prices: NDArray[np.float64],
    squared_error: NDArray[np.float32],
    weight: NDArray[np.float64],
    converted: NDArray[np.bool_],
    groups: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    """The resolution of least price plus weighted squared error; of equals the lowest.

    With one weight for a whole model this solves the multiple-choice knapsack, least price for a bound on the sum of
    squared errors, at the bounds that it meets (Everett, Operations Research 11, 1963).

    Args:
        prices: of a conversion at 0, 1, ... bits (B,).
        squared_error: (R, S, Q, N, B).
        weight: of squared error, (R, S, Q, N).
        converted: what is converted at all (R, S, Q, N).
        groups: columns that share one resolution.

    Returns:
        Bits (R, S, Q, N); 0 for others.
    """
    if groups is not None and groups.size:
        summed = [group_sums(weight * squared_error[..., bits], groups) for bits in range(squared_error.shape[-1])]
        costs = np.stack(summed, axis=-1) + np.outer(_members(converted, groups), prices)
        return np.where(converted, costs.argmin(axis=-1)[groups], 0)
    chosen = np.empty(squared_error.shape[:4], np.int64)
    for row_group in range(len(chosen)):  # one at a time, so that the temporaries stay in cache
        chosen[row_group] = (prices + weight[row_group, ..., None] * squared_error[row_group]).argmin(axis=-1)
    return np.where(converted, chosen, 0)


def _members(converted: NDArray[np.bool_], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Converted columns of each group, (G,)."""
    return np.bincount(groups[converted], minlength=int(groups.max()) + 1).astype(np.int64)


def at_bits(values: NDArray[Any], bits: NDArray[np.int64]) -> NDArray[Any]:
    """The value (R, S, Q, N) that belongs to each column's resolution."""
    return np.asarray(np.take_along_axis(values, bits[..., None], axis=-1)[..., 0])


def bias_correction(
    mean: NDArray[np.floating], place_values: NDArray[np.int64], flipped: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Whole numbers (N,) that take the mean error of each column out of its results.

    Args:
        mean: expected error of each conversion in cell units (R, S, Q, N).
        place_values: of a cell unit in a result (S, Q).
        flipped: conversions whose worth is negative (R, S, Q, N); None for none.
    """
    signed = mean if flipped is None else np.where(flipped, -mean, mean)
    return np.asarray(-np.rint(np.einsum("rsqn,sq->n", signed, place_values.astype(np.float64))), np.int64)
