"""Formats of the model: what is taken as it is, on both sides of each limit."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bsc.ir.formats import InputFormat
from bsc.ir.graph import DigitalOp, Graph
from bsc.ir.layer import CrossbarLayer
from bsc.replay.engine import Replayer
from bsc.testing import assert_same_as_onnxruntime, float_outputs, imported, random_weights, tiny_model
from passes.quantize import Quantize
from tests.bsc.plans import model_plan

Constants = dict[str, NDArray[Any]]
STEP = np.float32(0.1)


def product(constants: Constants, body: str = "a = Identity(x) k = DequantizeLinear(w, ws)") -> onnx.ModelProto:
    return tiny_model(
        f"(float[N,3] x) => (float[] y) {{ {body} h = MatMul(a, k) y = MatMul(h, on) }}",
        {"ws": STEP, "on": random_weights(2, 2), **constants},  # type: ignore[dict-item]
        opset=21,
    )


def first(graph: Graph) -> CrossbarLayer | DigitalOp:
    return next(op for op in graph.ops() if isinstance(op, CrossbarLayer | DigitalOp) and op.op_type == "MatMul")


@pytest.mark.parametrize(("top", "taken"), [(32767, True), (-32767, True), (-32768, False)])
def test_codes_have_15_bits_and_a_sign(top: int, tmp_path: Path, *, taken: bool) -> None:
    weight = np.ones((3, 2), np.int16)
    weight[1, 1] = top
    op = first(imported(product({"w": weight}), tmp_path))
    assert isinstance(op, CrossbarLayer) == taken
    if isinstance(op, DigitalOp):
        assert op.why == "its weights need more than 15 bits and a sign"


def test_quantize_takes_codes_and_formats_as_they_are(tmp_path: Path) -> None:
    body = "q = QuantizeLinear(x, xs, xz) a = DequantizeLinear(q, xs, xz) k = DequantizeLinear <axis = 1> (w, ws)"
    weight = np.array([[1, -2], [3, 4], [-5, 100]], np.int8)
    constants: Constants = {
        "w": weight,
        "ws": np.array([0.1, 0.2], np.float32),
        "xs": np.array(0.5, np.float32),
        "xz": np.array(-3, np.int8),
    }
    graph = imported(product(constants, body), tmp_path)
    mapped, changed = Quantize(bits=4, activation_bits=5, per="channel").run(graph)
    layer = next(mapped.layers())
    assert layer.quant is not None
    assert changed[0] == layer.name
    np.testing.assert_array_equal(mapped.arrays_of(layer.name)["codes"], weight)
    np.testing.assert_array_equal(mapped.arrays_of(layer.name)["weight_scale"], constants["ws"].astype(np.float64))
    assert layer.quant.weight_bits == 7  # of 100
    assert "  weights 7 bit + sign, inputs 8 bit signed step 0.5 zero -3" in str(layer)


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (0, 15, "uint8", (4, False)),
        (0, 16, "uint8", (5, False)),
        (-8, 7, "int8", (4, True)),
        (-9, 7, "int8", (5, True)),
        (-7, 8, "int8", (5, True)),
        (0, 1, "uint8", (2, False)),
    ],
)
def test_a_clip_narrows_codes_to_what_holds_both_limits(
    low: int, high: int, kind: str, expected: tuple[int, bool], tmp_path: Path
) -> None:
    body = "q = QuantizeLinear(x, xs, z) c = Clip(q, lo, hi) a = DequantizeLinear(c, xs, z) k = DequantizeLinear(w, ws)"
    constants: Constants = {
        "w": np.ones((3, 2), np.int8),
        "xs": np.array(0.5, np.float32),
        "z": np.array(0, kind),
        "lo": np.array(low, kind),
        "hi": np.array(high, kind),
    }
    layer = next(imported(product(constants, body), tmp_path).layers())
    assert layer.given_input == InputFormat(bits=expected[0], signed=expected[1], step=0.5)


@pytest.mark.parametrize("steps", [[0.1, 0.2, 0.3], [0.1]])
def test_only_one_scale_for_all_inputs_is_a_format(steps: list[float], tmp_path: Path) -> None:
    body = (
        "q = QuantizeLinear <axis = 1> (x, xs, z) a = DequantizeLinear <axis = 1> (q, xs, z)"
        " k = DequantizeLinear(w, ws)"
    )
    constants: Constants = {
        "w": np.ones((3, 2), np.int8),
        "xs": np.array(steps if len(steps) > 1 else steps[0], np.float32),
        "z": np.zeros(len(steps), np.int8) if len(steps) > 1 else np.array(0, np.int8),
    }
    layer = next(imported(product(constants, body), tmp_path).layers())
    assert (layer.given_input is None) == (len(steps) > 1)


def half_model(kind: int, weight: NDArray[Any]) -> onnx.ModelProto:
    """x (N, 4) float32 times weights of another type that a Cast makes float32."""
    tensor = helper.make_tensor("w", kind, weight.shape, weight.tobytes(), raw=True)
    made = tiny_model("(float[N,4] x) => (float[] y) { k = Cast <to = 1> (w) y = MatMul(x, k) }", opset=21)
    made.graph.initializer.append(tensor)
    return made


@pytest.mark.parametrize(
    ("kind", "dtype"), [(TensorProto.FLOAT16, np.float16), (TensorProto.BFLOAT16, ml_dtypes.bfloat16)]
)
def test_weights_of_half_precision(kind: int, dtype: Any, tmp_path: Path) -> None:
    weight = random_weights(4, 3).astype(dtype)
    model = half_model(kind, weight)
    graph = imported(model, tmp_path)
    (layer,) = graph.layers()
    np.testing.assert_array_equal(graph.array(layer.weight).astype(np.float32), weight.astype(np.float32))
    assert_same_as_onnxruntime(model, graph, batch=2)


def test_bfloat16_throughout(tmp_path: Path) -> None:
    weight = random_weights(4, 3).astype(ml_dtypes.bfloat16)
    model = tiny_model("(bfloat16[N,4] x) => (bfloat16[] y) { y = MatMul(x, w) }", opset=21)
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.BFLOAT16, (4, 3), weight.tobytes(), raw=True))
    plan = model_plan(model, tmp_path).mapping
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(ml_dtypes.bfloat16)
    replayer = Replayer(plan)
    y = replayer.replayed({"x": x})["y"]
    assert replayer.exact
    assert y.dtype == ml_dtypes.bfloat16
    np.testing.assert_allclose(y.astype(np.float32), x.astype(np.float32) @ weight.astype(np.float32), atol=0.1)


def test_int4_weights(tmp_path: Path) -> None:
    weight = np.array([[-8, 7], [3, -1], [0, 5]], ml_dtypes.int4)
    model = product({})
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    graph = imported(model, tmp_path)
    layer = next(graph.layers())
    assert layer.given_weights is not None
    np.testing.assert_array_equal(graph.array(layer.given_weights.codes), weight.astype(int))
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    expected = x @ (weight.astype(np.float32) * STEP) @ random_weights(2, 2)
    np.testing.assert_allclose(float_outputs(graph, {"x": x})["y"], expected, rtol=1e-5)


def test_an_embedding_stays_in_integers(tmp_path: Path) -> None:
    model = tiny_model(
        """(int64[N,3] t) => (float[] y) {
            e = DequantizeLinear(table, s)
            x = Gather(e, t)
            k = DequantizeLinear(w, s)
            y = MatMul(x, k)
        }""",
        {
            "table": np.arange(80, dtype=np.int8).reshape(20, 4),
            "w": np.arange(8, dtype=np.int8).reshape(4, 2),
            "s": np.array(0.1, np.float32),
        },
    )
    graph = imported(model, tmp_path)
    digital = [op for op in graph.ops() if isinstance(op, DigitalOp)]
    assert [op.op_type for op in digital] == ["DequantizeLinear", "Gather"]
    assert graph.array("table").dtype == np.int8
    (layer,) = graph.layers()
    assert layer.given_input == InputFormat(bits=8, signed=True, step=float(np.float32(0.1)))
