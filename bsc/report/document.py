"""The report of a plan as data: every figure with its unit, what it includes and where it comes from.

Text, CSV and HTML are views of a `ReportDocument`. Its JSON Schema is report.schema.json, and FIGURES.md is written
from the descriptions below. Unknown figures are null, never 0. A report is untrusted when it is read again: layers,
slices and resolutions must fit together, and every number be finite.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PositiveInt, model_validator

from bsc.cost.compare import BASELINE_BITS, Comparison, LawRatio
from bsc.cost.counters import counted, not_modelled
from bsc.cost.price import Cost
from bsc.hardware.target import label
from bsc.plan.document import PlanDocument, Sha256
from bsc.plan.folder import target_json
from bsc.plan.summary import RULE_OF_THREE, LayerSummary, SliceSummary
from bsc.record import Record

PLAN = "the plan's arrays"
COUNTS = "counts of hardware actions, from the plan's arrays"
PRICES = "counts times the target's prices, each with a source of its own (`bsc hw show`)"
PROOF = "column sums of the programmed cells, for any input"

MAX_COUNT = (1 << 63) - 1
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Amount = Annotated[float, Field(ge=0)]
Bits = Annotated[str, Field(pattern=r"^([0-9]|1[0-6])$")]
BitCounts = dict[Bits, Count]


def figure(includes: str, *, unit: str, source: str) -> Any:
    """A figure's field.

    Args:
        includes: what it is and what it includes.
        unit: SI, or what is counted.
        source: what it is taken or computed from.
    """
    return Field(description=includes, json_schema_extra={"unit": unit, "source": source})


class Figures(Record):
    """A record of figures, all of them finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class LayerSpend(Figures):
    """One layer of a plan, or of a baseline."""

    energy_j: Amount | None = figure("all actions of the layer", unit="J", source=PRICES)
    adc_energy_j: Amount | None = figure("its conversions alone", unit="J", source=PRICES)
    latency_s: Amount = figure("its input vectors one after another, converters included", unit="s", source=PRICES)
    area_m2: Amount | None = figure(
        "areas on the level of its crossbars; those of larger levels are divided by numbers of crossbars",
        unit="m²",
        source=PRICES,
    )
    energy_by_action_j: dict[str, Amount | None] = figure("energy by action of the target", unit="J", source=PRICES)


class Spend(Figures):
    """What one inference costs on a plan, or on a baseline."""

    energy_j: Amount | None = figure(
        "one inference, all actions below; not what `cost.not_modelled` names", unit="J", source=PRICES
    )
    adc_energy_j: Amount | None = figure("its conversions alone", unit="J", source=PRICES)
    latency_s: Amount = figure("one inference, layer after layer, one copy of each", unit="s", source=PRICES)
    area_m2: Amount | None = figure("whole units of every level that the crossbars fill", unit="m²", source=PRICES)
    crossbars: Count = figure("crossbars that are driven", unit="crossbars", source=COUNTS)
    units: dict[str, Count] = figure(
        "what the crossbars fill, whole ones, by name of the level of the target", unit="units", source=COUNTS
    )
    energy_by_action_j: dict[str, Amount | None] = figure("energy by action of the target", unit="J", source=PRICES)
    area_by_part_m2: dict[str, Amount] | None = figure("area by part of the target", unit="m²", source=PRICES)
    layers: dict[str, LayerSpend] = Field(description="by name of the layer")


class LawFigures(Figures):
    """What is saved over the uniform baseline if converters follow one law."""

    adc_ratio: Amount | None = figure(
        "ADC energy of the uniform 8-bit baseline over the plan's", unit="1", source=PRICES
    )
    total_ratio: Amount | None = figure("all energy of the baseline over the plan's", unit="1", source=PRICES)
    formula: str = Field(description="energy of a conversion at N bits; scaled to the target's own price at its bits")
    source: str = Field(description="citation key, then where it was read; keys are in hw_models/SOURCES.md")
    valid_bits: tuple[int, int] = figure(
        "lowest and highest resolution that the law's source vouches for", unit="bit", source="the law's source"
    )
    extrapolated: bool = Field(
        description="a resolution in use lies outside the range that the law's source vouches for"
    )


