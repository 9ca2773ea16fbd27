"""`bsc compile --reload`: models that are larger than the chips at hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bsc.cli import main
from bsc.testing import mlp_model, save

OPTIONS = ("--xbar", "32x32", "--reload", "--cells", "reram-puma19")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers of 96, 64 and 8 crossbars of 32 x 32, on tiles of 96."""
    return save(mlp_model(96, 120, 64, 10), tmp_path_factory.mktemp("reload") / "mlp.onnx")


@pytest.fixture(scope="module")
def plan(model: Path) -> Path:
    folder = model.parent / "mlp.bsc"
    result = run("compile", model, *OPTIONS, "--tiles", 1, "--reload-batch", 8, "-o", folder)
    assert result.exit_code == 0, result.output
    return folder


def test_the_error_without_it_leads_to_it(model: Path, tmp_path: Path) -> None:
    refused = run("compile", model, "--xbar", "32x32", "--tiles", 1, "-o", tmp_path / "plan")
    assert refused.exit_code == 4
    assert "or load its layers one after another with --reload" in refused.output


def test_the_plan_is_proved_and_the_report_says_what_reloading_takes(plan: Path) -> None:
    assert run("verify", plan, "--proofs").exit_code == 0
    document = json.loads((plan / "plan.json").read_text())
    assert [layer["placed"]["segment"] for layer in document["layers"]] == [0, 1, 1]
    chip = json.loads((plan / "report.json").read_text())["chip"]
    found, energy = chip["plan"]["reload"], chip["plan"]["energy"]
    assert (found["batch"], found["device"], len(found["segments"])) == (8, "reram-puma19", 2)
    # A row of 32 cells at 85.7 ns a row of 128, which are written at once: 32 x 32 x 85.7 ns / 128.
    assert found["segments"][0]["write_s"] == pytest.approx(32 * 32 * 8.57e-8 / 128)
    assert found["segments"][0]["write_j"] == pytest.approx(96 * 1024 * 1.29e-12)
    assert found["cycle_s"] == pytest.approx(sum(each["batch_s"] for each in found["segments"]))
    assert chip["plan"]["interval_s"] == pytest.approx(found["cycle_s"] / 8)
    assert energy["writing_j"] == pytest.approx(sum(each["write_j"] for each in found["segments"]) / 8)
    assert found["waiting_bits"] == 120 * 8 * 8  # the first layer's results, of a batch
    text = (plan / "report.txt").read_text()
    for words in ("Segments, 8 inferences each", "2 segments for every 8 inferences", "writing segments", "ENDURANCE"):
        assert words in text
    assert "programming of" not in text


def test_pages_and_tables_of_it(plan: Path, tmp_path: Path) -> None:
    assert run("report", plan, "--html", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert "2 segments for every 8 inferences" in page
    assert "Shown are the layers of the first segment" in page
    assert " segment " in run("report", plan).output
    assert run("diff", plan, plan).exit_code == 0


def test_a_later_segment_cannot_feed_an_earlier_one(plan: Path, tmp_path: Path) -> None:
    altered = json.loads((plan / "plan.json").read_text())
    for layer, segment in zip(altered["layers"], (0, 2, 1), strict=True):
        layer["placed"]["segment"] = segment
    folder = tmp_path / "altered.bsc"
    folder.mkdir()
    for path in plan.rglob("*"):
        if path.is_file() and path.name != "plan.json":
            (folder / path.relative_to(plan)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(plan)).write_bytes(path.read_bytes())
    (folder / "plan.json").write_text(json.dumps(altered))
    refused = run("verify", folder, "--proofs")
    assert refused.exit_code != 0
    assert "segments are not runs of layers" in refused.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--reload",), "--reload needs to know what writing a cell takes"),
        (("--reload", "--cells", "reram-milo21"), "device 'reram-milo21' does not say how long writing a cell takes"),
        (("--reload", "--cells", "ideal"), "device 'ideal' does not say how long writing a cell takes"),
        (("--reload-batch", 4), "--reload-batch means nothing without --reload"),
        (("--cells", "reram-puma19"), "--cells means nothing without --reload"),
        (("--reload", "--cells", "reram-puma19", "--power", 1), "--power and --reload cannot be used together"),
        (("--reload", "--passes", "fold-batchnorm"), "--passes and --reload cannot be used together"),
    ],
)
def test_what_does_not_go_together(options: tuple[object, ...], words: str, model: Path, tmp_path: Path) -> None:
    refused = run("compile", model, *options, "-o", tmp_path / "plan")
    assert refused.exit_code == 2
    assert words in refused.output
