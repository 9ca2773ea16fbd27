import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.numeric.tiles import column_tiles, column_widths, crossbars_with_weights, per_column, per_crossbar


@pytest.mark.parametrize(
    ("matrix", "crossbar", "packed", "starts"),
    [
        ((10, 128, 1), (128, 128), 1, (0,)),
        ((10, 129, 1), (128, 128), 1, (0, 128)),
        ((300, 10, 1), (128, 4), 1, (0, 4, 8)),
        ((10, 0, 1), (128, 128), 1, ()),
        ((0, 0, 1), (128, 128), 1, ()),
        # Depthwise 3x3: 14 groups of 9 rows share 128 wordlines, the last crossbar holds 32 - 28 = 4.
        ((9, 32, 32), (128, 128), 14, (0, 14, 28)),
        # The bitlines are the limit: 8 columns hold 2 groups of 4.
        ((9, 12, 3), (128, 8), 2, (0, 8)),
        # All groups fit on one crossbar.
        ((4, 6, 3), (128, 128), 3, (0,)),
        # A group as tall as half a crossbar packs twice, one row more and it does not.
        ((64, 4, 2), (128, 128), 2, (0,)),
        ((65, 4, 2), (128, 128), 1, (0, 2)),
        # A column tile never spans two groups that are not packed.
        ((200, 6, 2), (128, 2), 1, (0, 2, 3, 5)),
    ],
)
def test_column_tiles_by_hand(
    matrix: tuple[int, int, int], crossbar: tuple[int, int], packed: int, starts: tuple[int, ...]
) -> None:
    """`matrix` is rows, columns and groups, `crossbar` wordlines driven together and bitlines."""
    assert column_tiles(*matrix, *crossbar) == (packed, starts)


def test_per_crossbar_by_hand() -> None:
    values = np.array([3, 1, 4, 1, 5], np.uint16).reshape(1, 1, 1, 5)
    assert per_crossbar(np.maximum, values, (0, 2, 4)).ravel().tolist() == [3, 4, 5]
    assert per_crossbar(np.add, values, (0, 3)).ravel().tolist() == [8, 6]
    assert crossbars_with_weights(values * 0, (0, 2)).ravel().tolist() == [False, False]
    assert crossbars_with_weights(values - 1, (0, 3, 4)).ravel().tolist() == [True, False, True]


def test_per_column_by_hand() -> None:
    values = np.array([7, 9]).reshape(1, 2, 1, 1)
    assert per_column(values, (0, 2), 5).tolist() == [[[[7, 7, 9, 9, 9]]]]


def test_no_columns() -> None:
    values = np.zeros((2, 3, 2, 0), np.uint16)
    crossbars = per_crossbar(np.maximum, values, ())
    assert crossbars.shape == (2, 0, 3, 2)
    assert per_column(crossbars, (), 0).shape == values.shape


@settings(deadline=None)
@given(
    counts=st.tuples(*[st.integers(1, 3)] * 3),
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    seed=st.integers(0, 2**32 - 1),
)
def test_columns_and_crossbars_turn_into_each_other(counts: tuple[int, int, int], widths: list[int], seed: int) -> None:
    tiles, slices, polarities = counts
    starts, columns = tuple(np.cumsum([0, *widths[:-1]]).tolist()), sum(widths)
    values = np.random.default_rng(seed).integers(0, 9, (tiles, slices, polarities, columns))
    highest = per_crossbar(np.maximum, values, starts)
    assert column_widths(starts, columns).tolist() == widths
    assert highest.shape == (tiles, len(widths), slices, polarities)
    for index, (start, width) in enumerate(zip(starts, widths, strict=True)):
        np.testing.assert_array_equal(highest[:, index], values[..., start : start + width].max(axis=-1))
    np.testing.assert_array_equal(per_crossbar(np.maximum, per_column(highest, starts, columns), starts), highest)
