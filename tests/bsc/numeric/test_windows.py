from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.numeric.column_stats import SumRange
from bsc.numeric.windows import Windows


def single(low: int, high: int, lowest: int, highest: int, step: int = 1) -> Windows:
    """One conversion."""
    one, seen = np.ones((1, 1, 1, 1), np.int32), np.int32
    reached = SumRange(one * low, one * high, (one * step).astype(np.uint8))
    return Windows.of(reached, one * seen(lowest), one * seen(highest), None)


@pytest.mark.parametrize(
    ("low", "high", "lowest", "highest", "bits", "first"),
    [
        (-20, 20, -3, 4, 3, -3),  # all of 8 codes are needed
        (-20, 20, -3, 3, 3, -3),  # one to spare lies above
        (-20, 20, -3, 2, 3, -4),  # of two one each
        (-3, 20, -3, 2, 3, -3),  # but none lies where nothing can be met
        (-20, 2, -3, 2, 3, -5),
        (-20, 20, -3, 4, 4, -7),
        (-5, 6, -3, 4, 4, -5),  # as many as are proved to be enough start where the proof does
        (-20, 20, 0, 0, 0, 0),
        (-20, 0, 0, 0, 1, -1),
        (0, 20, 0, 4, 3, 0),
        (0, 20, 0, 4, 5, 0),
    ],
)
def test_by_hand(low: int, high: int, lowest: int, highest: int, bits: int, first: int) -> None:  # noqa: PLR0917
    windows = single(low, high, lowest, highest)
    assert windows.codes_from(bits).item() == first
    assert windows.covering.item() == (highest - lowest).bit_length()
    assert windows.proved.item() == (high - low).bit_length()
    threefold = single(3 * low, 3 * high, 3 * lowest, 3 * highest, step=3)
    assert (threefold.codes_from(bits).item(), threefold.unit.item()) == (first, 3)


def test_shared() -> None:
    """Units 2 and 3 have 1 in common; the codes of both reach from the lowest to the highest sum of both."""
    shape = (1, 1, 1, 2)

    def of(values: Any, dtype: Any = np.int32) -> Any:
        return np.array(values, dtype).reshape(shape)

    reached = SumRange(of([-40, -9]), of([20, 60]), of([2, 3], np.uint8))
    windows = Windows.of(reached, of([-4, 0]), of([2, 9]), np.zeros(shape, np.int64))
    assert windows.unit.tolist() == of([1, 1]).tolist()
    assert windows.covering.tolist() == of([4, 4]).tolist()
    assert windows.proved.tolist() == of([7, 7]).tolist()
    assert windows.codes_from(4).tolist() == of([-5, -5]).tolist()
    assert windows.codes_from(7).tolist() == of([-40, -40]).tolist()


@given(st.data())
def test_all_that_was_seen_has_a_code_and_so_has_zero(data: st.DataObject) -> None:
    low, high = data.draw(st.integers(-300, 0)), data.draw(st.integers(0, 300))
    lowest, highest = data.draw(st.integers(low, 0)), data.draw(st.integers(0, high))
    windows = single(low, high, lowest, highest)
    covering, proved = windows.covering.item(), windows.proved.item()
    assert covering <= proved
    bits = data.draw(st.integers(covering, proved))
    first = windows.codes_from(bits).item()
    last = first + 2**bits - 1
    assert first <= lowest <= highest <= last
    assert low <= first
    if bits < proved:
        assert last <= high
    else:
        assert (first, last >= high) == (low, True)
