"""examples/paper: the networks as ONNX, and the whole experiment on made-up digits."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from bsc.output_files import write_file
from bsc.toml_record import read_record
from bsc.train.options import FinetuneOptions
from examples.paper.networks import NETWORKS, pretrain, to_onnx
from examples.paper.reproduce import main

PAPER = Path(__file__).parents[2] / "examples" / "paper"
CONFIGS = sorted((PAPER / "configs").rglob("*.toml"))

SMALL = """\
network = "mlp"

[pretrain]
epochs = 2
lr = 0.05
batch = 32
flips = false
seed = 0

[stage.sparse]
objective = "none"
sparsity = 0.9
epochs = 40
prune_epochs = 20

[stage.adc]
from = "sparse"
objective = "adc"
project = true
headroom = 2
budget = [2, 2, 2, 2]
epochs = 20
"""


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_written_down_as_they_compute(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_()
    x = torch.rand(2, *network.shape)
    model = to_onnx(network)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(x).numpy()
    np.testing.assert_allclose(session.run(None, {"image": x.numpy()})[0], expected, rtol=1e-4, atol=1e-5)


def test_pretraining_learns() -> None:
    labels = torch.arange(200) % 10
    images = torch.zeros(200, 1, 28, 28)
    images[torch.arange(200), 0, labels] = 1
    network = pretrain("mlp", images, labels, epochs=30, lr=0.1, batch=20, flips=False, seed=0)
    with torch.no_grad():
        assert (network(images).argmax(dim=1) == labels).float().mean() > 0.9


def test_pretraining_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, path = torch.arange(60) % 10, tmp_path / "checkpoint"
    images = torch.rand(60, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def run(checkpoint: Path | None) -> dict[str, torch.Tensor]:
        network = pretrain(
            "resnet20", images, labels, epochs=2, lr=0.01, batch=30, flips=True, seed=0, checkpoint=checkpoint
        )
        return dict(network.state_dict())

    def stop_after(file: Path, content: bytes) -> None:
        write_file(file, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("examples.paper.networks.write_file", stop_after)
        with pytest.raises(KeyboardInterrupt):
            run(path)
    resumed, whole = run(path), run(None)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def write_digits(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 200), ("t10k", 60)):
        labels = np.arange(count) % 10
        images = rng.integers(0, 40, (count, 28, 28))
        images[np.arange(count), labels * 2 + 4, 5:20] = 255
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            (folder / f"{prefix}-{kind}-ubyte").write_bytes(header + values.astype(np.uint8).tobytes())


def test_the_experiment_from_data_to_table(tmp_path: Path) -> None:
    write_digits(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    command = [
        str(tmp_path / "small.toml"),
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--replay",
        "60",
        "--threads",
        "1",
    ]
    result = CliRunner().invoke(main, [*command, "--epochs-factor", "0.2"], catch_exceptions=False)
    assert result.exit_code == 0
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "float.onnx",
        "adc.onnx",
        "adc.bsc",
        "adc.svg",
        "results.json",
        "table.md",
        "density.svg",
        "bits.svg",
    } <= made
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [row["stage"] for row in rows] == ["float", "sparse", "adc"]
    assert max(rows[2]["bits_max"]) <= 2
    assert rows[2]["adc_saberi"] > rows[0]["adc_saberi"]
    for row in rows:
        assert all(seen <= proved for seen, proved in zip(row["observed_bits_mean"], row["bits_mean"], strict=True))
        assert max(row["observed_bits_max"]) > 0
    assert rows[2]["quantised"] == pytest.approx(rows[2]["replayed"], abs=0.05)
    before = (tmp_path / "out" / "adc.onnx").stat().st_mtime_ns
    CliRunner().invoke(main, command, catch_exceptions=False)  # nothing is trained again
    assert (tmp_path / "out" / "adc.onnx").stat().st_mtime_ns == before


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configurations_can_be_read(path: Path) -> None:
    import tomllib

    settings = tomllib.loads(path.read_text())
    assert settings["network"] == path.stem.partition("-")[0]
    names = ["float", *settings["stage"]]
    for position, stage in enumerate(settings["stage"].values(), 1):
        assert stage.pop("from", "float") in names[:position]
        FinetuneOptions.model_validate(stage)
    if "model" not in settings["pretrain"]:
        assert set(settings["pretrain"]) - {"optimizer", "precision", "samples", "smoothing"} == {
            "epochs",
            "lr",
            "batch",
            "flips",
            "seed",
        }


def test_there_is_a_configuration_for_every_network() -> None:
    assert {path.stem.partition("-")[0] for path in CONFIGS} == set(NETWORKS)
    assert read_record(FinetuneOptions, "", where="empty", code="BSC201") == FinetuneOptions()
