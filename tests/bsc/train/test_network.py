"""The graph in PyTorch against onnxruntime, operator by operator and on whole networks."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.frontend.onnx_import import import_model
from bsc.testing import conv_model, imported, mlp_model, random_feeds, random_weights, save, tiny_model
from bsc.train.network import Network
from bsc.train.operators import OPERATORS

IMAGE = "(float[N,3,7,7] x) => (float[] y)"
ROWS = "(float[N,6] x) => (float[] y)"
SEQUENCE = "(float[N,5,6] x) => (float[] y)"


def both(model: onnx.ModelProto, folder: Path, *, batch: int = 2) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Outputs of onnxruntime and of PyTorch."""
    graph = imported(model, folder, as_written=True)
    feeds = random_feeds(graph, batch=batch)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, feeds)
    with torch.no_grad():
        found = Network(graph).run({name: torch.from_numpy(value) for name, value in feeds.items()})
    return list(expected), [found[name].numpy() for name in graph.outputs]


def assert_parity(model: onnx.ModelProto, folder: Path, *, batch: int = 2) -> None:
    for expected, found in zip(*both(model, folder, batch=batch), strict=True):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        scale = max(float(np.abs(expected).max(initial=0)), 1.0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


def rows_model(body: str, opset: int, **weights: NDArray[Any]) -> onnx.ModelProto:
    """`h` (N, 6) comes from a MatMul; the body makes `y` of it."""
    text = f"{ROWS} {{ [fc] h = MatMul (x, w) {body} }}"
    return tiny_model(text, {"w": random_weights(6, 6), **weights}, opset=opset)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


UNARY = [
    *("Abs", "Ceil", "Cos", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity"),
    *("LeakyRelu", "LogSoftmax", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin"),
    *("Softmax", "Softplus", "Softsign", "Tanh"),
]

ROW_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (f"y = {name} (h)", {}) for name in UNARY},
    "Log Sqrt": ("p = Exp (h) q = Sqrt (p) y = Log (q)", {}),
    "Add Mul Sub Div": (
        "a = Add (h, c) b = Mul (a, c) d = Sub (b, h) y = Div (d, c)",
        {"c": random_weights(6, seed=3) + np.float32(3)},
    ),
    "Pow": ("p = Abs (h) y = Pow (p, c)", {"c": np.array([1.5], np.float32)}),
    "Max Min Sum": ("a = Max (h, x) b = Min (h, x) y = Sum (a, b, h)", {}),
    "Clip": ("y = Clip (h, low, high)", {"low": np.float32(-0.5), "high": np.float32(0.7)}),
    "Clip below": ("y = Clip (h, low)", {"low": np.float32(0.1)}),
    "PRelu": ("y = PRelu (h, c)", {"c": random_weights(6, seed=4)}),
    "Gelu tanh": ('y = Gelu <approximate = "tanh"> (h)', {}),
    "Compare": (
        "a = Greater (h, x) b = Less (h, x) c = GreaterOrEqual (h, x) d = LessOrEqual (h, x) e = Equal (h, x) "
        "f = And (a, c) g = Or (b, f) n = Not (g) o = Or (n, d) p = Or (o, e) y = Where (p, h, x)",
        {},
    ),
    "Cast": ("i = Cast <to = 7> (h) y = Cast <to = 1> (i)", {}),
    "Reshape": ("y = Reshape (h, s)", {"s": ints(0, 2, -1)}),
    "Flatten": ("a = Reshape (h, s) y = Flatten <axis = -1> (a)", {"s": ints(0, 2, 3)}),
    "Transpose": ("y = Transpose <perm = [1, 0]> (h)", {}),
    "Transpose all": ("y = Transpose (h)", {}),
    "Squeeze": ("a = Unsqueeze (h, s) b = Unsqueeze (a, t) y = Squeeze (b, t)", {"s": ints(1), "t": ints(0, -1)}),
    "Concat": ("y = Concat <axis = -1> (h, x)", {}),
    "Split": ("a, b = Split <axis = 1> (h, s) y = Concat <axis = 1> (b, a)", {"s": ints(2, 4)}),
    "Split evenly": ("a, b, c = Split <axis = 1, num_outputs = 3> (h) y = Concat <axis = 1> (c, a)", {}),
    "Slice": ("y = Slice (h, a, b, c, d)", {"a": ints(4), "b": ints(0), "c": ints(1), "d": ints(-2)}),
    "Slice back": ("y = Slice (h, a, b, c, d)", {"a": ints(-1), "b": ints(-(1 << 63)), "c": ints(1), "d": ints(-1)}),
    "Gather": ("y = Gather <axis = 1> (h, i)", {"i": np.array([[0, -1], [3, 2]])}),
    "Gather one": ("y = Gather <axis = 1> (h, i)", {"i": np.array(2)}),
    "Expand": ("a = Unsqueeze (h, s) y = Expand (a, t)", {"s": ints(1), "t": ints(3, 1)}),
    "Tile": ("y = Tile (h, s)", {"s": ints(1, 2)}),
    "Shape": ("s = Shape (h) c = ConstantOfShape (s) y = Add (c, h)", {}),
    "Pad": ("y = Pad (h, s, v)", {"s": ints(0, 1, 0, 2), "v": np.float32(0.5)}),
    "ReduceMean": ("y = ReduceMean <keepdims = 0> (h, s)", {"s": ints(-1)}),
    "ReduceSum": ("y = ReduceSum (h)", {}),
    "ReduceMax Min L2": (
        "a = ReduceMax (h, s) b = ReduceMin (h, s) c = ReduceL2 (h, s) d = Add (a, b) y = Add (c, d)",
        {"s": ints(1)},
    ),
    "ArgMax": ("i = ArgMax <axis = 1, keepdims = 0> (h) y = Cast <to = 1> (i)", {}),
    "MatMul": ("t = Transpose <perm = [1, 0]> (x) y = MatMul (h, t)", {}),
    "Gemm": ("y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (h, x)", {}),
    "Einsum": ('y = Einsum <equation = "ij,kj->ik"> (h, x)', {}),
    "Range": (
        "r = Range (a, b, c) f = Cast <to = 1> (r) y = Add (h, f)",
        {"a": ints(0)[0], "b": ints(6)[0], "c": ints(1)[0]},
    ),
    "LayerNormalization": (
        "y = LayerNormalization <epsilon = 0.01> (h, g, b)",
        {"g": random_weights(6, seed=5), "b": random_weights(6, seed=6)},
    ),
}

IMAGE_CASES: dict[str, str] = {
    "MaxPool": "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (h)",
    "MaxPool ceil": "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (h)",
    "MaxPool same": 'y = MaxPool <kernel_shape = [2, 3], strides = [2, 1], auto_pad = "SAME_UPPER"> (h)',
    "MaxPool dilated": "y = MaxPool <kernel_shape = [2, 2], dilations = [2, 1]> (h)",
    "AveragePool": "y = AveragePool <kernel_shape = [3, 3], pads = [1, 0, 1, 2]> (h)",
    "AveragePool with pads": "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (h)",
    "GlobalAveragePool": "y = GlobalAveragePool (h)",
    "GlobalMaxPool": "y = GlobalMaxPool (h)",
    "BatchNormalization": "y = BatchNormalization <epsilon = 0.01> (h, g, b, m, v)",
    "InstanceNormalization": "y = InstanceNormalization (h, g, b)",
}


@pytest.mark.parametrize("name", ROW_CASES)
def test_operator(name: str, tmp_path: Path) -> None:
    body, weights = ROW_CASES[name]
    newest = {"Gelu", "Gelu tanh", "Mish", "Split evenly", "ReduceMean", "ReduceMax Min L2"}
    assert_parity(rows_model(body, 20 if name in newest else 17, **weights), tmp_path)


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_image_operator(name: str, tmp_path: Path) -> None:
    weights = {
        "w": random_weights(4, 3, 3, 3),
        "g": random_weights(4, seed=1),
        "b": random_weights(4, seed=2),
        "m": random_weights(4, seed=3),
        "v": np.abs(random_weights(4, seed=4)) + np.float32(0.1),
    }
    text = f"{IMAGE} {{ [conv] h = Conv (x, w) {IMAGE_CASES[name]} }}"
    used = {key: value for key, value in weights.items() if key == "w" or f" {key}" in IMAGE_CASES[name]}
    assert_parity(tiny_model(text, used), tmp_path)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax_before_opset_13_runs_over_the_last_axes_together(axis: int, tmp_path: Path) -> None:
    text = f"{SEQUENCE} {{ h = MatMul (x, w) y = Softmax <axis = {axis}> (h) }}"
    assert_parity(tiny_model(text, {"w": random_weights(6, 6)}, opset=12), tmp_path)


@pytest.mark.parametrize("spatial", [(9,), (9, 8), (5, 6, 7)])
@pytest.mark.parametrize(("groups", "options"), [(1, ""), (3, "dilations"), (1, "strides"), (3, "pads")])
def test_convolutions(spatial: tuple[int, ...], groups: int, options: str, tmp_path: Path) -> None:
    axes = len(spatial)
    values = {"dilations": [2] * axes, "strides": [2] * axes, "pads": list(range(2 * axes))}
    attributes = [f"{options} = {values[options]}"] if options else []
    model = conv_model(channels=3, filters=6, spatial=spatial, kernel=[2] * axes, groups=groups, attributes=attributes)
    assert_parity(model, tmp_path)


@pytest.mark.parametrize(
    ("attributes", "groups"),
    [
        ([], 1),
        ([], 2),
        (['auto_pad = "SAME_LOWER"'], 1),
        (["strides = [2, 1]", "pads = [0, 1, 2, 1]", "dilations = [1, 2]"], 1),
    ],
)
def test_convolutions_that_are_kept_digital(attributes: list[str], groups: int, tmp_path: Path) -> None:
    model = conv_model(channels=4, filters=6, spatial=(7, 8), kernel=[3, 2], groups=groups, attributes=attributes)
    path = save(model, tmp_path / "model.onnx")
    (layer,) = imported(model, tmp_path).layers()
    graph = import_model(path, keep_digital=(layer.name,), as_written=True, refuse=lambda *_: None)
    assert list(graph.layers()) == []
    feeds = random_feeds(graph, batch=2)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, feeds)
    found = Network(graph).run({name: torch.from_numpy(value) for name, value in feeds.items()})
    np.testing.assert_allclose(found[graph.outputs[0]].detach().numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("biased", [False, True])
def test_lstm(direction: str, biased: bool, tmp_path: Path) -> None:
    ways = 2 if direction == "bidirectional" else 1
    weights = {
        "w": random_weights(6, 6),
        "W": random_weights(ways, 16, 6, seed=1),
        "R": random_weights(ways, 16, 4, seed=2),
        "B": random_weights(ways, 32, seed=3),
    }
    bias = ", B" if biased else ""
    text = (
        f"(float[5,N,6] x) => (float[] y, float[] h, float[] c) {{ v = MatMul (x, w) "
        f'y, h, c = LSTM <hidden_size = 4, direction = "{direction}"> (v, W, R{bias}) }}'
    )
    used = weights if biased else {key: value for key, value in weights.items() if key != "B"}
    model = tiny_model(text.replace("N", "3"), used)
    assert_parity(model, tmp_path, batch=1)


def residual_model() -> onnx.ModelProto:
    """Two convolutions with batch normalisation around a shortcut, pooling and a classifier."""
    weights: dict[str, NDArray[Any]] = {"w0": random_weights(4, 3, 3, 3), "w1": random_weights(4, 4, 3, 3, seed=1)}
    for norm in "pq":
        weights |= {f"{norm}{part}": random_weights(4, seed=index) for index, part in enumerate("gbm")}
        weights |= {f"{norm}v": np.abs(random_weights(4, seed=9)) + np.float32(0.1)}
    weights |= {"fc": random_weights(4, 5, seed=2), "fb": random_weights(5, seed=3)}
    body = """
        a = Conv <pads = [1, 1, 1, 1]> (x, w0)
        b = BatchNormalization (a, pg, pb, pm, pv)
        c = Relu (b)
        d = Conv <pads = [1, 1, 1, 1]> (c, w1)
        e = BatchNormalization (d, qg, qb, qm, qv)
        f = Add (e, c)
        g = Relu (f)
        h = GlobalAveragePool (g)
        i = Flatten (h)
        y = Gemm (i, fc, fb)
    """
    return tiny_model(f"{IMAGE} {{ {body} }}", weights)


def attention_model() -> onnx.ModelProto:
    """One head of attention and a feed-forward block, both with shortcut and layer normalisation."""
    weights: dict[str, NDArray[Any]] = {f"w{part}": random_weights(6, 6, seed=ord(part)) for part in "qkvo"}
    weights |= {"wu": random_weights(6, 12, seed=1), "wd": random_weights(12, 6, seed=2), "bu": random_weights(12)}
    weights |= {"g": random_weights(6, seed=3), "b": random_weights(6, seed=4), "scale": np.array(6**-0.5, np.float32)}
    body = """
        q = MatMul (x, wq) k = MatMul (x, wk) v = MatMul (x, wv)
        t = Transpose <perm = [0, 2, 1]> (k)
        s = MatMul (q, t)
        m = Mul (s, scale)
        p = Softmax <axis = -1> (m)
        z = MatMul (p, v)
        o = MatMul (z, wo)
        r = Add (x, o)
        n = LayerNormalization (r, g, b)
        u = MatMul (n, wu) ub = Add (u, bu) a = Gelu (ub)
        d = MatMul (a, wd)
        e = Add (n, d)
        y = LayerNormalization (e, g, b)
    """
    return tiny_model(f"{SEQUENCE} {{ {body} }}", weights, opset=20)


@pytest.mark.parametrize(
    "model", [mlp_model(6, 5, 4, 3), residual_model(), attention_model()], ids=["mlp", "cnn", "transformer"]
)
def test_whole_networks(model: onnx.ModelProto, tmp_path: Path) -> None:
    assert_parity(model, tmp_path)


def test_parameters_are_the_initialisers_that_hold_weights(tmp_path: Path) -> None:
    network = Network(imported(attention_model(), tmp_path))
    assert set(network.parameters) == {"wq", "wk", "wv", "wo", "wu", "wd", "bu", "g", "b"}
    normed = Network(imported(residual_model(), tmp_path))
    assert set(normed.parameters) == {"w0", "w1", "pg", "pb", "qg", "qb", "fc", "fb"}


def test_gradients_are_the_slopes_of_the_output(tmp_path: Path) -> None:
    """A step of 1e-3 along the gradient raises the output's sum by 1e-3 times the gradient's square."""
    graph = imported(attention_model(), tmp_path)
    network = Network(graph)
    feeds = {name: torch.from_numpy(value) for name, value in random_feeds(graph, batch=2).items()}
    torch.autograd.backward(network.run(feeds)["y"].square().sum())
    gradients = {name: value.grad.clone() for name, value in network.parameters.items() if value.grad is not None}
    assert set(gradients) == set(network.parameters)
    for name, gradient in gradients.items():
        step = 1e-3 / float(gradient.norm())
        sums = []
        for sign in (1, -1):
            with torch.no_grad():
                network.parameters[name].add_(sign * step * gradient)
                sums.append(float(network.run(feeds)["y"].double().square().sum()))
                network.parameters[name].sub_(sign * step * gradient)
        slope = (sums[0] - sums[1]) / (2 * step)
        assert slope == pytest.approx(float(gradient.square().sum()), rel=0.05), name


def test_an_operator_that_is_not_known_is_named(tmp_path: Path) -> None:
    model = rows_model("[strange] y = Hardmax (h)", 17)
    with pytest.raises(ModelError) as caught:
        Network(imported(model, tmp_path))
    assert str(caught.value) == (
        "[BSC310] node 'strange' (Hardmax): cannot be fine-tuned\n"
        "  seen: no gradient for Hardmax\n"
        "  fix:  export the model with other operators (bsc.train.operators.OPERATORS lists what is known), or compile "
        "it as it is"
    )


def test_a_use_that_is_not_covered_is_named(tmp_path: Path) -> None:
    graph = imported(rows_model('[edge] y = Pad <mode = "edge"> (h, s)', 17, s=ints(0, 1, 0, 1)), tmp_path)
    with pytest.raises(ModelError, match=r"node 'edge' \(Pad\): cannot be fine-tuned\n  seen: mode 'edge'"):
        Network(graph).run({"x": torch.zeros(1, 6)})


def test_every_operator_of_the_table_has_a_parity_case() -> None:
    text = " ".join([*(body for body, _ in ROW_CASES.values()), *IMAGE_CASES.values()])
    covered = {name for name in OPERATORS if f"{name} " in text} | {"Conv", "LSTM"}
    assert covered == set(OPERATORS)
