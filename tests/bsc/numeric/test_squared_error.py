from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.numeric.squared_error import FACTORS, Options, best_options, fewest_clipped, squared_error_of

TWO_CYCLES = ((0, 1, 1), (1, 1, -1))


def test_options_by_hand() -> None:
    """One bit reaches a sum of 3 with a step of 3, and no coarser step is tried; two bits lose nothing."""
    options = Options.within(0, 3)
    assert list(zip(options.bits.tolist(), options.factor.tolist(), strict=True)) == [
        (0, 1),
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 1),
    ]
    # Columns are the options, rows the sums 0 to 3; halves to even: 1 / 2 is read as 0, 3 / 2 as 2 and then clipped.
    assert options.read(0, 4)[0].T.tolist() == [
        [0, -1, -2, -3],
        [0, 0, -1, -2],
        [0, -1, 0, -1],
        [0, -1, 1, 0],
        [0, 0, 0, 0],
    ]


def test_damage_by_hand() -> None:
    """One column of step 2 seen in four vectors; the second cycle counts twice and is subtracted."""
    histogram = np.array([[[1, 2, 1, 0], [3, 0, 0, 1]]])
    found = squared_error_of(histogram, 0, Options.within(0, 3), TWO_CYCLES, np.array([2]))
    # One bit at a step of one: errors 0, 0, 0, -1 units in the first cycle, 0, 0, 0, -2 in the second.
    # Means -1/4 and -1/2, squares 1/4 and 1, variances 3/16 and 3/4.
    mean = -1 / 4 - 2 * (-1 / 2)
    squared_error = 3 / 16 + 4 * 3 / 4 + mean**2
    assert found.mean[0, 1] == 2 * mean
    assert found.squared_error[0, 1] == 4 * squared_error
    # Two bits lose nothing; no conversion loses everything: mean -(1 + 0) - 2 * -(3/4).
    assert (found.mean[0, 4], found.squared_error[0, 4]) == (0, 0)
    assert found.mean[0, 0] == 2 * (-1 + 2 * 3 / 4)
    # Sums 1, 1, 2 and 3 are read as 0 without bits; one bit clips 2 and 3, 3 at a step of 2, none at a step of 3.
    assert found.clipped[0].tolist() == [4, 2, 1, 0, 0]
    assert fewest_clipped(found, Options.within(0, 3)).tolist() == [[4, 2, 0]]


def test_options_of_pairs_by_hand() -> None:
    """Sums of -2 to 1, two bits: one bit reads -1 and 0 or 0 and 1, in steps of 1 or 2; zero always is a code."""
    options = Options.within(-2, 1)
    found = list(zip(options.bits.tolist(), options.factor.tolist(), options.low.tolist(), strict=True))
    assert found == [(0, 1, 0), (1, 1, 0), (1, 1, -1), (1, 2, 0), (1, 2, -1), (2, 1, -2)]
    errors, clips = options.read(-2, 4)
    assert errors.T.tolist() == [
        [2, 1, 0, -1],
        [2, 1, 0, 0],
        [1, 0, 0, -1],
        [2, 1, 0, -1],  # 1 / 2 is read as 0, and -1 / 2 too
        [0, 1, 0, -1],
        [0, 0, 0, 0],
    ]
    assert clips.T.tolist() == [
        [True, True, False, True],
        [True, True, False, False],
        [True, False, False, True],
        [True, False, False, False],
        [False, False, False, False],
        [False, False, False, False],
    ]


def test_damage_of_a_pair_by_hand() -> None:
    """Sums -2, -2, 0, 1 of one cycle: one bit at a step of 2 from -1 on misses the 1 alone."""
    options = Options.within(-2, 1)
    found = squared_error_of(np.array([[[2, 0, 1, 1]]]), -2, options, ((0, 1, 1),), np.array([1]))
    best = best_options(found.squared_error, options)
    assert (options.factor[best].tolist(), options.low[best].tolist()) == ([[1, 2, 1]], [[0, -1, -2]])
    assert found.mean[0, best[0]].tolist() == [3 / 4, -1 / 4, 0]
    assert found.squared_error[0, best[0]].tolist() == [9 / 4, 1 / 4, 0]  # with one conversion, the mean of the squares
    assert found.clipped[0, best[0]].tolist() == [3, 0, 0]
    assert fewest_clipped(found, options).tolist() == [[3, 2, 0]]


