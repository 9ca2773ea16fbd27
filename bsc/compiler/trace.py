"""What a compilation shows of itself on the way: the time of every pass, and the graph as text after each."""

from collections.abc import Sequence
from pathlib import Path

from bsc.errors import UsageError
from bsc.ir.graph import Graph
from bsc.ir.passbase import Pass
from bsc.ir.pipeline import PassTime, run_pipeline


class Trace:
    """Runs passes and keeps a record of them.

    Attributes:
        times: of every pass so far.
    """

    def __init__(self, folder: Path | None) -> None:
        """A record whose texts go into that folder, or nowhere."""
        self.times: list[PassTime] = []
        self._folder = folder
        self._dumped = 0

    def run(self, graph: Graph, passes: Sequence[Pass]) -> Graph:
        """The graph after these passes.

        Raises:
            BscError: of a pass; BSC204 if the folder cannot be written.
        """
        graph, times = run_pipeline(graph, passes, after_pass=lambda _, step, result: self.dump(step.name, result))
        self.times += times
        return graph

    def dump(self, name: str, graph: Graph) -> None:
        """Write the graph's text, if there is a folder for it; files are numbered in order.

        Raises:
            UsageError: BSC204.
        """
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{self._dumped:02}-{name}.txt").write_text(str(graph), encoding="utf-8")
        except OSError as error:
            raise UsageError(
                "BSC204",
                f"--dump-ir folder '{self._folder}' cannot be written",
                seen=error.strerror or str(error),
                fix="choose a folder you may write to",
            ) from None
        self._dumped += 1
