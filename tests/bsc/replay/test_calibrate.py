from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike

from bsc.errors import ModelError
from bsc.execution.program import Program
from bsc.ir.schedule import schedule
from bsc.replay.calibrate import calibrate, float_result
from bsc.replay.dataset import Dataset
from bsc.testing import conv_model, imported, mlp_model, random_feeds, tiny_model

ONE_TO_ONE = tiny_model(
    "(float[N,2] x) => (float[] y) { [fc] h = Gemm (x, w, b)  [relu] a = Relu (h)  [out] y = MatMul (a, w) }",
    {"w": np.array([[1, 0], [0, 2]], np.float32), "b": np.array([0, 1], np.float32)},
)


def data(x: ArrayLike, *, batch: int = 256) -> Dataset:
    return Dataset(inputs={"x": np.array(x, np.float32)}, labels=None, batch=batch, sha256="")


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_ranges_by_hand(batch: int, tmp_path: Path) -> None:
    graph = calibrate(imported(ONE_TO_ONE, tmp_path), data([[1, -5], [-3, 2], [0, 0]], batch=batch))
    # Gemm gives (1, -9), (-3, 5) and (0, 1), Relu (1, 0), (0, 5) and (0, 1).
    assert graph.ranges == {"x": (-5, 2), "a": (0, 5)}


@pytest.mark.parametrize(
    "model",
    [mlp_model(6, 5, 4), conv_model(groups=1), conv_model(channels=4, groups=2, attributes=["pads = [1, 1, 1, 1]"])],
)
def test_float_results_are_those_of_the_model(model: onnx.ModelProto, tmp_path: Path) -> None:
    import onnxruntime

    graph = imported(model, tmp_path)
    feeds = random_feeds(graph, batch=3)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    layers = {layer.name: layer for layer in graph.layers()}
    program = Program(schedule(graph), graph.outputs)
    results = program.run(feeds, lambda name, x: float_result(graph, layers[name], x))
    np.testing.assert_allclose(results["y"], session.run(["y"], feeds)[0], rtol=1e-4, atol=1e-5)


def test_words_for_an_activation_that_is_not_finite(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,2] x) => (float[] y) { a = Log (x)  [fc] y = MatMul (a, w) }", {"w": np.eye(2, dtype=np.float32)}
    )
    with pytest.raises(ModelError) as caught:
        calibrate(imported(model, tmp_path), data([[1, 0]]))
    assert str(caught.value) == (
        "[BSC308] the input of layer 'fc' is not finite\n"
        "  seen: NaN or infinity from the operators before it\n"
        "  fix:  leave out samples on which the model itself does not give finite results"
    )