def test_keeping_low_bits_and_dropping_them_compete() -> None:
    options = Options.within(0, 7)

    def step(counts: Sequence[int]) -> int:
        found = squared_error_of(np.array([[counts]]), 0, options, ((0, 1, 1),), np.array([1]))
        return int(options.factor[best_options(found.squared_error, options)[0, 1]])

    assert step([10, 10, 1, 0, 0, 0, 0, 0]) == 1  # sparse: saturate
    assert step([10, 0, 0, 0, 0, 10, 0, 0]) == 5  # two far values: one bit tells them apart


histograms = st.lists(st.integers(0, 50), min_size=2, max_size=40).filter(lambda counts: sum(counts) > 0)


@settings(deadline=None)
@given(histograms, st.integers(1, 20))
def test_more_bits_never_do_more_damage_and_enough_do_none(counts: list[int], unit: int) -> None:
    top = len(counts) - 1
    options = Options.within(0, top)
    found = squared_error_of(np.array([[counts]]), 0, options, ((3, 1, 1),), np.array([unit]))
    best = np.take_along_axis(found.squared_error, best_options(found.squared_error, options), axis=1)[0]
    assert (best[1:] <= best[:-1]).all()
    assert best[-1] == 0
    assert len(best) == top.bit_length() + 1


@settings(deadline=None)
@given(histograms, st.integers(0, 40), st.integers(0, 40), st.integers(1, 20))
def test_codes_around_zero_read_what_plain_arithmetic_reads(
    counts: list[int], below: int, above: int, unit: int
) -> None:
    options = Options.within(-below, above)
    bins = below + above + 1
    seen = np.resize(counts, bins)
    found = squared_error_of(seen[None, None], -below, options, ((2, 1, -1),), np.array([unit]))
    sums = unit * np.repeat(np.arange(bins) - below, seen)
    for index, (bits, factor, low) in enumerate(zip(options.bits, options.factor, options.low, strict=True)):
        codes = np.rint(sums / (factor * unit))
        within = np.clip(codes, low, low + 2**bits - 1)
        assert low <= 0 <= low + 2**bits - 1
        errors = within * factor * unit - sums
        assert found.squared_error[0, index] == pytest.approx(16 * (errors**2).mean() if len(sums) else 0, rel=1e-9)
        assert found.mean[0, index] == pytest.approx(-4 * errors.mean() if len(sums) else 0, rel=1e-9, abs=1e-9)
        assert found.clipped[0, index] == (codes != within).sum()
    assert found.squared_error[0, -1] == 0


@settings(deadline=None, max_examples=50)
@given(histograms)
def test_no_integer_step_is_much_better_than_those_tried(counts: list[int]) -> None:
    """Against every integer step, by plain arithmetic."""
    options = Options.within(0, len(counts) - 1)
    found = squared_error_of(np.array([[counts]]), 0, options, ((0, 1, 1),), np.array([1]))
    best = np.take_along_axis(found.squared_error, best_options(found.squared_error, options), axis=1)[0]
    sums, weights = np.arange(len(counts)), np.array(counts) / sum(counts)

    def exhaustive(bits: int, steps: NDArray[np.int64]) -> float:
        codes = np.minimum(np.rint(sums / steps[:, None]), (1 << bits) - 1)
        return float((((codes * steps[:, None] - sums) ** 2) @ weights).min())

    for bits in range(len(best)):
        tried = FACTORS[2 * len(counts) >= FACTORS]
        assert best[bits] == pytest.approx(exhaustive(bits, tried), abs=1e-9)
        assert exhaustive(bits, np.arange(1, 2 * len(counts))) <= best[bits] + 1e-9
