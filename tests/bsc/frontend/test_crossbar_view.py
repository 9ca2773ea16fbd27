from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.ir.graph import DigitalOp
from bsc.numeric.im2col import ConvGeometry
from bsc.testing import assert_same_as_onnxruntime, conv_model, imported, mlp_model, random_weights, tiny_model

Weights = dict[str, NDArray[Any]]


def weights(**shapes: tuple[int, ...]) -> Weights:
    return {name: random_weights(*shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}


def test_a_convolution_by_hand(tmp_path: Path) -> None:
    model = conv_model(channels=4, spatial=(9, 5), filters=6, groups=2, attributes=["strides=[2,1]", "pads=[1,0,0,1]"])
    (layer,) = imported(model, tmp_path).layers()
    assert (layer.name, layer.input, layer.output, layer.weight, layer.bias) == ("conv", "x", "y", "w", "b")
    assert (layer.rows, layer.columns, layer.groups, layer.transposed) == (2 * 3 * 3, 6, 2, True)
    assert layer.conv == ConvGeometry(kernel=(3, 3), strides=(2, 1), dilations=(1, 1), pads=((1, 0), (0, 1)))
    assert layer.vectors == 4 * 4  # (9 + 1 - 3) // 2 + 1 rows of (5 + 1 - 3) + 1 windows


def test_a_gemm_by_hand(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[5,2] x) => (float[] y) { [fc] y = Gemm <alpha = 0.5, beta = -2.0, transB = 1> (x, w, b) }",
        {"w": np.array([[1, 2], [3, 4], [5, 6]], np.float32), "b": np.array(1, np.float32)},
    )
    graph = imported(model, tmp_path)
    (layer,) = graph.layers()
    assert (layer.rows, layer.columns, layer.vectors, layer.conv) == (2, 3, 5, None)
    assert layer.matrix(graph.array(layer.weight)).tolist() == [[0.5, 1.5, 2.5], [1, 2, 3]]
    assert layer.bias is not None
    assert graph.array(layer.bias).tolist() == [-2, -2, -2]


def gemm(attributes: str = "transB = 0", **shapes: tuple[int, ...]) -> onnx.ModelProto:
    reads = ", ".join(["x", *shapes])
    return tiny_model(f"(float[N,4] x) => (float[] y) {{ y = Gemm <{attributes}> ({reads}) }}", weights(**shapes))


def matmul(sizes: str) -> onnx.ModelProto:
    return tiny_model(f"(float[{sizes}] x) => (float[] y) {{ y = MatMul(x, w) }}", weights(w=(4, 3)))


