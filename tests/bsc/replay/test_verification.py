"""What `bsc verify` finds out, and what it refuses."""

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from bsc.errors import GateError, ModelError
from bsc.plan.document import Plan, layer_file
from bsc.plan.folder import read_plan, write_plan
from bsc.replay.dataset import Dataset
from bsc.replay.engine import Replayer
from bsc.replay.per_layer import LayerDifference
from bsc.replay.scores import DifferenceSum, require_scores
from bsc.replay.tally import LayerTally
from bsc.replay.verification import Verification, verify
from bsc.testing import mlp_model, random_weights, save, tiny_model
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


def test_every_layer_is_compared_with_the_tensor_of_its_name(tmp_path: Path) -> None:
    weights = {"w": random_weights(4, 3), "v": random_weights(2, 3, seed=1)}
    model = tiny_model(
        "(float[N,4] x) => (float[] y) { [first] h = MatMul(x, w) r = Relu(h)"
        " t = Transpose(r) [left] u = MatMul(v, t) y = Transpose(u) }",
        weights,
    )
    plan, path = model_plan(model, tmp_path), tmp_path / "model.onnx"
    x = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    data = Dataset(inputs={"x": x}, labels=None, batch=4, sha256="", free_batch=True)
    layers = verify(plan, data, "made up", path, per_layer=True).layers
    assert layers is not None
    error = Replayer(plan.mapping).replayed({"x": x}, ["h"])["h"].astype(np.float64) - x @ weights["w"]
    assert layers["first"].largest == pytest.approx(np.abs(error).max(), rel=1e-3)
    assert layers["first"].relative_rms == pytest.approx(np.linalg.norm(error) / np.linalg.norm(x @ weights["w"]), 1e-3)
    assert layers["left"] == LayerDifference()  # its result is the model's only behind a Transpose
    assert verify(plan, data, "made up", path).layers is None


