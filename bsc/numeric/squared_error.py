"""What every possible resolution of a slice column would do to it, from a histogram of its sums.

A sum y = unit * u is read as unit * factor * code, code = round(u / factor) within low..low + 2**bits - 1. A factor of
1 keeps the low bits and saturates; a larger one drops low bits and reaches further; both compete for every number of
bits. Sums of single columns are never negative, and `low` is 0; those of pairs are, and some places of the codes around
zero compete too. The error of one conversion is e = y_read - y. Over the input cycles c of one input vector, with
shifts and signs as driven,

    mean     sum_c sign_c 2**shift_c E[e_c]
    squared error   sum_c 4**shift_c Var[e_c] + mean**2

in squares of cell units. Errors of different cycles count as independent, which they are only about: how far that and
everything behind the column is off is for a measurement to say (`bsc.compiler.sensitivity`). All sums are of whole
numbers below 2**53 and so the same on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cycles = Sequence[tuple[int, int, int]]

FACTORS = np.array([1, 2, 3, *(mantissa << octave for octave in range(6) for mantissa in (4, 5, 6, 7))], np.int64)
"""Steps that are tried, in units: all up to 8, then four in an octave."""


QUARTERS_BELOW = (2, 1, 3, 0, 4)
"""How many of the codes are tried below zero where sums may be negative; of equals the first is taken."""


@dataclass(frozen=True, eq=False)
class Options:
    """The conversions that are tried: every number of bits, with every step and lowest code that may be best for it.

    Attributes:
        bits: of each option, (Q,), ascending.
        factor: step in units, (Q,), ascending for each number of bits.
        low: lowest code, (Q,).
    """

    bits: NDArray[np.int64]
    factor: NDArray[np.int64]
    low: NDArray[np.int64]

    @classmethod
    def within(cls, lowest: int, highest: int) -> "Options":
        """The options for sums of `lowest` to `highest` units, the former 0 or less; the last one loses nothing."""
        enough = (highest - lowest).bit_length()
        steps = FACTORS[: int(np.searchsorted(FACTORS, max(highest, -lowest))) + 1].tolist()
        tried = [(0, 1, 0)]
        for bits in range(1, enough):
            top = (1 << bits) - 1
            lows = [0] if lowest == 0 else list(dict.fromkeys(-(top * quarters // 4) for quarters in QUARTERS_BELOW))
            tried += [(bits, factor, low) for factor in steps for low in lows]
        if enough:
            tried.append((enough, 1, lowest))
        return cls(*np.array(tried, np.int64).T)

    def read(self, lowest: int, bins: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """What reading `lowest`, `lowest` + 1, ... units does: error in units, and whether it clips, (bins, Q) each."""
        sums = np.arange(lowest, lowest + bins)[:, None]
        codes = np.rint(sums / self.factor)
        within = np.clip(codes, self.low, self.low + (1 << self.bits) - 1)
        return np.asarray(self.factor * within - sums), np.asarray(codes != within)


@dataclass(frozen=True, eq=False)
class ReadError:
    """What options do to L columns, in cell units.

    Attributes:
        squared_error: of each column and option, (L, Q).
        mean: mean error of a result in cell units, (L, Q).
        clipped: conversions that clip, (L, Q).
    """

    squared_error: NDArray[np.float64]
    mean: NDArray[np.float64]
    clipped: NDArray[np.int64]


def squared_error_of(
    histogram: NDArray[np.int64], lowest: int, options: Options, cycles: Cycles, unit: NDArray[np.integer]
) -> ReadError:
    """The squared error of every option to every column.

    Args:
        histogram: conversions by column, cycle and sum in units, (L, cycles, bins); as many in every cycle.
        lowest: sum that the first bin counts, in units, 0 or less.
        options: what is tried.
        cycles: (shift, width, sign) of every input cycle.
        unit: cell units of one unit, (L,).
    """
    errors, clips = options.read(lowest, histogram.shape[2])
    conversions = max(1, int(histogram[0, 0].sum()) if len(histogram) else 1)
    variance, mean = np.zeros((2, len(histogram), len(options.bits)))
    for cycle, (shift, _, sign) in enumerate(cycles):
        counts = histogram[:, cycle].astype(np.float64)
        first = counts @ errors / conversions
        variance += 4.0**shift * (counts @ errors**2 / conversions - first**2)
        mean += sign * 2.0**shift * first
    scale = unit[:, None].astype(np.float64)
    clipped = histogram.sum(axis=1).astype(np.float64) @ clips  # whole numbers below 2**53
    return ReadError((np.maximum(variance, 0) + mean**2) * scale**2, mean * scale, clipped.astype(np.int64))


def best_options(squared_error: NDArray[np.float64], options: Options) -> NDArray[np.int64]:
    """Of each column and number of bits the option of least squared error, of equals that of least step, (L, B)."""
    starts = _starts(options)
    stops = [*starts[1:], len(options.bits)]
    best = [start + squared_error[:, start:stop].argmin(axis=1) for start, stop in zip(starts, stops, strict=True)]
    return np.stack(best, axis=1).astype(np.int64)


def fewest_clipped(found: ReadError, options: Options) -> NDArray[np.int64]:
    """Of each column and number of bits, the conversions that clip at least at a step of one unit, (L, B)."""
    of_one_unit = np.where(options.factor == 1, found.clipped, np.iinfo(np.int64).max)
    return np.asarray(np.minimum.reduceat(of_one_unit, _starts(options), axis=1))


def _starts(options: Options) -> NDArray[np.int64]:
    """The first option of each number of bits."""
    return np.flatnonzero(np.diff(options.bits, prepend=-1))