ON_CROSSBARS = {
    "gemm without bias": gemm(w=(4, 3)),
    "gemm": gemm(w=(4, 3), b=(3,)),
    "gemm, transposed": gemm("transB = 1", w=(3, 4), b=(3,)),
    "gemm, scaled": gemm("alpha = 0.5, beta = -2.0", w=(4, 3), b=(3,)),
    "gemm, scalar bias": gemm(w=(4, 3), b=()),
    "gemm, bias of one": gemm("beta = 3.0", w=(4, 3), b=(1,)),
    "gemm, bias as a row": gemm(w=(4, 3), b=(1, 3)),
    "matmul of a vector": tiny_model("(float[4] x) => (float[] y) { y = MatMul(x, w) }", weights(w=(4, 3))),
    "matmul, 2 axes": matmul("N,4"),
    "matmul, 3 axes": matmul("N,2,4"),
    "matmul, 4 axes": matmul("N,2,5,4"),
    "conv, 1 axis": conv_model(spatial=[8], kernel=[3]),
    "conv, 2 axes": conv_model(),
    "conv, 3 axes": conv_model(spatial=[5, 4, 6], kernel=[2, 3, 1]),
    "conv, groups": conv_model(channels=4, filters=6, groups=2),
    "conv, depthwise": conv_model(channels=4, filters=4, groups=4),
    "conv, depthwise with a multiplier": conv_model(channels=4, filters=8, groups=4),
    "conv, dilated": conv_model(attributes=["dilations = [2, 3]"]),
    "conv, strided": conv_model(attributes=["strides = [2, 3]"]),
    "conv, asymmetric pads": conv_model(attributes=["pads = [0, 1, 2, 3]"]),
    "conv, SAME_UPPER": conv_model(kernel=(4, 2), attributes=['auto_pad = "SAME_UPPER"', "strides = [1, 3]"]),
    "conv, SAME_LOWER": conv_model(kernel=(4, 2), attributes=['auto_pad = "SAME_LOWER"', "strides = [3, 1]"]),
    "conv, VALID": conv_model(attributes=['auto_pad = "VALID"', "strides = [3, 1]"]),
    "conv, a window as large as the input": conv_model(kernel=(8, 8)),
    "one weight, two layers": tiny_model(
        "(float[N,4] x) => (float[] y, float[] z) { y = Gemm <transB = 1> (x, w)  z = Gemm <alpha = 2.0> (y, w) }",
        weights(w=(3, 4)),
    ),
    "inputs of two batch symbols": tiny_model(
        "(float[A,4] x, float[B,4] u) => (float[] y, float[] z) { y = MatMul(x, w)  z = MatMul(u, w) }",
        weights(w=(4, 3)),
    ),
    "double": tiny_model(
        "(double[N,4] x) => (double[] y) { h = Gemm <alpha = 3.0> (x, w)  y = Relu(h) }",
        {"w": random_weights(4, 3, dtype=np.float64)},
    ),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("model", ON_CROSSBARS.values(), ids=ON_CROSSBARS)
def test_the_crossbar_view_computes_what_onnxruntime_does(model: onnx.ModelProto, batch: int, tmp_path: Path) -> None:
    graph = imported(model, tmp_path)
    assert not [op for op in graph.ops() if isinstance(op, DigitalOp) and op.op_type != "Relu"]
    assert_same_as_onnxruntime(model, graph, batch=batch)


def test_half_precision_within_its_own_rounding(tmp_path: Path) -> None:
    model = tiny_model(
        "(float16[N,4] x) => (float16[] y) { h = MatMul(x, w)  y = Relu(h) }",
        {"w": random_weights(4, 3, dtype=np.float16)},
    )
    assert_same_as_onnxruntime(model, imported(model, tmp_path), batch=3, tolerance=2e-3)


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """A Conv, Gemm or MatMul of any geometry with a free batch."""
    seed = draw(st.integers(0, 1000))
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kind = draw(st.sampled_from(["Conv", "Gemm", "MatMul"]))
    if kind == "MatMul":
        middle = "".join(f"{size}," for size in draw(st.lists(st.integers(1, 3), max_size=2)))
        return tiny_model(
            f"(float[N,{middle}{rows}] x) => (float[] y) {{ y = MatMul(x, w) }}",
            {"w": random_weights(rows, columns, seed=seed)},
        )
    if kind == "Gemm":
        transposed = draw(st.booleans())
        return tiny_model(
            f"(float[N,{rows}] x) => (float[] y) {{ y = Gemm <alpha = {draw(st.sampled_from(['1.0', '-0.3']))}, "
            f"beta = {draw(st.sampled_from(['1.0', '2.5']))}, transB = {int(transposed)}> (x, w, b) }}",
            {
                "w": random_weights(*((columns, rows) if transposed else (rows, columns)), seed=seed),
                "b": random_weights(*draw(st.sampled_from([(), (1,), (columns,), (1, columns)])), seed=seed + 1),
            },
        )
    axes = draw(st.integers(1, 3))

    def sizes(lowest: int, highest: int, count: int = axes) -> list[int]:
        return draw(st.lists(st.integers(lowest, highest), min_size=count, max_size=count))

    kernel, strides, dilations = sizes(1, 3), sizes(1, 3), sizes(1, 2)
    padding = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if padding.startswith("SAME"):
        dilations = [1] * axes  # onnxruntime refuses any other here
    spans = [(window - 1) * dilation + 1 for window, dilation in zip(kernel, dilations, strict=True)]
    attributes = [f"strides = {strides}", f"dilations = {dilations}"]
    attributes.append(f"pads = {sizes(0, 2, 2 * axes)}" if padding == "pads" else f'auto_pad = "{padding}"')
    groups = draw(st.integers(1, 3))
    return conv_model(
        channels=groups * draw(st.integers(1, 3)),
        spatial=[span + more for span, more in zip(spans, sizes(0, 4), strict=True)],
        filters=groups * draw(st.integers(1, 3)),
        kernel=kernel,
        groups=groups,
        attributes=attributes,
        seed=seed,
    )


@settings(max_examples=60, deadline=None)
@given(models(), st.sampled_from([1, 3]))
def test_law_any_model_computes_what_onnxruntime_does(model: onnx.ModelProto, batch: int) -> None:
    with TemporaryDirectory() as folder:
        graph = imported(model, Path(folder))
    assert len(list(graph.layers())) == 1
    assert_same_as_onnxruntime(model, graph, batch=batch)


STAYS_DIGITAL: dict[str, tuple[str, Weights]] = {
    "both operands are activations": ("t = Transpose(x)  d = MatMul(t, x)", {}),
    "its weights are a stack of 2 x 5 matrices": (
        "r = Reshape(x, s)  d = MatMul(r, w)",
        weights(w=(2, 5, 4, 3)) | {"s": np.array([1, 2, 4])},
    ),
    "its weights are INT32": (
        "i = Cast <to = 6> (x)  p = MatMul(i, w)  d = Cast <to = 1> (p)",
        {"w": np.arange(12, dtype=np.int32).reshape(4, 3)},
    ),
    "its weights are empty": ("d = MatMul(x, w)", weights(w=(4, 0))),
    "its weights come from RandomNormal RandomNormal_0, which is not folded": (
        "k = RandomNormal <shape = [4, 3], seed = 1.0> ()  d = MatMul(x, k)",
        {},
    ),
}


@pytest.mark.parametrize("why", STAYS_DIGITAL)
def test_what_stays_digital_says_why(why: str, tmp_path: Path) -> None:
    body, constants = STAYS_DIGITAL[why]
    model = tiny_model(
        f"(float[2,4] x, float[1,4] u) => (float[] d, float[] y) {{ {body}  y = MatMul(u, on) }}",
        constants | weights(on=(4, 3)),
    )
    graph = imported(model, tmp_path)
    assert [op.why for op in graph.ops() if isinstance(op, DigitalOp) and op.why] == [why]
    assert len(list(graph.layers())) == 1
    if "Random" not in body:
        assert_same_as_onnxruntime(model, graph)


AS_WRITTEN: dict[str, tuple[str, Weights]] = {
    "its weights are the left operand": ("d = MatMul(w, x)", weights(w=(4, 2))),
    "its weights have 3 axes, not 2": ("d = MatMul(x, w)", weights(w=(5, 4, 3))),
    "its weights have 1 axes, not 2": ("d = MatMul(x, w)", weights(w=(4,))),
    "its weights come from DequantizeLinear DequantizeLinear_0, which is not folded": (
        "k = DequantizeLinear(w, s)  d = MatMul(x, k)",
        {"w": np.arange(12, dtype=np.int8).reshape(4, 3), "s": np.array(0.5, np.float32)},
    ),
    "its input is transposed (transA)": ("d = Gemm <transA = 1> (x, w)", weights(w=(2, 3))),
    "its bias is a matrix": ("d = Gemm(x, w, b)", weights(w=(4, 3), b=(2, 3))),
    "its bias is computed at run time": (
        "b = ReduceMax <axes = [0, 1], keepdims = 0> (x)  d = Gemm(x, w, b)",
        weights(w=(4, 3)),
    ),
}


@pytest.mark.parametrize("why", AS_WRITTEN)
def test_what_only_a_rule_puts_on_crossbars(why: str, tmp_path: Path) -> None:
    body, constants = AS_WRITTEN[why]
    model = tiny_model(
        f"(float[2,4] x, float[1,4] u) => (float[] d, float[] y) {{ {body}  y = MatMul(u, on) }}",
        constants | weights(on=(4, 3)),
    )
    graph = imported(model, tmp_path, as_written=True)
    assert [op.why for op in graph.ops() if isinstance(op, DigitalOp) and op.why] == [why]
    rewritten = imported(model, tmp_path)
    assert not [op.why for op in rewritten.ops() if isinstance(op, DigitalOp) and op.why]
    assert_same_as_onnxruntime(model, rewritten)


def test_a_column_of_biases_is_a_matrix_even_if_it_has_as_many_numbers_as_a_row(tmp_path: Path) -> None:
    bias = random_weights(3, 1)
    model = tiny_model(
        "(float[3,4] x, float[1,4] u) => (float[] d, float[] y) { d = Gemm(x, w, b)  y = MatMul(u, w) }",
        weights(w=(4, 3)) | {"b": bias},
    )
    graph = imported(model, tmp_path, as_written=True)
    assert [op.why for op in graph.ops() if isinstance(op, DigitalOp)] == ["its bias is a matrix"]


def resized(model: onnx.ModelProto, name: str, *shape: int) -> onnx.ModelProto:
    """The model with one constant of another shape."""
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(random_weights(*shape), name))
    return model


