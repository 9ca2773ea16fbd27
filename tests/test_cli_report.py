"""`bsc report` as a user meets it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.testing import mlp_model, save
from tests.test_golden import depthwise, residual


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A plan in the working directory."""
    monkeypatch.chdir(tmp_path)
    save(mlp_model(12, 8, 3), tmp_path / "mlp.onnx")
    assert run("compile", "mlp.onnx").exit_code == 0
    return "mlp.bsc"


PAIRS = ("--subtract", "analog", "--encoding", "centre", "--cut", "4-2-2")


@pytest.mark.parametrize(
    ("name", "build", "options"),
    [
        ("residual", residual, ()),
        ("depthwise", depthwise, ("--xbar", "64x64")),
        ("mlp-pairs", lambda: mlp_model(200, 150, 10), PAIRS),
    ],
)
def test_golden(
    name: str,
    build: Callable[[], onnx.ModelProto],
    options: tuple[str, ...],
    tmp_path: Path,
    golden: Callable[[str, str], None],
) -> None:
    model = save(build(), tmp_path / f"{name}.onnx")
    assert run("compile", model, *options, "-o", tmp_path / "plan.bsc").exit_code == 0
    result = run("report", tmp_path / "plan.bsc")
    assert (result.exit_code, result.stderr) == (0, "")
    golden(f"{name}/whole-report.txt", result.stdout)
    short = (tmp_path / "plan.bsc" / "report.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in short if line not in result.stdout.splitlines()] == []


def test_json_is_the_report_of_the_folder(plan: str) -> None:
    result = run("report", plan, "--json")
    assert (result.exit_code, result.stdout) == (0, Path(plan, "report.json").read_text(encoding="utf-8"))


def test_other_hardware_and_law(plan: str) -> None:
    cost = json.loads(run("report", plan, "--hw", "isaac", "--adc-law", "linear", "--json").stdout)["cost"]
    assert (cost["target"], cost["adc_law"]) == ("isaac", "linear")
    assert "Cost, ADC law 'linear'" in run("report", plan, "--adc-law", "linear").stdout


def test_csv(plan: str) -> None:
    printed = run("report", plan, "--csv", "-")
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert [line.split(",")[0] for line in printed.stdout.splitlines()] == ["layer", "fc0", "fc1"]
    Path("layers.csv").write_text("old")
    written = run("report", plan, "--csv", "layers.csv")
    assert (written.exit_code, written.stderr) == (0, "wrote layers.csv\n")
    assert Path("layers.csv").read_bytes() == printed.stdout.encode()
    assert written.stdout == run("report", plan).stdout
    both = run("report", plan, "--csv", "layers.csv", "--json")
    assert json.loads(both.stdout)["schema_version"] == 1


def test_csv_that_cannot_be_written(plan: str) -> None:
    result = run("report", plan, "--csv", "none/layers.csv")
    assert (result.exit_code, result.stdout, result.stderr) == (
        2,
        "",
        "error [BSC204] output 'none/layers.csv' cannot be written\n"
        "  seen: No such file or directory\n"
        "  fix:  choose a folder you may write to\n",
    )


def test_csv_and_json_both_printed(plan: str) -> None:
    result = run("report", plan, "--csv", "-", "--json")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC201] --json and --csv - cannot both be printed\n"
        "  seen: --json --csv -\n"
        "  fix:  give --csv a file, or leave one of them out\n",
    )


def test_network_that_reads_nothing_but_an_input_twice(tmp_path: Path) -> None:
    """Steps are named by number, each once."""
    save(residual(), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", image=np.zeros((1, 3, 8, 8), np.float32))
    assert run("compile", tmp_path / "m.onnx", "-o", tmp_path / "m.bsc").exit_code == 0
    lines = [line.split() for line in run("report", tmp_path / "m.bsc").stdout.splitlines()]
    assert ["1", "crossbars", "stem", "(Conv)", "input", "image"] in lines
    assert ["output", "scores", "step", "5"] in lines
