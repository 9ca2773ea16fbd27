"""What a chip does with a placed model: inferences a second, latency, power, and all that is told of them.

Energy is what `bsc.cost` charges for an inference, whatever the number of copies. Power is that energy over the
interval, and leaves out whatever the costs leave out.
"""

import math
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
from bsc.mapping.placement import ChipDemand, CopiesPolicy, Placed, crossbars_of, lay_down
from bsc.numeric.encoding import Encoding


@dataclass(frozen=True, eq=False, kw_only=True)
class Performance:
    """A model on chips.

    Attributes:
        policy: who chose the copies.
        placed: copies and places, by layer.
        demand: what was placed.
        timing: of an inference, and of many.
        slots_at_hand: places that copies were chosen for.
        macs: multiply-accumulates on crossbars in one inference.
        energy_j: of one inference; None is unknown.
        area_m2: of what all copies fill on every level but the last; None where the target gives none.
    """

    policy: CopiesPolicy
    placed: Mapping[str, Placed]
    demand: ChipDemand
    timing: Timing
    slots_at_hand: int
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
        return quotient(1.0, self.interval_s)

    @property
    def power_w(self) -> float | None:
        """Average power of what is modelled."""
        return None if self.energy_j is None else quotient(self.energy_j, self.interval_s)

    @property
    def ops_per_s(self) -> float | None:
        """Operations on crossbars a second, two for each multiply-accumulate."""
        return quotient(2.0 * self.macs, self.interval_s)

    @property
    def ops_per_j(self) -> float | None:
        """Operations on crossbars for a joule, which is operations a second for a watt."""
        return None if self.energy_j is None else quotient(2.0 * self.macs, self.energy_j)

    @property
    def ops_per_s_m2(self) -> float | None:
        """Operations a second on an area."""
        return None if self.area_m2 is None or self.ops_per_s is None else quotient(self.ops_per_s, self.area_m2)

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
        return quotient(working, self.interval_s * self.crossbars)

    @property
    def interval_bound_s(self) -> float:
        """An interval that no placement on these crossbars undercuts, and no links."""
        of_links = self.demand.io_s(self.demand.chips(self.slots_at_hand))
        return max(interval_bound(self.demand, self.slots_at_hand), of_links)


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
        own: the hardware it was compiled for; on another one it is placed anew, by the same policy.
        comparison: its costs, and the hardware.
    """
    dataflow, target = dataflow_of(mapping), comparison.target
    placed = {layer.name: layer.placed for layer in mapping.layers if layer.placed is not None}
    whole = len(placed) == len(mapping.layers) and floor_of(own) == floor_of(target)
    first = next(iter(placed.values()), None)
    policy: CopiesPolicy = "none" if first is None else first.copies_policy
    slots = first.slots_at_hand if whole and first is not None else 0
    pack = any(each.row for each in placed.values())

    def perform(
        counts: Sequence[LayerCounts],
        policy: CopiesPolicy,
        slots: int,
        *,
        own: Mapping[str, Placed] | None = None,
        baseline: Encoding | None = None,
    ) -> Performance:
        demand = replace(chip_demand(mapping, counts, target, comparison.law, baseline), pack=pack)
        need = slots_needed(demand)
        if need > slots or not slots:
            slots = demand.chips(need) * demand.floor.slots_per_chip
        places = own
        if places is None:
            room = Room(demand=demand, slots=slots, fastest_s=demand.io_s(demand.chips(slots)))
            places = lay_down(demand, policy, choose_copies(policy, room, lambda: dataflow), slots)
        copies = {name: each.copies for name, each in places.items()}
        return Performance(
            policy=policy,
            placed=places,
            demand=demand,
            timing=time_of(dataflow, demand.layers, copies),
            slots_at_hand=slots,
            macs=macs_of(mapping.layers),
            energy_j=demand.energy_j,
            area_m2=area_with_copies(counts, target, comparison.area_law, copies, crossbars_in(places.values())),
        )

    plan = perform(comparison.counts, policy, slots, own=placed if whole else None)
    return ChipComparison(
        plan=plan,
        filled=perform(comparison.counts, "throughput", plan.slots_at_hand),
        uniform=perform(comparison.uniform_counts, policy, plan.slots_at_hand, baseline="differential"),
        offset=perform(comparison.offset_counts, policy, plan.slots_at_hand, baseline="offset"),
        dataflow=dataflow,
        buffers=layer_buffers(dataflow),
    )


def quotient(part: float, whole: float) -> float | None:
    """`part` over `whole`; None over 0, and beyond all floats."""
    value = part / whole if whole else math.inf
    return value if math.isfinite(value) else None


def crossbars_in(placed: Iterable[Placed]) -> int:
    """Crossbars of all copies; layers that share them have one first place."""
    return sum(
        {each.first_slot: each.copies * each.crossbars_per_copy for each in placed if each.crossbars_per_copy}.values()
    )


def macs_of(layers: Sequence[MappedLayer]) -> int:
    """Multiply-accumulates of one inference, zero or not."""
    return sum(layer.rows * layer.columns * layer.vectors for layer in layers)
