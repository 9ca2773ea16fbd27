"""Latency and interval beside those of an event simulation that knows the networks from their plain description."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from bsc.chip.buffers import layer_buffers
from bsc.chip.copies import Room, choose_copies
from bsc.chip.dataflow import Dataflow, dataflow_of
from bsc.chip.timing import time_of
from bsc.mapping.placement import ChipDemand, CopiesPolicy, Floor, LayerDemand, Rules, lay_down
from tests.bsc.chip import networks
from tests.bsc.chip.event_simulation import Chip, Slide, Stage, Way, interval, latency, whole
from tests.bsc.plans import model_plan

POLICIES: tuple[CopiesPolicy, ...] = ("none", "isaac", "throughput", "latency")
TILE_BYTES = 64 * 1024
"""The tile buffer of [isaac16], at one byte a value."""


ISAAC = Floor(levels=(8, 12, 168), shared=8)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and what it is, told once more.

    Attributes:
        model: makes it.
        stages: its layers, in the order of the program.
        inferences: that are simulated.
        slots: crossbars at hand.
        floor: of a chip.
        overtakes: vectors of a later use may come first where those of an earlier one wait: the model does not do that.
    """

    model: Callable[[], onnx.ModelProto]
    stages: Sequence[Stage]
    inferences: int = 40
    slots: int = 96
    floor: Floor = ISAAC
    overtakes: bool = False


def three(lines: int, stride: int = 1) -> Slide:
    """A kernel of three lines with one of padding."""
    return Slide(lines=lines, kernel=3, stride=stride, pad=1)


CHAIN = (
    Stage(layer="c0", lines=12, vectors=12),
    Stage(layer="c1", lines=3, vectors=3, ways=(Way(source=0, slides=(three(6, 2), three(12, 2))),)),
    Stage(layer="fc", lines=1, ways=(Way(source=1, slides=(whole(3),)),)),
)
E5, E8, E4 = Slide(lines=8, kernel=5, pad=2), Slide(lines=8), Slide(lines=4)
BRANCH = (
    Stage(layer="stem", lines=8, vectors=8),
    Stage(layer="left", lines=8, vectors=8, ways=(Way(source=0, slides=(E8,)),)),
    Stage(layer="right0", lines=8, vectors=8, ways=(Way(source=0, slides=(E5,)),)),
    Stage(layer="right1", lines=8, vectors=8, ways=(Way(source=2, slides=(E5,)),)),
    Stage(layer="out", lines=8, vectors=8, ways=(Way(source=1, slides=(E8,)), Way(source=3, slides=(E8,)))),
)
HALVED = Slide(lines=8, stride=2)
RESIDUAL = (
    Stage(layer="stem", lines=8, vectors=8),
    Stage(layer="b0", lines=8, vectors=8, ways=(Way(source=0, slides=(three(8),)),)),
    Stage(layer="b1", lines=8, vectors=8, ways=(Way(source=1, slides=(three(8),)),)),
    Stage(
        layer="b2",
        lines=4,
        vectors=4,
        ways=(Way(source=0, slides=(three(8, 2),)), Way(source=2, slides=(three(8, 2),))),
    ),
    Stage(layer="short", lines=4, vectors=4, ways=(Way(source=0, slides=(HALVED,)), Way(source=2, slides=(HALVED,)))),
    Stage(layer="b3", lines=4, vectors=4, ways=(Way(source=3, slides=(three(4),)),)),
    Stage(layer="out", lines=4, vectors=4, ways=(Way(source=4, slides=(E4,)), Way(source=5, slides=(E4,)))),
)
DENSE = (
    Stage(layer="stem", lines=6, vectors=6),
    *(
        Stage(
            layer=f"d{at}",
            lines=6,
            vectors=6,
            ways=tuple(Way(source=source, slides=(three(6),)) for source in range(at)),
        )
        for at in range(1, 4)
    ),
    Stage(
        layer="out",
        lines=6,
        vectors=6,
        ways=tuple(Way(source=source, slides=(Slide(lines=6),)) for source in range(4)),
    ),
)
DEPTHWISE = (
    Stage(layer="grow", lines=8, vectors=8),
    Stage(layer="deep", lines=8, vectors=8, ways=(Way(source=0, slides=(three(8),)),)),
    Stage(layer="squeeze", lines=1, ways=(Way(source=1, slides=(whole(8),)),)),
    Stage(layer="shrink", lines=8, vectors=8, ways=(Way(source=1, slides=(E8,)), Way(source=2, slides=(whole(1),)))),
    Stage(layer="out", lines=8, vectors=8, ways=(Way(source=3, slides=(E8,)),)),
)
STEPS = 7
LSTM = (
    Stage(layer="W", lines=STEPS),
    *(
        Stage(
            layer="R",
            lines=1,
            ways=(
                Way(source=0, slides=(Slide(lines=STEPS, kernel=step),)),
                *((Way(source=step - 1, slides=(whole(1),)),) if step > 1 else ()),
            ),
        )
        for step in range(1, STEPS)
    ),
    Stage(
        layer="head",
        lines=STEPS,
        ways=(
            Way(source=0, slides=(Slide(lines=STEPS),)),
            *(Way(source=step, slides=(Slide(lines=1, offset=step),)) for step in range(1, STEPS)),
        ),
    ),
)
TOKENS = 6
ATTENTION = (
    *(Stage(layer=name, lines=TOKENS) for name in "qkv"),
    Stage(
        layer="out",
        lines=TOKENS,
        ways=(
            Way(source=0, slides=(Slide(lines=TOKENS),)),
            Way(source=1, slides=(whole(TOKENS),)),
            Way(source=2, slides=(whole(TOKENS),)),
        ),
    ),
    Stage(layer="up", lines=TOKENS, ways=(Way(source=3, slides=(Slide(lines=TOKENS),)),)),
    Stage(layer="down", lines=TOKENS, ways=(Way(source=4, slides=(Slide(lines=TOKENS),)),)),
)
WIDE = (
    Stage(layer="c0", lines=4, vectors=224),
    Stage(layer="c1", lines=4, vectors=112, ways=(Way(source=0, slides=(three(4),)),)),
)
TALL = Slide(lines=20, kernel=13, pad=6)
SKIPPING = (
    Stage(layer="stem", lines=20, vectors=16),
    Stage(layer="down", lines=20, vectors=16, ways=(Way(source=0, slides=(TALL,)),)),
    Stage(layer="up", lines=20, vectors=16, ways=(Way(source=1, slides=(TALL,)),)),
    Stage(
        layer="out",
        lines=20,
        vectors=16,
        ways=(Way(source=0, slides=(Slide(lines=20),)), Way(source=2, slides=(Slide(lines=20),))),
    ),
)
SHARED = (
    Stage(layer="p0", lines=8, vectors=8),
    Stage(layer="p1", lines=4, vectors=4, ways=(Way(source=0, slides=(three(8, 2),)),)),
    Stage(layer="big", lines=8, vectors=8, ways=(Way(source=0, slides=(three(8),)),)),
    Stage(layer="big", lines=4, vectors=4, ways=(Way(source=1, slides=(three(4),)),)),
    Stage(
        layer="out",
        lines=8,
        vectors=8,
        ways=(Way(source=2, slides=(E8,)), Way(source=3, slides=(Slide(lines=4, repeat=2),))),
    ),
)

