"""Re-add a hardware description: its parts must give back the sub-totals and powers that were published."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from bsc.errors import GateError
from bsc.hardware.areas import unit_areas_m2
from bsc.hardware.peak import derive
from bsc.hardware.target import Component, Covers, Target
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
    """Compare sub-totals, actions at full rate, areas that follow the arrays level by level, and peaks."""
    return [*_sub_totals(target), *_full_rates(target), *_areas(target), *_peaks(target)]


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


def total(target: Target, level: str, measure: Measure, covers: Covers = "one") -> float:
    """Power in W or area in m² of a part of the design, added up from the component rows.

    Args:
        target: the description.
        level: name of a level.
        measure: what is added up.
        covers: one of that level, all in one of the next larger level, or one without the level within it.
    """
    within = 0.0
    for each in target.level:
        rest = sum(_share(row, measure) for row in each.component.values())
        one = within + rest
        all_of_them = (each.count or 1) * one
        if each.name == level:
            parts: dict[Covers, float] = {"one": one, "all": all_of_them, "rest": rest}
            return parts[covers]
        within = all_of_them
    raise AssertionError(level)


def _share(row: Component, measure: Measure) -> float:
    quantity = row.power_w if measure == "power_w" else row.area_m2
    return quantity.value / row.shared_by


def _sub_totals(target: Target) -> Iterator[CheckLine]:
    for entry in target.published:
        values: dict[Measure, float] = {"power_w": entry.power_w, "area_m2": entry.area_m2}
        for measure, published in values.items():
            computed = total(target, entry.level, measure, entry.covers)
            name = f"{measure.partition('_')[0]} of {entry.name}"
            yield CheckLine(name, _UNITS[measure], published, computed, entry.tolerance)


def _full_rates(target: Target) -> Iterator[CheckLine]:
    """One line for each component that actions say they spend the power of, besides what it draws at rest."""
    spent: dict[str, list[tuple[str, float]]] = {}
    for name, action in target.actions().items():
        if action.component is not None and action.at_full_rate is not None and action.energy_j is not None:
            power_w = action.energy_j.value * action.at_full_rate.per_s
            spent.setdefault(action.component, []).append((name, power_w))
    for component, actions in spent.items():
        row = target.components()[component]
        if row.static_w is not None:
            actions.append(("static", row.static_w.value / row.shared_by))
        names, powers_w = zip(*actions, strict=True)
        yield CheckLine(
            f"{' + '.join(names)} at full rate", "W", _share(row, "power_w"), sum(powers_w), _ACTION_TOLERANCE
        )


def _areas(target: Target) -> Iterator[CheckLine]:
    """One line for each level but the last that has components: where areas are given, they give the same."""
    if not target.areas():
        return
    ones = unit_areas_m2(target)
    for level in target.level[:-1]:
        if level.component:
            name, one = f"areas of one {level.name}", ones[level.name]
            yield CheckLine(name, "m²", total(target, level.name, "area_m2"), one, _AREA_TOLERANCE)


def _peaks(target: Target) -> Iterator[CheckLine]:
    for entry in target.peak:
        power_w, area_m2 = (total(target, entry.level, measure) for measure in ("power_w", "area_m2"))
        for what, unit, printed, ours in derive(entry, target, power_w, area_m2):
            yield CheckLine(f"{what} of {entry.name}", unit, printed, ours, entry.tolerance)
