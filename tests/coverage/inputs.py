"""Models whose inputs are no float images with the batch first: states, masks, tokens, scalars, caches, open sizes."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bsc.frontend.shapes import FREE
from bsc.testing import random_weights, tiny_model
from tests.bsc.frontend.declared import declared
from tests.coverage.cases import Case

Arrays = Mapping[str, NDArray[Any]]


def floats(*shape: int) -> NDArray[np.float32]:
    """Normal numbers, always the same for a shape."""
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def integers(high: int, *shape: int) -> NDArray[np.int64]:
    """From 0 to below `high`."""
    return np.random.default_rng(len(shape)).integers(0, high, shape)


RECURRENT = {
    f"{kind} {direction}": tiny_model(
        f"(float[T,B,6] x, float[{ways},B,8] h{', float[' + str(ways) + ',B,8] c' if gates == 4 else ''})"
        f" => (float[] z, float[] n) {{"
        f' y, n = {kind} <hidden_size = 8, direction = "{direction}"> (x, w, r, , , h{", c" if gates == 4 else ""})'
        " z = MatMul(n, on) }",
        {
            "w": random_weights(ways, gates * 8, 6),
            "r": random_weights(ways, gates * 8, 8, seed=1),
            "on": random_weights(8, 3),
        },
    )
    for kind, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
    for direction, ways in (("forward", 1), ("bidirectional", 2))
}
CACHE = tiny_model(
    """(float[N,S,16] x, float[N,P,8] past) => (float[] y, float[] kk) {
        k = MatMul(x, wk) kk = Concat <axis = 1> (past, k) q = MatMul(x, wq)
        kt = Transpose <perm = [0,2,1]> (kk) s = MatMul(q, kt) p = Softmax(s) y = MatMul(p, kk) }""",
    {"wk": random_weights(16, 8), "wq": random_weights(16, 8, seed=1)},
)
TOKENS = tiny_model(
    """(int64[N,5] ids, int64[N,5] kinds, int64[N,5] mask) => (float[] y) {
        e = Gather(words, ids) t = Gather(types, kinds) a = Add(e, t) p = Add(a, places)
        q = MatMul(p, wq) k = MatMul(p, wk) kt = Transpose <perm = [0,2,1]> (k) s = MatMul(q, kt)
        f = Cast <to = 1> (mask) g = Sub(one, f) n = Mul(g, low) u = Unsqueeze(n, ax)
        m = Add(s, u) w = Softmax(m) v = MatMul(p, wv) y = MatMul(w, v) }""",
    {
        "words": random_weights(50, 16),
        "types": random_weights(2, 16),
        "places": random_weights(5, 16),
        "wq": random_weights(16, 8),
        "wk": random_weights(16, 8, seed=1),
        "wv": random_weights(16, 16, seed=2),
        "one": np.array(1, np.float32),
        "low": np.array(-1e4, np.float32),
        "ax": np.array([1]),
    },
)
RATE = tiny_model(
    """(float[N,16] x, int64 rate) => (float[] y) {
        c = Equal(rate, high)
        y = If(c) <then_branch = t () => (float[] p) { p = MatMul(x, v) },
                   else_branch = e () => (float[] q) { q = MatMul(x, w) }> }""",
    {"w": random_weights(16, 6), "v": random_weights(16, 6, seed=1), "high": np.array(16000)},
)
PIXELS = tiny_model(
    """(uint8[N,8,8,3] x) => (float[] y) {
        f = Cast <to = 1> (x) s = Div(f, most) t = Transpose <perm = [0,3,1,2]> (s) y = Conv(t, k) }""",
    {"most": np.array(255, np.float32), "k": random_weights(4, 3, 3, 3)},
)


def masked(mask: str) -> onnx.ModelProto:
    """A product whose input is multiplied with another one of this type and shape."""
    text = f"(float[N,16] x, {mask} m) => (float[] y) {{ c = Cast <to = 1> (m) a = Mul(x, c) y = MatMul(a, w) }}"
    return tiny_model(text, {"w": random_weights(16, 6)})


def branching(body: str) -> onnx.ModelProto:
    """A body that is run between two products, with a batch that is free."""
    text = "(float[N,16] x) => (float[] y) { a = MatMul(x, w) " + body + " y = MatMul(b, v) }"
    weights = {"w": random_weights(16, 12), "v": random_weights(12, 4), "zero": np.array(0, np.float32)}
    return tiny_model(text, weights | {"three": np.array(3), "init": np.zeros(12, np.float32)})


IF = """s = ReduceSum <keepdims = 0> (a) c = Greater(s, zero)
    b = If(c) <then_branch = t () => (float[N,12] p) { p = Relu(a) },
               else_branch = e () => (float[N,12] q) { q = Neg(a) }>
