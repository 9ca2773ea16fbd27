"""Outlines as text: what is written comes back whole, and what nobody writes is refused and fills no memory."""

import copy
import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hw_models
from bsc.chip.outline import Outline, outline_of
from bsc.cost.counts import LayerCounts, count_mapping
from bsc.errors import BscError
from bsc.exploration.mapping import MappingResult
from bsc.exploration.outlines import MOST_NUMBERS, _runs, _Tables, outline_from_json, outline_to_json
from bsc.exploration.placing import PlacingJob, PlacingResult
from bsc.testing import random_weights, tiny_model
from passes.place import Place
from tests.bsc.plans import ISAAC, model_plan

LAW = hw_models.load_law("isaac")
SKIP = """(float[1,2,6,6] x) => (float[] y) {
    [a] p = Conv <pads = [1, 1, 1, 1]> (x, a)  q = Relu (p)  [b] r = Conv <pads = [1, 1, 1, 1]> (q, b)
    s = Add (r, q)  t = GlobalAveragePool (s)  u = Flatten (t)  [d] y = MatMul (u, d) }"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outline, tuple[LayerCounts, ...]]:
    """A residual block, and its counts."""
    weights = {"a": random_weights(6, 2, 3, 3), "b": random_weights(6, 6, 3, 3, seed=1), "d": random_weights(6, 5)}
    mapping = model_plan(tiny_model(SKIP, weights), tmp_path_factory.mktemp("model")).mapping
    return outline_of(mapping), tuple(count_mapping(mapping))


@given(st.lists(st.integers(0, 40), max_size=60) | st.lists(st.sampled_from([0, 1, 2]), max_size=60).map(sorted))
def test_runs(numbers: list[int]) -> None:
    table = np.array(numbers, np.int64)
    assert _Tables().read(_runs(table), 0, 40).tolist() == numbers


def test_runs_by_hand() -> None:
    assert _runs(np.array([0, 1, 2, 3, 3, 3])) == (0, 1, 3, 0, 2)
    assert _runs(np.array([7])) == (7,)
    assert len(_runs(np.arange(100_000) // 100 * 100)) < 5_000


def test_outlines_come_back_whole(whole: tuple[Outline, tuple[LayerCounts, ...]]) -> None:
    outline, counts = whole
    text = outline_to_json(outline)
    back = outline_from_json(text, counts)
    assert outline_to_json(back) == text
    assert back.record == outline.record
    assert back.dataflow.moves == outline.dataflow.moves
    assert back.dataflow.work == outline.dataflow.work
    assert back.dataflow.factors == outline.dataflow.factors
    for one, other in zip(back.dataflow.uses, outline.dataflow.uses, strict=True):
        for read, as_was in zip(one.reads, other.reads, strict=True):
            assert (read.source, read.first.tolist(), read.last.tolist()) == (
                as_was.source,
                as_was.first.tolist(),
                as_was.last.tolist(),
            )
    assert back.layouts is not None
    assert outline.layouts is not None
    for mine, was in zip(back.layouts, outline.layouts, strict=True):
        assert [each.tolist() for each in mine.block_lines] == [each.tolist() for each in was.block_lines]
        for name in ("block", "column_tile", "block_rows", "widths"):
            assert getattr(mine, name).tolist() == getattr(was, name).tolist()


def figures(outline: Outline, counts: tuple[LayerCounts, ...], place: Place) -> PlacingResult:
    counted = MappingResult(key="k", pipeline="p", counts=counts, outline=outline)
    return PlacingJob(key="k/0", counted=counted, target=ISAAC, law=LAW, own_law=LAW, place=place).done()


@pytest.mark.parametrize("copies", ["none", "isaac", "throughput", "latency"])
def test_figures_are_the_same_from_the_text(copies: Any, whole: tuple[Outline, tuple[LayerCounts, ...]]) -> None:
    outline, counts = whole
    place = Place(copies=copies, tiles=2)
    found = figures(outline, counts, place)
    assert found.code is None
    assert figures(outline_from_json(outline_to_json(outline), counts), counts, place).figures == found.figures


def test_another_version_of_bsc_is_no_use(whole: tuple[Outline, tuple[LayerCounts, ...]]) -> None:
    outline, counts = whole
    counted = MappingResult(key="k", counts=counts, outline=outline)
    job = PlacingJob(key="k/0", counted=counted, target=ISAAC, law=LAW, own_law=LAW, place=Place(), version="0.0.1")
    answer = job.done()
    assert (answer.fatal, answer.code, answer.fix) == (True, "BSC210", "install bsc 0.0.1 there")


Path = tuple[str | int, ...]


@pytest.mark.parametrize(
    ("path", "value", "seen"),
    [
        (("layouts", 0, "block"), [0], "an outline of other crossbars than the counts"),
        (("layouts", 0, "block"), [0, 0, 1 << 40], "an outline with tables of more than"),
        (("layouts", 0, "block"), [0, 0], "an outline with a table that ends too early"),
        (("layouts", 0, "block"), [0, 1, -1], "an outline with a table that ends too early"),
        (("layouts", 0, "column_tile"), [5, 0, 7], "an outline with a table beyond 0 to 0"),
        (("layouts", 0, "block_lines"), [], "an outline with blocks without lines"),
        (("layouts",), [], "an outline of other layers than its layouts"),
        (("mapping", "layers"), [], "an outline that cannot be read: mapping: Value error, layers and steps do not"),
        (("uses", 1, "reads", 0, "source"), 1, "an outline with a use that waits for a later one"),
        (("uses", 1, "reads", 0, "last"), [1], "an outline with missing rows"),
        (("uses", 1, "home"), 1, "an outline with a use that cannot be"),
        (("uses", 1, "rows"), 5, "an outline with"),
        (("uses", 1, "rows"), 0, "an outline that cannot be read: uses.1.rows: Input should be greater than or equal"),
        (("uses", 1, "layer"), "z", "an outline with a use of 'z', which is no layer"),
        (("uses", 1, "input_shape"), [1, 6, 1 << 17, 1 << 17], "an outline that does not"),
        (("uses", 1, "input_shape"), [6], "an outline with an input that does not fit 'b'"),
        (("moves", 0, "source"), 9, "an outline with a move to nowhere"),
        (("outputs",), [9], "an outline with an output of no use"),
        (("work", 0, "work"), {"products": 1}, "an outline that cannot be read: work.0.work.additions"),
    ],
)
def test_outlines_that_no_sweep_writes(
    path: Path, value: Any, seen: str, whole: tuple[Outline, tuple[LayerCounts, ...]]
) -> None:
    outline, counts = whole
    table = json.loads(outline_to_json(outline))
    _set(table, path, value)
    if path[-1] == "input_shape" and len(value) > 1:  # huge, but within what is followed: it fits
        outline_from_json(json.dumps(table), counts)
        return
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text follows
        outline_from_json(json.dumps(table), counts)
    assert str(caught.value).startswith(seen)
    assert MOST_NUMBERS * 8 <= 1 << 29


def _set(table: Any, path: Path, value: Any) -> None:
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value


VALUES: tuple[Any, ...] = (None, -1, 0, 1, 2, 7, 1.5, 1 << 40, 10**400, "", "a", [], {}, [1], [0, 1, 5])


@pytest.mark.parametrize("seed", range(150))
def test_single_values_altered_at_random(seed: int, whole: tuple[Outline, tuple[LayerCounts, ...]]) -> None:
    """What is not refused can be placed, or is an error of the design's."""
    outline, counts = whole
    choose = random.Random(seed)
    table = copy.deepcopy(json.loads(outline_to_json(outline)))
    place: Any = table
    while True:
        key = choose.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or choose.random() < 0.1:
            break
        place = place[key]
    place[key] = choose.choice(VALUES)
    try:
        altered = outline_from_json(json.dumps(table), counts)
    except ValueError:
        return
    for copies in ("none", "latency"):
        try:
            found = figures(altered, counts, Place(copies=copies, tiles=2))
        except BscError as error:
            pytest.fail(str(error))
        assert found.code in (None, "BSC404")
