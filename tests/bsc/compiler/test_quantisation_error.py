"""Where quantisation hurts: the layer, the share of weights and inputs, what may help; and codes that are all 0."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bsc.compiler import quantisation_error as module
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.compiler.quantisation_error import quantisation_notes
from bsc.ir.graph import Graph
from bsc.replay import import_check
from bsc.replay.calibrate import calibrate, run_float_once
from bsc.replay.dataset import Dataset, random_dataset
from bsc.replay.engine import Replayer
from bsc.testing import imported, mlp_model, random_weights, save, tiny_model
from passes.eliminate import Eliminate
from passes.fold_batchnorm import FoldBatchNorm
from passes.quantize import Quantize
from passes.slice_bits import SliceBits
from tests.bsc.plans import CNN, ISAAC, model_plan
from tests.passes.layers import compiled


def dense(weights: NDArray[Any], bias: NDArray[Any] | None = None) -> onnx.ModelProto:
    rows, columns = weights.shape
    body = "[fc] y = MatMul(x, w)" if bias is None else "[fc] y = Gemm(x, w, b)"
    arrays = {"w": weights.astype(np.float32)} | ({} if bias is None else {"b": bias.astype(np.float32)})
    return tiny_model(f"(float[N,{rows}] x) => (float[N,{columns}] y) {{ {body} }}", arrays)


def dataset(name: str, values: NDArray[Any]) -> Dataset:
    return Dataset(inputs={name: values.astype(np.float32)}, labels=None, batch=64, sha256="", free_batch=True)


def quantised(model: onnx.ModelProto, folder: Path, data: Dataset | None = None, **options: Any) -> Graph:
    graph = imported(model, folder)
    graph = graph if data is None else calibrate(graph, data)
    return compiled(graph, FoldBatchNorm(), Quantize(**options), SliceBits(), Eliminate())


def notes_on(graph: Graph, data: Dataset | None = None) -> tuple[str, ...]:
    """On all of the data, or on one made-up sample."""
    specs = [graph.tensors[name] for name in graph.inputs]
    given = data or random_dataset(specs, dynamic_batch=graph.info.dynamic_batch, samples=1, seed=0)
    return quantisation_notes(graph, run_float_once(graph, next(given.batches())), of_data=data is not None)


@pytest.mark.parametrize("calibrated", [True, False])
def test_nothing_is_said_of_what_eight_bits_hold(tmp_path: Path, *, calibrated: bool) -> None:
    data = dataset("image", np.random.default_rng(0).standard_normal((4, 3, 8, 8))) if calibrated else None
    assert notes_on(quantised(CNN, tmp_path, data), data) == ()


def test_words_for_weights_of_unlike_columns(tmp_path: Path) -> None:
    """One column is far above the others, whose codes are 0, and adds up to nothing; 255/256 is the code of 1."""
    weights = random_weights(64, 8)
    weights[:, 0] = np.where(np.arange(64) % 2, 1000, -1000)
    data = dataset("x", np.ones((1, 64)))
    (note,) = notes_on(quantised(dense(weights), tmp_path, data, bits=4), data)
    before, after = note.split("; what may help: ")
    assert before.startswith("quantisation changes output 'y' by ")
    assert "(relative RMS on the calibration data); layer 'fc' errs most, by " in before
    assert before.endswith(": 100.0% from its weights, 0.4% from its inputs")
    assert after == "quantize{per=channel}, quantize{scale=max-abs}, more bits in quantize{bits=}, --keep-digital fc"


def test_words_for_inputs_of_too_few_bits(tmp_path: Path) -> None:
    graph = quantised(mlp_model(16, 8, 4), tmp_path, activation_bits=3)
    (note,) = notes_on(graph)
    assert "(relative RMS on made-up inputs)" in note
    assert note.endswith(("--keep-digital fc0", "--keep-digital fc1"))
    assert "; what may help: --calib, quantize{activation-bits=12}, --keep-digital" in note


@pytest.mark.parametrize(("bits", "said"), [(8, False), (2, True)])
def test_five_percent_is_the_limit(bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, said: bool) -> None:
    graph = quantised(mlp_model(16, 8), tmp_path, bits=bits, activation_bits=12)
    assert bool(notes_on(graph)) == said
    if said:
        share = float(notes_on(graph)[0].split(" by ")[1].split("%")[0]) / 100
        monkeypatch.setattr(module, "MAX_RELATIVE_RMS", share + 0.001)
        assert notes_on(graph) == ()
        monkeypatch.setattr(module, "MAX_RELATIVE_RMS", share - 0.001)
        assert len(notes_on(graph)) == 1


@pytest.mark.parametrize(("largest", "said"), [(2.9e-8, True), (3e-8, False)])
def test_words_for_weights_below_the_floor(largest: float, tmp_path: Path, *, said: bool) -> None:
    """Half of a code is 2**-16 / 2**8 / 2, 2.98e-8; a bias hides in the output that nothing is left of the weights."""
    weights = np.full((4, 2), largest)
    notes = notes_on(quantised(dense(weights, np.ones(2)), tmp_path))
    expected = (
        "layer 'fc': all codes of its weights are 0, since none is above 2.9e-08 and no step is finer than that of "
        "values up to 1e-05; scale the model, or keep the layer digital: --keep-digital fc"
    )
    assert notes == ((expected,) if said else ())


def test_words_for_inputs_below_the_floor(tmp_path: Path) -> None:
    data = dataset("x", np.full((2, 4), 1e-9))
    notes = notes_on(quantised(dense(random_weights(4, 2), np.ones(2)), tmp_path, data), data)
    assert notes == (
        "layer 'fc': all codes of its inputs are 0, since none is above 1e-09 and no step is finer than that of values "
        "up to 1e-05; scale the model, or keep the layer digital: --keep-digital fc",
    )


@pytest.mark.parametrize("calibrated", [True, False])
def test_the_quantised_model_is_that_of_the_replay(tmp_path: Path, *, calibrated: bool) -> None:
    images = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    data = dataset("image", images) if calibrated else None
    plan = model_plan(CNN, tmp_path, calibration=dict(data.inputs) if data else None)
    wanted = Replayer(plan.mapping).quantised({"image": images})["scores"]
    found = module._run_quantised(quantised(CNN, tmp_path, data), {"image": images})["scores"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_plan_keeps_the_note(tmp_path: Path) -> None:
    x = np.full((2, 4), 1e-9, np.float32)
    plan = model_plan(dense(random_weights(4, 2), np.ones(2)), tmp_path, calibration={"x": x})
    assert [note[:30] for note in plan.document.model.notes] == ["layer 'fc': all codes of its i"]
    unseen = model_plan(dense(random_weights(4, 2), np.ones(2)), tmp_path, calibration={"x": x}, import_check=False)
    assert unseen.document.model.notes == ()


def test_what_the_check_could_not_run_to_its_end_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may never end; weights that are lost are said all the same."""
    monkeypatch.setattr(import_check, "SECONDS", 0.2)
    model = tiny_model(
        """(float[N,8] x) => (float[] y) {
            h = MatMul(x, w)
            y = Loop(, yes, h) <body = b (int64 n, bool more, float[N,6] old) => (bool go, float[N,6] new) {
                                  go = Identity(more) new = Cos(old) }> }""",
        {"w": np.full((8, 6), 1e-9, np.float32), "yes": np.array(True)},
    )
    pipeline = default_pipeline(ISAAC, rows=16, cols=16, policy="lossless", granularity="column")
    plan = compile_model(save(model, tmp_path / "model.onnx"), ISAAC, CompileOptions(pipeline=pipeline)).plan
    assert plan is not None
    assert any("all codes of its weights are 0" in note for note in plan.document.model.notes)
