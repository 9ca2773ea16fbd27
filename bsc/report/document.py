"""The report of a plan as data: every figure with its unit, what it includes and where it comes from.

`bsc.report.build` makes it of a plan and its cost. Text, CSV, pages, plans side by side and differences are views: they
take a `ReportDocument` and nothing else that has figures. Its JSON Schema is report.schema.json, and FIGURES.md is
written from the descriptions below. Unknown figures are null, never 0. Keys of JSON objects have no order, so that what
is shown in an order of its own has a list for it. A report is untrusted when it is read again: layers, slices and
resolutions must fit together, and every number be finite.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from bsc.mapping.placement import CopiesPolicy
from bsc.plan.document import PlanDocument, Sha256
from bsc.toml_record import Record

SCHEMA_VERSION: Final = 2

PLAN = "the plan's arrays"
COUNTS = "counts of hardware actions, from the plan's arrays"
PRICES = "counts times the target's prices, each with a source of its own (`bsc hw show`)"
PROOF = "column sums of the programmed cells, for any input"
CALIBRATION = "calibration data, as recorded when compiling"
TOLERANCE = "tolerance limits: about 3.0 / vectors, and 4.7 / vectors for pairs, of which both ends are observed"
HARDWARE = "the hardware description"
PLACEMENT = "copies and places of the plan, on the target's levels"
TIMING = "rows that wait for each other, copies, and the target's times"
BUFFERS = "rows that wait for each other, and the bits of input codes"
TRAFFIC = "places of all crossbars, and the tensors between layers"
WORK = "shapes of the model's digital operators"
STATIC = "power that the hardware description gives, times the interval"

BASELINES: Final = ("uniform 8 bit", "ISAAC offset 8 bit", "RAELLA 7 bit")
"""What reports call them."""

PROVED: Final = "proved"
"""What resolutions rest on that need no policy to vouch for them."""

MAX_COUNT = (1 << 63) - 1
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Bits = Annotated[str, Field(pattern=r"^([0-9]|1[0-6])$")]
BitCounts = dict[Bits, Count]
SumBits = Annotated[str, Field(pattern=r"^([12]?[0-9]|3[0-2])$")]  # which may be more than any ADC has
SumBitCounts = dict[SumBits, Count]


def figure(includes: str, *, unit: str, source: str) -> Any:
    """A figure's field.

    Args:
        includes: what it is and what it includes.
        unit: SI, or what is counted.
        source: what it is taken or computed from.
    """
    return Field(description=includes, json_schema_extra={"unit": unit, "source": source})


class FigureRecord(Record):
    """A record of figures, all of them finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class MappingTotals(FigureRecord):
    """What slices, layers and the whole plan come to.

    A conversion is of a slice column, or of a pair that is subtracted before its ADC.
    """

    weights: Count = figure("weights of the model, once for every slice of their layer", unit="weights", source=PLAN)
    nonzero_cells: Count = figure("cells above 0 that hold a slice of a weight", unit="cells", source=PLAN)
    density: Amount = figure("cells above 0 over weights", unit="1", source=PLAN)
    crossbars: Count = figure("crossbars of all signs", unit="crossbars", source=PLAN)
    crossbars_by_adc_bits: BitCounts = figure(
        "crossbars by the largest resolution of their ADC, unit columns included; 0 is never read",
        unit="crossbars",
        source=PLAN,
    )
    cells: Count = figure("cells of these crossbars", unit="cells", source=PLAN)
    cells_in_use: Count = figure("those that hold a slice of a weight, zero or not", unit="cells", source=PLAN)
    nonzero_cells_in_use: Count = figure("those of them above 0", unit="cells", source=PLAN)
    utilisation: Share = figure("cells in use over all cells; 0 without crossbars", unit="1", source=PLAN)
    nonzero_share: Share | None = figure("cells above 0 over cells in use", unit="1", source=PLAN)
    columns: Count = figure(
        "slice columns on crossbars, each once for every group of rows driven together", unit="columns", source=PLAN
    )
    conversions: Count = figure("what is converted in one input cycle of one vector", unit="conversions", source=PLAN)
    lossless: Count = figure("those that are proved to lose nothing", unit="conversions", source=PROOF)
    observed_lossless_columns: Count = figure(
        "not proved, but nothing was lost on calibration data", unit="conversions", source=CALIBRATION
    )
    proved_share: Share | None = figure("proved to lose nothing, over conversions", unit="1", source=PROOF)
    observed_lossless_share: Share | None = figure(
        "not proved, but nothing was lost on calibration data, over conversions", unit="1", source=CALIBRATION
    )
    largest_sum: Count = figure("largest sum in front of an ADC that any input can cause", unit="cells", source=PROOF)
    proved_bits: SumBitCounts = figure(
        "conversions by the fewest bits proved to be enough; 0 is a column of zeros", unit="conversions", source=PROOF
    )
    assigned_bits: BitCounts = figure(
        "conversions by the bits assigned; 0 is never converted", unit="conversions", source=PLAN
    )
    observed_bits: SumBitCounts | None = figure(
        "conversions by the fewest bits that hold what calibration data showed, of layers where that was looked at",
        unit="conversions",
        source=CALIBRATION,
    )
    mean_proved_bits: Amount | None = figure("mean of proved_bits, 0 included", unit="bit", source=PROOF)
    mean_adc_bits: Amount | None = figure(
        "mean of assigned_bits, 0 included for those that are never converted", unit="bit", source=PLAN
    )
    mean_observed_bits: Amount | None = figure("mean of observed_bits, 0 included", unit="bit", source=CALIBRATION)
    largest_adc_bits: Count = figure("largest of assigned_bits; 0 where nothing is converted", unit="bit", source=PLAN)


