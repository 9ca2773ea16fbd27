"""The error for open sizes, and that the line it ends with can be pasted."""

import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from bsc.errors import ModelError
from bsc.frontend.shapes import parse_input_shape
from bsc.testing import conv_model, imported, random_weights, tiny_model
from tests.bsc.frontend.declared import declared

W = random_weights(4, 3)


def plain(*sizes: int | str | None) -> onnx.ModelProto:
    text = f"(float[{','.join('1' * len(sizes))}] x) => (float[] y) {{ y = MatMul(x, w) }}"
    return declared(tiny_model(text, {"w": W}), x=list(sizes))


ATTENTION = tiny_model(
    """(float[N,S,16] x, float[N,P,8] past) => (float[] y, float[] kk) {
        k = MatMul(x, wk) kk = Concat <axis = 1> (past, k) q = MatMul(x, wq)
        kt = Transpose <perm = [0,2,1]> (kk) s = MatMul(q, kt) p = Softmax(s) y = MatMul(p, kk) }""",
    {"wk": random_weights(16, 8), "wq": random_weights(16, 8, seed=1)},
)
OPEN: Mapping[str, tuple[onnx.ModelProto, str, str]] = {
    "an image": (conv_model(spatial=["H", "W"]), "x [N,3,H,W]", "--input-shape x:N,3,224,224"),
    "a height": (conv_model(spatial=["H", 8]), "x [N,3,H,8]", "--input-shape x:N,3,224,8"),
    "nothing known of an image": (
        declared(conv_model(), x=[None, None, None, None]),
        "x [?,?,?,?]",
        "--input-shape x:N,3,224,224",
    ),
    "-1": (plain(-1, -1, 4), "x [?,?,4]", "--input-shape x:N,16,4"),
    "0": (plain(0, 0, 4), "x [?,?,4]", "--input-shape x:N,16,4"),
    "a question mark": (plain("?", "?", 4), "x [?,?,4]", "--input-shape x:N,16,4"),
    "None as text": (plain("None", "None", 4), "x [?,?,4]", "--input-shape x:N,16,4"),
    "empty names": (plain("", "", 4), "x [?,?,4]", "--input-shape x:N,16,4"),
    "dotted names": (plain("x.batch.0", "x.dim.1", 4), "x [x.batch.0,x.dim.1,4]", "--input-shape x:N,16,4"),
    "what weights demand": (plain("batch", "seq", -1), "x [batch,seq,?]", "--input-shape x:N,16,4"),
    "channels last": (
        declared(
            tiny_model(
                "(float[1,8,8,3] x) => (float[] y)"
                " { s = Div(x, c) t = Transpose <perm = [0,3,1,2]> (s) y = Conv(t, k) }",
                {"k": random_weights(2, 3, 3, 3), "c": np.array(255, np.float32)},
            ),
            x=[None, "height", "width", None],
        ),
        "x [?,height,width,?]",
        "--input-shape x:N,224,224,3",
    ),
    "a signal that a window must fit into": (
        tiny_model(
            "(float[N,1,samples] x) => (float[] y) { y = Conv <strides = [128]> (x, k) }",
            {"k": random_weights(4, 1, 256)},
        ),
        "x [N,1,samples]",
        "--input-shape x:N,1,1024",
    ),
    "no shape": (
        tiny_model("(float[] x) => (float[] y) { y = MatMul(x, w) }", {"w": W}),
        "x no shape at all",
        "--input-shape x:N,4",
    ),
    "no shape before a convolution": (
        tiny_model("(float[] x) => (float[] y) { y = Conv(x, k) }", {"k": random_weights(2, 3, 3)}),
        "x no shape at all",
        "--input-shape x:N,3,16",
    ),
    "all inputs at once": (
        ATTENTION,
        "x [N,S,16]; past [N,P,8]",
        "--input-shape x:N,16,16 --input-shape past:N,0,8",
    ),
    "a state that is carried along": (
        declared(
            tiny_model(
                "(float[1,1,8] x, float[2,1,6] h) => (float[] y)"
                " { a = MatMul(x, w) s = Slice(h, zero, one, zero) r = Add(a, s) y = Relu(r) }",
                {"w": random_weights(8, 6), "zero": np.array([0]), "one": np.array([1])},
            ),
            x=["?", "?", 8],
            h=[2, "?", 6],
        ),
        "x [?,?,8]; h [2,?,6]",
        "--input-shape x:N,16,8 --input-shape h:2,N,6",
    ),
    "a sum of sizes": (
        tiny_model(
            "(float[N,seq,4] x, float[N,other] m) => (float[] y)"
            " { a = MatMul(x, w) u = Unsqueeze(m, ax) y = Mul(a, u) }",
            {"w": W, "ax": np.array([2])},
        ),
        "x [N,seq,4]; m [N,past_length + seq]",
        "--input-shape x:N,16,4 --input-shape m:N,16",
    ),
    "a name for the shell to quote": (
        declared(
            tiny_model("(float[1,4] x) => (float[] y) { y = MatMul(x, w) }", {"w": W}),
        ),
        "in put/0 [T,4]",
        "--input-shape 'in put/0:16,4'",
    ),
}


@pytest.mark.parametrize("case", OPEN)
def test_the_line_can_be_pasted_and_works(case: str, tmp_path: Path) -> None:
    model, seen, line = OPEN[case]
    if case == "a sum of sizes":
        model = declared(model, m=["N", "past_length + seq"])
    if case.startswith("a name for"):
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("in put/0", onnx.TensorProto.FLOAT, ["T", 4]))
        model.graph.node[0].input[0] = "in put/0"
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert caught.value.seen == seen
    assert caught.value.fix.endswith(f"for example: {line}")
    shapes = dict(parse_input_shape(text) for text in shlex.split(line) if text != "--input-shape")
    graph = imported(model, tmp_path, shapes)
    assert list(graph.layers())


def test_words_for_open_sizes(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        imported(plain("T", 4), tmp_path)
    assert str(caught.value) == (
        "[BSC305] input 'x' has axes of unknown size\n"
        "  seen: x [T,4]\n"
        "  fix:  give them as numbers, N for a size that is the batch, for example: --input-shape x:16,4"
    )
    with pytest.raises(ModelError) as caught:
        imported(ATTENTION, tmp_path)
    assert str(caught.value) == (
        "[BSC305] 2 inputs have axes of unknown size\n"
        "  seen: x [N,S,16]; past [N,P,8]\n"
        "  fix:  give them as numbers, for example: --input-shape x:N,16,16 --input-shape past:N,0,8"
    )


@pytest.mark.parametrize("product", ["Conv (x, v)", "Gemm (x, v)", "MatMul (x, r)", "MatMul (t, w)"])
def test_weights_of_too_few_axes_demand_nothing(product: str, tmp_path: Path) -> None:
    """Nor do inputs that are turned over without having an axis."""
    text = f"(float[N] x) => (float[] y) {{ t = Transpose <perm : ints = []> (x) y = {product} }}"
    model = declared(tiny_model(text, {"v": random_weights(4), "r": np.array(1, np.float32), "w": W}), x=["T"])
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert caught.value.seen == "x [T]"
