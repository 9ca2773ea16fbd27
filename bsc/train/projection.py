"""Projection of weight codes onto a budget: every slice column's cells add up to no more than its slice's cap.

Greedy, from the top slice down: in each slice column the cells of the largest remaining magnitudes are kept
while the cap lasts, the others are dropped, and what a weight has left goes on to the next slice, at most the
largest number that the slices below can hold. A magnitude close below one more unit of a slice is rounded up
to it, since one cell of level 1 spends less of a cap than three below it.

The first cell of a column is kept whatever its level: a column with one non-zero cell has two reachable sums
only and needs 1 bit (see the pass `assign-adc`).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
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
    count, columns = codes.shape
    tiles = -(-count // rows)
    padded = F.pad(codes, (0, 0, 0, tiles * rows - count)).reshape(tiles, rows, columns)
    # Both polarities at once: (P, T, rows, N).
    rest = torch.stack([padded, -padded]).clamp(min=0)
    kept = torch.zeros_like(rest)
    base = 1 << bits_per_cell
    for position in range(len(caps) - 1, -1, -1):
        unit = base**position
        rest = rest.clamp(max=base * unit - 1)
        levels = torch.floor(rest / unit + (ROUND_UP if position else 0)).clamp(max=base - 1)
        order = torch.argsort(rest * (levels > 0), dim=2, descending=True, stable=True)
        ranked = levels.gather(2, order)
        sums = ranked.cumsum(2)
        fits = (sums <= caps[position]) | (sums == ranked)
        cells = torch.zeros_like(levels).scatter(2, order, ranked * fits)
        kept += cells * unit
        rest = torch.where(cells > 0, (rest - cells * unit).clamp(min=0), rest)
    return (kept[0] - kept[1]).reshape(tiles * rows, columns)[:count]
