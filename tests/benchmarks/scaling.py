"""Time and working memory of the column statistics, the inner loop of `tile`, on layers of extreme shapes.

    python -m tests.benchmarks.scaling

Times are medians of three. Working memory is the peak of all allocations, less codes and results.
"""

import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np

from bsc.numeric.column_stats import ColumnStats, column_stats

RUNS = 3
WEIGHT_BITS = 8
CASES = (
    # rows, columns, bits per cell, wordlines
    (25088, 4096, 2, 128),  # the largest layer of VGG-19
    (25088, 4096, 2, 1024),
    (25088, 4096, 2, 16384),
    (25088, 4096, 1, 128),
    (25088, 4096, 4, 128),
    (25088, 4096, 8, 128),
    (100_000, 1, 2, 128),
    (64, 100_000, 2, 128),
    (4096, 100_000, 2, 128),
)


def main() -> None:
    """Print a table."""
    random = np.random.default_rng(0)
    print(f"{'rows':>8}{'columns':>9}{'bits/cell':>11}{'wordlines':>11}{'CPU s':>9}{'ns/weight':>11}{'working MB':>12}")
    for rows, columns, bits_per_cell, tile_rows in CASES:
        top = (1 << WEIGHT_BITS) - 1
        codes = random.integers(-top, top, (rows, columns), np.int16, endpoint=True)
        run = partial(column_stats, codes, stored_bits=WEIGHT_BITS, bits_per_cell=bits_per_cell, group_rows=tile_rows)
        seconds = statistics.median(_cpu_s(run) for _ in range(RUNS))
        working = _working_bytes(run)
        print(
            f"{rows:8}{columns:9}{bits_per_cell:11}{tile_rows:11}{seconds:9.3f}"
            f"{seconds / codes.size * 1e9:11.2f}{working / 1e6:12.1f}"
        )


def _cpu_s(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def _working_bytes(run: Callable[[], ColumnStats]) -> int:
    tracemalloc.start()
    stats = run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - (stats.sums.nbytes + stats.gcds.nbytes + stats.nonzeros.nbytes)


if __name__ == "__main__":
    main()
