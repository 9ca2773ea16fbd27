"""One case: hostile files in a folder of their own, one or two commands on them, and what came of it."""

import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner

from bsc.cli import main
from bsc.replay import import_check
from tests.fuzz.models import mutated
from tests.fuzz.plans import mutate_plan
from tests.fuzz.seeds import seed_models, weights_file

MAX_BYTES = 2 << 30
MAX_SECONDS = 15
"""On the slowest processor that this was run on: a constant output of a gigabyte, made four times, takes 11 s there."""
SECONDS_PER_BYTE = 1e-4
"""On top, of the model: 2 ms for an operator of 22 bytes, which is the least that one takes in a file."""
CHECK_SECONDS = 4.0
"""How long the check of an import may run a model here, which may loop for ever; users wait ten minutes."""
PLAN_SHARE = 0.3
SECRET = b"\x01\x02\x80\x3f" * 500
FORBIDDEN = ("secret.bin", "/etc/passwd", "/dev/zero", "/proc/self/mem")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case.

    Attributes:
        number: of the case; with it the case can be run again.
        kind: "model" or "plan".
        code: of the error of the last command, "ok" if there was none.
        problem: what must not be: an internal error, a file touched, too much memory or time; "" if all is well.
        seconds: of processor time that the commands took; the machine may be busy with other things.
        peak_bytes: largest resident memory of the process meanwhile.
    """

    number: int
    kind: str
    code: str
    problem: str
    seconds: float
    peak_bytes: int


def run_case(number: int, folder: Path, plans: list[Path]) -> Outcome:
    """Run one case.

    Args:
        number: seeds everything; the same number is the same case.
        folder: empty; the case is left there.
        plans: plan folders to start from, of `base_plans`.
    """
    random = Random(number)
    kind = "plan" if random.random() < PLAN_SHARE else "model"
    inputs, output = folder / "in", folder / "out"
    for each in (inputs, output, folder / "tmp"):
        each.mkdir()
    (folder / "secret.bin").write_bytes(SECRET)
    if kind == "model":
        _write_model(random, inputs)
        commands = _model_commands(random, inputs / "model.onnx", output / "model.bsc")
    else:
        shutil.copytree(random.choice(plans), inputs / "plan.bsc")
        mutate_plan(random, inputs / "plan.bsc")
        commands = _plan_commands(random, inputs / "plan.bsc", output)
    before = _contents(inputs)
    code, problem = "ok", ""
    _reset_peak()
    start = time.process_time()
    with _watched(folder) as touched, patch.object(import_check, "SECONDS", CHECK_SECONDS):
        for command in commands:
            code, problem = _run(command)
            if code != "ok" or problem:
                break
    seconds = time.process_time() - start
    peak = _peak()
    if touched:
        problem = problem or f"touched {touched[0]}"
    if _contents(inputs) != before or {path.name for path in folder.iterdir()} != {"in", "out", "secret.bin", "tmp"}:
        problem = problem or "changed its input or wrote beside it"
    if peak > MAX_BYTES:
        problem = problem or f"memory {peak / 1e9:.1f} GB"
    size = sum(path.stat().st_size for path in inputs.rglob("*.onnx") if path.is_file() and not path.is_symlink())
    if seconds > MAX_SECONDS + size * SECONDS_PER_BYTE:
        problem = problem or f"{seconds:.0f} s"
    return Outcome(number=number, kind=kind, code=code, problem=problem, seconds=seconds, peak_bytes=peak)


def base_plans(folder: Path) -> list[Path]:
    """Plan folders of several kinds, made in `folder`."""
    options = {
        "cnn": ["--xbar", "16x8"],
        "mlp": ["--encoding", "centre", "--xbar", "4x4"],
        "conv": ["--adc", "fixed=3", "--active-rows", "4", "--xbar", "8x8"],
        "control flow": ["--encoding", "offset"],
        "attention": ["--granularity", "tile"],
    }
    plans = []
    for name, extra in options.items():
        model, plan = folder / f"{name}.onnx", folder / f"{name}.bsc"
        model.write_bytes(seed_models()[name].SerializeToString())
        result = CliRunner().invoke(main, ["compile", str(model), "-o", str(plan), *extra])
        assert result.exit_code == 0, result.output
        plans.append(plan)
    return plans


def _write_model(random: Random, folder: Path) -> None:
    _, model = random.choice(sorted(seed_models().items()))
    (folder / "model.onnx").write_bytes(mutated(random, model))
    (folder / "weights.bin").write_bytes(weights_file()[: random.choice([None, None, None, 100])])
    (folder / "link.bin").symlink_to("../secret.bin")
    os.mkfifo(folder / "pipe")
    (folder / "pipe-link").symlink_to("pipe")
    (folder / "sub").mkdir()


def _model_commands(random: Random, model: Path, plan: Path) -> list[list[str]]:
    if random.random() < 0.2:
        return [["check", str(model), *random.choice([[], ["--json"], ["--input-shape", "x:2,4"]])]]
    more = [
        [],
        ["--json"],
        ["--json"],
        ["--encoding", "centre"],
        ["--xbar", "8x8", "--granularity", "tile"],
        ["--adc", "fixed=2"],
    ]
    commands = [["compile", str(model), "-o", str(plan), *random.choice(more)]]
    verify = ["verify", str(plan), "--limit", "2"]
    return [*commands, verify + (["--model", str(model)] if random.random() < 0.3 else [])]


def _plan_commands(random: Random, plan: Path, output: Path) -> list[list[str]]:
    name = str(plan)
    return random.choice(
        [
            [
                ["inspect", name],
                ["report", name, "--html", str(output / "report.html")],
                ["verify", name, "--limit", "2"],
            ],
            [["verify", name, "--limit", "2", "--every-conversion"]],
            [["cost", name, "--json"], ["simulate", name, "--limit", "2", "--stats"]],
            [["simulate", name, "--limit", "1", "--noise", "generic", "--trials", "1"]],
            [["diff", name, name], ["export", name, "--to", "cells", "-o", str(output / "cells")]],
            [["export", name, "--to", "onnx", "-o", str(output / "out.onnx")]],
        ]
    )


def _run(command: list[str]) -> tuple[str, str]:
    """(code, problem) of one command."""
    result = CliRunner().invoke(main, command)
    found = re.search(r"^error \[(BSC\d{3})\]", result.stderr, re.MULTILINE)
    code = found[1] if found else "ok"
    trouble = "Traceback" in result.output or "internal error" in result.stderr
    hostile = next((each for each in result.output if not each.isprintable() and each != "\n"), None)
    if hostile is not None:
        return code, f"{command[0]}: prints {hostile!r}"
    fits = result.exit_code == (0 if code == "ok" else int(code[3]))
    if trouble or not fits or (result.exception is not None and not isinstance(result.exception, SystemExit)):
        lines = [line for line in result.stderr.splitlines() if "internal error" in line] or [repr(result.exception)]
        return code, f"{command[0]}: exit {result.exit_code}: {lines[0]}"
    return code, ""


# --- what a case may touch


class _Watch:
    """The folder that may be written to, and what was touched beyond it; one for the process, as hooks stay."""

    folder: Path | None = None
    touched: list[str]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _Watch.folder is None or event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.symlink", "os.link"):
        return
    within = arguments[-1] if event in ("os.remove", "os.mkdir") else -1  # a folder that is open: of a whole tree
    if not isinstance(arguments[0], str | bytes | os.PathLike) or within != -1:
        return
    path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100  (links are left as they are)
    if event == "open":
        mode, flags = arguments[1], arguments[2] or 0
        writes = set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if path.endswith(FORBIDDEN) or (not writes and os.path.realpath(path).endswith(FORBIDDEN)):
            _Watch.touched.append(f"read {path}")
        if not writes or path == os.devnull:
            return
    if not path.startswith((f"{_Watch.folder}/out", f"{_Watch.folder}/tmp")):
        _Watch.touched.append(f"{event} {path}")


@contextmanager
def _watched(folder: Path) -> Iterator[list[str]]:
    """Note every file that Python opens for writing outside `folder`'s out and tmp, or that it must not read."""
    if not hasattr(_Watch, "touched"):
        sys.addaudithook(_hook)
    before = tempfile.tempdir
    tempfile.tempdir = str(folder / "tmp")
    _Watch.folder, _Watch.touched = folder, []
    try:
        yield _Watch.touched
    finally:
        _Watch.folder = None
        tempfile.tempdir = before


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        for path in sorted(folder.rglob("*"))
    }


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as stream:  # noqa: PTH123
        stream.write("5")


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024
