"""Networks that are deep, and activations that are far larger than the model's inputs."""

from pathlib import Path

import numpy as np

import hw_models
from bsc.plan.folder import read_plan, write_plan
from bsc.replay.dataset import Dataset
from bsc.replay.simulation import simulate
from bsc.replay.verification import verify
from bsc.testing import random_weights, tiny_model
from tests.bsc.execution.test_program import deep_model
from tests.bsc.plans import model_plan


def made_up(samples: int, **inputs: tuple[int, ...]) -> Dataset:
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((samples, *shape)).astype(np.float32) for name, shape in inputs.items()}
    return Dataset(inputs=arrays, labels=None, batch=samples, sha256="", free_batch=True)


def test_hundreds_of_digital_segments_are_calibrated_verified_and_simulated(tmp_path: Path) -> None:
    data = made_up(4, a0=(4,))
    write_plan(model_plan(deep_model(400, "Tanh"), tmp_path, calibration=data.inputs), tmp_path / "deep.bsc")
    plan = read_plan(tmp_path / "deep.bsc")
    assert verify(plan, data, "made up", tmp_path / "model.onnx").exact
    trial = simulate(plan.mapping, data, "made up", device=hw_models.load_device("ideal")).trials[0]
    assert trial.error_rms == 0


def test_one_small_image_in_a_wide_network(tmp_path: Path) -> None:
    """96,000 input vectors of 1152 values, from 0.4 MB."""
    model = tiny_model(
        """(float[N,1,600,160] x) => (float[] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)  b = Relu(a)  c = Conv <pads = [1, 1, 1, 1]> (b, w2)
            y = ReduceMax <axes = [2, 3], keepdims = 0> (c)
        }""",
        {"w": random_weights(128, 1, 3, 3), "w2": random_weights(2, 128, 3, 3, seed=1)},
    )
    plan = model_plan(model, tmp_path, rows=128, cols=128)
    assert verify(plan, made_up(1, x=(1, 600, 160)), "made up", tmp_path / "model.onnx").exact
