"""The commands that write, what they may leave, and what must be so after whatever happens to them."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from bsc.errors import BscError
from bsc.plan.folder import read_plan
from bsc.testing import mlp_model, save
from tests.faults.child import Ended, run

SPACE = """
[axes]
xbar = ["8x8", "16x16"]
cell-bits = [1, 2]
adc = ["lossless", "fixed=3"]
"""
SIZES, RIVAL_SIZES = (20, 16, 3), (20, 12, 3)
TUNE = ("--threads", 1, "--epochs", 3, "--batch", 50, "--sparsity", 0.5, "--prune-epochs", 1, "--project")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A command that writes something.

    Attributes:
        arguments: of `bsc`; run in the scene's folder.
        output: what it writes.
        state: what the output holds, as a text that two equal outputs share, "" if it is not there.
            Raises whatever it likes for a half-written one.
        again: the same command, to go on after a kill.
        rival: a command that writes something else there.
        partial: whether the output grows while it runs; it is then whole at any time, but not always the same.
    """

    arguments: Sequence[object]
    output: Path
    state: Callable[[Path], str]
    again: Sequence[object]
    rival: Sequence[object]
    partial: bool = False


def prepare(folder: Path) -> None:
    """Two models and their plans, labelled data, a design space, and measurements of two kinds of cells."""
    rng = np.random.default_rng(1)
    np.savez(folder / "train.npz", x=rng.random((100, SIZES[0]), np.float32), y=rng.integers(0, 3, 100))
    (folder / "space.toml").write_text(SPACE)
    for number, sizes in enumerate((SIZES, RIVAL_SIZES)):
        model, plan = folder / f"m{number}.onnx", folder / f"p{number}.bsc"
        save(mlp_model(*sizes), model)
        assert run(["compile", model, "-o", plan, "--no-import-check"]).code == 0
        cells = [(level, 5 + 10 * level + rng.normal()) for level in 100 * [0, 1, 2, 3]]
        lines = ["level,conductance_us", *(f"{level},{measured}" for level, measured in cells)]
        (folder / f"c{number}.csv").write_text("\n".join(lines))


def scenes(folder: Path) -> dict[str, Scene]:
    """By name, in a folder that `prepare` has filled."""
    model, plan, cells = folder / "m0.onnx", folder / "p0.bsc", folder / "c0.csv"
    others = {model: folder / "m1.onnx", plan: folder / "p1.bsc", cells: folder / "c1.csv"}

    def scene(name: str, *arguments: object, state: Callable[[Path], str]) -> Scene:
        output = folder / name
        command = [arguments[0], *(output if each == "OUT" else each for each in arguments[1:])]
        rival = [others.get(each, each) if isinstance(each, Path) else each for each in command]
        return Scene(arguments=command, output=output, state=state, again=command, rival=rival)

    quick = ("--no-import-check", "--html")
    sweep = ("explore", model, folder / "space.toml", "--jobs", 1, "-o", "OUT")
    tuned = ("finetune", model, "--data", folder / "train.npz", *TUNE, "-o", "OUT")
    found = {
        "compile": scene("new.bsc", "compile", model, "-o", "OUT", *quick, "--force", state=plan_state),
        "report --html": scene("r.html", "report", plan, "--html", "OUT", state=page_state),
        "report --csv": scene("r.csv", "report", plan, "--csv", "OUT", state=file_state),
        "export --to cells": scene("c", "export", plan, "--to", "cells", "-o", "OUT", "--force", state=folder_state),
        "export --to onnx": scene("e.onnx", "export", plan, "--to", "onnx", "-o", "OUT", "--force", state=onnx_state),
        "export --to csv": scene("t.csv", "export", plan, "--to", "csv", "-o", "OUT", "--force", state=file_state),
        "export --to model-explorer": scene(
            "x", "export", plan, "--to", "model-explorer", "-o", "OUT", "--force", state=folder_state
        ),
        "run": scene("o.npz", "run", plan, "--data", folder / "train.npz", "-o", "OUT", "--force", state=arrays_state),
        "hw fit": scene("d.toml", "hw", "fit", cells, "-o", "OUT", state=file_state),
        "finetune": scene("t.onnx", *tuned, "--force", state=onnx_state),
    }
    explore = scene("e.sqlite", *sweep, state=sweep_state)
    found["explore"] = Scene(**{**explore.__dict__, "partial": True})
    return found


def plan_state(path: Path) -> str:
    """A plan, every file of which is as it says."""
    if not path.exists():
        return ""
    plan = read_plan(path)
    for layer in plan.mapping.layers:
        plan.mapping.arrays(layer)
    assert (path / "report.html").read_text().rstrip().endswith("</html>")
    json.loads((path / "report.json").read_text())
    return folder_state(path)


def folder_state(path: Path) -> str:
    """All files of a folder."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.exists() else []
    return " ".join(f"{each.relative_to(path)}={file_state(each)}" for each in files)


def file_state(path: Path) -> str:
    """A file's digest."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def arrays_state(path: Path) -> str:
    """Arrays by name, all of which can be read."""
    if path.exists():
        with np.load(path) as arrays:
            assert all(arrays[name].size for name in arrays)
    return file_state(path)


def page_state(path: Path) -> str:
    """A page that has an end."""
    assert not path.exists() or path.read_text().rstrip().endswith("</html>")
    return file_state(path)


def onnx_state(path: Path) -> str:
    """A model that onnx takes."""
    if path.exists():
        onnx.checker.check_model(onnx.load(path))
    return file_state(path)


def sweep_state(path: Path) -> str:
    """The rows of a sweep."""
    if not path.exists():
        return ""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        query = "SELECT name FROM sqlite_master WHERE type='table' ORDER BY 1"
        tables = [name for (name,) in connection.execute(query)]
        rows = [sorted(map(repr, connection.execute(f"SELECT * FROM {name}"))) for name in tables]
    connection.close()
    return repr(rows)


def left_over_of(output: Path) -> list[str]:
    """What lies beside an output that no command should leave."""
    return sorted(path.name for path in output.parent.iterdir() if path.name.startswith(f".{output.name}-"))


def problem(scene: Scene, before: str, after: str) -> str:
    """What is wrong with the output as it is now, "" if nothing.

    Args:
        scene: of the command.
        before: the output's state before the command began.
        after: its state when the command is not disturbed.
    """
    try:
        now = scene.state(scene.output)
    except (BscError, AssertionError, OSError, ValueError, sqlite3.Error, onnx.checker.ValidationError) as error:
        return f"half-written: {error}"
    if scene.partial or now in (before, after):
        return ""
    return "gone" if not now else "neither what was there nor what was to be written"


def went_on(scene: Scene, ended: Ended, after: str) -> str:
    """What is wrong after the command was run once more, "" if nothing."""
    if ended.code:
        return f"cannot be run again: {ended.stderr}"
    if scene.state(scene.output) != after:
        return "another result when run again"
    left = left_over_of(scene.output)
    return f"left behind: {left}" if left else ""
