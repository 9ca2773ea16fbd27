"""`bsc cost` and `bsc report` with a device, and on hardware whose crossbars or cells are others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bsc.cli import main
from bsc.testing import mlp_model, save


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    np.savez(folder / "inputs.npz", x=np.random.default_rng(0).random((6, 40), np.float32))
    model = save(mlp_model(40, 20, 5), folder / "mlp.onnx")
    result = run("compile", model, "--calib", folder / "inputs.npz", "-o", folder / "mlp.bsc")
    assert result.exit_code == 0, result.output
    return folder / "mlp.bsc"


def test_reads_and_writes_in_text_and_json(plan: Path) -> None:
    data = plan.parent / "inputs.npz"
    options = ("--cells", "reram-milo21", "--data", data, "--limit", 4, "--updates-per-day", 10)
    text = run("cost", plan, *options).output
    assert "digits of 4 samples" in text
    assert "CONTRADICTS" in text
    assert "time n/a: the device does not say how long a verify read takes" in text
    found = json.loads(run("cost", plan, *options, "--json").output)["cells"]
    assert (found["device"], found["samples"]) == ("reram-milo21", 4)
    assert found["reads"]["contradicts"] is True
    assert found["reads"]["energy_j"] == pytest.approx(sum(found["reads"]["layers"].values()))
    writes = found["writes"]
    assert writes["cells"] == 8 * (40 * 20 + 20 * 5)
    assert writes["lifetime_s"] == pytest.approx(1e6 / 13 / 10 * 86400)
    assert writes["time_s"] is None


def test_without_data_every_row_is_driven(plan: Path) -> None:
    found = json.loads(run("cost", plan, "--cells", "reram-wan22", "--json").output)
    less = json.loads(
        run("cost", plan, "--cells", "reram-wan22", "--data", plan.parent / "inputs.npz", "--json").output
    )
    assert found["cells"]["samples"] is None
    assert found["cells"]["reads"]["energy_j"] > less["cells"]["reads"]["energy_j"] > 0
    assert "programming of cells" not in " ".join(found["not_modelled"])
    without = json.loads(run("cost", plan, "--json").output)
    assert without["cells"] is None
    assert f"programming of {8 * 900} cells (--cells)" in without["not_modelled"]
    assert without["plan"] == found["plan"]  # the published average stays


def test_a_report_has_it_too(plan: Path) -> None:
    page = plan.parent / "page.html"
    result = run("report", plan, "--cells", "reram-wan22", "--html", page, "--json")
    assert json.loads(result.stdout)["cost"]["cells"]["device"] == "reram-wan22"
    assert "reads, by Ohm&#39;s law, every row driven" in page.read_text(encoding="utf-8")


def test_a_device_that_says_nothing(plan: Path) -> None:
    text = run("cost", plan, "--cells", "ideal").output
    assert "n/a: the device does not say how a cell is read" in text
    assert "n/a: the device does not say how a cell is written" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--data", "x.npz"), "[BSC201] --data means nothing without --cells"),
        (("--updates-per-day", "2"), "[BSC201] --updates-per-day means nothing without --cells"),
        (("--cells", "ideal", "--limit", "2"), "[BSC201] --limit means nothing without --data"),
        (("--cells", "ideal", "--updates-per-day", "0"), "[BSC201] --updates-per-day is out of range"),
        (("--cells", "reram-wan"), "[BSC206] no device of that name"),
    ],
)
def test_words(plan: Path, options: tuple[str, ...], words: str) -> None:
    result = run("cost", plan, *options)
    assert result.exit_code == 2
    assert words in result.output


def test_hardware_of_other_arrays_is_refused_and_the_fix_works(plan: Path) -> None:
    for command in ("cost", "report"):
        result = run(command, plan, "--hw", "raella")
        assert result.exit_code == 2
        assert result.output == (
            "error [BSC212] the crossbars of this plan are not those of 'raella'\n"
            "  seen: 128x128 in the plan, for 'isaac'; 512x512 on 'raella'\n"
            "  fix:  compile the model again with --hw raella, or with --xbar 512x512\n"
        )
    model, other = plan.parent / "mlp.onnx", plan.parent / "other.bsc"
    assert run("compile", model, "--xbar", "512x512", "-o", other).exit_code == 0
    assert run("cost", other, "--hw", "raella").exit_code == 0
    assert run("cost", other, "--hw", "puma").exit_code == 0  # it was made for isaac at another size; puma has isaac's
    assert run("cost", plan, "--hw", "puma").exit_code == 0


@pytest.mark.parametrize(("cut", "known"), [("4-4", True), ("8", False)])
def test_cells_of_more_bits_have_a_price_with_a_source_or_none(plan: Path, cut: str, known: bool) -> None:
    """PUMA's simulator has one power for cells of 2, 4 and 6 bits, and none for 8."""
    folder = plan.parent / f"{cut}.bsc"
    assert run("compile", plan.parent / "mlp.onnx", "--cut", cut, "-o", folder).exit_code == 0
    cost = json.loads(run("cost", folder, "--json").output)
    assert (cost["plan"]["energy_by_action_j"]["crossbar_cell"] is not None) is known
    assert (cost["plan"]["energy_j"] is not None) is known
    assert cost["plan"]["adc_energy_j"] is not None