CASES = {
    "chain": Case(model=networks.chain, stages=CHAIN),
    "branch": Case(model=networks.branch, stages=BRANCH),
    "residual": Case(model=networks.residual, stages=RESIDUAL),
    "dense block": Case(model=networks.dense, stages=DENSE),
    "depthwise": Case(model=networks.depthwise, stages=DEPTHWISE),
    "lstm": Case(model=lambda: networks.lstm(STEPS), stages=LSTM, inferences=200),
    "attention": Case(model=networks.attention, stages=ATTENTION),
    "line buffer too large": Case(model=networks.wide, stages=WIDE, inferences=8),
    "skip buffer too large": Case(model=networks.skipping, stages=SKIPPING, inferences=8),
    "over two chips": Case(model=networks.chain, stages=CHAIN, slots=32, floor=Floor(levels=(8, 1, 2), shared=8)),
    "shared weights": Case(model=networks.shared, stages=SHARED, overtakes=True),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Timed:
    """A network with random times and sizes of its layers."""

    dataflow: Dataflow
    demand: ChipDemand
    stages: Sequence[Stage]
    vector_s: Mapping[str, int]


def timed(case: Case, folder: Path) -> Timed:
    mapping = model_plan(case.model(), folder).mapping
    rng = np.random.default_rng(3)
    layers = tuple(
        LayerDemand(
            name=layer.name,
            crossbars=int(rng.integers(1, 4)),
            vectors=layer.vectors,
            vector_s=float(rng.integers(3, 10)),
        )
        for layer in mapping.layers
    )
    dataflow = dataflow_of(mapping)
    names = [use.layer for use in dataflow.uses]
    stages = [
        Stage(layer=name, lines=stage.lines, vectors=stage.vectors, ways=stage.ways)
        for name, stage in zip(names, case.stages, strict=True)
    ]
    assert [name.split("/")[-1] for name in names] == [stage.layer for stage in case.stages]
    vector_s = {layer.name: int(layer.vector_s) for layer in layers}
    return Timed(
        dataflow=dataflow, demand=ChipDemand(floor=case.floor, layers=layers), stages=stages, vector_s=vector_s
    )


@pytest.mark.parametrize("name", CASES)
def test_latency_and_interval_are_those_of_the_simulation(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = timed(case, tmp_path)
    room = Room(demand=found.demand, slots=case.slots)
    rng = np.random.default_rng(4)
    chosen = [dict(choose_copies(policy, room, lambda: found.dataflow)) for policy in POLICIES]
    chosen += [{layer.name: int(rng.integers(1, 5)) for layer in found.demand.layers} for _ in range(2)]
    for copies in chosen:
        timing = time_of(found.dataflow, found.demand.layers, copies)
        slope = interval(found.stages, found.vector_s, copies, inferences=case.inferences)
        assert timing.interval_s == pytest.approx(slope, rel=0.02)
        batch = Chip(found.stages, found.vector_s, copies).finish_times(16)[-1]
        assert timing.latency_s + 15 * timing.interval_s == pytest.approx(batch, rel=0.1)
        simulated = latency(found.stages, found.vector_s, copies)
        if case.overtakes:
            assert timing.latency_s >= simulated * (1 - 1e-9)
        else:
            assert timing.latency_s == pytest.approx(simulated, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "layer", "line", "skip"),
    [("line buffer too large", "c1", 3 * 224 * 100, 0), ("skip buffer too large", "out", 16 * 344, 12 * 16 * 344)],
)
def test_two_of_the_networks_exceed_the_buffer_of_a_tile(
    name: str, layer: str, line: int, skip: int, tmp_path: Path
) -> None:
    buffer = layer_buffers(timed(CASES[name], tmp_path).dataflow)[layer]
    assert (buffer.line_values, buffer.skip_values) == (line, skip)
    assert line + skip > TILE_BYTES


def lines_needed(stages: Sequence[Stage], number: int, line: int) -> set[tuple[int, int]]:
    """All lines of stages that a line of a stage needs, on whatever way; itself left out."""
    needed: set[tuple[int, int]] = set()
    for way in stages[number].ways:
        for each in range(way.last(line) + 1):
            needed |= {(way.source, each)} | lines_needed(stages, way.source, each)
    return needed


def lines_ahead(stages: Sequence[Stage], number: int, source: int) -> int:
    """Lines of a source that are there before a line of a stage needs them, since the other ways take longer.

    Those are the lines that the other ways read themselves; if they read none, all those whose inputs they read.
    """
    most, stage = 0, stages[number]
    for line in range(stage.lines):
        others: set[tuple[int, int]] = set()
        for way in stage.ways:
            if way.source != source:
                for each in range(way.last(line) + 1):
                    others |= {(way.source, each)} | lines_needed(stages, way.source, each)
        own = max(way.last(line) for way in stage.ways if way.source == source)
        later = range(own + 1, stages[source].lines)
        if any(each == source for each, _ in others):
            there = sum((source, each) in others for each in later)
        else:
            there = sum(set() < lines_needed(stages, source, each) <= others for each in later)
        most = max(most, there)
    return most


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("lstm", "skip buffer too large")])
def test_skips_hold_the_lines_that_are_there_too_early(name: str, tmp_path: Path) -> None:
    stages, uses = CASES[name].stages, timed(CASES[name], tmp_path).dataflow.uses
    values = [use.row_values for use in uses]
    expected: dict[str, int] = {}
    for number, stage in enumerate(stages):
        waiting = sum(lines_ahead(stages, number, way.source) * values[way.source] for way in stage.ways)
        expected[uses[number].layer] = max(expected.get(uses[number].layer, 0), waiting)
    found = layer_buffers(timed(CASES[name], tmp_path).dataflow)
    assert {name: buffer.skip_values for name, buffer in found.items()} == expected


def test_one_of_the_networks_lies_on_two_chips(tmp_path: Path) -> None:
    case = CASES["over two chips"]
    found = timed(case, tmp_path)
    demand = found.demand
    copies = choose_copies("throughput", Room(demand=demand, slots=case.slots), lambda: found.dataflow)
    rules = Rules(policy="throughput", slots=case.slots, power_w=None, pack=False)
    placed = lay_down(demand, rules, copies)
    assert {
        case.floor.position(slot)[0] for each in placed.values() for slot in (each.first_slot, each.end_slot - 1)
    } == {0, 1}
