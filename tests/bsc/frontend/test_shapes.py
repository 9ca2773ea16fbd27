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


def test_shapes_behind_operators_of_onnxruntime_beside_some_that_it_does_not_have(tmp_path: Path) -> None:
    """Integer products are Conv of integers when shapes are asked for; so it is asked operator by operator."""
    text = (
        "(float[N,3,8,8] x) => (float[] y) { g = com.microsoft.FastGelu (x) q = QuantizeLinear (g, s, z) "
        "c = ConvInteger (q, w) f = Cast <to = 1> (c) h = com.microsoft.FastGelu (f) y = Relu (h) }"
    )
    weights = {
        "w": np.random.default_rng(0).integers(-127, 128, (4, 3, 3, 3), np.int8),
        "s": np.array(0.02, np.float32),
        "z": np.array(0, np.int8),
    }
    path = save(tiny_model(text, weights, domains=("com.microsoft",)), tmp_path / "model.onnx")
    graph = import_model(path)
    assert len(list(graph.layers())) == 1
    assert graph.tensors["y"].shape == (1, 4, 6, 6)
