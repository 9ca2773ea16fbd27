from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.frontend.rewrites.recurrent_node import MAX_STEPS
from bsc.frontend.shapes import FREE
from bsc.ir.graph import DigitalOp
from bsc.ir.layer import LayerUse
from bsc.replay.engine import Replayer
from bsc.testing import (
    assert_same_as_onnxruntime,
    float_outputs,
    imported,
    random_weights,
    reference_session,
    save,
    tiny_model,
)
from tests.bsc.plans import model_plan
from tests.coverage.cases import quiet

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, SIZE, HIDDEN = 5, 3, 4


def recurrent(
    op_type: str,
    attributes: str = "",
    *,
    directions: int = 1,
    bias: bool = True,
    state: bool = False,
    lengths: bool = False,
    peepholes: bool = False,
    batch_first: bool = False,
    opset: int = 17,
) -> onnx.ModelProto:
    """A recurrent operator `m` whose batch is free; lengths and states are model inputs."""
    columns = GATES[op_type] * HIDDEN
    constants: dict[str, NDArray[Any]] = {
        "w": random_weights(directions, columns, SIZE),
        "r": random_weights(directions, columns, HIDDEN, seed=1),
    }
    if bias:
        constants["b"] = random_weights(directions, 2 * columns, seed=2)
    if peepholes:
        constants["p"] = random_weights(directions, 3 * HIDDEN, seed=3)
    heads = [f"float[N,{STEPS},{SIZE}] x"] + (["int32[N] l"] if lengths else [])
    names = ["h", "c"][: 2 if op_type == "LSTM" else 1]
    if state:
        heads += [f"float[N,{directions},{HIDDEN}] {name}0" for name in names]
    body = "" if batch_first else "t = Transpose <perm = [1, 0, 2]> (x) "
    order = "" if batch_first else "".join(f"{n}1 = Transpose <perm = [1, 0, 2]> ({n}0) " for n in names if state)
    states = [f"{n}{0 if batch_first else 1}" if state else '""' for n in names]
    reads = ["x" if batch_first else "t", "w", "r", "b" if bias else '""', "l" if lengths else '""', *states]
    reads += ["p"] if peepholes else []
    results = ", ".join(f"y{n}" for n in ["", *names])
    options = ", ".join(
        [f"hidden_size = {HIDDEN}", *([attributes] if attributes else []), f"layout = {int(batch_first)}"]
    )
    node = onnx.parser.parse_node(
        f"{results} = {op_type} <{options}> ({', '.join(r for r in reads if r != chr(34) * 2)})"
    )
    node.name = "m"
    del node.input[:]
    node.input.extend("" if read == '""' else read for read in reads)
    if opset < 14:
        node.attribute.remove(next(a for a in node.attribute if a.name == "layout"))
    made = tiny_model(
        f"({', '.join(heads)}) => (float[] y) {{ {body}{order} y = Identity(x) }}", constants, opset=opset
    )
    made.graph.node.pop()
    made.graph.node.append(node)
    made.graph.output.pop()
    for name in ("y", *(f"y{n}" for n in names)):
        made.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return made


CASES = {
    **{f"{kind}": recurrent(kind) for kind in GATES},
    **{f"{kind}, no bias": recurrent(kind, bias=False) for kind in GATES},
    **{f"{kind}, opset 11": recurrent(kind, opset=11) for kind in GATES},
    **{f"{kind}, opset 25": recurrent(kind, opset=25) for kind in GATES},
    **{f"{kind}, both ways": recurrent(kind, 'direction = "bidirectional"', directions=2) for kind in GATES},
    **{f"{kind}, backwards": recurrent(kind, 'direction = "reverse"') for kind in GATES},
    **{f"{kind}, state": recurrent(kind, state=True) for kind in GATES},
    **{
        f"{kind}, both ways, state": recurrent(kind, 'direction = "bidirectional"', directions=2, state=True)
        for kind in GATES
    },
    "GRU, reset behind": recurrent("GRU", "linear_before_reset = 1"),
    "GRU, reset behind, state": recurrent("GRU", "linear_before_reset = 1", state=True, bias=False),
    "LSTM, peepholes": recurrent("LSTM", peepholes=True, state=True),
    "LSTM, clip": recurrent("LSTM", "clip = 0.5"),
    "LSTM, other activations": recurrent(
        "LSTM", 'activations = ["HardSigmoid", "Affine", "ScaledTanh"], activation_alpha = [0.3, 0.9, 0.8],'
        " activation_beta = [0.4, 0.1, 1.2]"
    ),
    "RNN, relu": recurrent("RNN", 'activations = ["Relu"]', state=True),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_steps_compute_what_onnxruntime_does(case: str, tmp_path: Path) -> None:
    graph = imported(CASES[case], tmp_path)
    assert not [op for op in graph.ops() if isinstance(op, DigitalOp) and op.op_type in (*GATES, "MatMul", "Gemm")]
    for batch in (1, 3):
        assert_same_as_onnxruntime(CASES[case], graph, batch=batch)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_lengths_that_differ(kind: str, direction: str, tmp_path: Path) -> None:
    model = recurrent(kind, f'direction = "{direction}"', lengths=True, state=True)
    graph = imported(model, tmp_path)
    rng = np.random.default_rng(0)
    feeds = {
        name: rng.standard_normal((3, *(graph.tensors[name].shape or ())[1:])).astype(np.float32)
        for name in graph.inputs
    }
    feeds["l"] = np.array([5, 1, 3], np.int32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for name, expected in zip(graph.outputs, session.run(None, feeds), strict=True):
        np.testing.assert_allclose(float_outputs(graph, feeds)[name], expected, rtol=1e-4, atol=1e-5)


def test_steps_share_the_crossbars_of_the_recurrent_weights(tmp_path: Path) -> None:
    graph = imported(recurrent("LSTM"), tmp_path)
    first, second = graph.layers()
    assert (first.name, first.op_type, first.rows, first.columns, first.vectors) == ("m/W", "LSTM", 3, 16, 5)
    # The first step has no recurrent product, as its state is zero.
    assert (second.name, second.op_type, second.rows, second.columns, second.vectors) == ("m/R", "LSTM", 4, 16, 4)
    assert [op.name for op in graph.ops() if isinstance(op, LayerUse)] == ["m/R_2", "m/R_3", "m/R_4"]


def test_words_of_what_stays_digital(tmp_path: Path) -> None:
    long = recurrent("GRU")
    long.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 257
    long.graph.node.append(onnx.helper.make_node("MatMul", ["yh", "on"], ["z"]))
    long.graph.output.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None))
    long.graph.initializer.append(onnx.numpy_helper.from_array(random_weights(HIDDEN, 2), "on"))
    graph = imported(long, tmp_path)
    assert [op.why for op in graph.ops() if op.name == "m" and isinstance(op, DigitalOp)] == [
        "its sequence has 257 steps, more than 256"
    ]


