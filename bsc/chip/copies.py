"""How many copies of each layer: as many as make inferences fast, on the crossbars at hand.

Copies share the vectors of a layer. `throughput` finds the shortest interval that the crossbars allow, exactly, and a
bound that no placement can beat; `latency` buys copies where they shorten the longest chain most for a crossbar;
`isaac` is the rule of [isaac16] section VI.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bsc.chip.dataflow import Dataflow
from bsc.chip.timing import critical_path, interval_with, time_of
from bsc.mapping.placement import ChipDemand, CopiesPolicy, LayerDemand, Rules, crossbars_of

Copies = dict[str, int]

ROUNDING: Final = 1e-12
"""By how much an interval may be missed, relatively: quotients of times that are equal differ in their last bits."""
STEP: Final = 5
"""Quarters that copies are multiplied by when more are bought."""
SLOWER: Final = (1.5, 3.0)
"""By how much longer than the shortest the intervals are whose copies more are bought on top of."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """The crossbars at hand for a model.

    Attributes:
        demand: of the model; one copy of each layer finds room.
        slots: places that may be filled.
        fastest_s: an interval that need not be undercut, such as what links allow; 0 for none.
        power_w: what all of it may draw; None for any power.
    """

    demand: ChipDemand
    slots: int
    fastest_s: float = 0.0
    power_w: float | None = None

    @classmethod
    def of(cls, demand: ChipDemand, rules: Rules) -> "Room":
        """What rules leave to a model; where its energy is unknown, a power budget leaves everything."""
        return cls(
            demand=demand,
            slots=rules.slots,
            fastest_s=demand.io_s(demand.chips(rules.slots)),
            power_w=rules.power_w,
        )

    @property
    def layers(self) -> tuple[LayerDemand, ...]:
        """Demands of the layers."""
        return self.demand.layers

    def takes(self, copies: Mapping[str, int]) -> bool:
        """Whether so many copies find room and power."""
        slots = self.demand.slots(copies)
        if slots > self.slots:
            return False
        shortest_s = self.demand.shortest_s(self.power_w, slots)
        return max(interval_with(self.layers, copies), self.fastest_s) >= shortest_s * (1 - ROUNDING)


def choose_copies(policy: CopiesPolicy, room: Room, dataflow: Callable[[], Dataflow]) -> Copies:
    """Copies of every layer.

    Args:
        policy: who chooses.
        room: the crossbars at hand.
        dataflow: of the mapping, asked for by `latency` alone.
    """
    if policy == "throughput":
        return shortest_interval(room)
    if policy == "latency":
        return shortest_latency(room, dataflow())
    return balanced(room) if policy == "isaac" else single(room.layers)


def single(demands: Sequence[LayerDemand]) -> Copies:
    """One copy of each layer."""
    return {demand.name: 1 for demand in demands}


def balanced(room: Room) -> Copies:
    """From the last layer back, as many copies as keep each layer as fast as the next one, halved until they fit.

    In [isaac16] a layer has as many copies as the next one times its strides, so that copies are in the ratio of
    vectors. The last layer keeps its one copy.
    """
    last = room.layers[-1].vectors if room.layers else 1
    wanted = {layer.name: max(-(-layer.vectors // last), 1) for layer in room.layers}
    halvings = 0
    while not room.takes(copies := room.demand.together(_halved(wanted, halvings))) and max(copies.values()) > 1:
        halvings += 1
    return copies


def _halved(copies: Mapping[str, int], times: int) -> Copies:
    return {name: max(number >> times, 1) for name, number in copies.items()}


def shortest_interval(room: Room) -> Copies:
    """The fewest copies with the shortest interval that finds room.

    An interval T needs ceil(busy_s / T) copies of each layer, and the longer it is, the fewer: it is searched for by
    bisection, down to the spacing of floats.
    """
    demand = room.demand
    low = max(interval_bound(demand, room.slots), room.fastest_s)
    high = max((layer.busy_s for layer in demand.layers), default=0.0)
    if room.takes(copies_for(demand, low)):
        return copies_for(demand, low)
    while low < (middle := (low + high) / 2) < high:
        if room.takes(copies_for(demand, middle)):
            high = middle
        else:
            low = middle
    copies = copies_for(demand, high)  # where rounding decides, more of one layer than the slowest one allows
    return copies_for(demand, interval_with(demand.layers, copies))


def copies_for(demand: ChipDemand, interval_s: float) -> Copies:
    """The fewest copies of each layer that keep an interval."""
    return demand.together({layer.name: _needed(layer, interval_s) for layer in demand.layers})


def _needed(demand: LayerDemand, interval_s: float) -> int:
    if not (demand.crossbars and demand.busy_s and interval_s):
        return 1
    return max(math.ceil(demand.busy_s / interval_s * (1 - ROUNDING)), 1)


def interval_bound(demand: ChipDemand, slots: int) -> float:
    """An interval that no numbers of copies on so many crossbars undercut, wherever these lie, in seconds.

    Copies of a layer are at least 1 and at least `busy_s / T`, so that all crossbars together are at least the sum of
    `crossbars * max(1, busy_s / T)`, which must not be more than there are. Of layers that share crossbars, the busiest
    counts.
    """
    groups = [(max(layer.busy_s for layer in group), crossbars_of(group)) for group in demand.groups]
    room, work, bound = slots - sum(crossbars for _, crossbars in groups), 0.0, 0.0
    for busy_s, crossbars in sorted(groups, reverse=True):  # as if those up to here had copies and the others had not
        room, work = room + crossbars, work + busy_s * crossbars
        bound = max(bound, work / room) if work else bound
    return bound


def shortest_latency(room: Room, dataflow: Dataflow) -> Copies:
    """Copies that are bought one after another where they shorten the longest chain most for a crossbar.

    They are bought on top of those that keep the shortest interval, and of fewer, which keep a longer one; the best of
    these ends is taken, and of equal ones that with the fewest crossbars.
    """
    fastest = shortest_interval(room)
    interval = interval_with(room.layers, fastest)
    starts = [fastest, *(copies_for(room.demand, interval * times) for times in SLOWER)]
    ends = [single(room.layers), fastest, *(_bought(room, dataflow, start) for start in starts)]
    latencies = [time_of(dataflow, room.layers, each).latency_s for each in ends]
    close = [end for end, each in zip(ends, latencies, strict=True) if each <= min(latencies) * (1 + ROUNDING)]
    return min(close, key=room.demand.slots)


def _bought(room: Room, dataflow: Dataflow, start: Mapping[str, int]) -> Copies:
    """Copies beyond some that find room, as long as more of them find room and help."""
    crossbars = {layer.name: crossbars_of(group) for group in room.demand.groups for layer in group}
    most = dict.fromkeys(crossbars, 1)
    for use in dataflow.uses:
        most[use.layer] = max(most[use.layer], use.vectors)
    copies = dict(start)
    open_layers = {name for name, each in crossbars.items() if each}
    while open_layers:
        spent = critical_path(dataflow, time_of(dataflow, room.layers, copies), room.layers, copies)
        offers = {
            name: (more, spent[name] * (1 - copies[name] / more) / ((more - copies[name]) * crossbars[name]))
            for name in open_layers & spent.keys()
            if (more := min(max(copies[name] + 1, copies[name] * STEP // 4), most[name])) > copies[name]
        }
        best = 0.0
        for name in sorted(offers, key=lambda each: (-offers[each][1], each)):
            more, gain = offers[name]
            if not gain or gain < best / 2:
                break
            for number in dict.fromkeys((more, copies[name] + 1)):
                bought = room.demand.together(copies | {name: number})
                if room.takes(bought):
                    copies, best = bought, best or gain
                    break
            else:
                open_layers.discard(name)
        if not best:
            break
    return copies
