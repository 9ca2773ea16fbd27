"""Products of whole numbers by floating-point matrix products that are exact.

A float holds every whole number up to a bound; as long as no sum of absolute products exceeds it, sums are exact in
whatever order they are added. Rows are cut so that each piece stays within the bound of the fastest type.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT_FLOAT32 = 1 << 24
EXACT_FLOAT64 = 1 << 53
BLOCK_ROWS = 64
MIN_PIECE_ROWS = 128
"""Shorter pieces cost more than the wider type does."""


def exact_dtype(bound: int) -> type[np.floating[Any]] | type[np.int64]:
    """The fastest type that holds every whole number up to `bound`."""
    if bound <= EXACT_FLOAT32:
        return np.float32
    return np.float64 if bound <= EXACT_FLOAT64 else np.int64


@dataclass(frozen=True, eq=False, kw_only=True)
class ExactProduct:
    """A matrix ready to be multiplied with codes.

    Attributes:
        groups: G, groups with columns of their own.
        pieces: rows, and the matrix of every group on those rows (G, rows, N / G) in an exact type.
        columns: N of all groups.
    """

    groups: int
    pieces: tuple[tuple[slice, NDArray[Any]], ...]
    columns: int

    @classmethod
    def of(cls, matrix: NDArray[np.integer], groups: int, max_code: int) -> "ExactProduct":
        """Prepare a matrix.

        Args:
            matrix: whole numbers (K, N), columns of the groups side by side.
            groups: G.
            max_code: largest magnitude of a code that it will be multiplied with.
        """
        rows, columns = matrix.shape
        cuts, bound, largest = [0], np.zeros(columns, np.int64), 0
        for start in range(0, rows, BLOCK_ROWS):
            added = np.abs(matrix[start : start + BLOCK_ROWS].astype(np.int64)).sum(axis=0) * max_code
            if start and (bound + added).max(initial=0) > EXACT_FLOAT32:
                cuts.append(start)
                bound = np.zeros(columns, np.int64)
            bound = bound + added
            largest = max(largest, int(bound.max(initial=0)))
        if largest > EXACT_FLOAT32 or rows < MIN_PIECE_ROWS * (len(cuts) - 1):
            cuts, largest = [0], max_code * max((int(np.abs(matrix).max(initial=0)), 1)) * rows
        dtype = exact_dtype(largest)
        pieces = []
        for start, stop in zip(cuts, [*cuts[1:], rows], strict=True):
            part = matrix[start:stop]
            by_group = part.reshape(len(part), groups, columns // groups).transpose(1, 0, 2)
            if by_group.any():
                pieces.append((slice(start, stop), np.ascontiguousarray(by_group, dtype)))
        return cls(groups=groups, pieces=tuple(pieces), columns=columns)

    def __call__(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Multiply.

        Args:
            codes: whole numbers (V, G, K) of any type.

        Returns:
            Whole numbers (V, N).
        """
        results = np.zeros((len(codes), self.columns))
        by_group = results.reshape(len(codes), self.groups, -1).transpose(1, 0, 2)
        for rows, matrix in self.pieces:
            part = codes[:, :, rows].transpose(1, 0, 2).astype(matrix.dtype, copy=False)
            by_group += np.matmul(part, matrix)
        return results
