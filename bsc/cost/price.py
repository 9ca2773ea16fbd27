"""What a plan costs: counts of hardware actions times the prices of a target.

Pricing the same counts under another target or ADC law takes milliseconds. Energy is for one inference, latency
runs the layers one after another with one copy of each, area covers the tiles the crossbars fill. Not modelled,
and never shown as 0: off-tile routing, activation functions and other digital operators, static power while
idle, and programming the cells.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bsc.cost.counts import LayerCounts
from bsc.errors import UsageError
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Area, Target
from bsc.ir.graph import Prices

ADC_ACTION = "adc_conversion"


@dataclass(frozen=True, eq=False, kw_only=True)
class Cost:
    """Prices of one inference; None is unknown.

    Attributes:
        energy_j: by layer, then by action.
        latency_s: by layer.
        area_m2: by part of the chip; None when the target gives no areas.
        layer_area_m2: by layer; parts that layers share are divided by their numbers of crossbars. None likewise.
        crossbars: crossbars of all layers.
        imas: in-situ multiply-accumulate units they fill.
        tiles: tiles those fill.
    """

    energy_j: Mapping[str, Mapping[str, float | None]]
    latency_s: Mapping[str, float]
    area_m2: Mapping[str, float] | None
    layer_area_m2: Mapping[str, float] | None
    crossbars: int
    imas: int
    tiles: int

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
        """Area of the tiles in use."""
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
        UsageError: BSC207 when a law has no entry for a resolution in use.
    """
    crossbars = int(sum(layer.crossbars.sum() for layer in counts))
    imas = -(-crossbars // target.hierarchy.crossbars_per_ima)
    tiles = -(-imas // target.hierarchy.imas_per_tile)
    own = _own_areas(counts, target, area_law)
    shared = None if own is None or target.area is None else _shared_areas(target.area, imas, tiles)
    return Cost(
        energy_j={layer.name: _energy(layer, target, law) for layer in counts},
        latency_s={layer.name: layer.reads * _read_s(layer, target) for layer in counts},
        area_m2=None if own is None or shared is None else {name: sum(parts) for name, parts in own.items()} | shared,
        layer_area_m2=None if own is None or shared is None else _layer_areas(counts, own, shared),
        crossbars=crossbars,
        imas=imas,
        tiles=tiles,
    )


def _read_s(layer: LayerCounts, target: Target) -> float:
    """Time of one read of the layer's crossbars: that of the array, or of the converter with most to do if longer."""
    adc = target.adc
    if adc.bit_s is None:
        converting_s = layer.conversions_per_read / adc.rate_hz.value
    else:
        converting_s = layer.bits_per_read * adc.bit_s.value
    return max(target.timing.read_s.value, converting_s / adc.per_crossbar)


def reading_prices(target: Target, law: AdcLaw) -> Prices:
    """What the cost model charges for reading crossbars, in the form that passes take.

    A conversion comes with its shift-and-add and its store in the output register; 0 bits is no conversion.

    Raises:
        UsageError: BSC206 if the target has no price for conversions.
    """
    prices = {name: action.energy_j.value for name, action in target.action.priced().items()}
    if ADC_ACTION not in prices:
        raise UsageError(
            "BSC206",
            f"target '{target.name}' gives no energy of a conversion",
            seen="no table [action.adc_conversion]",
            fix="add it to the hardware description, or choose another ADC policy",
        )
    behind = prices.get("shift_add", 0.0) + prices.get("output_register_word", 0.0)
    relative = np.array(law.energy) / law.energy[target.adc.bits]
    return Prices(
        conversion_j=(0.0, *(relative[1:] * prices[ADC_ACTION] + behind).tolist()),
        row_j=prices.get("dac_row", 0.0) + prices.get("input_register_bit", 0.0) * target.dac.bits,
        cell_j=prices.get("crossbar_cell", 0.0),
        column_j=prices.get("sample_hold", 0.0),
    )


def _energy(layer: LayerCounts, target: Target, law: AdcLaw) -> dict[str, float | None]:
    prices = {name: action.energy_j.value for name, action in target.action.priced().items()}
    energies: dict[str, float | None] = {ADC_ACTION: None}
    if ADC_ACTION in prices:
        used = np.flatnonzero(layer.conversions)
        anchor = law.relative_energy(np.array([target.adc.bits]))[0]
        relative = law.relative_energy(used) / anchor
        energies[ADC_ACTION] = float(layer.conversions[used] @ relative) * prices[ADC_ACTION]
    if layer.dac_bits != target.dac.bits:
        prices.pop("dac_row", None)  # the price of a row holds for the target's own DAC
    for name, count in layer.actions.items():
        energies[name] = count * prices[name] if name in prices else None
    return energies


def _own_areas(counts: Sequence[LayerCounts], target: Target, law: AdcLaw | None) -> dict[str, list[float]] | None:
    """Areas that belong to crossbars, by part and then for each layer."""
    area = target.area
    if area is None or law is None or any(layer.dac_bits != target.dac.bits for layer in counts):
        return None
    used = np.flatnonzero(np.sum([layer.crossbars for layer in counts], axis=0))
    relative = law.relative_area(used) / law.relative_area(np.array([target.adc.bits]))[0]
    adcs = [float(layer.crossbars[used] @ relative) * target.adc.per_crossbar for layer in counts]
    arrays = [int(layer.crossbars.sum()) for layer in counts]

    def lines(each: Sequence[int], line_m2: float) -> list[float]:
        return [crossbars * count * line_m2 for crossbars, count in zip(arrays, each, strict=True)]

    return {
        "adc": [count * area.adc_m2.value for count in adcs],
        "dac": lines([layer.array_rows for layer in counts], area.dac_row_m2.value),
        "crossbar": lines([layer.array_rows * layer.array_cols for layer in counts], area.crossbar_cell_m2.value),
        "sample_hold": lines([layer.array_cols for layer in counts], area.sample_hold_column_m2.value),
    }


def _shared_areas(area: Area, imas: int, tiles: int) -> dict[str, float]:
    """Areas that crossbars share, by part."""
    return {"ima_rest": imas * area.ima_fixed_m2.value, "tile_rest": tiles * area.tile_fixed_m2.value}


def _layer_areas(
    counts: Sequence[LayerCounts], own: Mapping[str, Sequence[float]], shared: Mapping[str, float]
) -> dict[str, float]:
    """By layer, what is shared divided by crossbars."""
    crossbars = [int(layer.crossbars.sum()) for layer in counts]
    rest = sum(shared.values()) / max(sum(crossbars), 1)
    parts = zip(*own.values(), strict=True)
    return {
        layer.name: math.fsum(each) + count * rest for layer, count, each in zip(counts, crossbars, parts, strict=True)
    }
