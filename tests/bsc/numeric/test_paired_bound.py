import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.numeric.paired_bound import drop_bound, fewest_samples, score_bound, unchanged_bound


def binomial_at_most(most: int, samples: int, chance: float) -> float:
    return math.fsum(math.comb(samples, k) * chance**k * (1 - chance) ** (samples - k) for k in range(most + 1))


@pytest.mark.parametrize("samples", [5, 9, 16])
def test_the_level_by_enumeration(samples: int) -> None:
    """For every drop and share of gains on a grid: the chance of an outcome whose limit lies below the true drop."""
    outcomes = [(lost, gained) for lost, gained in product(range(samples + 1), repeat=2) if lost + gained <= samples]
    limits = np.array([drop_bound(*outcome, samples) for outcome in outcomes])
    ways = [math.comb(samples, lost) * math.comb(samples - lost, gained) for lost, gained in outcomes]
    lost, gained = np.array(outcomes).T
    worst = 0.0
    for share, drop in product(np.linspace(0, 0.5, 26), np.linspace(-0.9, 0.99, 64)):
        losing, same = share + drop, 1 - 2 * share - drop
        if losing >= 0 and same >= 0:
            chances = ways * losing**lost * share**gained * same ** (samples - lost - gained)
            assert chances.sum() == pytest.approx(1)
            worst = max(worst, chances[limits < drop].sum())
    assert 0.03 < worst <= 0.05


@pytest.mark.parametrize("samples", [50, 1000, 10000])
@pytest.mark.parametrize("lost", [0, 1, 3, 10])
def test_the_level_where_nothing_is_gained(samples: int, lost: int) -> None:
    """A true drop just above the limit of `lost` is missed by at most that many losses, where score limits err."""
    assert binomial_at_most(lost, samples, drop_bound(lost, 0, samples)) <= 0.05
    assert binomial_at_most(lost, samples, score_bound(lost, 0, samples)) > 0.055


def test_no_discordant_sample_by_hand() -> None:
    """(1 - d)**n is 0.05 less the 0.001 for shares of gains outside the interval that is searched."""
    assert unchanged_bound(100) == pytest.approx(1 - 0.049**0.01)
    for samples in (1, 10, 1000):
        assert unchanged_bound(samples) <= drop_bound(0, 0, samples) <= 1.003 * unchanged_bound(samples)


def test_fewest_samples_on_both_sides() -> None:
    for limit in (0.5, 0.05, 0.005):
        fewest = fewest_samples(limit)
        assert unchanged_bound(fewest) <= limit < unchanged_bound(fewest - 1)


@settings(max_examples=30)
@given(st.integers(2, 400), st.data())
def test_between_the_drop_that_was_seen_and_little_more_than_the_score_limit(samples: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, samples))
    gained = data.draw(st.integers(0, samples - lost))
    limit, score = drop_bound(lost, gained, samples), score_bound(lost, gained, samples)
    assert (lost - gained) / samples <= limit <= 1
    assert limit - score < 1.5 / math.sqrt(samples)
    if lost + gained < samples:
        assert drop_bound(lost + 1, gained, samples) > limit - 2e-4
        assert drop_bound(lost, gained + 1, samples) < limit + 2e-4


@pytest.mark.parametrize(
    ("lost", "gained", "samples", "confidence", "bound"),
    [
        # Tango's interval of Bentur et al. 2009 (1, 1, 7, 12): -0.517 to -0.026, as the R package ratesci prints it.
        (7, 1, 21, 0.975, 0.517),
        (1, 7, 21, 0.975, -0.026),
        # PropCIs::scoreci.mp(25, 28, 618) at 90 %: -0.0148 to 0.0247.
        (28, 25, 618, 0.95, 0.0247),
        (25, 28, 618, 0.95, 0.0148),
    ],
)
def test_published_score_limits(lost: int, gained: int, samples: int, confidence: float, bound: float) -> None:
    digits = 3 if samples == 21 else 4
    assert round(score_bound(lost, gained, samples, confidence=confidence), digits) == bound


@pytest.mark.parametrize("samples", [10, 1000, 8000])
def test_the_score_limit_of_no_discordant_sample_by_hand(samples: int) -> None:
    """q is 0: n d / sqrt(n d (1 - d)) = z, so d = z**2 / (n + z**2)."""
    z = 1.6448536269514722
    assert score_bound(0, 0, samples) == pytest.approx(z**2 / (samples + z**2), rel=1e-9)


def test_only_losses_by_hand() -> None:
    """With no gain q is max(0, ...): for lost = n the roots give d = 1."""
    assert score_bound(5, 0, 5) == pytest.approx(1)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    samples = draw(st.integers(2, 3000))
    lost = draw(st.integers(0, samples // 2))
    return lost, draw(st.integers(0, samples // 2)), samples


@given(counts())
def test_the_score_at_the_bound_is_that_of_the_confidence(drawn: tuple[int, int, int]) -> None:
    """With the share of gains found by climbing the likelihood, which is concave, and not by the formula."""
    lost, gained, samples = drawn
    bound = score_bound(lost, gained, samples)
    assert (lost - gained) / samples <= bound <= 1
    if bound < (lost - gained) / samples + 1e-9 or bound > 0.999:
        return

    def likelihood(share: float) -> float:
        terms = (lost, share + bound), (gained, share), (samples - lost - gained, 1 - 2 * share - bound)
        return sum(count * math.log(max(chance, 1e-300)) for count, chance in terms if count)

    low, high = max(0.0, -bound), (1 - bound) / 2
    for _ in range(200):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if likelihood(left) < likelihood(right) else (low, right)
    score = (lost - gained - samples * bound) / math.sqrt(samples * (2 * low + bound * (1 - bound)))
    assert score == pytest.approx(-1.6448536, abs=1e-4)


@given(counts())
def test_more_losses_raise_the_bound_and_more_gains_lower_it(drawn: tuple[int, int, int]) -> None:
    lost, gained, samples = drawn
    assert score_bound(lost + 1, gained, samples + 1) > score_bound(lost, gained, samples + 1)
    assert score_bound(lost, gained + 1, samples + 1) < score_bound(lost, gained, samples + 1) + 1e-12
