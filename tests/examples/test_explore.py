"""examples/explore: a part of each space, and the figures that its README prints."""

import csv
import json
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
