"""Models that are quantised already: their codes, scales and zero points are those of the plan, and nothing is rounded.

Every case is compiled and replayed with lossless ADCs; the judge is onnxruntime's run of the model, operator by
operator.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.ir.graph import DigitalOp
from bsc.plan.document import Plan
from bsc.replay.engine import Replayer
from bsc.testing import imported, reference_session, save, tiny_model

ISAAC = hw_models.load("isaac")
PIPELINE = default_pipeline(ISAAC, rows=32, cols=16, policy="lossless", granularity="column")
Constants = dict[str, NDArray[Any]]


def codes(*shape: int, dtype: str = "int8", seed: int = 0) -> NDArray[Any]:
    """Integers over the whole range of their type."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)


def scalar(value: float, dtype: str = "float32") -> NDArray[Any]:
    return np.array(value, dtype)


def formats(**values: tuple[float, str]) -> Constants:
    return {name: scalar(value, dtype) for name, (value, dtype) in values.items()}


def model(head: str, body: str, constants: Constants, opset: int = 21) -> onnx.ModelProto:
    domains = ["com.microsoft"] if "com.microsoft" in body else []
    return tiny_model(f"({head}) => (float[] y) {{ {body} }}", constants, opset=opset, domains=domains)


QDQ_IN = "q = QuantizeLinear(x, xs, xz) d = DequantizeLinear(q, xs, xz)"
SIGNED = formats(xs=(0.03, "float32"), xz=(0, "int8"))
SHIFTED = formats(xs=(0.03, "float32"), xz=(101, "uint8"))
BELOW = formats(xs=(0.03, "float32"), xz=(-128, "int8"))
X, IMAGE = "float[N,6] x", "float[N,3,5,4] x"
FC = {"w": codes(6, 5), "ws": scalar(0.02)}
PER_COLUMN = {"w": codes(6, 5), "ws": np.linspace(0.01, 0.03, 5, dtype=np.float32)}
FILTERS = {"w": codes(4, 3, 3, 2), "ws": np.linspace(0.01, 0.03, 4, dtype=np.float32)}
BIAS = {"b": codes(4, dtype="int16").astype(np.int32), "bs": (0.03 * FILTERS["ws"]).astype(np.float32)}
CONV = f"{QDQ_IN} k = DequantizeLinear <axis = 0> (w, ws) c = DequantizeLinear <axis = 0> (b, bs) "
DOUBLE_CODES = "q = QuantizeLinear(x, xs, xz)"

# Results that are integers, or floats that one rounding makes of them, agree to the last bit.
EXACT = {
    "MatMulInteger": model(X, f"{DOUBLE_CODES} i = MatMulInteger(q, w, xz) y = Cast <to = 1> (i)", SHIFTED | FC),
    "MatMulInteger, no zero points": model(
        X, f"{DOUBLE_CODES} i = MatMulInteger(q, w) y = Cast <to = 1> (i)", SHIFTED | FC
    ),
    "MatMulInteger, zero point of the weights": model(
        X,
        f"{DOUBLE_CODES} i = MatMulInteger(q, w, xz, wz) y = Cast <to = 1> (i)",
        SIGNED | {"w": codes(6, 5, dtype="uint8"), "wz": scalar(7, "uint8")},
    ),
    "MatMulInteger, zero point of each column": model(
        X,
        f"{DOUBLE_CODES} i = MatMulInteger(q, w, xz, wz) y = Cast <to = 1> (i)",
        SHIFTED | {"w": codes(6, 5, dtype="uint8"), "wz": codes(5, dtype="uint8", seed=3)},
    ),
    "MatMulInteger, dynamic": model(
        X, "q, s, z = DynamicQuantizeLinear(x) i = MatMulInteger(q, w, z) y = Cast <to = 1> (i)", FC
    ),
    "ConvInteger": model(
        IMAGE, f"{DOUBLE_CODES} i = ConvInteger <pads = [1, 0, 1, 1]> (q, w, xz) y = Cast <to = 1> (i)",
        SHIFTED | {"w": codes(4, 3, 3, 2, dtype="uint8")},
    ),
    "ConvInteger, dynamic": model(
        IMAGE,
        "q, s, z = DynamicQuantizeLinear(x) i = ConvInteger <pads = [1, 0, 1, 1]> (q, w, z, wz) y = Cast <to = 1> (i)",
        {"w": codes(4, 3, 3, 2, dtype="uint8"), "wz": scalar(99, "uint8")},
    ),
    "MatMulIntegerToFloat": model(
        X, "q, s, z = DynamicQuantizeLinear(x) y = com.microsoft.MatMulIntegerToFloat(q, w, s, ws, z)", FC
    ),
}  # fmt: skip

