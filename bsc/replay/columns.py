"""Reading slice columns one conversion at a time: a compiled kernel, and the same in NumPy.

A lane is a slice column of one row group, or a pair of them whose currents are subtracted. All readers do the same:
for every input vector, input cycle and lane they take the column sum, convert it, and add what is read, times what it
is worth, to the lane's column of the results.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.exact import exact_dtype
from bsc.replay.kernel import kernel

CHUNK_VALUES = 1 << 22
KERNEL_LANE_BITS = (8, 16)

Cycles = Sequence[tuple[int, int, int]]
"""(shift, width, sign) of every input cycle, shifts ascending; see `bsc.numeric.quantizer.input_cycles`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Lanes:
    """L slice columns, or pairs of them, that are read under the same inputs.

    Attributes:
        cells: levels, uint8 (R, L) over the rows of the group, or differences of the levels of pairs, int8 (R, L).
        low: lowest ADC code, int32 (L,); 0 without pairs.
        top: highest ADC code, int32 (L,).
        step: cell units of one code, int32 (L,).
        place_values: of one cell unit in a result, int64 (L,).
        column: column of the results, int32 (L,).
        plane: slice * P + polarity, int32 (L,).
        lane_bits: 8 or 16 if that holds every sum over one bit plane of the inputs, for pairs with its sign; else 32.
        rounded: some column sums lie between two steps.
    """

    cells: NDArray[np.uint8] | NDArray[np.int8]
    low: NDArray[np.int32]
    top: NDArray[np.int32]
    step: NDArray[np.int32]
    place_values: NDArray[np.int64]
    column: NDArray[np.int32]
    plane: NDArray[np.int32]
    lane_bits: int
    rounded: bool

    @property
    def signed(self) -> bool:
        """Whether the lanes are pairs."""
        return self.cells.dtype == np.int8

    def quotient_bound(self, cycles: Cycles) -> int:
        """Twice the largest column sum: a float that holds it tells a quotient from the half-way points beside it."""
        drive = max((1 << width) - 1 for _, width, _ in cycles)
        return 2 * int(np.abs(self.cells.astype(np.int64)).sum(axis=0).max(initial=0)) * drive


@dataclass(frozen=True, eq=False, kw_only=True)
class LaneCounts:
    """What is counted of lanes; readers add to the arrays.

    Attributes:
        clipped: clipped conversions, int64 (L,).
        lowest: lowest column sum, int32 (L,); None without a histogram.
        highest: highest column sum, likewise.
        histogram: conversions by plane, cycle and column sum, int64 (planes, cycles, bins), or None.
        origin: lowest column sum of the first bin, 0 or less.
        bin_width: column sums in one bin, a power of two.
    """

    clipped: NDArray[np.int64]
    lowest: NDArray[np.int32] | None = None
    highest: NDArray[np.int32] | None = None
    histogram: NDArray[np.int64] | None = None
    origin: int = 0
    bin_width: int = 1


Reader = Callable[[Lanes, NDArray[np.int32], Cycles, NDArray[np.int64], LaneCounts], None]
"""Reads lanes: (lanes, input codes (V, R), cycles, results (V, N) to add to, counts to add to)."""


def best_reader() -> Reader:
    """The compiled kernel, or NumPy where it is missing."""
    return read_numpy if kernel is None else read_compiled


def read_compiled(
    lanes: Lanes, codes: NDArray[np.int32], cycles: Cycles, results: NDArray[np.int64], counts: LaneCounts
) -> None:
    """The kernel of _kernel.c; lanes wider than it has are left to NumPy."""
    if lanes.lane_bits not in KERNEL_LANE_BITS:
        read_numpy(lanes, codes, cycles, results, counts)
        return
    assert kernel is not None
    planes = max(shift + width for shift, width, _ in cycles)
    bins = 0 if counts.histogram is None else counts.histogram.shape[2]
    unit = 1 if lanes.rounded else lanes.step
    kernel.read_lanes(
        -lanes.lane_bits if lanes.signed else lanes.lane_bits,
        (*codes.shape, len(lanes.column), results.shape[1], planes),
        (bins, counts.bin_width.bit_length() - 1, counts.origin),
        codes,
        lanes.cells,
        lanes.low * unit,
        lanes.top * unit,
        lanes.step if lanes.rounded else None,
        lanes.place_values,
        lanes.column,
        lanes.plane,
        np.array(cycles, np.int32),
        results,
        counts.clipped,
        counts.lowest,
        counts.highest,
        counts.histogram,
    )


def read_numpy(
    lanes: Lanes, codes: NDArray[np.int32], cycles: Cycles, results: NDArray[np.int64], counts: LaneCounts
) -> None:
    """Column sums by matrix products; where there is no kernel."""
    dtype = exact_dtype(lanes.quotient_bound(cycles))
    cells, low, top, step = (values.astype(dtype) for values in (lanes.cells, lanes.low, lanes.top, lanes.step))
    chunk = max(1, CHUNK_VALUES // max(1, len(lanes.column)))
    for start in range(0, len(codes), chunk):
        part = np.s_[start : start + chunk]
        total = np.zeros((len(codes[part]), len(lanes.column)), np.int64)
        for cycle, (shift, width, sign) in enumerate(cycles):
            digits = (codes[part] >> shift) & ((1 << width) - 1)
            sums = digits.astype(dtype) @ cells
            if counts.histogram is not None:
                _count_sums(sums.astype(np.int64), lanes.plane, counts, cycle)
            np.divide(sums, step, out=sums)
            np.rint(sums, out=sums)
            counts.clipped[:] += np.count_nonzero((sums > top) | (sums < low), axis=0)
            np.clip(sums, low, top, out=sums)
            total += (sums * step).astype(np.int64) << shift if sign > 0 else -((sums * step).astype(np.int64) << shift)
        for plane in np.unique(lanes.plane):  # a column of the results has at most one lane in a plane
            which = lanes.plane == plane
            results[part, lanes.column[which]] += total[:, which] * lanes.place_values[which]


def _count_sums(sums: NDArray[np.int64], plane: NDArray[np.int32], counts: LaneCounts, cycle: int) -> None:
    assert counts.histogram is not None
    assert counts.lowest is not None
    assert counts.highest is not None
    np.minimum(counts.lowest, sums.min(axis=0, initial=0), out=counts.lowest, casting="same_kind")
    np.maximum(counts.highest, sums.max(axis=0, initial=0), out=counts.highest, casting="same_kind")
    bins = counts.histogram.shape[2]
    places = plane.astype(np.int64) * bins + (sums - counts.origin) // counts.bin_width
    counted = np.bincount(places.ravel(), minlength=len(counts.histogram) * bins)
    counts.histogram[:, cycle] += counted.reshape(-1, bins)
