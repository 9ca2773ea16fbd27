"""`bsc run`, `bsc passes`, the options of quantisation, and what shells complete."""

import json
from dataclasses import fields
from pathlib import Path

import click
import numpy as np
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result

import bsc
import hw_models
from bsc.cli import main
from bsc.compiler.policies import parse_policy
from bsc.ir.pipeline import parse_pipeline
from bsc.reference.passes import pass_record
from bsc.replay.dataset import npz_bytes
from bsc.testing import mlp_model, save
from passes import PASSES

X = np.random.default_rng(0).standard_normal((10, 12)).astype(np.float32)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    bsc.compile(save(mlp_model(12, 8, 3), tmp_path / "m.onnx"), adc="fixed=4").save("m.bsc")
    np.savez("x.npz", x=X, labels=np.zeros(10, np.int64))
    return Path("m.bsc")


def test_run_writes_outputs(plan: Path) -> None:
    result = run("run", plan, "--data", "x.npz", "-o", "y.npz")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "y                float32 10×3\n", "wrote y.npz\n")
    found = np.load("y.npz")
    assert found.files == ["y"]
    np.testing.assert_array_equal(found["y"], bsc.open(plan).run(X)["y"])
    before = Path("y.npz").read_bytes()
    assert run("run", plan, "--data", "x.npz", "-o", "y.npz", "--force", "--batch", 3).exit_code == 0
    assert Path("y.npz").read_bytes() == before
    assert run("run", plan, "--data", "x.npz", "--limit", 4).exit_code == 0
    assert np.load("m.outputs.npz")["y"].shape == (4, 3)


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["-o", "x.npz", "--force"], "BSC203", "--output 'x.npz' is what the command reads"),
        (["-o", "m.onnx", "--force"], "BSC203", "output 'm.onnx' exists already"),
        (["-o", "old.npz"], "BSC203", "output 'old.npz' exists already"),
        (["-o", "none/y.npz"], "BSC204", "output 'none/y.npz' cannot be written"),
        (["--input", "z=1"], "BSC201", "--input names no input of the model: 'z'"),
    ],
)
def test_run_refuses(words: list[str], code: str, problem: str, plan: Path) -> None:
    np.savez("old.npz", x=X)
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    result = run("run", plan, "--data", "x.npz", *words)
    assert result.stderr.startswith(f"error [{code}] {problem}\n")
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_files_of_outputs_are_numpys(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.float32(2) * np.ones(3)}
    np.savez(tmp_path / "numpy.npz", a=arrays["a"], b=arrays["b"])
    assert npz_bytes(arrays) == (tmp_path / "numpy.npz").read_bytes()
    (tmp_path / "odd.npz").write_bytes(npz_bytes({"file": np.ones(1), "words/x": np.array(["é", "ab"], object)}))
    assert np.load(tmp_path / "odd.npz")["words/x"].tolist() == ["é", "ab"]


@pytest.mark.parametrize("name", PASSES)
def test_passes_are_told_by_their_classes(name: str) -> None:
    """Every option has a meaning, and its default can be written into a pipeline."""
    record = pass_record(PASSES[name])
    assert record.meaning.endswith(".")
    assert [option.name for option in record.options] == [each.name.replace("_", "-") for each in fields(PASSES[name])]
    defaults = " ".join(f"{option.name}={option.default}" for option in record.options if option.default)
    assert parse_pipeline(f"{name}{{{defaults}}}", PASSES) == (PASSES[name](),)
    for option in record.options:
        assert option.meaning
        if " | " in option.values:
            assert option.default in option.values.split(" | ")


def test_passes_command() -> None:
    whole = run("passes")
    assert [line.split()[0] for line in whole.stdout.splitlines() if "   stage '" in line] == list(PASSES)
    one = run("passes", "quantize")
    assert "activation-bits   whole number             8" in one.stdout
    assert json.loads(run("passes", "--json").stdout)[0] == {
        "name": "fold-batchnorm",
        "stage": "prepare",
        "meaning": PASSES["fold-batchnorm"].__doc__.splitlines()[0],  # type: ignore[union-attr]
        "options": [],
    }
    wrong = run("passes", "quantise")
    assert wrong.exit_code == 2
    assert wrong.stderr.endswith("fix:  did you mean 'quantize'?\n")


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (["--weight-bits", "16"], "16 is not in the range 1<=x<=15"),
        (["--weight-bits", "0"], "0 is not in the range 1<=x<=15"),
        (["--activation-bits", "1"], "1 is not in the range 2<=x<=16"),
        (["--activation-bits", "17"], "17 is not in the range 2<=x<=16"),
        (["--cell-bits", "9"], "9 is not in the range 1<=x<=8"),
        (["--dac-bits", "9"], "9 is not in the range 1<=x<=8"),
        (["--scale", "percentile"], "'percentile' is not one of"),
    ],
)
def test_options_of_quantisation_have_limits(words: list[str], seen: str) -> None:
    result = run("compile", "m.onnx", *words)
    assert result.exit_code == 2
    assert seen in result.stderr


@pytest.mark.usefixtures("plan")
@pytest.mark.parametrize("words", ["--weight-bits 15", "--activation-bits 16", "--activation-bits 2 --cell-bits 8"])
def test_limits_are_kept(words: str) -> None:
    result = run("compile", "m.onnx", *words.split(), "-o", "limits.bsc")
    assert result.exit_code == 0, result.stderr
    assert run("verify", "limits.bsc").exit_code == 0


def completed(*words: str) -> list[str]:
    """What bash is offered for the last word."""
    complete = BashComplete(main, {}, "bsc", "_BSC_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1]) if item.type == "plain"]


def test_shells_complete_what_bsc_knows() -> None:
    assert completed("compile", "m.onnx", "--hw", "") == hw_models.names()
    assert completed("hw", "show", "isa") == ["isaac", "isaac-se"]
    assert completed("cost", "m.bsc", "--adc-law", "") == list(hw_models.laws())
    assert completed("simulate", "m.bsc", "--noise", "") == hw_models.device_names()
    assert completed("passes", "til") == ["tile"]
    assert completed("compile", "m.onnx", "--stop-after", "slice") == ["slice-bits"]
    assert {"lossless", "fixed=", "calibrated=", "raella"} <= set(completed("compile", "m.onnx", "--adc", ""))
    for word in completed("compile", "m.onnx", "--adc", ""):
        parse_policy(f"{word}4" if word.endswith("=") else word)
    assert completed("compile", "m.onnx", "--weight") == ["--weight-bits"]
    assert set(completed("")) == set(main.commands)


def test_every_option_that_names_something_of_bsc_completes() -> None:
    """Of all commands; one that takes a file of the user's too says so to the shell."""
    for command in main.commands.values():
        for parameter in command.params:
            if parameter.metavar == "NAME|FILE.toml" or {"--adc", "--stop-after"} & set(parameter.opts):
                items = parameter.shell_complete(click.Context(command), "")
                assert [item.value for item in items if item.type == "plain"], (command.name, parameter.opts)
