"""What a plan costs: counts of hardware actions times the prices of a target.

Pricing the same counts under another target or ADC law takes milliseconds. Energy is for one inference, latency
runs the layers one after another with one copy of each, area covers what the crossbars fill on every level but the
last. What is not modelled (`bsc.cost.counters.not_modelled`) is never shown as 0.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bsc.cost.counters import (
    CONVERSIONS,
    OF_CELLS,
    OF_OWN_DAC,
    conversion_actions,
    layer_actions,
    require_counters,
)
from bsc.cost.counts import LayerCounts
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Action, AreaBasis, AreaPart, Target
from bsc.toml_record import Kind


@dataclass(frozen=True, eq=False, kw_only=True)
class Cost:
    """Prices of one inference; None is unknown.

    Attributes:
        energy_j: by layer, then by action of the target.
        adc_actions: the actions that are conversions.
        latency_s: by layer.
        area_m2: by area of the target; None when it gives none.
        layer_area_m2: by layer; what layers share is divided by their numbers of crossbars. None likewise.
        units: what the crossbars fill on every level, themselves first: whole ones, by name of the level.
    """

    energy_j: Mapping[str, Mapping[str, float | None]]
    adc_actions: tuple[str, ...]
    latency_s: Mapping[str, float]
    area_m2: Mapping[str, float] | None
    layer_area_m2: Mapping[str, float] | None
    units: Mapping[str, int]

    @property
    def crossbars(self) -> int:
        """Crossbars of all layers."""
        return next(iter(self.units.values()))

    @property
    def actions(self) -> list[str]:
        """Actions in the order of the price list."""
        return list(next(iter(self.energy_j.values()), {}))

    def action_energy_j(self, action: str) -> float | None:
        """Energy of one action over all layers."""
        return add(layer[action] for layer in self.energy_j.values())

    def layer_energy_j(self, layer: str) -> float | None:
        """Energy of one layer over all actions."""
        return add(self.energy_j[layer].values())

    def layer_adc_energy_j(self, layer: str) -> float | None:
        """Energy of the conversions of one layer."""
        return add(self.energy_j[layer][action] for action in self.adc_actions)

    @property
    def total_adc_energy_j(self) -> float | None:
        """Energy of all conversions."""
        return add(map(self.action_energy_j, self.adc_actions))

    @property
    def total_energy_j(self) -> float | None:
        """Energy of everything that is modelled."""
        return add(map(self.action_energy_j, self.actions))

    @property
    def total_latency_s(self) -> float:
        """Time of one inference, layer after layer."""
        return math.fsum(self.latency_s.values())

    @property
    def total_area_m2(self) -> float | None:
        """Area of what the crossbars fill."""
        return None if self.area_m2 is None else math.fsum(self.area_m2.values())


def add(values: Iterable[float | None]) -> float | None:
    """Sum of values that may be unknown; unknown as soon as one is."""
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return math.fsum(known)


def price(counts: Sequence[LayerCounts], target: Target, law: AdcLaw, area_law: AdcLaw | None) -> Cost:
    """Counts times prices.

    Args:
        counts: of every layer.
        target: prices and areas.
        law: how conversion energy follows resolution.
        area_law: how converter area does, a law with `area`; None when no law tells.

    Raises:
        UsageError: BSC207 when a law has no entry for a resolution in use; BSC206 for a target that cannot be counted.
    """
    require_counters(target)
    units = _units(target, int(sum(layer.crossbars.sum() for layer in counts)))
    own = _own_areas(counts, target, area_law)
    shared = None if own is None else _shared_areas(target, units)
    return Cost(
        energy_j={layer.name: energy_by_action(layer, target, law) for layer in counts},
        adc_actions=conversion_actions(target),
        latency_s={layer.name: layer.reads * read_s(layer, target) for layer in counts},
        area_m2=None if own is None or shared is None else {name: sum(parts) for name, parts in own.items()} | shared,
        layer_area_m2=None if own is None or shared is None else _layer_areas(counts, own, shared),
        units=units,
    )


def area_with_copies(
    counts: Sequence[LayerCounts], target: Target, area_law: AdcLaw | None, copies: Mapping[str, int], crossbars: int
) -> float | None:
    """Area of what several copies of each layer fill on every level but the last; None where it is unknown.

    Args:
        counts: of every layer.
        target: areas.
        area_law: how converter area follows resolution; None when no law tells.
        copies: by layer.
        crossbars: of all copies, which fill the larger levels; arrays are counted for every layer that lies on them.
    """
    own = _own_areas(counts, target, area_law)
    if own is None:
        return None
    numbers = [copies[layer.name] for layer in counts]
    parts = [area * number for areas in own.values() for area, number in zip(areas, numbers, strict=True)]
    return math.fsum([*parts, *_shared_areas(target, _units(target, crossbars)).values()])


def _units(target: Target, crossbars: int) -> dict[str, int]:
    """What so many crossbars fill, by level."""
    units, number = {}, crossbars
    for level in target.level:
        units[level.name] = number
        number = -(-number // (level.count or 1))
    return units


def read_s(layer: LayerCounts, target: Target) -> float:
    """Time of one read of the layer's crossbars: that of the array, or of the converter with most to do if longer."""
    adc = target.adc
    if adc.bit_s is None:
        converting_s = layer.conversions_per_read / adc.rate_hz.value
    else:
        converting_s = layer.bits_per_read * adc.bit_s.value
    return max(target.timing.read_s.value, converting_s / adc.installed)


