"""Orders of rows and columns: which lines of a matrix share a crossbar, or are driven together.

`sorted_lines` brings like with like, so that large sums meet and leave other crossbars with small ones or none.
`balanced_rows` spreads rows, so that no sum is much larger than the others. A sum of columns of both is the same, and
a resolution grows with the logarithm of its sum: sorting makes the mean resolution smaller, balancing the largest.
"""

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.encoding import CellFormat
from bsc.numeric.exact import EXACT_FLOAT32

BLOCK_CELLS = 1 << 17
MAX_LOAD = 255
"""Of a slice column in `balanced_rows`: fine enough, and leaves room for 2**24 / 255 levels."""
ROUNDS = 8
"""Rounds that are dealt by the same loads, behind as many that are not."""


def sorted_lines(stored: NDArray[np.signedinteger], cells: CellFormat) -> NDArray[np.intp]:
    """Rows by how many cells of the most significant slice are not zero, then of the next one, most first.

    Args:
        stored: stored codes (K, N).
        cells: the format.

    Returns:
        Row numbers in their order, (K,); equal rows keep theirs. For columns give the transposed codes.
    """
    used: NDArray[np.bool_] = np.any(cells.levels() > 0, axis=2)  # (M, S)
    return np.lexsort(-_row_sums(stored, used).T)  # the last key, the most significant slice, comes first


def balanced_rows(stored: NDArray[np.signedinteger], cells: CellFormat, group_rows: int) -> NDArray[np.intp]:
    """Rows dealt to groups so that the largest column sums of the groups become small.

    Rows go out heaviest first, one to every group in a round. Each takes, among the groups that are left in its
    round, the one whose large slice columns it adds least to: a slice column counts with the third power of its sum,
    over the largest of its slice. Whole numbers throughout, so that the order does not depend on the machine. Takes
    K * groups * N * S * P products.

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
    table = levels.reshape(len(levels), -1).astype(np.float32)  # (M, S * P)
    heaviest_first = np.argsort(-_row_sums(stored, levels.sum(axis=(1, 2))[:, None])[:, 0], kind="stable")
    planes = table.shape[1]
    top = min(MAX_LOAD, EXACT_FLOAT32 // (cells.max_level * planes * columns))
    sums = np.zeros((groups, columns * planes), np.float32)
    places = np.empty((groups, group_rows), np.intp)
    last = rows - (groups - 1) * group_rows  # the last group takes part in so many rounds, the last ones
    start = 0
    for position in range(group_rows):
        if position < ROUNDS or position % ROUNDS == 0:
            loads = _loads(sums.reshape(groups, columns, planes), top).reshape(groups, -1)
        taking = groups if position >= group_rows - last else groups - 1
        dealt = heaviest_first[start : start + taking]
        start += taking
        added = table[stored[dealt].astype(np.intp)].reshape(taking, -1)
        group = _assign(added @ loads[:taking].T)
        places[group, position] = dealt
        sums[group] += added
    return np.concatenate([places[:-1].ravel(), places[-1, group_rows - last :]])


def _row_sums(stored: NDArray[np.signedinteger], by_code: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Sum over each row, (K, X), of what the table (M, X) has for its codes: by way of how often each code occurs."""
    codes, columns = len(by_code), stored.shape[1]
    sums = np.empty((len(stored), by_code.shape[1]), np.int64)
    step = max(1, BLOCK_CELLS // max(columns, codes))
    values = by_code.astype(np.int64)
    for start in range(0, len(stored), step):
        block = stored[start : start + step].astype(np.intp)
        block %= codes  # negative codes count from the end of the table
        block += np.arange(0, len(block) * codes, codes)[:, None]
        occur = np.bincount(block.ravel(), minlength=len(block) * codes)
        sums[start : start + step] = occur.reshape(len(block), codes) @ values
    return sums


def _loads(sums: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    """Whole numbers 0 to `top` that grow with the third power of a sum over the largest of its plane, as `sums`."""
    share = sums / np.maximum(sums.max(axis=(0, 1)), 1)
    return np.asarray(np.rint(share * share * share * np.float32(top)), np.float32)


def _assign(load: NDArray[np.float32]) -> NDArray[np.intp]:
    """For each row in turn the free group with the least load, (rows,), from (rows, groups); the first of equals."""
    chosen = np.empty(len(load), np.intp)
    taken = np.zeros(load.shape[1], np.float32)
    for row, loads in enumerate(load):
        chosen[row] = (loads + taken).argmin()
        taken[chosen[row]] = np.inf
    return chosen
