"""Rewritten products with weights compute what onnxruntime does, for any batch; none that has weights is left."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.ir.graph import DigitalOp, Graph
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, tiny_model

PRODUCTS = ("Conv", "ConvTranspose", "Einsum", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul")


def weights(**shapes: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    return {name: random_weights(*shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}


def model(head: str, body: str, constants: dict[str, NDArray[Any]], **options: Any) -> onnx.ModelProto:
    return tiny_model(f"({head}) => (float[] y) {{ {body} }}", constants, **options)


def microsoft(head: str, body: str, constants: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    return model(head, body, constants, domains=["com.microsoft"])


X = "float[N,3,4] x"
IMAGE = "float[N,4,6,5] x"

CASES = {
    "matmul, constant left": model(X, "[m] y = MatMul(w, x)", weights(w=(5, 3))),
    "matmul, constant left of a vector": model("float[3] x", "[m] y = MatMul(w, x)", weights(w=(5, 3))),
    "matmul, constant left of four axes": model("float[N,2,3,4] x", "[m] y = MatMul(w, x)", weights(w=(5, 3))),
    "matmul, constant row left": model(X, "[m] y = MatMul(w, x)", weights(w=(3,))),
    "matmul, constant column right": model(X, "[m] y = MatMul(x, w)", weights(w=(4,))),
    "matmul, stack of one": model(X, "[m] y = MatMul(x, w)", weights(w=(1, 4, 2))),
    "matmul, stack": model("float[N,3,2,4] x", "[m] y = MatMul(x, w)", weights(w=(3, 4, 5))),
    "matmul, stack left": model("float[N,3,4,2] x", "[m] y = MatMul(w, x)", weights(w=(3, 5, 4))),
    "matmul, stack without batch": model("float[3,2,4] x", "[m] y = MatMul(x, w)", weights(w=(3, 4, 5))),
    "matmul, stack for one matrix": model("float[N,4] x", "[m] y = MatMul(x, w)", weights(w=(3, 4, 5))),
    "matmul, stack for a vector": model("float[4] x", "[m] y = MatMul(x, w)", weights(w=(3, 4, 5))),
    "gemm, transposed input": model("float[3,2] x", "[m] y = Gemm <transA = 1> (x, w)", weights(w=(3, 4))),
    "gemm, constant left": model("float[3,2] x", "[m] y = Gemm <alpha = 0.5> (w, x)", weights(w=(4, 3))),
    "gemm, both transposed, constant left": model(
        "float[2,3] x", "[m] y = Gemm <transA = 1, transB = 1> (w, x)", weights(w=(3, 4))
    ),
    "gemm, constant left, bias": model(
        "float[3,2] x", "[m] y = Gemm <beta = -2.0> (w, x, b)", weights(w=(4, 3), b=(4, 1))
    ),
    "gemm, bias is a matrix": model("float[2,3] x", "[m] y = Gemm <beta = 3.0> (x, w, b)", weights(w=(3, 4), b=(2, 4))),
    "gemm, bias is a column": model("float[2,3] x", "[m] y = Gemm(x, w, b)", weights(w=(3, 4), b=(2, 1))),
    "gemm, bias at run time": model(
        "float[N,3] x",
        "b = ReduceMax <axes = [0, 1], keepdims = 0> (x) [m] y = Gemm <beta = 0.5> (x, w, b)",
        weights(w=(3, 4)),
    ),
    "gemm, bias at run time, no factor": model(
        "float[N,3] x", "b = ReduceMax <axes = [1], keepdims = 1> (x) [m] y = Gemm(x, w, b)", weights(w=(3, 4))
    ),
    "conv, bias at run time": model(
        IMAGE, "b = ReduceMax <axes = [0, 1, 2, 3], keepdims = 0> (x) one = Constant <value_ints = [3]> ()"
        " bs = Expand(b, one) [m] y = Conv(x, w, bs)", weights(w=(3, 4, 3, 2))
    ),
    "einsum, a matrix": model(X, '[m] y = Einsum <equation = "nij,jk->nik"> (x, w)', weights(w=(4, 5))),
    "einsum, constant first": model(X, '[m] y = Einsum <equation = "kj, nij -> nki"> (w, x)', weights(w=(5, 4))),
    "einsum, two letters are summed": model(
        X, '[m] y = Einsum <equation = "nij,ijk->nk"> (x, w)', weights(w=(3, 4, 5))
    ),
    "einsum, heads": model(X, '[m] y = Einsum <equation = "nij,jhd->nhid"> (x, w)', weights(w=(4, 2, 5))),
    "einsum, out of heads": model(
        "float[N,2,3,4] x", '[m] y = Einsum <equation = "nhid,hdk->nik"> (x, w)', weights(w=(2, 4, 5))
    ),
    "einsum, a stack": model(
        "float[N,2,3,4] x", '[m] y = Einsum <equation = "nhid,hdk->nkhi"> (x, w)', weights(w=(2, 4, 5))
    ),
    "einsum, a row": model(X, '[m] y = Einsum <equation = "nij,j"> (x, w)', weights(w=(4,))),
    "einsum, the batch is not first in the result": model(
        X, '[m] y = Einsum <equation = "nij,jk->kin"> (x, w)', weights(w=(4, 5))
    ),
    "conv transpose": model(IMAGE, "[m] y = ConvTranspose(x, w, b)", weights(w=(4, 3, 3, 2), b=(3,))),
    "conv transpose, strided": model(
        IMAGE, "[m] y = ConvTranspose <strides = [2, 3]> (x, w, b)", weights(w=(4, 3, 3, 2), b=(3,))
    ),
    "conv transpose, padded": model(
        IMAGE, "[m] y = ConvTranspose <strides = [2, 2], pads = [1, 0, 1, 2]> (x, w)", weights(w=(4, 3, 4, 4))
    ),
    "conv transpose, output padding": model(
        IMAGE,
        "[m] y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]> (x, w, b)",
        weights(w=(4, 3, 3, 3), b=(3,)),
    ),
    "conv transpose, output padding beyond the kernel": model(
        IMAGE, "[m] y = ConvTranspose <strides = [2, 2], output_padding = [1, 1]> (x, w, b)",
        weights(w=(4, 3, 2, 2), b=(3,)),
    ),
    "conv transpose, stride beyond the kernel": model(
        IMAGE, "[m] y = ConvTranspose <strides = [3, 2]> (x, w, b)", weights(w=(4, 3, 2, 1), b=(3,))
    ),
    "conv transpose, groups": model(
        IMAGE, "[m] y = ConvTranspose <strides = [2, 2], group = 2> (x, w, b)", weights(w=(4, 3, 3, 3), b=(6,))
    ),
    "conv transpose, dilated": model(
        IMAGE, "[m] y = ConvTranspose <strides = [2, 1], dilations = [2, 3]> (x, w)", weights(w=(4, 3, 3, 2))
    ),
    "conv transpose, one axis": model(
        "float[N,4,5] x", "[m] y = ConvTranspose <strides = [2]> (x, w, b)", weights(w=(4, 3, 4), b=(3,))
    ),
    "conv transpose, three axes": model(
        "float[N,2,3,4,2] x", "[m] y = ConvTranspose <strides = [2, 1, 3]> (x, w)", weights(w=(2, 3, 2, 3, 4))
    ),
    "conv transpose, output shape": model(
        IMAGE, "[m] y = ConvTranspose <strides = [2, 2], output_shape = [12, 10]> (x, w)", weights(w=(4, 3, 3, 3))
    ),
    "conv transpose, SAME_UPPER": model(
        IMAGE, '[m] y = ConvTranspose <strides = [2, 2], auto_pad = "SAME_UPPER"> (x, w)', weights(w=(4, 3, 3, 3))
    ),
    "conv transpose, SAME_LOWER": model(
        IMAGE, '[m] y = ConvTranspose <strides = [2, 2], auto_pad = "SAME_LOWER"> (x, w)', weights(w=(4, 3, 3, 3))
    ),
    "fused conv": microsoft(
        IMAGE, '[m] y = com.microsoft.FusedConv <activation = "Relu"> (x, w, b)', weights(w=(3, 4, 3, 3), b=(3,))
    ),
    "fused conv with a sum": microsoft(
        IMAGE,
        'z = com.microsoft.FusedConv <activation = "LeakyRelu", activation_params = [0.3]> (x, w, b)'
        '[m] y = com.microsoft.FusedConv <activation = "HardSigmoid", activation_params = [0.3, 0.4]> (x, w, b, z)',
        weights(w=(3, 4, 3, 3), b=(3,)),
    ),
    "fused matmul": microsoft(
        X, "[m] y = com.microsoft.FusedMatMul <alpha = 0.3, transB = 1> (x, w)", weights(w=(5, 4))
    ),
    "fused matmul, transposed": microsoft(
        X, "[m] y = com.microsoft.FusedMatMul <alpha = -2.0, transA = 1> (x, w)", weights(w=(3, 5))
    ),
    "fused matmul, constant left": microsoft(
        X, "[m] y = com.microsoft.FusedMatMul <alpha = 2.0, transB = 1> (w, x)", weights(w=(5, 4))
    ),
    "attention": microsoft(
        "float[N,3,8] x", "[m] y = com.microsoft.Attention <num_heads = 2> (x, w, b)", weights(w=(8, 24), b=(24,))
    ),
    "attention, one way, sizes": microsoft(
        "float[N,3,8] x",
        "[m] y = com.microsoft.Attention <num_heads = 2, unidirectional = 1, scale = 0.3, qkv_hidden_sizes = [4, 4, 6]>"
        " (x, w, b)",
        weights(w=(8, 14), b=(14,)),
    ),
    "weights that are computed": model(
        "float[N,120] x", "d = Mul(w, s) k = Add(d, z) [m] y = MatMul(x, k)", weights(w=(120, 90), s=(120, 1), z=(90,))
    ),
    "weights behind QuantizeLinear": model(
        "float[N,4] x", "q = QuantizeLinear(w, s) k = DequantizeLinear(q, s) [m] y = MatMul(x, k)",
        weights(w=(4, 3)) | {"s": np.array(0.01, np.float32)},
    ),
}  # fmt: skip


def left_with_weights(graph: Graph) -> list[str]:
    return [f"{op.op_type}: {op.why}" for op in graph.ops() if isinstance(op, DigitalOp) and op.op_type in PRODUCTS]


@pytest.mark.parametrize("case", CASES)
def test_a_product_with_weights_is_on_crossbars(case: str, tmp_path: Path) -> None:
    graph = imported(CASES[case], tmp_path)
    assert not left_with_weights(graph)
    assert "m" in {op.name for op in graph.ops() if not isinstance(op, DigitalOp)}
    for batch in (1, 3) if graph.info.dynamic_batch else (1,):
        assert_same_as_onnxruntime(CASES[case], graph, batch=batch)


HOSTILE = {
    "dilations": ("ConvTranspose <dilations = [1000000, 1000000]> (x, w)", "its filters are too large"),
    "strides": ("ConvTranspose <strides = [1000000, 1000000]> (x, w)", "its filters are too large"),
    "no weights": ("com.microsoft.FusedMatMul(x)", "its inputs and attributes contradict each other"),
    "an equation of nonsense": (
        'Einsum <equation = "ab,->"> (x, w)',
        "its equation does not fit",
    ),
    "groups": ("ConvTranspose <group = 3> (x, w)", "its shapes do not fit together"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_attributes_that_make_no_sense_stay_digital(case: str, tmp_path: Path) -> None:
    body, why = HOSTILE[case]
    source = tiny_model(
        f"({IMAGE}) => (float[] y, float[] z) {{ z = MatMul(x, on) y = {body} }}",
        weights(w=(4, 3, 3, 3), on=(5, 2)),
        domains=["com.microsoft"],
    )
    graph = imported(source, tmp_path)
    (left,) = [op for op in graph.ops() if isinstance(op, DigitalOp)]
    assert left.why.startswith(why)


@st.composite
def transposed_convolutions(draw: st.DrawFn) -> onnx.ModelProto:
    """ConvTranspose of any geometry that onnxruntime takes, and a free batch."""
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))

    def sizes(lowest: int, highest: int) -> list[int]:
        return draw(st.lists(st.integers(lowest, highest), min_size=axes, max_size=axes))

    kernel, strides, dilations, spatial = sizes(1, 4), sizes(1, 3), sizes(1, 2), sizes(1, 4)
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    extra = [draw(st.integers(0, stride - 1)) for stride in strides]
    full = [
        (size - 1) * stride + span + more
        for size, stride, span, more in zip(spatial, strides, spans, extra, strict=True)
    ]
    before = [draw(st.integers(0, min(2, size - 1))) for size in full]
    after = [draw(st.integers(0, min(2, size - 1 - first))) for size, first in zip(full, before, strict=True)]
    options = [f"group = {groups}", f"strides = {strides}", f"dilations = {dilations}", f"pads = {before + after}"]
    options.append(f"output_padding = {extra}")
    channels, filters = groups * draw(st.integers(1, 2)), draw(st.integers(1, 3))
    constants = weights(w=(channels, filters, *kernel), b=(groups * filters,))
    head = ",".join(map(str, ("N", channels, *spatial)))
    return model(f"float[{head}] x", f"[m] y = ConvTranspose <{', '.join(options)}> (x, w, b)", constants)


@settings(max_examples=60, deadline=None)
@given(transposed_convolutions())
def test_law_any_transposed_convolution_computes_what_onnxruntime_does(source: onnx.ModelProto) -> None:
    with TemporaryDirectory() as folder:
        graph = imported(source, Path(folder))
    assert len(list(graph.layers())) == 1
    assert_same_as_onnxruntime(source, graph, batch=2)


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, list[int], list[int]]:
    """An einsum of an activation, whose first letter n is its batch, and a constant; and their sizes."""
    letters = draw(st.permutations("abcdef"))
    count = draw(st.tuples(st.integers(0, 1), st.integers(1, 2), st.integers(0, 2), st.integers(0, 1)))
    kinds, taken = [], 0
    for each in count:
        kinds.append("".join(letters[taken : taken + each]))
        taken += each
    stack, rows, columns, vectors = kinds
    size = {letter: draw(st.integers(1, 3)) for letter in letters} | {"n": 1}
    ours = "n" + "".join(draw(st.permutations(stack + rows + vectors)))
    theirs = "".join(draw(st.permutations(stack + rows + columns)))
    result = "".join(draw(st.permutations("n" + stack + columns + vectors)))
    return f"{ours},{theirs}->{result}", [size[letter] for letter in ours[1:]], [size[letter] for letter in theirs]


@settings(max_examples=60, deadline=None)
@given(equations())
def test_law_any_einsum_computes_what_onnxruntime_does(case: tuple[str, list[int], list[int]]) -> None:
    equation, ours, theirs = case
    head = ",".join(map(str, ("N", *ours)))
    body = f'[m] y = Einsum <equation = "{equation}"> (x, w)'
    source = model(f"float[{head}] x", body, {"w": random_weights(*theirs)})
    with TemporaryDirectory() as folder:
        graph = imported(source, Path(folder))
    assert len(list(graph.layers())) == 1
    assert_same_as_onnxruntime(source, graph, batch=2)


@pytest.mark.parametrize(
    ("equation", "x", "w"),
    [
        ("...i,ij->...j", (2, 5, 4), (4, 3)),
        ("...i,ij->...j", (2, 3, 5, 4), (4, 3)),
        ("...i,ij", (2, 5, 4), (4, 3)),
        ("ij,...j->...i", (2, 5, 4), (3, 4)),
        ("b...i,oi->b...o", (2, 5, 3, 4), (3, 4)),
        ("...hi,hij->...hj", (2, 5, 3, 4), (3, 4, 2)),
    ],
)
def test_ellipses_are_axes_like_others(equation: str, x: tuple[int, ...], w: tuple[int, ...], tmp_path: Path) -> None:
    operands = "k, x" if equation.startswith("ij") else "x, k"
    sizes = ",".join(map(str, ("N", *x[1:])))
    text = f'(float[{sizes}] x) => (float[] y) {{ [e] y = Einsum <equation = "{equation}"> ({operands}) }}'
    model = tiny_model(text, {"k": random_weights(*w)})
    graph = imported(model, tmp_path)
    assert left_with_weights(graph) == []
    assert len(list(graph.layers())) == 1
    assert_same_as_onnxruntime(model, graph, batch=2)


@pytest.mark.parametrize(
    ("equation", "w", "why"),
    [
        ("...i,...i->...", (1, 4), "its operands are spread over each other"),
        ("...ii,ij->...j", (4, 3), "its equation repeats a letter within an operand"),
        ("...i,ij->j", (4, 3), "its equation sums over one operand alone, or over none"),
        ("...hgi,i->...", (4,), "its equation does not fit its operands"),
    ],
)
def test_words_for_einsums_that_stay(equation: str, w: tuple[int, ...], why: str, tmp_path: Path) -> None:
    shape = "2,4,4" if "ii" in equation else "1,4" if "hg" in equation else "2,4"
    product = f'y = Einsum <equation = "{equation}"> (x, k)'
    text = f"(float[{shape}] x, float[1,3] u) => (float[] y, float[] z) {{ {product} z = MatMul (u, on) }}"
    graph = imported(tiny_model(text, {"k": random_weights(*w), "on": random_weights(3, 2)}), tmp_path)
    assert [op.why for op in graph.ops() if isinstance(op, DigitalOp)] == [why]
