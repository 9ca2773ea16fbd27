"""Single files as output: what is there already, and what is in the way."""

import os
import threading
from pathlib import Path

import pytest

from bsc.errors import UsageError
from bsc.output_files import new_folder, output_errors, require_writable, write_file


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as raised:
        write_file(path, b"new")
    return str(raised.value)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_pipe_gets_the_content_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"new")
    reader.join()
    assert got == [b"new"]
    assert pipe.is_fifo()


def test_a_full_device_is_told_and_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/full")
    assert "  seen: No space left on device\n  fix:  free some space" in refusal(tmp_path / "link")
    assert Path("/dev/full").is_char_device()


def test_nothing_is_left_beside_what_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert "  seen: Is a directory\n" in refusal(tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_path_with_a_zero_byte(tmp_path: Path) -> None:
    assert "[BSC204]" in refusal(tmp_path / "a\0b")


def test_bugs_are_not_called_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    """What is written is often computed in there; pydantic's errors are `ValueError` too."""
    with pytest.raises(ValueError, match=r"^a bug$"), output_errors(tmp_path / "new"):
        raise ValueError("a bug")


@pytest.mark.parametrize(
    ("name", "seen"), [("there", "Is a directory"), ("nowhere/file", "No such file or directory"), ("a\0b", "null")]
)
def test_what_cannot_be_written_is_known_before(tmp_path: Path, name: str, seen: str) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match=seen):
        require_writable(tmp_path / name)
    require_writable(tmp_path / "new")
    require_writable(tmp_path / "there" / "new")
    assert not (tmp_path / "new").exists()


MEANWHILE = (
    "[BSC203] output '{0}' exists already\n"
    "  seen: another process has written it meanwhile\n"
    "  fix:  add --force to replace it, or choose another --output"
)


def test_of_two_processes_the_first_keeps_a_folder(tmp_path: Path) -> None:
    output = tmp_path / "output"

    def slow_one() -> None:
        with new_folder(output, force=False) as slow:
            (slow / "a").write_text("slow")
            with new_folder(output, force=False) as fast:
                (fast / "a").write_text("fast")

    with pytest.raises(UsageError) as raised:
        slow_one()
    assert str(raised.value) == MEANWHILE.format(output)
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    assert (output / "a").read_text() == "fast"


def test_of_two_processes_with_force_the_last_wins(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with new_folder(output, force=True) as slow:
        (slow / "a").write_text("slow")
        with new_folder(output, force=True) as fast:
            (fast / "b").write_text("fast")
    assert [path.name for path in tmp_path.rglob("*")] == ["output", "a"]


def test_of_two_processes_the_first_keeps_a_file(tmp_path: Path) -> None:
    output = tmp_path / "output"
    write_file(output, b"fast", force=False)
    with pytest.raises(UsageError) as raised:
        write_file(output, b"slow", force=False)
    assert str(raised.value) == MEANWHILE.format(output)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("output", b"fast")]


def test_what_is_in_use_is_not_taken_for_what_a_kill_has_left(tmp_path: Path) -> None:
    output = tmp_path / "output"
    (tmp_path / f".output-{16 * '0'}").write_bytes(b"left")
    (tmp_path / f".output-{15 * '0'}").write_bytes(b"of the user's")
    with new_folder(output, force=False) as folder:
        write_file(output, b"")
        assert folder.is_dir()
        output.unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".output-{15 * '0'}", "output"]


def test_a_swap_where_the_system_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    for content in ("old", "new"):
        with new_folder(tmp_path / "output", force=True) as folder:
            (folder / content).write_text(content)
    assert [path.name for path in tmp_path.rglob("*")] == ["output", "new"]


def test_a_file_that_another_process_takes_for_unused_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may do so between making the file and opening it to lock it."""
    touch, made = Path.touch, []

    def touched(path: Path) -> None:
        made.append(path)
        if len(made) > 1:
            touch(path)

    monkeypatch.setattr(Path, "touch", touched)
    write_file(tmp_path / "out", b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert len(made) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
