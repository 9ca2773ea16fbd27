"""How much accuracy a plan loses: two classifiers on the same samples, and what that says of all samples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.paired_bound import drop_bound


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
        """The true drop is no larger than this with 95 % confidence, one-sided."""
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
