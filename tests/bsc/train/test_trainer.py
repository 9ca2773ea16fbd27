"""Whole runs on tiny networks: they learn, they stop and go on, they share work, they refuse what cannot work."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bsc.errors import BscError
from bsc.ir.graph import Graph
from bsc.testing import imported, mlp_model
from bsc.train.augment import augment
from bsc.train.data import Samples
from bsc.train.options import FinetuneOptions
from bsc.train.trainer import Trainer

SIZES = (20, 16, 3)


def samples(count: int = 200, *, labelled: bool = True, seed: int = 1) -> Samples:
    """Three classes, each a bump at its own place."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    x = rng.random((count, SIZES[0])) / 2
    x[np.arange(count), labels * 5] += 1
    return Samples(inputs={"x": x.astype(np.float32)}, labels=labels if labelled else None, source="made up")


def settings(**changes: Any) -> FinetuneOptions:
    return FinetuneOptions.model_validate({"epochs": 4, "batch": 32, "lr": 0.02, "rows": 8, "threads": 1} | changes)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return imported(mlp_model(*SIZES), tmp_path)


def test_it_learns_within_a_provable_budget(graph: Graph) -> None:
    options = settings(project=True, headroom=2, budget=(1, 1, 1, 1), sparsity=0.5, prune_epochs=1, epochs=12)
    trainer = Trainer(graph, samples(), samples(seed=2), options)
    trainer.run()
    last = trainer.history[-1]
    assert trainer.float_accuracy is not None
    assert trainer.float_accuracy < 0.6
    assert last["accuracy"] > 0.9
    assert trainer.figures().to_json()["bits_max"] == [1, 1, 1, 1]
    assert [record["epoch"] for record in trainer.history] == list(range(1, 13))


@pytest.mark.parametrize("objective", ["l1", "bl1", "bl1-weighted", "adc"])
def test_every_objective_empties_slices(objective: str, graph: Graph) -> None:
    densities = []
    for alpha in (0.0, 20.0):
        trainer = Trainer(graph, samples(), None, settings(objective=objective, alpha=alpha, budget=(1, 1, 1, 1)))
        trainer.run()
        densities.append(sum(trainer.history[-1]["density"]))
    assert densities[1] < 0.8 * densities[0]


def test_bfloat16_steps_learn_the_same_and_leave_weights_in_32_bits(graph: Graph) -> None:
    accuracies, losses = [], []
    for precision in ("fp32", "bf16", "bf16"):
        trainer = Trainer(graph, samples(), None, settings(objective="none", precision=precision, epochs=8))
        assert all(value.dtype == np.float32 for value in trainer.run().values())
        accuracies.append(trainer.history[-1]["accuracy"])
        losses.append([record["loss"] for record in trainer.history])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]
    assert losses[1] == losses[2]
    assert accuracies[1] > 0.9


