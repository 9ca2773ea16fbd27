"""A path that was given for something else is told for what it is, by every command."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bsc
from bsc.cli import main
from bsc.file_kinds import FIXES, OTHERWISE, WORDS, Kind, kind_of
from bsc.testing import mlp_model, save

MADE: dict[str, Kind] = {
    "m.onnx": "model",
    "m": "model",
    "m.bsc": "plan",
    "m.bsc/plan.json": "document",
    "m.bsc/report.json": "report",
    "x.npz": "data",
    "net.pt": "torch",
    "m.cells": "cells",
    "m.sqlite": "sweep",
    "s.toml": "toml",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    save(mlp_model(12, 8, 3), folder / "m.onnx")
    shutil.copy(folder / "m.onnx", folder / "m")
    bsc.compile(folder / "m.onnx").save(folder / "m.bsc")
    np.savez(folder / "x.npz", x=np.ones((2, 12), np.float32))
    assert CliRunner().invoke(main, ["export", str(folder / "m.bsc"), "--to", "cells", "-o", str(folder / "m.cells")])
    with sqlite3.connect(folder / "m.sqlite") as connection:
        connection.execute("CREATE TABLE designs (number INTEGER)")
    connection.close()
    pytest.importorskip("torch").save({"w": [1]}, folder / "net.pt")
    (folder / "s.toml").write_text('[axes]\nxbar = ["8x8"]\n')
    return folder


@pytest.mark.parametrize("name", MADE)
def test_kinds(name: str, files: Path) -> None:
    assert kind_of(files / name) == MADE[name]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b"[1]", b"PK\x03\x04", b"\x08", b"\x08\x00", b"\x93NUMPY", b"hello", b'{"plan": 1}']
)
def test_what_tells_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert kind_of(tmp_path / "file") is None
    assert kind_of(tmp_path) is None
    assert kind_of(tmp_path / "none") is None


CASES = [
    (["inspect", "{}"], "a plan folder", {"m.onnx": "compile it first: bsc compile m.onnx"}),
    (["inspect", "{}"], "a plan folder", {"m.bsc/plan.json": "give its folder: m.bsc"}),
    (["verify", "{}"], "a plan folder", {"m.bsc/report.json": FIXES["report", "plan"]}),
    (["cost", "{}"], "a plan folder", {"m.cells": OTHERWISE["plan"], "x.npz": OTHERWISE["plan"]}),
    (["compile", "{}"], "an ONNX model", {"m.bsc": FIXES["plan", "model"], "net.pt": FIXES["torch", "model"]}),
    (["check", "{}"], "an ONNX model", {"x.npz": OTHERWISE["model"], "m.bsc/report.json": OTHERWISE["model"]}),
    (
        ["verify", "m.bsc", "--data", "{}"],
        "a .npz file",
        {"m.onnx": FIXES["model", "data"], "net.pt": OTHERWISE["data"]},
    ),
    (["verify", "m.bsc", "--data", "{}"], "a .npz file", {"m.bsc": OTHERWISE["data"], "s.toml": OTHERWISE["data"]}),
    (["compile", "m.onnx", "-o", "z.bsc", "--calib", "{}"], "a .npz file", {"m.bsc/report.json": OTHERWISE["data"]}),
    (["diff", "{}", "m.bsc"], "a plan folder or report.json", {"m": "compile it first: bsc compile m"}),
    (["compare", "m.bsc", "{}"], "a plan folder or report.json", {"m.bsc/plan.json": "give its folder: m.bsc"}),
    (["explore", "m.onnx", "{}"], "a TOML file", {"m.bsc": OTHERWISE["space"], "x.npz": OTHERWISE["space"]}),
]


@pytest.mark.parametrize(("words", "wanted", "fixes"), CASES, ids=lambda value: str(value)[:30])
def test_commands_say_what_it_is(
    words: list[str], wanted: str, fixes: dict[str, str], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    for name, fix in fixes.items():
        result = CliRunner().invoke(main, [word.format(name) for word in words])
        seen = WORDS[MADE[name]]
        assert result.stderr == f"error [BSC202] '{name}' is not {wanted}\n  seen: {seen}\n  fix:  {fix}\n"
        assert result.exit_code == 2


def test_what_is_right_but_broken_keeps_its_own_error(tmp_path: Path, files: Path) -> None:
    """A model that is cut off is still a model, a plan that was altered a plan."""
    (tmp_path / "m.onnx").write_bytes((files / "m.onnx").read_bytes()[:-40])
    shutil.copytree(files / "m.bsc", tmp_path / "m.bsc")
    (tmp_path / "m.bsc" / "plan.json").write_text("{}")
    report = json.loads((files / "m.bsc" / "report.json").read_text()) | {"totals": 1}
    (tmp_path / "report.json").write_text(json.dumps(report))
    for words, code in (
        (["compile", "m.onnx"], "BSC301"),
        (["inspect", "m.bsc"], "BSC307"),
        (["diff", "report.json", "m.bsc"], "BSC313"),
    ):
        result = CliRunner().invoke(main, [words[0], *(str(tmp_path / word) for word in words[1:])])
        assert f"[{code}]" in result.stderr


def test_pasted_fixes_work(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a blank is quoted for the shell."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(files / "m.onnx", "a model.onnx")
    result = CliRunner().invoke(main, ["inspect", "a model.onnx"])
    assert result.stderr.endswith("fix:  compile it first: bsc compile 'a model.onnx'\n")
