"""How many processors there are, and how much memory a step may take: hostile files are small and ask for much."""

import contextlib
import gc
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BASE_BYTES: Final = 1 << 30
"""What a step may take, whatever it is given."""

THREAD_BYTES: Final = 16 << 20
"""Stacks and arenas that a library's pool of threads sets aside for each processor."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage in circles meanwhile.

    For work that makes very many objects and throws few away: looking at all of them again and again takes longer.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def bounded_memory(more: int, base: int = BASE_BYTES) -> Iterator[None]:
    """Let the process grow by `base` and `more` bytes: whatever asks for more gets a `MemoryError` at once.

    Of `more`, no more than what the machine has left. Native libraries get no memory either and raise what they raise
    then. On Linux only; elsewhere nothing is bounded. Bounds of blocks within each other all hold.
    """
    try:
        import resource

        status = Path("/proc/self/status").read_text(encoding="ascii")
        memory = Path("/proc/meminfo").read_text(encoding="ascii")
        used = int(re.findall(r"^VmData:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024
        before, hard = resource.getrlimit(resource.RLIMIT_DATA)
        left = int(re.findall(r"^MemAvailable:\s+(\d+) kB$", memory, re.MULTILINE)[0]) * 1024
    except (ImportError, OSError, IndexError):
        yield
        return
    bound = used + base + THREAD_BYTES * (os.cpu_count() or 1) + min(more, max(0, left - base))
    lower = [limit for limit in (before, hard) if limit != resource.RLIM_INFINITY]
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (min([bound, *lower]), hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
