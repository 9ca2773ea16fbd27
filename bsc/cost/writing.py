"""What programming the cells of a plan takes: energy, time and wear, from what a device says of its pulses."""

from dataclasses import dataclass

from bsc.hardware.cells import Writing

SECONDS_A_DAY = 86400.0


@dataclass(frozen=True, kw_only=True)
class WritingCost:
    """Of programming a plan once.

    Attributes:
        cells: that are written: all that hold a slice of a weight, zero or not, of all copies.
        pulses: that set or reset them.
        energy_j: of pulses and of the reads that verify them.
        time_s: if every crossbar is written by itself, one after another; None is unknown.
        parallel_s: if all crossbars are written at the same time; None is unknown.
        updates: that the cells endure; None is unknown.
    """

    cells: int
    pulses: float
    energy_j: float
    time_s: float | None
    parallel_s: float | None
    updates: float | None

    def inferences(self, energy_j: float | None) -> float | None:
        """Inferences that take as much energy as writing once; None is unknown."""
        return self.energy_j / energy_j if energy_j else None

    def lifetime_s(self, updates_per_day: float) -> float | None:
        """Time until the cells wear out at a given rate of updates; None is unknown."""
        return None if self.updates is None else self.updates / updates_per_day * SECONDS_A_DAY


def writing_cost(writing: Writing, cells: int, largest: int) -> WritingCost:
    """What programming takes.

    Args:
        writing: of the device.
        cells: to write.
        largest: of the crossbar that has most of them.
    """
    checks = 0.0 if writing.passes is None else writing.passes.value - 1  # further passes read every cell once
    energy_j = writing.pulses.value * (writing.pulse_j.value + writing.verify_j.value) + checks * writing.verify_j.value
    cell_s = None
    if writing.verify_s is not None:
        cell_s = writing.pulses.value * (writing.pulse_s.value + writing.verify_s.value)
        cell_s += checks * writing.verify_s.value
    at_once = 1.0 if writing.at_once is None else writing.at_once.value
    return WritingCost(
        cells=cells,
        pulses=cells * writing.pulses.value,
        energy_j=cells * energy_j,
        time_s=None if cell_s is None else cells * cell_s / at_once,
        parallel_s=None if cell_s is None else largest * cell_s / at_once,
        updates=None if writing.endurance is None else writing.endurance.value / writing.pulses.value,
    )
