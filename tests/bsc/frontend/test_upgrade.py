from pathlib import Path

import numpy as np
import pytest

from bsc.errors import ModelError
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, tiny_model

WEIGHTS = {"w": random_weights(3, 2, 3, 3)}


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11])
def test_old_opsets_compute_what_onnxruntime_does(opset: int, tmp_path: Path) -> None:
    model = tiny_model(
        "(float[1,2,5,5] x) => (float[1,3,1,1] y) { h = Conv(x, w) r = Relu(h) y = GlobalAveragePool(r) }",
        WEIGHTS,
        opset=opset,
    )
    graph = imported(model, tmp_path)
    assert graph.info.opsets[""] == max(opset, 13 if opset < 11 else 11)
    assert_same_as_onnxruntime(model, graph)


def test_words_for_slopes_that_the_converter_forgets(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) { h = Conv(x, w) [slopes] y = PRelu(h, s) }",
        WEIGHTS | {"s": np.ones(3, np.float32)},
        opset=6,
    )
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        "[BSC304] model 'model.onnx': opset 6 cannot be converted to opset 13\n"
        "  seen: ValueError: PRelu slopes of opset 6\n"
        "  fix:  export the model again with an opset of 11 to 25"
    )


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
