"""Products of whole numbers by floating-point matrix products that are exact.

A float holds every whole number up to a bound; as long as no sum of any of the products exceeds it, sums are exact in
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
    def of(cls, matrix: NDArray[np.integer], groups: int, codes: tuple[int, int]) -> "ExactProduct":
        """Prepare a matrix.

        Args:
            matrix: whole numbers (K, N), columns of the groups side by side.
            groups: G.
            codes: lowest and highest code that it will be multiplied with; the lowest is at most 0.
        """
        rows, columns = matrix.shape
        low, high = codes
        cuts, largest = [0], 0
        reach = np.zeros((2, columns), np.int64)  # the lowest and highest sum of any products of a piece
        for start in range(0, rows, BLOCK_ROWS):
            block = matrix[start : start + BLOCK_ROWS].astype(np.int64)
            above, below = np.maximum(block, 0).sum(axis=0), np.minimum(block, 0).sum(axis=0)
            added = np.stack([below * high + above * low, above * high + below * low])
            if start and abs(reach + added).max(initial=0) > EXACT_FLOAT32:
                cuts.append(start)
                reach = np.zeros_like(reach)
            reach += added
            largest = max(largest, int(abs(reach).max(initial=0)))
        if largest > EXACT_FLOAT32 or rows < MIN_PIECE_ROWS * (len(cuts) - 1):
            cuts, largest = [0], max(high, -low) * max(int(np.abs(matrix).max(initial=0)), 1) * rows
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
            Whole numbers (V, N), in an array of its own.
        """
        results = np.empty((len(codes), self.columns))
        by_group = results.reshape(len(codes), self.groups, self.columns // self.groups).transpose(1, 0, 2)
        for index, (rows, matrix) in enumerate(self.pieces):
            product = np.matmul(codes[:, :, rows].transpose(1, 0, 2).astype(matrix.dtype, copy=False), matrix)
            if index == 0:
                by_group[...] = product
            else:
                by_group += product
        if not self.pieces:
            results[...] = 0
        return results
