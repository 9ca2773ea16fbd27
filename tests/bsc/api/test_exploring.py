"""Sweeps in Python."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bsc
from bsc.cli import main
from bsc.testing import mlp_model, save

SPACE = {"axes": {"xbar": ["8x8", "16x16"], "adc": ["lossless", "fixed=3"], "per-channel": [False, True]}}
TOML = '[axes]\nxbar = ["8x8", "16x16"]\nadc = ["lossless", "fixed=3"]\nper-channel = [false, true]\n'
X = np.random.default_rng(0).standard_normal((30, 12)).astype(np.float32)
Y = np.arange(30) % 3


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save(mlp_model(12, 8, 3), tmp_path / "m.onnx")
    return Path("m.onnx")


def test_a_table_and_arrays_are_the_command_with_files(model: Path) -> None:
    Path("space.toml").write_text(TOML)
    np.savez("calib.npz", x=X)
    np.savez("data.npz", x=X, labels=Y)
    words = ["explore", str(model), "space.toml", "--calib", "calib.npz", "--data", "data.npz", "--jobs", "1", "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    found = bsc.explore(str(model), SPACE, calib=X, data={"x": X, "labels": Y})
    wanted = json.loads(result.stdout)
    assert json.loads(found.to_json()) == wanted | {"space": "a table"}
    assert [row["number"] for row in found.front] == wanted["front"]
    assert found.designs["energy_j"].tolist() == [each["figures"]["energy_j"] for each in wanted["designs"]]
    assert found.designs.units["energy_j"] == "J"
    assert sorted(path.name for path in Path().iterdir()) == [
        "calib.npz", "data.npz", "m.explore.sqlite", "m.onnx", "space.toml",
    ]  # fmt: skip


def test_a_design_compiles_again(model: Path) -> None:
    """From its row, and to the figures of the row."""
    found = bsc.explore(model, SPACE)
    row = found.designs[3]
    plan = bsc.compile(model, passes=str(row["pipeline"]))
    assert plan.cost().energy_j == row["energy_j"]
    assert "per=channel" in plan.pipeline


def test_results_are_gone_on_from(model: Path) -> None:
    first = bsc.explore(model, SPACE, results="kept.sqlite")
    told: list[tuple[str, int]] = []

    def progress(title: str, total: int) -> object:
        told.append((title, total))
        from contextlib import nullcontext

        return nullcontext(lambda _: None)

    again = bsc.explore(model, SPACE, results="kept.sqlite", progress=progress)  # type: ignore[arg-type]
    assert told == [("trying designs, 8 were done", 0)]
    assert again.to_json() == first.to_json()
    assert repr(again).startswith("<bsc.Explored of m.onnx: 8 designs, 8 can exist, ")
    with pytest.raises(bsc.BscError) as caught:
        bsc.explore(model, {"axes": {"xbar": ["8x8"]}}, results="kept.sqlite")
    assert caught.value.code == "BSC314"


def test_mistakes_in_a_table(model: Path) -> None:
    with pytest.raises(bsc.BscError) as caught:
        bsc.explore(model, {"axes": {"xbar": ["8"]}})
    assert (caught.value.code, caught.value.problem) == ("BSC209", "the space: key 'axes.xbar' cannot be used")