SHAPES_THAT_DO_NOT_FIT = {
    "input [1, 5, 8, 8], weights [4, 3, 3, 3], group 1, bias [4]": resized(conv_model(channels=5), "w", 4, 3, 3, 3),
    "input [1, 3, 8, 8], weights [4, 3, 3, 3], group 1, bias [5]": resized(conv_model(), "b", 5),
    "input [1, 3, 8, 8], weights [4, 3], group 1, bias [4]": resized(conv_model(), "w", 4, 3),
    "input [1, 3, 8, 8], weights [4, 3, 3], group 1, bias [4]": resized(conv_model(), "w", 4, 3, 3),
    "input [1, 3, 8, 8], weights [4, 1, 3, 3], group 3, bias [4]": conv_model(groups=3),
    "input [1, 3, 8, 8] is smaller than the window: kernel 9x1 stride 1x1 dilation 1x1 pad 0:0 0:0": conv_model(
        kernel=[9, 1]
    ),
    "negative pads ((0, 0), (-1, 0))": conv_model(attributes=["pads = [0, -1, 0, 0]"]),
    "kernel (3, 3), strides (1,), dilations (1, 1), pads (0, 0, 0, 0)": conv_model(attributes=["strides = [1]"]),
    "kernel (3, 3), strides (1, 1), dilations (1, 0), pads (0, 0, 0, 0)": conv_model(attributes=["dilations = [1, 0]"]),
    "kernel (3, 3) in the weights, kernel_shape (2, 3)": conv_model(attributes=["kernel_shape = [2, 3]"]),
    "auto_pad 'SAME'": conv_model(attributes=['auto_pad = "SAME"']),
    "input [1, 4], weights [5, 3], transB 0": resized(mlp_model(4, 3), "w0", 5, 3),
    "input [1, 4], weights [4], transB 0": resized(mlp_model(4, 3), "w0", 4),
    "weights [4, 3], transB 0, bias [4]": resized(mlp_model(4, 3), "b0", 4),
    "input [1, 2, 5], weights [4, 3]": matmul("N,2,5"),
    "input [4], weights [3, 4]": resized(matmul("4"), "w", 3, 4),
}


