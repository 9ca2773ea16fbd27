"""What a chip does with a placed model: inferences a second, latency, power, and all that is told of them.

Energy is that of all its crossbars as `bsc.cost` charges it, of traffic, digital work and power that never stops. Power
is that energy over the interval. What is loaded in segments has an interval on average over a batch, and the latency of
the whole batch.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from bsc.chip.buffers import LayerBuffer, layer_buffers
from bsc.chip.copies import interval_bound, single
from bsc.chip.dataflow import Dataflow, dataflow_of
from bsc.chip.demand import chip_demand, floor_of
from bsc.chip.energy import ChipEnergy, chip_energy, static_w_by_kind
from bsc.chip.fit import slots_needed
from bsc.chip.outline import Outline
from bsc.chip.segments import Load, load_as_placed, place_model, slots_to_load
from bsc.chip.timing import Timing, UseTime, critical_path, time_of
from bsc.chip.traffic import MAX_CROSSBARS, Traffic, traffic_of
from bsc.chip.work import NOTHING, Work, layer_work
from bsc.cost.compare import Comparison
from bsc.cost.counters import TRAFFIC, WORK, chip_actions
from bsc.cost.counts import LayerCounts, baseline_format, raella_format
from bsc.cost.layouts import CopyLayout, dense_layout
from bsc.cost.price import area_with_copies
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target, Topology
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.mapping.placement import ChipDemand, Placed, PowerDemand, Reloading, Rules, crossbars_of, lay_down
from bsc.numeric.encoding import CellFormat, Encoding
from bsc.units import ratio

Link = Literal["chip links", "mesh", "buses", "buffers"]
"""Kinds of what carries bits."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Prices:
    """What a model on chips is priced by.

    Attributes:
        target: the hardware.
        law: how conversion energy follows resolution.
        area_law: how ADC area does, or None.
    """

    target: Target
    law: AdcLaw
    area_law: AdcLaw | None


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentTime:
    """A segment of a reloaded model, and what a batch takes on it.

    Attributes:
        load: what is written, and when its layers work.
        traffic: of one inference within it, what comes in and goes out included; None is unknown.
        links_s: time in which the busiest link of each kind carries that.
        batch: inferences before the next segment is written.
        write_s: of writing it.
        write_j: likewise.
    """

    load: Load
    traffic: Traffic | None
    links_s: Mapping[Link, float]
    batch: int
    write_s: float
    write_j: float

    @property
    def interval_s(self) -> float:
        """Between two inferences of the batch."""
        return max(self.load.timing.interval_s, *self.links_s.values(), 0.0)

    def span_s(self, inferences: int) -> float:
        """Time of writing it and of so many inferences."""
        return self.write_s + self.load.timing.latency_s + (inferences - 1) * self.interval_s

    @property
    def batch_s(self) -> float:
        """Time from the first cell that is written to the end of the batch."""
        return self.span_s(self.batch)


