"""Time and memory of compiling large models, compared with the bars; exits 1 if one is missed.

    python -m tests.benchmarks.compile_speed [--runs N] [--json FILE]

Run it from the repository's root, with bsc installed, on Linux. It needs 3 GB of disk in the temporary folder (TMPDIR)
while it runs. README.md says what each number includes.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from tests.benchmarks.worker import Run

# Source of all bars: issue 2, "Speed and memory", on two cores.
MAX_RESNET18_CPU_S = 2.0
MAX_VGG19_OVER_QUANTIZE_DYNAMIC = 1.0
MAX_VGG19_PEAK_BYTES = 2.5e9
MAX_HELP_S = 0.2

ROOT = Path(__file__).parents[2]
BSC = Path(sysconfig.get_path("scripts")) / "bsc"
NEEDED_DISK_BYTES = 3e9
HELP_RUNS = 10
LIBRARIES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "safetensors")

JOBS = (("resnet18", "bsc"), ("vgg19", "bsc"), ("vgg19", "quantize_dynamic"))
"""Measured in turn, as often as there are runs, so that a slow minute of the machine hits all alike."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A measured figure and the most it may be."""

    what: str
    measured: float
    limit: float
    unit: str

    @property
    def ok(self) -> bool:
        return self.measured <= self.limit

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "MISSED"
        return f"{self.what:58}{self.measured:8.3f} {self.unit:3} <= {self.limit:<4g}{self.unit:3} {verdict}"


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Every run of every job and command.

    Attributes:
        runs: by "MODEL PROGRAM".
        commands: wall-clock seconds by command line, from the start of its process to the end.
    """

    runs: dict[str, list[Run]]
    commands: dict[str, list[float]]

    def bars(self) -> list[Bar]:
        resnet, vgg = self.runs["resnet18 bsc"], self.runs["vgg19 bsc"]
        other = self.runs["vgg19 quantize_dynamic"]
        over = "VGG-19 compile over quantize_dynamic"
        limit = MAX_VGG19_OVER_QUANTIZE_DYNAMIC
        peak = max(run.peak_bytes for run in vgg)
        return [
            Bar(what="ResNet-18 compile, CPU time", measured=cpu_s(resnet), limit=MAX_RESNET18_CPU_S, unit="s"),
            Bar(what=f"{over}, wall-clock time", measured=wall_s(vgg) / wall_s(other), limit=limit, unit=""),
            Bar(what=f"{over}, CPU time", measured=cpu_s(vgg) / cpu_s(other), limit=limit, unit=""),
            Bar(what="VGG-19 compile, peak memory", measured=peak / 1e9, limit=MAX_VGG19_PEAK_BYTES / 1e9, unit="GB"),
            Bar(
                what="bsc --help, wall-clock time",
                measured=statistics.median(self.commands["bsc --help"]),
                limit=MAX_HELP_S,
                unit="s",
            ),
        ]


def cpu_s(runs: list[Run]) -> float:
    return statistics.median(run.cpu_s for run in runs)


def wall_s(runs: list[Run]) -> float:
    return statistics.median(run.wall_s for run in runs)


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Runs that medians are over.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write every run there.")
def main(runs: int, json_file: Path | None) -> None:
    """Measure, print a table, and fail if a bar is missed."""
    if not BSC.is_file():
        raise click.ClickException(f"no {BSC}: install bsc in this environment first")
    host = machine()
    with tempfile.TemporaryDirectory(prefix="bsc-benchmark-") as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < NEEDED_DISK_BYTES:
            raise click.ClickException(f"less than {NEEDED_DISK_BYTES / 1e9:g} GB free in {folder.parent}")
        _run_module("tests.benchmarks.models", folder)
        os.sync()  # else the first runs compete with the writing of the models
        found = Measurements(runs=_measure_jobs(folder, runs), commands=_time_commands(folder, runs))
    click.echo("\n".join(report(host, found)))
    bars = found.bars()
    if json_file is not None:
        record = {"machine": host, **asdict(found), "bars": [asdict(bar) | {"ok": bar.ok} for bar in bars]}
        json_file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if missed := [bar.what for bar in bars if not bar.ok]:
        raise click.ClickException(f"missed: {'; '.join(missed)}")


def machine() -> dict[str, str]:
    """What the figures depend on."""
    cpu_lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.partition(":")[2].strip() for line in cpu_lines if line.startswith("model name")), "unknown")
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    memory = f"{ram / 1e9:.0f} GB"
    return {"cpu": cpu, "cores": str(os.cpu_count()), "memory": memory, "python": platform.python_version(), **versions}


def report(host: dict[str, str], found: Measurements) -> Iterator[str]:
    """The lines to print."""
    yield ", ".join(f"{key} {value}" for key, value in host.items())
    yield f"load average now {os.getloadavg()[0]:.1f}"
    yield ""
    yield f"{'medians':40}{'runs':>6}{'CPU s':>9}{'wall s':>9}{'peak GB':>9}"
    for job, runs in found.runs.items():
        peak = max(run.peak_bytes for run in runs) / 1e9
        yield f"{job:40}{len(runs):6}{cpu_s(runs):9.2f}{wall_s(runs):9.2f}{peak:9.2f}"
    for command, seconds in found.commands.items():
        yield f"{command:40}{len(seconds):6}{'':9}{statistics.median(seconds):9.2f}"
    yield ""
    compiled = {job.removesuffix(" bsc"): runs for job, runs in found.runs.items() if job.endswith(" bsc")}
    yield f"{'stages of a compilation, wall s':40}" + "".join(f"{model:>12}" for model in compiled)
    for stage in next(iter(compiled.values()))[0].stages:
        medians = [statistics.median(run.stages[stage] for run in runs) for runs in compiled.values()]
        yield f"{stage:40}" + "".join(f"{median:12.3f}" for median in medians)
    yield ""
    yield from map(str, found.bars())


def _measure_jobs(folder: Path, runs: int) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {f"{model} {program}": [] for model, program in JOBS}
    for _ in range(runs):
        for model, program in JOBS:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                output = _run_module("tests.benchmarks.worker", program, folder / f"{model}.onnx", scratch)
            found[f"{model} {program}"].append(Run(**json.loads(output)))
    return found


def _time_commands(folder: Path, runs: int) -> dict[str, list[float]]:
    """Whole commands as a user runs them, reports included; the first call only compiles bytecode."""
    commands = [
        (HELP_RUNS, ["--help"]),
        (runs, ["compile", "vgg19.onnx", "--force"]),
        (runs, ["inspect", "vgg19.bsc"]),
        (runs, ["cost", "vgg19.bsc"]),
    ]
    _command_s(["--help"], folder)
    return {" ".join(["bsc", *words]): [_command_s(words, folder) for _ in range(times)] for times, words in commands}


def _command_s(words: list[str], folder: Path) -> float:
    start = time.perf_counter()
    _run([BSC, *words], folder)
    return time.perf_counter() - start


def _run_module(module: str, *words: Any) -> str:
    return _run([sys.executable, "-m", module, *words], ROOT)


def _run(command: list[Any], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