class SliceTotals(MappingTotals):
    """One weight slice, of a layer or of all layers together."""


class SlicedTotals(MappingTotals):
    """All slices of a layer, or of the plan."""

    possible_crossbars: Count = figure("if none were left out for being all zero", unit="crossbars", source=PLAN)
    unread_crossbars: Count = figure(
        "hold weights but were left out, not being worth their energy", unit="crossbars", source=PLAN
    )
    rests_on: dict[str, Share] = figure(
        "share of conversions proved to lose nothing, and of the others by the policy that chose their bits; none is "
        "left out",
        unit="1",
        source=PROOF,
    )
    slices: list[SliceTotals] = Field(description="least significant first")


class Observation(FigureRecord):
    """What calibration data say of a layer."""

    samples: PositiveInt = figure("samples of the data", unit="samples", source=CALIBRATION)
    vectors: PositiveInt = figure(
        "input vectors of the layer whose column sums were read", unit="vectors", source=CALIBRATION
    )
    conversions: PositiveInt = figure(
        "of every slice column, or pair: vectors times input cycles", unit="conversions", source=CALIBRATION
    )
    overflow_bound_95: Amount = figure(
        "of further input vectors like the observed ones, at most this share makes a given column lose something, with "
        "95 % confidence, if vectors are independent; those of one sample are not quite",
        unit="1",
        source=TOLERANCE,
    )


class LayerTotals(SlicedTotals):
    """One crossbar layer."""

    row_tiles: Count = figure("crossbars that its rows fill", unit="crossbars", source=PLAN)
    column_tiles: Count = figure("crossbars that its columns fill", unit="crossbars", source=PLAN)
    observed: Observation | None = Field(description="null where column sums were not observed")


class ObservationTotals(FigureRecord):
    """What calibration data say of all layers whose column sums were observed."""

    lossless_conversions: Count = figure(
        "conversions of the data in columns that are not proved but lost nothing, of all these columns together",
        unit="conversions",
        source=CALIBRATION,
    )
    fewest_conversions: Count | None = figure(
        "of such a column, the fewest; null where there is none", unit="conversions", source=CALIBRATION
    )
    overflow_bound_95: Amount | None = figure(
        "of further input vectors like them, at most this share makes a given one of these columns lose something, "
        "with 95 % confidence: the largest of the layers",
        unit="1",
        source=TOLERANCE,
    )
    losing: Count = figure("that lost something on calibration data", unit="conversions", source=CALIBRATION)


