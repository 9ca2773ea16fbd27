from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.frontend.upgrade import CHANGED, TARGET
from bsc.testing import (
    assert_same_as_onnxruntime,
    float_outputs,
    imported,
    random_feeds,
    random_weights,
    tiny_model,
)

Expected = Callable[[NDArray[np.float32]], NDArray[np.float64]]
ALL = onnx.defs.get_all_schemas_with_history()

WEIGHTS = {"w": random_weights(3, 2, 3, 3)}


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11])
def test_old_opsets_compute_what_onnxruntime_does(opset: int, tmp_path: Path) -> None:
    model = tiny_model(
        "(float[1,2,5,5] x) => (float[1,3,1,1] y) { h = Conv(x, w) r = Relu(h) y = GlobalAveragePool(r) }",
        WEIGHTS,
        opset=opset,
    )
    graph = imported(model, tmp_path)
    assert graph.info.opsets[""] == 11
    assert_same_as_onnxruntime(model, graph)


X = "float[2,3,8,8] x"
CASES = {
    'y = Upsample <mode = "nearest", scales = [1.0, 1.0, 1.5, 2.3]> (c)': (7, 8),
    'y = Upsample <mode = "linear", scales = [1.0, 1.0, 1.5, 2.3]> (c)': (7, 8),
    'y = Upsample <mode = "nearest"> (c, up)': (9,),
    'y = Upsample <mode = "linear"> (c, up)': (9,),
    'y = Resize <mode = "nearest"> (c, up)': (10,),
    'y = Resize <mode = "nearest"> (c, down)': (10,),
    'y = Resize <mode = "nearest"> (c, both)': (10,),
    'y = Resize <mode = "linear"> (c, up)': (10,),
    'y = Resize <mode = "linear"> (c, down)': (10,),
    'y = Resize <mode = "linear"> (c, both)': (10,),
    "y = Hardmax <axis = 2> (c)": (7, 8, 9, 10),
    "y = Softmax <axis = 2> (c)": (7, 8, 9, 10),
    "y = LogSoftmax (c)": (7, 8, 9, 10),
    "y = Slice <starts = [1, 0], ends = [3, -1], axes = [1, 3]> (c)": (7, 8, 9),
    "y = Slice <starts = [1, 0], ends = [2, 100]> (c)": (7, 8, 9),
    "y, i = TopK <k = 2, axis = 2> (c)": (7, 8, 9),
    "y = Clip <min = -0.5, max = 0.6> (c)": (7, 8, 9, 10),
    "y = Clip <max = 0.6> (c)": (7, 8, 9, 10),
    'y = Pad <pads = [0, 0, 1, 2, 0, 0, 3, 0], mode = "reflect"> (c)': (7, 8, 9, 10),
    "y = Pad <pads = [0, 0, 1, 2, 0, 0, 3, 0], value = 1.5> (c)": (7, 8, 9, 10),
    "y = Pad <pads = [0, 0, -1, 2, 0, 0, 3, 0]> (c)": (7, 8, 9, 10),
    "y = Dropout <ratio = 0.3> (c)": (7, 8, 9, 10),
    "y = BatchNormalization (c, ones, half, half, ones)": (7, 8, 9, 10),
    "y = PRelu (c, slopes)": (7, 8, 9, 10),
    "g = GlobalAveragePool (c) q = Squeeze <axes = [2, 3]> (g) y = Unsqueeze <axes = [0]> (q)": (7, 8, 9, 10),
    "y = ReduceSum <axes = [1], keepdims = 0> (c)": (7, 8, 9, 10),
    "y, z = Split <axis = 3, split = [3, 5]> (c)": (7, 8, 9, 10),
    "y = MaxPool <kernel_shape = [2, 2]> (c)": (7, 8, 9, 10),
    "y = AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1]> (c)": (7, 8, 9, 10),
    "q = SpaceToDepth <blocksize = 2> (c) y = DepthToSpace <blocksize = 2> (q)": (7, 8, 9, 10),
    "y = Sum (c, c)": (7, 8, 9, 10),
    "y = Scatter <axis = 1> (c, places, updates)": (9,),
    """r = ReduceSum <keepdims = 0> (c) g = Greater (r, zero)
       y = If (g) <then_branch = a () => (float[] p) { p = Upsample <mode = "nearest"> (c, two) },
                   else_branch = b () => (float[] q) { k = Clip <min = 0.0> (c)
                                                       q = Pad <pads = [0, 0, 0, 0, 0, 0, 8, 8]> (k) }>""": (9,),
}
K = np.array([0.5, 2, 3]).reshape(3, 1, 1)
NUMBERS = {
    "w": random_weights(3, 3, 3, 3),
    "up": np.array([1, 1, 1.7, 2.3], np.float32),
    "down": np.array([1, 1, 0.6, 0.41], np.float32),
    "both": np.array([1, 1, 0.6, 1.5], np.float32),
    "two": np.array([1, 1, 2, 2], np.float32),
    "ones": np.ones(3, np.float32),
    "half": np.full(3, 0.5, np.float32),
    "slopes": np.array([0.1, 0.2, 0.3], np.float32).reshape(3, 1, 1),
    "zero": np.zeros((), np.float32),
    "places": np.zeros((2, 1, 2, 2), np.int64),
    "updates": np.ones((2, 1, 2, 2), np.float32),
}


