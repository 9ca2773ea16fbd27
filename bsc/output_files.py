"""Output that is there whole or not at all: written beside its place and renamed."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from bsc.errors import UsageError


def require_free(output: Path, *, force: bool, kind: str, is_one: Callable[[Path], bool]) -> None:
    """Whether something may be written to `output`.

    Args:
        output: the file or folder.
        force: replace one that is there.
        kind: what may be replaced, such as "a plan folder".
        is_one: whether what is there is of that kind; not asked for links.

    Raises:
        UsageError: BSC203 if something is there that may not be replaced; BSC204 if that cannot be told.
    """
    with output_errors(output):
        if not output.exists() and not output.is_symlink():
            return
        replaceable = not output.is_symlink() and is_one(output)
    if force and replaceable:
        return
    raise UsageError(
        "BSC203",
        f"output '{output}' exists already",
        seen=kind if replaceable else f"something that is not {kind}, which is never replaced",
        fix="add --force to replace it, or choose another --output" if replaceable else "choose another --output",
    )


@contextlib.contextmanager
def output_errors(output: Path) -> Iterator[None]:
    """Tell what keeps `output` from being written.

    Raises:
        UsageError: BSC204 for any error of the operating system, and for a path that it would not take.
    """
    try:
        if "\0" in str(output):
            raise OSError(errno.EINVAL, "embedded null byte")
        yield
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise UsageError(
            "BSC204",
            f"output '{output}' cannot be written",
            seen=reason,
            fix="free some space or choose another --output" if full else "choose a folder you may write to",
        ) from None


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` in the end; after an error nothing of it is left."""
    folder = folder.absolute()  # "." has no name to put anything beside
    temporary = _beside(folder)
    try:
        temporary.mkdir()
        yield temporary
        _move_into_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file, over one that is there; after an error that one is as it was.

    A link stays and what it leads to is written; a pipe or a device gets the content as it is.

    Raises:
        UsageError: BSC204 if it cannot be written.
    """
    with output_errors(path):
        target = path.resolve()
        if target.exists() and not target.is_file():
            target.write_bytes(content)
            return
        temporary = _beside(target)
        try:
            temporary.write_bytes(content)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Whether `write_file` has a chance, before there is anything to write.

    Raises:
        UsageError: BSC204 for a folder, or a file in a folder that is not there or may not be written to.
    """
    with output_errors(path):
        target = path.resolve()
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not target.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Rename; a folder that is there is moved aside first and comes back if the rename fails."""
    if not folder.exists():
        temporary.rename(folder)
        return
    aside = _beside(folder)
    folder.rename(aside)
    try:
        temporary.rename(folder)
    except BaseException:  # an interrupt too
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A name on the same file system that nothing else uses."""
    return path.with_name(f".{path.name}-{secrets.token_hex(8)}")
