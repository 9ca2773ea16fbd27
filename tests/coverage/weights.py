"""Models whose weights are no plain initialisers, and whose operators or types few compilers know."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bsc.testing import random_weights, tiny_model
from tests.coverage.cases import Case, quiet

Arrays = Mapping[str, NDArray[Any]]

V = random_weights(16, 8, 3, 3)
FILTERS: Mapping[str, tuple[str, Arrays]] = {
    "weight norm": (
        "n = ReduceL2 <axes = [1, 2, 3]> (v) d = Div (v, n) q = Mul (d, g)",
        {"v": V, "g": np.linspace(0.5, 2, 16, dtype=np.float32).reshape(16, 1, 1, 1)},
    ),
    "spectral norm": (
        "m = Reshape (v, s) a = MatMul (m, r) n = MatMul (l, a) q = Div (v, n)",
        {"v": V, "s": np.array([16, 72]), "r": random_weights(72), "l": random_weights(16)},
    ),
    "standardised": (
        "m = ReduceMean <axes = [1, 2, 3]> (v) c = Sub (v, m) s = Mul (c, c) t = ReduceMean <axes = [1, 2, 3]> (s)"
        " d = Sqrt (t) q = Div (c, d)",
        {"v": V},
    ),
    "low rank added": (
        "p = Gemm <alpha = 0.5> (b, a) r = Reshape (p, s) q = Add (v, r)",
        {"v": V, "b": random_weights(16, 4), "a": random_weights(4, 72), "s": np.array([16, 8, 3, 3])},
    ),
    "padded": (
        "q = Pad (v, p)",
        {"v": random_weights(16, 8, 1, 1), "p": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
    ),
    "attention over experts": (
        "t = Softmax <axis = 0> (e) r = Mul (w, t) q = ReduceSum <keepdims = 0> (r, zero)",
        {"e": random_weights(4, 1, 1, 1, 1), "w": random_weights(4, 16, 8, 3, 3), "zero": np.array([0])},
    ),
    "pruned by a mask": ("q = Where (m, v, zero)", {"v": V, "m": V > -0.05, "zero": np.zeros((), np.float32)}),
    "rounded twice": (
        "a = QuantizeLinear (v, s) b = DequantizeLinear (a, s) c = QuantizeLinear (b, t) q = DequantizeLinear (c, t)",
        {"v": V, "s": np.array(0.001, np.float32), "t": np.array(0.004, np.float32)},
    ),
    "rounded dynamically": ("i, s, z = DynamicQuantizeLinear (v) q = DequantizeLinear (i, s, z)", {"v": V}),
    "of a sequence": (
        """s = SplitToSequence <axis = 0> (v, n) a = SequenceAt (s, one) b = SequenceAt (s, nil)
           q = Concat <axis = 0> (a, b)""",
        {"v": V, "n": np.array(8), "one": np.array(1), "nil": np.array(0)},
    ),
}
MATRICES: Mapping[str, tuple[str, Arrays, int]] = {
    "einsum with an ellipsis": ('y = Einsum <equation = "...i,ij->...j"> (x, w)', {"w": random_weights(24, 6)}, 17),
    "gemm with blocks": (
        "k = DequantizeLinear <axis = 1, block_size = 8> (w, s) y = Gemm <transB = 1> (x, k)",
        {"w": np.arange(-72, 72, dtype=np.int8).reshape(6, 24), "s": np.abs(random_weights(6, 3)) + np.float32(0.01)},
        21,
    ),
    "quantiser of com.microsoft": (
        "k = com.microsoft.DequantizeLinear (w, s, z) y = MatMul (x, k)",
        {
            "w": np.arange(-720, 720, 10, dtype=np.int16).reshape(24, 6)[:, :3],
            "s": np.array(0.001, np.float32),
            "z": np.array(5, np.int16),
        },
        17,
    ),
    "scaler of scikit-learn": (
        "h = ai.onnx.ml.Scaler <offset = [0.1], scale = [2.0]> (x) y = MatMul (h, w)",
        {"w": random_weights(24, 6)},
        17,
    ),
    "normaliser of scikit-learn": (
        'h = ai.onnx.ml.Normalizer <norm = "L1"> (x) y = MatMul (h, w)',
        {"w": random_weights(24, 6)},
        17,
    ),
    "probabilities in front of a layer": (
        "l, p = ai.onnx.ml.LinearClassifier <classlabels_ints = [0, 1], coefficients = ["
        + ", ".join(f"{value:.3f}" for value in np.linspace(-1, 1, 48))
        + '], intercepts = [0.1, 0.2], post_transform = "SOFTMAX"> (x) y = MatMul (p, w)',
        {"w": random_weights(2, 6)},
        17,
    ),
    "while loop": (
        """n, y, k, e = Loop (, go, zero, x, w, end) <body = b (int64 i, bool c, int32 at, float[] h, float[] u,
             int32 m) => (bool again, int32 next, float[] g, float[] v, int32 o) { p = MatMul (h, u) g = Tanh (p)
             next = Add (at, one) again = Less (next, m) v = Identity (u) o = Identity (m) }>""",
        {
            "go": np.array(True),
            "zero": np.array(0, np.int32),
            "one": np.array(1, np.int32),
            "end": np.array(3, np.int32),
            "w": random_weights(24, 24),
        },
        17,
    ),
    "sequence across a layer": (
        """s = SplitToSequence <axis = 1> (x) h = MatMul (x, w) t = SequenceInsert (s, h)
           y = ConcatFromSequence <axis = 1> (t)""",
        {"w": random_weights(24, 6)},
        17,
    ),
    "called like arrays": (
        "[fc] fc2 = MatMul (x, w) [relu] r = Relu (fc2) [fc2] y = MatMul (r, v)",
        {"w": random_weights(24, 12), "v": random_weights(12, 6)},
        17,
    ),
}
OLD: Mapping[str, tuple[str, int]] = {
    "upsample nearest": ('y = Upsample <mode = "nearest", scales = [1.0, 1.0, 1.5, 2.0]> (c)', 7),
    "upsample linear": ('y = Upsample <mode = "linear", scales = [1.0, 1.0, 1.5, 2.0]> (c)', 7),
    "hardmax": ("y = Hardmax <axis = 2> (c)", 7),
    "softmax": ("y = Softmax <axis = 2> (c)", 9),
    "resize": ('y = Resize <mode = "linear"> (c, scales)', 10),
    "resize down": ('y = Resize <mode = "nearest"> (c, shrink)', 10),
    "clip and pad": ("p = Pad <pads = [0, 0, 1, 2, 0, 0, 3, 0]> (c) y = Clip <min = 0.0, max = 0.6> (p)", 8),
    "slice and squeeze": ("s = Slice <starts = [0], ends = [1], axes = [3]> (c) y = Squeeze <axes = [3]> (s)", 9),
}
FLOATS: Mapping[str, Any] = {
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
}


def floats(*shape: int) -> NDArray[np.float32]:
    """Normal numbers, always the same for a shape."""
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def weight_cases() -> Iterator[Case]:
    """All of them; two samples each."""
    image, row = floats(2, 8, 9, 9), floats(2, 24)
    for name, (body, arrays) in FILTERS.items():
        text = f"(float[N,8,9,9] x) => (float[] y) {{ {body} y = Conv <pads = [1, 1, 1, 1]> (x, q) }}"
        yield Case(name=f"weights {name}", model=tiny_model(text, arrays), feeds={"x": image})
    for name, (body, matrices, opset) in MATRICES.items():
        text = f"(float[N,24] x) => (float[] y) {{ {body} }}"
        model = tiny_model(text, matrices, opset=opset, domains=["com.microsoft", "ai.onnx.ml"])
        yield Case(name=f"weights {name}", model=model, feeds={"x": row})
    scales = {"scales": np.array([1, 1, 1.5, 2], np.float32), "shrink": np.array([1, 1, 0.6, 0.5], np.float32)}
    for name, (body, opset) in OLD.items():
        read = {key: value for key, value in scales.items() if f", {key})" in body}
        used = {"w": random_weights(6, 8, 3, 3)} | read
        text = f"(float[N,8,9,9] x) => (float[] y) {{ c = Conv (x, w) {body} }}"
        yield Case(name=f"weights opset {opset} {name}", model=tiny_model(text, used, opset=opset), feeds={"x": image})
    for name, kind in FLOATS.items():
        text = "(float[N,24] x) => (float[] y) { k = DequantizeLinear (w, s) y = MatMul (x, k) }"
        model = tiny_model(text, {"s": np.array(0.5, np.float32)}, opset=19)
        model.graph.initializer.append(numpy_helper.from_array((4 * random_weights(24, 6)).astype(kind), "w"))
        yield Case(name=f"weights {name}", model=model, feeds={"x": row})
    yield Case(name="weights sparse", model=sparse_model(), feeds={"x": row})


def sparse_model() -> onnx.ModelProto:
    """A matrix of which every fifth value is stored."""
    model = tiny_model("(float[N,24] x) => (float[] y) { y = MatMul (x, w) }")
    places = np.arange(0, 24 * 6, 5)
    values = numpy_helper.from_array(floats(len(places)), "w")
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(places, ""), [24, 6])
    )
    return model


def scikit_cases() -> Iterator[Case]:
    """Pipelines of scikit-learn 1.9 by skl2onnx: scaled inputs, labels that are numbers or texts, words."""
    for path in sorted((Path(__file__).parent / "scikit").glob("*.onnx")):
        words = np.array(["good film", "very bad", "not fine"], object)
        feeds = {"x": words if path.stem == "text-input" else floats(3, 12)}
        yield Case(name=f"scikit {path.stem}", model=onnx.load(path), feeds=feeds)


def normalised_cases() -> Iterator[Case]:
    """Networks of PyTorch whose weights are parametrised, by both exporters."""
    import torch
    from torch import nn
    from torch.nn import functional
    from torch.nn.utils import parametrizations, spectral_norm, weight_norm

    class Standardised(nn.Conv2d):
        """Weights of mean 0 and variance 1."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """The convolution."""
            w = self.weight
            mean, var = w.mean((1, 2, 3), keepdim=True), w.var((1, 2, 3), keepdim=True)
            return functional.conv2d(x, (w - mean) / torch.sqrt(var + 1e-5), self.bias)

    kinds: dict[str, Callable[[nn.Module], nn.Module]] = {
        "weight norm": parametrizations.weight_norm,
        "weight norm, old": weight_norm,
        "spectral norm": parametrizations.spectral_norm,
        "spectral norm, old": spectral_norm,
    }
    networks: dict[str, nn.Module] = {}
    torch.manual_seed(0)
    for name, wrap in kinds.items():
        networks[name] = nn.Sequential(wrap(nn.Conv2d(8, 16, 3)), nn.ReLU(), wrap(nn.ConvTranspose2d(16, 8, 4, 2)))
    networks["standardised"] = nn.Sequential(Standardised(8, 16, 3), nn.ReLU(), Standardised(16, 8, 3))
    for name, network in networks.items():
        for dynamo, opset in ((False, 17), (True, 20)):
            path = Path(mkdtemp()) / "model.onnx"
            options: dict[str, Any] = {"dynamic_axes": {"x": {0: "N"}}}
            if dynamo:
                options = {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},), "verbose": False, "optimize": False}
            if not dynamo and name.startswith("spectral norm"):  # it has a product that this exporter does not know
                continue
            with quiet():
                sample = torch.from_numpy(floats(2, 8, 9, 9))
                torch.onnx.export(
                    network.eval(), (sample,), path, input_names=["x"], opset_version=opset, dynamo=dynamo, **options
                )
                model = onnx.load(path)
            label = "dynamo" if dynamo else "script"
            yield Case(name=f"weights torch {name}, {label}", model=model, feeds={"x": floats(2, 8, 9, 9)})
