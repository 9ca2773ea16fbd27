"""Hardware of other names and depths than ISAAC's is one TOML file: everything takes its levels from there."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import hw_models
from bsc.cli import main
from bsc.hardware.check import check
from bsc.testing import mlp_model, save

ROOT = Path(__file__).parent.parent.parent
PUMA = Path("puma")
SMALLEST = ROOT / "examples" / "hardware" / "smallest.toml"


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(mlp_model(150, 30, 10), tmp_path_factory.mktemp("hierarchies") / "mlp.onnx")


@pytest.fixture(scope="module", params=[PUMA, SMALLEST], ids=["puma", "smallest"])
def hardware(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="module")
def plan(model: Path, hardware: Path) -> Path:
    folder = model.parent / f"{hardware.stem}.bsc"
    run("compile", model, "--hw", hardware, "--html", "--granularity", "tile", "-o", folder)
    return folder


LEVELS = {"puma": ["crossbars", "MVMUs", "cores", "tiles"], "smallest": ["arrays"]}
LABELS = {
    "puma": [
        "SAR conversions",
        "row drivers",
        "array reads",
        "sample and hold",
        "MVMU registers",
        "data memory",
        "memory bus",
    ],
    "smallest": ["conversion", "row drive"],
}


def test_text_names_levels_actions_and_areas_of_the_target(plan: Path) -> None:
    lines = (plan / "report.txt").read_text(encoding="utf-8").splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("Cost, ADC law"))
    end = next(number for number, line in enumerate(lines) if line.startswith(" energy ") and number > head)
    costs, labels = lines[head:], [line.strip().split("  ")[0] for line in lines[head + 4 : end - 1]]
    assert labels == LABELS[plan.stem]
    start = next(n for n, line in enumerate(costs) if line.strip().startswith(LEVELS[plan.stem][0]))
    units = " ".join(costs[start : start + 3])  # names of many levels take more than a line
    assert all(level in units for level in LEVELS[plan.stem])
    document = json.loads((plan / "report.json").read_text(encoding="utf-8"))
    shown = [document["cost"]["plan"]["units"][level["name"]] for level in document["cost"]["levels"][:-1]]
    assert " / ".join(map(str, shown)) in units
    assert not any("IMA" in line for line in costs)


def test_reports_of_a_folder_are_those_of_its_compilation(plan: Path) -> None:
    """target.json keeps the order of the description, which is that of rows."""
    shown = run("report", plan, "--csv", plan.parent / "layers.csv", "--json").stdout
    assert shown == (plan / "report.json").read_text(encoding="utf-8")
    costs = run("cost", plan).stdout
    assert [costs.index(label) for label in LABELS[plan.stem]] == sorted(map(costs.index, LABELS[plan.stem]))
    header = (plan.parent / "layers.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {"puma": "memory_bus_energy_j", "smallest": "row_drive_energy_j"}[plan.stem] in header
    assert "dac_row_energy_j" not in header


def test_the_page_groups_crossbars_as_the_target_does(plan: Path) -> None:
    page = (plan / "report.html").read_text(encoding="utf-8")
    grouping = {
        "puma": "fill MVMUs (8 crossbars), cores (2 MVMUs), tiles (8 cores) and nodes (138 tiles).",
        "smallest": "fill chips (64 arrays).",
    }
    assert grouping[plan.stem] in page
    data = json.loads(re.findall(r'id="floorplan-data">(.*?)</script>', page)[0])
    counts = {"puma": [8, 2, 8, 138, None], "smallest": [64, None]}[plan.stem]
    assert [level["count"] for level in data["levels"]] == counts
    assert "IMA" not in re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)


def test_what_is_left_out_is_named(plan: Path) -> None:
    document = json.loads((plan / "report.json").read_text(encoding="utf-8"))
    left_out = document["cost"]["not_modelled"]
    if plan.stem == "puma":
        assert "the core's control pipeline, instruction memory, register file and scalar unit" in left_out
        assert "the node's off chip network" in left_out
    assert "input bits that row drivers take in" in left_out


def test_hw_commands(hardware: Path) -> None:
    assert all(line.startswith("ok ") for line in run("hw", "check", hardware).stdout.splitlines())
    shown = run("hw", "show", hardware).stdout
    words = {
        "puma": "one node of 138 tiles, each of 8 cores, each of 2 MVMUs, each of 8 crossbars",
        "smallest": "one chip of 64 arrays",
    }
    assert words[hardware.stem] in shown


def test_a_sweep_prices_one_mapping_on_both(model: Path, hardware: Path) -> None:
    space = model.parent / f"{hardware.stem}-space.toml"
    space.write_text(
        'objectives = ["energy", "area"]\n[axes]\n'
        f'hw = ["isaac", "{hardware}"]\ngranularity = ["tile"]\nxbar = ["64x64"]\n',
        encoding="utf-8",
    )
    results = model.parent / f"{hardware.stem}.sqlite"
    found = json.loads(run("explore", model, space, "-o", results, "--json").stdout)
    ours, theirs = (design["figures"] for design in found["designs"])
    assert ours["crossbars"] == theirs["crossbars"]
    assert None not in (ours["area_m2"], theirs["area_m2"], ours["energy_j"], theirs["energy_j"])
    assert ours["area_m2"] != theirs["area_m2"]


def test_two_targets_side_by_side_and_their_difference(model: Path, plan: Path) -> None:
    other = model.parent / "isaac.bsc"
    if not other.exists():
        run("compile", model, "--granularity", "tile", "-o", other)
    shown = run("compare", other, plan).stdout
    assert "ADC conversions" in shown
    assert LABELS[plan.stem][0] in shown
    changed = CliRunner().invoke(main, ["diff", str(other / "report.json"), str(plan / "report.json")])
    assert changed.exit_code == 1
    assert LABELS[plan.stem][1] in changed.stdout
    assert "IMAs" in changed.stdout


def test_puma_does_not_re_add_as_isaac_does() -> None:
    """The rows of its table give a tile 1.1 % more power than is printed."""
    (line,) = [line for line in check(hw_models.load("puma")) if line.name == "power of one tile"]
    assert line.computed / line.published == pytest.approx(1.0113, abs=1e-4)
