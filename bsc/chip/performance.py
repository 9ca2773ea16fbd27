"""What a chip does with a placed model: inferences a second, latency, power, and all that is told of them.

Energy is that of all its crossbars as `bsc.cost` charges it, of traffic, digital work and power that never stops. Power
is that energy over the interval.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from bsc.chip.buffers import LayerBuffer, layer_buffers
from bsc.chip.copies import Room, choose_copies, interval_bound
from bsc.chip.dataflow import Dataflow, dataflow_of
from bsc.chip.demand import chip_demand, floor_of
from bsc.chip.energy import ChipEnergy, chip_energy
from bsc.chip.fit import slots_needed
from bsc.chip.outline import Outline
from bsc.chip.timing import Timing, time_of
from bsc.chip.traffic import MAX_CROSSBARS, Traffic, traffic_of
from bsc.chip.work import NOTHING, Work, layer_work
from bsc.cost.compare import Comparison
from bsc.cost.counters import TRAFFIC, WORK, chip_actions
from bsc.cost.counts import LayerCounts, baseline_format
from bsc.cost.layouts import CopyLayout, dense_layout
from bsc.cost.price import area_with_copies
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target, Topology
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.mapping.placement import ChipDemand, Placed, Rules, crossbars_of, lay_down
from bsc.numeric.encoding import Encoding
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
        """Crossbars of all copies."""
        return crossbars_in(self.placed.values())

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

        Where traffic is unknown, the links of chips carry inputs and outputs at least.
        """
        if self.traffic is None:
            return {"chip links": self.demand.io_s(self.chips)} if self.demand.link_bits_per_s else {}
        bits: dict[Link, float] = {
            "chip links": self.traffic.link_bits,
            "mesh": self.traffic.mesh_bits,
            "buses": self.traffic.bus_bits,
            "buffers": self.traffic.buffer_bits,
        }
        rates = link_rates(self.target)
        return {link: bits[link] / rate for link, rate in rates.items()}

    @property
    def busiest_link(self) -> Link | None:
        """The kind of link that sets the interval; None where a layer does."""
        link = max(self.links_s, key=self.links_s.__getitem__, default=None)
        return link if link is not None and self.links_s[link] > self.timing.interval_s else None

    @property
    def interval_s(self) -> float:
        """Between inferences: of the busiest layer, or of the busiest link if that is longer."""
        return max(self.timing.interval_s, *self.links_s.values(), 0.0)

    @property
    def counters(self) -> Mapping[str, int | None]:
        """Of the whole model, every one of `CHIP_COUNTERS`; None is unknown."""
        carried = dict.fromkeys(TRAFFIC) if self.traffic is None else self.traffic.counters
        return {**carried, **self.work}

    @property
    def idle_share(self) -> float:
        """Share of time in which places for crossbars in the tiles in use do nothing, on average."""
        places = self.tiles * self.demand.floor.slots_per_tile
        return max(1.0 - (self.busy_share or 0.0) * self.crossbars / places, 0.0) if places else 1.0

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
        )

    @property
    def energy_j(self) -> float | None:
        """Of one inference; None is unknown."""
        return self.energy.total_j

    def batch_s(self, inferences: int) -> float:
        """Time of some inferences in a row on an empty chip.

        It may be a little more where copies are uneven: an event simulation of eleven networks was at most 8 % later.
        """
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
    def layers_power_w(self) -> float | None:
        """That of crossbar layers, which power budgets are about."""
        return None if self.energy.layers_j is None else ratio(self.energy.layers_j, self.interval_s)

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
        return None if self.energy_j is None else self.energy_j * self.timing.latency_s

    @property
    def busy_share(self) -> float | None:
        """Share of the interval in which a crossbar works for its busiest layer, on average over all crossbars."""
        working = 0.0
        for group in self.demand.groups:
            busiest = max(self.timing.busy_s[layer.name] for layer in group)
            working += busiest * self.placed[group[0].name].copies * crossbars_of(group)
        return ratio(working, self.interval_s * self.crossbars)

    @property
    def interval_bound_s(self) -> float:
        """An interval that no placement by the same rules undercuts: of crossbars, of links, and of power.

        Where one copy of each layer exceeds the power, that is one.
        """
        slots = self.rules.slots
        of_links, of_power = self.demand.io_s(self.demand.chips(slots)), self.demand.shortest_s(self.rules.power_w)
        return max(interval_bound(self.demand, slots), of_links, min(of_power, self.interval_s))


