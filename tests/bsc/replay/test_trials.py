import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.replay.trials import MeanInterval, mean_interval, student_t_quantile


# The printed table of Student's t: one-sided probability, degrees of freedom, value.
@pytest.mark.parametrize(
    ("probability", "degrees", "value"),
    [
        (0.95, 1, 6.314),
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 9, 2.262),
        (0.975, 10, 2.228),
        (0.975, 19, 2.093),
        (0.975, 30, 2.042),
        (0.975, 120, 1.980),
        (0.95, 5, 2.015),
        (0.995, 5, 4.032),
        (0.995, 1, 63.657),
        (0.995, 30, 2.750),
        (0.9, 29, 1.311),
    ],
)
def test_quantiles_of_the_printed_table(probability: float, degrees: int, value: float) -> None:
    assert student_t_quantile(probability, degrees) == pytest.approx(value, abs=6e-4)


def test_quantile_of_many_degrees_is_the_normal_one() -> None:
    assert student_t_quantile(0.975, 10_000) == pytest.approx(1.95996, abs=3e-4)


@given(st.floats(0.5, 0.9999), st.integers(1, 60))
def test_quantiles_fall_with_the_degrees_of_freedom(probability: float, degrees: int) -> None:
    assert 0 <= student_t_quantile(probability, degrees + 1) <= student_t_quantile(probability, degrees) + 1e-12


def test_interval_by_hand() -> None:
    # Mean 4, squares 4 + 0 + 4 over 2: deviation 2; 4.303 * 2 / sqrt(3).
    interval = mean_interval([2.0, 4.0, 6.0])
    assert (interval.mean, interval.deviation, interval.trials) == (4.0, 2.0, 3)
    assert interval.half_width == pytest.approx(4.3027 * 2 / math.sqrt(3), abs=1e-4)
    assert (interval.low, interval.high) == (4.0 - interval.half_width, 4.0 + interval.half_width)


def test_one_trial_fixes_nothing_and_equal_trials_fix_all() -> None:
    single = mean_interval([0.5])
    assert (single.mean, single.low, single.high) == (0.5, -math.inf, math.inf)
    assert math.isnan(single.deviation)
    assert mean_interval([0.25, 0.25]) == MeanInterval(mean=0.25, deviation=0.0, half_width=0.0, trials=2)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_more_confidence_takes_a_wider_interval_around_the_same_mean(values: list[float]) -> None:
    narrow, wide = mean_interval(values, confidence=0.5), mean_interval(values, confidence=0.99)
    assert narrow.mean == wide.mean
    assert narrow.half_width <= wide.half_width
