from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.numeric.allocation import at_bits, bias_correction, cheapest_bits, covering_bits


def of_columns(values: Any, dtype: Any) -> Any:
    """Values (N, B) as (1, 1, 1, N, B)."""
    return np.array(values, dtype)[None, None, None]


BOTH = np.ones((1, 1, 1, 2), np.bool_)
TOGETHER = np.zeros((1, 1, 1, 2), np.int64)


@pytest.mark.parametrize(
    ("share", "groups", "bits"),
    [
        (0.0, None, [2, 3]),
        (0.1, None, [1, 3]),  # 1 of 10 may clip
        (0.5, None, [1, 2]),
        (0.0, TOGETHER, [3, 3]),
        (0.3, TOGETHER, [2, 2]),  # 6 of 20 may clip, and 5 do
        (0.2, TOGETHER, [3, 3]),
    ],
)
def test_covering_bits_by_hand(share: float, groups: Any, bits: list[int]) -> None:
    beyond = of_columns([[8, 1, 0, 0], [9, 7, 5, 0]], np.uint32)
    assert covering_bits(beyond, BOTH, groups, conversions=10, clip_share=share).ravel().tolist() == bits


def test_cheapest_bits_by_hand() -> None:
    prices = np.array([0.0, 1.0, 2.0])
    squared_error = of_columns([[5, 2, 0], [1, 0.5, 0]], np.float32)
    weight = np.ones((1, 1, 1, 2))
    # 5, 3, 2 and 1, 1.5, 2; together 6, 4.5, 4.
    assert cheapest_bits(prices, squared_error, weight, BOTH, None).ravel().tolist() == [2, 0]
    assert cheapest_bits(prices, squared_error, weight, BOTH, TOGETHER).ravel().tolist() == [2, 2]
    assert cheapest_bits(np.array([0, 3.0, np.inf]), squared_error, weight, BOTH, None).ravel().tolist() == [0, 0]


def test_columns_that_are_not_converted_cost_nothing_and_clip_nothing() -> None:
    first = np.array([True, False]).reshape(1, 1, 1, 2)
    squared_error = of_columns([[5, 2.5, 0], [0, 0, 0]], np.float32)
    weight = np.ones((1, 1, 1, 2))
    # 5, 4, 3 alone; with the price of two it would be 5, 5.5, 6.
    prices = np.array([0.0, 1.5, 3.0])
    assert cheapest_bits(prices, squared_error, weight, first, TOGETHER).ravel().tolist() == [2, 0]
    assert cheapest_bits(prices, squared_error, weight, BOTH, TOGETHER).ravel().tolist() == [0, 0]
    beyond = of_columns([[9, 2, 0], [0, 0, 0]], np.uint32)
    for converted, bits in ((first, 2), (BOTH, 1)):  # 1 of 10, or 2 of 20
        found = covering_bits(beyond, converted, TOGETHER, conversions=10, clip_share=0.1)
        assert found[0, 0, 0, 0] == bits


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(1, 1e3), st.booleans())
def test_more_weight_never_costs_less_and_never_does_more_damage(
    seed: int, weight: float, factor: float, shared: bool
) -> None:
    random = np.random.default_rng(seed)
    prices = np.sort(random.random(6))
    squared_error = np.sort(random.random((2, 3, 2, 4, 6)).astype(np.float32))[..., ::-1]
    groups = random.integers(0, 5, squared_error.shape[:4]) if shared else None

    def totals(weight: float) -> tuple[float, float]:
        converted = np.ones(squared_error.shape[:4], np.bool_)
        bits = cheapest_bits(prices, squared_error, np.full(squared_error.shape[:4], weight), converted, groups)
        return float(prices[bits].sum()), float(at_bits(squared_error, bits).sum(dtype=np.float64))

    (price, harm), (more_price, less_harm) = totals(weight), totals(weight * factor)
    assert more_price >= price - 1e-9
    assert less_harm <= harm + 1e-6


def test_no_allocation_of_the_same_damage_is_cheaper() -> None:
    """Against every allocation of three columns."""
    random = np.random.default_rng(0)
    prices, squared_error = np.arange(4.0), np.sort(random.random((1, 1, 1, 3, 4)).astype(np.float32) * 5)[..., ::-1]
    bits = cheapest_bits(prices, squared_error, np.ones((1, 1, 1, 3)), np.ones((1, 1, 1, 3), np.bool_), None).ravel()
    each = squared_error[0, 0, 0]
    spent, harm = prices[bits].sum(), each[np.arange(3), bits].sum()
    for other in np.ndindex(4, 4, 4):
        assert prices[list(other)].sum() >= spent or each[np.arange(3), list(other)].sum() > harm - 1e-6


def test_bias_correction_by_hand() -> None:
    """Two row groups, two slices worth 1 and 4, two polarities: -(0.5 + 0.25) - 4 * (-1) + (-0.5) = 2.75."""
    mean = np.zeros((2, 2, 2, 1))
    mean[0, 0, 0], mean[1, 0, 0], mean[0, 1, 0], mean[1, 0, 1] = 0.5, 0.25, -1, -0.5
    place_values = np.array([[1, -1], [4, -4]])
    assert bias_correction(mean, place_values, None).tolist() == [3]
    # What the column of the second row group reads is taken away: -(0.5 - 0.25) - 4 * (-1) + (-0.5) = 3.25.
    flipped = np.zeros((2, 2, 2, 1), np.bool_)
    flipped[1, 0, 0] = True
    assert bias_correction(2 * mean, place_values, flipped).tolist() == [6]  # 6.5 to even
