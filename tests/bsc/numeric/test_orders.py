import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.numeric.column_stats import stored_stats
from bsc.numeric.encoding import CellFormat
from bsc.numeric.orders import balanced_rows, sorted_lines
from tests.passes.layers import sparse_codes

CELLS = CellFormat(weight_bits=8, bits_per_cell=2)


def test_sorted_by_hand() -> None:
    """64 and up fill slice 3, 16 and up slice 2; rows 1 and 4 have two cells there, row 3 has more in slice 2."""
    rows = np.array([[1, 1, 1], [64, -64, 0], [0, 16, 0], [255, 0, 16], [0, 64, 64]])
    assert sorted_lines(rows, CELLS).tolist() == [1, 4, 3, 2, 0]
    assert sorted_lines(rows.T, CELLS).tolist() == [0, 1, 2]  # 255 has a cell in slice 1, which -64 and 64 have not


def test_equal_lines_keep_their_order() -> None:
    assert sorted_lines(np.full((4, 2), -7), CELLS).tolist() == [0, 1, 2, 3]


def test_balanced_by_hand() -> None:
    """Two heavy rows, then one light row that joins the group whose column it does not load, and one for the rest."""
    rows = np.array([[3, 0], [0, 3], [2, 0], [0, 2]])
    order = balanced_rows(rows, CELLS, 2)
    assert order.tolist() == [0, 3, 1, 2]
    assert [rows[order[group : group + 2]].sum(axis=0).max() for group in (0, 2)] == [3, 3]


def test_one_group_stays_as_it_is() -> None:
    rows = np.array([[1], [9], [4]])
    assert balanced_rows(rows, CELLS, 3).tolist() == [0, 1, 2]
    assert balanced_rows(rows, CELLS, 4).tolist() == [0, 1, 2]
    assert balanced_rows(rows, CELLS, 1).tolist() == [1, 0, 2]


@settings(deadline=None)
@given(sparse_codes(), st.integers(1, 12), st.sampled_from([(8, 2), (8, 1), (8, 8), (8, 3)]))
def test_every_line_once(codes: NDArray[np.int16], group_rows: int, sizes: tuple[int, int]) -> None:
    cells = CellFormat(weight_bits=sizes[0], bits_per_cell=sizes[1])
    for order in (sorted_lines(codes, cells), balanced_rows(codes, cells, group_rows)):
        assert sorted(order.tolist()) == list(range(len(codes)))


def largest(codes: NDArray[np.int16], group_rows: int) -> NDArray[np.int64]:
    """The largest column sum of each slice."""
    return np.asarray(stored_stats(codes, CELLS, group_rows).sums.max(axis=(0, 2, 3)), np.int64)


def zero_columns(codes: NDArray[np.int16], group_rows: int) -> int:
    return int((stored_stats(codes, CELLS, group_rows).sums == 0).sum())


@pytest.mark.parametrize("seed", range(3))
def test_what_the_orders_are_for(seed: int) -> None:
    """On sparse weights balanced sums are smaller at the top, and sorted ones are zero more often."""
    random = np.random.default_rng(seed)
    codes = np.where(random.random((320, 24)) < 0.1, random.normal(0, 60, (320, 24)), 0).clip(-255, 255)
    codes = codes.round().astype(np.int16)
    before = largest(codes, 32)
    balanced = codes[balanced_rows(codes, CELLS, 32)]
    assert (largest(balanced, 32) <= before).all()
    assert largest(balanced, 32)[0] < 0.8 * before[0]
    ordered = codes[sorted_lines(codes, CELLS)]
    assert zero_columns(ordered, 32) > zero_columns(codes, 32) > zero_columns(balanced, 32)


def test_no_codes() -> None:
    assert sorted_lines(np.zeros((3, 0), np.int16), CELLS).tolist() == [0, 1, 2]
