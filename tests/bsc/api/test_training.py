"""Fine-tuning in Python."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bsc
from bsc.cli import main
from bsc.testing import mlp_model, save

pytest.importorskip("torch")

X = np.random.default_rng(0).standard_normal((64, 12)).astype(np.float32)
Y = np.argmax(X[:, :3], axis=1)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save(mlp_model(12, 8, 3), tmp_path / "m.onnx")
    return Path("m.onnx")


def test_arrays_are_the_command_with_a_file(model: Path) -> None:
    np.savez("data.npz", x=X, labels=Y)
    words = ["finetune", "m.onnx", "--data", "data.npz", "--epochs", "2", "--budget", "1,2,2,3", "--threads", "1"]
    assert CliRunner().invoke(main, [*words, "-o", "command.onnx"]).exit_code == 0
    told: list[int] = []
    found = bsc.finetune(
        str(model),
        X,
        Y,
        output="function.onnx",
        epochs=2,
        budget=(1, 2, 2, 3),
        threads=1,
        on_epoch=lambda record: told.append(record["epoch"]),
    )
    assert Path("function.onnx").read_bytes() == Path("command.onnx").read_bytes()
    assert found.model == Path("function.onnx")
    assert told == [1, 2]
    assert found.history["epoch"].tolist() == [1, 2]
    assert found.history["density_slice_0"].tolist() == [record["density"][-1] for record in found.records]
    assert found.accuracy == found.records[-1]["accuracy"]
    assert repr(found).startswith("<bsc.Finetuned function.onnx, 2 epochs, accuracy float ")
    assert not Path("function.onnx.checkpoint").exists()
    bsc.compile(found.model)


def test_mistakes(model: Path) -> None:
    with pytest.raises(bsc.BscError) as caught:
        bsc.finetune(model, X, Y, epochs=0)
    assert (caught.value.code, caught.value.problem) == ("BSC201", "--epochs cannot be used")
    with pytest.raises(bsc.BscError) as caught:
        bsc.finetune(model, "data.npz", Y)
    assert caught.value.problem == "labels need arrays of inputs beside them"
    with pytest.raises(bsc.BscError) as caught:
        bsc.finetune(model, X, Y, output="m.onnx", force=True)
    assert (caught.value.code, caught.value.seen) == ("BSC203", "m.onnx")
