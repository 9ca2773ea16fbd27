from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from bsc.errors import ModelError, UsageError
from bsc.ir import pipeline
from bsc.ir.graph import Graph
from bsc.ir.passbase import Pass, PassResult, Stage
from bsc.ir.pipeline import PassTime, format_pipeline, parse_pipeline, run_pipeline
from bsc.mapping.arrays import array_key
from passes import PASSES
from passes.assign_adc import AssignAdc
from passes.eliminate import Eliminate
from passes.fold_batchnorm import FoldBatchNorm
from passes.quantize import Quantize
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.passes.layers import coded_layer, float_layer, the_layer

DEFAULT_TEXT = (
    "fold-batchnorm,quantize{bits=8 activation-bits=8 scale=power-of-two per=tensor},"
    "slice-bits{bits-per-cell=2 dac-bits=1 encoding=differential subtraction=digital flip=no cut=even},"
    "eliminate{rows=128 dead=same-bits},"
    "tile{rows=128 cols=128 active-rows=128},"
    "assign-adc{policy=lossless granularity=column bits=8}"
)
DEFAULTS = (FoldBatchNorm(), Quantize(), SliceBits(), Eliminate(), Tile(), AssignAdc())

VALUES: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-1, 20) | st.integers(),
    float: st.floats(),
    str: st.sampled_from(["even", "4-2-2", "1", "some"]),
}
"""Values of options by type, also some that no pass accepts; words are taken from the type itself."""


@dataclass(frozen=True)
class Scaled(Pass):
    """A user's pass with options of every type."""

    name = "scaled"

    factor: float = 1.0
    how_often: int = 1
    mode: Literal["up", "up-or-down"] = "up"

    def run(self, graph: Graph) -> PassResult:
        return PassResult(graph, ())


@st.composite
def any_pass(draw: st.DrawFn) -> Pass:
    cls = draw(st.sampled_from(list(PASSES.values())))
    types, chosen = get_type_hints(cls), dict[str, Any]()
    for field in fields(cls):
        kind = types[field.name]
        if kind == tuple[str, ...]:
            value: Any = tuple(draw(st.lists(st.text(min_size=1))))
        else:
            value = draw(VALUES[kind] if kind in VALUES else st.sampled_from(get_args(kind)))
        if accepted(cls, {field.name: value}):
            chosen[field.name] = value
    if not accepted(cls, chosen):  # options that contradict each other
        reject()
    return cls(**chosen)


def accepted(cls: type[Pass], options: Mapping[str, Any]) -> bool:
    try:
        cls(**options)
    except UsageError:
        return False
    return True


@settings(deadline=None)
@given(st.lists(any_pass(), min_size=1, max_size=8))
def test_text_round_trips(passes: list[Pass]) -> None:
    assert parse_pipeline(format_pipeline(passes), PASSES) == tuple(passes)


@settings(deadline=None)
@given(st.floats(allow_nan=False), st.integers(), st.sampled_from(["up", "up-or-down"]))
def test_text_of_a_users_pass_round_trips(factor: float, how_often: int, mode: Any) -> None:
    step = Scaled(factor=factor, how_often=how_often, mode=mode)
    assert parse_pipeline(format_pipeline([step]), {"scaled": Scaled}) == (step,)


def test_format_by_hand() -> None:
    assert format_pipeline(DEFAULTS) == DEFAULT_TEXT
    assert format_pipeline([]) == ""


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("quantize", (Quantize(),)),
        ("quantize{}", (Quantize(),)),
        ("quantize{bits=4 per=channel}", (Quantize(bits=4, per="channel"),)),
        (" quantize { bits=4 } ,\n tile{ rows=8 }", (Quantize(bits=4), Tile(rows=8))),
        ("tile,tile", (Tile(), Tile())),
        (DEFAULT_TEXT, DEFAULTS),
        ("tile{only=a}", (Tile(only=("a",)),)),
        ("tile{only=/conv.1/Conv;a%20b%7B%3B%2C%7D;%E4%B8%AD}", (Tile(only=("/conv.1/Conv", "a b{;,}", "中")),)),
    ],
)
def test_parse_by_hand(text: str, passes: tuple[Pass, ...]) -> None:
    assert parse_pipeline(text, PASSES) == passes


