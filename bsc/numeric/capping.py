"""Weight codes whose slice columns add up to no more than a cap, chosen so that the layer's results change least.

Without training, as overflow-free quantisation does it for accumulators [axe24]: rows are decided one after the other,
and what a row's codes miss is made up for by the rows behind it, as far as inputs go together (second-order error
feedback [gptq23]). For each group of rows that share a column sum, prices are found first: what one unit of each
slice's cap is worth in each column, such that buying at these prices keeps to the caps. Every row then takes the code
of least error and price that leaves the rows behind it what they are planned to take, so the caps hold whatever the
feedback changes.

The error of column n is (w - c)' H (w - c) for weights w, codes c and second moments H of the inputs (K, K), in squares
of a weight code.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAMPING = 0.01
"""Share of the mean of H's diagonal that is added to it, so that directions no input has shown do not run away."""

SWEEPS = 2
"""Times that the prices of all slices are found, each time with the last ones of the others."""

HALVINGS = 12
"""Of the range that a price is looked for in, on a logarithmic scale."""

RANGE = 2.0**-16
"""Lowest price that is tried, as a share of the highest."""

HAGGLING = 0.99
"""Share of the prices that a row pays: of rows that want the same at the same price, the first get it."""

BLOCK_COSTS = 1 << 22
"""Costs that are held at a time: 16 MB."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Capped:
    """What `cap_columns` found.

    Attributes:
        codes: signed, int64 (K, N).
        errors: of each column, float64 (N,).
    """

    codes: NDArray[np.int64]
    errors: NDArray[np.float64]


def cap_columns(
    weights: NDArray[np.floating],
    moments: NDArray[np.floating],
    digits: NDArray[np.integer],
    caps: NDArray[np.integer],
    group_rows: int,
) -> Capped:
    """Choose codes.

    Args:
        weights: what the codes stand for, in units of a code (K, N).
        moments: H, symmetric, no eigenvalue below 0 (K, K); or its diagonal (K,), and then nothing is fed back.
        digits: level of every slice of the magnitudes 0, 1, ... (M, S).
        caps: most that the levels of a slice add up to, 0 or more (S,).
        group_rows: rows that share a column sum; the last group may be shorter.
    """
    rows, columns = weights.shape
    feedback = _feedback(moments)
    left = weights.astype(np.float64)
    codes = np.zeros((rows, columns), np.int64)
    errors = np.zeros(columns)
    for start in range(0, rows, group_rows):
        group = slice(start, min(start + group_rows, rows))
        own = np.diag(feedback[group]) if feedback.ndim == 1 else feedback[group, group]
        codes[group], missed = _cap_group(left[group], own, digits, caps)
        errors += np.square(missed).sum(axis=0)
        if feedback.ndim == 2:
            left[group.stop :] -= feedback[group, group.stop :].T @ missed
    return Capped(codes=codes, errors=errors)


def _feedback(moments: NDArray[np.floating]) -> NDArray[np.float64]:
    """U, upper triangular (K, K), with U' U the inverse of the damped moments; its diagonal (K,) for those of H."""
    damped = moments.astype(np.float64)
    diagonal = damped if damped.ndim == 1 else np.einsum("kk->k", damped)  # a view
    mean = float(diagonal.mean()) if len(diagonal) else 0.0
    diagonal += DAMPING * mean if mean > 0 else 1.0
    if damped.ndim == 1:
        return np.asarray(damped**-0.5)
    upper = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]  # V upper triangular with V V' = H
    return np.asarray(np.triu(np.linalg.inv(upper)))


