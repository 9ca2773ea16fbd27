"""Sums, divisors and counts of the cell levels on every slice column: what an ADC must resolve.

All slices and polarities of a weight are handled at once: a table maps each code to a 64-bit word whose
eight bytes are the levels of eight (slice, polarity) lanes, so that adding words adds eight columns. Rows are
added in chunks short enough that no byte overflows.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.encoding import CellFormat, level_table

LANES = 8
WORD = np.dtype("<u8")
BLOCK_CELLS = 1 << 17
"""Codes looked up at a time: their words, 1 MB, stay in cache, and memory does not grow with the layer."""


@dataclass(frozen=True, eq=False)
class ColumnStats:
    """Statistics of every slice column; axes are row group, slice, polarity, column.

    Attributes:
        sums: sum of cell levels, uint16 or uint32 (R, S, P, N).
        gcds: greatest common divisor of the levels, uint8 (R, S, P, N); 0 for a column of zeros.
        nonzeros: cells with a level above 0, uint16 or uint32 (R, S, P, N).
        flipped: columns that hold top - level, bool (R, S, P, N); None where none may.
    """

    sums: NDArray[np.unsignedinteger]
    gcds: NDArray[np.uint8]
    nonzeros: NDArray[np.unsignedinteger]
    flipped: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class SumRange:
    """What the conversions of a layer can meet; axes are row group, slice, conversion, column.

    Attributes:
        low: lowest sum that some input causes, 0 or less, int32 (R, S, Q, N).
        high: highest such sum, 0 or more, int32 (R, S, Q, N).
        step: all sums are multiples of it, uint8 (R, S, Q, N); 0 where all are 0.
    """

    low: NDArray[np.int32]
    high: NDArray[np.int32]
    step: NDArray[np.uint8]


def column_stats(
    codes: NDArray[np.signedinteger], *, stored_bits: int, bits_per_cell: int, group_rows: int, polarities: int = 2
) -> ColumnStats:
    """Statistics of the slice columns of a weight matrix that is cut evenly.

    Args:
        codes: stored codes (K, N), |code| < 2**stored_bits, none negative with a single polarity.
        stored_bits: magnitude bits, 1 to 16.
        bits_per_cell: bits one cell stores, 1 to 8.
        group_rows: wordlines that are driven together; the last row group may be shorter.
        polarities: columns a slice needs, 1 or 2.

    Returns:
        Arrays of shape (ceil(K / group_rows), S, P, N), slice 0 least significant, polarity 0 positive.
    """
    whole, rest = divmod(stored_bits, bits_per_cell)
    slice_bits = (bits_per_cell,) * whole + ((rest,) if rest else ())
    return _stats(codes, level_table(slice_bits, polarities), group_rows)


def stored_stats(stored: NDArray[np.signedinteger], cells: CellFormat, group_rows: int) -> ColumnStats:
    """Statistics of the slice columns that `cells.stored` gives; a column is flipped if that makes its sum smaller."""
    levels = cells.levels()
    upright = _stats(stored, levels, group_rows)
    if not cells.flip:
        return upright
    turned = _stats(stored, (cells.tops[:, None] - levels).astype(np.uint8), group_rows)
    flipped = turned.sums < upright.sums
    return ColumnStats(
        sums=np.where(flipped, turned.sums, upright.sums),
        gcds=np.where(flipped, turned.gcds, upright.gcds),
        nonzeros=np.where(flipped, turned.nonzeros, upright.nonzeros),
        flipped=flipped,
    )


def sum_range(
    sums: NDArray[np.unsignedinteger], gcds: NDArray[np.uint8], cells: CellFormat, max_digit: int
) -> SumRange:
    """What every conversion can meet, for any input.

    A column sum is at most max_digit times the sum of its cells. A pair that is subtracted before its conversion lies
    between minus that of its negative and that of its positive column.

    Args:
        sums: of cell levels (R, S, P, N).
        gcds: of cell levels (R, S, P, N).
        cells: the format.
        max_digit: highest input digit.
    """
    high = sums.astype(np.int32) * np.int32(max_digit)
    if cells.subtraction == "digital":
        return SumRange(np.zeros_like(high), high, gcds)
    return SumRange(-high[:, :, 1:], high[:, :, :1], np.gcd(gcds[:, :, :1], gcds[:, :, 1:]))


def _stats(codes: NDArray[np.signedinteger], levels: NDArray[np.uint8], group_rows: int) -> ColumnStats:
    slices, polarities = levels.shape[1:]
    lanes = levels.reshape(len(levels), slices * polarities)
    groups, columns = -(-codes.shape[0] // group_rows), codes.shape[1]
    shape = (groups, lanes.shape[1], columns)
    sums = np.empty(shape, _counter(group_rows * int(lanes.max())))
    gcds = np.empty(shape, np.uint8)
    nonzeros = np.empty(shape, _counter(group_rows))
    width = max(1, BLOCK_CELLS // group_rows)
    for first in range(0, lanes.shape[1], LANES):
        part = np.s_[first : first + LANES]
        table = lanes[:, part]
        level_words, count_words, flag_words = _words(table), _words(table > 0), _flag_words(table)
        for group, start in itertools.product(range(groups), range(0, columns, width)):
            block = np.s_[start : start + width]
            # As indices, for `words[index]`: `words.take` branches on every sign and is five times slower.
            index = codes[group * group_rows : (group + 1) * group_rows, block].astype(np.intp)
            sums[group, part, block] = _lane_sums(index, level_words, int(table.max()))[: table.shape[1]]
            nonzeros[group, part, block] = _lane_sums(index, count_words, 1)[: table.shape[1]]
            gcds[group, part, block] = _lane_gcds(index, table, flag_words)
    final = (groups, slices, polarities, columns)
    return ColumnStats(sums.reshape(final), gcds.reshape(final), nonzeros.reshape(final))


def lossless_bits(bound: NDArray[np.unsignedinteger], step: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    """ceil(log2(bound / step + 1)): bits that tell 0, step, 2 step, ... bound apart; 0 where bound is 0.

    Args:
        bound: largest column sum, a multiple of `step`, below 2**32.
        step: common divisor of all reachable sums; read as 1 where it is 0.
    """
    highest_code = bound // np.maximum(step, 1)
    _, exponent = np.frexp(highest_code.astype(np.float64))  # the least exponent with code < 2**exponent
    return np.asarray(exponent, np.int64)


def _counter(highest: int) -> type[np.unsignedinteger]:
    return np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32


def _words(lanes: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack up to eight byte lanes (M, L) into one word each (M,), lane 0 in the lowest byte."""
    padded = np.zeros((len(lanes), LANES), np.uint8)
    padded[:, : lanes.shape[1]] = lanes
    words: NDArray[np.uint64] = padded.view(WORD)[:, 0]
    return words