# Floats that onnxruntime adds up in float32 where the crossbar adds integers.
FLOAT = {
    "QDQ, signed": model(X, f"{QDQ_IN} k = DequantizeLinear(w, ws) y = MatMul(d, k)", SIGNED | FC),
    "QDQ, shifted": model(X, f"{QDQ_IN} k = DequantizeLinear(w, ws) y = MatMul(d, k)", SHIFTED | FC),
    "QDQ, zero is the lowest code": model(X, f"{QDQ_IN} k = DequantizeLinear(w, ws) y = MatMul(d, k)", BELOW | FC),
    "QDQ, per column": model(
        X, f"{QDQ_IN} k = DequantizeLinear <axis = 1> (w, ws) y = MatMul(d, k)", SHIFTED | PER_COLUMN
    ),
    "QDQ, weights shifted": model(
        X, f"{QDQ_IN} k = DequantizeLinear(w, ws, wz) y = MatMul(d, k)",
        SHIFTED | {"w": codes(6, 5, dtype="uint8"), "ws": scalar(0.02), "wz": scalar(200, "uint8")},
    ),
    "QDQ, int4 weights": model(
        X, f"{QDQ_IN} f = Cast <to = 22> (w) k = DequantizeLinear(f, ws) y = MatMul(d, k)",
        SHIFTED | {"w": codes(6, 5) % 8, "ws": scalar(0.1)},
    ),
    "QDQ, 16 bit": model(
        X, f"{QDQ_IN} k = DequantizeLinear(w, ws) y = MatMul(d, k)",
        formats(xs=(0.0003, "float32"), xz=(500, "uint16"), ws=(1e-4, "float32"))
        | {"w": codes(6, 5, dtype="int16") // 2},
    ),
    "QDQ, weights transposed": model(
        X, f"{QDQ_IN} k = DequantizeLinear <axis = 0> (w, ws) t = Transpose(k) y = MatMul(d, t)",
        SHIFTED | {"w": codes(5, 6), "ws": np.linspace(0.01, 0.03, 5, dtype=np.float32)},
    ),
    "QDQ, weights left": model(
        "float[N,6,2] x", f"{QDQ_IN} k = DequantizeLinear <axis = 0> (w, ws) y = MatMul(k, d)",
        SHIFTED | {"w": codes(5, 6), "ws": np.linspace(0.01, 0.03, 5, dtype=np.float32)},
    ),
    "QDQ, conv": model(IMAGE, f"{CONV} y = Conv <pads = [1, 1, 1, 0]> (d, k, c)", SHIFTED | FILTERS | BIAS),
    "QDQ, conv, pooled before": model(
        IMAGE, f"{CONV} m = MaxPool <kernel_shape = [2, 2]> (d) y = Conv <pads = [1, 1, 1, 0]> (m, k, c)",
        SHIFTED | FILTERS | BIAS,
    ),
    "QDQ, conv transpose": model(
        IMAGE, f"{QDQ_IN} k = DequantizeLinear <axis = 1> (w, ws) y = ConvTranspose <strides = [2, 2]> (d, k)",
        SHIFTED | {"w": codes(3, 4, 3, 3), "ws": np.linspace(0.01, 0.03, 4, dtype=np.float32)},
    ),
    "QDQ, depthwise": model(
        IMAGE, f"{QDQ_IN} k = DequantizeLinear <axis = 0> (w, ws) y = Conv <group = 3> (d, k)",
        SHIFTED | {"w": codes(6, 1, 3, 2), "ws": np.linspace(0.01, 0.03, 6, dtype=np.float32)},
    ),
    "QCDQ": model(
        X, "q = QuantizeLinear(x, xs, xz) n = Clip(q, lo, hi) d = DequantizeLinear(n, xs, xz)"
        " r = QuantizeLinear(w, ws, wz) l = Clip(r, lo, hi) k = DequantizeLinear(l, ws, wz) y = MatMul(d, k)",
        formats(xs=(0.5, "float32"), xz=(0, "int8"), ws=(0.1, "float32"), wz=(0, "int8"))
        | formats(lo=(-8, "int8"), hi=(7, "int8"))
        | {"w": codes(6, 5).astype(np.float32) / 100},
    ),
    "QGemm": model(
        X, f"{DOUBLE_CODES} y = com.microsoft.QGemm <alpha = 0.5, transB = 1> (q, xs, xz, w, ws, wz, b)",
        SHIFTED | {"w": codes(5, 6), "ws": np.linspace(0.01, 0.03, 5, dtype=np.float32), "wz": np.zeros(5, np.int8),
                   "b": codes(5, dtype="int16").astype(np.int32)},
    ),
    "QAttention": model(
        "float[N,3,8] x",
        "q, s, z = DynamicQuantizeLinear(x)"
        " y = com.microsoft.QAttention <num_heads = 2> (q, w, b, s, ws, , z, wz)",
        {"w": codes(8, 24), "ws": scalar(0.002), "wz": scalar(0, "int8"), "b": np.linspace(0, 1, 24, dtype=np.float32)},
    ),
    "QLinearConv of onnxruntime": model(
        IMAGE,
        f"{DOUBLE_CODES} r = com.microsoft.QLinearConv <pads = [1, 1, 1, 0]> (q, xs, xz, w, ws, wz, ys, yz, b)"
        " y = DequantizeLinear(r, ys, yz)",
        SHIFTED
        | FILTERS
        | BIAS
        | {"wz": np.zeros(4, np.int8)}
        | formats(ys=(0.05, "float32"), yz=(120, "uint8")),
    ),
    "DynamicQuantizeMatMul": model(
        X, "y = com.microsoft.DynamicQuantizeMatMul(x, w, ws, wz, b)",
        FC | {"wz": scalar(3, "int8"), "b": np.arange(5, dtype=np.float32)},
    ),
}  # fmt: skip

# Results are codes: they may differ by one where a rounding of float32 lies on the other side of a half.
REQUANTISED = {
    "QLinearConv": model(
        IMAGE,
        f"{DOUBLE_CODES} r = QLinearConv <pads = [1, 1, 1, 0]> (q, xs, xz, w, ws, wz, ys, yz, b)"
        " y = DequantizeLinear(r, ys, yz)",
        SHIFTED | FILTERS | BIAS | {"wz": np.zeros(4, np.int8)} | formats(ys=(0.05, "float32"), yz=(120, "uint8")),
    ),
    "QLinearMatMul": model(
        X, f"{DOUBLE_CODES} r = QLinearMatMul(q, xs, xz, w, ws, wz, ys, yz) y = DequantizeLinear(r, ys, yz)",
        SHIFTED | {"w": codes(6, 5, dtype="uint8"), "ws": scalar(0.02), "wz": scalar(131, "uint8")}
        | formats(ys=(0.05, "float32"), yz=(120, "uint8")),
    ),
    "QGemm, quantised": model(
        X, f"{DOUBLE_CODES} r = com.microsoft.QGemm(q, xs, xz, w, ws, wz, b, ys, yz) y = DequantizeLinear(r, ys, yz)",
        SHIFTED | FC | {"wz": scalar(0, "int8"), "b": codes(5, dtype="int16").astype(np.int32)}
        | formats(ys=(0.05, "float32"), yz=(120, "uint8")),
    ),
}  # fmt: skip


def plan_of(source: onnx.ModelProto, folder: Path) -> Plan:
    options = CompileOptions(pipeline=PIPELINE)
    plan = compile_model(save(source, folder / "model.onnx"), ISAAC, options).plan
    assert plan is not None
    return plan


def both(source: onnx.ModelProto, folder: Path) -> tuple[NDArray[Any], NDArray[Any], Plan]:
    """What the lossless replay and onnxruntime give, and the plan."""
    plan = plan_of(source, folder)
    (spec,) = plan.document.inputs
    assert spec.shape is not None
    x = np.random.default_rng(7).standard_normal((5, *spec.shape[1:])).astype(np.float32)
    (expected,) = reference_session(source).run(None, {"x": x})
    replayer = Replayer(plan.mapping)
    replayed = replayer.replayed({"x": x})["y"]
    assert replayer.exact
    assert (replayed.dtype, replayed.shape) == (expected.dtype, expected.shape)
    return replayed, expected, plan


@pytest.mark.parametrize("case", EXACT)
def test_integers_to_the_last_bit(case: str, tmp_path: Path) -> None:
    replayed, expected, _ = both(EXACT[case], tmp_path)
    np.testing.assert_array_equal(replayed, expected)


@pytest.mark.parametrize("case", FLOAT)
def test_dequantised_within_the_rounding_of_float32(case: str, tmp_path: Path) -> None:
    replayed, expected, plan = both(FLOAT[case], tmp_path)
    np.testing.assert_allclose(replayed, expected, rtol=2e-6, atol=2e-6 * float(np.abs(expected).max()))
    assert all(layer.input_scale is not None for layer in plan.mapping.layers)  # the model's own, none of ours


@pytest.mark.parametrize("case", REQUANTISED)
def test_requantised_within_one_code(case: str, tmp_path: Path) -> None:
    replayed, expected, _ = both(REQUANTISED[case], tmp_path)
    difference = np.abs(replayed - expected) / 0.05
    assert difference.max() < 1.01
    assert np.mean(difference > 0.5) < 0.02


@pytest.mark.parametrize("case", [*EXACT, *FLOAT, *REQUANTISED])
def test_no_product_with_weights_is_left(case: str, tmp_path: Path) -> None:
    source = {**EXACT, **FLOAT, **REQUANTISED}[case]
    graph = imported(source, tmp_path)
    (layer,) = graph.layers()
    assert layer.given_weights is not None
    assert layer.given_input is not None
    assert not [op.why for op in graph.ops() if isinstance(op, DigitalOp) and op.why]


def test_formats_by_hand(tmp_path: Path) -> None:
    plan = plan_of(FLOAT["QDQ, weights shifted"], tmp_path)
    (layer,) = plan.mapping.layers
    assert (layer.input_bits, layer.input_signed, layer.input_zero_point) == (8, False, 101)
    assert layer.input_scale == float(np.float32(0.03))
    arrays = plan.mapping.arrays(layer)
    np.testing.assert_array_equal(arrays.codes, codes(6, 5, dtype="uint8").astype(int) - 200)
    assert arrays.weight_scale.tolist() == [float(np.float32(0.02))]
    assert layer.weight_bits == 8


def test_a_clip_narrows_the_codes(tmp_path: Path) -> None:
    (layer,) = plan_of(FLOAT["QCDQ"], tmp_path).mapping.layers
    assert (layer.input_bits, layer.input_signed, layer.input_zero_point, layer.weight_bits) == (4, True, 0, 4)
