"""Writers that are killed at every step, and commands at some moments; `run.py` tries many more."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from bsc.output_files import new_folder, write_file
from tests.faults import child
from tests.faults.run import at_limits, kills, on_full_disk, races
from tests.faults.scenes import folder_state, left_over_of, prepare, scenes


def fill(output: Path, content: str) -> None:
    """Write two files into a new folder."""
    with new_folder(output, force=True) as folder:
        for name in ("a", "b"):
            (folder / name).write_text(content)


def write(output: Path, content: str) -> None:
    """Write a file."""
    write_file(output, content.encode())


def state(output: Path) -> str:
    """Of a file, or of all files in a folder."""
    return output.read_text() if output.is_file() else folder_state(output)


@pytest.mark.parametrize("writer", [fill, write])
@pytest.mark.parametrize("there", [True, False])
def test_an_output_is_whole_at_every_step(writer: Callable[[Path, str], None], there: bool, tmp_path: Path) -> None:
    writer(tmp_path / "new", "new")
    output = tmp_path / "output"
    if there:
        writer(output, "old")
    allowed = {state(tmp_path / "new"), state(output)}
    seen = set()
    for step in itertools.count():
        came_so_far = child.killed_at_step(lambda: writer(output, "new"), step, tmp_path)
        seen.add(state(output))
        assert seen <= allowed, f"step {step}"
        if not came_so_far:
            break
    assert step > 3
    assert seen == allowed
    writer(output, "new")
    assert left_over_of(output) == []


@pytest.mark.parametrize("command", ["compile", "report --html"])
def test_a_command_is_killed_and_runs_out_of_space(command: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    scene = scenes(tmp_path)[command]
    counts, problems = kills(scene, 2, seed=0)
    assert (problems, counts.total()) == ([], 2)
    disk, problems = at_limits(scene, limits=(1000,))
    assert (problems, dict(disk)) == ([], {"refused": 2})


@pytest.mark.parametrize("command", ["compile", "report --html", "run", "explore"])
def test_two_processes_write_one_output(command: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    counts, problems = races(scenes(tmp_path)[command], 2, seed=0)
    assert (problems, counts.total()) == ([], 2)


@pytest.mark.parametrize(("command", "refused"), [("compile", 2), ("export --to csv", 2), ("explore", 1)])
def test_a_disk_is_full(command: str, refused: int) -> None:
    """A sweep that is done already writes nothing."""
    disk, problems = on_full_disk(command, rooms=(0,))
    if not disk:
        pytest.skip("this process may not mount a small disk")
    assert (problems, disk["refused"], disk.total()) == ([], refused, 2)


def test_a_full_device_behind_standard_output(tmp_path: Path) -> None:
    prepare(tmp_path)
    ended = child.run(["inspect", tmp_path / "p0.bsc"], stdout="/dev/full")
    assert (ended.code, ended.clear) == (2, True)
    assert "  seen: No space left on device" in ended.stderr