@pytest.mark.parametrize("seen", SHAPES_THAT_DO_NOT_FIT)
def test_words_for_shapes_that_do_not_fit(seen: str, tmp_path: Path) -> None:
    model = SHAPES_THAT_DO_NOT_FIT[seen]
    node = model.graph.node[0]
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        f"[BSC305] layer '{node.name or 'MatMul_0'}' ({node.op_type}): its shapes do not fit together\n"
        f"  seen: {seen}\n"
        "  fix:  check the model with onnx.checker.check_model(full_check=True), or the --input-shape given"
    )


def test_words_for_an_attribute_that_refers_to_a_function(tmp_path: Path) -> None:
    model = conv_model(attributes=["strides = [1, 1]"])
    (strides,) = (attr for attr in model.graph.node[0].attribute if attr.name == "strides")
    strides.ClearField("ints")
    strides.ref_attr_name = "outer"
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        "[BSC301] layer 'conv' (Conv): attribute 'strides' has the wrong type\n"
        "  seen: a reference to an attribute outside a function\n"
        "  fix:  export the model again; ONNX wants INTS"
    )


def test_words_for_an_attribute_of_the_wrong_type(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        imported(conv_model(attributes=["strides = 2"]), tmp_path)
    assert str(caught.value) == (
        "[BSC301] layer 'conv' (Conv): attribute 'strides' has the wrong type\n"
        "  seen: INT\n"
        "  fix:  export the model again; ONNX wants INTS"
    )


def test_shapes_behind_operators_of_onnxruntime_are_known(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,4] x) => (float[] y) { h = com.microsoft.Gelu(x)  [fc] y = MatMul(h, w) }",
        weights(w=(4, 3)),
        domains=["com.microsoft"],
    )
    graph = imported(model, tmp_path)
    assert str(graph.tensors["h"]) == "h:float32[1x4]"
    assert [layer.name for layer in graph.layers()] == ["fc"]
    assert_same_as_onnxruntime(model, graph, batch=3)


def test_a_size_that_only_the_data_tell_keeps_a_layer_digital(tmp_path: Path) -> None:
    model = tiny_model(
        """(float[4,5] x) => (float[] y, float[] z) {
            [which] i = NonZero(x)
            f = Cast <to = 1> (i)
            t = Transpose(f)
            [late] y = MatMul(t, w)
            [fc] z = MatMul(x, v)
        }""",
        weights(w=(2, 3), v=(5, 3)),
    )
    graph = imported(model, tmp_path)
    assert [layer.name for layer in graph.layers()] == ["fc"]
    why = "the size of its input is known at run time only, behind NonZero which"
    assert [op.why for op in graph.ops() if isinstance(op, DigitalOp) and op.why] == [why]
