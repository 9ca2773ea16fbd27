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


@dataclass(frozen=True, kw_only=True)
class CellWriting:
    """Of programming one cell, with its share of all passes.

    Attributes:
        energy_j: of pulses and of the reads that verify them.
        time_s: that it adds to that of its crossbar; None is unknown.
        updates: that it endures; None is unknown.
    """

    energy_j: float
    time_s: float | None
    updates: float | None


def cell_writing(writing: Writing) -> CellWriting:
    """What programming one cell takes."""
    checks = 0.0 if writing.passes is None else writing.passes.value - 1  # further passes read every cell once
    energy_j = writing.pulses.value * (writing.pulse_j.value + writing.verify_j.value) + checks * writing.verify_j.value
    time_s = None
    if writing.verify_s is not None:
        time_s = writing.pulses.value * (writing.pulse_s.value + writing.verify_s.value)
        time_s += checks * writing.verify_s.value
        time_s /= 1.0 if writing.at_once is None else writing.at_once.value
    updates = None if writing.endurance is None else writing.endurance.value / writing.pulses.value
    return CellWriting(energy_j=energy_j, time_s=time_s, updates=updates)


def writing_cost(writing: Writing, cells: int, largest: int) -> WritingCost:
    """What programming takes.

    Args:
        writing: of the device.
        cells: to write.
        largest: of the crossbar that has most of them.
    """
    each = cell_writing(writing)
    return WritingCost(
        cells=cells,
        pulses=cells * writing.pulses.value,
        energy_j=cells * each.energy_j,
        time_s=None if each.time_s is None else cells * each.time_s,
        parallel_s=None if each.time_s is None else largest * each.time_s,
        updates=each.updates,
    )
