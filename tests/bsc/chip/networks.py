"""Small networks of every kind that a dataflow can have."""

import numpy as np
import onnx

from bsc.testing import random_weights, tiny_model


def chain() -> onnx.ModelProto:
    """Convolutions with stride, pooling and a head."""
    return tiny_model(
        """(float[N,3,12,12] x) => (float[N,5] y) {
            [c0] a = Conv <pads = [1, 1, 1, 1]> (x, w0)
            b = Relu (a)
            c = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (b)
            [c1] d = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (c, w1)
            e = GlobalAveragePool (d)
            f = Flatten (e)
            [fc] y = Gemm (f, w2)
        }""",
        {"w0": random_weights(4, 3, 3, 3), "w1": random_weights(6, 4, 3, 3), "w2": random_weights(6, 5)},
    )


def branch() -> onnx.ModelProto:
    """Two branches of different depth that are put side by side."""
    return tiny_model(
        """(float[N,2,8,8] x) => (float[N,4,8,8] y) {
            [stem] a = Conv <pads = [1, 1, 1, 1]> (x, w0)
            [left] b = Conv (a, w1)
            [right0] c = Conv <pads = [2, 2, 2, 2]> (a, w2)
            [right1] d = Conv <pads = [2, 2, 2, 2], dilations = [2, 2]> (c, w3)
            e = Concat <axis = 1> (b, d)
            [out] y = Conv (e, w4)
        }""",
        {
            "w0": random_weights(3, 2, 3, 3),
            "w1": random_weights(2, 3, 1, 1),
            "w2": random_weights(3, 3, 5, 5),
            "w3": random_weights(2, 3, 3, 3),
            "w4": random_weights(4, 4, 1, 1),
        },
    )


def residual(width: int = 8, channels: int = 3) -> onnx.ModelProto:
    """Two residual blocks, the second of which halves the lines."""
    return tiny_model(
        f"""(float[N,2,{width},{width}] x) => (float[N,4,{width // 2},{width // 2}] y) {{
            [stem] a = Conv <pads = [1, 1, 1, 1]> (x, w0)
            [b0] b = Conv <pads = [1, 1, 1, 1]> (a, w1)
            c = Relu (b)
            [b1] d = Conv <pads = [1, 1, 1, 1]> (c, w2)
            e = Add (a, d)
            [b2] f = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (e, w3)
            [b3] g = Conv <pads = [1, 1, 1, 1]> (f, w4)
            [short] h = Conv <strides = [2, 2]> (e, w5)
            i = Add (g, h)
            [out] y = Conv (i, w6)
        }}""",
        {
            "w0": random_weights(channels, 2, 3, 3),
            "w1": random_weights(channels, channels, 3, 3, seed=1),
            "w2": random_weights(channels, channels, 3, 3, seed=2),
            "w3": random_weights(4, channels, 3, 3, seed=3),
            "w4": random_weights(4, 4, 3, 3, seed=4),
            "w5": random_weights(4, channels, 1, 1, seed=5),
            "w6": random_weights(4, 4, 1, 1, seed=6),
        },
    )


def dense(blocks: int = 3, width: int = 6) -> onnx.ModelProto:
    """A dense block: every convolution reads what all before it have given."""
    body, weights, known = "[stem] t0 = Conv <pads = [1, 1, 1, 1]> (x, w)\n", {"w": random_weights(2, 2, 3, 3)}, "t0"
    for at in range(1, blocks + 1):
        body += f"c{at} = Concat <axis = 1> ({known})\n" if at > 1 else "c1 = Relu (t0)\n"
        body += f"[d{at}] t{at} = Conv <pads = [1, 1, 1, 1]> (c{at}, w{at})\n"
        weights[f"w{at}"] = random_weights(2, 2 * at, 3, 3, seed=at)
        known += f", t{at}"
    body += f"all = Concat <axis = 1> ({known})\n[out] y = Conv (all, v)\n"
    weights["v"] = random_weights(3, 2 * (blocks + 1), 1, 1)
    return tiny_model(f"(float[N,2,{width},{width}] x) => (float[N,3,{width},{width}] y) {{ {body} }}", weights)


def depthwise() -> onnx.ModelProto:
    """An inverted residual with squeeze and excitation, which waits for all of an image."""
    return tiny_model(
        """(float[N,3,8,8] x) => (float[N,3,8,8] y) {
            [grow] a = Conv (x, w0)
            b = HardSwish (a)
            [deep] c = Conv <group = 6, pads = [1, 1, 1, 1]> (b, w1)
            d = GlobalAveragePool (c)
            [squeeze] e = Conv (d, w2)
            f = Sigmoid (e)
            g = Mul (c, f)
            [shrink] h = Conv (g, w3)
            i = Add (x, h)
            [out] y = Conv (i, w4)
        }""",
        {
            "w0": random_weights(6, 3, 1, 1),
            "w1": random_weights(6, 1, 3, 3),
            "w2": random_weights(6, 6, 1, 1),
            "w3": random_weights(3, 6, 1, 1),
            "w4": random_weights(3, 3, 1, 1, seed=1),
        },
    )