def test_a_sequence_along_the_free_axis_is_not_taken_for_a_batch(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[T,1,3] x, float[1,4] u) => (float[] y, float[] z) { [m] y = RNN <hidden_size = 4> (x, w, r)"
        " z = MatMul(u, on) }",
        {"w": random_weights(1, 4, 3), "r": random_weights(1, 4, 4), "on": random_weights(4, 2)},
    )
    with pytest.raises(ModelError, match="axes of unknown size"):
        imported(model, tmp_path)
    graph = imported(model, tmp_path, {"x": (FREE, 1, 3)})  # whoever calls it the batch nevertheless
    assert [op.why for op in graph.ops() if op.name == "m" and isinstance(op, DigitalOp)] == [
        "its sequence runs along the free batch of an input: give its length with --input-shape"
    ]
    given = imported(model, tmp_path, {"x": (5, 1, 3)})
    assert [layer.name for layer in given.layers()] == ["m/W", "m/R", "MatMul_1"]
    assert_same_as_onnxruntime(model, given)


@pytest.mark.parametrize("per_channel", [False, True])
def test_codes_of_a_quantised_lstm(tmp_path: Path, *, per_channel: bool) -> None:
    """onnxruntime quantises the state in a way of its own, so that results differ by less than quantising costs."""
    from onnxruntime.quantization import quantize_dynamic

    source = recurrent("LSTM", 'direction = "bidirectional"', directions=2, opset=13)
    save(source, tmp_path / "float.onnx")
    with quiet():
        quantize_dynamic(
            tmp_path / "float.onnx", tmp_path / "q.onnx", op_types_to_quantize=["LSTM"], per_channel=per_channel
        )
    quantised = onnx.load(tmp_path / "q.onnx")
    assert [node.op_type for node in quantised.graph.node] == ["Transpose", "DynamicQuantizeLSTM"]
    plan = model_plan(quantised, tmp_path)
    assert [(layer.op_type, layer.vectors) for layer in plan.mapping.layers] == [
        ("DynamicQuantizeLSTM", count) for count in (5, 4) * 2
    ]
    codes = [tensor for tensor in quantised.graph.initializer if tensor.name == "w_quantized"]
    expected = onnx.numpy_helper.to_array(codes[0])[0].astype(int)
    np.testing.assert_array_equal(plan.mapping.arrays(plan.mapping.layers[0]).codes, expected)
    x = {"x": np.random.default_rng(0).standard_normal((3, STEPS, SIZE)).astype(np.float32)}
    replayer = Replayer(plan.mapping)
    results = replayer.replayed(x)
    assert replayer.exact
    by_runtime, by_float = (
        reference_session(onnx.load(tmp_path / name)).run(None, x) for name in ("q.onnx", "float.onnx")
    )
    for name, wanted, original in zip(results, by_runtime, by_float, strict=True):
        assert np.abs(results[name] - wanted).max() < 0.3 * np.abs(wanted - original).max()


@pytest.mark.parametrize("opset", [11, 17, 25])
def test_as_many_steps_as_are_written_out(opset: int, tmp_path: Path) -> None:
    model = recurrent("RNN", opset=opset)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = MAX_STEPS
    graph = imported(model, tmp_path)
    assert [(layer.name, layer.vectors) for layer in graph.layers()] == [("m/W", MAX_STEPS), ("m/R", MAX_STEPS - 1)]
