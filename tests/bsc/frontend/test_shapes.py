from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bsc.execution.session import quiet_session
from bsc.frontend.onnx_import import import_model
from bsc.testing import random_weights, save, tiny_model


def test_onnxruntime_tells_shapes_without_computing_large_constants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for the shape of `g` it would fill the window, whatever its size, before it answers."""
    asked = []

    def noted(model: bytes) -> Any:
        asked.append([node.op_type for node in onnx.load_from_string(model).graph.node])
        return quiet_session(model)

    monkeypatch.setattr("bsc.frontend.shapes.quiet_session", noted)
    text = (
        "(float[N,4] x) => (float[] y, float[] h) "
        "{ g = com.microsoft.FastGelu (x) y = MatMul (g, w) h = HannWindow (size) }"
    )
    weights = {"w": random_weights(4, 3), "size": np.array(1 << 28)}
    model = tiny_model(text, weights, domains=("com.microsoft",))
    graph = import_model(save(model, tmp_path / "model.onnx"))
    assert graph.tensors["y"].shape == (1, 3)
    assert asked == [["FastGelu", "MatMul"]] * len(asked) != []
