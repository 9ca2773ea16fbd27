"""Projection of weight codes onto a budget: every slice column's cells add up to no more than its slice's cap.

Greedy, from the top slice down: in each slice column the cap is spent on the cells of the largest remaining
magnitudes; the one it runs out at keeps a lower level, the others are dropped, and what a weight has left goes on to
the next slice, at most the largest number that the slices below can hold. A magnitude close below one more unit of a
slice is rounded up to it, since one cell of level 1 spends less of a cap than three below it.

The first cell of a column is kept whatever its level: a column with one non-zero cell has two reachable sums
only and needs 1 bit (see the pass `assign-adc`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

ROUND_UP = 0.4
"""Share of a unit, counted from the top, that is rounded up; best of 0, 0.3, 0.4 and 0.5 on MNIST."""


def project(codes: Tensor, caps: Sequence[int], *, bits_per_cell: int, rows: int) -> Tensor:
    """Drop digits until every slice column is within its cap.

    Args:
        codes: signed whole numbers (K, N), |code| below 2**(bits_per_cell * len(caps)).
        caps: largest sum of cell levels of each slice, least significant first.
        bits_per_cell: bits one cell stores.
        rows: wordlines of a crossbar; K is cut into tiles of so many, the last may be shorter.

    Returns:
        Codes (K, N) of the same type and signs. For every tile, slice, polarity and column the levels add up to
        at most the slice's cap, or the column has a single non-zero cell.
    """
    base = 1 << bits_per_cell
    # Only weights that are left are looked at: of a pruned layer those are few.
    row, column = codes.nonzero(as_tuple=True)
    values = codes[row, column]
    lanes = (row // rows * 2 + (values < 0)) * codes.shape[1] + column
    rest, kept = values.abs(), torch.zeros_like(values)
    for position in range(len(caps) - 1, -1, -1):
        unit = base**position
        rest = rest.clamp(max=base * unit - 1)
        levels = torch.floor(rest / unit + (ROUND_UP if position else 0)).clamp(max=base - 1)
        cells = _within(levels, rest, lanes, caps[position])
        kept += cells * unit
        rest = torch.where(cells > 0, (rest - cells * unit).clamp(min=0), rest)
    result = torch.zeros_like(codes)
    result[row, column] = kept * torch.sign(values)
    return result


def _within(levels: Tensor, magnitudes: Tensor, lanes: Tensor, cap: int) -> Tensor:
    """What a cap leaves of the levels (n,) of each lane, spent on the largest magnitudes first."""
    used = levels.nonzero()[:, 0]
    keys = (lanes[used] << 32) - magnitudes[used].long()
    used = used[torch.argsort(keys, stable=True)]
    ranked = levels[used].double()
    before = ranked.cumsum(0) - ranked
    first = torch.diff(lanes[used], prepend=lanes.new_full((1,), -1)) > 0
    if len(used):
        before -= (first * before).cummax(0).values
    cells = torch.where(first, ranked, torch.minimum(ranked, (cap - before).clamp(min=0)))
    return torch.zeros_like(levels).index_copy(0, used, cells.to(levels))
