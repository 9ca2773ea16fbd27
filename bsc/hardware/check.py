"""Re-add a hardware description: its parts must give back the sub-totals and powers that were published."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from bsc.errors import GateError
from bsc.hardware.target import Area, Component, Scope, Target
from bsc.units import format_si

Measure = Literal["power_w", "area_m2"]

_UNITS: Final[dict[Measure, str]] = {"power_w": "W", "area_m2": "m²"}

# Prices are quoted with up to four digits; the rounding of a published 20.45 pJ stays below this.
_ACTION_TOLERANCE: Final = 1e-3
_AREA_TOLERANCE: Final = 1e-6


@dataclass(frozen=True)
class CheckLine:
    """One comparison of a published value with the one its parts add up to.

    Attributes:
        name: what is compared.
        unit: SI unit of both values.
        published: value the publication prints.
        computed: value from the description's parts.
        tolerance: largest difference allowed, relative to the published value.
    """

    name: str
    unit: str
    published: float
    computed: float
    tolerance: float

    @property
    def difference(self) -> float:
        """How far the two are apart, in `unit`."""
        return abs(self.computed - self.published)

    @property
    def allowed(self) -> float:
        """How far the two may be apart, in `unit`."""
        return self.tolerance * self.published

    @property
    def ok(self) -> bool:
        """Whether the two agree."""
        return self.difference <= self.allowed

    def __str__(self) -> str:
        rounding = 1e-12 * self.published  # of the floating-point sums
        apart = self.difference if self.difference > rounding else 0.0
        values = (self.computed, self.published, apart, self.allowed)
        computed, published, difference, allowed = (format_si(value, self.unit) for value in values)
        return f"{computed} from the parts, {published} published, {difference} apart where {allowed} is allowed"


def check(target: Target) -> list[CheckLine]:
    """Compare sub-totals, then actions at full rate, then the areas that follow the arrays."""
    return [*_sub_totals(target), *_full_rates(target), *_areas(target)]


def require_consistent(target: Target) -> None:
    """Refuse a description that does not re-add.

    Raises:
        GateError: BSC502, for the first line of `check` that is not ok.
    """
    failed = [line for line in check(target) if not line.ok]
    if failed:
        raise GateError(
            "BSC502",
            f"target '{target.name}': {failed[0].name} does not re-add ({len(failed)} such in all)",
            seen=str(failed[0]),
            fix="correct the part or the published value in the hardware description",
        )


def total(target: Target, scope: Scope, measure: Measure) -> float:
    """Power in W or area in m² of a part of the chip, added up from the component rows."""
    hierarchy = target.hierarchy
    ima = _add(target.component.ima.values(), measure)
    peripherals = _add(target.component.tile.values(), measure)
    imas = hierarchy.imas_per_tile * ima
    tile = imas + peripherals
    tiles = hierarchy.tiles_per_chip * tile
    chip = tiles + _add(target.component.chip.values(), measure)
    sums: dict[Scope, float] = {
        "ima": ima,
        "imas": imas,
        "tile_peripherals": peripherals,
        "tile": tile,
        "tiles": tiles,
        "chip": chip,
    }
    return sums[scope]


def _add(rows: Iterable[Component], measure: Measure) -> float:
    return sum(_share(row, measure) for row in rows)


def _share(row: Component, measure: Measure) -> float:
    quantity = row.power_w if measure == "power_w" else row.area_m2
    return quantity.value / row.shared_by


def _sub_totals(target: Target) -> Iterator[CheckLine]:
    for entry in target.published:
        values: dict[Measure, float] = {"power_w": entry.power_w, "area_m2": entry.area_m2}
        for measure, published in values.items():
            computed = total(target, entry.scope, measure)
            name = f"{measure.partition('_')[0]} of {entry.name}"
            yield CheckLine(name, _UNITS[measure], published, computed, entry.tolerance)


def _full_rates(target: Target) -> Iterator[CheckLine]:
    components = target.components()
    for name, action in target.action.priced().items():
        if action.at_full_rate is None:
            continue
        row = components[action.at_full_rate.component]
        computed = action.energy_j.value * action.at_full_rate.per_s
        yield CheckLine(f"{name} at full rate", "W", _share(row, "power_w"), computed, _ACTION_TOLERANCE)


def _areas(target: Target) -> Iterator[CheckLine]:
    if target.area is None or not target.component.ima:
        return
    ima = target.hierarchy.crossbars_per_ima * _crossbar_area(target, target.area) + target.area.ima_fixed_m2.value
    scopes: dict[Scope, float] = {"ima": ima, "tile_peripherals": target.area.tile_fixed_m2.value}
    for scope, computed in scopes.items():
        yield CheckLine(f"[area] of {scope}", "m²", total(target, scope, "area_m2"), computed, _AREA_TOLERANCE)


def _crossbar_area(target: Target, area: Area) -> float:
    """Area in m² of one array with its converters, row drivers and sample-and-holds."""
    crossbar = target.crossbar
    return (
        target.adc.per_crossbar * area.adc_m2.value
        + crossbar.rows * area.dac_row_m2.value
        + crossbar.rows * crossbar.cols * area.crossbar_cell_m2.value
        + crossbar.cols * area.sample_hold_column_m2.value
    )
