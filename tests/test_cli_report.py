"""`bsc report` as a user meets it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
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


ROOT = Path(__file__).parent.parent
KEPT = "an input, which is never replaced"
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
    assert json.loads(both.stdout)["schema_version"] == 2


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
        "  fix:  give all but one of them a file\n",
    )


def test_network_that_reads_nothing_but_an_input_twice(tmp_path: Path) -> None:
    """Steps are named by number, each once."""
    save(residual(), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", image=np.zeros((1, 3, 8, 8), np.float32))
    assert run("compile", tmp_path / "m.onnx", "-o", tmp_path / "m.bsc").exit_code == 0
    lines = [line.split() for line in run("report", tmp_path / "m.bsc").stdout.splitlines()]
    assert ["1", "crossbars", "stem", "(Conv)", "input", "image"] in lines
    assert ["output", "scores", "step", "5"] in lines


def test_a_page_is_written_or_printed(plan: str) -> None:
    written = run("report", plan, "--html", "page.html")
    assert written.exit_code == 0
    assert written.stderr == "wrote page.html\n"
    printed = run("report", plan, "--html", "-")
    assert printed.stdout == Path("page.html").read_text(encoding="utf-8")
    assert printed.stdout.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "problem", "seen"),
    [
        (("--html", "a", "--html-size", "nan"), "--html-size is out of range", "nan"),
        (("--html", "a", "--html-size", "0.099"), "--html-size is out of range", "0.099"),
        (("--html", "a", "--html-size", "1001"), "--html-size is out of range", "1001"),
        (("--html-size", "2"), "--html-size means nothing without --html", "--html-size alone"),
        (("--html", "a", "--csv", "a"), "--html and --csv name the same file", "'a'"),
        (("--html", "mlp.bsc/plan.json"), "--html 'mlp.bsc/plan.json' is what the command reads", KEPT),
        (("--csv", "mlp.bsc/target.json"), "--csv 'mlp.bsc/target.json' is what the command reads", KEPT),
        (("--csv", "mlp.bsc"), "output 'mlp.bsc' cannot be written", "Is a directory"),
    ],
)
def test_what_a_page_cannot_be(plan: str, arguments: tuple[str, ...], problem: str, seen: str) -> None:
    result = run("report", plan, *arguments)
    assert result.exit_code == 2
    assert f"{problem}\n  seen: {seen}\n" in result.stderr
    assert run("verify", plan).exit_code == 0
    assert not Path("a").exists()


def test_a_page_may_lie_in_the_plan_folder(plan: str) -> None:
    assert run("report", plan, "--html", f"{plan}/report.html", "--html-size", "0.1").exit_code == 0
    assert run("verify", plan).exit_code == 0


def test_a_full_disk_behind_what_is_printed(plan: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "bsc", "report", plan, "--json"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert (result.returncode, result.stderr) == (
        2,
        "error [BSC204] what is printed, or a temporary file, cannot be written\n"
        "  seen: No space left on device\n"
        "  fix:  free some space, or set TMPDIR to a folder that has some\n",
    )


def test_a_page_is_of_the_hardware_that_it_is_priced_on(plan: str) -> None:
    """The floorplan too: IMAs of 4 crossbars and tiles of 2 IMAs."""
    text = Path(str(files("hw_models") / "isaac.toml")).read_text(encoding="utf-8")
    text = text.replace('name = "crossbar"\ncount = 8', 'name = "crossbar"\ncount = 4')
    Path("mine.toml").write_text(text.replace('"IMA"\ncount = 12', '"IMA"\ncount = 2'), encoding="utf-8")
    page = run("report", plan, "--hw", "mine.toml", "--html", "-").stdout
    assert "fill IMAs (4 crossbars), tiles (2 IMAs) and chips (168 tiles)" in page
    assert '{"count":4,"name":"crossbar"' in page