def lstm(steps: int = 5, layers: int = 1) -> onnx.ModelProto:
    """An LSTM, written out step by step when it is imported, and a head over all steps."""
    body, weights, x, width = "turned = Transpose <perm = [1, 0, 2]> (x)\n", {}, "turned", 3
    for at in range(layers):
        body += f"s{at}, h{at}, c{at} = LSTM <hidden_size = 4> ({x}, w{at}, r{at})\n"
        body += f"t{at} = Squeeze (s{at}, one)\n"
        weights[f"w{at}"] = random_weights(1, 16, width, seed=at)
        weights[f"r{at}"] = random_weights(1, 16, 4, seed=at + 10)
        x, width = f"t{at}", 4
    body += f"[head] y = MatMul ({x}, v)"
    weights |= {"v": random_weights(4, 2), "one": np.array([1], np.int64)}
    return tiny_model(f"(float[N,{steps},3] x) => (float[{steps},N,2] y) {{ {body} }}", weights)


def attention(tokens: int = 6) -> onnx.ModelProto:
    """A transformer block of one head: products of tokens wait for all of them."""
    return tiny_model(
        f"""(float[N,{tokens},4] x) => (float[N,{tokens},4] y) {{
            [q] q = MatMul (x, wq)
            [k] k = MatMul (x, wk)
            [v] v = MatMul (x, wv)
            t = Transpose <perm = [0, 2, 1]> (k)
            s = MatMul (q, t)
            p = Softmax <axis = -1> (s)
            o = MatMul (p, v)
            [out] z = MatMul (o, wo)
            a = Add (x, z)
            n = LayerNormalization <axis = -1> (a, g)
            [up] u = MatMul (n, wu)
            r = Gelu (u)
            [down] d = MatMul (r, wd)
            y = Add (a, d)
        }}""",
        {
            **{f"w{name}": random_weights(4, 4, seed=at) for at, name in enumerate("qkvo")},
            "wu": random_weights(4, 8),
            "wd": random_weights(8, 4),
            "g": np.ones(4, np.float32),
        },
        opset=20,
    )


def shared() -> onnx.ModelProto:
    """One set of weights over maps of two sizes, as in a detector's head."""
    return tiny_model(
        """(float[N,2,8,8] x) => (float[N,2,8,8] y) {
            [p0] a = Conv <pads = [1, 1, 1, 1]> (x, w0)
            [p1] b = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (a, w1)
            [big] c = Conv <pads = [1, 1, 1, 1]> (a, w2)
            [small] d = Conv <pads = [1, 1, 1, 1]> (b, w2)
            e = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric"> (d, none, scales)
            f = Add (c, e)
            [out] y = Conv (f, w3)
        }""",
        {
            "w0": random_weights(2, 2, 3, 3),
            "w1": random_weights(2, 2, 3, 3, seed=1),
            "w2": random_weights(2, 2, 3, 3, seed=2),
            "w3": random_weights(2, 2, 1, 1),
            "none": np.zeros(0, np.float32),
            "scales": np.array([1, 1, 2, 2], np.float32),
        },
    )


def turned() -> onnx.ModelProto:
    """Signals that become tokens: convolutions over one axis, a transposition, products and padding."""
    return tiny_model(
        """(float[N,2,9] x) => (float[N,9,3] y) {
            [c0] a = Conv <pads = [1, 1]> (x, w0)
            b = Transpose <perm = [0, 2, 1]> (a)
            [m0] c = MatMul (b, w1)
            d = Pad (c, pads)
            e = Slice (d, start, end, one)
            [m1] y = MatMul (e, w2)
        }""",
        {
            "w0": random_weights(4, 2, 3),
            "w1": random_weights(4, 4),
            "w2": random_weights(4, 3),
            "pads": np.array([0, 2, 0, 0, 0, 0], np.int64),
            "start": np.array([1], np.int64),
            "end": np.array([10], np.int64),
            "one": np.array([1], np.int64),
        },
    )


def wide() -> onnx.ModelProto:
    """Long lines of many channels: three of them are 67,200 values."""
    return tiny_model(
        """(float[N,3,4,224] x) => (float[N,2,4,112] y) {
            [c0] a = Conv <pads = [1, 1, 1, 1]> (x, w0)
            [c1] y = Conv <pads = [1, 1, 1, 1], strides = [1, 2]> (a, w1)
        }""",
        {"w0": random_weights(100, 3, 3, 3), "w1": random_weights(2, 100, 3, 3)},
    )


def skipping() -> onnx.ModelProto:
    """A residual block whose tall kernels make 12 lines of 5,504 values wait for the join."""
    return tiny_model(
        """(float[N,2,20,16] x) => (float[N,2,20,16] y) {
            [stem] a = Conv (x, w0)
            [down] b = Conv <pads = [6, 0, 6, 0]> (a, w1)
            [up] c = Conv <pads = [6, 0, 6, 0]> (b, w2)
            d = Add (a, c)
            [out] y = Conv (d, w3)
        }""",
        {
            "w0": random_weights(344, 2, 1, 1),
            "w1": random_weights(2, 344, 13, 1),
            "w2": random_weights(344, 2, 13, 1),
            "w3": random_weights(2, 344, 1, 1),
        },
    )
