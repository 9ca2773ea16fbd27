"""The report of a simulation, as text and as JSON: the exact replay, its column sums, and trials on devices."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Group, RenderableType

from bsc.hardware.device import Device
from bsc.hardware.device_tables import DeviceTable
from bsc.plan.document import Plan
from bsc.replay.simulation import Simulation
from bsc.replay.tally import ColumnTally
from bsc.replay.trials import MeanInterval
from bsc.report.table import Table
from bsc.report.text import counted, new_table, plain_text
from bsc.units import UNKNOWN


@dataclass(frozen=True, eq=False, kw_only=True)
class DeviceReport:
    """What `bsc hw devices NAME` prints.

    Attributes:
        device: the device description.
    """

    device: Device

    def __rich__(self) -> RenderableType:
        shown = new_table("Numbers", ("key", "value", "kind", "source"), 4, numbers={1})
        for key, number in self.device.sources().items():
            value = number.size if isinstance(number, DeviceTable) else f"{number.value:g}"
            shown.add_row(key, value, number.kind, number.source)
        head = plain_text(
            f"{self.device.name}: {self.device.description}",
            self.device.citation,
            f"effects: {', '.join(self.device.effects) or 'none'}",
        )
        return Group(head, plain_text(""), shown) if self.device.sources() else head


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulationReport:
    """What `bsc simulate` prints.

    Attributes:
        plan: the plan that was replayed.
        found: the findings.
    """

    plan: Plan
    found: Simulation

    def __rich__(self) -> RenderableType:
        lines = plain_text(*self._lines())
        return Group(lines, plain_text(""), _column_table(self.found)) if self.found.columns else lines

    def _lines(self) -> Iterator[str]:
        found = self.found
        conversions = sum(tally.conversions for tally in found.tallies.values())
        clipped = sum(tally.clipped for tally in found.tallies.values())
        yield f"model      {self.plan.document.model.file}"
        yield f"data       {found.source}, {found.samples} samples"
        yield f"clipped    {clipped} of {conversions} conversions"
        if found.accuracy is not None:
            yield f"accuracy   {found.accuracy:.2%} without effects"
        if found.device is None:
            return
        if found.faults is not None:
            yield f"stuck      {counted(found.stuck, 'cell')} of {found.faults.file} on crossbars of the plan"
        yield f"device     {found.device.name}: {found.device.description}"
        if found.device.is_ideal and not found.stuck:  # no trial is a measurement: there is nothing for it to vary
            yield "effects    none that change anything: all trials equal the exact replay"
            return
        yield f"effects    {', '.join(found.device.effects) or 'the stuck cells alone'}"
        if not found.device.is_ideal:
            yield f"trials     {len(found.trials)}, seed {found.seed}"
        if found.trial_accuracy is not None:
            exact = found.device.is_ideal  # known cells alone: another trial would give the same
            shown = f"{found.trial_accuracy.mean:.2%}" if exact else _percent(found.trial_accuracy)
            yield f"accuracy   {shown}"
        error = UNKNOWN if found.trial_error is None else f"{found.trial_error.mean:.3g}"
        of_trials = "" if found.device.is_ideal else " (mean of trials)"
        yield f"error      of the outputs, relative RMS {error}{of_trials}"


def simulation_json(found: Simulation) -> dict[str, Any]:
    """What `bsc simulate --json` prints."""
    trials = None
    if found.device is not None:
        trials = {
            "device": found.device.name,
            "stuck_cells": found.stuck,
            "faults_sha256": None if found.faults is None else found.faults.sha256,
            "effects": list(found.device.effects),
            "seed": found.seed,
            "accuracy": _interval(found.trial_accuracy),
            "relative_rms_error": _interval(found.trial_error),
            "each": [asdict(trial) for trial in found.trials],
        }
    return {
        "samples": found.samples,
        "data": found.source,
        "accuracy": found.accuracy,
        "layers": {name: asdict(tally) for name, tally in found.tallies.items()},
        "column_sums": {name: _column_sums(tally) for name, tally in found.columns.items()},
        "trials": trials,
    }


def _percent(interval: MeanInterval) -> str:
    if interval.trials < 2:
        return f"{interval.mean:.2%} (one trial: no interval)"
    return f"{interval.mean:.2%} ± {100 * interval.half_width:.2f} points (95 % confidence)"


def _column_table(found: Simulation) -> Table:
    """Column sums by layer and slice, both polarities and all cycles together."""
    names = ("layer", "slice", "conversions", "clipped", "mean sum", "99.9 % below", "highest seen", "bits for that")
    shown = new_table("Column sums in front of the ADCs, in cell units times input digits", names, 1)
    for name, tally in found.columns.items():
        for index in reversed(range(len(tally.histogram))):
            counts = tally.histogram[index].sum(axis=(0, 1))
            total, sums = int(counts.sum()), tally.origin + np.arange(len(counts)) * tally.bin_width
            highest, lowest = int(tally.highest[:, index].max(initial=0)), int(tally.lowest[:, index].min(initial=0))
            below = int(sums[np.searchsorted(np.cumsum(counts), 0.999 * total)]) if total else 0
            shown.add_row(
                name,
                str(index),
                str(total),
                str(int(tally.clipped[:, index].sum())),
                f"{counts @ sums / total:.2f}" if total else UNKNOWN,
                str(below + tally.bin_width),
                str(highest),
                str((highest - lowest).bit_length()),
            )
    return shown


def _interval(interval: MeanInterval | None) -> dict[str, Any] | None:
    """A single trial has neither deviation nor interval."""
    if interval is None:
        return None
    one = interval.trials < 2
    return {
        "mean": interval.mean,
        "deviation": None if one else interval.deviation,
        "low_95": None if one else interval.low,
        "high_95": None if one else interval.high,
    }


def _column_sums(tally: ColumnTally) -> dict[str, Any]:
    """Histograms by slice, polarity and input cycle, trailing zeros cut; a key of each level is its number."""
    return {
        "origin": tally.origin,
        "bin_width": tally.bin_width,
        "lowest_by_slice": tally.lowest.min(axis=(0, 2, 3), initial=0).tolist(),
        "highest_by_slice": tally.highest.max(axis=(0, 2, 3), initial=0).tolist(),
        "clipped_by_slice": tally.clipped.sum(axis=(0, 2, 3)).tolist(),
        "histogram": [
            [[np.trim_zeros(bins, "b").tolist() for bins in cycles] for cycles in polarities]
            for polarities in tally.histogram
        ],
    }
