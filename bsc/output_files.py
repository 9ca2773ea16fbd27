"""Output that is there whole or not at all: written beside its place and renamed."""

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from bsc.errors import UsageError

AT_FDCWD, EXCHANGE = -100, 2
"""Of Linux's renameat2: paths as they are, and swap what they lead to."""


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
def new_folder(folder: Path, *, force: bool) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` in the end; after an error nothing of it is left.

    Args:
        folder: the place.
        force: take the place of what is there then, in one step: at no moment is there neither.

    Raises:
        UsageError: BSC203 if something has come there meanwhile that may not be replaced.
    """
    folder = folder.absolute()  # "." has no name to put anything beside
    with _temporary(folder, Path.mkdir) as temporary:
        yield temporary
        _move_into_place(temporary, folder, force=force)


def write_file(path: Path, content: bytes, *, force: bool = True) -> None:
    """Write a file, over one that is there; after an error that one is as it was.

    A link stays and what it leads to is written; a pipe or a device gets the content as it is.

    Args:
        path: the file.
        content: all of it.
        force: replace one that is there; without, whoever writes it first keeps it.

    Raises:
        UsageError: BSC203 if it is there and may not be replaced; BSC204 if it cannot be written.
    """
    with output_errors(path):
        target = path.resolve()
        if target.exists() and not target.is_file():
            target.write_bytes(content)
            return
        with _temporary(target, Path.touch) as temporary:
            temporary.write_bytes(content)
            if force:
                temporary.replace(target)
            else:
                _link_into_place(temporary, target)


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


def _move_into_place(temporary: Path, folder: Path, *, force: bool) -> None:
    """Rename; what is there takes the place of `temporary`."""
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not force:
            raise _come_meanwhile(folder) from None
        _exchange(temporary, folder)


def _link_into_place(temporary: Path, target: Path) -> None:
    """Give the file its name unless another has it."""
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        raise _come_meanwhile(target) from None
    except OSError:  # a file system without links
        temporary.rename(target)


def _come_meanwhile(output: Path) -> UsageError:
    return UsageError(
        "BSC203",
        f"output '{output}' exists already",
        seen="another process has written it meanwhile",
        fix="add --force to replace it, or choose another --output",
    )


def _exchange(temporary: Path, folder: Path) -> None:
    """Swap two folders: in one step where the system can, else with a moment between two."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None and rename(AT_FDCWD, os.fsencode(temporary), AT_FDCWD, os.fsencode(folder), EXCHANGE) == 0:
        return
    aside = _beside(folder)
    folder.rename(aside)
    try:
        temporary.rename(folder)
    except BaseException:  # an interrupt too
        aside.rename(folder)
        raise
    aside.rename(temporary)


@contextlib.contextmanager
def _temporary(path: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    """A name on the same file system that nothing else uses, and something made there, which is removed in the end.

    It is locked for as long. What is not locked was left by a process that was killed, and is removed here too.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}-{'[0-9a-f]' * 16}"):
        _remove_unused(left)
    while True:
        temporary = _beside(path)
        try:
            make(temporary)
            with contextlib.ExitStack() as stack:
                with contextlib.suppress(FileNotFoundError):
                    stack.enter_context(_locked(temporary, fcntl.LOCK_SH))
                if not temporary.exists():  # removed as unused before it was opened or locked
                    continue
                yield temporary
                return
        finally:
            _remove(temporary)


def _remove_unused(path: Path) -> None:
    with contextlib.suppress(OSError), _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock, which ends with the process; raises `OSError` if another has it and `how` is not to wait."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}-{secrets.token_hex(8)}")
