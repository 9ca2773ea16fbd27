"""At 80 columns no line of any command is longer, and no number is parted from itself or its unit."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

import bsc
from bsc.cli import main
from bsc.testing import mlp_model, save

NARROW, WIDE = 80, 2000
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?(?:×|%| [TGMkmµnpfa]?(?:Js|J|s|m²|W|B|OPS/W|OPS|/s)\b)?")

COMMANDS = (
    "inspect m.bsc",
    "inspect m.bsc --layer fc1",
    "inspect m.bsc --layer fc1 --crossbar 0,0,3,+",
    "report m.bsc",
    "cost m.bsc --adc-law saberi",
    "compare m.bsc other.bsc",
    "diff m.bsc other.bsc --tolerance 99%",
    "verify m.bsc --data x.npz --model m.onnx",
    "verify m.bsc --data x.npz --proofs",
    "simulate m.bsc --data x.npz --stats",
    "simulate m.bsc --data x.npz --noise reram-wan22 --trials 2",
    "check m.onnx",
    "hw list",
    "hw show isaac",
    "hw devices",
    "passes",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two plans, their model and data."""
    place = tmp_path_factory.mktemp("narrow")
    model = save(mlp_model(200, 150, 10), place / "m.onnx")
    bsc.compile(model).save(place / "m.bsc")
    bsc.compile(model, adc="fixed=6").save(place / "other.bsc")
    np.savez(place / "x.npz", x=np.random.default_rng(0).standard_normal((4, 200)).astype(np.float32))
    return place


def printed(command: str, width: int) -> str:
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(main, command.split())
    assert result.exit_code in (0, 1, 5), result.output
    assert not result.stderr.startswith("error"), result.stderr
    return result.stdout


@pytest.mark.parametrize("command", [*COMMANDS, "compile m.onnx -o new.bsc --force"])
def test_fits(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    wide, narrow = printed(command, WIDE), printed(command, NARROW)
    assert [line for line in narrow.splitlines() if cell_len(line) > NARROW] == []
    joined = re.sub(r"\s+", " ", narrow)
    assert {each for each in NUMBER.findall(wide) if each not in joined} == set()


def test_long_names_are_cut_in_the_middle() -> None:
    from bsc.report.table import shortened

    assert shortened("/encoder/layer.11/attention/MatMul_1", 20) == "/encoder/…n/MatMul_1"
    assert shortened("short words stay", 6) == "short words stay"