SYNTAX_FIX = "write passes as NAME or NAME{OPTION=VALUE OPTION=VALUE}, with commas between them"
QUANTIZE_OPTIONS = "options are bits=..., activation-bits=..., scale=..., per=..."


@pytest.mark.parametrize(
    ("text", "problem", "seen", "fix"),
    [
        ("", "cannot be read", "an empty text", SYNTAX_FIX),
        (" ", "cannot be read", "' ' at character 1", SYNTAX_FIX),
        ("quantize,", "cannot be read", "',' at character 9", SYNTAX_FIX),
        ("quantize,,tile", "cannot be read", "',tile' at character 10", SYNTAX_FIX),
        ("quantize tile", "cannot be read", "'quantize tile' at character 1", SYNTAX_FIX),
        ("tile,quantize{bits=8", "cannot be read", "'quantize{bits=8' at character 6", SYNTAX_FIX),
        ("tile{rows={8}}", "cannot be read", "'tile{rows={8}}' at character 1", SYNTAX_FIX),
        ("Tile", "cannot be read", "'Tile' at character 1", SYNTAX_FIX),
        ("quantise", "unknown pass 'quantise'", f"passes are {', '.join(PASSES)}", "did you mean 'quantize'?"),
        ("xyz", "unknown pass 'xyz'", f"passes are {', '.join(PASSES)}", "use one of these"),
        ("quantize{bit=8}", "pass 'quantize' has no option 'bit=8'", QUANTIZE_OPTIONS, "did you mean 'bits'?"),
        ("quantize{bits}", "pass 'quantize' has no option 'bits'", QUANTIZE_OPTIONS, "did you mean 'bits'?"),
        ("quantize{name=x}", "pass 'quantize' has no option 'name=x'", QUANTIZE_OPTIONS, "use one of these"),
        (
            "eliminate{all=1}",
            "pass 'eliminate' has no option 'all=1'",
            "options are rows=..., dead=...",
            "use one of these",
        ),
        (
            "slice-bits{bits_per_cell=2}",
            "pass 'slice-bits' has no option 'bits_per_cell=2'",
            "options are bits-per-cell=..., dac-bits=..., encoding=..., subtraction=..., flip=..., cut=..., only=...",
            "did you mean 'bits-per-cell'?",
        ),
        ("tile{rows=8 rows=9}", "pass 'tile' has option 'rows' twice", "{rows=8 rows=9}", "keep one of them"),
        ("tile{rows=8.5}", "tile{rows=...} must be a whole number", "'8.5'", "change the value"),
        ("tile{rows=}", "tile{rows=...} must be a whole number", "''", "change the value"),
        ("scaled{factor=x}", "scaled{factor=...} must be a number", "'x'", "change the value"),
        ("tile{only=}", "tile{only=...} must be names with semicolons between them", "''", "change the value"),
        ("tile{only=a;;b}", "tile{only=...} must be names with semicolons between them", "'a;;b'", "change the value"),
        ("quantize{per=row}", "quantize{per=...} must be tensor or channel", "'row'", "change the value"),
    ],
)
def test_words(text: str, problem: str, seen: str, fix: str) -> None:
    registry: Mapping[str, type[Pass]] = PASSES | {"scaled": Scaled} if "scaled" in text else PASSES
    with pytest.raises(UsageError) as caught:
        parse_pipeline(text, registry)
    assert str(caught.value) == f"[BSC205] pipeline: {problem}\n  seen: {seen}\n  fix:  {fix}"