class PlanTotals(SlicedTotals):
    """The whole plan."""

    observed: ObservationTotals | None = Field(description="null where no column sums were observed")


class LayerSpend(FigureRecord):
    """One layer of a plan, or of a baseline."""

    conversions: Count = figure("of one inference, unit columns included", unit="conversions", source=COUNTS)
    adc_energy_j: Amount | None = figure("its conversions alone", unit="J", source=PRICES)
    energy_j: Amount | None = figure("all actions of the layer", unit="J", source=PRICES)
    latency_s: Amount = figure("its input vectors one after another, converters included", unit="s", source=PRICES)
    area_m2: Amount | None = figure(
        "areas on the level of its crossbars; those of larger levels are divided by numbers of crossbars",
        unit="m²",
        source=PRICES,
    )
    energy_by_action_j: dict[str, Amount | None] = figure("energy by action of the target", unit="J", source=PRICES)


class Spend(FigureRecord):
    """What one inference costs on a plan, or on a baseline."""

    conversions: Count = figure("of one inference, unit columns included", unit="conversions", source=COUNTS)
    adc_energy_j: Amount | None = figure("conversions alone", unit="J", source=PRICES)
    energy_j: Amount | None = figure(
        "one inference, all actions below: crossbars and their tiles; `chip` has what they do together",
        unit="J",
        source=PRICES,
    )
    latency_s: Amount = figure("one inference, layer after layer, one copy of each", unit="s", source=PRICES)
    area_m2: Amount | None = figure("whole units of every level that the crossbars fill", unit="m²", source=PRICES)
    crossbars: Count = figure("crossbars that are driven", unit="crossbars", source=COUNTS)
    units: dict[str, Count] = figure(
        "what the crossbars fill, whole ones, by name of the level of the target", unit="units", source=COUNTS
    )
    energy_by_action_j: dict[str, Amount | None] = figure("energy by action of the target", unit="J", source=PRICES)
    area_by_part_m2: dict[str, Amount] | None = figure("area by part of the target", unit="m²", source=PRICES)
    layers: dict[str, LayerSpend] = Field(description="by name of the layer")


class LawSaving(FigureRecord):
    """What a plan costs, and saves over the uniform baseline, if converters follow one law."""

    adc_energy_j: Amount | None = figure("conversions of one inference", unit="J", source=PRICES)
    energy_j: Amount | None = figure("one inference, all actions", unit="J", source=PRICES)
    adc_ratio: Amount | None = figure(
        "ADC energy of the uniform 8-bit baseline over the plan's", unit="1", source=PRICES
    )
    total_ratio: Amount | None = figure(
        "energy of the baseline's crossbar layers over that of the plan's", unit="1", source=PRICES
    )
    full_ratio: Amount | None = figure(
        "all energy of the baseline on chips over the plan's, traffic, digital work and static power included",
        unit="1",
        source=PRICES,
    )
    formula: str = Field(description="energy of a conversion at N bits; scaled to the target's own price at its bits")
    source: str = Field(description="citation key, then where it was read; keys are in hw_models/SOURCES.md")
    valid_bits: tuple[int, int] = figure(
        "lowest and highest resolution that the law's source vouches for", unit="bit", source="the law's source"
    )
    extrapolated: bool = Field(
        description="a resolution in use lies outside the range that the law's source vouches for"
    )


class TargetLevel(FigureRecord):
    """One level of the target."""

    name: str = Field(description="of one")
    plural: str = Field(description="of several")
    count: PositiveInt | None = figure(
        "how many make one of the next level; null for the last", unit="units", source=HARDWARE
    )


