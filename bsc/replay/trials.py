"""What a number of random trials says about their mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MeanInterval:
    """The mean of independent trials and how well they fix it.

    Attributes:
        mean: of the trials.
        deviation: sample standard deviation of one trial; NaN for a single one.
        half_width: the true mean is within this of `mean` with the asked confidence; infinite for a single trial.
        trials: how many there were.
    """

    mean: float
    deviation: float
    half_width: float
    trials: int

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half_width


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> MeanInterval:
    """Confidence interval of the mean, by Student's t: exact for normal trials, good for means of many samples.

    For a difference from a baseline that saw the same trials give the differences: their interval is narrower.

    Args:
        values: one number a trial, at least one.
        confidence: probability that the interval holds the true mean, above 0 and below 1.
    """
    assert values
    assert 0 < confidence < 1, confidence
    trials = len(values)
    mean = math.fsum(values) / trials
    if trials == 1:
        return MeanInterval(mean=mean, deviation=math.nan, half_width=math.inf, trials=1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (trials - 1))
    quantile = student_t_quantile((1 + confidence) / 2, trials - 1)
    half_width = quantile * deviation / math.sqrt(trials)
    return MeanInterval(mean=mean, deviation=deviation, half_width=half_width, trials=trials)


def student_t_quantile(probability: float, degrees: int) -> float:
    """The value that Student's t is below with this probability.

    Args:
        probability: 0.5 or more and below 1.
        degrees: degrees of freedom, 1 or more.
    """
    assert 0.5 <= probability < 1, probability
    assert degrees >= 1, degrees
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _central_probability(middle, degrees) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _central_probability(theta: float, degrees: int) -> float:
    """Probability of |t| < sqrt(degrees) tan(theta); Abramowitz and Stegun 26.7.3 and 26.7.4, exact for integers."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(degrees // 2):
        total += term
        term *= cosine**2 * (2 * k + 2 if odd else 2 * k + 1) / (2 * k + 3 if odd else 2 * k + 2)
    return (theta + sine * total) * 2 / math.pi if odd else sine * total
