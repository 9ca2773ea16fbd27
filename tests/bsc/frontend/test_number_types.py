"""Weights of every quantised type that ONNX has, and types that cannot go from step to step."""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bsc.errors import ModelError
from bsc.ir.graph import DigitalOp
from bsc.ir.schedule import schedule
from bsc.testing import assert_same_as_onnxruntime, float_outputs, imported, random_feeds, random_weights, tiny_model

KINDS = {
    "FLOAT8E4M3FN": ml_dtypes.float8_e4m3fn,
    "FLOAT8E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "FLOAT8E5M2": ml_dtypes.float8_e5m2,
    "FLOAT8E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "FLOAT4E2M1": ml_dtypes.float4_e2m1fn,
}


def quantised(kind: str, scale: NDArray[np.float32], attributes: str = "", opset: int = 21) -> onnx.ModelProto:
    """MatMul of x (N, 4) and weights (4, 3) that are dequantised."""
    text = f"(float[N,4] x) => (float[] y) {{ w = DequantizeLinear {attributes} (q, s) [fc] y = MatMul (x, w) }}"
    model = tiny_model(text, {"s": scale}, opset=opset)
    codes = (3 * random_weights(4, 3)).astype(KINDS[kind])
    model.graph.initializer.append(numpy_helper.from_array(codes, "q"))
    return model


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "FLOAT4E2M1"])
@pytest.mark.parametrize(
    "scale", [np.array(0.5, np.float32), np.array([0.5, 1, 2], np.float32)], ids=["one", "columns"]
)
def test_float8_weights_have_the_values_of_their_codes(kind: str, scale: NDArray[np.float32], tmp_path: Path) -> None:
    model = quantised(kind, scale)
    graph = imported(model, tmp_path)
    (layer,) = graph.layers()
    assert layer.given_weights is None
    expected = (3 * random_weights(4, 3)).astype(KINDS[kind]).astype(np.float32) * scale
    np.testing.assert_array_equal(graph.array(layer.weight), expected)
    assert_same_as_onnxruntime(model, graph, batch=2)


def test_float4_weights_are_codes_of_halves(tmp_path: Path) -> None:
    """onnxruntime has no float4 yet: by hand."""
    scale = np.array([[0.5, 1, 2], [4, 1, 3]], np.float32)
    graph = imported(quantised("FLOAT4E2M1", scale, "<axis = 0, block_size = 2>", 23), tmp_path)
    codes = (3 * random_weights(4, 3)).astype(ml_dtypes.float4_e2m1fn).astype(np.float32)
    feeds = random_feeds(graph, batch=2)
    expected = feeds["x"] @ (codes * np.repeat(scale, 2, axis=0))
    np.testing.assert_allclose(float_outputs(graph, feeds)["y"], expected, rtol=1e-5)
    (layer,) = graph.layers()
    assert layer.given_weights is not None
    assert sorted(np.abs(2 * codes).ravel()) == sorted(np.abs(graph.array(layer.given_weights.codes)).ravel())


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16"])
def test_quantisers_of_a_library_s_own(kind: str, tmp_path: Path) -> None:
    """com.microsoft has 16 bits before opset 21."""
    rng, wide = np.random.default_rng(0), np.iinfo(kind)
    codes = rng.integers(max(wide.min, -9000), min(wide.max, 9000), (4, 3)).astype(kind)
    zero = np.array(100, kind)
    model = tiny_model(
        """(float[N,4] x) => (float[] y) {
            i = com.microsoft.QuantizeLinear (x, xs, xz) d = com.microsoft.DequantizeLinear (i, xs, xz)
            w = com.microsoft.DequantizeLinear (q, s, z) [fc] y = MatMul (d, w)
        }""",
        {"xs": np.array(0.01, np.float32), "xz": zero, "q": codes, "s": np.array(0.003, np.float32), "z": zero},
        domains=["com.microsoft"],
    )
    graph = imported(model, tmp_path)
    (layer,) = graph.layers()
    assert layer.given_weights is not None
    np.testing.assert_array_equal(graph.array(layer.given_weights.codes), codes.astype(int) - 100)
    assert layer.given_input is not None
    assert (layer.given_input.bits, layer.given_input.zero) == (wide.bits, 100)
    assert_same_as_onnxruntime(model, graph, batch=2)


