"""A plan's cost beside two 8-bit baselines, and its savings under every ADC law."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bsc.cost.counts import LayerCounts, count_offset, count_plan, count_uniform
from bsc.cost.offer import not_offered
from bsc.cost.price import Cost, price, ratio
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.plan.document import Plan

BASELINE_BITS = 8


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
        not_offered: layers whose resolutions the hardware's converters cannot have.
    """

    target: Target
    law: AdcLaw
    plan: Cost
    uniform: Cost
    offset: Cost
    spread: tuple[LawRatio, ...]
    counts: tuple[LayerCounts, ...]
    not_offered: tuple[str, ...]

    @property
    def free_adc_bound(self) -> float | None:
        """Total saving over the uniform baseline if its ADCs cost nothing and nothing else changed."""
        total, adc = self.uniform.total_energy_j, self.uniform.total_adc_energy_j
        return None if total is None or adc is None else ratio(total, total - adc)

    def energy_by_kind(self) -> dict[str, float]:
        """The plan's known energy by how far its prices can be trusted: paper, survey, derived or assumed."""
        shares: dict[str, float] = {}
        for name, action in self.target.actions().items():
            if action.energy_j is not None:
                kind = action.energy_j.kind
                shares[kind] = shares.get(kind, 0.0) + (self.plan.action_energy_j(name) or 0.0)
        return shares


def compare(plan: Plan, target: Target, law: AdcLaw, laws: Mapping[str, AdcLaw]) -> Comparison:
    """Price a plan and its baselines.

    Args:
        plan: the plan; its arrays are read once.
        target: hardware to price it on.
        law: ADC law of the main figures.
        laws: laws of the spread, by name; the target's default law tells areas where `law` does not.
    """
    counts = count_plan(plan)
    uniform = count_uniform(plan, BASELINE_BITS)
    area_law = next((each for each in (law, laws.get(target.adc.law)) if each is not None and each.area), None)

    def cost(layers: Sequence[LayerCounts], energy_law: AdcLaw) -> Cost:
        return price(layers, target, energy_law, area_law)

    resolutions = np.flatnonzero(np.sum([layer.conversions for layer in counts], axis=0))
    spread = []
    for each in {each.name: each for each in (law, *laws.values())}.values():
        ours, base = cost(counts, each), cost(uniform, each)
        spread.append(
            LawRatio(
                law=each,
                extrapolated=each.extrapolated(resolutions),
                adc=ratio(base.total_adc_energy_j, ours.total_adc_energy_j),
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
        not_offered=tuple(not_offered(plan.layers, counts, target.adc)),
    )