class LevelFigures(Figures):
    """One level of the target."""

    name: str = Field(description="of one")
    plural: str = Field(description="of several")
    count: PositiveInt | None = figure(
        "how many make one of the next level; null for the last", unit="units", source="the hardware description"
    )


class ActionFigures(Figures):
    """One action of the target."""

    name: str = Field(description="key of energies by action")
    label: str = Field(description="what reports call it")
    level: str = Field(description="name of its level")
    per: str = Field(description="what one action is")
    counter: str = Field(description="name of what tells how often it happens")
    counts: str = Field(description="what that counts")


class PartFigures(Figures):
    """One area of the target."""

    name: str = Field(description="key of areas by part")
    label: str = Field(description="what reports call it")
    level: str = Field(description="name of its level")


class CostFigures(Figures):
    """A plan's cost beside its baselines."""

    target: str = Field(description="name of the hardware description")
    target_sha256: Sha256 = Field(description="of the description as JSON; that of target.json if it is the plan's own")
    citation: str = Field(description="the publication that the description follows")
    levels: list[LevelFigures] = Field(description="of the target, that of the crossbars first", min_length=2)
    actions: list[ActionFigures] = Field(description="of the target, in the order of reports")
    areas: list[PartFigures] = Field(description="of the target, in the order of reports")
    not_modelled: list[str] = Field(
        description="what costs leave out: what the model has no counter for, components that no priced action spends "
        "the power of, and counters that no action names"
    )
    adc_law: str = Field(description="how the price of a conversion follows its resolution")
    plan: Spend
    uniform_8_bit: Spend = Field(description="the same network, every slice column at 8 bits, nothing left out")
    isaac_offset_8_bit: Spend = Field(description="the same weights in ISAAC's offset encoding, at 8 bits")
    energy_by_kind_j: dict[str, Amount] = figure(
        "the plan's known energy by what its prices rest on: paper, survey, derived or assumed",
        unit="J",
        source=PRICES,
    )
    free_adc_bound: Amount | None = figure(
        "energy of the uniform baseline over the same without ADC energy: what ADCs alone could save",
        unit="1",
        source=PRICES,
    )
    adc_not_offered: list[str] = Field(description="layers whose resolutions the hardware's converters cannot have")
    adc_laws: dict[str, LawFigures] = Field(description="by name of the law")
    conversions: dict[str, BitCounts] = figure(
        "conversions of one inference by layer and resolution, unit columns included",
        unit="conversions",
        source=COUNTS,
    )

    def check_keys(self) -> None:
        """Whether energies, areas and units are those of the target.

        Raises:
            ValueError: if they are not.
        """
        levels, actions, areas = ({each.name for each in table} for table in (self.levels, self.actions, self.areas))
        for spent in (self.plan, self.uniform_8_bit, self.isaac_offset_8_bit):
            by_action = [spent.energy_by_action_j, *(layer.energy_by_action_j for layer in spent.layers.values())]
            if any(set(energies) - actions for energies in by_action):
                raise ValueError("energies are not those of the target's actions")
            if set(spent.units) != levels or (
                spent.area_by_part_m2 is not None and set(spent.area_by_part_m2) != areas
            ):
                raise ValueError("areas or units are not those of the target")


class ObservedFigures(Figures):
    """What calibration data say of a layer."""

    samples: PositiveInt = figure("samples of the data", unit="samples", source="calibration data")
    vectors: PositiveInt = figure(
        "input vectors of the layer whose column sums were read", unit="vectors", source="calibration data"
    )
    conversions: PositiveInt = figure(
        "of every slice column, or pair: vectors times input cycles", unit="conversions", source="calibration data"
    )
    overflow_bound_95: Amount = figure(
        "of further conversions like the observed ones, at most this share loses something, with 95 % confidence",
        unit="1",
        source="rule of three: 3 / conversions",
    )


