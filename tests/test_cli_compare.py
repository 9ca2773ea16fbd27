"""`bsc compare` as a user meets it."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.testing import mlp_model, save


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A lossless plan and one whose ADCs have a single bit, in the working directory."""
    monkeypatch.chdir(tmp_path)
    save(mlp_model(12, 8, 3), tmp_path / "mlp.onnx")
    for name, policy in (("exact.bsc", "lossless"), ("coarse.bsc", "fixed=1")):
        assert run("compile", "mlp.onnx", "--adc", policy, "-o", name).exit_code == 0
    return "exact.bsc", "coarse.bsc"


def test_tables_and_json_agree(plans: tuple[str, str]) -> None:
    shown, parsed = run("compare", *plans), run("compare", *plans, "--json")
    assert (shown.exit_code, parsed.exit_code) == (0, 0)
    figures = json.loads(parsed.stdout)["plans"]
    assert [plan["name"] for plan in figures] == list(plans)
    (line,) = [line.split() for line in shown.stdout.splitlines() if line.startswith(" conversions")]
    assert line[1:3] == [str(plan["figures"]["conversions"]) for plan in figures]
    assert "accuracy" not in shown.stdout


def test_accuracies_are_those_of_the_replay(plans: tuple[str, str]) -> None:
    inputs = np.random.default_rng(0).standard_normal((20, 12)).astype(np.float32)
    np.savez("data.npz", x=inputs, label=np.arange(20) % 3)
    figures = json.loads(run("compare", *plans, "--data", "data.npz", "--limit", "10", "--json").stdout)["plans"]
    for plan, found in zip(plans, figures, strict=True):
        verified = json.loads(run("verify", plan, "--data", "data.npz", "--limit", "10", "--json").stdout)
        assert found["accuracy"] == verified["accuracy"]["replayed"]


def test_other_hardware_and_law(plans: tuple[str, str]) -> None:
    figures = json.loads(run("compare", *plans, "--hw", "isaac", "--adc-law", "linear", "--json").stdout)
    assert figures["adc_law"] == "linear"
    assert {plan["target"] for plan in figures["plans"]} == {"isaac"}


def test_the_same_plan_twice_has_two_names(plans: tuple[str, str]) -> None:
    exact, _ = plans
    figures = json.loads(run("compare", exact, exact, "--json").stdout)["plans"]
    assert [plan["name"] for plan in figures] == ["1: exact.bsc", "2: exact.bsc"]
    folder = Path.cwd()
    figures = json.loads(run("compare", exact, folder / exact, "--json").stdout)["plans"]
    assert [plan["name"] for plan in figures] == [exact, str(folder / exact)]


def test_one_plan_is_refused(plans: tuple[str, str]) -> None:
    result = run("compare", plans[0])
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC201] compare needs two plans or more\n"
        "  seen: 1\n"
        "  fix:  give plan folders, as in 'bsc compare one.bsc other.bsc'\n",
    )


def test_data_without_labels_are_refused(plans: tuple[str, str]) -> None:
    np.savez("data.npz", x=np.zeros((2, 12), np.float32))
    result = run("compare", *plans, "--data", "data.npz")
    assert (result.exit_code, result.stderr) == (
        3,
        "error [BSC308] data.npz has no labels to compare plans by\n"
        "  seen: arrays for x alone\n"
        "  fix:  add an array 'labels' with one class number a sample, or leave --data out\n",
    )


@pytest.fixture
def reports(plans: tuple[str, str]) -> tuple[str, str]:
    """The reports of these plans, in files of the same names."""
    Path("reports").mkdir()
    return tuple(shutil.copy(f"{plan}/report.json", f"reports/{plan}") for plan in plans)  # type: ignore[return-value]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_reports_are_compared_as_their_plans(
    plans: tuple[str, str], reports: tuple[str, str], form: tuple[str, ...]
) -> None:
    expected = run("compare", *plans, *form)
    assert expected.exit_code == 0
    for old in (plans[0], reports[0]):
        for new in (plans[1], reports[1]):
            found = run("compare", old, new, *form)
            assert (found.exit_code, found.stdout, found.stderr) == (0, expected.stdout, "")


def test_folders_are_priced_as_the_report_beside_them(plans: tuple[str, str]) -> None:
    Path("linear.json").write_text(run("report", plans[0], "--adc-law", "linear", "--json").stdout)
    for order in (("linear.json", plans[1]), (plans[1], "linear.json")):
        assert json.loads(run("compare", *order, "--json").stdout)["adc_law"] == "linear"
    same = run("compare", "linear.json", plans[1], "--adc-law", "linear", "--hw", "isaac")
    assert (same.exit_code, same.stdout) == (0, run("compare", "linear.json", plans[1]).stdout)


@pytest.mark.parametrize(("option", "value"), [("--data", "data.npz"), ("--adc-law", "linear"), ("--hw", "other.toml")])
def test_what_a_report_cannot_be_asked(
    reports: tuple[str, str], plans: tuple[str, str], option: str, value: str
) -> None:
    np.savez("data.npz", x=np.zeros((2, 12), np.float32), labels=np.zeros(2, np.int64))
    shipped = files("hw_models").joinpath("isaac.toml").read_text(encoding="utf-8")
    Path("other.toml").write_text(shipped.replace('name = "isaac"', 'name = "other"'), encoding="utf-8")
    for given in (reports, (plans[0], reports[1])):
        result = run("compare", *given, option, value)
        first = next(path for path in given if path in reports)
        assert (result.exit_code, result.stdout, result.stderr) == (
            2,
            "",
            f"error [BSC201] {option} needs plan folders\n"
            f"  seen: '{first}', a report, which has finished figures alone\n"
            f"  fix:  give the folder of that plan, or leave {option} out\n",
        )


def test_reports_under_different_laws_are_refused(reports: tuple[str, str], plans: tuple[str, str]) -> None:
    Path("linear.json").write_text(run("report", plans[0], "--adc-law", "linear", "--json").stdout)
    result = run("compare", reports[0], "linear.json")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC201] plans cannot be compared under different ADC laws\n"
        "  seen: 'reports/exact.bsc' under 'isaac', 'linear.json' under 'linear'\n"
        "  fix:  write the report again with 'bsc report PLAN --adc-law LAW --json', or give the plan's folder\n",
    )


def test_what_is_neither_plan_nor_report(plans: tuple[str, str]) -> None:
    Path("bad.json").write_text("{}")
    for path, code in (("none.json", "BSC202"), ("bad.json", "BSC313")):
        result = run("compare", plans[0], path)
        assert result.exit_code in (2, 3)
        assert f"error [{code}] '{path}'" in result.stderr
