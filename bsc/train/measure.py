"""How sparse a layer's slices are and what ADC bits are proved for them, from its codes alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.column_stats import column_stats, lossless_bits
from bsc.train.options import FinetuneOptions

MAX_BITS = 32


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingSlices:
    """One layer, or several added up; slices least significant first.

    Attributes:
        weights: number of weights.
        nonzeros: cells above 0 of each slice, int64 (S,).
        bits: slice columns by the bits their conversion is proved to need, int64 (S, 33).
    """

    weights: int
    nonzeros: NDArray[np.int64]
    bits: NDArray[np.int64]

    def __add__(self, other: "TrainingSlices") -> "TrainingSlices":
        return TrainingSlices(
            weights=self.weights + other.weights,
            nonzeros=self.nonzeros + other.nonzeros,
            bits=self.bits + other.bits,
        )

    def to_json(self) -> dict[str, Any]:
        """Non-zero ratio, largest and mean proved bits of every slice, top slice first."""
        columns = np.maximum(self.bits.sum(axis=1), 1)
        means = self.bits @ np.arange(MAX_BITS + 1) / columns
        return {
            "density": [float(value) for value in (self.nonzeros / self.weights)[::-1]],
            "bits_max": [int(np.flatnonzero(row).max(initial=0)) for row in self.bits[::-1]],
            "bits_mean": [float(value) for value in means[::-1]],
        }


def measure(codes: NDArray[np.signedinteger], options: FinetuneOptions, *, grouped: bool) -> TrainingSlices:
    """Figures of one layer as the default pipeline maps it: rows and columns of zeros are not built.

    Args:
        codes: signed codes (K, N).
        options: formats and tiling.
        grouped: a layer of several groups, which keeps all its rows and columns.
    """
    weights = codes.size
    if not grouped:
        codes = codes[codes.any(axis=1)][:, codes.any(axis=0)]
    stats = column_stats(codes, stored_bits=options.bits, bits_per_cell=options.bits_per_cell, group_rows=options.rows)
    drive = np.uint32((1 << options.dac_bits) - 1)
    bits = lossless_bits(stats.sums.astype(np.uint32) * drive, stats.gcds)  # (T, S, P, N)
    return TrainingSlices(
        weights=weights,
        nonzeros=stats.nonzeros.sum(axis=(0, 2, 3), dtype=np.int64),
        bits=np.stack([np.bincount(part.ravel(), minlength=MAX_BITS + 1) for part in np.moveaxis(bits, 1, 0)]),
    )
