"""Designs on chips: a mapping that was counted once, placed as one design says, with all of that design's figures.

Placing takes milliseconds where compiling takes seconds, and needs no more than the outline of the mapping.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import bsc
from bsc.chip.demand import chip_demand
from bsc.chip.performance import Performance, Prices, performance, with_power
from bsc.errors import BscError
from bsc.exploration.designs import area_law, evaluate
from bsc.exploration.mapping import NOT_THE_DESIGNS, MappingResult
from bsc.exploration.scheduler import Answer, require_version, told
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.ir.pipeline import format_pipeline
from passes.place import Place


@dataclass(frozen=True, eq=False, kw_only=True)
class PlacingJob:
    """One design to place and price.

    Attributes:
        key: of the work.
        counted: its mapping.
        target: the hardware.
        law: how conversion energy follows resolution.
        own_law: of the hardware; tells areas where `law` does not.
        place: what places it.
        version: of bsc.
    """

    key: str
    counted: MappingResult
    target: Target
    law: AdcLaw
    own_law: AdcLaw
    place: Place
    version: str = bsc.__version__

    def done(self) -> "PlacingResult":
        """Place and price it; errors are part of the answer."""
        try:
            require_version(self.version)
            figures = evaluate(self.counted, self.target, self.law, self.own_law)
            found = chip_figures(self._performance())
            pipeline = f"{self.counted.pipeline},{format_pipeline([self.place])}"
            return PlacingResult(key=self.key, pipeline=pipeline, figures=figures | found)
        except BscError as error:
            return PlacingResult(key=self.key, fatal=error.code in NOT_THE_DESIGNS, **told(error))

    def _performance(self) -> Performance:
        """As the report of `bsc compile` has it, by the same functions."""
        counted, outline = self.counted, self.counted.outline
        assert outline is not None  # no error
        demand = chip_demand(outline.record, counted.counts, self.target, self.law)
        if self.place.power:
            demand = with_power(demand, outline, self.target)
        placed = self.place.places(demand, lambda: outline.dataflow)
        prices = Prices(target=self.target, law=self.law, area_law=area_law(self.law, self.own_law))
        rules = next(each.rules for each in placed.values())
        return performance(outline, counted.counts, prices, rules, placed=placed)


@dataclass(frozen=True, eq=False, kw_only=True)
class PlacingResult(Answer):
    """A design that was placed, or the error that it ended with.

    Attributes:
        pipeline: the line that makes its plan again.
        figures: all of them, by name in `FIGURES`; empty after an error.
    """

    pipeline: str = ""
    figures: Mapping[str, float | None] = field(default_factory=dict)


def chip_figures(found: Performance) -> dict[str, float | None]:
    """Figures of a model on chips, by name in `FIGURES`: those of a report of `bsc compile`."""
    return {
        "throughput": found.inferences_per_s,
        "chip-latency": found.timing.latency_s,
        "average-power": found.power_w,
        "chip-energy": found.energy_j,
        "efficiency": found.ops_per_j,
        "energy-delay": found.energy_delay_js,
        "chip-area": found.area_m2,
        "tiles-in-use": found.tiles,
        "chips-in-use": found.chips,
    }
