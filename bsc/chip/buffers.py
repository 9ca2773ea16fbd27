"""What the tile buffers must hold so that layers can follow each other row by row.

A layer needs the rows of its input that one of its windows covers: kernel rows of a line buffer, and the whole tensor
where an operator before it needs everything. Where two ways join, as behind the skip of a residual block, what came the
faster way must be kept for as long as the other one takes: for the rows that it is ahead. Factors of a product of two
activations, such as keys and values of attention, are kept where they are made, and so is what waits for nothing but an
output of the model. What other digital operators hold, such as the rows that pooling goes over, is not counted.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.chip.dataflow import Dataflow, Read
from bsc.chip.windows import Rows
from bsc.hardware.target import Target
from bsc.mapping.placement import Floor, Placed


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class LayerBuffer:
    """What a layer holds in the buffers of its tiles.

    Attributes:
        line_values: values of its input that it needs at once.
        skip_values: further values of results of earlier layers that wait for it.
        kept_values: values of its own result that wait for a product of two activations, or an output of the model.
    """

    line_values: int
    skip_values: int
    kept_values: int

    @property
    def values(self) -> int:
        """All of them."""
        return self.line_values + self.skip_values + self.kept_values


def layer_buffers(dataflow: Dataflow) -> dict[str, LayerBuffer]:
    """By layer; of several uses of one layer, which run one after another, the largest."""
    skips, kept = Counter[int](), Counter(dataflow.factors)
    for (source, reader), rows in _rows_ahead(dataflow).items():
        values = rows * dataflow.uses[source].row_values
        if reader < len(dataflow.uses):
            skips[reader] += values
        else:
            kept[source] += values
    found: dict[str, LayerBuffer] = {}
    for number, use in enumerate(dataflow.uses):
        known = found.get(use.layer, LayerBuffer(line_values=0, skip_values=0, kept_values=0))
        found[use.layer] = LayerBuffer(
            line_values=max(known.line_values, use.window_rows * use.input_row_values),
            skip_values=max(known.skip_values, skips[number]),
            kept_values=max(known.kept_values, kept[number]),
        )
    return found


def _rows_ahead(dataflow: Dataflow) -> dict[tuple[int, int], int]:
    """Rows of a use that wait beyond the window of a reader, by the numbers of both; outputs of the model come last.

    Where ways part behind a use, each row of what follows needs rows of it, on the slowest way. Of the results on a
    faster way, those that need no more than that are there by then, if that holds for all uses that ways part behind.
    """
    readers = [*(use.reads for use in dataflow.uses), *dataflow.results]
    last_reader = {read.source: number for number, reads in enumerate(readers) for read in reads}
    times_read = Counter(read.source for reads in readers for read in reads)
    ahead: dict[tuple[int, int], NDArray[np.float64]] = {}
    for start in (source for source, times in times_read.items() if times > 1):
        reach = {start: np.arange(1, dataflow.uses[start].rows + 1)}
        for number in range(start + 1, len(readers)):
            reads = [read for read in readers[number] if read.source in reach]
            if not reads:
                continue
            needs = [_reached(read, reach[read.source]) for read in reads]
            slowest = np.maximum.reduce(needs)
            for read, own in zip(reads, needs, strict=True):
                there = np.searchsorted(reach[read.source], slowest, side="right")
                rows = np.where(slowest > own, there - np.maximum(read.last, read.first), np.inf)
                ahead[read.source, number] = np.minimum(ahead.get((read.source, number), np.inf), rows)
            if number < len(dataflow.uses) and slowest.any():
                reach[number] = slowest
            if sum(last_reader.get(each, 0) > number for each in reach) < 2:  # all ways have joined
                break
    most = {way: float(rows[np.isfinite(rows)].max(initial=0)) for way, rows in ahead.items()}
    return {way: int(rows) for way, rows in most.items() if rows > 0}


def _reached(read: Read, reach: Rows) -> Rows:
    """For each row of a reader, the rows of a first use that rows of a later one need, which it needs in turn."""
    return np.where(read.last > 0, reach[np.maximum(read.last, 1) - 1], 0)


def buffer_bits(placed: Placed, floor: Floor, target: Target) -> int | None:
    """Capacity of the largest buffers of the tiles that a layer lies on; None where the target gives none."""
    buffers = [buffer.capacity_bit.value for buffer in target.level[-2].buffer.values()]
    if not buffers:
        return None
    each = floor.slots_per_tile
    tiles = -(-placed.end_slot // each) - placed.first_slot // each if placed.crossbars_per_copy else 0
    return int(max(buffers)) * tiles