@pytest.mark.parametrize(
    ("capabilities", "taken"), [({"avx2": True}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")]
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    capabilities: dict[str, bool], taken: str, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities)
    trainer = Trainer(graph, samples(), None, settings(objective="none", precision="auto"))
    assert trainer.precision == taken
    assert Trainer(graph, samples(), None, settings(precision="bf16")).precision == "bf16"


def test_without_labels_it_follows_the_float_model(graph: Graph) -> None:
    """Pruned weights come back to agreeing with the model they came from."""
    trainer = Trainer(graph, samples(labelled=False), None, settings(objective="none", sparsity=0.4, epochs=8))
    trainer.run()
    first, last = trainer.history[0], trainer.history[-1]
    assert last["loss"] < first["loss"]
    assert last["accuracy"] > 0.9


def test_pruned_weights_stay_zero(graph: Graph) -> None:
    trainer = Trainer(graph, samples(), None, settings(objective="none", prune_below=0.05, sparsity=0.75))
    parameters = trainer.run()
    for name, size in (("w0", 320), ("w1", 48)):
        zeros = int((parameters[name] == 0).sum())
        assert size * 0.75 <= zeros <= size * 0.8, name


RESUMED = {"project": True, "headroom": 1, "sparsity": 0.5, "prune_epochs": 2, "epochs": 6, "augment": "crop"}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_stopped_run_goes_on_to_the_same_weights(optimizer: str, graph: Graph, tmp_path: Path) -> None:
    options = settings(optimizer=optimizer, **RESUMED)
    whole = Trainer(graph, samples(), None, options)
    expected = whole.run()

    class Killed(Exception):  # noqa: N818
        pass

    def kill(done: int, _total: int) -> None:
        if done == 25:  # in the fourth epoch
            raise Killed

    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        Trainer(graph, samples(), None, options).run(checkpoint=path, on_step=kill)
    resumed = Trainer(graph, samples(), None, options)
    steps: list[int] = []
    found = resumed.run(checkpoint=path, resume=True, on_step=lambda done, _: steps.append(done))
    assert steps[0] == 22
    assert resumed.history == whole.history
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in expected.items()
    }


def test_a_checkpoint_of_another_run(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.checkpoint"
    Trainer(graph, samples(), None, settings(epochs=1)).run(checkpoint=path)
    with pytest.raises(BscError) as caught:
        Trainer(graph, samples(), None, settings(epochs=1, seed=1)).run(checkpoint=path, resume=True)
    assert str(caught.value) == (
        "[BSC311] checkpoint 'run.checkpoint' cannot be gone on from\n"
        "  seen: another model, other data or other options\n"
        "  fix:  give the options of the run that wrote it, or start without --resume"
    )
    monkeypatch.setattr("bsc.train.checkpoint.FORMAT", "bsc-finetune-2")
    with pytest.raises(BscError, match=r"BSC311[^$]*format 'bsc-finetune-1', this bsc reads 'bsc-finetune-2'"):
        Trainer(graph, samples(), None, settings(epochs=1)).run(checkpoint=path, resume=True)
    path.write_bytes(b"no tensors")
    with pytest.raises(BscError, match="BSC311"):
        Trainer(graph, samples(), None, settings()).run(checkpoint=path, resume=True)
    path.unlink()
    with pytest.raises(BscError, match=r"BSC202.*cannot be opened"):
        Trainer(graph, samples(), None, settings()).run(checkpoint=path, resume=True)


WORKER = """
import sys, pathlib
import numpy as np
sys.path[:0] = sys.argv[1:3]
from test_trainer import RESUMED, samples, settings
from bsc.frontend.onnx_import import import_model
from bsc.train.trainer import Trainer
from bsc.train.workers import join, leave

if __name__ == "__main__":
    workers, device = join("cpu")
    trainer = Trainer(import_model(pathlib.Path(sys.argv[3])), samples(), None, settings(**RESUMED), workers)
    np.savez(f"{sys.argv[3]}.{workers.rank}.npz", **trainer.run())
    leave(workers)
"""


def test_two_processes_train_as_one(graph: Graph, tmp_path: Path) -> None:
    expected = Trainer(graph, samples(), None, settings(**RESUMED)).run()
    (tmp_path / "worker.py").write_text(WORKER)
    here = Path(__file__).parent
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(tmp_path / "worker.py")]
    arguments = [str(here), str(here.parents[2]), str(tmp_path / "model.onnx")]
    subprocess.run([sys.executable, *command, *arguments], check=True, capture_output=True, timeout=600)
    loaded: list[dict[str, NDArray[Any]]] = []
    for rank in range(2):
        with np.load(tmp_path / f"model.onnx.{rank}.npz") as archive:
            loaded.append({name: archive[name] for name in archive.files})
    for name, value in expected.items():
        np.testing.assert_array_equal(loaded[0][name], loaded[1][name])
        np.testing.assert_allclose(loaded[0][name], value, rtol=0, atol=2e-3)


def test_labels_that_are_no_output(graph: Graph) -> None:
    data = samples()
    assert data.labels is not None
    wrong = Samples(inputs=data.inputs, labels=data.labels + 1, source="train.npz")
    with pytest.raises(BscError) as caught:
        Trainer(graph, wrong, None, settings())
    assert str(caught.value) == (
        "[BSC308] the labels of 'train.npz' do not fit the model's first output\n"
        "  seen: labels 1..3, output of shape (1, 3) for 1 samples\n"
        "  fix:  give class numbers below the number of outputs, or leave the labels out"
    )
    with pytest.raises(BscError, match=r"seen: labels -1\.\.1"):
        Trainer(graph, Samples(inputs=data.inputs, labels=data.labels - 1, source="x"), None, settings())


def test_a_loss_that_is_no_number(graph: Graph) -> None:
    with pytest.raises(BscError) as caught:
        Trainer(graph, samples(), None, settings(lr=1e30, optimizer="sgd")).run()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("[BSC503] fine-tuning diverged in epoch ")
    assert lines[1].startswith("  seen: loss ")
    assert lines[2] == "  fix:  lower --lr or --alpha, or check the model's own outputs on the data"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"budget": (1, 3)},
            "[BSC201] --budget has the wrong number of slices\n"
            "  seen: 2 numbers for 4 slices\n"
            "  fix:  give 4, top slice first",
        ),
        (
            {"layer_budgets": {"fc9": (1, 1, 1, 1)}},
            "[BSC201] --budget names no layer of the model: 'fc9'\n  seen: layers fc0, fc1\n  fix:  use one of these",
        ),
        (
            {"layer_sparsity": {"fc9": 0.5}},
            "[BSC201] --sparsity names no layer of the model: 'fc9'\n  seen: layers fc0, fc1\n  fix:  use one of these",
        ),
        (
            {"project": True, "objective": "l1"},
            "[BSC201] --project needs the objective 'adc' and power-of-two steps\n"
            "  seen: objective 'l1', scale 'power-of-two'\n"
            "  fix:  add --objective adc, or leave --project out",
        ),
        (
            {"prune_epochs": 4},
            "[BSC201] --prune-epochs leaves no epoch to fine-tune\n  seen: 4 of 4 epochs\n  fix:  raise --epochs",
        ),
    ],
)
def test_settings_that_contradict_each_other(changes: dict[str, Any], message: str, graph: Graph) -> None:
    with pytest.raises(BscError) as caught:
        Trainer(graph, samples(), None, settings(**changes))
    assert str(caught.value) == message


