from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.chip.dataflow import Dataflow, Read, Use
from bsc.chip.timing import critical_path, time_of
from bsc.mapping.placement import LayerDemand


def use(layer: str, vectors: int, rows: int, **reads: Sequence[int]) -> Use:
    """A use that reads, up to the rows given, of uses by number: `_0=[1, 2]` is of use 0."""
    return Use(
        layer=layer,
        vectors=vectors,
        rows=rows,
        row_values=1,
        reads=tuple(
            Read(source=int(source[1:]), first=np.zeros(rows, np.int64), last=np.array(last))
            for source, last in reads.items()
        ),
        window_rows=1,
        input_row_values=1,
    )


def layers(**vector_s: float) -> tuple[LayerDemand, ...]:
    return tuple(LayerDemand(name=name, crossbars=1, vectors=4, vector_s=time) for name, time in vector_s.items())


def test_two_layers_line_by_line_by_hand() -> None:
    """Lines of `a` are done at 2, 4, 6 and 8; `b` needs two of them for its first line, then takes 3 each."""
    flow = Dataflow(uses=(use("a", 8, 4), use("b", 4, 4, _0=[2, 3, 4, 4])), outputs=(1,))
    demands = (
        LayerDemand(name="a", crossbars=1, vectors=8, vector_s=1.0),
        LayerDemand(name="b", crossbars=1, vectors=4, vector_s=3.0),
    )
    timing = time_of(flow, demands, {"a": 1, "b": 1})
    assert timing.uses[0].ready_s.tolist() == [2, 4, 6, 8]
    assert timing.uses[1].waiting_s.tolist() == [4, 6, 8, 8]
    assert timing.uses[1].ready_s.tolist() == [7, 10, 13, 16]
    assert (timing.uses[1].start_s, timing.latency_s, timing.interval_s, timing.bottleneck) == (4, 16, 12, "b")
    assert critical_path(flow, timing, demands, {"a": 1, "b": 1}) == {"a": 4, "b": 12}
    faster = time_of(flow, demands, {"a": 1, "b": 2})
    assert faster.uses[1].ready_s.tolist() == [7, 9, 11, 12]  # 4, 6, 8 and 9, when the second copy is free
    assert (faster.latency_s, faster.interval_s, faster.bottleneck) == (12, 8, "a")


def test_branches_run_beside_each_other_and_a_join_waits_for_the_later_one() -> None:
    flow = Dataflow(
        uses=(
            use("a", 1, 1),
            use("left", 1, 1, _0=[1]),
            use("right", 1, 1, _0=[1]),
            use("join", 1, 1, _1=[1], _2=[1]),
        ),
        outputs=(3,),
    )
    demands = layers(a=1.0, left=2.0, right=5.0, join=1.0)
    copies = dict.fromkeys(("a", "left", "right", "join"), 1)
    timing = time_of(flow, demands, copies)
    assert timing.latency_s == 7
    assert critical_path(flow, timing, demands, copies) == {"a": 1, "right": 5, "join": 1}


def test_uses_of_one_layer_follow_each_other_without_a_gap() -> None:
    """Three copies, two uses of four vectors each: the fifth vector starts beside the fourth one."""
    flow = Dataflow(uses=(use("a", 4, 4), use("a", 4, 4)), outputs=(0, 1))
    demands = (LayerDemand(name="a", crossbars=1, vectors=8, vector_s=1.0),)
    assert time_of(flow, demands, {"a": 1}).latency_s == 8
    timing = time_of(flow, demands, {"a": 3})
    assert [each.ready_s.tolist() for each in timing.uses] == [[1, 1, 1, 2], [2, 2, 3, 3]]
    assert time_of(flow, demands, {"a": 8}).latency_s == 1
    assert time_of(flow, demands, {"a": 100}).latency_s == 1
    assert time_of(flow, demands, {"a": 5}).uses[1].ready_s.tolist() == [1, 2, 2, 2]


