"""Which axis of which input is the batch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.frontend.shapes import FREE
from bsc.ir.graph import DigitalOp
from bsc.testing import assert_same_as_onnxruntime, imported, mlp_model, random_weights, tiny_model
from tests.bsc.frontend.declared import declared

W = random_weights(4, 3)
Axes = dict[str, int | None]


def gru(sizes: str) -> onnx.ModelProto:
    """A GRU of 4 inputs and 5 states."""
    weights = {"w": random_weights(1, 15, 4), "r": random_weights(1, 15, 5), "on": random_weights(5, 2)}
    return tiny_model(
        f"(float{sizes} x, float[1,B,5] h) => (float[] z, float[] n) {{"
        f" y, n = GRU <hidden_size = 5> (x, w, r, , , h)  z = MatMul(n, on) }}",
        weights,
    )


def two(x: str, u: str, body: str, **more: NDArray[Any]) -> onnx.ModelProto:
    return tiny_model(f"({x}, {u}) => (float[] y) {{ {body} }}", {"w": W, **more})


FOUND: Mapping[str, tuple[onnx.ModelProto, dict[str, tuple[int, ...]], Axes, bool]] = {
    "its name": (mlp_model(4, 3, batch="batch_size"), {}, {"x": 0}, True),
    "a dotted name": (declared(mlp_model(4, 3), x=["x.Batch.1", 4]), {}, {"x": 0}, True),
    "no name": (mlp_model(4, 3, batch="?"), {}, {"x": 0}, True),
    **{
        f"{size!r}": (declared(mlp_model(4, 3), x=[size, 4]), {}, {"x": 0}, True)
        for size in (-1, None, "", "None", "unk__12")
    },
    "a name that tells nothing": (mlp_model(4, 3, batch="s0"), {}, {"x": 0}, True),
    "a fixed size": (mlp_model(4, 3, batch=8), {}, {"x": 0}, False),
    "a size fixed by --input-shape": (mlp_model(4, 3), {"x": (8, 4)}, {"x": 0}, False),
    "a single sample": (mlp_model(4, 3, batch=1), {}, {"x": 0}, False),
    "a state whose batch is its second axis": (gru("[T,B,4]"), {"x": (3, FREE, 4)}, {"x": 1, "h": 1}, True),
    "that of a state fixed with the other's": (gru("[3,B,4]"), {"x": (3, 8, 4)}, {"x": 1, "h": 1}, False),
    "a mask without one": (
        two("float[N,4] x", "float[1,4] u", "a = Mul(x, u) y = MatMul(a, w)"),
        {},
        {"x": 0, "u": None},
        True,
    ),
    "a scale without axes": (
        two("float[N,4] x", "float u", "a = Mul(x, u) y = MatMul(a, w)"),
        {},
        {"x": 0, "u": None},
        True,
    ),
    "a table of as many rows": (
        two("float[8,4] x", "float[3,3] u", "a = MatMul(x, w) y = MatMul(a, u)"),
        {},
        {"x": 0, "u": None},
        False,
    ),
    "no batch at all": (
        tiny_model("(float[4,6] x) => (float[] y) { t = Transpose(x) y = MatMul(t, w) }", {"w": W}),
        {},
        {"x": None},
        False,
    ),
    "two samples of a scalar loss": (
        tiny_model("(float[8,4] x) => (float y) { h = MatMul(x, w) y = ReduceMean <keepdims = 0> (h) }", {"w": W}),
        {},
        {"x": 0},
        False,
    ),
    "a time axis first, of the user's size": (
        tiny_model("(float[T,4] x) => (float[] y) { y = MatMul(x, w) }", {"w": W}),
        {"x": (5, 4)},
        {"x": None},
        False,
    ),
    "a time axis first that the user calls the batch": (
        tiny_model("(float[T,4] x) => (float[] y) { y = MatMul(x, w) }", {"w": W}),
        {"x": (FREE, 4)},
        {"x": 0},
        True,
    ),
    "the second axis, which the user calls the batch": (
        tiny_model("(float[a,b,4] x) => (float[] y) { y = MatMul(x, w) }", {"w": W}),
        {"x": (3, FREE, 4)},
        {"x": 1},
        True,
    ),
}


@pytest.mark.parametrize(("model", "shapes", "axes", "free"), FOUND.values(), ids=FOUND)
def test_the_batch_of_every_input(
    model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], axes: Axes, free: bool, tmp_path: Path
) -> None:
    graph = imported(model, tmp_path, shapes)
    assert {name: graph.tensors[name].batch_axis for name in graph.inputs} == axes
    assert graph.info.dynamic_batch == free
    for batch in (1, 3) if free else (1,):
        assert_same_as_onnxruntime(model, graph, batch=batch)


def test_the_batch_of_outputs(tmp_path: Path) -> None:
    """The second of two outputs does not grow, and the first does along its last axis."""
    model = tiny_model(
        "(float[N,4] x) => (float[] y, float[] c) { h = MatMul(x, w) y = Transpose(h) c = Neg(k) }",
        {"w": W, "k": random_weights(2, 2)},
    )
    graph = imported(model, tmp_path)
    assert [graph.tensors[name].batch_axis for name in graph.outputs] == [1, None]
    assert [graph.tensors[name].shape for name in graph.outputs] == [(3, 1), (2, 2)]


def test_a_batch_of_one_that_is_written_into_the_model(tmp_path: Path) -> None:
    """The sizes say so: a Reshape to one row has one row for any batch. Its samples are run one by one."""
    model = tiny_model(
        "(float[batch,2,6,6] x) => (float[] y) { c = Conv(x, k) f = Reshape(c, sh) y = MatMul(f, w) }",
        {"k": random_weights(1, 2, 3, 3), "sh": np.array([1, 16]), "w": random_weights(16, 3)},
    )
    graph = imported(model, tmp_path)
    assert (graph.info.dynamic_batch, graph.tensors["x"].batch_axis) == (False, 0)
    assert graph.info.notes == ("the model takes one sample at a time: no output grows with the batch",)
    assert_same_as_onnxruntime(model, graph)


def test_a_name_that_tells_nothing_is_taken_for_the_batch_with_a_word(tmp_path: Path) -> None:
    assert imported(mlp_model(4, 3), tmp_path).info.notes == ()
    assert imported(mlp_model(4, 3, batch="s0"), tmp_path).info.notes == (
        "axis 0 of input 'x', 's0', is taken for the batch",
    )


# --- what is asked for ---

SUMMED = "(float[{first},4] x) => (float[] y) {{ m = ReduceMean <axes = [0]> (x) y = MatMul(m, w) }}"
WAVE = (
    "(float[samples] x) => (float[] y)"
    " { u = Unsqueeze(x, ax) c = Conv(u, k) m = ReduceMean <axes = [2], keepdims = 0> (c) y = MatMul(m, w) }"
)
ASKED: Mapping[str, tuple[onnx.ModelProto, str]] = {
    "a time axis": (tiny_model(SUMMED.format(first="T"), {"w": W}), "x [T,4]"),
    "frames": (tiny_model(SUMMED.format(first="num_frames"), {"w": W}), "x [num_frames,4]"),
    "no name, and nothing grows with it": (tiny_model(SUMMED.format(first="?"), {"w": W}), "x [?,4]"),
    "a name that tells nothing, and nothing grows with it": (
        tiny_model(SUMMED.format(first="d0"), {"w": W}),
        "x [d0,4]",
    ),
    "a waveform": (
        tiny_model(WAVE, {"ax": np.array([0, 1]), "k": random_weights(3, 1, 5), "w": random_weights(3, 2)}),
        "x [samples]",
    ),
    "one name for two axes": (
        tiny_model("(float[N,N] x) => (float[] y) { y = MatMul(x, w) }", {"w": random_weights(4, 3)}),
        "x [N,N]",
    ),
    "steps of a recurrent operator": (gru("[?,B,4]"), "x [?,B,4]"),
}


@pytest.mark.parametrize(("model", "seen"), ASKED.values(), ids=ASKED)
def test_what_may_be_something_else_is_asked_about(model: onnx.ModelProto, seen: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert (caught.value.code, caught.value.seen) == ("BSC305", seen)


def test_a_nameless_second_axis_is_the_batch_of_a_recurrent_operator(tmp_path: Path) -> None:
    """Its first axis are the steps, which nobody knows."""
    weights = {"w": random_weights(1, 15, 4), "r": random_weights(1, 15, 5), "on": random_weights(5, 2)}
    text = "(float[{x},4] x) => (float[] z) {{ y, n = GRU <hidden_size = 5> (x, w, r)  z = MatMul(n, on) }}"
    graph = imported(tiny_model(text.format(x="3,?"), weights), tmp_path)
    assert (graph.tensors["x"].batch_axis, graph.info.dynamic_batch) == (1, True)
    with pytest.raises(ModelError) as caught:
        imported(tiny_model(text.format(x="?,?"), weights), tmp_path)
    assert "--input-shape x:16,N,4" in caught.value.fix


def test_an_input_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    model = mlp_model(4, 3)
    sequence = onnx.helper.make_tensor_sequence_value_info("s", onnx.TensorProto.FLOAT, None)
    model.graph.input.append(sequence)
    model.graph.node.append(onnx.helper.make_node("SequenceLength", ["s"], ["n"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("n", onnx.TensorProto.INT64, []))
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert (caught.value.code, caught.value.problem) == ("BSC304", "input 's' is not a tensor")


# --- bodies ---

BODIES = {
    "If": """c = Greater(s, z)
        b = If(c) <then_branch = t () => (float[N,3] p) { p = Relu(a) },
                   else_branch = e () => (float[1,3] q) { q = Neg(a) }>
        y = MatMul(b, v)""",
    "If that multiplies": """c = Greater(s, z)
        y = If(c) <then_branch = t () => (float[] p) { p = MatMul(a, v) },
                   else_branch = e () => (float[] q) { q = MatMul(a, v2) }>""",
    "Scan": """at = Transpose(a)
        i = ReduceSum <keepdims = 0> (x, ones)
        l, o = Scan <body = b (float[k] s, float[k] e) => (float[k] n, float[k] m) { n = Add(s, e) m = Identity(n) },
                     num_scan_inputs = 1> (i, at)
        ot = Transpose(o)
        y = MatMul(ot, v)""",
    "Loop": """y = Loop(three, , a) <body = b (int64 n, bool more, float[1,3] old) => (bool go, float[1,3] new) {
                    go = Identity(more) new = Add(old, a) }>""",
}


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies_run_with_any_batch(body: str, batch: int, tmp_path: Path) -> None:
    """Whatever sizes they declare, which are those of one sample, or stale."""
    weights: dict[str, NDArray[Any]] = {
        "w": W,
        "v": random_weights(3, 2),
        "v2": random_weights(3, 2, seed=1),
        "z": np.array(0, np.float32),
        "three": np.array(3),
        "ones": np.array([1]),
    }
    model = tiny_model(
        f"(float[N,4] x) => (float[] y) {{ a = MatMul(x, w) s = ReduceMax <keepdims = 0> (a) {body} }}", weights
    )
    graph = imported(model, tmp_path)
    assert graph.info.dynamic_batch
    assert any(isinstance(op, DigitalOp) and op.op_type in ("If", "Scan", "Loop") for op in graph.ops())
    assert_same_as_onnxruntime(model, graph, batch=batch)
