"""Arrays beside the graph, so that memory follows the largest of them and not their sum.

Large ones lie in files and are mapped only while someone reads them.
"""

import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError

SPILLED_BYTES = 1 << 20
"""Smaller arrays stay in memory."""


class ArraySource(Protocol):
    """Anything NumPy can read as an array: an ndarray, or one that lies in a file."""

    def __array__(self) -> NDArray[Any]:
        """The values."""
        ...


class Opened(Protocol):
    """A file that is open."""

    @property
    def stream(self) -> IO[bytes]:
        """Where it can be read and mapped."""
        ...


class MappedArray:
    """An array in a file. Every read maps it anew, and its pages are given back with the array that was read.

    Args:
        file: its path, or the open file.
        dtype: type of the values.
        shape: sizes; at least one value.
        offset: where it starts, in bytes.
    """

    def __init__(self, file: Path | Opened, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> None:
        self._file = file
        self._dtype = dtype
        self._shape = shape
        self._offset = offset

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The values, read-only."""
        file = self._file if isinstance(self._file, Path) else self._file.stream
        mapped = np.asarray(np.memmap(file, self._dtype, "r", self._offset, self._shape))
        return mapped if dtype is None and not copy else np.array(mapped, dtype)


class SideTable(MutableMapping[str, ArraySource]):
    """Arrays that a pass computes, by key; large ones go into a temporary file without a name as they come.

    Raises:
        UsageError: BSC204 if that file cannot be written.
    """

    def __init__(self, arrays: Mapping[str, ArraySource] | None = None) -> None:
        self._arrays: dict[str, ArraySource] = {}
        self._scratch: _Scratch | None = None
        self.update(arrays or {})

    def __setitem__(self, key: str, array: ArraySource) -> None:
        if isinstance(array, np.ndarray) and array.nbytes >= SPILLED_BYTES:
            array = self._spilled(array)
        self._arrays[key] = array

    def __getitem__(self, key: str) -> ArraySource:
        return self._arrays[key]

    def __delitem__(self, key: str) -> None:
        del self._arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def _spilled(self, array: NDArray[Any]) -> MappedArray:
        try:
            if self._scratch is None:
                self._scratch = _Scratch()
            offset = self._scratch.append(array)
        except OSError as error:
            raise UsageError(
                "BSC204",
                f"temporary folder '{tempfile.gettempdir()}' cannot be written",
                seen=error.strerror or str(error),
                fix="free some space there, or name another folder in the environment variable TMPDIR",
            ) from None
        return MappedArray(self._scratch, array.dtype, array.shape, offset)


class _Scratch:
    """A temporary file that is gone with the last array in it, and with the process whatever happens to that."""

    def __init__(self) -> None:
        self.stream: IO[bytes] = tempfile.TemporaryFile(prefix="bsc-")  # noqa: SIM115

    def __del__(self) -> None:
        if hasattr(self, "stream"):
            self.stream.close()

    def append(self, array: NDArray[Any]) -> int:
        """Write an array; returns where it starts, on a page of its own."""
        offset = -(-self.stream.seek(0, 2) // 4096) * 4096
        self.stream.seek(offset)
        array.tofile(self.stream)
        self.stream.flush()
        return offset
