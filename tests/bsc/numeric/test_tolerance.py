import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.numeric.tolerance import share_beyond


def violated(weights: NDArray[np.float64], observations: int, ends: int, share: float) -> float:
    """Chance that more than `share` of a discrete distribution lies beyond the limits of so many draws."""
    chances = weights / weights.sum()
    upto = np.concatenate([[0], np.cumsum(chances)])
    found = 0.0
    for low, high in product(range(len(chances)), repeat=2):
        if low > high:
            continue

        def within(first: int, last: int) -> float:
            return max(upto[last + 1] - upto[first], 0) ** observations if first <= last else 0.0

        drawn = within(low, high) - within(low + 1, high) - within(low, high - 1) + within(low + 1, high - 1)
        beyond = 1 - upto[high + 1] + (upto[low] if ends == 2 else 0)
        found += drawn * (beyond > share)
    return float(found)


def test_by_hand() -> None:
    assert share_beyond(1, ends=1) == pytest.approx(0.95)
    assert share_beyond(1, ends=2) == 1  # the smallest is the largest, and nothing may lie between them
    assert share_beyond(2, ends=2) == pytest.approx(math.sqrt(0.95))  # 1 - p**2 is 0.05
    assert share_beyond(10**6, ends=1) == pytest.approx(2.9957e-6, rel=1e-4)
    assert share_beyond(10**6, ends=2) == pytest.approx(4.7439e-6, rel=1e-4)


@pytest.mark.parametrize("observations", [3, 20, 100])
@pytest.mark.parametrize("ends", [1, 2])
def test_the_level_by_enumeration(observations: int, ends: int) -> None:
    """A fine uniform distribution comes close to the level; coarse and skewed ones stay below it."""
    share = share_beyond(observations, ends=ends)
    assert 0.04 < violated(np.ones(400), observations, ends, share) <= 0.05
    for weights in (np.ones(7), np.geomspace(1, 1e-6, 60), np.array([0.9, 0.01, 0.05, 0.04])):
        assert violated(np.asarray(weights), observations, ends, share) <= 0.05


def test_three_over_n_is_not_enough_for_two_ends() -> None:
    assert violated(np.ones(400), 100, 1, 3 / 100) < 0.05
    assert violated(np.ones(400), 100, 2, 3 / 100) > 0.15


@given(st.integers(1, 10**6), st.sampled_from([1, 2]))
def test_more_observations_say_more(observations: int, ends: int) -> None:
    assert share_beyond(observations + 1, ends=ends) < share_beyond(observations, ends=ends)
    assert share_beyond(observations, ends=1) <= share_beyond(observations, ends=2)
