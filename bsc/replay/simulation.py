"""What `bsc simulate` finds out: the exact replay of a plan, its column sums, and trials on real devices."""

from collections.abc import Callable
from dataclasses import dataclass

from bsc.hardware.device import Device
from bsc.mapping.fault_map import FaultMap, LayerFaults
from bsc.mapping.model import MappedModel
from bsc.replay.dataset import Dataset
from bsc.replay.engine import Replayer, ReplayOptions
from bsc.replay.noisy import NoisyReplayer
from bsc.replay.scored import scored_outputs
from bsc.replay.scores import accuracy, difference
from bsc.replay.tally import ColumnTally, LayerTally
from bsc.replay.trials import MeanInterval, mean_interval


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One set of crossbars, programmed and read.

    Attributes:
        accuracy: share of samples whose largest output is their label; None without labels.
        error_rms: of the output that is scored, root mean square of its difference from the exact replay, over that of
            the exact replay; None where that is 0.
    """

    accuracy: float | None
    error_rms: float | None


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Findings over all samples.

    Attributes:
        samples: how many.
        source: where they came from.
        tallies: counts of the exact replay by layer.
        columns: column sums of the exact replay by layer; empty without statistics.
        accuracy: of the exact replay, None without labels.
        device: whose effects the trials have, None without trials.
        seed: of the trials.
        trials: one after another.
        faults: stuck cells of every trial, or None.
        stuck: how many of them are on crossbars of the plan.
    """

    samples: int
    source: str
    tallies: dict[str, LayerTally]
    columns: dict[str, ColumnTally]
    accuracy: float | None
    device: Device | None
    seed: int
    trials: tuple[Trial, ...]
    faults: FaultMap | None = None
    stuck: int = 0

    @property
    def trial_accuracy(self) -> MeanInterval | None:
        """Mean accuracy of the trials and its 95 % confidence interval."""
        values = [trial.accuracy for trial in self.trials if trial.accuracy is not None]
        return mean_interval(values) if values else None

    @property
    def trial_error(self) -> MeanInterval | None:
        """Mean relative error of the trials and its 95 % confidence interval."""
        values = [trial.error_rms for trial in self.trials if trial.error_rms is not None]
        return mean_interval(values) if values else None


def simulate(
    mapping: MappedModel,
    data: Dataset,
    source: str,
    *,
    options: ReplayOptions | None = None,
    device: Device | None = None,
    trials: int = 1,
    seed: int = 0,
    faults: FaultMap | None = None,
    jobs: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> Simulation:
    """Replay a plan exactly, and then on devices.

    Args:
        mapping: of a plan from its folder.
        data: inputs.
        source: what to call them.
        options: how the exact replay is done.
        device: effects of the trials; None for no trials.
        trials: how often crossbars are programmed anew.
        seed: of the trials.
        faults: cells that are stuck in every trial, of a device; or None.
        jobs: threads that share the crossbars of a trial; the results are those of one.
        advance: called with the number of samples whenever some are done; `samples * (1 + trials)` in all.

    Raises:
        ModelError: BSC308 if a label is not an output; BSC317 for faults that are not of the plan.
    """
    stuck = {} if faults is None else layer_faults(mapping, faults)
    replayer = Replayer(mapping, options)
    exact = scored_outputs(mapping, data, replayer.replayed, advance=advance)
    done = []
    for trial in range(trials if device is not None else 0):
        assert device is not None
        on_device = NoisyReplayer(replayer.loaded, device, seed=seed, trial=trial, faults=stuck, jobs=jobs)
        noisy = scored_outputs(mapping, data, on_device.replayed, advance=advance)
        scored = None if data.labels is None else accuracy(noisy, data.labels)
        done.append(Trial(accuracy=scored, error_rms=difference(noisy, exact)[1]))
    return Simulation(
        samples=data.samples,
        source=source,
        tallies=replayer.tallies,
        columns=replayer.columns,
        accuracy=None if data.labels is None else accuracy(exact, data.labels),
        device=device,
        seed=seed,
        trials=tuple(done),
        faults=faults,
        stuck=sum(len(each) for each in stuck.values()),
    )


def layer_faults(mapping: MappedModel, faults: FaultMap) -> dict[str, LayerFaults]:
    """The stuck cells of every layer that has any.

    Raises:
        ModelError: BSC317 for a map that is not of the plan.
    """
    faults.require_fit(mapping.record)
    found = {layer.name: faults.of_layer(mapping.record, layer, mapping.arrays(layer)) for layer in mapping.layers}
    return {name: each for name, each in found.items() if len(each)}
