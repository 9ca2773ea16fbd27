import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bsc.errors import DoesNotFitError, ModelError
from bsc.ir import program
from bsc.ir.graph import DigitalOp, Graph
from bsc.ir.program import Program, schedule
from bsc.mapping.model import LayerStep, Segment
from bsc.testing import (
    assert_same_as_onnxruntime,
    float_layer,
    float_outputs,
    imported,
    mlp_model,
    random_feeds,
    random_weights,
    tiny_model,
)

RESIDUAL = tiny_model(
    """(float[N,2,4,4] x) => (float[N,3] y) {
        s = Neg(x)
        [c1] a = Conv <pads = [1,1,1,1]> (s, w1)
        [side] k = Conv(s, w2)
        b = Relu(a)
        [c2] c = Conv(b, w2)
        d = Add(c, k)
        t = Mul(s, two)
        e = Sub(d, t)
        p = GlobalAveragePool(e)
        f = Flatten(p)
        [fc] y = MatMul(f, w3)
    }""",
    {
        "w1": random_weights(2, 2, 3, 3),
        "w2": random_weights(2, 2, 1, 1, seed=1),
        "w3": random_weights(2, 3, seed=2),
        "two": np.array(2, np.float32),
    },
)


def summary(graph: Graph) -> list[str]:
    """One line a step: what runs, what it reads, what it leaves for later."""
    lines = []
    for step in schedule(graph):
        what = step.layer if isinstance(step, LayerStep) else " ".join(op.op_type for op in body(step).node)
        lines.append(f"{what}: {' '.join(step.inputs)} -> {' '.join(step.outputs)}")
    return lines


def body(segment: Segment) -> onnx.GraphProto:
    graph: onnx.GraphProto = onnx.ModelProto.FromString(segment.model).graph
    return graph


def test_steps_of_a_residual_block_by_hand(tmp_path: Path) -> None:
    graph = imported(RESIDUAL, tmp_path)
    assert summary(graph) == [
        "Neg Mul: x -> s t",
        "c1: s -> a",
        "side: s -> k",
        "Relu: a -> b",
        "side: b -> c",  # c2, which has the same weights
        "Add Sub GlobalAveragePool Flatten: c k t -> f",
        "fc: f -> y",
    ]
    first = next(schedule(graph))
    assert isinstance(first, Segment)
    assert [constant.name for constant in body(first).initializer] == ["two"]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_residual_block_computes_what_onnxruntime_does(batch: int, tmp_path: Path) -> None:
    assert_same_as_onnxruntime(RESIDUAL, imported(RESIDUAL, tmp_path), batch=batch)


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (list(schedule(imported(RESIDUAL, tmp_path))) for _ in range(2))
    assert first == second


W = random_weights(4, 4)
HEADS_AND_TAILS = {
    "an output is an input": "(float[N,4] x) => (float[] y, float[N,4] x) { y = MatMul(x, w) }",
    "an output is a constant": "(float[N,4] x) => (float[] y, float[4,4] w) { y = MatMul(x, w) }",
    "an output is a constant that an operator reads": (
        "(float[4,4] x) => (float[] y, float[4,4] w) { h = MatMul(x, w)  y = MatMul(w, h) }"
    ),
    "an output is an inner tensor": "(float[N,4] x) => (float[] h, float[] y) { h = MatMul(x, w)  y = Relu(h) }",
    "an output comes through Identity": "(float[N,4] x) => (float[] h, float[] y) { h = MatMul(x, w) y = Identity(h) }",
    "an input comes through Identity": "(float[N,4] x) => (float[] z, float[] y) { z = Identity(x) y = MatMul(z, w) }",
    "an input is read by nothing": "(float[N,4] x, float[N,2] u) => (float[] y) { y = MatMul(x, w) }",
    "an output twice": "(float[N,4] x) => (float[] y, float[] y) { y = MatMul(x, w) }",
    "no batch": "(float[4,4] x) => (float[] y) { h = MatMul(x, w)  y = Relu(h) }",
}


@pytest.mark.parametrize("text", HEADS_AND_TAILS.values(), ids=HEADS_AND_TAILS)
def test_inputs_and_outputs_keep_their_names_and_values(text: str, tmp_path: Path) -> None:
    model = tiny_model(text, {"w": W})
    assert_same_as_onnxruntime(model, imported(model, tmp_path), batch=4)


def test_a_scalar_constant_stays_a_scalar(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,4] x) => (float[] y) { h = MatMul(x, w)  y = Gather <axis = 1> (h, one) }",
        {"w": W, "one": np.array(1)},
    )
    graph = imported(model, tmp_path)
    assert float_outputs(graph, random_feeds(graph, batch=3))["y"].shape == (3,)


def test_an_omitted_output_is_never_asked_for(tmp_path: Path) -> None:
    model = tiny_model(
        """(float[3,2,4] x) => (float[] y) {
            h = MatMul(x, w)
            unread, last = GRU <hidden_size = 2> (h, gates, recurrence)
            g = MatMul(last, u)
            y = Clip(g, , high)
        }""",
        {
            "w": W,
            "gates": random_weights(1, 6, 4),
            "recurrence": random_weights(1, 6, 2),
            "u": random_weights(2, 2),
            "high": np.array(0.1, np.float32),
        },
    )
    graph = imported(model, tmp_path, as_written=True)
    assert graph.op("GRU_1").outputs == ("", "last")
    assert summary(graph) == ["MatMul_0: x -> h", "GRU: h -> last", "MatMul_2: last -> g", "Clip: g -> y"]
    assert_same_as_onnxruntime(model, graph)


