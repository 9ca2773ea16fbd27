"""Shapes are those that onnx-ir's own pass finds, which reads a whole model for every answer."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx_ir.passes import common

from bsc.frontend.inference import SMALL_CONSTANT, Inference
from bsc.testing import conv_model, mlp_model, random_weights, tiny_model

ARRAYS: dict[str, NDArray[Any]] = {
    "w": random_weights(4, 4),
    "large": random_weights(40, 40),
    "shape": np.array([2, 2, -1]),
    "two": np.array(2),
    "yes": np.array(True),
}
TEXTS = {
    "chain": "(float[3,4] x) => (float[] y) { h = MatMul(x, w)  y = Relu(h) }",
    "large constant": "(float[3,40] x) => (float[] y) { y = MatMul(x, large) }",
    "values of a constant": "(float[3,4] x) => (float[] y) { y = Reshape(x, shape) }",
    "computed shape": "(float[3,4] x) => (float[] y) { s = Shape(x)  f = Flatten(x)  y = Reshape(f, s) }",
    "scalar": "(float[3,4] x) => (float[] y) { y = ReduceMax <keepdims = 0> (x) }",
    "sequence": "(float[3,4] x) => (float[] y) { q = SplitToSequence <axis = 1> (x, two)  y = SequenceAt(q, two) }",
    "unknown": "(float[3,4] x) => (float[] y) { h = com.microsoft.Unheard(x)  y = Relu(h) }",
    "contradiction": "(float[3,5] x) => (float[] y) { h = MatMul(x, w)  y = Relu(h) }",
    "body": "(float[3,4] x, bool b) => (float[] y) "
    "{ y = If(b) <then_branch = t () => (float[] u) { u = MatMul(x, w) }, "
    "else_branch = e () => (float[] v) { a = Abs(x)  v = Neg(a) }> }",
    "loop": "(float[3,4] x) => (float[] y) { y = Loop(two, yes, x) "
    "<body = l (int64 i, bool c, float[] s) => (bool k, float[] r) { k = Identity(c)  r = MatMul(s, w) }> }",
}


def known(model: ir.Model) -> list[tuple[str | None, str, str]]:
    graphs = (model.graph, *model.graph.subgraphs())
    values = (value for graph in graphs for node in graph for value in node.outputs)
    return [(value.name, str(value.dtype), str(value.shape)) for value in values]


def read(text: str) -> onnx.ModelProto:
    used = {name: array for name, array in ARRAYS.items() if name in text.replace("(", " ").replace(",", " ")}
    return tiny_model(text, used, domains=("com.microsoft",))


MODELS = {name: read(text) for name, text in TEXTS.items()} | {"mlp": mlp_model(4, 3, 2, batch=2), "conv": conv_model()}


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_pass_of_onnx_ir(name: str) -> None:
    proto = MODELS[name]
    ours, theirs = (ir.serde.deserialize_model(proto) for _ in range(2))
    Inference(ours).run()
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(theirs)
    assert known(ours) == known(theirs)
    assert any(shape != "None" for _, _, shape in known(ours)) is (name not in ("unknown", "contradiction"))


def test_runs_again_for_other_sizes_and_leaves_constants_as_they_are() -> None:
    proto = tiny_model("(float[3,40] x) => (float[] y) { y = MatMul(x, w) }", {"w": random_weights(40, 40)})
    assert proto.graph.initializer[0].ByteSize() > SMALL_CONSTANT
    model = ir.serde.deserialize_model(proto)
    inference = Inference(model)
    for batch in (2, 1, 7):
        model.graph.inputs[0].shape = ir.Shape([batch, 40])
        inference.run()
        assert model.graph.outputs[0].shape == [batch, 40]
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert model.graph.initializers["w"].const_value is not None


def test_maps_are_left_out() -> None:
    """onnx-ir does not read their type, and its pass then tells nothing of the whole model."""
    text = "(float[3,2] x) => (float[] y) { y = Relu(x)  z = ai.onnx.ml.ZipMap <classlabels_int64s = [0, 1]> (x) }"
    model = ir.serde.deserialize_model(tiny_model(text, domains=("ai.onnx.ml",)))
    Inference(model).run()
    assert known(model) == [("y", "FLOAT", "[3,2]"), ("z", "None", "None")]
