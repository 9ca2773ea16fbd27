import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.numeric.column_stats import ColumnStats, column_stats, lossless_bits, stored_stats, sum_range
from bsc.numeric.encoding import CellFormat

TABLES = [(weight_bits, bits_per_cell) for weight_bits in range(1, 16) for bits_per_cell in range(1, 9)]


def reference(codes: NDArray[np.int64], weight_bits: int, bits_per_cell: int, tile_rows: int) -> ColumnStats:
    """The same by plain loops over Python integers."""
    rows, columns = codes.shape
    slices = math.ceil(weight_bits / bits_per_cell)
    tiles = math.ceil(rows / tile_rows)
    sums, gcds, nonzeros = (np.zeros((tiles, slices, 2, columns), np.int64) for _ in range(3))
    for row in range(rows):
        for column in range(columns):
            code = int(codes[row, column])
            for slice_ in range(slices):
                level = abs(code) // 2 ** (bits_per_cell * slice_) % 2**bits_per_cell
                at = row // tile_rows, slice_, int(code < 0), column
                sums[at] += level
                gcds[at] = math.gcd(int(gcds[at]), level)
                nonzeros[at] += level > 0
    return ColumnStats(sums.astype(np.uint32), gcds.astype(np.uint8), nonzeros.astype(np.uint32))


def assert_same(actual: ColumnStats, expected: ColumnStats) -> None:
    np.testing.assert_array_equal(actual.sums, expected.sums)
    np.testing.assert_array_equal(actual.gcds, expected.gcds)
    np.testing.assert_array_equal(actual.nonzeros, expected.nonzeros)


def test_by_hand() -> None:
    # In 2-bit cells, high then low: 10 = 2|2, 2 = 0|2, -7 = -(1|3).
    stats = column_stats(np.array([[10], [2], [-7]]), stored_bits=4, bits_per_cell=2, group_rows=2)
    # Axes: row tile, slice (low first), polarity, column.
    assert stats.sums.tolist() == [[[[4], [0]], [[2], [0]]], [[[0], [3]], [[0], [1]]]]
    assert stats.gcds.tolist() == [[[[2], [0]], [[2], [0]]], [[[0], [3]], [[0], [1]]]]
    assert stats.nonzeros.tolist() == [[[[2], [0]], [[1], [0]]], [[[0], [1]], [[0], [1]]]]


@pytest.mark.parametrize(("weight_bits", "bits_per_cell"), TABLES)
def test_levels_rebuild_every_code(weight_bits: int, bits_per_cell: int) -> None:
    levels = CellFormat(weight_bits=weight_bits, bits_per_cell=bits_per_cell).levels().astype(np.int64)
    top = (1 << weight_bits) - 1
    codes = np.arange(-top, top + 1)
    weights = 1 << bits_per_cell * np.arange(levels.shape[1])
    magnitudes = np.einsum("csp,s->cp", levels[codes], weights)
    np.testing.assert_array_equal(magnitudes[:, 0] - magnitudes[:, 1], codes)
    np.testing.assert_array_equal(magnitudes.sum(axis=1), abs(codes))
    assert levels.max() <= (1 << bits_per_cell) - 1


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(0, 40), st.integers(0, 5)),
    table=st.sampled_from(TABLES),
    tile_rows=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
    zeros=st.sampled_from([0.0, 0.7, 1.0]),
)
def test_equals_the_reference(
    shape: tuple[int, int], table: tuple[int, int], tile_rows: int, seed: int, zeros: float
) -> None:
    weight_bits, bits_per_cell = table
    top = (1 << weight_bits) - 1
    random = np.random.default_rng(seed)
    codes = random.integers(-top, top, shape, endpoint=True) * (random.random(shape) >= zeros)
    stored: type[np.signedinteger] = np.int8 if weight_bits < 8 else np.int16
    actual = column_stats(
        codes.astype(stored), stored_bits=weight_bits, bits_per_cell=bits_per_cell, group_rows=tile_rows
    )
    assert_same(actual, reference(codes, weight_bits, bits_per_cell, tile_rows))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("tile_rows", [128, 256, 512, 1024])
