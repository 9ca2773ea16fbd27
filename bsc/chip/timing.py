"""When every layer works: one inference from an empty chip, and how soon another can follow.

A copy of a layer works on one vector at a time. A vector starts as soon as a copy is free and the rows that it needs
exist; vectors are taken in order. Digital operators keep up: a row behind them exists as soon as the rows before them
do. Buffers hold whatever waits (`bsc.chip.buffers` says how much that is), and links carry it at once.

    start(v) = max(start(v - copies) + vector_s, rows that v needs are there)

A layer that operators share takes its uses in the order of the program, without a gap between the vectors of two.

Inferences follow each other without end, the oldest first wherever two of them want the same crossbars. The busiest
crossbars then set the interval, since nothing within one inference ever waits for the next: `vectors * vector_s /
copies`, over all uses of the layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bsc.chip.dataflow import Dataflow, Read, Use
from bsc.mapping.placement import LayerDemand

Seconds = NDArray[np.float64]
MAX_VECTORS: Final = 1 << 21
"""Of a use that is timed vector by vector."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class UseTime:
    """When one use of a layer works, in seconds from the start of the inference.

    Attributes:
        start_s: of its first vector.
        end_s: of its last one.
        ready_s: when all rows up to each are done, float64 (rows,).
        waiting_s: of each row, when the rows that it needs are there, float64 (rows,).
        busy_until_s: of the last vectors, one for each copy at most, when they end.
    """

    start_s: float
    end_s: float
    ready_s: Seconds
    waiting_s: Seconds
    busy_until_s: Seconds

    def later(self, by_s: float) -> "UseTime":
        """The same if everything began later."""
        return UseTime(
            start_s=self.start_s + by_s,
            end_s=self.end_s + by_s,
            ready_s=self.ready_s + by_s,
            waiting_s=self.waiting_s + by_s,
            busy_until_s=self.busy_until_s + by_s,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Timing:
    """One inference on an empty chip, and the pace of many.

    Attributes:
        uses: in the order of the dataflow.
        latency_s: until the outputs of the model are there.
        interval_s: between two inferences when they follow each other without end.
        busy_s: by layer, time that each of its copies works in one inference, on average.
        bottleneck: the layer that sets the interval; None where no layer takes time.
    """

    uses: tuple[UseTime, ...]
    latency_s: float
    interval_s: float
    busy_s: Mapping[str, float]
    bottleneck: str | None


def interval_with(demands: Sequence[LayerDemand], copies: Mapping[str, int]) -> float:
    """The interval of the busiest layer, in seconds."""
    return max((demand.busy_s / copies[demand.name] for demand in demands), default=0.0)


def time_of(dataflow: Dataflow, demands: Sequence[LayerDemand], copies: Mapping[str, int]) -> Timing:
    """Time an inference.

    Args:
        dataflow: of the mapping.
        demands: of its layers.
        copies: by layer.
    """
    by_name = {demand.name: demand for demand in demands}
    busy_until_s: dict[str, Seconds] = {}
    uses: list[UseTime] = []
    for use in dataflow.uses:
        before_s = busy_until_s.get(use.layer, np.zeros(0))
        found = _use_time(use, uses, by_name[use.layer].vector_s, copies[use.layer], before_s)
        busy_until_s[use.layer] = found.busy_until_s
        uses.append(found)
    busy = {demand.name: demand.busy_s / copies[demand.name] for demand in demands}
    bottleneck = max(busy, key=busy.__getitem__, default=None)
    return Timing(
        uses=tuple(uses),
        latency_s=max((uses[number].end_s for number in dataflow.outputs), default=0.0),
        interval_s=busy[bottleneck] if bottleneck is not None else 0.0,
        busy_s=busy,
        bottleneck=bottleneck if bottleneck is not None and busy[bottleneck] else None,
    )


def _use_time(use: Use, before: Sequence[UseTime], vector_s: float, copies: int, busy_until_s: Seconds) -> UseTime:
    waiting = np.zeros(use.rows)
    for read in use.reads:
        waiting = np.maximum(waiting, _given_s(read, before[read.source].ready_s))
    waiting = np.maximum.accumulate(waiting)  # in order: a row does not overtake the one before it
    per_row = use.vectors // use.rows
    if use.vectors <= MAX_VECTORS:
        there, turns, each_s = np.repeat(waiting, per_row), copies, vector_s
    else:  # rows one by one, as if all copies ended each of them together
        there, turns, each_s = waiting.copy(), 1, per_row * vector_s / copies
        busy_until_s = busy_until_s[-1:]
    idle = min(turns - len(busy_until_s), len(there))  # copies that no earlier use has needed
    taken = there[idle : idle + len(busy_until_s)]
    np.maximum(taken, busy_until_s[: len(taken)], out=taken)
    start = _in_turns(there, turns, each_s)
    end = start + each_s
    step = len(end) // use.rows
    ready = np.maximum.accumulate(end)[step - 1 :: step] if step else waiting
    return UseTime(
        start_s=float(start[0]) if len(start) else 0.0,
        end_s=float(ready[-1]) if use.rows else 0.0,
        ready_s=ready,
        waiting_s=waiting,
        busy_until_s=end[-turns:] if len(end) >= turns else np.concatenate([busy_until_s, end])[-turns:],
    )


def _given_s(read: Read, ready_s: Seconds) -> Seconds:
    """When the rows of a source that each row needs are there; 0 where it needs none."""
    there = ready_s[read.last - 1]
    return there if read.last[0] > 0 else np.where(read.last > 0, there, 0.0)


def _in_turns(there: Seconds, copies: int, vector_s: float) -> Seconds:
    """When vectors start that are there at some times, taken in order by several copies in turn."""
    vectors = len(there)
    copies = min(copies, vectors) or 1
    rounds = -(-vectors // copies)
    turns = np.full(rounds * copies, np.inf)
    turns[:vectors] = there
    offset = (np.arange(rounds) * vector_s)[:, None]
    started = np.maximum.accumulate(turns.reshape(rounds, copies) - offset, axis=0) + offset
    return np.asarray(started.ravel()[:vectors])


def critical_path(
    dataflow: Dataflow, timing: Timing, demands: Sequence[LayerDemand], copies: Mapping[str, int]
) -> dict[str, float]:
    """Seconds that each layer works on the chain of rows that makes the inference as late as it is.

    They add up to the latency. More copies of a layer that is not on the chain help nobody. Time in which its copies
    were at work for an earlier use counts as the layer's own.
    """
    vector_s = {demand.name: demand.vector_s for demand in demands}
    spent: dict[str, float] = {}
    number = max(dataflow.outputs, key=lambda each: timing.uses[each].end_s, default=-1)
    row = dataflow.uses[number].rows - 1 if number >= 0 else 0
    while number >= 0:
        use, found = dataflow.uses[number], timing.uses[number]
        row_s = use.vectors // use.rows * vector_s[use.layer] / copies[use.layer]
        held = row - int(np.argmax((found.waiting_s[: row + 1] - np.arange(row + 1) * row_s)[::-1]))
        held = int(np.searchsorted(found.waiting_s, found.waiting_s[held]))  # the first row that had to wait as long
        spent[use.layer] = spent.get(use.layer, 0.0) + float(found.ready_s[row] - found.waiting_s[held])
        number = -1
        for read in use.reads if found.waiting_s[held] > 0 else ():
            last = int(read.last[held])
            if last > 0 and timing.uses[read.source].ready_s[last - 1] == found.waiting_s[held]:
                number, row = read.source, last - 1
                break
    return spent
