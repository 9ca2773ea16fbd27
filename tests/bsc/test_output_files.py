"""Single files as output: what is there already, and what is in the way."""

import os
import threading
from pathlib import Path

import pytest

from bsc.errors import UsageError
from bsc.output_files import output_errors, require_writable, write_file


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
