"""Accuracy on devices: the mean over chips and samples, and an interval that counts the drawing of both.

Every chip classifies every sample. The mean of all answers varies because other chips, and because other samples might
have been drawn. The variance of the chips' means over T, plus that of the samples' means over n, is the variance of the
grand mean and a little more: what chip and sample decide together is in both (Owen, The pigeonhole bootstrap, Annals of
Applied Statistics 1, 2007, section 3). Student's t with T - 1 degrees of freedom is for the fewer of the two. It takes
chips for roughly normal: where most are good and a few fail, few chips say too little.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.hardware.device import Device
from bsc.mapping.model import MappedModel
from bsc.replay.dataset import Dataset
from bsc.replay.loaded import PlanRunner
from bsc.replay.noisy import NoisyReplayer
from bsc.replay.scored import Batch, scored_outputs
from bsc.replay.scores import scored_output
from bsc.replay.trials import student_t_quantile

CONFIDENCE = 0.95
CHIP_SEED = 0x63686970
"""Of chips that a budget is tested on; those that `bsc simulate` draws are others."""


@dataclass(frozen=True, kw_only=True)
class NoiseAccuracy:
    """How often a mapping is right on one device.

    Attributes:
        device: name of it.
        mean: share of samples, over all chips.
        low: lower end of its 95 % confidence interval, 0 or more.
        high: upper end, 1 or less.
    """

    device: str
    mean: float
    low: float
    high: float


def noise_accuracy(
    mapping: MappedModel,
    data: Dataset,
    device: Device,
    *,
    trials: int,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> NoiseAccuracy:
    """Run labelled samples on chips that are each programmed anew.

    Args:
        mapping: what is run.
        data: with labels.
        device: effects.
        trials: chips, 2 or more.
        seed: of their cells and reads.
        advance: called with the number of samples whenever some are done.
    """
    assert data.labels is not None
    runner, correct = PlanRunner(mapping), np.empty((trials, data.samples), bool)
    for trial in range(trials):
        chip = NoisyReplayer(runner, device, seed=seed, trial=trial)
        outputs = np.concatenate(scored_outputs(mapping, data, chip.replayed, advance=advance))
        correct[trial] = outputs.argmax(axis=1) == data.labels
    mean, half_width = mean_over_both(correct)
    return NoiseAccuracy(
        device=device.name, mean=mean, low=max(mean - half_width, 0.0), high=min(mean + half_width, 1.0)
    )


def outputs_on_chips_of_their_own(
    mapping: MappedModel, data: Dataset, device: Device, *, seed: int = CHIP_SEED
) -> NDArray[Any]:
    """Outputs (samples, classes), every sample on a chip that no other sample sees.

    Pairs of a sample and a chip are then drawn independently of each other, so that whatever holds of independent
    samples holds of them, chips included. Samples that share a chip would fail together, and a bound that allows for
    that needs as many chips: with T of them it cannot rule out that one in T / 3 fails altogether.

    Args:
        mapping: what is run.
        data: samples; a model that takes several at once gets each block once for every sample in it.
        device: effects.
        seed: of the chips.
    """
    runner, chips = PlanRunner(mapping), itertools.count()
    name = scored_output(mapping.outputs)

    def run(batch: Batch) -> dict[str, NDArray[Any]]:
        found = []
        for row in range(data.rows(batch)):
            chip = NoisyReplayer(runner, device, seed=seed, trial=next(chips))
            found.append(chip.replayed(batch)[name][row : row + 1])
        return {name: np.concatenate(found)}

    single = replace(data, batch=1) if data.free_batch else data
    return np.concatenate(scored_outputs(mapping, single, run))


def mean_over_both(values: NDArray[Any], *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Mean of (chips, samples), two or more of each, and half the width of its confidence interval."""
    chips, samples = values.shape
    assert min(chips, samples) >= 2, values.shape
    whole = values.astype(np.float64)
    variance = whole.mean(axis=1).var(ddof=1) / chips + whole.mean(axis=0).var(ddof=1) / samples
    quantile = student_t_quantile((1 + confidence) / 2, min(chips, samples) - 1)
    return float(whole.mean()), quantile * math.sqrt(variance)
