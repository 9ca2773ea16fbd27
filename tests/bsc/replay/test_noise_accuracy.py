"""The interval of an accuracy on devices: by hand, and how often it holds the true mean."""

import functools
import math
from pathlib import Path

import numpy as np
import pytest

import hw_models
from bsc.numeric.paired_bound import CONFIDENCE, drop_bound
from bsc.replay.dataset import Dataset
from bsc.replay.loaded import PlanRunner
from bsc.replay.noise_accuracy import CHIP_SEED, mean_over_both, outputs_on_chips_of_their_own
from bsc.replay.noisy import NoisyReplayer
from bsc.replay.trials import student_t_quantile
from bsc.testing import mlp_model
from tests.bsc.plans import model_plan

WAN = hw_models.load_device("reram-wan22")


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


@pytest.mark.parametrize(("size", "free"), [(4, True), (3, False)])
def test_every_sample_has_a_chip_of_its_own(tmp_path: Path, size: int, free: bool) -> None:
    mapping = model_plan(mlp_model(20, 9, 5, batch="N" if free else size), tmp_path).mapping
    x = np.random.default_rng(0).standard_normal((6, 20)).astype(np.float32)
    data = Dataset(inputs={"x": x}, labels=None, batch=size, sha256="", free_batch=free)
    found = outputs_on_chips_of_their_own(mapping, data, WAN)
    for sample in range(6):
        chip = NoisyReplayer(PlanRunner(mapping), WAN, seed=CHIP_SEED, trial=sample)
        block = slice(sample, sample + 1) if free else slice(sample // size * size, sample // size * size + size)
        row = 0 if free else sample % size
        np.testing.assert_array_equal(found[sample], chip.replayed({"x": x[block]})["y"][row])


def bounds(random: np.random.Generator, chips: int, samples: int, runs: int) -> list[float]:
    """Bounds from so many chips that share the samples between them; chips lose 2 %, one in thirty everything."""
    found = []
    bound = functools.cache(drop_bound)
    for _ in range(runs):
        broken = random.random(chips) < 1 / 30
        loses = random.random((chips, samples // chips)) < np.where(broken, 1.0, 0.02)[:, None]
        gains = ~loses & (random.random(loses.shape) < 0.01)
        found.append(bound(int(loses.sum()), int(gains.sum()), samples))
    return found


def test_the_bound_holds_where_every_sample_has_its_chip_and_not_where_they_share_one() -> None:
    """The true drop is known: 1/30 of the chips lose everything, others 2 % less a gain of 1 % of the rest."""
    good = 0.02 - 0.98 * 0.01
    true = 1 / 30 + 29 / 30 * good
    runs = 120
    random = np.random.default_rng(0)
    below = sum(bound < true for bound in bounds(random, 100, 100, runs))
    assert below <= (1 - CONFIDENCE) * runs + 3 * math.sqrt((1 - CONFIDENCE) * runs)
    shared = sum(bound < true for bound in bounds(random, 10, 100, 40))
    assert shared > 3 * (1 - CONFIDENCE) * 40  # of ten chips mostly none is broken
