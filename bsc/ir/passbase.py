"""What a pass is: a frozen dataclass whose fields are its options, and a function from graph to graph.

A new pass goes into a file of its own under `passes/` and into the table `passes.PASSES`. Test it by hand on
a tiny layer, as a law over random layers, twice in a row (the second run changes nothing) and on both sides
of each limit; `examples/own_pass.py` shows a pass that lives outside this repository.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, NamedTuple, TypeVar

from bsc.errors import ModelError, UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.sidetable import SideTable

T = TypeVar("T")

Stage = Literal["prepare", "lay out", "assign", "place"]
"""The stages of a compilation that run passes, in order."""


class PassResult(NamedTuple):
    """What a pass returns.

    Attributes:
        graph: the new graph, or the very object it was given when nothing changed.
        changed: names of the layers that differ; the driver checks this claim.
    """

    graph: Graph
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Pass(ABC):
    """One step of a pipeline.

    Attributes:
        name: as written in a pipeline text; option `bits_per_cell` is written `bits-per-cell`.
        stage: the first pass of a stage opens it; those behind it run there, whatever their own.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage] = "prepare"

    @abstractmethod
    def run(self, graph: Graph) -> PassResult:
        """Rewrite the graph; the given one stays as it is."""

    def input_vectors(self) -> int:
        """Input vectors of each layer, about, whose moments must be attached before `run`; 0 for none."""
        return 0


class LayerPass(Pass):
    """A pass that looks at one layer after another and leaves those alone that it is done with."""

    def run(self, graph: Graph) -> PassResult:
        """Rewrite every layer that is due; see the pass's module for what is raised."""
        due = [layer for layer in self.layers(graph) if self.due(layer)]
        if not due:
            return PassResult(graph, ())
        arrays = SideTable()
        changed = {layer.name: layer for layer in self.rewritten(graph, due, arrays)}
        return PassResult(graph.with_layers(changed, arrays), tuple(changed))

    def layers(self, graph: Graph) -> Iterator[CrossbarLayer]:
        """The layers that the pass is for."""
        return graph.layers()

    @abstractmethod
    def due(self, layer: CrossbarLayer) -> bool:
        """Whether a layer lacks what the pass gives it.

        Raises:
            ModelError: BSC309 for a layer that other passes must see first, or should not have seen yet.
        """

    @abstractmethod
    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterable[CrossbarLayer]:
        """Those layers anew, in order; what is computed goes into `arrays`."""


def required(value: T | None, layer: str, consumer: str, producer: str) -> T:
    """`value`, which the pass `producer` must have set before `consumer` runs.

    Raises:
        ModelError: BSC309 when it is None.
    """
    if value is None:
        raise ModelError(
            "BSC309",
            f"layer '{layer}': pass '{consumer}' needs what '{producer}' computes",
            seen=f"no result of '{producer}' in the graph",
            fix=f"put '{producer}' before '{consumer}' in --passes",
        )
    return value


class Clash(NamedTuple):
    """Options that do not go together.

    Attributes:
        there: whether they are chosen so.
        problem: what is wrong with that.
        seen: the options.
        fix: what to choose instead.
    """

    there: bool
    problem: str
    seen: str
    fix: str


def check_options(step: Pass, *limits: tuple[str, bool, str], clashes: Sequence[Clash] = ()) -> None:
    """Refuse options outside their limits, and options that do not go together.

    Args:
        step: the pass; every option has a default.
        limits: an option as written in a pipeline text, whether it is valid, and its limits in words.
        clashes: looked at where all limits are kept.

    Raises:
        UsageError: BSC205 for the first that is wrong.
    """
    defaults = {field.name: field.default for field in fields(step)}
    for option, valid, words in limits:
        if not valid:
            name = option.replace("-", "_")
            raise UsageError(
                "BSC205",
                f"pass '{step.name}': {option} must be {words}",
                seen=str(getattr(step, name)),
                fix=f"choose {step.name}{{{option}={defaults[name]}}}",
            )
    for clash in clashes:
        if clash.there:
            raise UsageError("BSC205", f"pass '{step.name}': {clash.problem}", seen=clash.seen, fix=clash.fix)


def refuse_after(value: object, layer: str, late: str, done: str) -> None:
    """Refuse to run the pass `late` once `done` has set `value`, which rests on what `late` would change.

    Raises:
        ModelError: BSC309 when it is not None.
    """
    if value is not None:
        raise ModelError(
            "BSC309",
            f"layer '{layer}': pass '{late}' comes too late",
            seen=f"the result of '{done}' in the graph",
            fix=f"put '{late}' before '{done}' in --passes",
        )


def selected(graph: Graph, only: tuple[str, ...], step: str) -> Iterator[CrossbarLayer]:
    """The layers that a pass with an option `only` is for: those named there, or all when none is.

    Raises:
        UsageError: BSC205 for a name that no layer has.
    """
    names = {layer.name for layer in graph.layers()}
    for name in only:
        if name not in names:
            raise UsageError(
                "BSC205",
                f"pass '{step}': option only names no layer: '{name}'",
                seen=f"layers {', '.join(sorted(names))}",
                fix="use these names, or leave only out",
            )
    return (layer for layer in graph.layers() if not only or layer.name in only)
