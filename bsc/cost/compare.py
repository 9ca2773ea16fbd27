"""A plan's cost beside its baselines, and its savings under every ADC law."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bsc.cost.counters import layer_actions
from bsc.cost.counts import LayerCounts, count_layer, count_offset, count_raella, count_uniform
from bsc.cost.layouts import CopyLayout, plan_layout
from bsc.cost.offer import not_offered
from bsc.cost.price import Cost, price, price_kind
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.mapping.model import MappedModel
from bsc.units import ratio

BASELINE_BITS = 8
RAELLA_BITS = 7


@dataclass(frozen=True, kw_only=True)
class LawCosts:
    """What a plan costs, and its uniform baseline, if ADCs follow one law.

    Attributes:
        law: the law.
        extrapolated: a resolution in use lies outside the range its source vouches for.
        plan: cost of the plan.
        uniform: cost of the baseline.
    """

    law: AdcLaw
    extrapolated: bool
    plan: Cost
    uniform: Cost

    @property
    def adc(self) -> float | None:
        """ADC energy of the uniform baseline over that of the plan; None is unknown."""
        return ratio(self.uniform.total_adc_energy_j, self.plan.total_adc_energy_j)

    @property
    def total(self) -> float | None:
        """The same for all modelled energy."""
        return ratio(self.uniform.total_energy_j, self.plan.total_energy_j)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A plan's cost beside its baselines.

    Attributes:
        target: the hardware.
        law: the ADC law of the figures below.
        plan: cost of the plan.
        uniform: the same network, every column of it at 8 bits, nothing eliminated.
        offset: the same weights in the offset encoding of [isaac16], at 8 bits.
        raella: the same weights in pairs around centres, at 7 bits, where conversions may clip [raella23].
        spread: costs under every law, `law` first.
        counts: of the plan, by layer.
        layouts: of the plan, by layer: what the crossbars of a copy hold.
        uniform_counts: of the uniform baseline.
        offset_counts: of the offset encoding.
        raella_counts: of the pairs around centres.
        area_law: how converter area follows resolution; None where no law tells.
        not_offered: layers whose resolutions the hardware's converters cannot have.
    """

    target: Target
    law: AdcLaw
    plan: Cost
    uniform: Cost
    offset: Cost
    raella: Cost
    spread: tuple[LawCosts, ...]
    counts: tuple[LayerCounts, ...]
    layouts: tuple[CopyLayout, ...]
    uniform_counts: tuple[LayerCounts, ...]
    offset_counts: tuple[LayerCounts, ...]
    raella_counts: tuple[LayerCounts, ...]
    area_law: AdcLaw | None
    not_offered: tuple[str, ...]

    @property
    def free_adc_bound(self) -> float | None:
        """Total saving over the uniform baseline if its ADCs cost nothing and nothing else changed."""
        total, adc = self.uniform.total_energy_j, self.uniform.total_adc_energy_j
        return None if total is None or adc is None else ratio(total, total - adc)

    def energy_by_kind(self) -> dict[str, float]:
        """The plan's known energy by how far its prices can be trusted: paper, survey, derived or assumed."""
        shares: dict[str, float] = {}
        for name, action in layer_actions(self.target).items():
            for layer in self.counts:
                kind = price_kind(action, layer, self.target)
                if kind is not None:
                    shares[kind] = shares.get(kind, 0.0) + (self.plan.energy_j[layer.name][name] or 0.0)
        return shares


def compare(mapping: MappedModel, target: Target, law: AdcLaw, laws: Mapping[str, AdcLaw]) -> Comparison:
    """Price a mapping and its baselines.

    Args:
        mapping: the mapping; its arrays are read once.
        target: hardware to price it on; baselines of unevenly cut layers have its cells.
        law: ADC law of the main figures.
        laws: further laws, by name; the target's default law tells areas where `law` does not.
    """
    cell_bits = target.crossbar.bits_per_cell
    counts, layouts = [], []
    for layer in mapping.layers:
        arrays = mapping.arrays(layer)
        counts.append(count_layer(layer, arrays))
        layouts.append(plan_layout(layer, arrays))
    uniform = count_uniform(mapping, BASELINE_BITS, cell_bits)
    offset = count_offset(mapping, BASELINE_BITS, cell_bits)
    raella = count_raella(mapping, RAELLA_BITS, cell_bits)
    area_law = next((each for each in (law, laws.get(target.adc.law)) if each is not None and each.area), None)

    def cost(layers: Sequence[LayerCounts], energy_law: AdcLaw) -> Cost:
        return price(layers, target, energy_law, area_law)

    resolutions = np.flatnonzero(np.sum([layer.conversions for layer in counts], axis=0))
    spread = tuple(
        LawCosts(
            law=each, extrapolated=each.extrapolated(resolutions), plan=cost(counts, each), uniform=cost(uniform, each)
        )
        for each in {each.name: each for each in (law, *laws.values())}.values()
    )
    return Comparison(
        target=target,
        law=law,
        plan=cost(counts, law),
        uniform=cost(uniform, law),
        offset=cost(offset, law),
        raella=cost(raella, law),
        spread=spread,
        counts=tuple(counts),
        layouts=tuple(layouts),
        uniform_counts=tuple(uniform),
        offset_counts=tuple(offset),
        raella_counts=tuple(raella),
        area_law=area_law,
        not_offered=tuple(not_offered(mapping.layers, counts, target.adc)),
    )