class TargetAction(FigureRecord):
    """One action of the target."""

    name: str = Field(description="key of energies by action")
    label: str = Field(description="what reports call it")
    level: str = Field(description="name of its level")
    per: str = Field(description="what one action is")
    counter: str = Field(description="name of what tells how often it happens")
    counts: str = Field(description="what that counts")
    converts: bool = Field(description="it is a conversion of an ADC")


class TargetArea(FigureRecord):
    """One area of the target."""

    name: str = Field(description="key of areas by part")
    label: str = Field(description="what reports call it")
    level: str = Field(description="name of its level")


OHM = "the plan's cells and the device's conductances, voltage and pulse, by Ohm's law"
WRITING = "cells of the plan times what the device says of a pulse"


class CellReads(FigureRecord):
    """Reads of crossbars for one inference, by Ohm's law on a device."""

    energy_j: Amount = figure("the plan's cells, bitlines that are not in use at level 0", unit="J", source=OHM)
    uniform_8_bit_j: Amount = figure("the uniform 8-bit baseline's, driven with the same digits", unit="J", source=OHM)
    isaac_offset_8_bit_j: Amount = figure("those of ISAAC's offset encoding, likewise", unit="J", source=OHM)
    average_j: Amount | None = figure(
        "what the target's published average says of the plan, whose total has it", unit="J", source=PRICES
    )
    rest_j: Amount | None = figure("all else of the plan's energy", unit="J", source=PRICES)
    pulse_s: Amount = figure("how long a cell conducts in a read", unit="s", source="the device, or the target's read")
    mean_cell_j: Amount = figure("a cell at mean conductance, driven every other time", unit="J", source=OHM)
    cell_price_j: Amount | None = figure("the target's price of a cell and read", unit="J", source=HARDWARE)
    over_price: Amount | None = figure("the former over the latter", unit="1", source=OHM)
    contradicts: bool = Field(description="these differ by more than 10 times: the price is of other cells")
    layers: dict[str, Amount] = figure("the plan's energy by layer", unit="J", source=OHM)


class CellWrites(FigureRecord):
    """Programming the plan once, all copies of its layers."""

    cells: Count = figure("that hold a slice of a weight, zero or not", unit="cells", source=PLAN)
    pulses: Amount = figure("that set or reset them", unit="pulses", source=WRITING)
    energy_j: Amount = figure("of pulses, and of the reads that verify them", unit="J", source=WRITING)
    time_s: Amount | None = figure(
        "crossbars one after another; null where the device does not say", unit="s", source=WRITING
    )
    parallel_s: Amount | None = figure("all crossbars at the same time; null likewise", unit="s", source=WRITING)
    inferences: Amount | None = figure(
        "that take as much energy as writing once; writing is 1 % of 100 times as many",
        unit="inferences",
        source=WRITING,
    )
    updates: Amount | None = figure(
        "that a cell endures; null where the device does not say", unit="updates", source=WRITING
    )
    updates_per_day: Amount = figure("as asked for", unit="1/d", source="--updates-per-day")
    lifetime_s: Amount | None = figure("until cells wear out at that rate", unit="s", source=WRITING)


class CellCosts(FigureRecord):
    """What a device says of the plan's cells, beside the averages of the target."""

    device: str = Field(description="name of the device")
    citation: str = Field(description="the publication that it follows")
    samples: Count | None = figure(
        "of the data whose digits were driven; null where every row is driven with the highest digit, which no input "
        "exceeds",
        unit="samples",
        source="--data",
    )
    reads: CellReads | None = Field(description="null where the device does not say how cells are read")
    writes: CellWrites | None = Field(description="null where the device does not say how cells are written")


