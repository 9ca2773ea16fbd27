"""What the section of the chip says, in the names of the target."""

from pathlib import Path

import pytest
from rich.cells import cell_len

import hw_models
from bsc.commands.output import LEAST_WIDTH
from bsc.mapping.placement import Placed, Rules
from bsc.report.chip import chip_notes, chip_section
from bsc.report.document import ReportDocument
from bsc.report.text import REPORT_WIDTH, to_text
from tests.bsc.chip import networks
from tests.bsc.plans import coded, model_plan, plan_of
from tests.bsc.report.reports import report_of
from tests.test_cli import EXAMPLE, run

PLAN = plan_of(coded([[1, 2], [3, 4]], name="a", output="h"), coded([[5], [6]], name="b", input="h"))


def notes(report: ReportDocument) -> dict[str, str]:
    return dict(chip_notes(report))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("mnist") / "mnist.bsc"
    assert run("compile", EXAMPLE, "-o", output).exit_code == 0
    return output


def test_levels_have_the_names_of_the_target() -> None:
    """Five levels: a node of tiles of cores, and neither chips nor IMAs."""
    puma = hw_models.load("puma")
    text = to_text(chip_section(report_of(PLAN, target=puma)))
    names = [level.several for level in puma.level[-2:]]
    assert f" {names[1]} / {names[0]} " in text
    assert "chip" not in text.replace("The chip, copies", "")
    assert "IMA" not in text


def test_power_is_of_the_full_total() -> None:
    assert " power " in to_text(chip_section(report_of(PLAN)))


@pytest.mark.parametrize("width", [80, 100, REPORT_WIDTH])
def test_no_row_of_the_table_is_wrapped(width: int, example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = (example / "report.txt").read_text()
    wide = text[text.index("The chip, copies") :].splitlines()
    lines = run("report", example).output.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("The chip, copies"))
    parts = [line.split() for line in lines[start:]]
    for row in ("power", "operations/s/mm²", "of them at work", "area, all copies", "chips / tiles"):
        label = row.split()
        cells = next(line.split() for line in wide if line.startswith(f" {row} "))[len(label) :]
        below = [line[len(label) :] for line in parts if line[: len(label)] == label and line[len(label) :]]
        found = [cell for line in below for cell in line]
        assert cells == found[: len(cells)]  # where there is little room, columns are continued below


@pytest.mark.parametrize(
    ("columns", "width"),
    [("72", 72), (str(LEAST_WIDTH), LEAST_WIDTH), ("59", None), ("", None), ("0", None), ("-80", None), ("wide", None)],
)
def test_what_is_piped_is_as_wide_as_columns_says(
    columns: str, width: int | None, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = run("cost", example).output
    monkeypatch.setenv("COLUMNS", columns)
    found = run("cost", example).output
    assert max(map(cell_len, found.splitlines())) <= (width or REPORT_WIDTH)
    assert (found == usual) == (width is None)


@pytest.mark.parametrize("pack", [False, True])
def test_packing_that_finds_no_two_layers_is_said(pack: bool) -> None:
    report = report_of(PLAN)
    rules = Rules(policy="none", slots=96, power_w=None, pack=pack)
    layers = tuple(
        layer.model_copy(
            update={"placed": Placed(rules=rules, first_slot=8 * at, copies=1, crossbars_per_copy=8, row=0, column=0)}
        )
        for at, layer in enumerate(report.plan.layers)
    )
    report = report.model_copy(update={"plan": report.plan.model_copy(update={"layers": layers})})
    assert notes(report).get("--pack") == (
        "no two layers that follow each other fit onto the same crossbars" if pack else None
    )


def test_shared_weights_are_timed_in_the_order_of_the_program(tmp_path: Path) -> None:
    found = notes(report_of(model_plan(networks.shared(), tmp_path)))
    assert found["shared weights"] == (
        "big is used several times, timed in the program's order, though a later use may be ready first"
    )
    assert "shared weights" not in notes(report_of(PLAN))