def test_tensors_are_dropped_after_their_last_reader(tmp_path: Path) -> None:
    graph = imported(mlp_model(4, 4, 4, 4), tmp_path)
    compute = float_layer(graph)
    results: list[weakref.ref[NDArray[Any]]] = []
    alive: list[list[bool]] = []

    def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
        alive.append([result() is not None for result in results])
        y = compute(name, x)
        results.append(weakref.ref(y))
        return y

    Program(schedule(graph), graph.outputs).run(random_feeds(graph), run_layer)
    assert alive == [[], [False], [False, False]]


def test_words_when_onnxruntime_refuses_an_operator(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,4] x) => (float[] y) { h = MatMul(x, w)  y = com.microsoft.NoSuchOperator(h) }",
        {"w": W},
        domains=["com.microsoft"],
    )
    graph = imported(model, tmp_path)
    with pytest.raises(ModelError) as caught:
        float_outputs(graph, random_feeds(graph))
    assert str(caught.value) == (
        "[BSC304] digital operators before tensor 'y' cannot be run\n"
        "  seen: [ONNXRuntimeError] : 1 : FAIL : Fatal error: com.microsoft:NoSuchOperator(-1) is not a registered "
        "function/op\n"
        "  fix:  check the model in onnxruntime and that the data has the model's input shape"
    )


def test_words_when_the_data_does_not_fit(tmp_path: Path) -> None:
    graph = imported(tiny_model("(float[N,4] x) => (float[] y) { h = Neg(x)  y = MatMul(h, w) }", {"w": W}), tmp_path)
    with pytest.raises(ModelError) as caught:
        float_outputs(graph, {"x": np.zeros((1, 4), np.float64)})
    assert str(caught.value) == (
        "[BSC304] digital operators before tensor 'h' cannot be run\n"
        "  seen: [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Unexpected input data type. "
        "Actual: (tensor(double)) , expected: (tensor(float))\n"
        "  fix:  check the model in onnxruntime and that the data has the model's input shape"
    )


def test_words_for_a_tensor_of_unknown_type(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,4] x) => (float[] y) { g = com.microsoft.Unheard(x)  h = MatMul(x, w)  y = Add(h, g) }",
        {"w": W},
        domains=["com.microsoft"],
    )
    with pytest.raises(ModelError) as caught:
        list(schedule(imported(model, tmp_path)))
    assert str(caught.value) == (
        "[BSC305] the element type of tensor 'g' is unknown\n"
        "  seen: an operator before it that ONNX's shape inference does not know\n"
        "  fix:  replace the operators that make it by standard ONNX operators"
    )


@pytest.mark.parametrize(("room", "fits"), [(0, True), (-1, False)])
def test_words_for_constants_that_do_not_fit_into_a_segment(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fits: bool
) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { h = MatMul(x, w)  y = Add(h, big) }", {"w": W, "big": W[:1]})
    graph = imported(model, tmp_path)
    (node,) = (op.node for op in graph.ops() if isinstance(op, DigitalOp))
    size = len(node) + W[:1].nbytes
    monkeypatch.setattr(program, "MAX_SEGMENT_BYTES", size + room)
    if fits:
        assert len(list(schedule(graph))) == 2
        return
    with pytest.raises(DoesNotFitError) as caught:
        list(schedule(graph))
    assert str(caught.value) == (
        "[BSC402] digital operators before tensor 'y' do not fit into an ONNX file\n"
        f"  seen: {size} bytes of constants\n"
        "  fix:  keep large tables, such as embeddings, out of the model that is compiled"
    )


def test_words_for_a_layer_behind_a_sequence() -> None:
    """Only a plan that was altered has one: compiling refuses it."""
    model = tiny_model("(float[1,4] x) => (seq(float[1,4]) s) { s = SequenceConstruct(x) }")
    segment = Segment(model=model.SerializeToString(), inputs=("x",), outputs=("s",), operators={})
    steps = (segment, LayerStep(layer="fc", inputs=("s",), outputs=("y",)))
    with pytest.raises(ModelError) as caught:
        Program(steps, ("y",)).run({"x": np.ones((1, 4), np.float32)}, lambda _, x: x)
    assert str(caught.value) == (
        "[BSC304] layer 'fc': its input is no tensor\n"
        "  seen: a list\n"
        "  fix:  check the model with onnx.checker.check_model(full_check=True)"
    )


def test_an_interrupt_ends_an_endless_loop() -> None:
    """In a process of its own, where signals go to the main thread."""
    code = """
import os, signal, threading
import numpy as np
from bsc.ir.program import quiet_session, run_session
from bsc.testing import tiny_model

model = tiny_model(
    "(float[4] x) => (float[] y) { y = Loop (n, , x) <body = g (int64 i, bool k, float[4] s) => (bool k2, float[4] t) "
    "{ k2 = Identity(k)  t = Relu(s) }> }",
    {"n": np.array(1 << 62)},
)
session = quiet_session(model.SerializeToString())
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    run_session(session, ["y"], {"x": np.ones(4, np.float32)})
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "interrupted\n"
