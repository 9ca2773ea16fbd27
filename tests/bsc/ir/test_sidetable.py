import gc
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from bsc.errors import UsageError
from bsc.ir import sidetable
from bsc.ir.sidetable import MappedArray, SideTable


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of 64 bytes and more are large."""
    monkeypatch.setattr(sidetable, "SPILLED_BYTES", 64)


@pytest.mark.usefixtures("small_limit")
def test_large_arrays_lie_in_a_file_and_small_ones_do_not() -> None:
    arrays = {
        "below": np.arange(63, dtype=np.uint8),
        "at": np.arange(64, dtype=np.uint8),
        "bool": np.tile([True, False], (40, 1)),
        "not contiguous": np.arange(600.0).reshape(20, 30)[::2, ::3].T,
        "half": np.full((3, 5, 7), 1.5, np.float16),
    }
    table = SideTable(arrays)
    assert {key for key, array in table.items() if isinstance(array, MappedArray)} == arrays.keys() - {"below"}
    for key, array in arrays.items():
        read = np.asarray(table[key])
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(read, array)


@pytest.mark.usefixtures("small_limit")
def test_arrays_keep_their_file_and_nothing_else_does() -> None:
    gc.collect()  # files of other tests
    before = open_files()
    table = SideTable({"a": np.arange(100)})
    copied = {**table}
    del table
    gc.collect()
    np.testing.assert_array_equal(np.asarray(copied["a"]), np.arange(100))
    assert open_files() == before + 1
    copied.clear()
    gc.collect()
    assert open_files() == before


@pytest.mark.usefixtures("small_limit")
def test_what_was_read_cannot_be_written() -> None:
    table = SideTable({"a": np.arange(100)})
    assert not np.asarray(table["a"]).flags.writeable
    own = np.array(table["a"], np.float32)
    own += 1
    np.testing.assert_array_equal(np.asarray(table["a"]), np.arange(100))


@pytest.mark.usefixtures("small_limit")
def test_words_for_a_temporary_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(UsageError) as caught:
        SideTable({"a": np.arange(100)})
    assert str(caught.value) == (
        f"[BSC204] temporary folder '{tmp_path / 'none'}' cannot be written\n"
        "  seen: No such file or directory\n"
        "  fix:  free some space there, or name another folder in the environment variable TMPDIR"
    )
