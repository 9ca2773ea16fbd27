from pathlib import Path

import numpy as np
import pytest

from bsc.frontend import folding
from bsc.frontend.constants import Coded, rearranged, scaled
from bsc.frontend.folding import SMALL
from bsc.ir.graph import DigitalOp
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, tiny_model


@pytest.mark.parametrize(("columns", "folded"), [(20000, True), (20001, False)])
def test_weights_are_not_blown_up_without_end(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, folded: bool
) -> None:
    """4 x columns weights made of columns + 4 numbers."""
    monkeypatch.setattr(folding, "MAX_GROWTH", 3 * 20000 - 4)
    model = tiny_model(
        "(float[1,4] x) => (float[] y, float[] z) { k = Add(row, column) y = MatMul(x, k) z = MatMul(x, w) }",
        {
            "row": np.ones((1, columns), np.float32),
            "column": np.arange(4, dtype=np.float32).reshape(4, 1),
            "w": random_weights(4, 2),
        },
    )
    graph = imported(model, tmp_path)
    left = {op.op_type: op.why for op in graph.ops() if isinstance(op, DigitalOp)}
    assert left == (
        {}
        if folded
        else {
            "Add": "what it makes of constants is much larger than they are",
            "MatMul": "its weights come from Add Add_0, which is not folded",
        }
    )
    assert_same_as_onnxruntime(model, graph)


@pytest.mark.parametrize(("columns", "folded"), [(SMALL // 4, True), (SMALL // 4 + 1, False)])
def test_constants_that_are_no_weights_are_not_blown_up(columns: int, tmp_path: Path, *, folded: bool) -> None:
    model = tiny_model(
        "(float[4,1] x) => (float[] y, float[] z) { k = Mul(row, column) y = Add(x, k) z = MatMul(w, x) }",
        {
            "row": np.ones((1, columns), np.float32),
            "column": np.arange(4, dtype=np.float32).reshape(4, 1),
            "w": random_weights(2, 4),
        },
    )
    graph = imported(model, tmp_path)
    assert ("Mul" in [op.op_type for op in graph.ops() if isinstance(op, DigitalOp)]) is not folded
    assert_same_as_onnxruntime(model, graph)


def coded() -> Coded:
    """2 x 3 codes with a scale for each column."""
    import onnx_ir as ir

    codes, scale = np.array([[1, -2, 3], [4, 5, -6]], np.int32), np.array([[0.5, 1.0, 2.0]])
    return Coded(lambda: codes, scale, (2, 3), ir.DataType.FLOAT, 8)


def test_values_are_codes_times_scale() -> None:
    assert coded().numpy().tolist() == [[0.5, -2, 6], [2, 5, -12]]
    assert scaled(coded(), -0.5).numpy().tolist() == [[-0.25, 1, -3], [-1, -2.5, 6]]


def test_rearranged_codes_stay_codes() -> None:
    turned = rearranged(coded(), lambda array: array.T)
    assert isinstance(turned, Coded)
    assert turned.codes().tolist() == [[1, 4], [-2, 5], [3, -6]]
    assert np.broadcast_to(turned.scale, (3, 2)).tolist() == [[0.5, 0.5], [1, 1], [2, 2]]
    assert turned.numpy().tolist() == coded().numpy().T.tolist()
    padded = rearranged(coded(), lambda array: np.pad(array, ((0, 1), (0, 0))))
    assert padded.numpy()[2].tolist() == [0, 0, 0]