@pytest.mark.parametrize(("body", "opset"), [(body, opset) for body, opsets in CASES.items() for opset in opsets])
def test_operators_of_old_opsets_mean_what_they_meant(body: str, opset: int, tmp_path: Path) -> None:
    used = {name: array for name, array in NUMBERS.items() if name in body or name == "w"}
    graph_text = f"({X}) => (float[] y) {{ c = Conv <pads = [1, 1, 1, 1]> (x, w) {body} }}"
    model = tiny_model(graph_text, used, opset=opset)
    assert_same_as_onnxruntime(model, imported(model, tmp_path))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Add <axis = 1, broadcast = 1> (c, k)", lambda c: c + K),
        ("y = Mul <axis = -3, broadcast = 1> (c, k)", lambda c: c * K),
        ("y = Sub <axis = 0, broadcast = 1> (c, pair)", lambda c: c - np.array([1, 2]).reshape(2, 1, 1, 1)),
        ("y = Div <broadcast = 1> (c, row)", lambda c: c / np.arange(1, 9)),
        ("y = PRelu (c, k)", lambda c: np.where(c < 0, c * K, c)),
        ("y = PRelu (c, one)", lambda c: np.where(c < 0, c * 0.25, c)),
        ("y = Dropout <is_test = 1> (c)", lambda c: c),
        (
            "y = BatchNormalization <is_test = 1, epsilon = 0.0> (c, k, k, k, k)",
            lambda c: (c - K) / np.sqrt(K) * K + K,
        ),
        ("y = Upsample <height_scale = 2.0, width_scale = 1.0> (c)", lambda c: c.repeat(2, axis=2)),
    ],
)
def test_opset_6_by_hand(body: str, expected: Expected, tmp_path: Path) -> None:
    """Of which onnxruntime runs nothing that has changed since."""
    numbers = {
        "w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "k": K.ravel().astype(np.float32),
        "pair": np.array([1, 2], np.float32),
        "row": np.arange(1, 9, dtype=np.float32),
        "one": np.array([0.25], np.float32),
    }
    graph = imported(tiny_model(f"({X}) => (float[] y) {{ c = Conv(x, w) {body} }}", numbers, opset=6), tmp_path)
    feeds = random_feeds(graph)
    result = float_outputs(graph, feeds)["y"]
    np.testing.assert_allclose(result, expected(feeds["x"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "opset", "why"),
    [
        ("[old] y = BatchNormalization (c, k, k, k, k)", 6,
         "BatchNormalization old: it normalises by the batch (is_test=0)"),
        ("[old] y = BatchNormalization <spatial = 0> (c, k, k, k, k)", 7,
         "BatchNormalization old: it has statistics for every place (spatial=0)"),
        ("[old] y = Dropout (c)", 6, "Dropout old: it drops values (is_test=0)"),
        ("[old] z, m = Dropout (c) y = Add (z, m)", 7, "Dropout old: its mask is read"),
        ("[old] y = Upsample <mode = \"cubic\", scales = [1.0, 1.0, 2.0, 2.0]> (c)", 7, "Upsample old: mode cubic"),
        ("s = Shape (c) f = Cast <to = 1> (s) g = Div (f, f) [old] y = Resize (c, g)", 10,
         "Resize old: its scales are computed at run time"),
    ],
)  # fmt: skip
def test_words_for_what_has_no_equal(body: str, opset: int, why: str, tmp_path: Path) -> None:
    numbers = {"w": random_weights(3, 3, 1, 1), "k": np.ones(3, np.float32)}
    with pytest.raises(ModelError) as caught:
        imported(tiny_model(f"({X}) => (float[] y) {{ c = Conv(x, w) {body} }}", numbers, opset=opset), tmp_path)
    assert str(caught.value) == (
        f"[BSC304] model 'model.onnx': opset {opset} cannot be converted to opset 11\n"
        f"  seen: {why}\n"
        "  fix:  export the model again with an opset of 11 to 25"
    )


def test_every_operator_that_changed_is_in_the_table() -> None:
    """Or is known to mean the same: only types, negative axes and defaults were added."""
    changed = {
        schema.name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and 6 < schema.since_version <= TARGET
        and any(old.name == schema.name and old.since_version < schema.since_version for old in ALL)
    }  # fmt: skip
    same = {
        "ArgMax", "ArgMin", "AveragePool", "Cast", "Compress", "Concat", "Constant", "Conv", "ConvTranspose",
        "DepthToSpace", "Flatten", "Gather", "Hardmax", "If", "LogSoftmax", "Loop", "LpPool", "MatMul", "Max",
        "MaxPool", "MaxUnpool", "Mean", "Min", "NonMaxSuppression", "OneHot", "ReduceL1", "ReduceL2", "ReduceLogSum",
        "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
        "Softmax", "Split", "Squeeze", "Sum", "Unsqueeze",
    }  # fmt: skip
    assert changed == same | set(CHANGED)


def test_weights_of_one_value(tmp_path: Path) -> None:
    model = tiny_model(
        """(float[N,4] x) => (float[] y) {
            n = Constant <value = int64[2] {4, 3}> ()
            w = ConstantOfShape <value = float[1] {0.25}> (n)
            y = MatMul(x, w)
        }"""
    )
    graph = imported(model, tmp_path)
    (layer,) = graph.layers()
    assert graph.array(layer.weight).tolist() == [[0.25] * 3] * 4
    assert_same_as_onnxruntime(model, graph, batch=2)
