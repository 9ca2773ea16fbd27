from pathlib import Path

import numpy as np

from bsc.ir.layer import LayerUse
from bsc.replay.engine import Replayer
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, tiny_model
from tests.bsc.plans import model_plan

TWICE = tiny_model(
    "(float[N,2,4] x) => (float[] y) { [a] h = MatMul(x, w)  r = Relu(h)  [b] g = MatMul(r, w)  [c] y = MatMul(g, v) }",
    {"w": random_weights(4, 4), "v": random_weights(4, 4, seed=1)},
)


def test_weights_that_two_operators_read_are_mapped_once(tmp_path: Path) -> None:
    graph = imported(TWICE, tmp_path)
    assert [(layer.name, layer.vectors) for layer in graph.layers()] == [("a", 4), ("c", 2)]
    assert graph.op("b") == LayerUse(name="b", layer="a", input="r", output="g")
    assert_same_as_onnxruntime(TWICE, graph, batch=3)


def test_a_plan_has_one_layer_and_two_steps(tmp_path: Path) -> None:
    plan = model_plan(TWICE, tmp_path)
    assert [step.layer for step in plan.document.steps if step.layer] == ["a", "a", "c"]
    x = np.random.default_rng(0).standard_normal((3, 2, 4)).astype(np.float32)
    replayer = Replayer(plan.mapping)
    replayer.replayed({"x": x})
    assert replayer.exact
    assert replayer.tallies["a"].results == 2 * replayer.tallies["c"].results


def test_calibration_covers_every_use(tmp_path: Path) -> None:
    x = np.full((1, 2, 4), 0.1, np.float32)
    weight = 10 * np.eye(4, dtype=np.float32)
    model = tiny_model("(float[N,2,4] x) => (float[] y) { h = MatMul(x, w)  y = MatMul(h, w) }", {"w": weight})
    (layer,) = model_plan(model, tmp_path, calibration={"x": x}).mapping.layers
    assert layer.input_scale == 2.0**-8  # of the range 0 to 1, which only the second use has
    assert not layer.input_signed


def test_codes_that_are_dequantised_twice_are_mapped_once(tmp_path: Path) -> None:
    model = tiny_model(
        """(float[N,2,4] x) => (float[] y) {
            k = DequantizeLinear(w, s)
            h = MatMul(x, k)
            again = DequantizeLinear(w, s)
            y = MatMul(h, again)
        }""",
        {"w": np.arange(16, dtype=np.int8).reshape(4, 4), "s": np.array(0.1, np.float32)},
    )
    (layer,) = imported(model, tmp_path).layers()
    assert layer.vectors == 4


def test_operators_with_different_biases_or_strides_share_nothing(tmp_path: Path) -> None:
    model = tiny_model(
        """(float[N,2,6] x) => (float[] y, float[] z, float[] u) {
            y = Conv(x, w)
            z = Conv <strides = [2]> (x, w)
            u = Conv(x, w, b)
        }""",
        {"w": random_weights(3, 2, 3), "b": random_weights(3)},
    )
    assert len(list(imported(model, tmp_path).layers())) == 3


def test_a_normalisation_behind_shared_crossbars_is_not_folded(tmp_path: Path) -> None:
    norm = {name: np.abs(random_weights(4, seed=at)) + np.float32(0.5) for at, name in enumerate("gbmv")}
    model = tiny_model(
        "(float[N,4] x) => (float[] y) { h = MatMul(x, w) n = BatchNormalization(h, g, b, m, v) y = MatMul(n, w) }",
        {"w": random_weights(4, 4)} | norm,
    )
    plan = model_plan(model, tmp_path)
    assert [dict(step.operators) for step in plan.document.steps if step.digital] == [{"BatchNormalization": 1}]
