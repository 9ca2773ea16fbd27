from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsc.frontend.onnx_import import import_model
from bsc.ir.program import quiet_session
from bsc.testing import random_weights, save, tiny_model


def test_onnxruntime_tells_shapes_without_computing_constants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill windows of any size before it answers."""
    asked = []

    def noted(model: bytes, **options: Any) -> Any:
        asked.append(options)
        return quiet_session(model, **options)

    monkeypatch.setattr("bsc.frontend.shapes.quiet_session", noted)
    text = (
        "(float[N,4] x) => (float[] y, float[] h) "
        "{ g = com.microsoft.FastGelu (x) y = MatMul (g, w) h = HannWindow (size) }"
    )
    weights = {"w": random_weights(4, 3), "size": np.array(9)}
    model = tiny_model(text, weights, domains=("com.microsoft",))
    graph = import_model(save(model, tmp_path / "model.onnx"))
    assert graph.tensors["y"].shape == (1, 3)
    assert asked == [{"optimise": False}] * len(asked) != []