def _cap_group(
    weights: NDArray[np.float64], upper: NDArray[np.float64], digits: NDArray[np.integer], caps: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Codes (R, N) of one group, and by how much each misses its weight, over the diagonal of U."""
    rows, columns = weights.shape
    scale = np.diag(upper)
    importance = scale**-2.0
    prices = _prices(weights, importance, digits, caps)
    planned = digits[_cheapest(weights, importance, digits, prices)]  # (R, N, S)
    table = np.arange(len(digits), dtype=np.float64)
    costs = HAGGLING * np.einsum("pns,ms->pnm", prices, digits)
    lane = (weights < 0).astype(np.intp)
    every = np.arange(columns)
    room = np.broadcast_to(caps, (2, columns, len(caps))).astype(np.int64)  # what no row is planned to take
    for polarity in (0, 1):
        room[polarity] -= np.where((lane == polarity)[..., None], planned, 0).sum(axis=0)
    left, codes, missed = weights.copy(), np.zeros(weights.shape, np.int64), np.zeros(weights.shape)
    for row in range(rows):
        room[lane[row], every] += planned[row]
        negative = (left[row] < 0).astype(np.intp)
        free = room[negative, every]  # (N, S)
        cost = importance[row] * np.square(np.abs(left[row])[:, None] - table) + costs[negative, every]
        for position, levels in enumerate(digits.T):
            cost[levels > np.maximum(free[:, position, None], 0)] = np.inf
        found = cost.argmin(axis=1)
        room[negative, every] -= digits[found]
        codes[row] = np.where(negative, -found, found)
        missed[row] = (left[row] - codes[row]) / scale[row]
        left[row + 1 :] -= np.outer(upper[row, row + 1 :], missed[row])
    return codes, missed


def _prices(
    weights: NDArray[np.float64],
    importance: NDArray[np.float64],
    digits: NDArray[np.integer],
    caps: NDArray[np.integer],
) -> NDArray[np.float64]:
    """What a unit of each slice costs in each column of each polarity (2, N, S); 0 where the cap binds nobody."""
    columns, slices = weights.shape[1], len(caps)
    prices = np.zeros((2, columns, slices))
    lanes = np.stack([weights >= 0, weights < 0])  # (2, R, N)
    for _ in range(SWEEPS):
        for position in range(slices - 1, -1, -1):
            prices[:, :, position] = 0
            by_level = _by_level(weights, importance, digits, prices, position)  # (R, N, L)
            prices[:, :, position] = _clearing(by_level, lanes, int(caps[position]))
    return prices


def _by_level(
    weights: NDArray[np.float64],
    importance: NDArray[np.float64],
    digits: NDArray[np.integer],
    prices: NDArray[np.float64],
    position: int,
) -> NDArray[np.float32]:
    """Least cost of each weight for every level of one slice, (R, N, L)."""
    levels = digits[:, position]
    found = np.empty((*weights.shape, int(levels.max()) + 1), np.float32)
    for block, cost in _costs(weights, importance, digits, prices):
        for level in range(found.shape[-1]):
            found[:, block, level] = cost[..., levels == level].min(axis=-1)
    return found


def _cheapest(
    weights: NDArray[np.float64],
    importance: NDArray[np.float64],
    digits: NDArray[np.integer],
    prices: NDArray[np.float64],
) -> NDArray[np.int64]:
    """The magnitude of least cost of each weight, (R, N)."""
    found = np.empty(weights.shape, np.int64)
    for block, cost in _costs(weights, importance, digits, prices):
        found[:, block] = cost.argmin(axis=-1)
    return found


def _costs(
    weights: NDArray[np.float64],
    importance: NDArray[np.float64],
    digits: NDArray[np.integer],
    prices: NDArray[np.float64],
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Error and price of every magnitude for each weight, (R, n, M), a block of columns at a time."""
    rows, columns = weights.shape
    table = np.arange(len(digits), dtype=np.float32)
    width = max(1, BLOCK_COSTS // max(1, rows * len(digits)))
    for start in range(0, columns, width):
        block = slice(start, start + width)
        part = weights[:, block].astype(np.float32)
        price = (prices[:, block] @ digits.T).astype(np.float32)  # (2, n, M)
        cost = np.square(np.abs(part)[..., None] - table)
        cost *= importance.astype(np.float32)[:, None, None]
        cost += np.where((part < 0)[..., None], price[1], price[0])
        yield block, cost


def _clearing(by_level: NDArray[np.float32], lanes: NDArray[np.bool_], cap: int) -> NDArray[np.float64]:
    """The lowest price, about, at which each lane buys no more than the cap, (2, N)."""
    levels = np.arange(by_level.shape[-1])
    low = np.zeros(lanes.shape[::2])
    high = np.broadcast_to(by_level[..., 0].max(axis=0, initial=0), low.shape) + 1.0

    def used(price: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.stack(
            [
                np.where(lane, (by_level + at[:, None] * levels).argmin(axis=-1), 0).sum(axis=0)
                for lane, at in zip(lanes, price, strict=True)
            ]
        )

    binds = used(low) > cap
    for _ in range(HALVINGS):
        middle = np.sqrt(np.maximum(low, high * RANGE) * high)
        over = used(middle) > cap
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return np.where(binds, high, 0.0)