"""
LOOP = """b = Loop(three, , a) <body = d (int64 i, bool m, float[N,12] o) => (bool g, float[N,12] n) {
    g = Identity(m) n = Tanh(o) }>"""
SCAN = """l, b = Scan <num_scan_inputs = 1,
    body = d (float[12] s, float[12] e) => (float[12] n, float[12] o) { n = Add(s, e) o = Identity(n) }> (init, a)"""
HARD = tiny_model(
    "(float[batch,2,6,6] x) => (float[] y) { c = Conv(x, k) f = Reshape(c, sh) y = MatMul(f, w) }",
    {"k": random_weights(1, 2, 3, 3), "sh": np.array([1, 16]), "w": random_weights(16, 3)},
)
SIGNAL = tiny_model(
    "(float[samples] x) => (float[] y)"
    " { u = Unsqueeze(x, ax) c = Conv(u, k) m = ReduceMean <axes = [2], keepdims = 0> (c) y = MatMul(m, w) }",
    {"ax": np.array([0, 1]), "k": random_weights(3, 1, 5), "w": random_weights(3, 2)},
)
FRAMES = tiny_model(
    "(float[T,20] x) => (float[] y) { u = Unsqueeze(x, ax) t = Transpose <perm = [0,2,1]> (u) c = Conv(t, k)"
    " m = ReduceMean <axes = [2], keepdims = 0> (c) y = MatMul(m, w) }",
    {"ax": np.array([0]), "k": random_weights(6, 20, 5), "w": random_weights(6, 2)},
)
DENSE = tiny_model("(float[1,16] x) => (float[] y) { y = MatMul(x, w) }", {"w": random_weights(16, 6)})


def input_cases() -> Iterator[Case]:
    """All of them, with the options that the error of an open size would ask for."""
    for name, model in RECURRENT.items():
        ways = 2 if "bi" in name else 1
        states = {"h": floats(ways, 3, 8)} | ({"c": floats(ways, 3, 8) / 2} if "LSTM" in name else {})
        yield case(f"state of {name}", model, {"x": floats(5, 3, 6)} | states, x=(5, FREE, 6))
        states = {key: value[:, :2] for key, value in states.items()}
        yield case(f"state of {name}, batch of 2", model, {"x": floats(5, 2, 6)} | states, x=(5, 2, 6))
    for past in (0, 3):
        feeds = {"x": floats(2, 4, 16), "past": floats(2, past, 8)}
        yield case(f"cache of {past}", CACHE, feeds, x=(FREE, 4, 16), past=(FREE, past, 8))
    yield case("tokens", TOKENS, {"ids": integers(50, 3, 5), "kinds": integers(2, 3, 5), "mask": integers(2, 3, 5) | 1})
    yield case("pixels, channels last", PIXELS, {"x": integers(256, 2, 8, 8, 3).astype(np.uint8)})
    for rate in (8000, 16000):
        yield case(f"rate of {rate}", RATE, {"x": floats(3, 16), "rate": np.array(rate)}, rate=rate)
    masks = {"bool[N,16]": integers(2, 3, 16) > 0, "int32[1,16]": integers(2, 1, 16).astype(np.int32)}
    for mask, value in (masks | {"float[16]": floats(16), "double": np.array(0.5), "float[N,1]": floats(3, 1)}).items():
        yield case(f"mask {mask}", masked(mask), {"x": floats(3, 16), "m": value})
    for name, body in (("If", IF), ("Loop", LOOP), ("Scan", SCAN)):
        for batch in (1, 4):
            yield case(f"body of {name}, batch of {batch}", branching(body), {"x": floats(batch, 16)})
    yield case("a batch of one hard-coded", HARD, {"x": floats(1, 2, 6, 6)})
    yield case("a signal", SIGNAL, {"x": floats(400)}, x=(400,))
    yield case("frames", FRAMES, {"x": floats(50, 20)}, x=(50, 20))
    yield case("a batch fixed by the user", DENSE, {"x": floats(1, 16)}, x=(1, 16))
    for size in ("?", "None", "x.batch", "unk__7", -1):
        model = declared(onnx.ModelProto.FromString(DENSE.SerializeToString()), x=[size, 16])
        yield case(f"size {size}", model, {"x": floats(3, 16)})


def case(name: str, model: onnx.ModelProto, feeds: Arrays, **options: int | tuple[int, ...]) -> Case:
    """A case; a tuple is the size of an input, a number what it is set to."""
    return Case(
        name=f"inputs {name}",
        model=model,
        feeds=feeds,
        options={
            "input_shapes": {key: value for key, value in options.items() if isinstance(value, tuple)},
            "constants": {key: (value,) for key, value in options.items() if isinstance(value, int)},
        },
    )