def energy_by_action(layer: LayerCounts, target: Target, law: AdcLaw) -> dict[str, float | None]:
    """By action; None where a price is unknown."""
    used = np.flatnonzero(layer.conversions)
    relative = law.relative_energy(used) / law.relative_energy(np.array([target.adc.bits]))[0]
    at_own_bits = float(layer.conversions[used] @ relative)

    def energy(action: Action) -> float | None:
        if action.energy_j is None or (action.counter in OF_OWN_DAC and layer.dac_bits != target.dac.bits):
            return None
        if action.counter in OF_CELLS and layer.cell_bits > priced_cell_bits(action, target):
            return None
        times = at_own_bits if action.counter == CONVERSIONS else layer.counters[action.counter]
        return times * action.energy_j.value

    return {name: energy(action) for name, action in layer_actions(target).items()}


def price_kind(action: Action, layer: LayerCounts, target: Target) -> Kind | None:
    """How far the price of an action can be trusted for a layer; None where there is none."""
    wider = action.counter in OF_CELLS and layer.cell_bits > target.crossbar.bits_per_cell
    if action.energy_j is None or (wider and action.up_to_cell_bits is None):
        return None
    return action.up_to_cell_bits.kind if wider and action.up_to_cell_bits is not None else action.energy_j.kind


def priced_cell_bits(action: Action, target: Target) -> int:
    """Most bits of a cell that the price of reading cells holds for."""
    own = target.crossbar.bits_per_cell
    return own if action.up_to_cell_bits is None else max(own, action.up_to_cell_bits.value)


def _own_areas(counts: Sequence[LayerCounts], target: Target, law: AdcLaw | None) -> dict[str, list[float]] | None:
    """Areas that belong to crossbars, by name and then for each layer."""
    parts = target.level[0].area
    if not target.areas() or any(layer.dac_bits != target.dac.bits for layer in counts):
        return None
    used = np.flatnonzero(np.sum([layer.crossbars for layer in counts], axis=0))
    relative = np.zeros(len(used))
    if any(part.per == "converter" for part in parts.values()):
        if law is None:
            return None
        relative = law.relative_area(used) / law.relative_area(np.array([target.adc.bits]))[0]

    def area(layer: LayerCounts, part: AreaPart) -> float:
        crossbars = int(layer.crossbars.sum())
        numbers: dict[AreaBasis, float] = {
            "one": crossbars,
            "converter": float(layer.crossbars[used] @ relative) * target.adc.installed,
            "row": crossbars * layer.array_rows,
            "column": crossbars * layer.array_cols,
            "cell": crossbars * (layer.array_rows * layer.array_cols),
        }
        return numbers[part.per] * part.area_m2.value

    return {name: [area(layer, part) for layer in counts] for name, part in parts.items()}


def _shared_areas(target: Target, units: Mapping[str, int]) -> dict[str, float]:
    """Areas that crossbars share, by name; the last level is not filled but has them all."""
    return {
        name: units[level.name] * part.area_m2.value for level in target.level[1:] for name, part in level.area.items()
    }


def _layer_areas(
    counts: Sequence[LayerCounts], own: Mapping[str, Sequence[float]], shared: Mapping[str, float]
) -> dict[str, float]:
    """By layer, what is shared divided by crossbars."""
    crossbars = [int(layer.crossbars.sum()) for layer in counts]
    rest = sum(shared.values()) / max(sum(crossbars), 1)
    return {
        layer.name: math.fsum(parts[index] for parts in own.values()) + crossbars[index] * rest
        for index, layer in enumerate(counts)
    }