class PlanCost(FigureRecord):
    """A plan's cost beside its baselines."""

    target: str = Field(description="name of the hardware description")
    target_sha256: Sha256 = Field(description="of the description as JSON; that of target.json if it is the plan's own")
    citation: str = Field(description="the publication that the description follows")
    node_m: Amount = figure(
        "of the target's prices, which hold for it alone: they are scaled to no other", unit="m", source=HARDWARE
    )
    cell_bits: Count = figure("bits of the cells that the target has prices for", unit="bit", source=HARDWARE)
    adc_bits: Count = figure("resolution that prices of converters are for", unit="bit", source=HARDWARE)
    adc_flexibility: str = Field(
        description="what can have a resolution of its own: each column, tile or slice; fixed for nothing"
    )
    levels: list[TargetLevel] = Field(description="of the target, that of the crossbars first", min_length=2)
    actions: list[TargetAction] = Field(description="of crossbars and their tiles, in the order of reports")
    areas: list[TargetArea] = Field(description="of the target, in the order of reports")
    not_modelled: list[str] = Field(
        description="what costs leave out: what the model has no counter for, components that no priced action spends "
        "the power of, and counters that no action names"
    )
    adc_law: str = Field(description="how the price of a conversion follows its resolution")
    plan: Spend
    uniform_8_bit: Spend = Field(description="the same network, every slice column at 8 bits, nothing left out")
    isaac_offset_8_bit: Spend = Field(description="the same weights in ISAAC's offset encoding, at 8 bits")
    raella_7_bit: Spend = Field(
        description="the same weights in pairs around centres, subtracted before a conversion at 7 bits, which may clip"
    )
    free_adc_bound: Amount | None = figure(
        "energy of the uniform baseline over the same without ADC energy: what ADCs alone could save",
        unit="1",
        source=PRICES,
    )
    adc_not_offered: list[str] = Field(description="layers whose resolutions the hardware's converters cannot have")
    adc_law_names: list[str] = Field(description="of adc_laws, in the order of reports")
    adc_laws: dict[str, LawSaving] = Field(description="by name of the law")
    conversions: dict[str, BitCounts] = figure(
        "conversions of one inference by layer and resolution, unit columns included",
        unit="conversions",
        source=COUNTS,
    )
    cells: CellCosts | None = Field(default=None, description="on the device that was asked for; null without one")

    @property
    def baselines(self) -> tuple[Spend, ...]:
        """Every baseline, in the order of `BASELINES`."""
        return self.uniform_8_bit, self.isaac_offset_8_bit, self.raella_7_bit

    @model_validator(mode="after")
    def _has_its_laws(self) -> Self:
        if sorted(self.adc_law_names) != sorted(self.adc_laws) or self.adc_law not in self.adc_laws:
            raise ValueError("ADC laws and their names do not fit together")
        return self

    @model_validator(mode="after")
    def _is_of_its_target(self) -> Self:
        levels, actions, areas = ({each.name for each in table} for table in (self.levels, self.actions, self.areas))
        for spent in (self.plan, *self.baselines):
            by_action = [spent.energy_by_action_j, *(layer.energy_by_action_j for layer in spent.layers.values())]
            if any(set(energies) - actions for energies in by_action):
                raise ValueError("energies are not those of the target's actions")
            parts = areas if spent.area_by_part_m2 is None else set(spent.area_by_part_m2)
            if set(spent.units) != levels or parts != areas:
                raise ValueError("areas or units are not those of the target")
        return self


