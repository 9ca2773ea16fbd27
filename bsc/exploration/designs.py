"""Designs of a sweep: what was chosen for each, what it comes to, and which of them no other one beats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bsc.cost.price import price
from bsc.exploration.mapping import MappingResult
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Something that designs are judged by.

    Attributes:
        label: what reports call it.
        unit: SI symbol, of rates "/s" and "OPS/W"; "" for a count, "%" for a share of 1.
        better: `less` or `more`.
    """

    label: str
    unit: str
    better: str = "less"


FIGURES: Final[dict[str, Figure]] = {
    "adc-energy": Figure(label="ADC energy", unit="J"),
    "energy": Figure(label="energy", unit="J"),
    "latency": Figure(label="latency", unit="s"),
    "area": Figure(label="area", unit="m²"),
    "crossbars": Figure(label="crossbars", unit=""),
    "accuracy": Figure(label="accuracy", unit="%", better="more"),
    "mean-accuracy": Figure(label="mean accuracy", unit="%", better="more"),
    "exact-accuracy": Figure(label="without noise", unit="%", better="more"),
    "throughput": Figure(label="throughput", unit="/s", better="more"),
    "chip-latency": Figure(label="chip latency", unit="s"),
    "average-power": Figure(label="average power", unit="W"),
    "chip-energy": Figure(label="full energy", unit="J"),
    "efficiency": Figure(label="efficiency", unit="OPS/W", better="more"),
    "energy-delay": Figure(label="energy x delay", unit="Js"),
    "chip-area": Figure(label="area of copies", unit="m²"),
    "tiles-in-use": Figure(label="tiles in use", unit=""),
    "chips-in-use": Figure(label="chips in use", unit=""),
}
"""Figures by their names in a space file; energies and latencies are of one inference.

With noise, accuracy is the lower end of the interval of the worst device, whose mean follows, and that of the exact
replay. Energy, latency and area up to crossbars are those of one copy of each layer, its crossbars and their tiles, one
layer after another. From throughput on they are those of the placed model, as `bsc.chip.performance` has them for the
report of `bsc compile`: all copies, layers at work together, and energy with traffic, digital work and static power.
"""

NOISE_FIGURES: Final = ("mean-accuracy", "exact-accuracy")
"""Those that only sweeps with noise have."""

CHIP_FIGURES: Final = (
    *("throughput", "chip-latency", "average-power", "chip-energy", "efficiency", "energy-delay"),
    *("chip-area", "tiles-in-use", "chips-in-use"),
)
"""Those that only sweeps on chips have."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """One point of a design space.

    Attributes:
        number: its place in the whole grid, from 0.
        choices: its value on each axis, as the space file writes it.
        pipeline: text of the passes that make its plan, searches written out; None for a design that cannot exist.
        command: line of a shell that compiles it again, in the folder that the sweep was run in; None likewise, and
            until the sweep says it.
        figures: by name in `FIGURES`; None is unknown, crossbars are an int. Empty for a design that cannot exist.
        code: of the error that it ends with, or None.
        problem: the first line of that error, or None.
    """

    number: int
    choices: Mapping[str, str]
    pipeline: str | None = None
    command: str | None = None
    figures: Mapping[str, float | None]
    code: str | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """A sweep that is done.

    Attributes:
        model: file name of the model.
        space: file name of the design space.
        method: grid, random or search.
        grid: designs of the whole grid.
        axes: values on each axis, as the space file writes them.
        objectives: names in `FIGURES`.
        designs: in the order of the sweep.
        front: numbers of those that no other one beats.
        data: what accuracies were measured on, or None.
        noise: devices that they were measured on; none for exact ones.
        trials: chips of each.
        on_chips: designs were placed, and have figures of chips.
    """

    model: str
    space: str
    method: str
    grid: int
    axes: Mapping[str, Sequence[str]]
    objectives: tuple[str, ...]
    designs: Sequence[Design]
    front: frozenset[int]
    data: str | None = None
    noise: tuple[str, ...] = ()
    trials: int = 0
    on_chips: bool = False

    @property
    def varying(self) -> list[str]:
        """Axes with more than one value."""
        return [axis for axis, values in self.axes.items() if len(values) > 1]

    @property
    def several_laws(self) -> bool:
        """Whether designs are held apart by their ADC law: only those under the same one beat each other."""
        return "adc-law" in self.varying

    @property
    def best(self) -> list[Design]:
        """The front, best in the first objective first."""
        first = self.objectives[0]
        sign = -1 if FIGURES[first].better == "more" else 1
        chosen = [design for design in self.designs if design.number in self.front]
        return sorted(chosen, key=lambda design: (sign * (design.figures[first] or 0), design.number))


def evaluate(counted: MappingResult, target: Target, law: AdcLaw, own_law: AdcLaw) -> dict[str, float | None]:
    """The figures of a mapping on one hardware, by name in `FIGURES`; those of chips are left out.

    Args:
        counted: the mapping.
        target: the hardware.
        law: how conversion energy follows resolution.
        own_law: of the hardware; tells areas where `law` does not.

    Raises:
        UsageError: BSC207 when a law has no entry for a resolution in use.
    """
    cost = price(counted.counts, target, law, area_law(law, own_law))
    worst = min(counted.noise, key=lambda each: each.low, default=None)
    return {
        "adc-energy": cost.total_adc_energy_j,
        "energy": cost.total_energy_j,
        "latency": cost.total_latency_s,
        "area": cost.total_area_m2,
        "crossbars": cost.crossbars,
        "accuracy": counted.accuracy if worst is None else worst.low,
        "mean-accuracy": None if worst is None else worst.mean,
        "exact-accuracy": None if worst is None else counted.accuracy,
    }


def area_law(law: AdcLaw, own_law: AdcLaw) -> AdcLaw | None:
    """The law that areas of ADCs follow: that of energies, or that of the hardware where it tells none."""
    return next((each for each in (law, own_law) if each.area), None)


def oriented(designs: Sequence[Design], objectives: Sequence[str]) -> NDArray[np.float64]:
    """Objectives of designs so that less is better: shape (designs, objectives), NaN where unknown."""
    table = np.full((len(designs), len(objectives)), np.nan)
    for column, name in enumerate(objectives):
        sign = -1.0 if FIGURES[name].better == "more" else 1.0
        for row, design in enumerate(designs):
            value = design.figures.get(name)
            if value is not None:
                table[row, column] = sign * value
    return table
