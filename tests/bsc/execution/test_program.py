import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.execution.program import Program
from bsc.ir.schedule import LayerStep, Segment, schedule
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