@dataclass(frozen=True, eq=False, kw_only=True)
class ChipComparison:
    """A placed plan beside its baselines, which were placed by the same rules on the same crossbars.

    Attributes:
        plan: as it was placed.
        filled: the plan with the copies that make the shortest interval on the same crossbars.
        uniform: the same network with every column at 8 bits.
        offset: in the offset encoding of [isaac16], at 8 bits.
        dataflow: of the plan, and of the baselines as well.
        buffers: what each layer holds.
    """

    plan: Performance
    filled: Performance
    uniform: Performance
    offset: Performance
    dataflow: Dataflow
    buffers: Mapping[str, LayerBuffer]


def _baseline_layouts(layers: Sequence[MappedLayer], encoding: Encoding, cell_bits: int) -> list[CopyLayout] | None:
    """Of every layer in a baseline; None where one is larger than traffic is followed for: a plan can say anything."""
    tiles = [-(-each.rows // each.tile_rows) * max(-(-each.columns // each.tile_cols), each.groups) for each in layers]
    if any(max(each.rows, count) > MAX_CROSSBARS for each, count in zip(layers, tiles, strict=True)):
        return None
    return [dense_layout(each, baseline_format(each, encoding, cell_bits)) for each in layers]


def performance(
    outline: Outline,
    counts: Sequence[LayerCounts],
    prices: Prices,
    rules: Rules,
    *,
    placed: Mapping[str, Placed] | None = None,
    baseline: Encoding | None = None,
) -> Performance:
    """Time a mapping, or a baseline of it, on chips.

    Args:
        outline: of the mapping, or of the baseline.
        counts: of its layers.
        prices: what it is priced by.
        rules: by which it is placed; with as many chips as one copy of each layer needs, where there are too few.
        placed: places by layer, chosen by these rules; None to choose them here.
        baseline: encoding of the baseline; None for the mapping itself.
    """
    record, target = outline.record, prices.target
    demand = replace(chip_demand(record, counts, target, prices.law, baseline), pack=rules.pack)
    need = slots_needed(demand)
    if need > rules.slots:
        rules = rules.model_copy(update={"slots": demand.chips(need) * demand.floor.slots_per_chip})
    places = placed
    if places is None:
        places = lay_down(demand, rules, choose_copies(rules.policy, Room.of(demand, rules), lambda: outline.dataflow))
    copies = {name: each.copies for name, each in places.items()}
    on_crossbars = {layer.name for layer in demand.layers if layer.crossbars}
    return Performance(
        rules=rules,
        placed=places,
        demand=demand,
        timing=time_of(outline.dataflow, demand.layers, copies),
        macs=sum(macs_of(layer) for layer in record.layers if layer.name in on_crossbars),
        traffic=None
        if outline.layouts is None
        else traffic_of(
            dataflow=outline.dataflow,
            layers=record.layers,
            layouts=outline.layouts,
            placed=places,
            floor=demand.floor,
            tiles_per_router=tiles_per_router(target),
        ),
        work=work_counters(record.layers, outline.dataflow),
        target=target,
        area_m2=area_with_copies(counts, target, prices.area_law, copies, crossbars_in(places.values())),
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

    def of_baseline(counts: Sequence[LayerCounts], encoding: Encoding) -> Performance:
        layouts = _baseline_layouts(mapping.layers, encoding, target.crossbar.bits_per_cell)
        return performance(replace(outline, layouts=layouts), counts, prices, plan.rules, baseline=encoding)

    plan = performance(outline, comparison.counts, prices, rules, placed=placed if whole else None)
    filled = plan.rules.model_copy(update={"policy": "throughput"})
    return ChipComparison(
        plan=plan,
        filled=performance(outline, comparison.counts, prices, filled),
        uniform=of_baseline(comparison.uniform_counts, "differential"),
        offset=of_baseline(comparison.offset_counts, "offset"),
        dataflow=outline.dataflow,
        buffers=layer_buffers(outline.dataflow),
    )


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
    """Crossbars of all copies; layers that share them have one first place."""
    return sum(
        {each.first_slot: each.copies * each.crossbars_per_copy for each in placed if each.crossbars_per_copy}.values()
    )


def macs_of(layer: MappedLayer) -> int:
    """Multiply-accumulates of one inference, zero or not."""
    return layer.rows * layer.columns * layer.vectors
