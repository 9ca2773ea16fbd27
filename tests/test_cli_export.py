"""`bsc export` as a user meets it."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

import bsc.export.cells
from bsc.cli import main
from bsc.execution.session import quiet_session
from bsc.export.cells import read_cells
from bsc.plan.folder import read_plan
from bsc.replay.engine import Replayer
from bsc.testing import mlp_model, save


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only thing in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    model = save(mlp_model(12, 8, 3), tmp_path / "mlp.onnx")
    assert run("compile", model.name, "--adc", "fixed=3").exit_code == 0
    model.unlink()
    return Path("mlp.bsc")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_onnx(plan: Path) -> None:
    before = contents(plan)
    result = run("export", plan, "--to", "onnx")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "wrote mlp.crossbars.onnx\n")
    assert contents(plan) == before
    onnx.checker.check_model("mlp.crossbars.onnx", full_check=True)
    feeds = {"x": np.random.default_rng(0).standard_normal((4, 12)).astype(np.float32)}
    (y,) = quiet_session(Path("mlp.crossbars.onnx")).run(None, feeds)
    np.testing.assert_array_equal(y, Replayer(read_plan(plan).mapping).replayed(feeds)["y"])
    first = Path("mlp.crossbars.onnx").read_bytes()
    assert run("export", plan, "--to", "onnx", "-o", "other.onnx").stderr == "wrote other.onnx\n"
    assert Path("other.onnx").read_bytes() == first


def test_cells(plan: Path) -> None:
    before = contents(plan)
    result = run("export", plan, "--to", "cells")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "wrote mlp.cells/\n")
    assert contents(plan) == before
    layers = [crossbar.layer for crossbar in read_cells(Path("mlp.cells"))]
    assert sorted(set(layers)) == ["fc0", "fc1"]
    assert run("export", plan, "--to", "cells", "-o", "other").exit_code == 0
    one, other = (list(contents(Path(name)).values()) for name in ("mlp.cells", "other"))
    assert one == other


@pytest.mark.parametrize(
    ("form", "output", "kind"),
    [("onnx", "mlp.crossbars.onnx", "an exported model"), ("cells", "mlp.cells", "a cells folder")],
)
def test_an_export_that_exists_needs_force(form: str, output: str, kind: str, plan: Path) -> None:
    assert run("export", plan, "--to", form).exit_code == 0
    before = contents(Path())
    result = run("export", plan, "--to", form)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error [BSC203] output '{output}' exists already\n"
        f"  seen: {kind}\n"
        "  fix:  add --force to replace it, or choose another --output\n",
    )
    assert run("export", plan, "--to", form, "--force").exit_code == 0
    assert contents(Path()) == before
    Path("notes").write_text("mine", encoding="utf-8")
    result = run("export", plan, "--to", form, "-o", "notes", "--force")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC203] output 'notes' exists already\n"
        f"  seen: something that is not {kind}, which is never replaced\n"
        "  fix:  choose another --output\n",
    )


@pytest.mark.parametrize("form", ["onnx", "cells"])
@pytest.mark.parametrize("output", ["mlp.bsc", "mlp.bsc/out", "mlp.bsc/layers/../plan.json", "link/out"])
def test_an_output_in_the_plan_folder(form: str, output: str, plan: Path) -> None:
    before = contents(plan)
    Path("link").symlink_to(plan)
    result = run("export", plan, "--to", form, "-o", output, "--force")
    assert (result.exit_code, result.stderr) == (
        2,
        f"error [BSC204] output '{output}' cannot be written\n"
        "  seen: it lies in the plan folder, which is never changed\n"
        "  fix:  choose another --output\n",
    )
    assert contents(plan) == before


@pytest.mark.parametrize("form", ["onnx", "cells"])
def test_an_output_that_cannot_be(form: str, plan: Path) -> None:
    result = run("export", plan, "--to", form, "-o", "no/such/place")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC204] output 'no/such/place' cannot be written\n"
        "  seen: No such file or directory\n"
        "  fix:  choose a folder you may write to\n",
    )


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(
    ("form", "target", "name"), [("onnx", Path, "write_bytes"), ("cells", bsc.export.cells, "save_file")]
)
def test_a_full_disk_leaves_what_was_there(
    form: str, target: Any, name: str, monkeypatch: pytest.MonkeyPatch, plan: Path, *, existing: bool
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if existing:
        assert run("export", plan, "--to", form, "-o", "out").exit_code == 0
    before = contents(Path())
    monkeypatch.setattr(target, name, no_space)
    result = run("export", plan, "--to", form, "-o", "out", "--force")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC204] output 'out' cannot be written\n"
        "  seen: No space left on device\n"
        "  fix:  free some space or choose another --output\n",
    )
    assert contents(Path()) == before
    assert len(list(Path().iterdir())) == 1 + existing


def test_a_plan_that_is_not_there(plan: Path) -> None:
    result = run("export", "none.bsc", "--to", "onnx")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC202] plan 'none.bsc' cannot be opened\n"
        "  seen: no such folder\n"
        "  fix:  give the folder that 'bsc compile' wrote, such as model.bsc\n",
    )
    assert run("export", plan).exit_code == 2
