import math

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays

from bsc.numeric.column_stats import column_stats, lossless_bits
from bsc.train.projection import project


def projected(codes: list[list[int]], caps: tuple[int, ...], rows: int = 128) -> list[list[int]]:
    return project(torch.tensor(codes, dtype=torch.float32), caps, bits_per_cell=2, rows=rows).int().tolist()


def test_the_largest_cells_of_a_column_are_kept() -> None:
    """Caps of 1: one level of each slice. 64 takes the top slice, 32 the next, 5 gives its 4, nothing is left for 1."""
    assert projected([[64], [32], [5], [2]], (1, 1, 1, 1)) == [[64], [32], [4], [2]]


def test_what_a_slice_has_no_room_for_goes_to_the_slices_below() -> None:
    """The second 64 finds the top slice full: the slices below hold at most 63 of it."""
    assert projected([[64], [64]], (3, 3, 3, 1)) == [[64], [63]]


def test_the_cell_that_a_cap_runs_out_at_keeps_what_is_left_of_it() -> None:
    """A cap of 3: the second 2 keeps one level, the 1 finds nothing left."""
    assert projected([[2], [2], [1]], (3, 3, 3, 3)) == [[2], [1], [0]]


def test_close_below_a_unit_is_rounded_up_to_it() -> None:
    """10 / 16 is 0.625: at least 0.6, so one cell of 16 in place of 2 and 2 of the slices below."""
    assert projected([[10], [9]], (7, 7, 7, 7)) == [[16], [9]]


def test_signs_are_columns_of_their_own() -> None:
    assert projected([[1], [-1]], (1, 1, 1, 1)) == [[1], [-1]]


def test_row_tiles_have_budgets_of_their_own() -> None:
    assert projected([[1], [1]], (1, 1, 1, 1), rows=1) == [[1], [1]]
    assert projected([[1], [1]], (1, 1, 1, 1), rows=2) == [[1], [0]]


def test_one_cell_of_any_level_needs_one_bit() -> None:
    assert projected([[2], [1]], (1, 1, 1, 1)) == [[2], [0]]


matrices = arrays(np.int16, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.integers(-255, 255))


@given(codes=matrices, budget=st.tuples(*[st.integers(1, 5)] * 4), rows=st.integers(1, 32))
def test_the_budget_is_proved_by_the_columns_of_the_result(
    codes: np.ndarray[tuple[int, int], np.dtype[np.int16]], budget: tuple[int, ...], rows: int
) -> None:
    caps = [(1 << bits) - 1 for bits in budget]
    result = project(torch.from_numpy(codes.astype(np.float32)), caps, bits_per_cell=2, rows=rows).numpy()
    found = result.astype(np.int16)
    assert (found == result).all()
    assert (np.sign(found) * np.sign(codes) >= 0).all()
    assert np.abs(found).max() <= 255
    stats = column_stats(found, stored_bits=8, bits_per_cell=2, group_rows=rows)
    bits = lossless_bits(stats.sums, stats.gcds)
    assert (bits <= np.array(budget).reshape(1, 4, 1, 1)).all()


@given(codes=matrices)
def test_codes_within_the_budget_that_need_no_rounding_stay(
    codes: np.ndarray[tuple[int, int], np.dtype[np.int16]],
) -> None:
    units = np.sign(codes) * 4 ** (np.abs(codes) % 4)
    result = project(torch.from_numpy(units.astype(np.float32)), (40,) * 4, bits_per_cell=2, rows=128)
    np.testing.assert_array_equal(result.numpy(), units)


def one_column(codes: list[int], caps: tuple[int, ...]) -> list[int]:
    """The module's docstring, weight by weight, for one column of one tile."""
    result = [0] * len(codes)
    for sign in (1, -1):
        rest = {row: sign * code for row, code in enumerate(codes) if sign * code > 0}
        for position in range(3, -1, -1):
            unit, spent, first = 4**position, 0, True
            rest = {row: min(value, 4 * unit - 1) for row, value in rest.items()}
            up = 0.4 if position else 0
            level = {row: min(3, math.floor(value / unit + up)) for row, value in rest.items()}
            for row in sorted((row for row in rest if level[row]), key=lambda row: (-rest[row], row)):
                kept = level[row] if first else min(level[row], max(0, caps[position] - spent))
                result[row] += sign * kept * unit
                rest[row] = max(0, rest[row] - kept * unit) if kept else rest[row]
                spent, first = spent + kept, False
    return result


@given(codes=matrices, caps=st.tuples(*[st.integers(0, 20)] * 4), rows=st.integers(1, 32))
def test_it_is_what_a_loop_over_single_weights_gives(
    codes: np.ndarray[tuple[int, int], np.dtype[np.int16]], caps: tuple[int, ...], rows: int
) -> None:
    expected = np.zeros_like(codes)
    for start in range(0, len(codes), rows):
        for column in range(codes.shape[1]):
            part = np.s_[start : start + rows, column]
            expected[part] = one_column(codes[part].tolist(), caps)
    matrix = torch.from_numpy(codes.astype(np.float32))
    np.testing.assert_array_equal(project(matrix, caps, bits_per_cell=2, rows=rows).numpy(), expected)
    stored_across = matrix.T.contiguous().T
    np.testing.assert_array_equal(project(stored_across, caps, bits_per_cell=2, rows=rows).numpy(), expected)