class InferenceEnergy(FigureRecord):
    """Where the energy of one inference of many goes."""

    total_j: Amount | None = figure(
        "all of it: crossbars and their tiles, traffic, digital work, static power, writing of segments",
        unit="J",
        source=PRICES,
    )
    layers_j: Amount | None = figure(
        "crossbars and their tiles, as in the costs of one inference", unit="J", source=PRICES
    )
    traffic_j: Amount | None = figure(
        "what is carried between IMAs, tiles and chips; null too where the target has no action for it",
        unit="J",
        source=PRICES,
    )
    work_j: Amount | None = figure(
        "digital operators, scales of results and dynamic steps; null too where the target has no action for it",
        unit="J",
        source=PRICES,
    )
    active_j: Amount | None = figure(
        "the total without static power: the three together, but for what the target has no action for",
        unit="J",
        source=PRICES,
    )
    static_j: Amount | None = figure(
        "power that is published to be drawn all the time, by chips and tiles in use; null where none is",
        unit="J",
        source=STATIC,
    )
    static_w: Amount | None = figure("that power", unit="W", source=HARDWARE)
    writing_j: Amount | None = figure(
        "an inference's share of writing segments for a batch; null where nothing is reloaded", unit="J", source=WRITING
    )
    at_rest_1_percent_j: Amount | None = figure(
        "the total, if 1 % of the power without a published static part went on while nothing is done",
        unit="J",
        source=STATIC,
    )
    at_rest_5_percent_j: Amount | None = figure("the same for 5 %", unit="J", source=STATIC)
    idle_share: Amount = figure(
        "share of time in which places for crossbars in the tiles in use do nothing, mean over all",
        unit="1",
        source=TIMING,
    )
    by_action_j: dict[str, Amount | None] = figure("traffic and digital work, by action", unit="J", source=PRICES)
    counters: dict[str, Count | None] = figure(
        "traffic in bits and digital work in operations, by counter; null where shapes do not tell",
        unit="actions",
        source=TRAFFIC,
    )


class SegmentFigures(FigureRecord):
    """One segment of a model that is loaded in several."""

    first_layer: str = Field(description="name")
    last_layer: str = Field(description="name")
    layers: PositiveInt = figure("from the first to the last one", unit="layers", source=PLACEMENT)
    crossbars: Count = figure("that are written, of all copies", unit="crossbars", source=PLACEMENT)
    write_s: Amount = figure(
        "writing: all crossbars at once, each cell after cell, and no sooner than links bring weights",
        unit="s",
        source=WRITING,
    )
    write_j: Amount = figure("of all cells of these crossbars", unit="J", source=WRITING)
    latency_s: Amount = figure("of one inference through it, once it is written", unit="s", source=TIMING)
    interval_s: Amount = figure("between two inferences of a batch", unit="s", source=TIMING)
    batch_s: Amount = figure("writing and a batch", unit="s", source=TIMING)
    port_bits: Count = figure(
        "of one inference that come in from outside of the chips and go out", unit="bit", source=TRAFFIC
    )


class ReloadFigures(FigureRecord):
    """A model whose layers are loaded in segments, one after another."""

    batch: PositiveInt = figure("between two writings", unit="inferences", source=PLACEMENT)
    device: str | None = Field(description="of the cells, as recorded; null where nobody said")
    segments: list[SegmentFigures] = Field(description="in the order they are loaded; none where the model is there")
    cycle_s: Amount = figure("of a batch through all segments, writing included", unit="s", source=TIMING)
    writing_share: Amount = figure("of that is writing", unit="1", source=TIMING)
    writing_j: Amount = figure("of writing all segments once", unit="J", source=WRITING)
    waiting_bits: Count = figure(
        "of a batch that wait between two segments outside of the chips, at most", unit="bit", source=TRAFFIC
    )
    updates: Amount | None = figure("that a cell endures, as recorded; null is unknown", unit="updates", source=WRITING)
    lifetime_s: Amount | None = figure(
        "until the most written cells wear out, without a pause; null is unknown", unit="s", source=WRITING
    )