def test_results_of_a_batch_are_gone_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second output may be as large as a run allows; two of them would be twice that."""
    text = "(float[N,4] x) => (float[] y, float[] large) { y = MatMul (x, w) large = Pad (x, pads) }"
    model = tiny_model(text, {"w": random_weights(4, 3), "pads": np.array([0, 0, 0, 1000])})
    run, seen = Replayer.replayed, list[weakref.ref[NDArray[Any]]]()

    def watched(self: Replayer, *arguments: Any) -> dict[str, NDArray[Any]]:
        assert [each for each in seen if each() is not None] == []
        results = run(self, *arguments)
        seen.append(weakref.ref(results["large"]))
        return results

    monkeypatch.setattr(Replayer, "replayed", watched)
    data = Dataset(inputs={"x": random_weights(6, 4)}, labels=None, batch=2, sha256="", free_batch=True)
    assert verify(model_plan(model, tmp_path), data, "made up", None).exact
    assert len(seen) == 3


def test_lossy_plan_is_compared_with_the_integer_model(tmp_path: Path) -> None:
    plan = model_plan(CNN, tmp_path, policy="fixed=2")
    classes = Replayer(plan.mapping).quantised(images(40).inputs)["scores"].argmax(axis=1)
    result = found(plan, images(40, labels=classes.tolist()))
    assert not result.exact
    assert result.accuracy is not None
    assert result.accuracy.quantised == 1
    assert result.accuracy.replayed < 1
    assert sum(tally.clipped for tally in result.tallies.values()) > 0
    result.require_lossless(plan)  # it never claimed to be


def test_planted_wrong_bit_fails_the_gate(tmp_path: Path) -> None:
    """One bit less on one column, the hash made right again: only the replay can notice.

    Weight 1 is code 255 and so is input 1: every slice is a column of four cells of level 3. Its largest sum 12
    is 4 steps of 3 and needs 3 bits; 2 bits read 9 at most. With all four inputs on, the column that lost a bit
    clips in each of the 8 cycles; with two on it never does.
    """
    ones = tiny_model("(float[N,4] x) => (float[] y) { [fc] y = MatMul (x, w) }", {"w": np.ones((4, 1), np.float32)})
    plan = model_plan(ones, tmp_path, calibration={"x": np.ones((1, 4), np.float32)})
    write_plan(plan, tmp_path / "wrong.bsc")
    (layer,) = plan.mapping.layers
    bits = plan.mapping.arrays(layer).adc_bits.copy()
    bits[0, 0, 0, 0] -= 1
    replace_arrays(tmp_path / "wrong.bsc", layer_file(0), adc_bits=bits)
    inputs = {"x": np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.float32)}
    wrong = read_plan(tmp_path / "wrong.bsc")
    result = found(wrong, Dataset(inputs=inputs, labels=None, batch=2, sha256=""))
    assert result.tallies == {
        "fc": LayerTally(results=2, differing=1, conversions=2 * 8 * 4, clipped=8, proved=2 * 8 * 3)
    }
    with pytest.raises(GateError) as caught:
        result.require_lossless(wrong)
    assert str(caught.value) == (
        "[BSC501] layer 'fc': the replay of a lossless plan is not exact\n"
        "  seen: 1 of 2 results differ, 8 conversions clipped\n"
        "  fix:  the plan was altered or a pass is wrong; compile again, and report it if it stays"
    )


EYE = np.eye(2, dtype=np.float32)
OUTPUTS = {
    "scalar": "y = ReduceMean <keepdims = 0> (h)",
    "samples on the last axis": "y = Transpose (h)",
    "class numbers": "y = ArgMax <axis = 1> (h)",
}


def identity(last: str) -> onnx.ModelProto:
    kind = "int64" if "ArgMax" in last else "float"
    return tiny_model(f"(float[N,2] x) => ({kind}[] y) {{ [fc] h = MatMul (x, w)  {last} }}", {"w": EYE})


def pairs(*values: tuple[float, float], labels: list[int] | None = None) -> Dataset:
    classes = None if labels is None else np.array(labels)
    return Dataset(inputs={"x": np.array(values, np.float32)}, labels=classes, batch=2, sha256="", free_batch=True)


@pytest.mark.parametrize("last", OUTPUTS.values(), ids=OUTPUTS)
def test_batches_of_outputs_of_any_shape_are_compared(last: str, tmp_path: Path) -> None:
    plan = model_plan(identity(last), tmp_path)
    result = found(plan, pairs((0.5, 0.25), (0.25, 0.5), (1, 0)), tmp_path / "model.onnx")
    assert result.difference_max is not None
    assert result.difference_max <= 1 / 64


def test_the_difference_by_hand(tmp_path: Path) -> None:
    """Weight 1 is cut to code 255 of 256 and input 0.5 to 127 of 128: 0.5 is read as 0.5 * 255 * 127 / 2**15."""
    plan = model_plan(identity("y = Identity (h)"), tmp_path)
    result = found(plan, pairs((0.5, 0), (0.5, 0)), tmp_path / "model.onnx")
    lost = 1 - 255 * 127 / 2**15
    assert (result.difference_max, result.difference_rms) == (0.5 * lost, lost)
    zeros = found(plan, pairs((0, 0)), tmp_path / "model.onnx")
    assert (zeros.difference_max, zeros.difference_rms) == (0, None)


def test_outputs_that_are_not_finite_have_no_difference(tmp_path: Path) -> None:
    plan = model_plan(identity("y = Log (h)"), tmp_path)
    result = found(plan, pairs((1, 0)), tmp_path / "model.onnx")
    assert (result.exact, result.difference_max, result.difference_rms) == (True, None, None)


def test_labels_need_an_output_of_scores(tmp_path: Path) -> None:
    plan = model_plan(identity(OUTPUTS["scalar"]), tmp_path)
    with pytest.raises(ModelError, match=r"seen: labels 0..1, output of shape \(\) for a batch"):
        found(plan, pairs((1, 0), (0, 1), labels=[0, 1]))


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


@pytest.mark.parametrize("name", ["sums", "gcds", "nonzeros"])
def test_words_for_sums_that_are_not_those_of_the_cells(name: str, tmp_path: Path) -> None:
    """The hashes are made right again, so a report would show a false proof."""
    plan = model_plan(mlp_model(6, 4), tmp_path)
    folder = tmp_path / "plan.bsc"
    write_plan(plan, folder)
    (layer,) = plan.mapping.layers
    arrays = plan.mapping.arrays(layer)
    values = getattr(arrays, name).copy()
    # Of a column that could have that instead; what no cells could have is refused when the plan is opened.
    column = np.argmax((arrays.sums > arrays.nonzeros) & (arrays.nonzeros < layer.rows))
    values.flat[column] = {"sums": values.flat[column] - 1, "nonzeros": values.flat[column] + 1, "gcds": 0}[name]
    replace_arrays(folder, layer_file(0), **{name: values})
    inputs = {"x": np.zeros((1, 6), np.float32)}
    with pytest.raises(ModelError) as caught:
        found(read_plan(folder), Dataset(inputs=inputs, labels=None, batch=1, sha256=""))
    assert str(caught.value) == (
        f"[BSC307] layer 'fc0': the recorded '{name}' are not those of its cells\n"
        "  seen: 1 slice columns differ\n"
        "  fix:  compile the model again"
    )


def test_words_for_an_output_that_is_no_tensor() -> None:
    with pytest.raises(ModelError) as caught:
        require_scores([np.ones(2)], np.zeros(2, np.int64))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "[BSC308] the model's first output is not a tensor\n"
        "  seen: a list\n"
        "  fix:  compile a model whose first output is a tensor"
    )


def test_outputs_are_compared_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the one that is scored: 2 samples of 3 floats are 24 bytes."""
    text = "(float[N,4] x) => (float[] y, float[] z) { y = MatMul (x, w) z = Relu (y) }"
    model = tiny_model(text, {"w": random_weights(4, 3)})
    plan, path = model_plan(model, tmp_path), tmp_path / "model.onnx"
    data = Dataset(inputs={"x": random_weights(2, 4)}, labels=None, batch=2, sha256="", free_batch=True)
    for limit, values in ((24, 6), (23, 0)):
        monkeypatch.setattr("bsc.replay.verification.COMPARED_BYTES", limit)
        outputs = verify(plan, data, "made up", path).outputs
        assert outputs is not None
        assert {name: each.values for name, each in outputs.items()} == {"y": 6, "z": values}
        assert (outputs["z"].largest is None) == (values == 0)


def test_differences_add_up_over_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    got, wanted = random_weights(7, 3), random_weights(7, 3, seed=1)
    found = []
    for chunk in (1, 4, 21, 100):
        monkeypatch.setattr("bsc.replay.scores.CHUNK", chunk)
        added = DifferenceSum()
        added.add({"a": [got]}, {"a": [wanted]})
        found.append(added.found())
    assert {(each.values, each.differing, each.largest) for each in found} == {
        (21, 21, float(np.abs(got.astype(float) - wanted).max()))
    }
    relative = np.linalg.norm(got.astype(float) - wanted) / np.linalg.norm(wanted.astype(float))
    assert [each.relative_rms for each in found] == pytest.approx([relative] * 4)
