"""Multiply-accumulates counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from bsc.frontend.onnx_import import import_model
from bsc.ir.graph import DigitalOp
from bsc.ir.macs import digital_macs, layer_macs, multiplies_activations
from bsc.testing import conv_model, imported, random_weights, save, tiny_model

# Operator on x (2, 3, 4) and others: multiply-accumulates, and whether both operands are activations.
COUNTED: dict[str, tuple[str, int | None, bool]] = {
    "matrix products": ("t = Transpose <perm = [0, 2, 1]> (x)  d = MatMul(x, t)", 2 * 3 * 3 * 4, True),
    "a constant on the left": ("d = MatMul(left, x)", 2 * 5 * 4 * 3, False),
    "gemm, input transposed": ("m = ReduceMax <axes = [0], keepdims = 0> (x)  d = Gemm <transA = 1> (m, m)", 48, True),
    "convolution, grouped": (
        "k = Slice(x, zero, one, zero)  t = Transpose <perm = [1, 0, 2]> (k)  d = Conv <group = 3> (x, t)",
        2 * 3 * 1 * 4,
        True,
    ),
    "transposed convolution": ("d = ConvTranspose(x, kt)", 2 * 3 * 4 * (5 * 2), False),
    "einsum": ('d = Einsum <equation = "bij,bkj->bik"> (x, x)', 2 * 3 * 4 * 3, True),
    "einsum with an ellipsis": ('d = Einsum <equation = "...j,j->..."> (x, r)', 2 * 3 * 4, False),
    "einsum without an arrow": ('d = Einsum <equation = "...j,jk"> (x, on)', 2 * 3 * 4 * 3, False),
    "lstm": ("d, h, c = LSTM <hidden_size = 5> (x, wl, rl)", 2 * 3 * (20 * 4 + 20 * 5), False),
    "element-wise": ("d = Mul(x, x)", 0, False),
    "discrete Fourier transform": ("u = Unsqueeze(x, last)  d = DFT <axis = 2> (u)", None, False),
    "attention of a library's own": (
        "d = com.microsoft.Attention <num_heads = 1> (x, wa, ba)",
        None,
        True,
    ),
}


@pytest.mark.parametrize("case", COUNTED)
def test_digital_operators(case: str, tmp_path: Path) -> None:
    body, macs, of_activations = COUNTED[case]
    weights = {
        "left": random_weights(5, 3),
        "kt": random_weights(3, 5, 2),
        "r": random_weights(4),
        "wl": random_weights(1, 20, 4),
        "rl": random_weights(1, 20, 5),
        "wa": random_weights(4, 12),
        "ba": random_weights(12),
        "last": np.array([3]),
        "zero": np.array([0]),
        "one": np.array([1]),
        "on": random_weights(4, 3),
    }
    model = tiny_model(
        f"(float[2,3,4] x) => (float[] d, float[] y) {{ {body}  y = MatMul(x, on) }}",
        weights,
        domains=["com.microsoft"],
    )
    graph = import_model(save(model, tmp_path / "model.onnx"), as_written=True)
    (op,) = (op for op in graph.ops() if isinstance(op, DigitalOp) and "d" in op.outputs)
    assert (digital_macs(graph, op), multiplies_activations(graph, op)) == (macs, of_activations)


@pytest.mark.parametrize(
    ("heads", "macs"),
    [("", 4 * 2 * 3 * 3 * (5 + 5)), ("past", None)],
)
def test_attention(heads: str, macs: int | None, tmp_path: Path) -> None:
    past = ", , p, p" if heads else ""
    model = tiny_model(
        "(float[4,2,3,5] x, float[4,2,7,5] p) => (float[] d, float[] y) "
        f"{{ d{', kk, vv' if heads else ''} = Attention (x, x, x{past})  y = MatMul(x, on) }}",
        {"on": random_weights(5, 3)},
        opset=23,
    )
    graph = imported(model, tmp_path)
    (op,) = (op for op in graph.ops() if isinstance(op, DigitalOp))
    assert (digital_macs(graph, op), multiplies_activations(graph, op)) == (macs, True)


def test_packed_attention(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[4,3,10] x) => (float[] d, float[] y) "
        "{ d = Attention <q_num_heads = 2, kv_num_heads = 2> (x, x, x)  y = MatMul(x, on) }",
        {"on": random_weights(10, 3)},
        opset=23,
    )
    graph = imported(model, tmp_path)
    (op,) = (op for op in graph.ops() if isinstance(op, DigitalOp))
    assert digital_macs(graph, op) == 4 * 3 * 3 * (10 + 10)


def test_crossbar_layers_count_the_weights_of_the_model(tmp_path: Path) -> None:
    """Grouped convolution 4 to 6 channels, 3x3 without padding on 8x8: 36 places, 6 filters of 2 channels."""
    graph = imported(conv_model(channels=4, filters=6, groups=2), tmp_path)
    assert [layer_macs(layer) for layer in graph.layers()] == [36 * 6 * 2 * 9]


def test_attributes_of_a_function_that_is_none(tmp_path: Path) -> None:
    """Outside of functions a reference to an attribute of theirs says nothing."""
    model = tiny_model(
        "(float[N,4] x, bool c) => (float[] y) { h = MatMul(x, w) y = If (c) "
        "<then_branch = a () => (t) { t = MatMul(h, v) }, else_branch = b () => (e) { e = MatMul(h, v) }> }",
        {"w": random_weights(4, 4), "v": random_weights(4, 4)},
    )
    body = model.graph.node[1].attribute[0].g
    body.node[0].attribute.add(name="then_branch", ref_attr_name="whose")
    graph = imported(model, tmp_path)
    (op,) = (op for op in graph.ops() if isinstance(op, DigitalOp))
    assert digital_macs(graph, op) == 4 * 4
