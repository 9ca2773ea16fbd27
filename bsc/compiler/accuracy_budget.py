"""The accuracy budget: the cheapest `noise_price` of `budget-adc` whose accuracy drop on held-out data stays within it.

Candidates are a ladder of noise prices, known beforehand. Calibration data say which will just pass. Held-out data then
test candidates from safe to aggressive in that fixed order, and the first failure ends the search. Testing in a fixed
sequence needs no correction for the number of tests: the first candidate that is really too bad passes with at most
5 % probability, and nothing behind it is tested unless it does (Bauer, Statistics in Medicine 10, 1991, 871-890;
Angelopoulos et al., Learn then Test, arXiv 2110.01052, section 3).

With a device, each held-out sample is classified by a chip of its own. Pairs of a sample and a chip are then drawn
independently, so that the same bound holds for the mean over chips and samples drawn anew, whatever either is like.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import GateError, ModelError, UsageError
from bsc.hardware.device import Device
from bsc.ir.adc_pass import AdcPass
from bsc.ir.graph import Graph
from bsc.ir.mapped import mapping_of
from bsc.ir.passbase import Pass
from bsc.ir.pipeline import run_pipeline
from bsc.mapping.model import MappedModel
from bsc.numeric.paired_bound import CONFIDENCE, fewest_samples, unchanged_bound
from bsc.plan.document import BudgetRecord
from bsc.replay.dataset import Dataset
from bsc.replay.engine import Replayer
from bsc.replay.noise_accuracy import outputs_on_chips_of_their_own
from bsc.replay.paired import PairedAccuracy, paired_accuracy, samples_needed
from bsc.replay.scored import scored_outputs

LADDER = tuple(float(f"{10 ** (step / 8):.3g}") for step in range(48, -25, -1))
"""Cautions from 1,000,000 down to 0.001, eight a decade."""

AHEAD = (16, 12, 8, 6, 4, 3, 2, 1)
"""Rungs that are tested before the one that calibration data point to."""

CALIBRATION_SAMPLES = 1024

AHEAD_ON_CHIPS, CALIBRATION_SAMPLES_ON_CHIPS = (8, 4, 2, 1), 256
"""The same with a device: programming a chip takes a thousand times as long as running a sample."""


class Judge:
    """Compares mappings of one tiled model on one data set; the quantised model runs only once.

    Args:
        data: with labels.
        device: of the chips that run the mappings, one for each sample; None for exact replays.
    """

    def __init__(self, data: Dataset, device: Device | None = None) -> None:
        self.data = data
        self._device = device
        self._quantised: NDArray[Any] | None = None

    def __call__(self, mapping: MappedModel) -> PairedAccuracy:
        """Run a mapping beside the quantised model."""
        assert self.data.labels is not None
        replayer = Replayer(mapping)
        if self._quantised is None:
            self._quantised = self._outputs(mapping, replayer.quantised)
        if self._device is None:
            outputs = self._outputs(mapping, replayer.replayed)
        else:
            outputs = outputs_on_chips_of_their_own(mapping, self.data, self._device)
        return paired_accuracy(self._quantised, outputs, self.data.labels)

    def _outputs(self, mapping: MappedModel, run: Callable[[Any], dict[str, NDArray[Any]]]) -> NDArray[Any]:
        return np.concatenate(scored_outputs(mapping, self.data, run))


def keep_budget(
    graph: Graph,
    passes: Sequence[Pass],
    *,
    calibration: Dataset,
    held_out: Dataset,
    max_drop: float,
    device: Device | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[tuple[Pass, ...], PairedAccuracy]:
    """Find the noise price.

    Args:
        graph: observed and priced, before `passes`.
        passes: with a `budget-adc`, whose noise price is replaced.
        calibration: labelled data that the graph was observed on.
        held_out: labelled data that nothing else has seen.
        max_drop: accuracy that may be lost, a share of samples.
        device: of the chips on which no more may be lost; None for exact replays.
        advance: called with 1 for every candidate that is done.

    Returns:
        The passes with the noise price, and how it did on the held-out data.

    Raises:
        GateError: BSC505 if not even the safest candidate stays within the budget.
    """
    ahead_by: tuple[int, ...] = AHEAD if device is None else AHEAD_ON_CHIPS
    samples = CALIBRATION_SAMPLES if device is None else CALIBRATION_SAMPLES_ON_CHIPS
    rough, final = Judge(calibration.spread(samples), device), Judge(held_out, device)

    def judged(judge: Judge, noise_price: float) -> PairedAccuracy:
        advance(1)
        mapped, _ = run_pipeline(graph, with_noise_price(passes, noise_price))
        return judge(mapping_of(mapped))

    # The rung before `low` would pass if held-out data were like calibration data, the one at `high` would not.
    low, high = 0, len(LADDER)
    while low < high:
        middle = (low + high) // 2
        expected = judged(rough, LADDER[middle]).scaled(held_out.samples)
        low, high = (middle + 1, high) if expected.drop_bound <= max_drop else (low, middle)
    first = [low - 1 - ahead for ahead in ahead_by]
    accepted: tuple[float, PairedAccuracy] | None = None
    for rung in [0, *(rung for rung in first if rung > 0), *range(max(low - 1, 1), len(LADDER))]:
        counts = judged(final, LADDER[rung])
        if counts.drop_bound > max_drop:
            if accepted is None:
                raise _broken(counts, max_drop, device)
            break
        accepted = LADDER[rung], counts
    assert accepted is not None
    return with_noise_price(passes, accepted[0]), accepted[1]


def with_noise_price(passes: Sequence[Pass], noise_price: float) -> tuple[Pass, ...]:
    """The passes with another noise price."""
    return tuple(
        step.with_noise_price(noise_price) if isinstance(step, AdcPass) and step.has_noise_price else step
        for step in passes
    )


def measure_accuracy(graph: Graph, held_out: Dataset, device: Device | None = None) -> PairedAccuracy:
    """How a finished plan does beside the quantised model on labelled data, exactly or on chips of a device."""
    return Judge(held_out, device)(mapping_of(graph))


def budget_record(
    counts: PairedAccuracy,
    held_out: Dataset,
    law: str,
    *,
    split: bool,
    max_drop: float | None,
    device: Device | None = None,
) -> BudgetRecord:
    """What the plan says about its accuracy."""
    return BudgetRecord(
        max_drop=max_drop,
        held_out_sha256=held_out.sha256,
        split=split,
        samples=counts.samples,
        lost=counts.lost,
        gained=counts.gained,
        drop=counts.drop,
        drop_bound=counts.drop_bound,
        confidence=CONFIDENCE,
        adc_law=law,
        device=None if device is None else device.name,
    )


def require_labels(data: Dataset, option: str) -> None:
    """Refuse data without labels.

    Raises:
        ModelError: BSC308.
    """
    if data.labels is None:
        raise ModelError(
            "BSC308",
            f"the data of {option} have no labels",
            seen="no integer array called label, labels or y",
            fix="add the class of every sample; an accuracy budget is tested with them",
        )


def require_held_out(held_out: Dataset, calibration: Dataset | None, max_drop: float | None) -> None:
    """Refuse held-out data that are not held out, or too few to show what is asked for, before any work is done.

    Args:
        held_out: labelled data.
        calibration: the data that choices are made with, or None.
        max_drop: accuracy that may be lost, a share of samples; None if it is only measured.

    Raises:
        UsageError: BSC201 for the same data twice.
        GateError: BSC505 if not even a plan that classifies every sample as the quantised model does could pass.
    """
    if calibration is not None and held_out.sha256 == calibration.sha256:
        raise UsageError(
            "BSC201",
            "--held-out and --calib give the same data",
            seen=f"SHA-256 {held_out.sha256[:12]}... twice",
            fix="give other data, or leave --held-out out: then every other sample of --calib is held out",
        )
    if max_drop is not None and (least := unchanged_bound(held_out.samples)) > max_drop:
        advice = "raise --max-accuracy-drop"
        if max_drop > 0:
            advice = f"give {fewest_samples(max_drop)} held-out samples or more, or {advice}"
        raise GateError(
            "BSC505",
            f"too few held-out samples to show that accuracy stays within {100 * max_drop:g} points",
            seen=f"{held_out.samples} held-out samples: if none is lost, at most {100 * least:.2f} points with "
            f"{CONFIDENCE:.0%} confidence",
            fix=advice,
        )


def _broken(counts: PairedAccuracy, max_drop: float, device: Device | None) -> GateError:
    needed = samples_needed(counts, max_drop)
    advice = "raise --max-accuracy-drop"
    if needed is not None:
        advice = f"give about {needed} held-out samples, or {advice}"
    elif device is not None:
        advice = f"{advice}, or choose a device with smaller errors"
    where = "" if device is None else f" on chips of {device.name}"
    return GateError(
        "BSC505",
        f"no ADC assignment keeps accuracy within {100 * max_drop:g} points of the quantised model{where}",
        seen=f"the safest loses {counts.lost} and gains {counts.gained} of {counts.samples} held-out samples: "
        f"at most {100 * counts.drop_bound:.2f} points with {CONFIDENCE:.0%} confidence",
        fix=advice,
    )