class ChipFigures(FigureRecord):
    """A model on chips: how much of them it takes, and what it does over time."""

    copies_policy: CopiesPolicy = Field(description="who chose how many copies of each layer there are")
    chips: Count = figure("chips with a crossbar in use", unit="chips", source=PLACEMENT)
    tiles: Count = figure("units of the level below the chip with one", unit="tiles", source=PLACEMENT)
    slots_at_hand: Count = figure("places that copies were chosen for", unit="crossbars", source=PLACEMENT)
    power_budget_w: Amount | None = figure(
        "power that no copies were to exceed, as recorded; null for any", unit="W", source=PLACEMENT
    )
    slots_taken: Count = figure("places up to the last one in use", unit="crossbars", source=PLACEMENT)
    crossbars: Count = figure("crossbars of all copies", unit="crossbars", source=PLACEMENT)
    area_m2: Amount | None = figure(
        "whole units of every level that all copies fill, the last level left out", unit="m²", source=PRICES
    )
    latency_s: Amount = figure(
        "one inference on an empty chip, layers following each other row by row; of a reloaded model, a batch",
        unit="s",
        source=TIMING,
    )
    interval_s: Amount = figure(
        "between inferences that follow each other without end: of the busiest layer, or of the busiest link; of a "
        "reloaded model, on average over a batch",
        unit="s",
        source=TIMING,
    )
    links_s: dict[str, Amount] = figure(
        "the busiest of each kind carries its bits of one inference in: links of a chip, the mesh between tiles, buses "
        "and buffers of tiles; only those that the target gives a rate of",
        unit="s",
        source=TRAFFIC,
    )
    stall_s: Amount = figure("by how much the busiest link makes the interval longer", unit="s", source=TRAFFIC)
    busiest_link: str | None = Field(description="the kind of link that sets the interval; null where a layer does")
    bottleneck: str | None = Field(description="the busiest layer; null where none takes time")
    batch_s: Amount = figure("sixteen inferences: the latency of one and 15 intervals", unit="s", source=TIMING)
    inferences_per_s: Amount | None = figure("one over the interval", unit="1/s", source=TIMING)
    inferences_per_s_bound: Amount | None = figure(
        "that no copies on the places at hand exceed, and no links", unit="1/s", source=TIMING
    )
    busy_share: Amount | None = figure(
        "share of the interval in which a crossbar works, mean over all", unit="1", source=TIMING
    )
    power_w: Amount | None = figure("all energy of an inference over the interval", unit="W", source=TIMING)
    ops_per_s: Amount | None = figure(
        "two for each multiply-accumulate of layers that have crossbars", unit="1/s", source=TIMING
    )
    ops_per_j: Amount | None = figure("the same for a joule: operations a second for a watt", unit="1/J", source=PRICES)
    ops_per_s_m2: Amount | None = figure("operations a second over the area", unit="1/(s m²)", source=TIMING)
    energy_delay_js: Amount | None = figure("all energy of an inference times its latency", unit="J s", source=TIMING)
    energy: InferenceEnergy
    reload: ReloadFigures | None = Field(description="null unless layers may be loaded in segments")


class LayerOnChip(FigureRecord):
    """Where the copies of a layer lie, when they work, and what they hold."""

    copies: PositiveInt = figure("that share its input vectors", unit="copies", source=PLACEMENT)
    crossbars_per_copy: Count = figure("of one copy", unit="crossbars", source=PLACEMENT)
    crossbars: Count = figure("of all copies", unit="crossbars", source=PLACEMENT)
    segment: Count = figure("that it is loaded with, counted from 0", unit="segments", source=PLACEMENT)
    first_slot: Count = figure("place of the first crossbar", unit="places", source=PLACEMENT)
    first_place: list[Count] = figure(
        "the same by level: chip, tile and so on, each counted from 0", unit="places", source=PLACEMENT
    )
    start_s: Amount = figure("of its first vector, on an empty chip", unit="s", source=TIMING)
    end_s: Amount = figure("of its last one", unit="s", source=TIMING)
    critical_s: Amount = figure("what it adds to the latency", unit="s", source=TIMING)
    busy_s: Amount = figure("work of each copy for one inference, on average", unit="s", source=TIMING)
    line_bits: Count = figure("of its input that one row of its output needs at once", unit="bit", source=BUFFERS)
    skip_bits: Count = figure("of earlier results that wait for it beside its input", unit="bit", source=BUFFERS)
    kept_bits: Count = figure(
        "of its result that wait for a product of two activations, or for an output of the model",
        unit="bit",
        source=BUFFERS,
    )
    held_bits: Count = figure("all together", unit="bit", source=BUFFERS)
    buffer_bits: Count | None = figure(
        "capacity of the buffers of its tiles; null where the target gives none", unit="bit", source=HARDWARE
    )

    @property
    def overflows(self) -> bool:
        """Whether it must hold more than its tiles can; a layer without crossbars lies on none."""
        return self.crossbars > 0 and self.buffer_bits is not None and self.held_bits > self.buffer_bits


