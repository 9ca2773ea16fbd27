import numpy as np

from bsc.numeric.paired_bound import drop_bound
from bsc.replay.paired import PairedAccuracy, paired_accuracy, samples_needed


def test_paired_accuracy_by_hand() -> None:
    labels = np.array([0, 1, 0, 1, 1])
    quantised = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [1, 0.0]])  # right, right, wrong, right, wrong
    replayed = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [1, 0.0]])  # right, wrong, right, wrong, wrong
    found = paired_accuracy(quantised, replayed, labels)
    assert (found.samples, found.lost, found.gained, found.drop) == (5, 2, 1, 0.2)
    assert found.drop_bound == drop_bound(2, 1, 5)


def test_samples_needed() -> None:
    # log(0.049) / log(0.99) = 300.08 without any discordant sample; limits are found to a few parts in a thousand.
    assert samples_needed(PairedAccuracy(samples=50, lost=0, gained=0), 0.01) in {301, 302}
    assert samples_needed(PairedAccuracy(samples=100, lost=2, gained=1), 0.01) is None
    few = PairedAccuracy(samples=100, lost=1, gained=1)
    needed = samples_needed(few, 0.01)
    assert needed is not None
    assert drop_bound(round(needed / 100), round(needed / 100), needed) <= 0.01 < few.drop_bound