class SliceFigures(Figures):
    """One weight slice of a layer; what is converted is a slice column, or a pair that is subtracted before the ADC."""

    density: Amount = figure("cells above 0 over the weights of the model's layer", unit="1", source=PLAN)
    columns: Count = figure(
        "slice columns on crossbars, each once for every group of rows driven together", unit="columns", source=PLAN
    )
    conversions: Count = figure("what is converted in one input cycle of one vector", unit="conversions", source=PLAN)
    lossless: Count = figure("those that are proved to lose nothing", unit="conversions", source=PROOF)
    largest_sum: Count = figure("largest sum in front of an ADC that any input can cause", unit="cells", source=PROOF)
    proved_bits: BitCounts = figure(
        "conversions by the fewest bits proved to be enough; 0 is a column of zeros", unit="conversions", source=PROOF
    )
    assigned_bits: BitCounts = figure(
        "conversions by the bits assigned; 0 is never converted", unit="conversions", source=PLAN
    )
    observed_bits: BitCounts | None = figure(
        "conversions by the fewest bits that hold what calibration data showed",
        unit="conversions",
        source="calibration data",
    )
    observed_lossless_columns: Count = figure(
        "not proved, but nothing was lost on calibration data", unit="conversions", source="calibration data"
    )


class LayerFigures(Figures):
    """One crossbar layer."""

    row_tiles: Count = figure("crossbars that its rows fill", unit="crossbars", source=PLAN)
    column_tiles: Count = figure("crossbars that its columns fill", unit="crossbars", source=PLAN)
    crossbars: Count = figure("crossbars of all slices and signs", unit="crossbars", source=PLAN)
    possible_crossbars: Count = figure("if none were left out for being all zero", unit="crossbars", source=PLAN)
    unread_crossbars: Count = figure(
        "hold weights but were left out, not being worth their energy", unit="crossbars", source=PLAN
    )
    utilisation: Amount = figure(
        "cells that hold a slice of a weight, zero or not, over all cells of its crossbars", unit="1", source=PLAN
    )
    observed: ObservedFigures | None = Field(description="null where column sums were not observed")
    slices: list[SliceFigures] = Field(description="least significant first")


class ReportDocument(Figures):
    """The report of a plan."""

    schema_version: Literal[2]
    plan: PlanDocument = Field(description="plan.json, whole")
    layers: dict[str, LayerFigures] = Field(description="by name of the layer; plan.layers has their order")
    cost: CostFigures

    @model_validator(mode="after")
    def _is_of_one_plan(self) -> Self:
        slices = {layer.name: layer.slices for layer in self.plan.layers}
        if {name: len(layer.slices) for name, layer in self.layers.items()} != slices:
            raise ValueError("layers and slices are not those of the plan")
        cost, names = self.cost, set(slices)
        spends = [spend.layers for spend in (cost.plan, cost.uniform_8_bit, cost.isaac_offset_8_bit)]
        if set(cost.conversions) != names or any(set(layers) != names for layers in spends):
            raise ValueError("costs are not those of the plan's layers")
        cost.check_keys()
        return self


def report_document(
    document: PlanDocument, summaries: Sequence[LayerSummary], comparison: Comparison
) -> ReportDocument:
    """The report of a plan.

    Args:
        document: of the plan.
        summaries: of its layers.
        comparison: its cost beside the baselines.
    """
    return ReportDocument(
        schema_version=2,
        plan=document,
        layers={summary.layer.name: layer_figures(summary) for summary in summaries},
        cost=cost_figures(comparison),
    )


