"""`--keep-digital`: named layers stay digital operators, wherever their weights are read."""

from pathlib import Path

import numpy as np
import pytest

from bsc.errors import UsageError
from bsc.export.onnx_emulation import emulation_model
from bsc.ir.graph import DigitalOp
from bsc.ir.layer import CrossbarLayer
from bsc.replay.engine import Replayer
from bsc.testing import assert_same_as_onnxruntime, imported, mlp_model, random_weights, tiny_model
from tests.bsc.export.test_onnx_emulation import assert_same
from tests.bsc.plans import CNN, model_plan

SHARED = tiny_model(
    """(float[N,4] x) => (float[N,3] y) {
        [a] p = MatMul(x, w)  q = Relu(p)  [b] r = MatMul(q, w)  [c] y = MatMul(r, v)
    }""",
    {"w": random_weights(4, 4), "v": random_weights(4, 3, seed=1)},
)


def test_a_layer_stays_a_digital_operator(tmp_path: Path) -> None:
    graph = imported(mlp_model(4, 3, 2), tmp_path, keep_digital=("fc0",))
    assert [layer.name for layer in graph.layers()] == ["fc1"]
    kept = graph.op("fc0")
    assert isinstance(kept, DigitalOp)
    assert (kept.op_type, kept.why) == ("Gemm", "--keep-digital says so")
    assert graph.info.notes[-1] == "layer 'fc0' stays digital, as --keep-digital says"
    assert_same_as_onnxruntime(mlp_model(4, 3, 2), graph, batch=3)


def test_weights_that_are_read_twice_stay_digital_in_both_places(tmp_path: Path) -> None:
    graph = imported(SHARED, tmp_path, keep_digital=("a",))
    assert [op.name for op in graph.ops() if isinstance(op, CrossbarLayer)] == ["c"]
    assert_same_as_onnxruntime(SHARED, graph, batch=2)


@pytest.mark.parametrize("name", ["stem", "depthwise", "head"])
def test_what_is_left_is_replayed_and_exported(name: str, tmp_path: Path) -> None:
    plan = model_plan(CNN, tmp_path, keep_digital=(name,))
    assert name not in [layer.name for layer in plan.mapping.layers]
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    assert Replayer(plan.mapping).replayed({"image": x})["scores"].shape == (2, 5)
    assert_same(plan, {"image": x}, emulation_model(plan), optimised=False)


@pytest.mark.parametrize(
    ("name", "fix"), [("fc2", "did you mean 'fc1'?"), ("relu0", "layers are fc0, fc1"), ("", "layers are fc0, fc1")]
)
def test_words_for_a_name_that_no_layer_has(name: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        imported(mlp_model(4, 3, 2), tmp_path, keep_digital=(name,))
    assert str(caught.value) == (f"[BSC201] no layer is called '{name}'\n  seen: --keep-digital {name}\n  fix:  {fix}")
