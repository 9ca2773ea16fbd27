"""Segments of models that are larger than the chips: by hand, against all other cuts, and against greedy filling."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from bsc.chip.copies import single
from bsc.chip.dataflow import PORT, Dataflow, Move, Read, Use
from bsc.chip.segments import (
    Load,
    choose_segments,
    filled_greedily,
    load_of,
    part_of,
    port_values,
    possible_cuts,
    segment_demand,
    shortest_way,
    slots_to_load,
    waiting_values,
)
from bsc.mapping.placement import ChipDemand, CopiesPolicy, Floor, LayerDemand, Reloading, Rules
from tests.bsc.chip.li_steps import ConvPool, resnet18, vgg
from tests.bsc.chip.test_copies import flow_of


def rules(slots: int, *, batch: int = 4, cell_s: float = 0.0, policy: CopiesPolicy = "none") -> Rules:
    reload = Reloading(batch=batch, cell_s=cell_s, cell_j=1e-12, updates=None, device=None)
    return Rules(policy=policy, slots=slots, power_w=None, pack=False, reload=reload)


def demand_of(*layers: tuple[int, int, float], link: float | None = None) -> ChipDemand:
    """Layers '0', '1' and so on: crossbars, vectors and seconds of a vector; a crossbar has 100 cells."""
    return ChipDemand(
        floor=Floor(levels=(8, 4), shared=1),
        layers=tuple(
            LayerDemand(name=str(at), crossbars=crossbars, vectors=vectors, vector_s=time, weight_bits=1000 * crossbars)
            for at, (crossbars, vectors, time) in enumerate(layers)
        ),
        value_bits=8,
        link_bits_per_s=link,
        crossbar_cells=100,
    )


def chain(vectors: Sequence[int], values: int = 10) -> Dataflow:
    """Each layer needs all that the one before it gives."""
    return Dataflow(
        uses=tuple(
            Use(
                layer=str(at),
                vectors=number,
                rows=1,
                row_values=values,
                reads=(Read(source=at - 1, first=np.array([0]), last=np.array([1])),) if at else (),
                window_rows=1,
                input_row_values=values,
                input_shape=(values,),
                home=at - 1,
                tensor=f"t{at}",
            )
            for at, number in enumerate(vectors)
        ),
        outputs=(len(vectors) - 1,),
        moves=(Move(values=values, source=len(vectors) - 1, target=PORT, tensor="y"),),
    )


def spans(loads: Sequence[Load]) -> list[tuple[str, ...]]:
    return [load.layers for load in loads]


def seconds(loads: Sequence[Load], reload: Reloading) -> float:
    """Of a batch; a model that is there as a whole is not written."""
    written = 0.0 if len(loads) == 1 else math.fsum(load.write_s(reload) for load in loads)
    return written + math.fsum(load.compute_s(reload.batch) for load in loads)


def test_by_hand() -> None:
    """Three layers take 4 places each, and there are 8."""
    demand, flow = demand_of((4, 1, 1.0), (4, 5, 1.0), (4, 1, 1.0)), chain([1, 5, 1])
    given = rules(8, cell_s=0.001)  # writing takes 100 cells x 1 ms
    loads = choose_segments(demand, given, flow)
    # 0 alone: 0.1 + 1 + 3 x 1 = 4.1, then 1 and 2: 0.1 + (5 + 1) + 3 x 5 = 21.1. Of equal ways the earliest cut wins.
    assert spans(loads) == [("0",), ("1", "2")]
    assert given.reload is not None
    assert [load.write_s(given.reload) for load in loads] == [0.1, 0.1]
    assert [load.compute_s(4) for load in loads] == [4, 21]
    assert [load.write_j(given.reload) for load in loads] == pytest.approx([4 * 100e-12, 8 * 100e-12])
    # With copies a layer alone has two, which is worth another writing: 1 takes 0.1 + 3 + 3 x 2.5 = 10.6.
    fast = choose_segments(demand, rules(8, cell_s=0.001, policy="throughput"), flow)
    assert spans(fast) == [("0",), ("1",), ("2",)]
    assert [load.copies for load in fast] == [{"0": 2}, {"1": 2}, {"2": 2}]


def test_weights_come_over_the_links_and_so_do_activations() -> None:
    demand, flow = demand_of((4, 1, 1.0), (4, 1, 1.0), link=100.0), chain([1, 1])
    first, second = choose_segments(demand, rules(4), flow)
    reload = Reloading(batch=4, cell_s=0.0, cell_j=0.0, updates=None, device=None)
    assert first.write_s(reload) == 4000 / 100
    assert first.demand.io_bits == second.demand.io_bits == 20 * 8  # 10 values in, 10 out
    assert first.compute_s(3) == 1 + 2 * 160 / 100
    assert waiting_values(flow, {"0": 0, "1": 1}) == 10
    assert waiting_values(flow, {"0": 0, "1": 0}) == 0


def test_what_fits_is_not_reloaded_unless_that_is_faster() -> None:
    demand, flow = demand_of((4, 8, 1.0), (4, 8, 1.0)), chain([8, 8])
    assert spans(choose_segments(demand, rules(8), flow)) == [("0", "1")]
    assert spans(choose_segments(demand, rules(32, cell_s=1.0), flow)) == [("0", "1")]
    # Four places beyond one copy each buy nothing while both are there; alone, each layer has a second copy.
    uneven = demand_of((5, 8, 1.0), (5, 8, 1.0))
    assert spans(choose_segments(uneven, rules(14, batch=100, policy="throughput"), flow)) == [("0",), ("1",)]


def test_a_way_is_the_cheapest_and_not_the_one_with_fewest_stops() -> None:
    costs = {(0, 1): (1.0, 1), (1, 2): (1.0, 1), (2, 3): (1.0, 1), (0, 2): (5.0, 1), (1, 3): (1.5, 1)}
    assert shortest_way([0, 1, 2, 3], costs.get) == [(0, 1), (1, 3)]
    equal = costs | {(1, 3): (2.0, 3)}  # as fast, and writes one crossbar more
    assert shortest_way([0, 1, 2, 3], equal.get) == [(0, 1), (1, 2), (2, 3)]


@settings(max_examples=60, deadline=None)
@drawn(
    layers=st.lists(
        st.tuples(st.integers(0, 6), st.integers(1, 30), st.sampled_from([0.5, 1.0, 3.0])), min_size=1, max_size=7
    ),
    link=st.sampled_from([None, 1e3, 1e5]),
    given=st.builds(
        rules,
        st.integers(6, 16),
        batch=st.integers(1, 20),
        cell_s=st.sampled_from([0.0, 0.001, 0.1]),
        policy=st.sampled_from(["none", "throughput"]),
    ),
)
def test_no_other_cuts_are_faster(layers: list[tuple[int, int, float]], link: float | None, given: Rules) -> None:
    """Every set of cuts is tried."""
    demand, flow = demand_of(*layers, link=link), chain([vectors for _, vectors, _ in layers])
    assert given.reload is not None
    found = choose_segments(demand, given, flow)
    assert [name for load in found for name in load.layers] == [layer.name for layer in demand.layers]
    assert all(load.slots <= given.slots for load in found)
    best = math.inf
    for number in range(len(layers)):
        for inner in itertools.combinations(range(1, len(layers)), number):
            stops = (0, *inner, len(layers))
            parts = [segment_demand(demand, flow, span) for span in itertools.pairwise(stops)]
            if all(part.slots(single(part.layers)) <= given.slots for part in parts):
                best = min(best, seconds([load_of(part, given, flow) for part in parts], given.reload))
    assert seconds(found, given.reload) == pytest.approx(best)
    assert best <= seconds(filled_greedily(demand, given, flow), given.reload) * (1 + 1e-9)


def test_layers_that_a_loop_goes_through_stay_together() -> None:
    """Layer 0 is used again behind layer 1, as in a recurrent network, and layer 2 follows."""
    one, two, three = chain([1, 1, 1]).uses
    again = replace(one, reads=two.reads, home=1, tensor="t3")
    again = replace(again, reads=(Read(source=1, first=np.array([0]), last=np.array([1])),))
    last = replace(three, reads=(Read(source=2, first=np.array([0]), last=np.array([1])),), home=2)
    flow, demand = (
        Dataflow(uses=(one, two, again, last), outputs=(3,)),
        demand_of((4, 2, 1.0), (4, 1, 1.0), (4, 1, 1.0)),
    )
    assert possible_cuts(demand, flow) == [0, 2, 3]
    reload = rules(8).reload
    assert slots_to_load(demand, reload, lambda: flow) == 8
    assert slots_to_load(demand, None, lambda: flow) == 12
    assert spans(choose_segments(demand, rules(8), flow)) == [("0", "1"), ("2",)]


def test_what_crosses_a_cut_goes_out_once_and_comes_back() -> None:
    """A residual block whose skip goes around the cut: layer 1 and the addition behind layer 2 read the same tensor."""
    uses = list(chain([1, 1, 1]).uses)
    flow = Dataflow(
        uses=tuple(uses),
        outputs=(2,),
        moves=(
            Move(values=10, source=0, target=2, tensor="t1"),  # the skip
            Move(values=7, source=1, target=2, tensor="other"),
            Move(values=10, source=2, target=PORT, tensor="y"),
        ),
    )
    first, rest = part_of(flow, {"0"}), part_of(flow, {"1", "2"})
    assert first.moves == (Move(values=10, source=0, target=PORT, tensor="t1"),)
    assert port_values(first) == 10 + 10  # the input of the model, and t1
    assert [(move.source, move.target) for move in rest.moves] == [(PORT, 1), (0, 1), (1, PORT)]
    assert port_values(rest) == 10 + 10  # t1 once, though two read it; y
    assert rest.uses[0].reads == ()
    assert waiting_values(flow, {"0": 0, "1": 1, "2": 1}) == 10
    assert waiting_values(flow, {"0": 0, "1": 1, "2": 2}) == 10 + 7 + 10  # t1 for the skip, t2 and the other one


FC = [
    ConvPool(inputs=inputs, outputs=outputs, width=1, kernel=1, pad=0)
    for inputs, outputs in ((25088, 4096), (4096, 4096), (4096, 1000))
]


def squeezenet() -> tuple[list[ConvPool], list[tuple[int, ...]]]:
    """SqueezeNet 1.1 of Iandola et al., 2016, and the layers that each layer reads."""
    layers = [ConvPool(inputs=3, outputs=64, width=111, stride=2, pad=0)]
    sources: list[tuple[int, ...]] = [()]
    before: tuple[int, ...] = (0,)
    inputs = 64
    fires = (
        (16, 64, 55),
        (16, 64, 55),
        (32, 128, 27),
        (32, 128, 27),
        (48, 192, 13),
        (48, 192, 13),
        (64, 256, 13),
        (64, 256, 13),
    )
    for narrow, wide, width in fires:
        squeeze = len(layers)
        layers.append(ConvPool(inputs=inputs, outputs=narrow, width=width, kernel=1, pad=0))
        layers += [ConvPool(inputs=narrow, outputs=wide, width=width, kernel=size, pad=size // 2) for size in (1, 3)]
        sources += [before, (squeeze,), (squeeze,)]
        before, inputs = (squeeze + 1, squeeze + 2), 2 * wide
    layers.append(ConvPool(inputs=512, outputs=1000, width=13, kernel=1, pad=0))
    return layers, [*sources, before]


def network(name: str) -> tuple[ChipDemand, Dataflow]:
    """Of published shapes, dense, pairs of four slices, on crossbars and links of an ISAAC."""
    convolutions = vgg(2, 2, 3, 3, 3)
    layers = {"ResNet-18": resnet18(), "VGG-16, convolutions": convolutions, "VGG-16": [*convolutions, *FC]}.get(
        name, []
    )
    sources: list[tuple[int, ...]] = [(at - 1,) if at else () for at in range(len(layers))]
    uses = flow_of(layers).uses
    if not layers:  # whole tensors wait for each other
        layers, sources = squeezenet()
        uses = tuple(
            Use(
                layer=str(at),
                vectors=layer.vectors,
                rows=1,
                row_values=layer.vectors * layer.outputs,
                window_rows=1,
                input_row_values=0,
                reads=tuple(Read(source=each, first=np.array([0]), last=np.array([1])) for each in sources[at]),
            )
            for at, layer in enumerate(layers)
        )
    uses = tuple(
        replace(
            use,
            tensor=f"t{sources[at]}",
            home=max(sources[at], default=PORT),
            input_shape=(layer.inputs, (layer.width * layer.stride) ** 2),
        )
        for at, (use, layer) in enumerate(zip(uses, layers, strict=True))
    )
    demands = tuple(
        LayerDemand(
            name=str(at),
            crossbars=8 * layer.crossbars(128),
            vectors=layer.vectors,
            vector_s=1.6e-6,
            weight_bits=9 * layer.inputs * layer.outputs * layer.kernel**2,
        )
        for at, layer in enumerate(layers)
    )
    floor = Floor(levels=(8, 12, 168), shared=8)
    demand = ChipDemand(floor=floor, layers=demands, value_bits=8, link_bits_per_s=204.8e9, crossbar_cells=1 << 14)
    return demand, Dataflow(uses=uses, outputs=(len(uses) - 1,))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "share", "over_greedy"),
    [
        ("VGG-16", 64512 / 67632, 3.72),  # four chips for what takes five
        ("VGG-16, convolutions", 1 / 3, 1.26),
        ("VGG-16, convolutions", 2 / 3, 1.76),
        ("ResNet-18", 1 / 3, 2.0),
        ("ResNet-18", 2 / 3, 2.74),
        ("SqueezeNet", 1 / 3, 3.81),
        ("SqueezeNet", 2 / 3, 3.89),
    ],
)
def test_faster_than_greedy_filling(name: str, share: float, over_greedy: float) -> None:
    """On a share of the crossbars that one copy takes, batches of 16; COMPASS has 1.78 times for such networks."""
    demand, flow = network(name)
    need = demand.slots(single(demand.layers))
    given = rules(
        max(int(share * need), slots_to_load(demand, rules(1).reload, lambda: flow)),
        batch=16,
        cell_s=4e-8,
        policy="throughput",
    )
    assert given.reload is not None
    ours, greedy = (seconds(find(demand, given, flow), given.reload) for find in (choose_segments, filled_greedily))
    assert greedy / ours == pytest.approx(over_greedy, rel=0.01)
    alone = [load_of(segment_demand(demand, flow, (at, at + 1)), given, flow) for at in range(len(demand.layers))]
    assert seconds(alone, given.reload) >= ours
