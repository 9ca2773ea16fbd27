"""The interval of an accuracy on devices: by hand, and how often it holds the true mean."""

import math

import numpy as np
import pytest

from bsc.replay.noise_accuracy import mean_over_both
from bsc.replay.trials import student_t_quantile


def test_the_interval_by_hand() -> None:
    """Two chips are right on 1 and 1/2 of two samples: means 1 and 1/2, of the samples 1 and 1/2 too."""
    mean, half_width = mean_over_both(np.array([[True, True], [True, False]]))
    assert mean == 0.75
    assert half_width == pytest.approx(student_t_quantile(0.975, 1) * math.sqrt(0.125 / 2 + 0.125 / 2))


def test_nothing_differs() -> None:
    assert mean_over_both(np.ones((2, 5), bool)) == (1, 0)


@pytest.mark.parametrize(
    ("chip", "sample", "both"),
    [(0.3, 0.0, 1.0), (0.0, 1.0, 0.3), (0.5, 1.0, 0.5), (0.5, 0.2, 0.2)],
    ids=["chips", "samples", "all", "chips above all"],
)
def test_it_holds_the_mean_of_chips_and_samples_drawn_anew(chip: float, sample: float, both: float) -> None:
    """Whether a chip is right on a sample depends on both of them; the true share is known. 95 % are promised."""
    random = np.random.default_rng(0)
    threshold = 0.4  # right where the sum of three normal deviates is below it
    true = 0.5 * math.erfc(-threshold / math.sqrt(2 * (chip**2 + sample**2 + both**2)))
    held, runs, chips, samples = 0, 1500, 8, 60
    for _ in range(runs):
        score = chip * random.standard_normal((chips, 1)) + sample * random.standard_normal(samples)
        correct = score + both * random.standard_normal((chips, samples)) < threshold
        mean, half_width = mean_over_both(correct)
        held += abs(mean - true) <= half_width
    # Where chips decide, accuracies are skewed, and Student's t of eight of them holds 90 % of the time.
    assert held / runs > 0.88