def cost_figures(comparison: Comparison) -> CostFigures:
    """Cost of a plan and its baselines."""
    assert BASELINE_BITS == 8  # the names of the fields say so
    return CostFigures(
        target=comparison.target.name,
        target_sha256=hashlib.sha256(target_json(comparison.target).encode()).hexdigest(),
        citation=comparison.target.citation,
        levels=[
            LevelFigures(name=level.name, plural=level.several, count=level.count) for level in comparison.target.level
        ],
        actions=[
            ActionFigures(
                name=name,
                label=label(name, action),
                level=level.name,
                per=action.per,
                counter=action.counter,
                counts=counted(action.counter),
            )
            for level in comparison.target.level
            for name, action in level.action.items()
        ],
        areas=[
            PartFigures(name=name, label=label(name, part), level=level.name)
            for level in comparison.target.level
            for name, part in level.area.items()
        ],
        not_modelled=list(not_modelled(comparison.target)),
        adc_law=comparison.law.name,
        plan=spend(comparison.plan),
        uniform_8_bit=spend(comparison.uniform),
        isaac_offset_8_bit=spend(comparison.offset),
        energy_by_kind_j=comparison.energy_by_kind(),
        free_adc_bound=comparison.free_adc_bound,
        adc_not_offered=list(comparison.not_offered),
        adc_laws={each.law.name: _law_figures(each) for each in comparison.spread},
        conversions={layer.name: _bit_counts(layer.conversions) for layer in comparison.counts},
    )


def _law_figures(found: LawRatio) -> LawFigures:
    return LawFigures(
        adc_ratio=found.adc,
        total_ratio=found.total,
        formula=found.law.formula,
        source=found.law.source,
        valid_bits=found.law.valid_bits,
        extrapolated=found.extrapolated,
    )


def spend(cost: Cost) -> Spend:
    """One cost."""
    return Spend(
        energy_j=cost.total_energy_j,
        adc_energy_j=cost.total_adc_energy_j,
        latency_s=cost.total_latency_s,
        area_m2=cost.total_area_m2,
        crossbars=cost.crossbars,
        units=dict(cost.units),
        energy_by_action_j={action: cost.action_energy_j(action) for action in cost.actions},
        area_by_part_m2=None if cost.area_m2 is None else dict(cost.area_m2),
        layers={name: _layer_spend(cost, name, actions) for name, actions in cost.energy_j.items()},
    )


def layer_figures(summary: LayerSummary) -> LayerFigures:
    """One layer."""
    seen = summary.layer.observed
    return LayerFigures(
        row_tiles=summary.layer.row_tiles,
        column_tiles=summary.column_tiles,
        crossbars=summary.crossbars,
        possible_crossbars=summary.possible_crossbars,
        unread_crossbars=summary.unread_crossbars,
        utilisation=summary.utilisation,
        observed=None
        if seen is None
        else ObservedFigures(**dict(seen), overflow_bound_95=RULE_OF_THREE / seen.conversions),
        slices=[_slice_figures(part) for part in summary.slices],
    )


def _layer_spend(cost: Cost, name: str, actions: Mapping[str, float | None]) -> LayerSpend:
    return LayerSpend(
        energy_j=cost.layer_energy_j(name),
        adc_energy_j=cost.layer_adc_energy_j(name),
        latency_s=cost.latency_s[name],
        area_m2=None if cost.layer_area_m2 is None else cost.layer_area_m2[name],
        energy_by_action_j=dict(actions),
    )


def _slice_figures(part: SliceSummary) -> SliceFigures:
    return SliceFigures(
        density=part.density,
        columns=part.columns,
        conversions=part.conversions,
        lossless=part.lossless,
        largest_sum=part.largest_sum,
        proved_bits=_bit_counts(part.proved),
        assigned_bits=_bit_counts(part.assigned),
        observed_bits=None if part.observed is None else _bit_counts(part.observed),
        observed_lossless_columns=part.covered,
    )


def _bit_counts(counts: NDArray[np.int64]) -> BitCounts:
    """A histogram whose keys are the resolutions that occur."""
    return {str(bits): int(counts[bits]) for bits in np.flatnonzero(counts)}