def _flag_words(lanes: NDArray[np.uint8]) -> NDArray[np.uint64] | None:
    """Words with one flag bit a level, 1 to 8, in each byte lane; None where a level is higher."""
    if lanes.max() > LANES:
        return None
    return _words(np.where(lanes > 0, 1 << (lanes.astype(np.int64) - 1).clip(0), 0))


def _lane_sums(codes: NDArray[np.intp], words: NDArray[np.uint64], highest: int) -> NDArray[np.uint32]:
    """Sum each lane over the rows; (LANES, N)."""
    chunk = 255 // highest
    sums = np.zeros((LANES, codes.shape[1]), np.uint32)
    for row in range(0, len(codes), chunk):
        added = np.add.reduce(words[codes[row : row + chunk]], axis=0)
        sums += added.view(np.uint8).reshape(-1, LANES).T
    return sums


def _lane_gcds(
    codes: NDArray[np.intp], lanes: NDArray[np.uint8], flag_words: NDArray[np.uint64] | None
) -> NDArray[np.uint8]:
    """Greatest common divisor of each lane over the rows; (L, N)."""
    if flag_words is None:
        return np.stack([np.gcd.reduce(lane[codes], axis=0) for lane in lanes.T])
    seen = np.bitwise_or.reduce(flag_words[codes], axis=0)
    by_lane = seen.view(np.uint8).reshape(-1, LANES).T[: lanes.shape[1]]
    return np.asarray(_GCD_OF_FLAGS[by_lane])


def _gcd_of_flags() -> NDArray[np.uint8]:
    """For each set of levels 1 to 8, given as flag bits, their greatest common divisor."""
    sets = np.arange(256)[:, None] >> np.arange(LANES) & 1
    return np.asarray(np.gcd.reduce(sets * np.arange(1, LANES + 1), axis=1), np.uint8)


_GCD_OF_FLAGS = _gcd_of_flags()
