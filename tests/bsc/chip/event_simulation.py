"""A chip as a queue of events, plain and slow; it shares no code with `bsc.chip`.

Every copy of a layer is a server that works on one vector at a time. A vector is ready as soon as the lines that it
needs exist; a line exists when all of its vectors, and all lines before it, are done. Where several vectors are ready
for the same copies, the oldest inference comes first, then the stage that comes first in the program, then the first
vector. All inputs are there from the start, buffers have no limits, and digital operators take no time.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Slide:
    """How one operator reads lines: output line r reads input lines r * stride - pad and `kernel - 1` further ones.

    Attributes:
        lines: of the input.
        kernel: lines that a window spans, dilation included.
        stride: of the window.
        pad: lines in front of the first.
        repeat: output lines that each input line makes, as where an image is made larger.
        offset: of the first output line, as where tensors are put behind each other.
    """

    lines: int
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    repeat: int = 1
    offset: int = 0

    def last(self, line: int) -> int:
        """The last line of the input that an output line reads; below 0 for none."""
        return min((line - self.offset) // self.repeat * self.stride - self.pad + self.kernel - 1, self.lines - 1)


def whole(lines: int) -> Slide:
    """An operator that needs all lines."""
    return Slide(lines=lines, kernel=lines)


@dataclass(frozen=True, kw_only=True)
class Way:
    """From a stage back to an earlier one.

    Attributes:
        source: number of the earlier stage.
        slides: what is in between, the stage's own window first.
    """

    source: int
    slides: tuple[Slide, ...] = ()

    def last(self, line: int) -> int:
        """The last line of the source that a line of the stage needs; below 0 for none."""
        for slide in self.slides:
            if line < 0:
                return -1
            line = slide.last(line)
        return line


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of a layer.

    Attributes:
        layer: whose copies it needs; several stages may share them.
        lines: of its output.
        vectors: of each line.
        ways: to what it reads; none for one that reads the input of the model alone.
    """

    layer: str
    lines: int
    vectors: int = 1
    ways: tuple[Way, ...] = ()


class Chip:
    """Runs inferences of a network.

    Args:
        stages: in the order of the program.
        vector_s: time of a vector, by layer.
        copies: by layer.
    """

    def __init__(self, stages: Sequence[Stage], vector_s: Mapping[str, int], copies: Mapping[str, int]) -> None:
        self._stages, self._vector_s = stages, vector_s
        self._free = dict(copies)
        self._ready: dict[str, list[tuple[int, int, int]]] = {stage.layer: [] for stage in stages}
        self._events: list[tuple[int, int, int, int]] = []
        self._waiting: dict[tuple[int, int, int], int] = {}
        self._waiters: dict[tuple[int, int, int], list[tuple[int, int, int]]] = {}
        self._to_do: dict[tuple[int, int, int], int] = {}
        self._exist: dict[tuple[int, int], int] = {}

    def finish_times(self, inferences: int) -> list[int]:
        """When each of many inferences is done, all of which wait from the start."""
        left = [sum(stage.lines * stage.vectors for stage in self._stages)] * inferences
        done = [0] * inferences
        for inference in range(inferences):
            for number, stage in enumerate(self._stages):
                self._exist[inference, number] = 0
                for line in range(stage.lines):
                    self._expect(inference, number, line)
        self._start(0)
        while self._events:
            now = self._events[0][0]
            while self._events and self._events[0][0] == now:
                _, inference, number, vector = heapq.heappop(self._events)
                stage = self._stages[number]
                self._free[stage.layer] += 1
                left[inference] -= 1
                done[inference] = now
                self._count(inference, number, vector // stage.vectors)
            self._start(now)
        assert not any(left)
        return done

    def _expect(self, inference: int, number: int, line: int) -> None:
        """Have a line wait for all lines that it needs."""
        here, stage = (inference, number, line), self._stages[number]
        self._to_do[here] = stage.vectors
        needed = [(inference, way.source, last) for way in stage.ways if (last := way.last(line)) >= 0]
        self._waiting[here] = len(needed)
        for each in needed:
            self._waiters.setdefault(each, []).append(here)
        if not needed:
            self._release(here)

    def _release(self, here: tuple[int, int, int]) -> None:
        inference, number, line = here
        stage = self._stages[number]
        for vector in range(line * stage.vectors, (line + 1) * stage.vectors):
            heapq.heappush(self._ready[stage.layer], (inference, number, vector))

    def _count(self, inference: int, number: int, line: int) -> None:
        """Note that a vector is done, and what lines exist now."""
        self._to_do[inference, number, line] -= 1
        exist = self._exist[inference, number]
        while exist < self._stages[number].lines and not self._to_do[inference, number, exist]:
            for here in self._waiters.pop((inference, number, exist), []):
                self._waiting[here] -= 1
                if not self._waiting[here]:
                    self._release(here)
            exist += 1
        self._exist[inference, number] = exist

    def _start(self, now: int) -> None:
        """Give ready vectors to free copies."""
        for layer, ready in self._ready.items():
            while ready and self._free[layer]:
                self._free[layer] -= 1
                heapq.heappush(self._events, (now + self._vector_s[layer], *heapq.heappop(ready)))


def latency(stages: Sequence[Stage], vector_s: Mapping[str, int], copies: Mapping[str, int]) -> int:
    """Of one inference on an empty chip."""
    return Chip(stages, vector_s, copies).finish_times(1)[0]


def interval(
    stages: Sequence[Stage], vector_s: Mapping[str, int], copies: Mapping[str, int], *, inferences: int
) -> float:
    """Slope of the times at which many inferences are done, the first half left out."""
    times = Chip(stages, vector_s, copies).finish_times(inferences)
    first = inferences // 2
    return (times[-1] - times[first]) / (inferences - 1 - first)
