"""What a pass is: a frozen dataclass whose fields are its options, and a function from graph to graph.

A new pass goes into a file of its own under `passes/` and into the table `passes.PASSES`. Test it by hand on
a tiny layer, as a law over random layers, twice in a row (the second run changes nothing) and on both sides
of each limit; `examples/own_pass.py` shows a pass that lives outside this repository.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

from bsc.errors import ModelError, UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.numeric.sharing import Granularity

T = TypeVar("T")

NO_MOMENTS = "no moments of the layers' inputs"
"""What is seen of a layer for a pass that has `input_vectors`, without calibration data."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a pass needs to know of column sums on calibration data.

    Attributes:
        granularity: what shares one resolution and step.
        vectors: input vectors that are read of each layer, about; all of them if there are fewer.
        seed: of the choice of vectors.
        damage: whether the damage of every resolution is wanted.
        mean: whether the mean error of every resolution is.
        sensitivity: whether the effect of damage on the model's outputs is wanted.
    """

    granularity: Granularity
    vectors: int
    seed: int
    damage: bool
    mean: bool
    sensitivity: bool


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
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, graph: Graph) -> PassResult:
        """Rewrite the graph; the given one stays as it is."""

    def input_vectors(self) -> int:
        """Input vectors of each layer, about, whose moments must be attached before `run`; 0 for none."""
        return 0

    def observes(self) -> Observation | None:
        """What must be attached to the graph's layers before `run`; None for a pass that needs no data."""
        return None


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


def check_options(step: Pass, *checks: tuple[str, bool, str]) -> None:
    """Refuse options outside their limits.

    Args:
        step: the pass.
        checks: an option as written in a pipeline text, whether it is valid, and its limits in words.

    Raises:
        UsageError: BSC205 for the first that is not.
    """
    for option, valid, limits in checks:
        if not valid:
            raise UsageError(
                "BSC205",
                f"pass '{step.name}': {option} must be {limits}",
                seen=str(getattr(step, option.replace("-", "_"))),
                fix=f"leave {option} out, or choose another value",
            )


def needs_data(consumer: str, seen: str = "no observations of the column sums") -> UsageError:
    """The error of a pass that was given no calibration data."""
    return UsageError(
        "BSC201",
        f"pass '{consumer}' needs calibration data",
        seen=seen,
        fix="give typical inputs with --calib FILE.npz",
    )


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
