"""Models that are larger than the chips: segments of layers that are loaded one after another.

A segment is a run of layers, with all of their copies. It is written, computes a batch of inferences, and gives way to
the next one; after the last the first is written again:

    seconds of a batch = sum over segments of  write_s + latency_s + (batch - 1) * interval_s

- **Writing.** All crossbars of a segment are written at the same time, each cell after cell, and no sooner than the
  links of the chips have brought the weights. Nothing computes meanwhile.
- **Between segments** the activations of a batch wait outside of the chips: what a segment reads of earlier ones comes
  in over the links, and what later ones read goes out. Links that are slower than crossbars set the pace.
- **Copies** are chosen segment by segment, by the policy and within the places at hand.

Where to cut is a shortest path over the order of layers, found exactly: the seconds of a segment depend on nothing but
its own layers. A model that fits at once is not reloaded unless its batches are faster in segments.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from bsc.chip.copies import Copies, Room, choose_copies, single
from bsc.chip.dataflow import PORT, Dataflow, Move
from bsc.chip.timing import Timing, time_of
from bsc.mapping.placement import ChipDemand, Placed, PowerDemand, Reloading, Rules, crossbars_of, lay_down

Cost = tuple[float, int]
"""Seconds of a batch, and crossbars that are written for it, which decide between equal times."""
Span = tuple[int, int]
"""Layers from a number on and up to another one, which is not in it."""
FREE: Final[Cost] = (0.0, 0)
TRIES: Final = 8
"""To keep a power budget, each with fewer copies than the one before."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Load:
    """A segment on the chips.

    Attributes:
        demand: of its layers; `io_bits` are those that come in and go out for one inference.
        dataflow: of its layers alone.
        copies: of each.
        timing: of one inference through it, and of many.
    """

    demand: ChipDemand
    dataflow: Dataflow
    copies: Copies
    timing: Timing

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of its layers, in order."""
        return tuple(layer.name for layer in self.demand.layers)

    @property
    def slots(self) -> int:
        """Places up to the last one that is taken."""
        return self.demand.slots(self.copies)

    @property
    def chips(self) -> int:
        """Chips that have a crossbar of it."""
        return self.demand.chips(self.slots)

    @property
    def crossbars(self) -> int:
        """Crossbars that are written, of all copies."""
        return sum(crossbars_of(group) * self.copies[group[0].name] for group in self.demand.groups)

    def write_s(self, reload: Reloading) -> float:
        """Time of writing it: of one crossbar, since all are written at once, or of bringing its weights."""
        if not self.crossbars:
            return 0.0
        weight_bits = sum(layer.weight_bits for layer in self.demand.layers)
        rate = self.demand.link_bits_per_s
        return max(self.demand.crossbar_cells * reload.cell_s, weight_bits / (rate * self.chips) if rate else 0.0)

    def write_j(self, reload: Reloading) -> float:
        """Energy of writing it."""
        return self.crossbars * self.demand.crossbar_cells * reload.cell_j

    def compute_s(self, batch: int) -> float:
        """Time in which a batch goes through it."""
        interval_s = max(self.timing.interval_s, self.demand.io_s(self.chips))
        return self.timing.latency_s + (batch - 1) * interval_s


def place_model(demand: ChipDemand, rules: Rules, dataflow: Callable[[], Dataflow]) -> dict[str, Placed]:
    """Choose copies, and segments where the rules have them, and lay all layers down.

    Args:
        demand: of the model; with `slots_to_load` of it at hand.
        rules: to choose by.
        dataflow: of the mapping, asked for where times decide.
    """
    if rules.reload is None and rules.power_w is not None and demand.power is not None:
        return _within_power(demand, demand.power, rules, dataflow)
    if rules.reload is None:
        return lay_down(demand, rules, choose_copies(rules.policy, Room.of(demand, rules), dataflow))
    placed: dict[str, Placed] = {}
    for number, load in enumerate(choose_segments(demand, rules, dataflow())):
        placed |= lay_down(load.demand, rules, load.copies, number)
    return placed


def _within_power(
    demand: ChipDemand, power: PowerDemand, rules: Rules, dataflow: Callable[[], Dataflow]
) -> dict[str, Placed]:
    """Choose copies that keep a power budget, traffic included, which depends on where they lie.

    Copies are chosen as if traffic took what it takes with one of each; where they carry more, they are chosen anew.
    """
    for _ in range(TRIES):
        placed = lay_down(demand, rules, choose_copies(rules.policy, Room.of(demand, rules), dataflow))
        carried_j = power.carried_j(placed)
        if carried_j is None or power.traffic_j is None or carried_j <= power.traffic_j:
            break
        power = replace(power, traffic_j=carried_j)
        demand = replace(demand, power=power)
    return placed


def choose_segments(demand: ChipDemand, rules: Rules, dataflow: Dataflow) -> list[Load]:
    """The segments with the shortest batch; of equal ones those with the fewest crossbars to write."""
    reload = rules.reload
    assert reload is not None
    known: dict[Span, Load] = {}

    def cost(span: Span) -> Cost | None:
        part = segment_demand(demand, dataflow, span)
        if part.slots(single(part.layers)) > rules.slots:
            return None
        load = known[span] = load_of(part, rules, dataflow)
        return load.write_s(reload) + load.compute_s(reload.batch), load.crossbars

    cuts = possible_cuts(demand, dataflow)
    spans = shortest_way(cuts, cost)
    whole = (cuts[0], cuts[-1])
    resident = known.get(whole)
    if resident is not None and resident.compute_s(reload.batch) <= sum(
        known[span].write_s(reload) + known[span].compute_s(reload.batch) for span in spans
    ):
        spans = [whole]
    return [known[span] for span in spans]


def shortest_way(stops: Sequence[int], cost: Callable[[Span], Cost | None]) -> list[Span]:
    """The cheapest way from the first stop to the last one, whatever stops it makes, by dynamic programming.

    Args:
        stops: ascending.
        cost: of going from one stop to a later one at once; None where that is too far, and so is any longer way.
    """
    best: dict[int, tuple[Cost, int]] = {stops[0]: (FREE, stops[0])}
    for number, end in enumerate(stops[1:], 1):
        ways: list[tuple[Cost, int]] = []
        for start in reversed(stops[:number]):
            step = cost((start, end))
            if step is None:
                break
            if start in best:
                (seconds, crossbars), _ = best[start]
                ways.append(((seconds + step[0], crossbars + step[1]), start))
        if ways:
            best[end] = min(ways)
    spans: list[Span] = []
    end = stops[-1]
    while end != stops[0]:
        spans.append((best[end][1], end))
        end = best[end][1]
    return spans[::-1]


def filled_greedily(demand: ChipDemand, rules: Rules, dataflow: Dataflow) -> list[Load]:
    """Segments that take layers for as long as one copy of each finds room: what the shortest way is compared with."""
    loads, start, cuts = [], 0, possible_cuts(demand, dataflow)
    while start != cuts[-1]:
        for end in (stop for stop in cuts if stop > start):
            part = segment_demand(demand, dataflow, (start, end))
            if part.slots(single(part.layers)) > rules.slots:
                break
            fits = part, end
        loads.append(load_of(fits[0], rules, dataflow))
        start = fits[1]
    return loads


def load_of(part: ChipDemand, rules: Rules, dataflow: Dataflow) -> Load:
    """A segment with the copies that its policy chooses.

    Args:
        part: its demand, `segment_demand`.
        rules: to choose by.
        dataflow: of the whole mapping.
    """
    own = part_of(dataflow, {layer.name for layer in part.layers})
    copies = choose_copies(rules.policy, Room.of(part, rules), lambda: own)
    return Load(demand=part, dataflow=own, copies=copies, timing=time_of(own, part.layers, copies))


def load_as_placed(demand: ChipDemand, dataflow: Dataflow, placed: Mapping[str, Placed], segment: int) -> Load:
    """A segment as a placement has it."""
    numbers = [number for number, layer in enumerate(demand.layers) if placed[layer.name].segment == segment]
    part = segment_demand(demand, dataflow, (numbers[0], numbers[-1] + 1))
    own = part_of(dataflow, {layer.name for layer in part.layers})
    copies = {layer.name: placed[layer.name].copies for layer in part.layers}
    return Load(demand=part, dataflow=own, copies=copies, timing=time_of(own, part.layers, copies))


def slots_to_load(demand: ChipDemand, reload: Reloading | None, dataflow: Callable[[], Dataflow]) -> int:
    """Places that one copy of each layer takes, or of those that cannot be in different segments."""
    if reload is None:
        return demand.slots(single(demand.layers))
    cuts = possible_cuts(demand, dataflow())
    parts = [replace(demand, layers=demand.layers[start:end]) for start, end in pairwise(cuts)]
    return max(part.slots(single(part.layers)) for part in parts)


def possible_cuts(demand: ChipDemand, dataflow: Dataflow) -> list[int]:
    """Numbers of layers that a segment may begin with, and the number of layers.

    Where operators share a layer, a later use of it may wait for layers behind it, which must then be in its segment.
    """
    numbers = {layer.name: number for number, layer in enumerate(demand.layers)}
    at = [numbers[use.layer] for use in dataflow.uses]
    forbidden: set[int] = set()
    for use, own in zip(dataflow.uses, at, strict=True):
        for source in (*(read.source for read in use.reads), *([use.home] if use.home != PORT else [])):
            forbidden.update(range(own + 1, at[source] + 1))
    return [number for number in range(len(demand.layers) + 1) if number not in forbidden]


def segment_demand(demand: ChipDemand, dataflow: Dataflow, span: Span) -> ChipDemand:
    """What a segment asks of the chips."""
    layers = demand.layers[slice(*span)]
    values = port_values(part_of(dataflow, {layer.name for layer in layers}))
    return replace(demand, layers=layers, io_bits=values * demand.value_bits)


def part_of(dataflow: Dataflow, layers: Collection[str]) -> Dataflow:
    """The dataflow of some layers: what the others give comes in, and what they read goes out, through `PORT`."""
    inside = [number for number, use in enumerate(dataflow.uses) if use.layer in layers]
    numbers = {PORT: PORT} | {number: new for new, number in enumerate(inside)}

    def place(number: int) -> int:
        return numbers.get(number, PORT)

    moves = [
        Move(values=move.values, source=place(move.source), target=place(move.target), tensor=move.tensor)
        for move in (*dataflow.moves, *(read for read in _inputs(dataflow) if read.target not in numbers))
        if place(move.source) != place(move.target)
    ]
    return Dataflow(
        uses=tuple(
            replace(
                use,
                home=place(use.home),
                reads=tuple(replace(read, source=numbers[read.source]) for read in use.reads if read.source in numbers),
            )
            for use in (dataflow.uses[number] for number in inside)
        ),
        outputs=tuple(range(len(inside))),
        moves=tuple(dict.fromkeys(moves)),
        factors={numbers[number]: values for number, values in dataflow.factors.items() if number in numbers},
    )


def _inputs(dataflow: Dataflow) -> list[Move]:
    """Tensors that uses read, from where they are."""
    return [
        Move(values=use.input_values, source=use.home, target=number, tensor=use.tensor)
        for number, use in enumerate(dataflow.uses)
    ]


def port_values(part: Dataflow) -> int:
    """Values that come in and go out for one inference, each tensor once either way; unknown ones are left out."""
    coming = {use.tensor: use.input_values or 0 for use in part.uses if use.home == PORT}
    coming |= {move.tensor: move.values or 0 for move in part.moves if move.source == PORT}
    going = {move.tensor: move.values or 0 for move in part.moves if move.target == PORT}
    return sum(coming.values()) + sum(going.values())


def waiting_values(dataflow: Dataflow, segments: Mapping[str, int]) -> int:
    """Most values of one inference that wait between two segments, inputs of the model left out."""
    ends: dict[str, tuple[int, int, int]] = {}
    for move in (*dataflow.moves, *_inputs(dataflow)):
        if PORT not in (move.source, move.target):
            made, read = (segments[dataflow.uses[number].layer] for number in (move.source, move.target))
            values, first, last = ends.get(move.tensor, (move.values or 0, made, read))
            ends[move.tensor] = values, first, max(last, read)
    cuts = range(max(segments.values(), default=0))
    return max((sum(values for values, made, last in ends.values() if made <= cut < last) for cut in cuts), default=0)