@pytest.mark.parametrize(("weight_bits", "bits_per_cell"), [(8, 1), (8, 2), (8, 3), (8, 4), (15, 2), (8, 8), (15, 8)])
def test_full_tiles_of_extreme_codes_do_not_overflow(
    weight_bits: int, bits_per_cell: int, tile_rows: int, sign: int
) -> None:
    top = (1 << weight_bits) - 1
    codes = np.full((tile_rows, 1), sign * top, np.int16)
    stats = column_stats(codes, stored_bits=weight_bits, bits_per_cell=bits_per_cell, group_rows=tile_rows)
    full, empty = (0, 1) if sign > 0 else (1, 0)
    levels = CellFormat(weight_bits=weight_bits, bits_per_cell=bits_per_cell).levels()[top, :, 0]
    np.testing.assert_array_equal(stats.sums[0, :, full, 0], levels.astype(np.int64) * tile_rows)
    np.testing.assert_array_equal(stats.gcds[0, :, full, 0], levels)
    assert (stats.nonzeros[0, :, full, 0] == tile_rows).all()
    assert not stats.sums[0, :, empty].any()


@pytest.mark.parametrize(("tile_rows", "dtype"), [(65535, np.uint16), (65536, np.uint32)])
def test_sums_are_wide_enough_for_the_tallest_tile(tile_rows: int, dtype: type[np.unsignedinteger]) -> None:
    stats = column_stats(np.ones((tile_rows, 1), np.int8), stored_bits=1, bits_per_cell=1, group_rows=tile_rows)
    assert stats.sums.item(0) == stats.nonzeros.item(0) == tile_rows
    assert stats.sums.dtype == stats.nonzeros.dtype == dtype


def test_codes_need_not_lie_row_by_row() -> None:
    codes = np.arange(-6, 6).reshape(3, 4)
    expected = column_stats(codes.T.copy(), stored_bits=3, bits_per_cell=1, group_rows=2)
    assert_same(column_stats(codes.T, stored_bits=3, bits_per_cell=1, group_rows=2), expected)


@pytest.mark.parametrize(
    ("bound", "step", "bits"),
    [
        (0, 0, 0),
        (1, 1, 1),
        (2, 1, 2),
        (3, 1, 2),
        (3, 3, 1),
        (4, 1, 3),
        (4, 2, 2),
        (255, 1, 8),
        (256, 1, 9),
        (384, 1, 9),
        (65535, 1, 16),
        (65536, 1, 17),
        (2**32 - 1, 1, 32),
    ],
)
def test_lossless_bits_by_hand(bound: int, step: int, bits: int) -> None:
    assert lossless_bits(np.array([bound], np.uint32), np.array([step], np.uint32)).tolist() == [bits]


def test_flipped_columns_by_hand() -> None:
    """Around -4 the codes 3, 2, -4 hold 7, 6, 0 = 13, 12, 00 in base 4: 3 + 2 + 0 below, where 0 + 1 + 3 is less."""
    cells = CellFormat(weight_bits=2, bits_per_cell=2, encoding="offset", flip=True)
    stored = np.array([[7], [6], [0]])
    stats = stored_stats(stored, cells, 3)
    assert stats.flipped is not None
    assert stats.flipped[0, :, 0, 0].tolist() == [True, True]
    # The top slice has one bit: 1, 1, 0 becomes 0, 0, 1.
    assert stats.sums[0, :, 0, 0].tolist() == [4, 1]
    assert stats.gcds[0, :, 0, 0].tolist() == [1, 1]
    assert stats.nonzeros[0, :, 0, 0].tolist() == [2, 1]


def test_flipping_never_makes_a_sum_larger() -> None:
    random = np.random.default_rng(0)
    stored = random.integers(0, 512, (20, 30))
    plain, flipped = (
        stored_stats(stored, CellFormat(weight_bits=8, bits_per_cell=2, encoding="offset", flip=flip), 8)
        for flip in (False, True)
    )
    tops = np.array([3, 3, 3, 3, 1])[:, None, None]
    rows = np.array([8, 8, 4])[:, None, None, None]
    np.testing.assert_array_equal(flipped.sums, np.minimum(plain.sums, tops * rows - plain.sums))


def test_reach_of_columns_and_pairs_by_hand() -> None:
    """5 up in steps of 1 and 4 down in steps of 2, driven with digits up to 3."""
    sums, gcds = np.array([[[[5], [4]]]], np.uint16), np.array([[[[1], [2]]]], np.uint8)
    apart = sum_range(sums, gcds, CellFormat(weight_bits=8, bits_per_cell=8), 3)
    assert [values.ravel().tolist() for values in (apart.low, apart.high, apart.step)] == [[0, 0], [15, 12], [1, 2]]
    pair = sum_range(sums, gcds, CellFormat(weight_bits=8, bits_per_cell=8, subtraction="analog"), 3)
    assert [values.tolist() for values in (pair.low, pair.high, pair.step)] == [[[[[-12]]]], [[[[15]]]], [[[[1]]]]]
