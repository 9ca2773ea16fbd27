"""How much accuracy a plan loses: two classifiers on the same samples, and what that says of all samples."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class PairedAccuracy:
    """A replayed plan beside the quantised integer model.

    Attributes:
        samples: how many.
        lost: right in the quantised model only.
        gained: right in the replayed plan only.
    """

    samples: int
    lost: int
    gained: int

    @property
    def drop(self) -> float:
        """Accuracy lost, a share of samples; below 0 for a gain."""
        return (self.lost - self.gained) / self.samples

    @property
    def drop_bound(self) -> float:
        """The true drop is below this with 95 % confidence, one-sided."""
        return drop_bound(self.lost, self.gained, self.samples)

    def scaled(self, samples: int) -> "PairedAccuracy":
        """What so many samples would show at the same rates, about."""
        lost, gained = (round(count * samples / self.samples) for count in (self.lost, self.gained))
        return PairedAccuracy(samples=samples, lost=lost, gained=gained)


def paired_accuracy(
    quantised: NDArray[np.floating], replayed: NDArray[np.floating], labels: NDArray[np.int64]
) -> PairedAccuracy:
    """Compare the outputs (samples, classes) of two models."""
    before, after = quantised.argmax(axis=1) == labels, replayed.argmax(axis=1) == labels
    return PairedAccuracy(
        samples=len(labels),
        lost=int(np.count_nonzero(before & ~after)),
        gained=int(np.count_nonzero(after & ~before)),
    )


def drop_bound(lost: int, gained: int, samples: int, *, confidence: float = CONFIDENCE) -> float:
    """Upper end of the score interval for a difference of paired proportions.

    It is the largest difference d that a score test does not reject,

        (lost - gained - samples d) / sqrt(samples (2 q + d (1 - d))) = -z,

    where q is the maximum-likelihood share of `gained` if the difference is d: the positive root of
    2 n q**2 + (-lost - gained + (2 n - lost + gained) d) q - gained d (1 - d) = 0 (Tango, Statistics in Medicine 17,
    1998, 891-908). It keeps its level for few discordant samples, where the normal interval is too short, and is above
    0 even for none: z**2 / (n + z**2).

    Args:
        lost: samples that only the first is right on.
        gained: samples that only the second is right on.
        samples: n.
        confidence: probability that the true difference is below, one-sided; above 0.5 and below 1.
    """
    assert 0 <= lost + gained <= samples, (lost, gained, samples)
    z = _normal_quantile(confidence)
    low, high = (lost - gained) / samples, 1.0
    while low < (middle := (low + high) / 2) < high:
        spread = samples * (2 * _share_gained(lost, gained, samples, middle) + middle * (1 - middle))
        if lost - gained - samples * middle > -z * math.sqrt(max(spread, 0.0)):
            low = middle
        else:
            high = middle
    return high


def samples_needed(counts: PairedAccuracy, limit: float) -> int | None:
    """Samples at which the bound would be within `limit`, were their rates the same; None if it never would be."""
    if counts.drop >= limit:
        return None
    factor = 1
    while counts.scaled(counts.samples * factor).drop_bound > limit:
        factor *= 2
    low, high = counts.samples * factor // 2, counts.samples * factor
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if counts.scaled(middle).drop_bound <= limit else (middle, high)
    return high


def _share_gained(lost: int, gained: int, samples: int, difference: float) -> float:
    b = -lost - gained + (2 * samples - lost + gained) * difference
    c = -gained * difference * (1 - difference)
    return (math.sqrt(max(b * b - 8 * samples * c, 0.0)) - b) / (4 * samples)


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
