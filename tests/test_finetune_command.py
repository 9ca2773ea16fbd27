"""`bsc finetune` as a user meets it, and a plan of what it wrote."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.plan.folder import read_plan
from bsc.report.build import layer_totals
from bsc.testing import mlp_model, random_weights, save, tiny_model

SIZES = (20, 16, 3)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 200)
    x = rng.random((200, SIZES[0])) / 2
    x[np.arange(200), labels * 5] += 1
    np.savez("train.npz", x=x.astype(np.float32), y=labels)
    np.savez("unlabelled.npz", x=x.astype(np.float32))
    return save(mlp_model(*SIZES), tmp_path / "mlp.onnx")


QUICK = ("--threads", 1, "--epochs", 8, "--batch", 32, "--lr", 0.02, "--sparsity", 0.5, "--prune-epochs", 1)


def test_from_model_to_a_plan_within_the_budget(model: Path) -> None:
    before = model.read_bytes()
    tune = ("finetune", model, "--data", "train.npz", *QUICK, "--project", "--headroom", 2, "--budget", "1,1,1,1")
    result = run(*tune, "--budget", "fc1=2,2,2,2", "--curve", "curve.svg")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (0, "wrote mlp.finetuned.onnx")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("200 samples of train.npz, accuracy ")
    assert len([line for line in lines if line.split()[:1] in [[str(epoch)] for epoch in range(1, 9)]]) == 8
    assert model.read_bytes() == before
    assert Path("curve.svg").read_text().startswith("<svg ")
    assert sorted(path.name for path in model.parent.iterdir()) == [
        "curve.svg",
        "mlp.finetuned.onnx",
        "mlp.onnx",
        "train.npz",
        "unlabelled.npz",
    ]
    assert run("compile", "mlp.finetuned.onnx", "--calib", "train.npz").exit_code == 0
    mapping = read_plan(Path("mlp.finetuned.bsc")).mapping
    for layer, bits in zip(mapping.layers, (1, 2), strict=True):
        assert layer_totals(layer, mapping.arrays(layer)).largest_adc_bits <= bits
    verified = run("verify", "mlp.finetuned.bsc", "--data", "train.npz", "--json")
    assert verified.exit_code == 0
    assert json.loads(verified.stdout)["accuracy"]["replayed"] > 0.9


def test_json_and_distillation(model: Path) -> None:
    result = run(
        "finetune", model, "--data", "unlabelled.npz", "--objective", "bl1", *QUICK, "--json", "-o", "new.onnx"
    )
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["float_accuracy"] == 1  # the float model agrees with itself
    assert [record["epoch"] for record in found["epochs"]] == list(range(1, 9))
    assert set(found["epochs"][0]) == {"epoch", "loss", "objective", "accuracy", "density", "bits_max", "bits_mean"}
    assert onnx.load("new.onnx").graph.node == onnx.load(model).graph.node


def test_settings_from_a_file_that_flags_overrule(model: Path) -> None:
    text = 'objective = "adc"\nepochs = 9\nbatch = 32\nbudget = [1, 3, 3, 3]\nlayer_sparsity = { fc1 = 0.5 }\n'
    Path("run.toml").write_text(text)
    result = run(
        "finetune", model, "--data", "train.npz", "--config", "run.toml", "--epochs", 2, "--threads", 1, "--json"
    )
    assert len(json.loads(result.stdout)["epochs"]) == 2
    weights = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load("mlp.finetuned.onnx").graph.initializer
    }
    assert (weights["w1"] == 0).mean() == 0.5
    assert (weights["w0"] == 0).mean() < 0.1


def test_the_same_run_writes_the_same_bytes(model: Path) -> None:
    written = []
    for name in ("a.onnx", "b.onnx"):
        assert run("finetune", model, "--data", "train.npz", "--epochs", 2, "--threads", 1, "-o", name).exit_code == 0
        written.append(Path(name).read_bytes())
    assert written[0] == written[1]


def strange_model() -> onnx.ModelProto:
    text = f"(float[N,{SIZES[0]}] x) => (float[] y) {{ h = MatMul (x, w) [odd] y = Hardmax (h) }}"
    return tiny_model(text, {"w": random_weights(SIZES[0], 3)})


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (
            ["--data", "none.npz"],
            2,
            "error [BSC202] data file 'none.npz' cannot be opened\n"
            "  seen: No such file or directory\n"
            "  fix:  give the path of a .npz file\n",
        ),
        (
            ["--data", "narrow.npz"],
            3,
            "error [BSC308] data file 'narrow.npz': input 'x' does not fit\n"
            "  seen: shape (4, 3)\n"
            "  fix:  give shape (samples, 20)\n",
        ),
        (
            ["--data", "train.npz", "-o", "mlp.onnx"],
            2,
            "error [BSC203] the output is the model itself\n"
            "  seen: mlp.onnx\n"
            "  fix:  choose another place with --output\n",
        ),
        (
            ["--data", "train.npz", "-o", "taken.onnx"],
            2,
            "error [BSC203] 'taken.onnx' exists already\n"
            "  seen: a file of that name\n"
            "  fix:  add --force, or choose --output\n",
        ),
        (
            ["--data", "train.npz", "--budget", "1,x"],
            2,
            "error [BSC201] --budget cannot be read\n"
            "  seen: '1,x'\n"
            "  fix:  write one number a slice, top slice first, as 1,3,3,3\n",
        ),
        (
            ["--data", "train.npz", "--lr", "0"],
            2,
            "error [BSC201] --lr cannot be used\n  seen: 0.0\n  fix:  Input should be greater than 0\n",
        ),
        (
            ["--data", "train.npz", "--config", "none.toml"],
            2,
            "error [BSC202] settings 'none.toml' cannot be opened\n"
            "  seen: [Errno 2] No such file or directory: 'none.toml'\n"
            "  fix:  give the path of a TOML file\n",
        ),
        (
            ["--data", "train.npz", "--config", "bad.toml"],
            2,
            "error [BSC201] bad.toml: key 'epoch' is not known\n  seen: 3\n  fix:  remove it or correct its spelling\n",
        ),
        (
            ["--data", "train.npz", "--resume"],
            2,
            "error [BSC202] checkpoint 'mlp.finetuned.onnx.checkpoint' cannot be opened\n"
            "  seen: No such file or directory\n"
            "  fix:  start without --resume\n",
        ),
    ],
)
def test_mistakes(flags: list[Any], code: int, message: str, model: Path) -> None:
    np.savez("narrow.npz", x=np.zeros((4, 3), np.float32))
    Path("taken.onnx").write_bytes(b"")
    Path("bad.toml").write_text("epoch = 3\n")
    before = model.read_bytes()
    result = run("finetune", model, *flags)
    assert (result.exit_code, result.stderr) == (code, message)
    assert model.read_bytes() == before


def test_an_operator_without_a_gradient(model: Path) -> None:
    save(strange_model(), model)
    result = run("finetune", model, "--data", "train.npz")
    assert result.exit_code == 3
    assert result.stderr.startswith(
        "error [BSC310] node 'odd' (Hardmax): cannot be fine-tuned\n  seen: no gradient for "
    )


def test_without_pytorch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    result = run("finetune", model, "--data", "train.npz")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC208] fine-tuning needs PyTorch\n"
        "  seen: no package 'torch'\n"
        "  fix:  install it, in a checkout with: pip install -c constraints.txt -e '.[train]'\n",
    )


def test_the_shipped_example_saves_adc_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch of README's twelve is enough to see it."""
    monkeypatch.chdir(tmp_path)
    shipped = Path(__file__).parent.parent / "examples" / "mnist"
    test = shipped / "test_images.npz"
    tune = ("finetune", shipped / "model.onnx", "--data", shipped / "train_images.npz", "--test", test)
    assert run(*tune, "--config", shipped / "finetune.toml", "--epochs", 1, "-o", "sparse.onnx").exit_code == 0
    savings = []
    for model in (shipped / "model.onnx", "sparse.onnx"):
        priced = run("compile", model, "-o", f"{Path(model).stem}.bsc", "--calib", test, "--json")
        assert priced.exit_code == 0
        savings.append(json.loads(priced.stdout)["cost"]["adc_laws"]["isaac"]["adc_ratio"])
    assert savings[1] > 1.5 * savings[0]
    verified = run("verify", "sparse.bsc", "--data", test, "--limit", 500, "--json")
    assert json.loads(verified.stdout)["accuracy"]["replayed"] > 0.95


def test_what_could_not_be_written_is_made_again(model: Path) -> None:
    tune = ("finetune", model, "--data", "train.npz", "--threads", 1, "--epochs", 1, "--batch", 100)
    full = run(*tune, "--curve", "/dev/full")
    assert full.exit_code == 2
    assert "[BSC204] output '/dev/full' cannot be written\n  seen: No space left on device" in full.stderr
    tuned = Path("mlp.finetuned.onnx").read_bytes()
    again = run(*tune, "--curve", "curve.svg", "--resume", "--force")
    assert (again.exit_code, Path("mlp.finetuned.onnx").read_bytes()) == (0, tuned)
    assert Path("curve.svg").read_text().startswith("<svg ")
    assert not Path("mlp.finetuned.onnx.checkpoint").exists()
