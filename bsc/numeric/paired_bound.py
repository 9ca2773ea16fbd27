"""An upper confidence limit for the accuracy that is lost between two classifiers on the same samples.

Of n samples `lost` are classified correctly by the first only, `gained` by the second only; they are drawn with
probabilities q + d and q, and the drop d is asked for. Asymptotic limits, the score limit of [tango98] included, are
exceeded by the true drop more often than they promise (6.9 % in place of 5 %, if nothing is ever gained). The limit
here keeps its level by construction, for every n, d and q:

- Outcomes are ordered by the score limit. The limit of an outcome is the largest d at which outcomes as low as this
  one still have a probability above 1 - confidence: the smallest limits that keep level and order [buehler57].
- That probability depends on q, so the worst q counts, of those in a confidence interval of 1 - `OUTSIDE` that gains
  alone decide; `OUTSIDE` is added to the probability [berger94].
- Probabilities are summed over outcomes, and what lies beyond the summed range counts in full. Between two values of
  q the probability is bounded by drawing losses with the lower and gains with the higher of them: it falls with every
  loss and rises with every gain.

[tango98] Tango, Statistics in Medicine 17, 891-908. [buehler57] Buehler, J. American Statistical Association 52,
482-493. [berger94] Berger and Boos, J. American Statistical Association 89, 1012-1016.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_Counts = NDArray[np.int64] | int

CONFIDENCE = 0.95
OUTSIDE = 0.001
"""Probability that the true share of gains lies outside the interval that is searched."""

_RESOLUTION = 1e-4
"""Limits are found to this share of themselves, rounded up."""
_NARROW = 0.05
"""Intervals of q are split down to this share of a standard deviation."""


def drop_bound(lost: int, gained: int, samples: int, *, confidence: float = CONFIDENCE) -> float:
    """A drop that the true one exceeds with a probability of at most 1 - `confidence`, whatever it is.

    Args:
        lost: samples that only the first is right on.
        gained: samples that only the second is right on.
        samples: n, 1 or more.
        confidence: one-sided; above 0.5 and below 1 - `OUTSIDE`.
    """
    assert 0 <= lost + gained <= samples, (lost, gained, samples)
    outcomes = _Outcomes.as_low_as(lost, gained, samples, confidence)
    low, high = (lost - gained) / samples, 1.0
    while high - low > _RESOLUTION * max(high, 1 / samples):
        middle = (low + high) / 2
        low, high = (low, middle) if outcomes.unlikely(middle) else (middle, high)
    return high


def unchanged_bound(samples: int, *, confidence: float = CONFIDENCE) -> float:
    """`drop_bound` if no sample is classified otherwise: the least that so many samples can show."""
    return float(-math.expm1(math.log(1 - confidence - OUTSIDE) / samples))


def fewest_samples(limit: float, *, confidence: float = CONFIDENCE) -> int:
    """Samples from which on a drop below `limit` (above 0, below 1) can be shown at all."""
    fewest = math.ceil(math.log(1 - confidence - OUTSIDE) / math.log1p(-limit))
    return fewest + (unchanged_bound(fewest, confidence=confidence) > limit)


def score_bound(lost: int, gained: int, samples: int, *, confidence: float = CONFIDENCE) -> float:
    """The score limit [tango98], which orders outcomes.

    It is the largest difference d that a score test does not reject,

        (lost - gained - samples d) / sqrt(samples (2 q + d (1 - d))) = -z,

    where q is the maximum-likelihood share of `gained` if the difference is d: the positive root of
    2 n q**2 + (-lost - gained + (2 n - lost + gained) d) q - gained d (1 - d) = 0.
    """
    z = NormalDist().inv_cdf(confidence)
    low, high = (lost - gained) / samples, 1.0
    while low < (middle := (low + high) / 2) < high:
        above = _score_gap(lost, gained, samples, middle, z) > 0
        low, high = (middle, high) if above else (low, middle)
    return high


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outcomes:
    """Outcomes that speak for a drop as low as the one that was seen.

    Attributes:
        samples: n.
        limit: score limit of the outcome that was seen; those with a lower one count too.
        z: normal quantile of the confidence.
        error: 1 - confidence - `OUTSIDE`.
        gains: interval of the share of gains.
        log_factorials: of 0 to n.
    """

    samples: int
    limit: float
    z: float
    error: float
    gains: tuple[float, float]
    log_factorials: NDArray[np.float64]

    @classmethod
    def as_low_as(cls, lost: int, gained: int, samples: int, confidence: float) -> "_Outcomes":
        log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, samples + 1)))])
        return cls(
            samples=samples,
            limit=score_bound(lost, gained, samples, confidence=confidence),
            z=NormalDist().inv_cdf(confidence),
            error=1 - confidence - OUTSIDE,
            gains=_share_interval(gained, samples, log_factorials),
            log_factorials=log_factorials,
        )

    def unlikely(self, drop: float) -> bool:
        """Whether no share of gains makes them likelier than `error` at this drop."""
        first, last = max(self.gains[0], -drop), min(self.gains[1], (1 - drop) / 2)
        pending = [(first, last)] if first <= last else []
        while pending:
            low, high = pending.pop()
            if self.probability(low + drop, min(high, 1 - low - drop)) <= self.error:
                continue
            deviation = math.sqrt((low + high + abs(drop)) / self.samples)
            if high - low <= _NARROW * deviation or self.probability(low + drop, low) > self.error:
                return False
            middle = (low + high) / 2
            pending += [(low, middle), (middle, high)]
        return True

    def probability(self, losing: float, gaining: float) -> float:
        """Of all of them together, if a sample is lost and gained with these probabilities; never too low."""
        lost, gained = (self._likely(chance) for chance in (losing, gaining))
        lost, gained = lost[:, None], gained[None, :]
        same = self.samples - lost - gained
        logs = self.log_factorials[-1] - self.log_factorials[lost] - self.log_factorials[gained]
        logs = logs - self.log_factorials[np.maximum(same, 0)]
        for count, chance in ((lost, losing), (gained, gaining), (same, 1 - losing - gaining)):
            logs = logs + count * (math.log(chance) if chance > 0 else -1e300)
        chances = np.where(same >= 0, np.exp(np.minimum(logs, 0)), 0)
        low = _score_gap(lost, gained, self.samples, self.limit, self.z) <= 1e-9 * self.samples
        return float(chances[low].sum() + max(1 - chances.sum(), 0))

    def _likely(self, chance: float) -> NDArray[np.int64]:
        """Counts that are not too unlikely to be worth summing over."""
        mean = self.samples * chance
        width = 6 * math.sqrt(mean * (1 - chance)) + 10
        return np.arange(max(0, int(mean - width)), min(self.samples, int(mean + width)) + 1)


def _score_gap(lost: _Counts, gained: _Counts, samples: int, drop: float, z: float) -> NDArray[np.float64]:
    """Above 0 where a score test does not reject the drop: the score beyond -z, times its standard deviation."""
    b = -lost - gained + (2 * samples - lost + gained) * drop
    c = -gained * drop * (1 - drop)
    share = (np.sqrt(np.maximum(b * b - 8 * samples * c, 0)) - b) / (4 * samples)
    spread = samples * (2 * share + drop * (1 - drop))
    return np.asarray(lost - gained - samples * drop + z * np.sqrt(np.maximum(spread, 0)))


def _share_interval(count: int, samples: int, log_factorials: NDArray[np.float64]) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share with a confidence of 1 - `OUTSIDE`, never too narrow."""
    counts = np.arange(samples + 1)
    coefficients = log_factorials[-1] - log_factorials - log_factorials[::-1]

    def chances(share: float) -> NDArray[np.float64]:
        return np.asarray(np.exp(coefficients + counts * math.log(share) + (samples - counts) * math.log1p(-share)))

    def end(outer: float, beyond: slice) -> float:
        inner = count / samples
        for _ in range(60):
            middle = (outer + inner) / 2
            outer, inner = (middle, inner) if chances(middle)[beyond].sum() < OUTSIDE / 2 else (outer, middle)
        return outer

    low = end(0.0, slice(count, None)) if count else 0.0
    high = end(1.0, slice(count + 1)) if count < samples else 1.0
    return low, high
