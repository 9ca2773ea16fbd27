"""Whole models that mutations start from: every way in which the front door takes something apart."""

from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bsc.testing import conv_model, mlp_model, random_weights, tiny_model
from tests.bsc.plans import CNN

W = {"w": random_weights(4, 4), "v": random_weights(4, 4, seed=1)}


def quantised_model() -> onnx.ModelProto:
    """Weights behind a DequantizeLinear, activations behind a pair."""
    return tiny_model(
        "(float[N,4] x) => (float[] y) { q = QuantizeLinear(x, s, z)  a = DequantizeLinear(q, s, z) "
        "k = DequantizeLinear(c, s)  h = MatMul(a, k)  y = MatMul(h, w) }",
        {"s": np.array(0.5, np.float32), "z": np.array(3, np.int8), "c": np.ones((4, 4), np.int8), **W},
    )


def control_flow_model() -> onnx.ModelProto:
    """An If whose bodies read outer tensors, and a Loop of two rounds."""
    return tiny_model(
        "(float[1,4] x) => (float[] y) { h = MatMul(x, w)  m = ReduceMax <keepdims = 0> (h)  c = Greater(m, r) "
        "p = If (c) <"
        "then_branch = g1 () => (float[] a) { a = MatMul(h, v) }, else_branch = g2 () => (float[] b) { b = Neg(h) }> "
        "y = Loop (n, , p) <body = g3 (int64 i, bool k, float[1,4] s) => (bool k2, float[1,4] t) "
        "{ k2 = Identity(k)  t = Relu(s) }> }",
        {"n": np.array(2), "r": np.array(0, np.float32), **W},
    )


def function_model() -> onnx.ModelProto:
    """A local function that calls another."""
    model = tiny_model("(float[N,4] x) => (float[] y) { h = own.Outer(x, w)  y = own.Inner(h, v) }", W, domains=["own"])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for name, body in (("Inner", "MatMul"), ("Outer", "Inner")):
        node = helper.make_node(body, ["a", "b"], ["c"], domain="own" if body == "Inner" else "")
        relu = helper.make_node("Relu", ["c"], ["d"])
        model.functions.append(helper.make_function("own", name, ["a", "b"], ["d"], [node, relu], opsets))
    return model


def recurrent_model() -> onnx.ModelProto:
    """An LSTM, and a layer behind it."""
    return tiny_model(
        "(float[3,1,4] x) => (float[] y) { o, h, c = LSTM <hidden_size = 4> (x, wl, rl)  y = MatMul(o, w) }",
        {"wl": random_weights(1, 16, 4), "rl": random_weights(1, 16, 4), **W},
    )


def shape_model() -> onnx.ModelProto:
    """Sizes computed by the graph, and constants that grow out of small ones."""
    return tiny_model(
        "(float[N,2,4] x) => (float[] y) { s = Shape(x)  f = Slice(s, i0, i1)  t = Concat <axis = 0> (f, i8) "
        "r = Reshape(x, t)  k = Expand(e, grown)  z = ConstantOfShape(grown)  g = Range(r0, r1, r2)  "
        "m = Tile(e, reps)  q = Add(k, z)  u = Pad(q, pads)  h = MatMul(r, big)  a = Add(h, m)  b = Add(a, u) "
        "c = Cast <to = 1> (g)  d = ReduceMax <keepdims = 0> (c)  y = Add(b, d) }",
        {
            "i0": np.array([0]),
            "i1": np.array([1]),
            "i8": np.array([8]),
            "e": np.ones((1, 4), np.float32),
            "grown": np.array([1, 4]),
            "reps": np.array([1, 1]),
            "pads": np.array([0, 0, 0, 0]),
            "r0": np.array(0),
            "r1": np.array(4),
            "r2": np.array(1),
            "big": random_weights(8, 4),
        },
    )


def attention_model() -> onnx.ModelProto:
    """Projections and products of two activations."""
    return tiny_model(
        "(float[1,3,4] x) => (float[] y) { q = MatMul(x, w)  k = MatMul(x, v)  t = Transpose <perm = [0, 2, 1]> (k) "
        "s = MatMul(q, t)  p = Softmax(s)  y = MatMul(p, k) }",
        W,
    )


def external_model() -> onnx.ModelProto:
    """Weights in a file beside the model; `case` writes it."""
    model = mlp_model(8, 8, 4)
    offset = 0
    for tensor in model.graph.initializer:
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        offset += length
    return model


def half_model() -> onnx.ModelProto:
    """Half-precision weights, a Constant, an Einsum, a transposed convolution."""
    return tiny_model(
        "(float[1,4,4] x) => (float[] y) { k = Constant <value = float[4,2] {1,2,3,4,5,6,7,8}> ()  h = MatMul(x, k) "
        'e = Einsum <equation = "bij,jk->bik"> (x, w)  t = ConvTranspose(x, tw)  c = Cast <to = 10> (e) '
        "z = MatMul(c, hw)  d = Cast <to = 1> (z)  m = ReduceSum <keepdims = 0> (t)  n = Add(d, m) "
        "o = ReduceMax <keepdims = 0> (h)  y = Add(n, o) }",
        {"tw": random_weights(4, 2, 3), "hw": random_weights(4, 4, dtype=np.float16), **W},
    )


@cache
def seed_models() -> dict[str, onnx.ModelProto]:
    """The models by name; copy before changing one."""
    return {
        "mlp": mlp_model(6, 5, 3),
        "conv": conv_model(channels=4, groups=2, attributes=["strides = [2, 1]", "pads = [1, 0, 1, 0]"]),
        "cnn": CNN,
        "quantised": quantised_model(),
        "control flow": control_flow_model(),
        "functions": function_model(),
        "recurrent": recurrent_model(),
        "shapes": shape_model(),
        "attention": attention_model(),
        "external": external_model(),
        "half": half_model(),
    }


def weights_file() -> bytes:
    """The external weights of `external_model`."""
    return b"".join(tensor.raw_data for tensor in mlp_model(8, 8, 4).graph.initializer)


def tensor(array: object, name: str) -> onnx.TensorProto:
    """A small initialiser."""
    return numpy_helper.from_array(np.asarray(array), name)