class OperatorTotals(FigureRecord):
    """What the digital operators of one type compute in one inference."""

    op_type: str = Field(description="of ONNX")
    times: Count = figure("operators of the type", unit="operators", source=WORK)
    reason: str = Field(description="why there is nothing to count, or why it cannot be counted; else empty")
    products: Count | None = figure("of two values that are computed", unit="actions", source=WORK)
    additions: Count | None = figure("subtractions and shifts included", unit="actions", source=WORK)
    comparisons: Count | None = figure("maxima and logic included", unit="actions", source=WORK)
    interpolations: Count | None = figure(
        "functions of one value, products with constants included", unit="actions", source=WORK
    )


class ChipReport(FigureRecord):
    """A placed plan beside its baselines, which were placed by the same policy on as many crossbars.

    A baseline that does not fit there has as many chips as it needs.
    """

    plan: ChipFigures
    filled: ChipFigures = Field(description="the plan with the copies that make the interval shortest on that place")
    uniform_8_bit: ChipFigures
    isaac_offset_8_bit: ChipFigures
    raella_7_bit: ChipFigures
    layers: dict[str, LayerOnChip] = Field(description="of the plan, by name of the layer")
    actions: list[TargetAction] = Field(description="traffic and digital work, in the order of reports")
    operators: list[OperatorTotals] = Field(description="digital operators by type, and what is around the crossbars")
    energy_by_kind_j: dict[str, Amount] = figure(
        "the plan's known energy without static power, by what its prices rest on: paper, survey, derived or assumed",
        unit="J",
        source=PRICES,
    )
    energy_share_by_kind: dict[str, Amount] = figure(
        "the same over their sum; empty where that is 0", unit="1", source=PRICES
    )
    static_w_by_kind: dict[str, Amount] = figure(
        "the plan's static power by what that rests on", unit="W", source=HARDWARE
    )

    @property
    def columns(self) -> tuple[ChipFigures, ...]:
        """The plan, and its baselines."""
        return self.plan, *self.baselines

    @property
    def baselines(self) -> tuple[ChipFigures, ...]:
        """In the order of reports, that of their costs."""
        return self.uniform_8_bit, self.isaac_offset_8_bit, self.raella_7_bit


class ReportDocument(FigureRecord):
    """The report of a plan.

    Each field is a section.
    """

    schema_version: Literal[2] = Field(description="2; a report of another one is not read")
    plan: PlanDocument = Field(description="plan.json, whole")
    totals: PlanTotals = Field(description="all layers together")
    layers: dict[str, LayerTotals] = Field(description="by name of the layer; plan.layers has their order")
    cost: PlanCost
    chip: ChipReport

    @model_validator(mode="after")
    def _is_of_one_plan(self) -> Self:
        slices = {layer.name: layer.slices for layer in self.plan.layers}
        if {name: len(layer.slices) for name, layer in self.layers.items()} != slices:
            raise ValueError("layers and slices are not those of the plan")
        if len(self.totals.slices) != max(slices.values(), default=0):
            raise ValueError("slices of all layers together are not those of the plan")
        cost, names = self.cost, set(slices)
        spends = [spend.layers for spend in (cost.plan, *cost.baselines)]
        if set(cost.conversions) != names or any(set(layers) != names for layers in spends):
            raise ValueError("costs are not those of the plan's layers")
        if set(self.chip.layers) != names:
            raise ValueError("places are not those of the plan's layers")
        return self
