"""Weights that are computed from constants are weights, whatever the operator."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.frontend import folding
from bsc.ir.graph import DigitalOp, Graph
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, tiny_model

V = random_weights(6, 4, 3, 3)
NUMBERS = {
    "v": V,
    "k": random_weights(6, 4, 1, 1),
    "g": np.linspace(0.5, 2, 6, dtype=np.float32).reshape(6, 1, 1, 1),
    "up": random_weights(6, 2),
    "down": random_weights(2, 36),
    "flat": np.array([1, 6, 36]),
    "matrix": np.array([6, 36]),
    "whole": np.array([6, 4, 3, 3]),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "one": np.ones(6, np.float32),
    "none": np.zeros(6, np.float32),
    "u": random_weights(6),
    "w": random_weights(36),
    "step": np.array(0.02, np.float32),
    "places": np.array([[0, 1, 0, 0], [5, 3, 2, 2]]),
    "new": np.array([0.5, -0.25], np.float32),
    "mask": np.sign(V) > 0,
    "zero": np.zeros((), np.float32),
}
WEIGHTS = {
    "weight norm": "n = ReduceL2 <axes = [1, 2, 3], keepdims = 1> (v) d = Div (v, n) q = Mul (d, g)",
    "spectral norm": """m = Reshape (v, matrix) a = MatMul (m, w) s = MatMul (u, a) q = Div (v, s)""",
    "standardised": """r = Reshape (v, flat) m = ReduceMean <axes = [0, 2], keepdims = 0> (r)
                       b = BatchNormalization (r, one, none, m, one) q = Reshape (b, whole)""",
    "merged low rank": "p = Gemm <alpha = 0.5> (up, down) r = Reshape (p, whole) q = Add (v, r)",
    "padded": "q = Pad (k, pads)",
    "softmax": "q = Softmax <axis = 1> (v)",
    "gelu of a library's own": "q = com.microsoft.Gelu (v)",
    "rounded": "i = QuantizeLinear (v, step) q = DequantizeLinear (i, step)",
    "rounded dynamically": "i, s, z = DynamicQuantizeLinear (v) q = DequantizeLinear (i, s, z)",
    "patched": "q = ScatterND (v, places, new)",
    "pruned": "q = Where (mask, v, zero)",
    "convolved": "c = Conv <pads = [1, 1, 1, 1]> (v, k2) q = Identity (c)",
    "sorted": "l, i = TopK <axis = 1> (v, four) q = Add (l, v)",
    "by way of a sequence": """s = SplitToSequence <axis = 0> (v) a = SequenceAt (s, last) b = SequenceAt (s, first)
                               e = Concat <axis = 0> (a, b) q = Mul (e, e)""",
    "of two numbers": 'q = Einsum <equation = "oj,j...->o..."> (up, t)',
}
MORE = {
    "k2": random_weights(4, 4, 3, 3),
    "four": np.array([4]),
    "last": np.array(5),
    "first": np.array(0),
    "t": random_weights(2, 4, 3, 3),
}


def left(graph: Graph) -> dict[str, str]:
    """Digital operators and why."""
    return {op.op_type: op.why for op in graph.ops() if isinstance(op, DigitalOp)}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_may_be_computed_from_constants(kind: str, tmp_path: Path) -> None:
    body = WEIGHTS[kind]
    read = set(re.findall(r"\w+", body))
    used = {name: array for name, array in (NUMBERS | MORE).items() if name in read}
    text = f"(float[N,4,5,5] x) => (float[] y) {{ {body} [conv] y = Conv <pads = [1, 1, 1, 1]> (x, q) }}"
    model = tiny_model(text, used, opset=17, domains=["com.microsoft"])
    graph = imported(model, tmp_path)
    assert left(graph) == {}
    (layer,) = graph.layers()
    assert (layer.given_weights is not None) == kind.startswith("rounded")  # codes stay codes
    assert_same_as_onnxruntime(model, graph, batch=2)


@pytest.mark.parametrize(
    ("body", "operator", "why"),
    [
        ("q = RandomNormalLike <seed = 1.0> (v)", "RandomNormalLike", "it makes random numbers"),
        ("q, m = Dropout (v, half, on)", "Dropout", "it makes random numbers"),
        ("t = RandomNormalLike (v) r = Relu (t) q = Add (r, v)", "RandomNormalLike", "it makes random numbers"),
    ],
)  # fmt: skip
def test_what_is_not_folded_says_why_and_the_product_names_it(
    body: str, operator: str, why: str, tmp_path: Path
) -> None:
    numbers = {"v": V, "k": random_weights(2, 6, 1, 1), "half": np.array(0.5, np.float32), "on": np.array(True)}
    used = {name: array for name, array in numbers.items() if name in body or name == "k"}
    text = f"(float[N,4,5,5] x) => (float[] y) {{ [noise] {body} [conv] h = Conv (x, q) y = Conv (h, k) }}"
    found = left(imported(tiny_model(text, used), tmp_path))
    assert found[operator] == why
    assert found["Conv"] == f"its weights come from {operator} noise, which is not folded"


def test_weights_that_depend_on_the_input_are_activations(tmp_path: Path) -> None:
    text = """(float[6,4,3,3] x) => (float[] y, float[] z)
              { n = ReduceL2 (x) d = Div (v, n) [conv] y = Conv (x, d) c = Conv (k, x) z = Conv (x, v) }"""
    found = imported(tiny_model(text, {"v": V, "k": random_weights(2, 4, 3, 3)}), tmp_path)
    whys = [op.why for op in found.ops() if isinstance(op, DigitalOp) and op.op_type == "Conv"]
    assert whys == ["both operands are activations"]


def test_a_constant_input_of_a_convolution_is_not_called_its_weights(tmp_path: Path) -> None:
    text = "(float[6,4,3,3] x) => (float[] y, float[] z) { y = Conv (k, x) z = Conv (x, v) }"
    found = imported(tiny_model(text, {"v": V, "k": random_weights(2, 4, 3, 3)}), tmp_path)
    whys = [op.why for op in found.ops() if isinstance(op, DigitalOp) and op.op_type == "Conv"]
    assert whys == ["its weights are computed at run time"]


@pytest.mark.parametrize(("size", "folded"), [(20, True), (21, False)])
def test_arithmetic_has_an_end(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, folded: bool) -> None:
    """Reading, writing and multiplying matrices of size x size."""
    monkeypatch.setattr(folding, "MAX_WORK", 20**3 + 3 * 20**2)
    text = """(float[N,{0}] x, float[1,2] u) => (float[] y, float[] z)
              {{ q = Gemm (a, b) y = MatMul (x, q) z = MatMul (u, k) }}"""
    numbers = {"a": random_weights(size, size), "b": random_weights(size, size, seed=1), "k": random_weights(2, 2)}
    found = imported(tiny_model(text.format(size), numbers), tmp_path)
    assert len(list(found.layers())) == (2 if folded else 1)
    whys = [] if folded else ["it takes more arithmetic than is done before a model runs"]
    assert [op.why for op in found.ops() if isinstance(op, DigitalOp) and "constants" not in op.why][:1] == whys


@pytest.mark.parametrize("kind", ["bfloat16", "float8e4m3fn", "int4"])
def test_types_that_python_does_not_have(kind: str, tmp_path: Path) -> None:
    """Weights rounded through a type that onnxruntime does not hand out."""
    body = f"r = Cast <to = {({'bfloat16': 16, 'float8e4m3fn': 17, 'int4': 22})[kind]}> (w) q = Cast <to = 1> (r)"
    text = f"(float[N,4] x) => (float[] y) {{ {body} [fc] y = MatMul (x, q) }}"
    model = tiny_model(text, {"w": 4 * random_weights(4, 3)}, opset=21)
    graph = imported(model, tmp_path)
    assert left(graph) == {}
    assert_same_as_onnxruntime(model, graph, batch=2)


def test_large_results_lie_in_files(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,600] x) => (float[] y) { n = ReduceL2 <axes = [0]> (w) q = Div (w, n) y = MatMul (x, q) }",
        {"w": random_weights(600, 500)},
    )
    graph = imported(model, tmp_path)
    (layer,) = graph.layers()
    source = graph.array(layer.weight)
    while not isinstance(source, np.memmap):
        assert source.base is not None
        source = source.base
    assert_same_as_onnxruntime(model, graph)


def test_an_embedding_stays_as_small_as_it_is(tmp_path: Path) -> None:
    """What is dequantised for no product is not made four times as large."""
    text = "(int64[N,3] i) => (float[] y) { e = DequantizeLinear (t, s) g = Gather (e, i) y = MatMul (g, w) }"
    table: NDArray[Any] = np.ones((9, 4), np.int8)
    numbers = {"t": table, "s": np.array(0.5, np.float32), "w": random_weights(4, 2)}
    graph = imported(tiny_model(text, numbers), tmp_path)
    assert list(left(graph)) == ["DequantizeLinear", "Gather"]


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
@pytest.mark.parametrize("length", [4, 5])
def test_sequences_that_become_splits_have_the_form_of_the_opset(opset: int, length: int, tmp_path: Path) -> None:
    """Pieces of an activation, the last one maybe shorter; the optimiser writes all of them as Split of opset 18."""
    text = """(float[N,10] x) => (float[] y) { s = SplitToSequence <axis = 1> (x, n) a = SequenceAt (s, first)
              b = SequenceAt (s, last) c = Concat <axis = 1> (b, a) y = MatMul (c, w) }"""
    width = length + (10 % length or length)
    numbers = {"n": np.array(length), "first": np.array(0), "last": np.array(-1), "w": random_weights(width, 3)}
    model = tiny_model(text, numbers, opset=opset)
    graph = imported(model, tmp_path)
    assert len(list(graph.layers())) == 1
    assert_same_as_onnxruntime(model, graph, batch=2)


@pytest.mark.parametrize("opset", [11, 13])
def test_sequences_that_get_an_axis_have_the_form_of_the_opset(opset: int, tmp_path: Path) -> None:
    text = """(float[N,4] x) => (float[] y) { r = Relu (x) s = SequenceConstruct (x, r)
              a = ConcatFromSequence <axis = 1, new_axis = 1> (s) y = MatMul (a, w) }"""
    model = tiny_model(text, {"w": random_weights(4, 3)}, opset=opset)
    graph = imported(model, tmp_path)
    assert len(list(graph.layers())) == 1
    assert_same_as_onnxruntime(model, graph, batch=2)
