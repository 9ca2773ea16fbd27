"""What the tile buffers must hold so that layers can follow each other row by row.

A layer needs the rows of its input that one of its windows covers: kernel rows of a line buffer, and the whole tensor
where an operator before it needs everything. A result that is used again later, as the skip of a residual block is,
must also be kept for as long as the other way takes: for the rows that the first way is ahead of the second. What
digital operators alone hold, such as the factors of a product of two activations, and what only an output of the model
waits for, is not counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bsc.chip.dataflow import Dataflow
from bsc.chip.windows import Rows
from bsc.hardware.target import Target
from bsc.mapping.placement import Floor, Placed


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class LayerBuffer:
    """What a layer holds in the buffers of its tiles.

    Attributes:
        line_values: values of its input that it needs at once.
        skip_values: further values of results of earlier layers that wait for it.
    """

    line_values: int
    skip_values: int


def layer_buffers(dataflow: Dataflow) -> dict[str, LayerBuffer]:
    """By layer; of several uses of one layer, which run one after another, the largest."""
    skips = _skips(dataflow)
    found: dict[str, LayerBuffer] = {}
    for number, use in enumerate(dataflow.uses):
        known = found.get(use.layer, LayerBuffer(line_values=0, skip_values=0))
        found[use.layer] = LayerBuffer(
            line_values=max(known.line_values, use.window_rows * use.input_row_values),
            skip_values=max(known.skip_values, skips.get(number, 0)),
        )
    return found


def _skips(dataflow: Dataflow) -> dict[int, int]:
    """Values that wait for each use, beyond its own window."""
    readers: dict[int, list[int]] = {}
    for number, use in enumerate(dataflow.uses):
        for read in use.reads:
            readers.setdefault(read.source, []).append(number)
    waiting: dict[int, int] = {}
    for source, users in readers.items():
        if len(users) < 2:
            continue
        reach = _reach(dataflow, source, users)
        for number in users:
            read = next(read for read in dataflow.uses[number].reads if read.source == source)
            ahead = int((reach[number] - np.maximum(read.last, read.first)).max(initial=0))
            if ahead > 0:
                waiting[number] = waiting.get(number, 0) + ahead * dataflow.uses[source].row_values
    return waiting


def _reach(dataflow: Dataflow, source: int, users: Sequence[int]) -> Mapping[int, Rows]:
    """For each row of later uses, the rows of `source` that must be there, on whatever way."""
    reach: dict[int, Rows] = {}
    for number in range(min(users), max(users) + 1):
        use = dataflow.uses[number]
        needed = np.zeros(use.rows, np.int64)
        for read in use.reads:
            if read.source == source:
                needed = np.maximum(needed, read.last)
            elif read.source in reach:
                behind = reach[read.source]
                needed = np.maximum(needed, np.where(read.last > 0, behind[np.maximum(read.last, 1) - 1], 0))
        if needed.any():
            reach[number] = needed
    return reach


def buffer_bits(placed: Placed, floor: Floor, target: Target) -> int | None:
    """Capacity of the largest buffers of the tiles that a layer lies on; None where the target gives none."""
    buffers = [buffer.capacity_bit.value for buffer in target.level[-2].buffer.values()]
    if not buffers:
        return None
    each = floor.slots_per_tile
    tiles = -(-placed.end_slot // each) - placed.first_slot // each if placed.crossbars_per_copy else 0
    return int(max(buffers)) * tiles
