"""What must hold of the repository as a whole: documents that are true, tables that are complete."""

import importlib
import inspect
import json
import pkgutil
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import bsc
import hw_models
import passes
from bsc.cli import main
from bsc.errors import CODES
from bsc.frontend.crossbar_view import crossbar_operators
from bsc.ir.passbase import Pass
from bsc.plan.document import plan_schema
from bsc.plan.folder import to_json
from bsc.reference.figures import figure_fields, figures, is_numeric
from bsc.reference.supported import supported
from bsc.report.document import ReportDocument
from bsc.report.layer_csv import COLUMNS, Column
from bsc.testing import mlp_model, save

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def modules() -> list[str]:
    found = []
    for package in (bsc, passes, hw_models):
        found.append(package.__name__)
        found += [info.name for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [name for name in found if name != "bsc.__main__"]


def test_packages_sit_side_by_side() -> None:
    """Two other wheels could own `passes` or `hw_models`; then this would not be our code."""
    assert {Path(str(package.__file__)).parent.parent for package in (bsc, passes, hw_models)} == {ROOT}


def test_every_package_is_shipped() -> None:
    listed = set(re.findall(r'^    "((?:bsc|passes|hw_models)[a-z._]*)",$', text("pyproject.toml"), re.MULTILINE))
    folders = {"bsc", "passes", "hw_models", *(f"bsc.{path.parent.name}" for path in ROOT.glob("bsc/*/__init__.py"))}
    assert listed >= folders


def subclasses(cls: type) -> Iterator[type]:
    """Of any depth."""
    each: type
    for each in cls.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_pass_is_registered_and_tested() -> None:
    files = {path.stem for path in (ROOT / "passes").glob("*.py")} - {"__init__"}
    classes = {cls for cls in subclasses(Pass) if cls.__module__.startswith("passes.")}
    assert set(passes.PASSES.values()) == classes
    assert {cls.__module__.removeprefix("passes.") for cls in classes} == files
    for stem in files:
        assert (ROOT / "tests" / "passes" / f"test_{stem}.py").is_file(), stem


@pytest.mark.parametrize("name", modules())
def test_public_names_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, name
    for member in vars(module).values():
        if getattr(member, "__module__", None) != name or not (inspect.isclass(member) or inspect.isfunction(member)):
            continue
        if not member.__name__.startswith("_"):
            assert member.__doc__, f"{name}.{member.__name__}"


def test_every_error_code_is_used_and_known() -> None:
    sources = [*ROOT.glob("bsc/**/*.py"), *ROOT.glob("passes/*.py"), *ROOT.glob("hw_models/*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in sources if path.name != "errors.py")
    used = set(re.findall(r'"(BSC\d{3})"', code))
    assert used == set(CODES)


def test_plan_schema_is_fresh() -> None:
    """After a change of the records: the text on the left is what the file must hold."""
    assert to_json(plan_schema()) == text("bsc/plan/plan.schema.json")


@pytest.mark.parametrize("plan", sorted(GOLDEN.glob("*/plan.json")), ids=lambda path: path.parent.name)
def test_plans_obey_the_schema(plan: Path) -> None:
    jsonschema.validate(json.loads(plan.read_text()), json.loads(text("bsc/plan/plan.schema.json")))


def test_report_schema_is_fresh() -> None:
    assert to_json(ReportDocument.model_json_schema()) == text("bsc/report/report.schema.json")


def test_figures_are_fresh() -> None:
    """After a change of the records: python -m bsc.reference.figures > FIGURES.md."""
    assert figures() == text("FIGURES.md")


FIELDS = {path: field for path, _, field in figure_fields(ReportDocument)}


@pytest.mark.parametrize("path", [path for path, field in FIELDS.items() if is_numeric(field.annotation)])
def test_every_figure_has_unit_content_and_source(path: str) -> None:
    if path == "plan":
        return  # what was chosen, and no figures; its schema is that of plan.json
    extra = FIELDS[path].json_schema_extra
    assert isinstance(extra, dict)
    assert FIELDS[path].description
    assert extra["unit"]
    assert extra["source"]


@pytest.fixture
def report(tmp_path: Path) -> object:
    """A report.json with observed figures, freshly made."""
    model, data = save(mlp_model(12, 8, 3), tmp_path / "m.onnx"), tmp_path / "data.npz"
    np.savez(data, x=np.random.default_rng(0).standard_normal((8, 12)).astype(np.float32))
    arguments = ["compile", str(model), "--calib", str(data), "--adc", "calibrated", "-o", str(tmp_path / "m.bsc")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return json.loads((tmp_path / "m.bsc" / "report.json").read_text())


def test_reports_obey_the_schema(report: object) -> None:
    jsonschema.validate(report, json.loads(text("bsc/report/report.schema.json")))


def test_figures_are_found_wherever_they_are(report: dict[str, object]) -> None:
    """Every number of a report but those of plan.json is in FIGURES.md."""
    keys = [path.replace(".", "|").replace("*", "[^|]+") for path in FIELDS if path != "plan"]
    found = list(_numbers({name: part for name, part in report.items() if name != "plan"}))
    assert len(found) > 200
    assert [path for path in found if not any(re.match(f"{key}(\\||$)", path) for key in keys)] == []


def _numbers(value: object, path: str = "") -> Iterator[str]:
    """Paths of all numbers, their keys parted by bars."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(inner, f"{path}|{key}" if path else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_column_is_described(column: Column) -> None:
    assert column.includes
    assert column.source
    assert column.unit or column.name in ("layer", "operator")


def test_guide_shows_what_is_printed() -> None:
    report, verified = re.findall(r"^```text\n(.*?)^```$", text("GUIDE.md"), re.MULTILINE | re.DOTALL)
    printed = (GOLDEN / "mnist" / "report.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in report.splitlines() if line not in [*printed, "..."]] == []
    assert verified == (GOLDEN / "mnist" / "verify.txt").read_text(encoding="utf-8")


def test_ci_runs_the_readme_commands() -> None:
    commands = [line for line in text("README.md").splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert text(".ci/run").splitlines().count(commands[1]) == 1


def test_guide_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(import bsc\n.*?)^```$", text("GUIDE.md"), re.MULTILINE | re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    ours, golden = (
        json.loads((folder / "plan.json").read_text()) for folder in (tmp_path / "model.bsc", GOLDEN / "mnist")
    )
    assert ours | {"calibration": golden["calibration"]} == golden  # which has labels in its file


def test_own_pass_example(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "own_pass.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["threshold  0", "threshold  8", "threshold 32"]
    savings = [float(re.findall(r"ADC ([0-9.]+)×", line)[0]) for line in lines]
    assert np.diff(savings).min() > 0  # fewer weights, fewer bits


def test_constraints_pin_every_dependency() -> None:
    pinned = {line.split("==")[0].lower() for line in text("constraints.txt").splitlines() if "==" in line}
    needed = re.findall(r'^    "([a-z-]+)>=', text("pyproject.toml"), re.MULTILINE)
    assert {name.replace("_", "-") for name in pinned} >= set(needed)
    assert "torch==2.13.0" in text("constraints.txt").splitlines()


def test_supported_operators_are_fresh() -> None:
    """After a change of the tables: python -m bsc.reference.supported > SUPPORTED.md."""
    assert supported() == text("SUPPORTED.md")


@pytest.mark.parametrize("operator", crossbar_operators())
def test_every_crossbar_operator_is_described(operator: str) -> None:
    assert crossbar_operators()[operator].splitlines()[0].endswith(".")