@pytest.mark.parametrize("device", ["cuda:77", "nonsense", "meta"])
def test_a_device_that_is_not_there(device: str, graph: Graph) -> None:
    with pytest.raises(BscError, match=rf"BSC202\] device '{device}' cannot be used"):
        Trainer(graph, samples(), None, settings(device=device))


def test_a_model_of_fixed_batch(tmp_path: Path) -> None:
    fixed = imported(mlp_model(*SIZES, batch=8), tmp_path)
    trainer = Trainer(fixed, samples(), None, settings(epochs=1))
    trainer.run()
    assert trainer.history[0]["accuracy"] is not None


def test_augmentation_shifts_whole_images() -> None:
    """One bright pixel in the middle stays one bright pixel, at most so many places away."""
    images = torch.zeros(50, 2, 11, 11)
    images[:, :, 5, 5] = 1
    for kind, most in (("crop", 2), ("flip-crop", 4)):
        moved = augment(images, kind, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        assert moved.shape == images.shape
        assert (moved.sum(dim=(2, 3)) == 1).all()
        places = moved[:, 0].flatten(1).argmax(dim=1)
        offsets = torch.stack([places // 11, places % 11]) - 5
        assert offsets.abs().max() == most
        assert set(offsets.flatten().tolist()) == set(range(-most, most + 1))
    assert augment(images, "none", torch.Generator()) is images
