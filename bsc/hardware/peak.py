"""What a design does at its peak, from its parts: what publications print instead of component tables, or beside them.

Every row of every array is driven all the time, every column is read, and every cell holds a part of a weight.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bsc.hardware.target import Action, Level, Peak, Target


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """All arrays of one unit of a level, in one input cycle.

    Attributes:
        cells: that are read.
        per_read: times that each counter of `bsc.cost.counters.COUNTERS` counts in it; what is not here does not
            follow from the arrays.
        read_s: until all of them are read.
    """

    cells: int
    per_read: dict[str, float]
    read_s: float


def arrays_of(target: Target, level: str) -> Arrays:
    """The arrays of one unit of a level."""
    crossbar, adc = target.crossbar, target.adc
    arrays = 1
    for each in target.level:
        if each.name == level:
            break
        arrays *= each.count or 1
    sums = crossbar.cols / 2 if adc.of_pairs else crossbar.cols  # of an array
    converting_s = adc.rate_hz.value if adc.bit_s is None else 1 / (adc.bits * adc.bit_s.value)
    return Arrays(
        cells=arrays * crossbar.rows * crossbar.cols,
        per_read={
            "conversions": arrays * sums,
            "partial_results": arrays * sums,
            "columns_sampled": arrays * sums,
            "rows_driven": arrays * crossbar.rows,
            "driver_bits": arrays * crossbar.rows * target.dac.bits,
            "cells_read": arrays * crossbar.rows * crossbar.cols,
        },
        read_s=max(target.timing.read_s.value, crossbar.cols / (converting_s * adc.installed)),
    )


def derive(peak: Peak, target: Target, power_w: float, area_m2: float) -> Iterator[tuple[str, str, float, float]]:
    """What is printed of a peak, and what follows from the parts.

    Args:
        peak: what is printed.
        target: the parts.
        power_w: of the level's component rows, those within it included.
        area_m2: likewise.

    Yields:
        What it is, its SI unit, the printed value and that of the parts; an energy only if all its prices are known.
    """
    arrays = arrays_of(target, peak.level)
    cycles = -(-peak.input_bits // target.dac.bits)
    seconds = cycles * arrays.read_s
    weights = arrays.cells / peak.weight_cells
    ops_per_s = _over(2 * weights, seconds)
    energy_j = _energy_j(arrays, target, peak.level)
    derived = (
        ("time", "s", peak.seconds, seconds),
        ("energy", "J", peak.array_energy_j, None if energy_j is None else cycles * energy_j),
        ("rate", "OPS", peak.ops_per_s, ops_per_s),
        (
            "efficiency",
            "OPS/W",
            peak.ops_per_j,
            _over(ops_per_s, power_w)
            if peak.of_rows
            else None
            if energy_j is None
            else _over(2 * weights, cycles * energy_j),
        ),
        ("density of operations", "OPS m⁻²", peak.ops_per_s_m2, _over(ops_per_s, area_m2)),
        ("density of weights", "bit m⁻²", peak.weights_bit_per_m2, _over(weights * peak.weight_bits, area_m2)),
        (
            "conversions a multiplication",
            "",
            peak.conversions_per_mac,
            cycles * arrays.per_read["conversions"] / weights,
        ),
    )
    for what, unit, printed, ours in derived:
        if printed is not None and ours is not None:
            yield what, unit, printed, ours


def _over(part: float, whole: float) -> float:
    """`part` over `whole`; nothing where there is no time, power or area, which no publication prints."""
    return part / whole if whole else 0.0


def _energy_j(arrays: Arrays, target: Target, level: str) -> float | None:
    """Energy of one input cycle in actions of a level and those within it, of what follows from the arrays."""
    total = 0.0
    for action in _actions_within(target.level, level):
        if action.counter in arrays.per_read:
            if action.energy_j is None:
                return None
            total += arrays.per_read[action.counter] * action.energy_j.value
    return total


def _actions_within(levels: tuple[Level, ...], level: str) -> Iterator[Action]:
    for each in levels:
        yield from each.action.values()
        if each.name == level:
            return
