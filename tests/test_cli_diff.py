"""`bsc diff` as a user meets it: what is printed, and the exit status that CI rests on."""

import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.testing import mlp_model, save
from tests.bsc.plans import document_of, write_document


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A lossless plan, and one of 4 bits, in the working directory."""
    monkeypatch.chdir(tmp_path)
    save(mlp_model(12, 8, 3), tmp_path / "mlp.onnx")
    for name, policy in (("exact.bsc", "lossless"), ("coarse.bsc", "fixed=4")):
        assert run("compile", "mlp.onnx", "--adc", policy, "-o", name).exit_code == 0
    return "exact.bsc", "coarse.bsc"


def forms(plan: str) -> tuple[str, str]:
    """The folder and its report."""
    return plan, f"{plan}/report.json"


def test_equal_plans(plans: tuple[str, str]) -> None:
    exact, _ = plans
    shutil.copytree(exact, "copy.bsc")
    for old in forms(exact):
        for new in forms("copy.bsc"):
            result = run("diff", old, new)
            assert (result.exit_code, result.stdout, result.stderr) == (0, f"{old} and {new} do not differ\n", "")


def test_folders_and_reports_have_the_same_figures(plans: tuple[str, str]) -> None:
    old, new = plans
    found = [json.loads(run("diff", one, two, "--json").stdout) for one in forms(old) for two in forms(new)]
    assert len({json.dumps(each["figures"]) for each in found}) == 1
    assert all(each["differs"] for each in found)
    assert [layer["arrays"] is None for layer in found[0]["layers"]] == [False, False]
    assert [layer["arrays"] is None for layer in found[1]["layers"]] == [True, True]


def test_golden_of_other_resolutions(plans: tuple[str, str], golden: Callable[[str, str], None]) -> None:
    result = run("diff", *plans)
    assert (result.exit_code, result.stderr) == (1, "")
    golden("diff/resolutions.txt", result.stdout)
    assert run("diff", *plans).stdout == result.stdout
    result = run("diff", *(f"{plan}/report.json" for plan in plans), "--tolerance", "50%")
    assert result.exit_code == 1
    golden("diff/resolutions-of-reports.txt", result.stdout)


def test_golden_of_another_model(plans: tuple[str, str], golden: Callable[[str, str], None]) -> None:
    other = mlp_model(12, 8, 5, 3)
    other.graph.node[1].op_type = "Sigmoid"
    save(other, Path("other.onnx"))
    assert run("compile", "other.onnx", "--xbar", "64x64").exit_code == 0
    result = run("diff", plans[0], "other.bsc", "--tolerance", "3%")
    assert result.exit_code == 1
    golden("diff/another-model.txt", result.stdout)


def test_goldens_fit_a_terminal() -> None:
    folder = Path(__file__).parent / "golden" / "diff"
    lines = [line for path in folder.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    assert max(map(len, lines)) <= 110


def with_energy(plan: str, factor: float) -> str:
    """A report whose energy of the whole plan is another one."""
    report = json.loads(Path(plan, "report.json").read_text())
    report["cost"]["plan"]["energy_j"] *= factor
    Path("changed.json").write_text(json.dumps(report))
    return "changed.json"


@pytest.mark.parametrize(
    ("factor", "tolerance", "status"),
    [
        (1.02, "2%", 0),
        (1.02, "0.02", 0),
        (1.0201, "2%", 1),
        (0.98, "2%", 0),
        (0.9799, "2%", 1),
        (1.02, "0", 1),
        (1 + 1e-6, "0", 1),
        (1 + 1e-10, "0", 0),
    ],
)
def test_both_sides_of_the_tolerance(plans: tuple[str, str], factor: float, tolerance: str, status: int) -> None:
    result = run("diff", plans[0], with_energy(plans[0], factor), "--tolerance", tolerance)
    assert result.exit_code == status


def test_verdicts(plans: tuple[str, str]) -> None:
    changed = with_energy(plans[0], 1.02)

    def last(tolerance: str) -> str:
        return run("diff", plans[0], changed, "--tolerance", tolerance).stdout.splitlines()[-1]

    assert last("0") == "different: 1 figure"
    assert last("1%") == "beyond the tolerance of 1%: 1 of 1 figure"
    assert last("2%") == "within the tolerance of 2%"


def test_digits_that_tell_figures_apart(plans: tuple[str, str]) -> None:
    lines = run("diff", plans[0], with_energy(plans[0], 1 + 1e-6)).stdout.splitlines()
    (line,) = [line.split() for line in lines if line.startswith(" all")]
    assert line[:2] == ["all", "energy"]
    assert line[3] == line[5] == "nJ"
    assert line[2] != line[4]
    assert line[6] == "+0.000100%"


def test_settings_count_without_a_tolerance_alone(plans: tuple[str, str]) -> None:
    """Another model hash and nothing else."""
    document = document_of(Path(plans[0]))
    shutil.copytree(plans[0], "hash.bsc")
    document["model"]["sha256"] = "0" * 64
    write_document(Path("hash.bsc"), document)
    assert run("diff", plans[0], "hash.bsc").exit_code == 1
    result = run("diff", plans[0], "hash.bsc", "--tolerance", "0.1%")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "within the tolerance of 0.1%")


def test_a_folder_is_priced_by_the_law_of_the_report_beside_it(plans: tuple[str, str]) -> None:
    exact, _ = plans
    Path("golden.json").write_text(run("report", exact, "--adc-law", "linear", "--json").stdout)
    assert run("diff", "golden.json", exact).exit_code == 0
    assert run("diff", exact, "golden.json").exit_code == 0
    assert run("diff", "golden.json", exact, "--adc-law", "linear").exit_code == 0
    for order in (("golden.json", exact), (exact, "golden.json")):
        other = run("diff", *order, "--adc-law", "isaac")
        assert (other.exit_code, other.stdout) == (2, "")
        assert other.stderr == (
            "error [BSC201] --adc-law needs plan folders\n"
            "  seen: 'golden.json', a report, which has finished figures alone\n"
            "  fix:  give the folder of that plan, or leave --adc-law out\n"
        )


def test_a_report_on_other_hardware_is_not_priced_again(plans: tuple[str, str]) -> None:
    exact, coarse = plans
    Path("hw.toml").write_text(
        files("hw_models").joinpath("isaac.toml").read_text().replace("per_crossbar = 1", "per_crossbar = 2")
    )
    assert run("diff", exact, f"{coarse}/report.json", "--hw", "isaac").exit_code == 1
    result = run("diff", exact, f"{coarse}/report.json", "--hw", "hw.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error [BSC201] --hw needs plan folders\n")


def test_few_further_values_are_shown(plans: tuple[str, str]) -> None:
    """One that no table is about: here what a baseline would need."""
    document = json.loads(Path(plans[0], "report.json").read_text())
    document["cost"]["uniform_8_bit"]["energy_j"] *= 2
    Path("altered.json").write_text(json.dumps(document))
    result = run("diff", f"{plans[0]}/report.json", "altered.json")
    assert result.exit_code == 1
    assert "Further values that differ\n" in result.stdout
    assert "cost.uniform_8_bit.energy_j" in result.stdout
    assert result.stdout.endswith("\ndifferent\n")


@pytest.mark.parametrize("tolerance", ["", "%", "two", "-1%", "-0.1", "1", "2", "nan", "inf%", "1e999%", "2 percent"])
def test_tolerance_that_cannot_be_read(tolerance: str, plans: tuple[str, str]) -> None:
    result = run("diff", *plans, "--tolerance", tolerance)
    assert (result.exit_code, result.stdout, result.stderr) == (
        2,
        "",
        f"error [BSC201] --tolerance cannot be read\n  seen: {tolerance!r}\n  fix:  write 0 or more, as 2% or 0.02\n",
    )


def test_what_is_neither_plan_nor_report(plans: tuple[str, str]) -> None:
    missing = run("diff", plans[0], "none.json")
    assert (missing.exit_code, missing.stderr) == (
        2,
        "error [BSC202] 'none.json' cannot be opened\n"
        "  seen: No such file or directory\n"
        "  fix:  give a plan folder that 'bsc compile' wrote, or its report.json\n",
    )
    Path("bad.json").write_text("{")
    bad = run("diff", plans[0], "bad.json")
    assert (bad.exit_code, bad.stderr) == (
        3,
        "error [BSC313] 'bad.json' is not a report of this version of bsc\n"
        "  seen: Invalid JSON: EOF while parsing an object at line 1 column 1\n"
        "  fix:  write it again with 'bsc report PLAN --json'\n",
    )
    Path("empty").mkdir()
    empty = run("diff", "empty", plans[0])
    assert (empty.exit_code, "[BSC307]" in empty.stderr) == (3, True)


def test_json(plans: tuple[str, str]) -> None:
    result = run("diff", *plans, "--tolerance", "5%", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["differs"], found["tolerance"]) == (1, True, 0.05)
    assert (found["old"], found["new"]) == plans
    assert [layer["name"] for layer in found["layers"]] == ["fc0", "fc1"]
    assert found["layers"][0]["settings"][0] == {"name": "adc_policy", "old": "lossless", "new": "fixed"}
    figure = found["figures"][0]
    assert (figure["layer"], figure["figure"], figure["unit"]) == (None, "energy_j", "J")
    assert figure["relative"] == pytest.approx((figure["new"] - figure["old"]) / figure["old"])
    assert {figure["beyond_tolerance"] for figure in found["figures"]} <= {True, False}
    same = json.loads(run("diff", plans[0], plans[0], "--json").stdout)
    assert (same["differs"], same["figures"], same["layers"]) == (False, [], [])


def test_help_says_what_counts() -> None:
    text = " ".join(run("diff", "--help").stdout.split())
    assert "Exit status is 0 if they do not differ by more than the tolerance, 1 if they do" in text
    assert "energies, latency, areas, crossbars and what they fill, conversions, mean ADC bits and the share" in text
    assert "1 internal error, or a difference that 'bsc diff' found" in " ".join(run("--help").stdout.split())
