"""Makes the operators that take the place of one node."""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, DTypeLike

from bsc.frontend.attributes import all_nodes, inner_graphs
from bsc.frontend.constants import Rearrange, is_constant, rearranged, scaled, sizes_of, tensor_of

MAX_NODES = 1 << 15
"""Operators that writing out steps may lead to: a small file must not make a large graph."""
MAX_SPLIT_SIZES = 100
"""Sizes that a constant may say: onnx-ir leaves larger constants out when it infers shapes."""
ORIGIN = "bsc.origin"
"""Key of a node's metadata: the type of the operator in the file that the node came from."""


class Names:
    """Names in use, of a whole model; operators and values have spaces of their own.

    Args:
        graph: whose names are collected when one is asked for, and which gets no others from then on.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())

    @functools.cached_property
    def _nodes(self) -> set[str]:
        return {node.name or "" for node in all_nodes(self._graph)}

    @functools.cached_property
    def _values(self) -> set[str]:
        taken = {value.name or "" for node in all_nodes(self._graph) for value in node.outputs}
        for part in (self._graph, *inner_graphs(self._graph)):
            taken |= set(part.initializers) | {value.name or "" for value in part.inputs}
        return taken

    def node(self, wanted: str) -> str:
        """A free name for an operator: `wanted`, or that with a number."""
        return _free(wanted, self._nodes, self._counts[0])

    def value(self, wanted: str) -> str:
        """A free name for a tensor."""
        return _free(wanted, self._values, self._counts[1])


def _free(wanted: str, taken: set[str], counts: Counter[str]) -> str:
    name = wanted
    while name in taken:  # counting on from the last one: thousands of steps have names alike
        counts[wanted] += 1
        name = f"{wanted}_{counts[wanted] + 1}"
    taken.add(name)
    return name


class Builder:
    """New operators and constants, named after the node they replace.

    Args:
        graph: that has the node.
        node: the node.
        opset: version of the standard domain, 11 or more.
        names: in use; those made here are added.

    Attributes:
        node: as given.
        opset: as given.
        made: operators so far, in an order in which they can run.
    """

    def __init__(self, graph: ir.Graph, node: ir.Node, opset: int, names: Names) -> None:
        self.node = node
        self.opset = opset
        self.made: list[ir.Node] = []
        self._graph = graph
        self._names = names

    @property
    def constants(self) -> Mapping[str, ir.Value]:
        """The constants of the graph, by name."""
        return self._graph.initializers

    def has_room(self, nodes: int) -> bool:
        """Whether a model may grow by so many operators."""
        return len(self._graph) + len(self.made) + nodes <= MAX_NODES

    def op(self, op_type: str, *inputs: ir.Value | None, label: str = "", domain: str = "", **attributes: Any) -> Any:
        """Append an operator with one output, which is returned.

        Args:
            op_type: such as "Transpose".
            inputs: its inputs.
            label: what its name says besides the name of the replaced node; "" for the one that does its work.
            domain: of the operator.
            attributes: its attributes.
        """
        return self.ops(op_type, *inputs, label=label, domain=domain, outputs=1, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        label: str = "",
        domain: str = "",
        outputs: int,
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Append an operator; as `op`, but for several outputs."""
        name = self._names.node(f"{self.node.name}/{label}") if label else self.node.name
        node = ir.node(op_type, inputs, attributes, domain=domain, num_outputs=outputs, name=name)
        node.meta[ORIGIN] = self.node.meta.get(ORIGIN, self.node.op_type)
        for value in node.outputs:
            value.name = self._names.value(f"{self.node.name}/{label or 'result'}")
        self.made.append(node)
        return node.outputs

    def take(self, nodes: Sequence[ir.Node]) -> None:
        """Append operators that were made elsewhere, under names of this node's."""
        for node in nodes:
            node.name = self._names.node(f"{self.node.name}/{node.name or node.op_type}")
            for value in node.outputs:
                value.name = self._names.value(f"{self.node.name}/{value.name or 'value'}")
        self.made.extend(nodes)

    def constant(self, values: ArrayLike, dtype: DTypeLike | None = None, label: str = "constant") -> ir.Value:
        """A new constant."""
        return self.keep(ir.tensor(np.array(values, dtype, order="C")), label)

    def keep(self, tensor: ir.TensorProtocol, label: str) -> ir.Value:
        """A new constant of these values."""
        value = ir.Value(
            name=self._names.value(f"{self.node.name}/{label}"),
            shape=tensor.shape if isinstance(tensor.shape, ir.Shape) else None,
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self._graph.register_initializer(value)
        return value

    def rearranged(self, value: ir.Value | None, how: Rearrange, label: str = "weight") -> ir.Value:
        """A constant with its values in other places."""
        return self.keep(rearranged(tensor_of(value), how), label)

    def scaled(self, value: ir.Value | None, factor: float, label: str) -> ir.Value:
        """A constant times a number; itself for 1."""
        assert value is not None
        return value if factor == 1.0 else self.keep(scaled(tensor_of(value), factor), label)

    def transpose(self, value: ir.Value | None, order: Sequence[int], label: str) -> Any:
        """The value with its axes in another order: itself, another constant or an operator."""
        if list(order) == list(range(len(order))):
            return value
        if is_constant(value):
            return self.rearranged(value, lambda array: array.transpose(order), label)
        return self.op("Transpose", value, label=label, perm=list(order))

    def reshape(self, value: ir.Value | None, shape: Sequence[int], label: str) -> Any:
        """The value in another shape; 0 keeps the size of that axis, -1 is whatever is left."""
        return self.op("Reshape", value, self.constant(shape, np.int64, f"{label}-shape"), label=label)

    def slice(self, value: ir.Value, start: int, stop: int, axis: int, label: str) -> Any:
        """[start, stop) of one axis."""
        bounds = [self.constant([bound], np.int64, f"{label}-bound") for bound in (start, stop, axis)]
        return self.op("Slice", value, *bounds, label=label)

    def pad(self, value: ir.Value, pads: Sequence[int], label: str) -> Any:
        """The value with zeros before and behind each axis, as Pad counts them."""
        return self.op("Pad", value, self.constant(pads, np.int64, f"{label}-pads"), label=label)

    def reduce_sum(self, value: ir.Value, axis: int, label: str) -> Any:
        """Sum over one axis and drop it."""
        if self.opset < 13:
            return self.op("ReduceSum", value, label=label, axes=[axis], keepdims=0)
        return self.op("ReduceSum", value, self.constant([axis], np.int64, f"{label}-axis"), label=label, keepdims=0)

    def split(self, value: ir.Value, sizes: Sequence[int], axis: int, label: str) -> Sequence[ir.Value]:
        """The value in pieces along one axis."""
        if self.opset < 13:
            return self.ops("Split", value, label=label, outputs=len(sizes), axis=axis, split=list(sizes))
        if len(sizes) > MAX_SPLIT_SIZES and len(set(sizes)) == 1:
            count: dict[str, Any] = {"num_outputs": len(sizes)} if self.opset >= 18 else {}
            return self.ops("Split", value, label=label, outputs=len(sizes), axis=axis, **count)
        lengths = self.constant(sizes, np.int64, f"{label}-sizes")
        return self.ops("Split", value, lengths, label=label, outputs=len(sizes), axis=axis)

    def unsqueeze(self, value: ir.Value, axis: int, label: str) -> Any:
        """The value with a new axis of size 1."""
        return self._with_axes("Unsqueeze", value, axis, label)

    def squeeze(self, value: ir.Value, axis: int, label: str) -> Any:
        """The value without an axis of size 1."""
        return self._with_axes("Squeeze", value, axis, label)

    def _with_axes(self, op_type: str, value: ir.Value, axis: int, label: str) -> Any:
        if self.opset < 13:
            return self.op(op_type, value, label=label, axes=[axis])
        return self.op(op_type, value, self.constant([axis], np.int64, f"{label}-axis"), label=label)


def swapped(rank: int) -> list[int]:
    """The order of axes with the last two exchanged."""
    return [*range(rank - 2), rank - 1, rank - 2]


def rank_of(value: ir.Value | None) -> int | None:
    """The number of axes of a value; None if it is unknown."""
    if is_constant(value):
        return len(sizes_of(value))
    return None if value is None or value.shape is None else len(value.shape)
