"""Runs `bsc` in a fork of this process, which has its libraries loaded, and lets something happen to it."""

import contextlib
import importlib
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bsc.cli import main

MESSAGE_LINES = 3
LOADED = (
    "bsc.compiler.driver", "bsc.export.cells", "bsc.export.onnx_emulation", "bsc.exploration.sweep",
    "bsc.exploration.page",
    "bsc.report.build", "bsc.report.html.plan_page", "bsc.report.plan", "bsc.train.export", "bsc.train.trainer",
)  # fmt: skip
"""What commands import when they run: here once, so that their own time is what they are killed in."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended.

    Attributes:
        code: exit code, or the signal that ended it below 0.
        seconds: wall-clock time.
        stderr: what it said.
    """

    code: int
    seconds: float
    stderr: str

    @property
    def clear(self) -> bool:
        """Whether an error is one message with a code: what, seen, fix."""
        lines = self.stderr.splitlines()[-MESSAGE_LINES:]
        marks = ("error [BSC", "  seen: ", "  fix:  ")
        told = len(lines) == MESSAGE_LINES and all(map(str.startswith, lines, marks))
        return self.code == 0 or (told and "Traceback" not in self.stderr and "internal error" not in self.stderr)


def load() -> None:
    """Import what commands need."""
    for module in LOADED:
        importlib.import_module(module)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A run that has begun.

    Attributes:
        pid: of its process.
        messages: the end of a pipe that its messages come out of.
        begun: when, on the monotonic clock.
    """

    pid: int
    messages: int
    begun: float

    def wait(self) -> Ended:
        """Wait for its end."""
        with os.fdopen(self.messages, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
        _, status = os.waitpid(self.pid, 0)
        seconds = time.monotonic() - self.begun
        return Ended(code=os.waitstatus_to_exitcode(status), seconds=seconds, stderr=text)


def start(
    arguments: Sequence[object], *, before: Callable[[], object] = lambda: None, stdout: str = os.devnull
) -> Running:
    """Begin a run of `bsc`."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writes)
        return Running(pid=pid, messages=reads, begun=time.monotonic())
    code = 1
    try:  # whatever happens, the fork must not go on as its parent
        os.dup2(os.open(stdout, os.O_WRONLY), 1)
        os.dup2(writes, 2)
        os.close(writes)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        before()
        try:
            main([str(argument) for argument in arguments], prog_name="bsc")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
    finally:
        os._exit(code)


def run(arguments: Sequence[object], *, before: Callable[[], object] = lambda: None, stdout: str = os.devnull) -> Ended:
    """Run `bsc` to its end."""
    return start(arguments, before=before, stdout=stdout).wait()


def killed(arguments: Sequence[object], after_s: float) -> Ended:
    """Run `bsc` and kill it after so many seconds."""
    running = start(arguments)
    time.sleep(after_s)
    os.kill(running.pid, signal.SIGKILL)  # it is not waited for yet, so its number is still its own
    return running.wait()


def killed_at_step(work: Callable[[], object], step: int, folder: Path) -> bool:
    """Do something in a fork that is killed before its `step`-th step in `folder`; whether it came so far.

    Steps are files and folders that are opened, made, renamed or removed, and swaps of two of them.
    """

    def before() -> None:
        _kill_at(step, folder)
        work()
        os._exit(0)

    return run([], before=before).code == -signal.SIGKILL


STEPS = frozenset({
    "open", "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.copymode", "shutil.rmtree",
})  # fmt: skip
SWAP = "renameat2"


def _kill_at(step: int, folder: Path) -> None:
    left = step

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        about = [each for each in arguments if isinstance(each, str | bytes | os.PathLike)]
        inside = any(os.fsdecode(each).startswith(str(folder)) for each in about)
        if (inside and name in STEPS) or (name == "ctypes.dlsym" and SWAP in arguments):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def file_limit(size: int) -> Callable[[], None]:
    """No file may become larger than that: writing fails half-way, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def moments(seed: int, count: int, within_s: float) -> Iterator[float]:
    """Random moments of a run that takes so long, the last of them a little behind its end."""
    chance = random.Random(seed)
    return (chance.uniform(0, 1.1 * within_s) for _ in range(count))
