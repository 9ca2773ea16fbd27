"""examples/explore: a part of each space, and the figures that its README prints."""

import csv
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bsc.cli import main
from bsc.exploration.space import Grid, Space, read_space
from bsc.units import format_si

EXPLORE = Path(__file__).parents[2] / "examples" / "explore"
MNIST = EXPLORE.parent / "mnist"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def part(space: str, points: int) -> Path:
    """The space with some of its designs only."""
    lines = (EXPLORE / space).read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(("method", "points"))]
    Path(space).write_text("\n".join(['method = "random"', f"points = {points}", *kept]), encoding="utf-8")
    Space.from_toml(Path(space).read_text(encoding="utf-8"), space)
    return Path(space)


def test_lossless_designs() -> None:
    arguments = ["explore", MNIST / "model.onnx", part("space.toml", 20), "--jobs", 1, "--json", "--svg", "s.svg"]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["designs"]) == 20
    assert Path("s.svg").read_text(encoding="utf-8").startswith("<svg")


def test_designs_with_accuracies() -> None:
    data = ("--calib", MNIST / "train_images.npz", "--data", MNIST / "test_images.npz", "--limit", 100)
    arguments = ["explore", MNIST / "model.onnx", part("accuracy.toml", 3), "--jobs", 1, "--json", *data]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert all(design["figures"]["accuracy"] > 0.5 for design in json.loads(result.stdout)["designs"])


def test_designs_on_chips() -> None:
    """The row of offset with 4-bit cells on 64 tiles, and what README says of it."""
    text = (EXPLORE / "chip.toml").read_text(encoding="utf-8")
    kept = {"encoding": '["offset"]', "subtract": '["digital"]', "cell-bits": "[4]", "tiles": "[64]"}
    for axis, values in kept.items():
        text = re.sub(rf"(?m)^{axis} = .*$", f"{axis} = {values}", text)
    Path("chip.toml").write_text(text, encoding="utf-8")
    cifar10 = EXPLORE.parent / "cifar10"
    calib = cifar10 / "calibration_images.npz"
    arguments = ["explore", cifar10 / "model.onnx", "chip.toml", "--jobs", 1, "--json", "--calib", calib]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    figures = {each["choices"]["copies"]: each["figures"] for each in json.loads(result.stdout)["designs"]}
    shown = {name: format_si(each["throughput_per_s"], "/s") for name, each in figures.items()}
    assert (shown["isaac"], shown["throughput"]) == ("75.1 k/s", "62.9 k/s")
    readme = (EXPLORE / "README.md").read_text(encoding="utf-8")
    assert "| offset, 4-bit cells | 183 | 12.2 k/s | 29.3 k/s | 59.8 k/s | 75.1 k/s |" in readme
    assert figures["isaac"]["crossbars"] == 183
    best = figures["isaac"]
    line = f"75.1 k/s    {format_si(best['chip_energy_j'], 'J')}   {format_si(best['chip_area_m2'], 'm²')}"
    assert line in (EXPLORE / "chip.txt").read_text(encoding="utf-8")
    assert "62.9 k/s on 64 tiles" in readme
    assert "200 designs" in readme
    assert best["tiles_in_use"] == 39


def test_the_readme_counts_right() -> None:
    readme = (EXPLORE / "README.md").read_text(encoding="utf-8")
    assert len(Grid(read_space(EXPLORE / "space.toml"), "m")) == 384
    assert "has 384 ways" in readme
    assert len(Grid(read_space(EXPLORE / "accuracy.toml"), "m")) == 720
    assert "120 of its 720 designs" in readme


def test_the_readme_has_the_front_of_the_shipped_results() -> None:
    readme = (EXPLORE / "README.md").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader((EXPLORE / "accuracy.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 120
    front = sorted((row for row in rows if row["on_front"] == "yes"), key=lambda row: float(row["energy_j"]))
    shown = [
        f"| {row['number']} | {row['xbar']} | {row['weight-bits']} | {row['cell-bits']} | {row['encoding']} "
        f"| {row['subtract']} | {row['adc']} | {format_si(float(row['energy_j']), 'J')} "
        f"| {100 * float(row['accuracy']):.2f} % | {format_si(float(row['area_m2']), 'm²')} "
        f"| {float(row['crossbars']):.0f} |"
        for row in front
    ]
    assert [line for line in readme if line.startswith("| ") and line[2].isdigit()] == shown
