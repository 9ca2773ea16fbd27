"""What a plan costs: counts of hardware actions times the prices of a target, beside two 8-bit baselines.

Pricing the same counts under another target or ADC law takes milliseconds. Energy is for one inference, latency
runs the layers one after another with one copy of each, area covers the tiles the crossbars fill. Not modelled,
and never shown as 0: off-tile routing, activation functions and other digital operators, static power while
idle, and programming the cells.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bsc.adc_law import AdcLaw
from bsc.counts import LayerCounts, count_offset, count_plan, count_uniform
from bsc.plan import Plan
from bsc.target import Target

ADC_ACTION = "adc_conversion"
BASELINE_BITS = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Cost:
    """Prices of one inference; None is unknown.

    Attributes:
        energy_j: by layer, then by action.
        latency_s: by layer.
        area_m2: by part of the chip; None when the target gives no areas.
        crossbars: crossbars of all layers.
        imas: in-situ multiply-accumulate units they fill.
        tiles: tiles those fill.
    """

    energy_j: Mapping[str, Mapping[str, float | None]]
    latency_s: Mapping[str, float]
    area_m2: Mapping[str, float] | None
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


def ratio(baseline: float | None, value: float | None) -> float | None:
    """How many times smaller `value` is; None when either is unknown or `value` is 0."""
    return baseline / value if baseline is not None and value else None


def price(counts: Sequence[LayerCounts], target: Target, law: AdcLaw, area_law: AdcLaw) -> Cost:
    """Counts times prices.

    Args:
        counts: of every layer.
        target: prices and areas.
        law: how conversion energy follows resolution.
        area_law: how converter area does; a law with `area`.

    Raises:
        UsageError: BSC207 when a law has no entry for a resolution in use.
    """
    read_s = target.timing.read_s.value
    conversions_per_s = target.adc.rate_hz.value * target.adc.per_crossbar
    crossbars = int(sum(layer.crossbars.sum() for layer in counts))
    imas = -(-crossbars // target.hierarchy.crossbars_per_ima)
    tiles = -(-imas // target.hierarchy.imas_per_tile)
    return Cost(
        energy_j={layer.name: _energy(layer, target, law) for layer in counts},
        latency_s={
            layer.name: layer.reads * max(read_s, layer.conversions_per_read / conversions_per_s) for layer in counts
        },
        area_m2=_area(counts, target, area_law, imas, tiles),
        crossbars=crossbars,
        imas=imas,
        tiles=tiles,
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


def _area(counts: Sequence[LayerCounts], target: Target, law: AdcLaw, imas: int, tiles: int) -> dict[str, float] | None:
    area = target.area
    if area is None:
        return None
    by_resolution = np.sum([layer.crossbars for layer in counts], axis=0)
    used = np.flatnonzero(by_resolution)
    anchor = law.relative_area(np.array([target.adc.bits]))[0]
    adcs = float(by_resolution[used] @ law.relative_area(used)) / anchor * target.adc.per_crossbar

    def each(lines: str) -> float:
        return float(sum(layer.crossbars.sum() * getattr(layer, lines) for layer in counts))

    cells = float(sum(layer.crossbars.sum() * layer.array_rows * layer.array_cols for layer in counts))
    return {
        "adc": adcs * area.adc_m2.value,
        "dac": each("array_rows") * area.dac_row_m2.value,
        "crossbar": cells * area.crossbar_cell_m2.value,
        "sample_hold": each("array_cols") * area.sample_hold_column_m2.value,
        "ima_rest": imas * area.ima_fixed_m2.value,
        "tile_rest": tiles * area.tile_fixed_m2.value,
    }


@dataclass(frozen=True, kw_only=True)
class LawRatio:
    """What a plan saves if ADCs follow one law; None is unknown.

    Attributes:
        law: the law.
        extrapolated: a resolution in use lies outside the range its source vouches for.
        adc: ADC energy of the uniform baseline over that of the plan.
        total: the same for all modelled energy.
    """

    law: AdcLaw
    extrapolated: bool
    adc: float | None
    total: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A plan's cost beside its baselines.

    Attributes:
        target: the hardware.
        law: the ADC law of the figures below.
        plan: cost of the plan.
        uniform: the same network, every column of it at 8 bits, nothing eliminated.
        offset: the same weights in the offset encoding of [isaac16], at 8 bits.
        spread: savings under every law, `law` among them.
        counts: of the plan, by layer.
    """

    target: Target
    law: AdcLaw
    plan: Cost
    uniform: Cost
    offset: Cost
    spread: tuple[LawRatio, ...]
    counts: tuple[LayerCounts, ...]

    @property
    def free_adc_bound(self) -> float | None:
        """Total saving over the uniform baseline if ADCs cost nothing at all."""
        total, adc = self.uniform.total_energy_j, self.uniform.action_energy_j(ADC_ACTION)
        return None if total is None or adc is None else ratio(total, total - adc)

    def energy_by_kind(self) -> dict[str, float]:
        """The plan's known energy by how far its prices can be trusted: paper, survey, derived or assumed."""
        shares: dict[str, float] = {}
        for name, action in self.target.action.priced().items():
            kind = action.energy_j.kind
            shares[kind] = shares.get(kind, 0.0) + (self.plan.action_energy_j(name) or 0.0)
        return shares


def compare(plan: Plan, target: Target, law: AdcLaw, laws: Mapping[str, AdcLaw]) -> Comparison:
    """Price a plan and its baselines.

    Args:
        plan: the plan; its arrays are read once.
        target: hardware to price it on.
        law: ADC law of the main figures.
        laws: laws of the spread, by name; must hold the target's default law.
    """
    counts = count_plan(plan)
    uniform = count_uniform(plan, BASELINE_BITS)
    area_law = law if law.area is not None else laws[target.adc.law]

    def cost(layers: Sequence[LayerCounts], energy_law: AdcLaw) -> Cost:
        return price(layers, target, energy_law, area_law)

    resolutions = np.flatnonzero(np.sum([layer.conversions for layer in counts], axis=0))
    spread = []
    for each in ({law.name: law} | dict(laws)).values():
        ours, base = cost(counts, each), cost(uniform, each)
        spread.append(
            LawRatio(
                law=each,
                extrapolated=each.extrapolated(resolutions),
                adc=ratio(base.action_energy_j(ADC_ACTION), ours.action_energy_j(ADC_ACTION)),
                total=ratio(base.total_energy_j, ours.total_energy_j),
            )
        )
    return Comparison(
        target=target,
        law=law,
        plan=cost(counts, law),
        uniform=cost(uniform, law),
        offset=cost(count_offset(plan, BASELINE_BITS), law),
        spread=tuple(spread),
        counts=tuple(counts),
    )