def test_a_value_out_of_range_is_refused_while_reading() -> None:
    with pytest.raises(UsageError, match=r"\[BSC205\] pass 'tile': rows must be 1 to 16384\n  seen: 0\n"):
        parse_pipeline("quantize,tile{rows=0}", PASSES)


def test_passes_are_listed_by_name_in_the_order_of_stages() -> None:
    stages = [cls.stage for cls in PASSES.values()]
    assert stages == sorted(stages, key=get_args(Stage).index)
    assert all(name == cls.name for name, cls in PASSES.items())


def test_run_maps_a_layer_and_reports_each_pass() -> None:
    graph = float_layer([[0.5, 0.0], [-0.25, 0.0]])
    seen: list[tuple[int, str, bool]] = []

    def after_pass(position: int, step: Pass, result: Graph) -> None:
        seen.append((position, step.name, the_layer(result).adc is not None))

    mapped, times = run_pipeline(graph, DEFAULTS, after_pass=after_pass)
    assert seen == [(position, step.name, step.name == "assign-adc") for position, step in enumerate(DEFAULTS)]
    assert [pass_time.name for pass_time in times] == [step.name for step in DEFAULTS]
    assert all(pass_time.seconds >= 0 for pass_time in times)
    assert the_layer(graph).quant is None
    assert the_layer(mapped).adc is not None
    again, _ = run_pipeline(mapped, DEFAULTS)
    assert again is mapped


def test_run_of_nothing() -> None:
    graph = float_layer([[1.0]])
    assert run_pipeline(graph, []) == (graph, [])


def test_passes_may_be_split_over_two_runs() -> None:
    graph = float_layer(np.linspace(-1, 1, 12).reshape(4, 3))
    whole, _ = run_pipeline(graph, DEFAULTS)
    first, _ = run_pipeline(graph, DEFAULTS[:3])
    second, _ = run_pipeline(first, DEFAULTS[3:])
    assert str(second) == str(whole)


def test_an_error_of_a_pass_comes_through_and_the_callback_saw_the_passes_before() -> None:
    seen: list[int] = []
    with pytest.raises(ModelError, match="BSC309"):
        run_pipeline(float_layer([[1.0]]), [Quantize(), Tile()], after_pass=lambda position, *_: seen.append(position))
    assert seen == [0]


@dataclass(frozen=True)
class Planted(Pass):
    """A pass that does and claims what the test wants."""

    name = "planted"

    result: PassResult
    work: Callable[[], None] = lambda: None

    def run(self, graph: Graph) -> PassResult:  # noqa: ARG002
        self.work()
        return self.result


class Clock:
    """Stands in for the module `time`."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_the_time_is_the_passes_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(pipeline, "time", clock)
    same = PassResult(float_layer([[1.0]]), ())
    passes = [Planted(same), Planted(same, lambda: clock.wait(2.0))]
    _, times = run_pipeline(same.graph, passes, after_pass=lambda *_: clock.wait(5.0))
    assert times == [PassTime("planted", 0.0), PassTime("planted", 2.0)]


def test_a_pass_that_lies_about_what_it_changed_is_caught() -> None:
    graph = coded_layer([[1]])
    changed = graph.with_layers({"fc": replace(the_layer(graph), vectors=9)})
    with pytest.raises(AssertionError) as caught:
        run_pipeline(graph, [Planted(PassResult(changed, ()))])
    assert str(caught.value) == "pass 'planted' claims (), changed ['fc']"


def test_a_pass_that_breaks_an_invariant_is_caught() -> None:
    graph = Quantize().run(float_layer([[0.0]])).graph
    broken = graph.with_layers({}, {array_key("fc", "codes"): np.array([[256]])})
    seen: list[int] = []
    with pytest.raises(AssertionError) as caught:
        run_pipeline(
            graph, [Planted(PassResult(broken, ("fc",)))], after_pass=lambda position, *_: seen.append(position)
        )
    assert str(caught.value) == "layer 'fc': array 'codes' has values outside -255 to 255"
    assert seen == []
