import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.replay.paired import PairedAccuracy, drop_bound, paired_accuracy, samples_needed


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
def test_published_intervals(lost: int, gained: int, samples: int, confidence: float, bound: float) -> None:
    digits = 3 if samples == 21 else 4
    assert round(drop_bound(lost, gained, samples, confidence=confidence), digits) == bound


@pytest.mark.parametrize("samples", [10, 1000, 8000])
def test_no_discordant_sample_by_hand(samples: int) -> None:
    """q is 0: n d / sqrt(n d (1 - d)) = z, so d = z**2 / (n + z**2)."""
    z = 1.6448536269514722
    assert drop_bound(0, 0, samples) == pytest.approx(z**2 / (samples + z**2), rel=1e-9)


def test_only_losses_by_hand() -> None:
    """With no gain q is max(0, ...): for lost = n the roots give d = 1."""
    assert drop_bound(5, 0, 5) == pytest.approx(1)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    samples = draw(st.integers(2, 3000))
    lost = draw(st.integers(0, samples // 2))
    return lost, draw(st.integers(0, samples // 2)), samples


@settings(deadline=None)
@given(counts())
def test_the_score_at_the_bound_is_that_of_the_confidence(drawn: tuple[int, int, int]) -> None:
    """With the share of gains found by climbing the likelihood, which is concave, and not by the formula."""
    lost, gained, samples = drawn
    bound = drop_bound(lost, gained, samples)
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


@settings(deadline=None)
@given(counts())
def test_more_losses_raise_the_bound_and_more_gains_lower_it(drawn: tuple[int, int, int]) -> None:
    lost, gained, samples = drawn
    assert drop_bound(lost + 1, gained, samples + 1) > drop_bound(lost, gained, samples + 1)
    assert drop_bound(lost, gained + 1, samples + 1) < drop_bound(lost, gained, samples + 1) + 1e-12


def test_the_bound_covers() -> None:
    """Of 2000 experiments with a true drop of 0.02 the bound lies below it in about 5 %."""
    random = np.random.default_rng(0)
    drawn = random.multinomial(400, [0.035, 0.015, 0.95], size=2000)
    missed = np.mean([drop_bound(int(lost), int(gained), 400) < 0.02 for lost, gained, _ in drawn])
    assert 0.02 < missed < 0.07


def test_paired_accuracy_by_hand() -> None:
    labels = np.array([0, 1, 0, 1, 1])
    quantised = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [1, 0.0]])  # right, right, wrong, right, wrong
    replayed = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [1, 0.0]])  # right, wrong, right, wrong, wrong
    found = paired_accuracy(quantised, replayed, labels)
    assert (found.samples, found.lost, found.gained, found.drop) == (5, 2, 1, 0.2)
    assert found.drop_bound == drop_bound(2, 1, 5)


def test_samples_needed() -> None:
    # z**2 (1 - d) / d = 2.7055 * 0.99 / 0.01 = 267.8 without any discordant sample.
    assert samples_needed(PairedAccuracy(samples=50, lost=0, gained=0), 0.01) == 268
    assert samples_needed(PairedAccuracy(samples=100, lost=2, gained=1), 0.01) is None
    few = PairedAccuracy(samples=100, lost=1, gained=1)
    needed = samples_needed(few, 0.01)
    assert needed is not None
    assert drop_bound(round(needed / 100), round(needed / 100), needed) <= 0.01 < few.drop_bound
