"""What becomes of every node of a model: on crossbars, digital, or not supported; and how much arithmetic that is."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

import onnx

from bsc.errors import BscError
from bsc.frontend.rewrites.control_flow import DEPENDS
from bsc.ir.graph import DigitalOp, Graph, Op
from bsc.ir.layer import CrossbarLayer, LayerUse
from bsc.ir.macs import digital_macs, layer_macs, multiplies_activations

Place = Literal["crossbar", "digital", "unsupported"]
Share = Literal["crossbar", "activations", "digital"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCoverage:
    """One node, as the compiler sees it: functions inlined and constants folded.

    Attributes:
        name: of the node; inside a body, the names of the nodes around it come first.
        operator: ONNX type, with its domain unless that is the standard one.
        place: where it is computed.
        reason: why it is not on a crossbar although its kind could be, or why it is not supported; else "".
        fix: what to do about that, "" if nothing can be done.
        macs: multiply-accumulates of one inference, None if they are not known.
        of_activations: it multiplies two activations, which no crossbar can hold.
    """

    name: str
    operator: str
    place: Place
    reason: str = ""
    fix: str = ""
    macs: int | None = 0
    of_activations: bool = False


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What `bsc compile` would make of a model.

    Attributes:
        model: file name without folders.
        nodes: in the order they run; empty if the model is refused as a whole.
        refusals: why the model cannot be compiled; empty if it can.
    """

    model: str
    nodes: tuple[NodeCoverage, ...]
    refusals: tuple[BscError, ...]

    @property
    def operators(self) -> dict[str, Counter[str]]:
        """How many nodes of each operator are in which place, by operator in alphabetical order."""
        counts: dict[str, Counter[str]] = {operator: Counter() for operator in sorted({n.operator for n in self.nodes})}
        for node in self.nodes:
            counts[node.operator][node.place] += 1
        return counts

    @property
    def macs(self) -> dict[Share, int]:
        """Multiply-accumulates that are known: on crossbars, in digital products of two activations, in other nodes."""
        totals: dict[Share, int] = {"crossbar": 0, "activations": 0, "digital": 0}
        for node in self.nodes:
            share: Share = "crossbar" if node.place == "crossbar" else "digital"
            totals["activations" if node.of_activations else share] += node.macs or 0
        return totals

    @property
    def not_counted(self) -> tuple[str, ...]:
        """Names of the nodes whose multiply-accumulates are not known."""
        return tuple(node.name for node in self.nodes if node.macs is None)

    @property
    def crossbar_share(self) -> float | None:
        """Multiply-accumulates on crossbars over all, 0 to 1; None if there are none, or some that nobody counted."""
        total = sum(self.macs.values())
        return self.macs["crossbar"] / total if total and not self.not_counted else None


def cover(graph: Graph, refused: Mapping[str, BscError]) -> tuple[NodeCoverage, ...]:
    """What becomes of every node.

    Args:
        graph: from `import_model`; nodes that were refused are digital in it.
        refused: why, by node name.
    """
    nodes: list[NodeCoverage] = []
    kinds = {layer.name: layer.op_type for layer in graph.layers()}
    for op in graph.ops():
        nodes.append(_node(graph, op, refused.get(op.name), kinds))
        if isinstance(op, DigitalOp):
            nodes += _inner_nodes(op)
    return tuple(nodes)


def _node(graph: Graph, op: Op, error: BscError | None, kinds: Mapping[str, str]) -> NodeCoverage:
    """One node; `kinds` are the ONNX types of layers by name."""
    if isinstance(op, LayerUse):  # its multiply-accumulates are counted with those of the layer
        why = f"it shares the crossbars of '{op.layer}'"
        return NodeCoverage(name=op.name, operator=kinds[op.layer], place="crossbar", reason=why)
    if isinstance(op, CrossbarLayer):
        return NodeCoverage(name=op.name, operator=op.op_type, place="crossbar", macs=layer_macs(op))
    operator = f"{op.domain}.{op.op_type}" if op.domain else op.op_type
    if error is not None:
        reason = f"[{error.code}] {error.problem.partition('): ')[2] or error.problem}: {error.seen}"
        return NodeCoverage(
            name=op.name, operator=operator, place="unsupported", reason=reason, fix=error.fix, macs=None
        )
    return NodeCoverage(
        name=op.name,
        operator=operator,
        place="digital",
        reason=op.why,
        fix=advice(op.why),
        macs=digital_macs(graph, op),
        of_activations=multiplies_activations(graph, op),
    )


def _inner_nodes(op: DigitalOp) -> Iterator[NodeCoverage]:
    """The nodes in the bodies of an If, Loop or Scan: they run with it. Their arithmetic is not counted."""
    waiting = [(op.name, onnx.NodeProto.FromString(op.node))]
    while waiting:  # bodies may be nested deeper than Python recurses
        outer, node = waiting.pop()
        bodies = [body for attr in node.attribute for body in ((attr.g,) if attr.HasField("g") else attr.graphs)]
        inner = [(f"{outer}/{child.name or child.op_type}", child) for body in bodies for child in body.node]
        waiting += reversed(inner)
        for name, child in inner:
            operator = f"{child.domain}.{child.op_type}" if child.domain not in ("", "ai.onnx") else child.op_type
            yield NodeCoverage(name=name, operator=operator, place="digital", reason=f"in a body of {node.op_type}")


def advice(why: str) -> str:
    """What the user can do about a reason for staying digital; "" if there is none, or nothing can be done."""
    return "" if not why else next((fix for pattern, fix in ADVICE.items() if fnmatch(why, pattern)), "")


ADVICE: Mapping[str, str] = {
    f"{DEPENDS} *": "make that input a constant, as --set NAME=VALUE",
    "both operands are activations": "",
    "both operands are constants": "export with constant folding, or run onnx-simplifier",
    "its weights come from * not folded": "export with constant folding, or run onnx-simplifier",
    "its weights are missing": "export the model again with its weights",
    "its weights are empty": "remove the operator, it computes nothing",
    "its weights are the left operand": "swap the operands and transpose the result",
    "its weights have * axes, not 2": "use a MatMul of two axes for each matrix",
    "its weights are *": "convert the weights to float32",
    "its input is transposed (transA)": "put a Transpose in front and leave transA out",
    "its bias is a matrix": "use a MatMul and an Add",
    "its bias is computed at run time": "use an operator without bias and an Add",
    "its bias is *": "convert the bias to float32",
}
"""What to do about a reason for staying digital; `*` stands for any words, and the first row that fits counts."""
