"""What `bsc verify` finds out, and what it refuses."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from bsc.errors import GateError, ModelError
from bsc.plan.document import Plan
from bsc.plan.folder import read_plan, write_plan
from bsc.replay.dataset import Dataset
from bsc.replay.verification import Verification, verify
from bsc.testing import mlp_model, save
from tests.bsc.plans import CNN, model_plan, replace_arrays


def images(count: int, labels: list[int] | None = None) -> Dataset:
    pixels = np.random.default_rng(0).standard_normal((count, 3, 8, 8)).astype(np.float32)
    classes = None if labels is None else np.array(labels)
    return Dataset(inputs={"image": pixels}, labels=classes, batch=4, sha256="", free_batch=True)


def found(plan: Plan, data: Dataset, model: Path | None = None) -> Verification:
    return verify(plan, data, "made up", model)


def test_lossless_plan_is_exact(tmp_path: Path) -> None:
    plan = model_plan(CNN, tmp_path)
    result = found(plan, images(10))
    assert result.exact
    assert (result.samples, result.accuracy, result.difference_max) == (10, None, None)
    assert {name: tally.results for name, tally in result.tallies.items()} == {
        "stem": 10 * 16 * 4,
        "depthwise": 10 * 16 * 4,
        "head": 10 * 4,  # a column is pruned
    }
    result.require_lossless(plan)


def test_difference_and_accuracy_against_onnxruntime(tmp_path: Path) -> None:
    plan, model = model_plan(CNN, tmp_path), tmp_path / "model.onnx"
    data = images(10)
    scores = onnxruntime.InferenceSession(model).run(None, dict(data.inputs))[0]
    labels = scores.argmax(axis=1)
    labels[:5] = (labels[:5] + 1) % 5  # the float model is right on half
    result = found(plan, Dataset(inputs=data.inputs, labels=labels, batch=3, sha256="", free_batch=True), model)
    assert result.accuracy is not None
    assert result.accuracy.float_model == 0.5
    assert result.accuracy.quantised == result.accuracy.replayed
    assert result.difference_max is not None
    assert 0 < result.difference_max < 0.1 * np.abs(scores).max()


def test_lossy_plan_is_compared_with_the_integer_model(tmp_path: Path) -> None:
    plan = model_plan(CNN, tmp_path, policy="fixed=2")
    result = found(plan, images(6, labels=[0] * 6))
    assert not result.exact
    assert sum(tally.clipped for tally in result.tallies.values()) > 0
    result.require_lossless(plan)  # it never claimed to be


def test_planted_wrong_bound_fails_the_gate(tmp_path: Path) -> None:
    """One bit less on every column of the head, the hashes made right again: only the replay can notice."""
    plan = model_plan(mlp_model(6, 4), tmp_path)
    folder = tmp_path / "plan.bsc"
    write_plan(plan, folder, extra={})
    (layer,) = plan.layers
    bits = plan.arrays(layer).adc_bits
    replace_arrays(folder, layer.arrays, adc_bits=np.maximum(bits, 1) - np.uint8(1))
    tampered = read_plan(folder)
    inputs = {"x": np.full((1, 6), 1.0, np.float32)}
    result = found(tampered, Dataset(inputs=inputs, labels=None, batch=1, sha256=""))
    assert not result.exact
    with pytest.raises(GateError) as caught:
        result.require_lossless(tampered)
    lines = str(caught.value).splitlines()
    assert lines[0] == "[BSC501] layer 'fc0': the replay of a lossless plan is not exact"
    assert lines[1].startswith("  seen: 4 of 4 results differ, ")
    assert lines[2] == "  fix:  the plan was altered or a pass is wrong; compile again, and report it if it stays"


def test_another_model_is_refused(tmp_path: Path) -> None:
    plan = model_plan(mlp_model(6, 4), tmp_path)
    other = save(mlp_model(6, 4, seed=9), tmp_path / "other.onnx")
    with pytest.raises(ModelError) as caught:
        found(plan, Dataset(inputs={"x": np.zeros((1, 6), np.float32)}, labels=None, batch=1, sha256=""), other)
    lines = str(caught.value).splitlines()
    assert lines[0] == "[BSC307] model 'other.onnx' is not the one the plan was made from"
    assert lines[2] == "  fix:  give the 'model.onnx' that was compiled, or compile again"


@pytest.mark.parametrize(("label", "fits"), [(3, True), (4, False)])
def test_labels_below_the_number_of_outputs(label: int, fits: bool, tmp_path: Path) -> None:
    plan = model_plan(mlp_model(6, 4), tmp_path)
    inputs = {"x": np.zeros((2, 6), np.float32)}
    data = Dataset(inputs=inputs, labels=np.array([0, label]), batch=1, sha256="")
    if fits:
        assert found(plan, data).accuracy is not None
        return
    with pytest.raises(ModelError) as caught:
        found(plan, data)
    assert str(caught.value) == (
        "[BSC308] the labels do not fit the model's first output\n"
        "  seen: labels 0..4, output of shape (1, 4) for a batch\n"
        "  fix:  give class numbers below the number of outputs, or leave the labels out"
    )