def test_a_recurrent_layer_waits_for_itself() -> None:
    flow = Dataflow(uses=(use("r", 1, 1), use("r", 1, 1, _0=[1]), use("r", 1, 1, _1=[1])), outputs=(2,))
    demands = (LayerDemand(name="r", crossbars=1, vectors=3, vector_s=2.0),)
    timing = time_of(flow, demands, {"r": 4})
    assert (timing.latency_s, timing.interval_s) == (6, 1.5)
    assert critical_path(flow, timing, demands, {"r": 4}) == {"r": 6}


def test_a_line_that_needs_none_of_a_source_starts_at_once() -> None:
    flow = Dataflow(uses=(use("a", 2, 2), use("b", 2, 2, _0=[0, 2])), outputs=(1,))
    demands = layers(a=5.0, b=1.0)
    timing = time_of(flow, demands, {"a": 1, "b": 1})
    assert timing.uses[1].ready_s.tolist() == [1, 11]


def test_layers_without_crossbars_take_no_time() -> None:
    flow = Dataflow(uses=(use("a", 2, 2), use("b", 2, 2, _0=[1, 2])), outputs=(1,))
    demands = (LayerDemand(name="a", crossbars=0, vectors=2, vector_s=0.0), *layers(b=1.0))
    timing = time_of(flow, demands, {"a": 1, "b": 1})
    assert timing.latency_s == 2
    assert critical_path(flow, timing, demands, {"a": 1, "b": 1}) == {"b": 2}
    nothing = time_of(Dataflow(uses=flow.uses[:1], outputs=(0,)), demands[:1], {"a": 1})
    assert (nothing.latency_s, nothing.interval_s, nothing.bottleneck) == (0, 0, None)


def test_a_model_without_layers_takes_no_time() -> None:
    timing = time_of(Dataflow(uses=(), outputs=()), (), {})
    assert (timing.latency_s, timing.interval_s, timing.bottleneck) == (0, 0, None)
    assert critical_path(Dataflow(uses=(), outputs=()), timing, (), {}) == {}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dataflow, tuple[LayerDemand, ...], dict[str, int]]:
    """Uses that read earlier ones in any monotone way, some of them of the same layer."""
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6))
    uses: list[Use] = []
    for at, name in enumerate(names):
        rows = draw(st.integers(1, 5))
        sources = draw(st.sets(st.integers(0, at - 1), max_size=2)) if at else set()
        reads = {
            f"_{source}": sorted(draw(st.lists(st.integers(0, uses[source].rows), min_size=rows, max_size=rows)))
            for source in sources
        }
        uses.append(use(name, rows * draw(st.integers(1, 4)), rows, **reads))
    demands = tuple(
        LayerDemand(
            name=name,
            crossbars=1,
            vectors=sum(each.vectors for each in uses if each.layer == name),
            vector_s=draw(st.sampled_from([0.1, 1.0, 2.5])),
        )
        for name in sorted(set(names))
    )
    copies = {demand.name: draw(st.integers(1, 4)) for demand in demands}
    return Dataflow(uses=tuple(uses), outputs=(len(uses) - 1,)), demands, copies


@settings(max_examples=60, deadline=None)
@given(cases())
def test_laws_of_time(case: tuple[Dataflow, tuple[LayerDemand, ...], dict[str, int]]) -> None:
    flow, demands, copies = case
    timing = time_of(flow, demands, copies)
    assert timing.interval_s == max(timing.busy_s.values())
    assert timing.busy_s == {demand.name: demand.busy_s / copies[demand.name] for demand in demands}
    spent = critical_path(flow, timing, demands, copies)
    assert sum(spent.values()) == pytest.approx(timing.latency_s, rel=1e-9)
    assert min(spent.values()) >= 0
    for each, found in zip(flow.uses, timing.uses, strict=True):
        assert np.all(np.diff(found.ready_s) >= 0)
        assert np.all(found.ready_s > found.waiting_s)
        least = -(-each.vectors // copies[each.layer]) * next(d.vector_s for d in demands if d.name == each.layer)
        assert found.end_s - found.start_s >= least * (1 - 1e-9)
    for name in copies:
        more = time_of(flow, demands, copies | {name: copies[name] + 1})
        assert more.latency_s <= timing.latency_s * (1 + 1e-12)
        assert more.interval_s <= timing.interval_s
