"""The workflow of examples/ci: its commands are run as GitHub Actions would, in a repository of a user's."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bsc.testing import mlp_model, save

ROOT = Path(__file__).parent.parent.parent
CI = ROOT / "examples" / "ci"


def run_steps() -> dict[str, str]:
    """The shell text of every step that has one, by name; PyYAML is no dependency."""
    text = (CI / "crossbars.yml").read_text(encoding="utf-8")
    found = {}
    for step in re.split(r"^      - ", text, flags=re.MULTILINE)[1:]:
        run = re.search(r"^        run: (\|\n((?: {10}.*\n)+)|.*$)", step, re.MULTILINE)
        if run is not None:
            name = re.match(r"name: (.*)", step)
            assert name is not None
            found[name[1]] = textwrap.dedent(run[2]) if run[2] else run[1]
    return found


def readme_commands() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", (CI / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model and nothing else; `bsc` on the path is that of this interpreter."""
    save(mlp_model(12, 8, 3), tmp_path / "model.onnx")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "bsc"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bsc "$@"\n')
    script.chmod(0o755)
    return tmp_path


def shell(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_job_passes_fails_and_passes_again(repository: Path) -> None:
    steps, (first, accept) = run_steps(), readme_commands()
    assert list(steps) == ["Install bsc", "Compile", "Compare with the golden report"]
    compare = steps["Compare with the golden report"]
    assert shell(first, repository).returncode == 0
    assert shell("rm -r model.bsc\n" + steps["Compile"], repository).returncode == 0
    same = shell(compare, repository)
    assert (same.returncode, same.stdout) == (0, "golden/report.json and model.bsc do not differ\n")

    save(mlp_model(12, 8, 4), repository / "model.onnx")
    assert shell("rm -r model.bsc\n" + steps["Compile"], repository).returncode == 0
    other = shell(compare, repository)
    assert other.returncode == 1
    assert other.stdout.splitlines()[-1].startswith("beyond the tolerance of 1%: ")
    summary = (repository / "summary.md").read_text(encoding="utf-8")
    assert summary.endswith(f"### Crossbar plan\n```text\n{other.stdout}```\n")

    assert shell(accept, repository).returncode == 0
    assert shell(compare, repository).returncode == 0


def test_a_missing_golden_report_fails_the_job(repository: Path) -> None:
    steps = run_steps()
    assert shell(steps["Compile"], repository).returncode == 0
    missing = shell(steps["Compare with the golden report"], repository)
    assert (missing.returncode, "[BSC202]" in missing.stderr) == (2, True)


def test_the_report_is_kept() -> None:
    """What the workflow uploads is what the steps write."""
    text = (CI / "crossbars.yml").read_text(encoding="utf-8")
    assert re.findall(r"^            (\S+)$", text, re.MULTILINE) == [
        "model.bsc/report.html",
        "model.bsc/report.json",
        "diff.txt",
    ]
