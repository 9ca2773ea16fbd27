"""The front: by hand, and as a law against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bsc.exploration.pareto import pareto_front

UNKNOWN = np.nan


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([[1, 2], [2, 1], [2, 2]], [True, True, False]),
        ([[1, 1], [1, 1], [1, 2]], [True, True, False]),  # equal points stand together
        ([[3], [1], [1]], [False, True, True]),
        ([[0, UNKNOWN], [5, 5]], [False, True]),  # even where it is best in what is known
        ([[UNKNOWN, UNKNOWN]], [False]),
        ([[-0.0, 1], [0.0, 1]], [True, True]),
    ],
)
def test_by_hand(points: list[list[float]], front: list[bool]) -> None:
    assert pareto_front(np.array(points, np.float64)).tolist() == front


def test_nothing_has_no_front() -> None:
    assert pareto_front(np.empty((0, 2))).tolist() == []


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(0, 25), st.integers(1, 4)),
        elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, UNKNOWN]),
    )
)
def test_it_is_what_nothing_beats(values: NDArray[np.float64]) -> None:
    def beats(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
        return bool((a <= b).all() and (a < b).any())

    known = [not np.isnan(row).any() for row in values]
    expected = [
        known[at] and not any(known[other] and beats(values[other], row) for other in range(len(values)))
        for at, row in enumerate(values)
    ]
    assert pareto_front(values).tolist() == expected
