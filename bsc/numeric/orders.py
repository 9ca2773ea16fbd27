"""Orders of rows and columns: which lines of a matrix share a crossbar, or are driven together.

`sorted_lines` brings like with like, so that large sums meet and leave other crossbars with small ones or none.
`balanced_rows` spreads rows, so that no sum is much larger than the others. A sum of columns of both is the same, and
a resolution grows with the logarithm of its sum: sorting makes the mean resolution smaller, balancing the largest.
"""

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.column_stats import ColumnStats, stored_stats
from bsc.numeric.encoding import CellFormat
from bsc.numeric.exact import EXACT_FLOAT32

MAX_WEIGHT = 255
"""Of a slice column in `balanced_rows`: fine enough, and leaves room for 2**24 / 255 levels."""


def sorted_lines(stored: NDArray[np.signedinteger], cells: CellFormat) -> NDArray[np.intp]:
    """Rows by how many cells of the most significant slice are not zero, then of the next one, most first.

    Args:
        stored: stored codes (K, N).
        cells: the format.

    Returns:
        Row numbers in their order, (K,); equal rows keep theirs. For columns give the transposed codes.
    """
    by_slice = _row_stats(stored, cells).nonzeros.astype(np.int64).sum(axis=(0, 2))  # (S, K)
    return np.lexsort(-by_slice)  # the last key, the most significant slice, comes first


def balanced_rows(stored: NDArray[np.signedinteger], cells: CellFormat, group_rows: int) -> NDArray[np.intp]:
    """Rows dealt to groups so that the largest column sums of the groups become small.

    Rows go out heaviest first, one to every group in a round. Each takes, among the groups that are left in its
    round, the one whose large slice columns it adds least to: a slice column counts with the third power of its sum so
    far, over the largest of its slice. Whole numbers throughout, so that the order does not depend on the machine.

    Args:
        stored: stored codes (K, N).
        cells: the format.
        group_rows: rows of a group; the last group has what is left.

    Returns:
        Row numbers, group after group, (K,).
    """
    rows, columns = stored.shape
    groups = -(-rows // group_rows)
    if groups < 2:
        return np.arange(rows)
    levels = cells.levels()
    planes = levels.shape[1] * levels.shape[2]
    table = levels.reshape(len(levels), planes).astype(np.float32)
    weights = _row_stats(stored, cells).sums.astype(np.int64).sum(axis=(0, 1, 2))  # (K,)
    heaviest_first = np.argsort(-weights, kind="stable")
    top = min(MAX_WEIGHT, EXACT_FLOAT32 // (cells.max_level * planes * columns))
    sums = np.zeros((groups, columns, planes), np.float32)
    places = np.empty((groups, group_rows), np.intp)
    last = rows - (groups - 1) * group_rows  # the last group takes part in so many rounds, the last ones
    start = 0
    for position in range(group_rows):
        taking = groups if position >= group_rows - last else groups - 1
        dealt = heaviest_first[start : start + taking]
        start += taking
        cells_here = table[stored[dealt].astype(np.intp)]  # (taking, N, S * P)
        counts = _column_weights(sums[:taking], top)
        group = _assign(cells_here.reshape(taking, -1) @ counts.reshape(taking, -1).T)
        places[group, position] = dealt
        sums[group] += cells_here
    return np.concatenate([places[:-1].ravel(), places[-1, group_rows - last :]])


def _row_stats(stored: NDArray[np.signedinteger], cells: CellFormat) -> ColumnStats:
    """Statistics of the rows, slice by slice: axes 1, S, P, K."""
    return stored_stats(stored.T, cells, max(1, stored.shape[1]))


def _column_weights(sums: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    """Whole numbers 0 to `top` that grow with the third power of a sum over the largest of its plane, as `sums`."""
    largest = np.maximum(sums.max(axis=(0, 1)), 1)
    share = sums / largest
    return np.asarray(np.rint(share * share * share * np.float32(top)), np.float32)


def _assign(load: NDArray[np.float32]) -> NDArray[np.intp]:
    """For each row in turn the free group with the least load, (rows,), from (rows, groups); the first of equals."""
    chosen = np.empty(len(load), np.intp)
    taken = np.zeros(load.shape[1], np.float32)
    for row, loads in enumerate(load):
        chosen[row] = (loads + taken).argmin()
        taken[chosen[row]] = np.inf
    return chosen
