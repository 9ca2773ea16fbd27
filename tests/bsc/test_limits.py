import re
import resource
from pathlib import Path

import numpy as np
import pytest

from bsc.limits import BASE_BYTES, bounded_memory, cores


def test_this_process_has_a_processor() -> None:
    assert cores() >= 1


def test_what_asks_for_more_gets_an_error_at_once() -> None:
    with bounded_memory(0), pytest.raises(MemoryError):
        np.empty(2 * BASE_BYTES, np.uint8)
    np.empty(2 * BASE_BYTES, np.uint8)


def test_what_asks_for_less_gets_it() -> None:
    with bounded_memory(BASE_BYTES):
        np.empty(BASE_BYTES + (BASE_BYTES >> 1), np.uint8)


def test_the_smaller_of_two_bounds_holds_and_the_old_one_comes_back() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with bounded_memory(0):
        outer = resource.getrlimit(resource.RLIMIT_DATA)
        with bounded_memory(10 * BASE_BYTES):
            assert resource.getrlimit(resource.RLIMIT_DATA) == outer
        with pytest.raises(MemoryError), bounded_memory(0, base=1 << 20):
            np.empty(1 << 28, np.uint8)
        assert resource.getrlimit(resource.RLIMIT_DATA) == outer
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_of_more_there_is_what_the_machine_has_left() -> None:
    left = int(re.findall(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[0]) * 1024
    with bounded_memory(1 << 80):
        np.empty(left // 2, np.uint8)
        with pytest.raises(MemoryError):
            np.empty(2 * left + 2 * BASE_BYTES, np.uint8)