@dataclass(frozen=True, eq=False, kw_only=True)
class Performance:
    """A model on chips.

    Attributes:
        rules: by which the copies were chosen.
        placed: copies and places, by layer.
        demand: what was placed.
        timing: of an inference, and of many.
        macs: multiply-accumulates on crossbars in one inference, those of layers without any left out.
        traffic: of one inference; None is unknown.
        work: of digital operators in one inference, by name of the counter; None is unknown.
        target: the hardware.
        area_m2: of what all copies fill on every level but the last; None where the target gives none.
        segments: that are loaded one after another; none for a model that is there as a whole.
    """

    rules: Rules
    placed: Mapping[str, Placed]
    demand: ChipDemand
    timing: Timing
    macs: int
    traffic: Traffic | None
    work: Mapping[str, int | None]
    target: Target
    area_m2: float | None
    segments: tuple[SegmentTime, ...] = ()

    @property
    def copies(self) -> Mapping[str, int]:
        """Copies by layer."""
        return {name: placed.copies for name, placed in self.placed.items()}

    @property
    def slots_taken(self) -> int:
        """Places up to the last one that is taken."""
        return max((placed.end_slot for placed in self.placed.values()), default=0)

    @property
    def crossbars(self) -> int:
        """Crossbars of all copies, in all segments."""
        return crossbars_in(self.placed.values())

    @property
    def places_taken(self) -> int:
        """Places that have a crossbar, those of the largest segment."""
        return max((each.load.crossbars for each in self.segments), default=self.crossbars)

    @property
    def chips(self) -> int:
        """Chips that have a crossbar."""
        return self.demand.chips(self.slots_taken)

    @property
    def tiles(self) -> int:
        """Tiles that have a crossbar."""
        return -(-self.slots_taken // self.demand.floor.slots_per_tile)

    @cached_property
    def links_s(self) -> Mapping[Link, float]:
        """Time in which the busiest of each kind carries its bits of one inference; those without a limit left out.

        Where traffic is unknown, the links of chips carry inputs and outputs at least. Segments add up.
        """
        if not self.segments:
            return link_times(self.traffic, self.demand, self.chips, self.target)
        kinds = dict.fromkeys(kind for each in self.segments for kind in each.links_s)
        return {kind: math.fsum(each.links_s.get(kind, 0.0) for each in self.segments) for kind in kinds}

    @property
    def busiest_link(self) -> Link | None:
        """The kind of link that sets the interval; None where a layer does, or writing has a part in it."""
        if self.segments:
            return None
        link = max(self.links_s, key=self.links_s.__getitem__, default=None)
        return link if link is not None and self.links_s[link] > self.timing.interval_s else None

    @property
    def interval_s(self) -> float:
        """Between inferences: of the busiest layer, or of the busiest link if that is longer.

        Of a reloaded model, the time of a batch over its inferences.
        """
        if self.segments:
            return self.cycle_s / self.segments[0].batch
        return max(self.timing.interval_s, *self.links_s.values(), 0.0)

    @property
    def stall_s(self) -> float:
        """By how much links make the interval longer than layers alone."""
        if self.segments:
            return math.fsum(each.interval_s - each.load.timing.interval_s for each in self.segments)
        return self.interval_s - self.timing.interval_s

    @property
    def cycle_s(self) -> float:
        """Time in which each segment is written once and computes a batch."""
        return math.fsum(each.batch_s for each in self.segments)

    @property
    def latency_s(self) -> float:
        """Of one inference: on an empty chip, or from the start of its batch to the end of that."""
        return self.cycle_s if self.segments else self.timing.latency_s

    @property
    def writing_j(self) -> float | None:
        """An inference's share of writing segments; None where nothing is reloaded."""
        if not self.segments:
            return None
        return math.fsum(each.write_j for each in self.segments) / self.segments[0].batch

    @property
    def writing_share(self) -> float:
        """Share of time in which segments are written."""
        return math.fsum(each.write_s for each in self.segments) / self.cycle_s if self.cycle_s else 0.0

    @property
    def lifetime_s(self) -> float | None:
        """Time until the most written cells wear out; None is unknown, or not at all.

        A place is written once for each segment that has a crossbar there, and the first one for each.
        """
        if self.rules.reload is None or self.rules.reload.updates is None or not self.segments:
            return None
        return self.rules.reload.updates * self.cycle_s / len(self.segments)

    @property
    def counters(self) -> Mapping[str, int | None]:
        """Of the whole model, every one of `CHIP_COUNTERS`; None is unknown."""
        carried = dict.fromkeys(TRAFFIC) if self.traffic is None else self.traffic.counters
        return {**carried, **self.work}

    @property
    def idle_share(self) -> float:
        """Share of time in which places for crossbars in the tiles in use do nothing, on average."""
        places = self.tiles * self.demand.floor.slots_per_tile
        return max(1.0 - (self.busy_share or 0.0) * self.places_taken / places, 0.0) if places else 1.0

    @cached_property
    def energy(self) -> ChipEnergy:
        """Of one inference, by what takes it."""
        return chip_energy(
            self.target,
            layers_j=self.demand.energy_j,
            counters=self.counters,
            interval_s=self.interval_s,
            tiles=self.tiles,
            chips=self.chips,
            idle_share=self.idle_share,
            writing_j=self.writing_j,
        )

    @property
    def energy_j(self) -> float | None:
        """Of one inference; None is unknown."""
        return self.energy.total_j

    def batch_s(self, inferences: int) -> float:
        """Time of some inferences in a row on an empty chip, the first segment of a reloaded model still to be written.

        It may be a little more where copies are uneven: an event simulation of eleven networks was at most 8 % later.
        """
        if self.segments:
            whole, rest = divmod(inferences, self.segments[0].batch)
            return whole * self.cycle_s + (math.fsum(each.span_s(rest) for each in self.segments) if rest else 0.0)
        return self.timing.latency_s + (inferences - 1) * self.interval_s

    @property
    def inferences_per_s(self) -> float | None:
        """Of many inferences that follow each other; None where no layer takes time."""
        return ratio(1.0, self.interval_s)

    @property
    def power_w(self) -> float | None:
        """Average power."""
        return None if self.energy_j is None else ratio(self.energy_j, self.interval_s)

    @property
    def ops_per_s(self) -> float | None:
        """Operations on crossbars a second, two for each multiply-accumulate; None where there are none."""
        return ratio(2.0 * self.macs or None, self.interval_s)

    @property
    def ops_per_j(self) -> float | None:
        """Operations on crossbars for a joule, which is operations a second for a watt."""
        return None if self.energy_j is None else ratio(2.0 * self.macs or None, self.energy_j)

    @property
    def ops_per_s_m2(self) -> float | None:
        """Operations a second on an area."""
        return None if self.area_m2 is None or self.ops_per_s is None else ratio(self.ops_per_s, self.area_m2)

    @property
    def energy_delay_js(self) -> float | None:
        """Energy of an inference times its latency."""
        return None if self.energy_j is None else self.energy_j * self.latency_s

    @property
    def busy_share(self) -> float | None:
        """Share of the interval in which a crossbar works for its busiest layer, on average over all places taken."""
        return ratio(self.working_s, self.interval_s * self.places_taken)

    @property
    def working_s(self) -> float:
        """Work of all crossbars for one inference, added up."""
        groups = [group for each in self.segments for group in each.load.demand.groups] or self.demand.groups
        return math.fsum(
            max(self.timing.busy_s[layer.name] for layer in group)
            * self.placed[group[0].name].copies
            * crossbars_of(group)
            for group in groups
        )

    @property
    def interval_bound_s(self) -> float:
        """An interval that no placement by the same rules undercuts: of crossbars, of links, and of power.

        Where one copy of each layer exceeds the power, that is one. Of a reloaded model, as if writing took no time.
        """
        slots = self.rules.slots
        if self.segments:
            return self.working_s / slots
        of_links = self.demand.io_s(self.demand.chips(slots))
        of_power = self.demand.shortest_s(self.rules.power_w, slots_needed(self.demand))
        return max(interval_bound(self.demand, slots), of_links, min(of_power, self.interval_s))


@dataclass(frozen=True, eq=False, kw_only=True)
class ChipComparison:
    """A placed plan beside its baselines, which were placed by the same rules on the same crossbars.

    Attributes:
        plan: as it was placed.
        filled: the plan with the copies that make the shortest interval on the same crossbars.
        uniform: the same network with every column at 8 bits.
        offset: in the offset encoding of [isaac16], at 8 bits.
        raella: in pairs around centres at 7 bits [raella23].
        dataflow: of the plan, and of the baselines as well.
        buffers: what each layer holds.
    """

    plan: Performance
    filled: Performance
    uniform: Performance
    offset: Performance
    raella: Performance
    dataflow: Dataflow
    buffers: Mapping[str, LayerBuffer]

    @property
    def critical_s(self) -> dict[str, float]:
        """Seconds that each layer adds to the latency of an inference, or of the first one of a batch."""
        spent: dict[str, float] = {}
        for each in (segment.load for segment in self.plan.segments):
            spent |= critical_path(each.dataflow, each.timing, each.demand.layers, each.copies)
        if self.plan.segments:
            return spent
        return critical_path(self.dataflow, self.plan.timing, self.plan.demand.layers, self.plan.copies)


Cells = Callable[[MappedLayer, int], CellFormat]
"""What cells of a baseline hold, given those of the hardware in bits."""


def _baseline_layouts(layers: Sequence[MappedLayer], cells: Cells, cell_bits: int) -> list[CopyLayout] | None:
    """Of every layer in a baseline; None where one is larger than traffic is followed for: a plan can say anything."""
    tiles = [-(-each.rows // each.tile_rows) * max(-(-each.columns // each.tile_cols), each.groups) for each in layers]
    if any(max(each.rows, count) > MAX_CROSSBARS for each, count in zip(layers, tiles, strict=True)):
        return None
    return [dense_layout(each, cells(each, cell_bits)) for each in layers]


def performance(
    outline: Outline,
    counts: Sequence[LayerCounts],
    prices: Prices,
    rules: Rules,
    *,
    placed: Mapping[str, Placed] | None = None,
    baseline: Cells | None = None,
) -> Performance:
    """Time a mapping, or a baseline of it, on chips.

    Args:
        outline: of the mapping, or of the baseline.
        counts: of its layers.
        prices: what it is priced by.
        rules: by which it is placed; with as many chips as one copy of each layer needs, where there are too few.
        placed: places by layer, chosen by these rules; None to choose them here.
        baseline: cells of the baseline; None for the mapping itself.
    """
    record, dataflow, target = outline.record, outline.dataflow, prices.target
    encoding = None if baseline is None else baseline(record.layers[0], target.crossbar.bits_per_cell).encoding
    demand = replace(chip_demand(record, counts, target, prices.law, encoding), pack=rules.pack)
    need = slots_to_load(demand, rules.reload, lambda: dataflow)
    if need > rules.slots:
        rules = rules.model_copy(update={"slots": demand.chips(need) * demand.floor.slots_per_chip})
    if rules.power_w is not None:
        demand = with_power(demand, outline, target)
    places = place_model(demand, rules, lambda: dataflow) if placed is None else placed
    last = max((each.segment for each in places.values()), default=0)
    segments: tuple[SegmentTime, ...] = ()
    if last and rules.reload is not None:
        segments = tuple(
            _segment_time(number, outline, demand, placed=places, reload=rules.reload, target=target)
            for number in range(last + 1)
        )
    on_crossbars = {layer.name for layer in demand.layers if layer.crossbars}
    copies = {name: each.copies for name, each in places.items()}
    return Performance(
        rules=rules,
        placed=places,
        demand=demand,
        timing=_timing_of(segments, dataflow) if segments else time_of(dataflow, demand.layers, copies),
        macs=sum(macs_of(layer) for layer in record.layers if layer.name in on_crossbars),
        traffic=_added_traffic(segments) if segments else _traffic(outline, dataflow, demand, places, target),
        work=work_counters(record.layers, dataflow),
        target=target,
        area_m2=_area_m2(counts, prices, places),
        segments=segments,
    )


def _segment_time(
    number: int,
    outline: Outline,
    demand: ChipDemand,
    *,
    placed: Mapping[str, Placed],
    reload: Reloading,
    target: Target,
) -> SegmentTime:
    """Of one segment of a model that is placed."""
    load = load_as_placed(demand, outline.dataflow, placed, number)
    carried = _traffic(outline, load.dataflow, demand, {name: placed[name] for name in load.layers}, target)
    return SegmentTime(
        load=load,
        traffic=carried,
        links_s=link_times(carried, load.demand, load.chips, target),
        batch=reload.batch,
        write_s=load.write_s(reload),
        write_j=load.write_j(reload),
    )


def _traffic(
    outline: Outline, dataflow: Dataflow, demand: ChipDemand, placed: Mapping[str, Placed], target: Target
) -> Traffic | None:
    """Of the layers that are placed; None where their crossbars are more than traffic is followed for."""
    if outline.layouts is None:
        return None
    layers = outline.record.layers
    within = [number for number, layer in enumerate(layers) if layer.name in placed]
    return traffic_of(
        dataflow=dataflow,
        layers=[layers[number] for number in within],
        layouts=[outline.layouts[number] for number in within],
        placed=placed,
        floor=demand.floor,
        tiles_per_router=tiles_per_router(target),
    )


def chip_comparison(mapping: MappedModel, own: Target, comparison: Comparison) -> ChipComparison:
    """Time a plan and its baselines.

    Args:
        mapping: of the plan.
        own: the hardware it was compiled for; on another one it is placed anew, by the same rules on whole chips.
        comparison: its costs, and the hardware.
    """
    target = comparison.target
    prices = Prices(target=target, law=comparison.law, area_law=comparison.area_law)
    outline = Outline(record=mapping.record, dataflow=dataflow_of(mapping), layouts=comparison.layouts)
    placed = {layer.name: layer.placed for layer in mapping.layers if layer.placed is not None}
    whole = len(placed) == len(mapping.layers) and floor_of(own) == floor_of(target)
    chip = floor_of(target).slots_per_chip
    rules = next((each.rules for each in placed.values()), Rules(policy="none", slots=chip, power_w=None, pack=False))
    if not whole:
        rules = rules.model_copy(update={"slots": chip})

    def of_baseline(counts: Sequence[LayerCounts], cells: Cells) -> Performance:
        layouts = _baseline_layouts(mapping.layers, cells, target.crossbar.bits_per_cell)
        return performance(replace(outline, layouts=layouts), counts, prices, plan.rules, baseline=cells)

    plan = performance(outline, comparison.counts, prices, rules, placed=placed if whole else None)
    filled = plan.rules.model_copy(update={"policy": "throughput"})
    return ChipComparison(
        plan=plan,
        filled=performance(outline, comparison.counts, prices, filled),
        uniform=of_baseline(comparison.uniform_counts, _in("differential")),
        offset=of_baseline(comparison.offset_counts, _in("offset")),
        raella=of_baseline(comparison.raella_counts, raella_format),
        dataflow=outline.dataflow,
        buffers={
            name: buffer
            for part in [each.load.dataflow for each in plan.segments] or [outline.dataflow]
            for name, buffer in layer_buffers(part).items()
        },
    )


def with_power(demand: ChipDemand, outline: Outline, target: Target) -> ChipDemand:
    """A demand that a power budget can be held against.

    Args:
        demand: of the mapping, or of a baseline.
        outline: of it.
        target: prices.
    """

    def energy_j(counters: Mapping[str, int | None]) -> float | None:
        every = {**dict.fromkeys((*TRAFFIC, *WORK), 0), **counters}
        return chip_energy(
            target, layers_j=0.0, counters=every, interval_s=0.0, tiles=0, chips=0, idle_share=0.0
        ).active_j

    def carried_j(placed: Mapping[str, Placed]) -> float | None:
        found = _traffic(outline, outline.dataflow, demand, placed, target)
        return None if found is None else energy_j(found.counters)

    slots = slots_needed(demand)
    alone = Rules(policy="none", slots=max(slots, 1), power_w=None, pack=demand.pack)
    power = PowerDemand(
        work_j=energy_j(work_counters(outline.record.layers, outline.dataflow)),
        traffic_j=carried_j(lay_down(demand, alone, single(demand.layers))),
        tile_w=math.fsum(static_w_by_kind(target, tiles=1, chips=0).values()),
        chip_w=math.fsum(static_w_by_kind(target, tiles=0, chips=1).values()),
        carried_j=carried_j,
    )
    return replace(demand, power=power)


def _in(encoding: Encoding) -> Cells:
    return lambda layer, cell_bits: baseline_format(layer, encoding, cell_bits)


def _timing_of(segments: Sequence[SegmentTime], dataflow: Dataflow) -> Timing:
    """The first inference of a batch on its way through all segments, which begins with writing the first one."""
    uses: dict[str, list[UseTime]] = {}
    done_s = 0.0
    for each in segments:
        for use, time in zip(each.load.dataflow.uses, each.load.timing.uses, strict=True):
            uses.setdefault(use.layer, []).append(time.later(done_s + each.write_s))
        done_s += each.batch_s
    busy = {name: time_s for each in segments for name, time_s in each.load.timing.busy_s.items()}
    slowest = max(segments, key=lambda each: each.load.timing.interval_s)
    return Timing(
        uses=tuple(uses[use.layer].pop(0) for use in dataflow.uses),
        latency_s=done_s,
        interval_s=math.fsum(each.load.timing.interval_s for each in segments),
        busy_s=busy,
        bottleneck=slowest.load.timing.bottleneck,
    )


def _added_traffic(segments: Sequence[SegmentTime]) -> Traffic | None:
    """Of one inference through all segments."""
    parts = [each.traffic for each in segments if each.traffic is not None]
    if len(parts) < len(segments):
        return None
    return Traffic(
        counters={name: sum(each.counters[name] for each in parts) for name in TRAFFIC},
        mesh_bits=math.fsum(each.mesh_bits for each in parts),
        link_bits=math.fsum(each.link_bits for each in parts),
        bus_bits=math.fsum(each.bus_bits for each in parts),
        buffer_bits=math.fsum(each.buffer_bits for each in parts),
    )


def _area_m2(counts: Sequence[LayerCounts], prices: Prices, placed: Mapping[str, Placed]) -> float | None:
    """Of what all copies fill, or those of the segment that fills most."""
    areas = []
    for segment in {each.segment for each in placed.values()}:
        here = {name: each for name, each in placed.items() if each.segment == segment}
        own = [each for each in counts if each.name in here]
        copies = {name: each.copies for name, each in here.items()}
        crossbars = crossbars_in(here.values())
        areas.append(area_with_copies(own, prices.target, prices.area_law, copies, crossbars))
    known = [area for area in areas if area is not None]
    return max(known) if len(known) == len(areas) else None


def work_counters(layers: Sequence[MappedLayer], dataflow: Dataflow) -> dict[str, int | None]:
    """What is computed outside of crossbars in one inference, by name of the counter; None is unknown.

    One operator that cannot be counted leaves all kinds of work unknown.
    """
    found = sum(map(work_around, layers), NOTHING)
    for operator in dataflow.work:
        if operator.work is None:
            return dict.fromkeys(WORK)
        found += operator.work
    return {name: getattr(found, name) for name in WORK}


def work_around(layer: MappedLayer) -> Work:
    """What is computed around the crossbars of a layer."""
    rows, dynamic = layer.groups * layer.rows, layer.input_scale is None
    return layer_work(layer.columns, rows, layer.vectors, dynamic=dynamic)


def energy_by_kind(found: Performance, comparison: Comparison) -> dict[str, float]:
    """Known energy of an inference of the plan, static power left out, by how far its prices can be trusted."""
    shares = comparison.energy_by_kind()
    actions = chip_actions(comparison.target)
    for name, energy_j in found.energy.by_action_j.items():
        price = actions[name].energy_j
        if price is not None:
            shares[price.kind] = shares.get(price.kind, 0.0) + (energy_j or 0.0)
    return shares


def tiles_per_router(target: Target) -> int:
    """Tiles that share a router of the mesh; 1 where the target does not say."""
    return next((link.shared_by for link in target.level[-2].link.values() if link.topology == "mesh"), 1)


def link_times(traffic: Traffic | None, demand: ChipDemand, chips: int, target: Target) -> dict[Link, float]:
    """Time in which the busiest of each kind of link carries its bits of one inference."""
    if traffic is None:
        return {"chip links": demand.io_s(chips)} if demand.link_bits_per_s else {}
    bits: dict[Link, float] = {
        "chip links": traffic.link_bits,
        "mesh": traffic.mesh_bits,
        "buses": traffic.bus_bits,
        "buffers": traffic.buffer_bits,
    }
    return {link: bits[link] / rate for link, rate in link_rates(target).items()}


def link_rates(target: Target) -> dict[Link, float]:
    """Bits a second: of all links of a chip, of one link between routers, of a bus and of a buffer of a tile.

    What the target gives no rate of carries whatever comes. Of several buffers of a tile the largest holds inputs.
    """
    tile, chip = target.level[-2:]
    rates: dict[Link, float] = {
        "chip links": math.fsum(
            link.count * link.bandwidth_bit_per_s.value / link.shared_by for link in chip.link.values()
        )
    }
    names: dict[Topology, Link] = {"mesh": "mesh", "bus": "buses"}
    for link in tile.link.values():
        if link.topology is not None:
            rates[names[link.topology]] = link.bandwidth_bit_per_s.value
    largest = max(tile.buffer.values(), key=lambda buffer: buffer.capacity_bit.value, default=None)
    if largest is not None and largest.bandwidth_bit_per_s is not None:
        rates["buffers"] = largest.bandwidth_bit_per_s.value
    return {link: rate for link, rate in rates.items() if rate}


def crossbars_in(placed: Iterable[Placed]) -> int:
    """Crossbars of all copies; layers of a segment that share them have one first place."""
    return sum(
        {
            (each.segment, each.first_slot): each.copies * each.crossbars_per_copy
            for each in placed
            if each.crossbars_per_copy
        }.values()
    )


def macs_of(layer: MappedLayer) -> int:
    """Multiply-accumulates of one inference, zero or not."""
    return layer.rows * layer.columns * layer.vectors