@pytest.mark.parametrize(("kind", "opset"), [(16, 17), (17, 19), (22, 21), (21, 21)])
def test_types_that_python_lacks_may_stay_within_a_segment(kind: int, opset: int, tmp_path: Path) -> None:
    """bfloat16, float8, int4 and uint4 that are cast back before anybody else reads them."""
    text = f"""(float[N,4] x) => (float[] y)
               {{ a = Abs (x) q = Cast <to = {kind}> (a) c = Cast <to = 1> (q) h = MatMul (x, w) y = Add (c, h) }}"""
    model = tiny_model(text, {"w": random_weights(4, 4)}, opset=opset)
    assert_same_as_onnxruntime(model, imported(model, tmp_path), batch=1)


def test_words_for_a_type_that_cannot_cross(tmp_path: Path) -> None:
    """The scale is only known behind the layer, and the codes were made before."""
    text = """(float[N,4] x) => (float[] y) { q = QuantizeLinear (x, s, z) h = MatMul (x, w)
              m = ReduceMax <keepdims = 0> (h) a = Abs (m) y = DequantizeLinear (q, a) }"""
    model = tiny_model(text, {"w": random_weights(4, 4), "s": np.array(0.1, np.float32)}, opset=21)
    model.graph.initializer.append(helper.make_tensor("z", onnx.TensorProto.INT4, [], [0]))
    with pytest.raises(ModelError) as caught:
        list(schedule(imported(model, tmp_path)))
    assert str(caught.value) == (
        "[BSC304] tensor 'q' goes from one step of the plan to another in a type that onnxruntime does not hand out\n"
        "  seen: int4\n"
        "  fix:  cast it to float32 or int8 behind the operator that makes it, and back in front of those that read it"
    )


def test_sequences_cross_layers(tmp_path: Path) -> None:
    text = """(float[N,4] x) => (float[] y) { s = SplitToSequence <axis = 1> (x) h = MatMul (x, w)
              t = SequenceInsert (s, h) y = ConcatFromSequence <axis = 1> (t) }"""
    model = tiny_model(text, {"w": random_weights(4, 3)})
    graph = imported(model, tmp_path)
    assert graph.tensors["s"].dtype == "sequence of float32"
    assert_same_as_onnxruntime(model, graph, batch=2)


@pytest.mark.parametrize(
    "operator",
    [
        "Scaler <offset = [0.5], scale = [2.0]>",
        'Normalizer <norm = "L2">',
        "Binarizer <threshold = 0.1>",
        "Imputer <imputed_value_floats = [0.5], replaced_value_float = 0.0>",
        "FeatureVectorizer <inputdimensions = [4]>",
        "LinearRegressor <coefficients = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], targets = 2>",
    ],
)
def test_layers_behind_operators_of_machine_learning(operator: str, tmp_path: Path) -> None:
    width = 2 if "Linear" in operator else 4
    text = f"(float[N,4] x) => (float[] y) {{ h = ai.onnx.ml.{operator} (x) [fc] y = MatMul (h, w) }}"
    model = tiny_model(text, {"w": random_weights(width, 3)}, domains=["ai.onnx.ml"])
    graph = imported(model, tmp_path)
    assert [op.why for op in graph.ops() if isinstance(op, DigitalOp)] == [""]
    assert [(layer.rows, layer.columns) for layer in graph.layers()] == [(width, 3)]
    assert_same_as_onnxruntime(model, graph, batch=3)


def test_classifiers_of_machine_learning_have_shapes_too(tmp_path: Path) -> None:
    text = """(float[N,4] x) => (int64[] label, float[] y) {
        label, p = ai.onnx.ml.LinearClassifier <classlabels_ints = [0, 1, 2], coefficients = [0.1, -0.2, 0.3, 0.4, 0.5,
            0.6, -0.7, 0.8, 0.9, 1.0, 1.1, 1.2], intercepts = [0.0, 0.1, 0.2], post_transform = "SOFTMAX"> (x)
        [fc] y = MatMul (p, w) }"""
    model = tiny_model(text, {"w": random_weights(3, 2)}, domains=["ai.onnx.ml"])
    graph = imported(model, tmp_path)
    assert graph.tensors["label"].dtype == "int64"
    assert_same_as_onnxruntime(model, graph, batch=3)
