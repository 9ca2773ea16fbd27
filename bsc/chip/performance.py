"""What a chip does with a placed model: inferences a second, latency, power, and all that is told of them.

Energy is what `bsc.cost` charges for an inference, whatever the number of copies. Power is that energy over the
interval, and leaves out whatever the costs leave out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bsc.chip.buffers import LayerBuffer, layer_buffers
from bsc.chip.copies import Room, choose_copies, interval_bound
from bsc.chip.dataflow import Dataflow, dataflow_of
from bsc.chip.demand import chip_demand, floor_of
from bsc.chip.fit import slots_needed
from bsc.chip.timing import Timing, time_of
from bsc.cost.compare import Comparison
from bsc.cost.counts import LayerCounts
from bsc.cost.price import area_with_copies
from bsc.hardware.target import Target
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.mapping.placement import ChipDemand, Placed, Rules, crossbars_of, lay_down
from bsc.numeric.encoding import Encoding
from bsc.units import ratio


@dataclass(frozen=True, eq=False, kw_only=True)
class Performance:
    """A model on chips.

    Attributes:
        rules: by which the copies were chosen.
        placed: copies and places, by layer.
        demand: what was placed.
        timing: of an inference, and of many.
        macs: multiply-accumulates on crossbars in one inference, those of layers without any left out.
        energy_j: of one inference; None is unknown.
        area_m2: of what all copies fill on every level but the last; None where the target gives none.
    """

    rules: Rules
    placed: Mapping[str, Placed]
    demand: ChipDemand
    timing: Timing
    macs: int
    energy_j: float | None
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

    @property
    def io_s(self) -> float:
        """Time in which the links of the chips in use carry inputs and outputs of one inference."""
        return self.demand.io_s(self.chips)

    @property
    def interval_s(self) -> float:
        """Between inferences: of the busiest layer, or of the links if that is longer."""
        return max(self.timing.interval_s, self.io_s)

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
        """Average power of what is modelled."""
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


def chip_comparison(mapping: MappedModel, own: Target, comparison: Comparison) -> ChipComparison:
    """Time a plan and its baselines.

    Args:
        mapping: of the plan.
        own: the hardware it was compiled for; on another one it is placed anew, by the same rules on whole chips.
        comparison: its costs, and the hardware.
    """
    dataflow, target = dataflow_of(mapping), comparison.target
    placed = {layer.name: layer.placed for layer in mapping.layers if layer.placed is not None}
    whole = len(placed) == len(mapping.layers) and floor_of(own) == floor_of(target)
    chip = floor_of(target).slots_per_chip
    rules = next((each.rules for each in placed.values()), Rules(policy="none", slots=chip, power_w=None, pack=False))
    if not whole:
        rules = rules.model_copy(update={"slots": chip})

    def perform(
        counts: Sequence[LayerCounts],
        rules: Rules,
        *,
        own: Mapping[str, Placed] | None = None,
        baseline: Encoding | None = None,
    ) -> Performance:
        demand = replace(chip_demand(mapping, counts, target, comparison.law, baseline), pack=rules.pack)
        need = slots_needed(demand)
        if need > rules.slots:
            rules = rules.model_copy(update={"slots": demand.chips(need) * chip})
        places = own
        if places is None:
            places = lay_down(demand, rules, choose_copies(rules.policy, Room.of(demand, rules), lambda: dataflow))
        copies = {name: each.copies for name, each in places.items()}
        on_crossbars = {layer.name for layer in demand.layers if layer.crossbars}
        return Performance(
            rules=rules,
            placed=places,
            demand=demand,
            timing=time_of(dataflow, demand.layers, copies),
            macs=sum(macs_of(layer) for layer in mapping.layers if layer.name in on_crossbars),
            energy_j=demand.energy_j,
            area_m2=area_with_copies(counts, target, comparison.area_law, copies, crossbars_in(places.values())),
        )

    plan = perform(comparison.counts, rules, own=placed if whole else None)
    filled = plan.rules.model_copy(update={"policy": "throughput"})
    return ChipComparison(
        plan=plan,
        filled=perform(comparison.counts, filled),
        uniform=perform(comparison.uniform_counts, plan.rules, baseline="differential"),
        offset=perform(comparison.offset_counts, plan.rules, baseline="offset"),
        dataflow=dataflow,
        buffers=layer_buffers(dataflow),
    )


def crossbars_in(placed: Iterable[Placed]) -> int:
    """Crossbars of all copies; layers that share them have one first place."""
    return sum(
        {each.first_slot: each.copies * each.crossbars_per_copy for each in placed if each.crossbars_per_copy}.values()
    )


def macs_of(layer: MappedLayer) -> int:
    """Multiply-accumulates of one inference, zero or not."""
    return layer.rows * layer.columns * layer.vectors
