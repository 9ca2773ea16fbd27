import os
import resource
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.execution.program import GROWTH, Program, working_bytes
from bsc.execution.session import quiet_session
from bsc.ir.schedule import schedule
from bsc.limits import BASE_BYTES
from bsc.mapping.model import LayerStep, Segment
from bsc.numeric.im2col import ConvGeometry
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
        "[BSC304] layer 'fc': its input is not a tensor\n"
        "  seen: a list\n"
        "  fix:  check the model with onnx.checker.check_model(full_check=True)"
    )


def test_words_for_a_layer_of_texts() -> None:
    steps = (LayerStep(layer="fc", inputs=("x",), outputs=("y",)),)
    with pytest.raises(ModelError) as caught:
        Program(steps, ("y",)).run({"x": np.array([["a"]], object)}, lambda _, x: x)
    assert str(caught.value) == (
        "[BSC304] layer 'fc': its input is not of numbers\n"
        "  seen: texts\n"
        "  fix:  check the model with onnx.checker.check_model(full_check=True)"
    )


def deep_model(layers: int, op: str = "Relu", width: int = 4) -> onnx.ModelProto:
    """As many MatMul layers, a digital operator behind each, with weights of 1.4 / sqrt(width) to keep values alive."""
    weights = {f"w{index}": 1.4 * random_weights(width, width, seed=index) for index in range(layers)}
    body = "".join(f"h{index} = MatMul(a{index}, w{index})  a{index + 1} = {op}(h{index})\n" for index in range(layers))
    return tiny_model(f"(float[N,{width}] a0) => (float[N,{width}] a{layers}) {{ {body} }}", weights)


def test_hundreds_of_segments_take_no_threads_and_hardly_any_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    graph = imported(deep_model(400, "Tanh"), tmp_path)
    steps = list(schedule(graph))
    assert sum(isinstance(step, Segment) for step in steps) == 400
    threads: set[int] = set()
    memory: list[int] = []
    compute = float_layer(graph)

    def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
        threads.add(len(list(Path("/proc/self/task").iterdir())))
        memory.append(int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize())  # data
        return compute(name, x)

    feeds = random_feeds(graph, batch=3)
    results = Program(steps, graph.outputs).run(feeds, run_layer)
    assert max(threads) - min(threads) <= 1  # the one that all sessions run in
    assert memory[-1] - memory[0] < 400 * (1 << 18)
    (y,) = quiet_session(tmp_path / "model.onnx").run(None, feeds)
    np.testing.assert_allclose(results["a400"], y, rtol=1e-3, atol=1e-6)


def test_two_thousand_layers_have_the_results_of_onnxruntime(tmp_path: Path) -> None:
    model = deep_model(2000)
    assert_same_as_onnxruntime(model, imported(model, tmp_path), batch=2)


BIG = 2 * BASE_BYTES


@pytest.mark.parametrize(("granted", "fits"), [(BIG, True), (0, False)])
def test_a_layer_may_take_what_it_says(granted: int, *, fits: bool) -> None:
    def run_layer(_: str, x: NDArray[Any]) -> NDArray[Any]:
        np.empty(BIG, np.uint8)
        return x

    program = Program([LayerStep(layer="fc", inputs=("x",), outputs=("y",))], ("y",))
    feeds = {"x": np.ones((1, 4), np.float32)}
    if fits:
        assert program.run(feeds, run_layer, layer_bytes=lambda _name, _x: granted)["y"] is feeds["x"]
        return
    with pytest.raises(ModelError) as caught:
        program.run(feeds, run_layer, layer_bytes=lambda _name, _x: granted)
    assert str(caught.value) == (
        "[BSC312] running the model takes more memory than its sizes account for, or than there is\n"
        "  seen: tensor 'y' is made of 16 bytes\n"
        "  fix:  check the model's shapes, such as pads, and run fewer samples at a time"
    )


def expansion(values: int) -> Segment:
    """A segment that makes so many floats of what it reads."""
    model = tiny_model("(float[1,1] x) => (float[] y) { y = Expand(x, sizes) }", {"sizes": np.array([1, values])})
    return Segment(model=model.SerializeToString(), inputs=("x",), outputs=("y",), operators={"Expand": 1})


def test_a_segment_may_take_a_thousand_times_what_it_reads_and_no_more() -> None:
    values = BIG // 4
    feeds = {"x": np.ones((1, 1), np.float32)}
    with pytest.raises(ModelError, match="BSC312"):
        Program([expansion(values)], ("y",)).run(feeds, float_layer_never)
    wide = np.ones((BIG // GROWTH // 4, 1), np.float32)
    model = tiny_model(
        "(float[N,1] x) => (float[] y) { z = Expand(x, sizes)  y = ReduceMax <keepdims = 0> (z) }",
        {"sizes": np.array([1, GROWTH])},
    )
    segment = Segment(model=model.SerializeToString(), inputs=("x",), outputs=("y",), operators={})
    assert Program([segment], ("y",)).run({"x": wide}, float_layer_never)["y"] == 1


def float_layer_never(name: str, x: NDArray[Any]) -> NDArray[Any]:
    raise AssertionError(f"layer {name} is driven with {x.shape}")


def test_working_bytes_by_hand() -> None:
    conv = ConvGeometry(kernel=(3, 3), strides=(1, 1), dilations=(1, 1), pads=((0, 0), (0, 0)))
    assert working_bytes((2, 1, 5, 4), conv, 9 + 7) == 2 * 3 * 2 * 16 * 64
    assert working_bytes((2, 5, 4), None, 4 + 3) == 10 * 7 * 64
    assert working_bytes((2, 1, 1, 5), conv, 16) == 0  # smaller than its kernel
    assert working_bytes((2, 5, 4), conv, 16) == 0  # an activation that the layer refuses
