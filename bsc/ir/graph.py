"""The graph that passes read and rewrite: operators as nodes, tensors as edges, weights beside it.

A `Graph` is immutable; a pass makes a new one with `with_layers`. Weights and what passes compute sit in a
side table of arrays, large ones in files; records hold keys of it.
"""

import copy
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.ir.layer import CrossbarLayer, LayerUse
from bsc.ir.sidetable import ArraySource, SideTable
from bsc.mapping.arrays import SPECS, array_key
from bsc.mapping.placement import ChipDemand
from bsc.printable import visible

UNKNOWN_DTYPE = "?"  # not for NumPy, which reads it as bool
SEQUENCE = "sequence of "
"""Begins the type of a tensor that is none but a sequence of tensors."""
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorType:
    """One edge of the graph.

    Attributes:
        name: ONNX value name.
        shape: sizes for an inference of one batch; None when unknown.
        dtype: NumPy name such as "float32", or `SEQUENCE` and one; `UNKNOWN_DTYPE` when shape inference cannot tell.
        batch_axis: the axis that samples lie along, of the model's inputs and outputs; None where there is none.
        values: lowest and highest value that an input of the model can take; None where nothing is known of it.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: str
    batch_axis: int | None = None
    values: tuple[float, float] | None = None

    def __str__(self) -> str:
        sizes = "?" if self.shape is None else "x".join(map(str, self.shape))
        return f"{self.name}:{self.dtype}[{sizes}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitalOp:
    """An operator that stays digital.

    Attributes:
        name: unique node name.
        op_type: ONNX operator.
        domain: ONNX domain, "" for the standard one.
        inputs: tensor names; "" for an omitted optional input.
        outputs: tensor names.
        attributes: the scalar and list attributes that passes look at.
        node: the serialised ONNX NodeProto, attributes and sub-graphs included.
        why: why it is not on a crossbar although its kind could be, else "".
    """

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    node: bytes = field(repr=False)
    why: str = ""

    def __str__(self) -> str:
        kind = f"{self.domain}.{self.op_type}" if self.domain else self.op_type
        reads = ", ".join(name or "-" for name in self.inputs)
        text = f"digital   {self.name}  {kind}  {reads} -> {', '.join(self.outputs)}"
        return visible(f"{text}  ({self.why})" if self.why else text)


Op = CrossbarLayer | LayerUse | DigitalOp


@dataclass(frozen=True, slots=True, kw_only=True)
class SetInput:
    """An input of the file that was made a constant.

    Attributes:
        name: of the input.
        dtype: NumPy name.
        shape: sizes.
        values: all of them in order, or one for all.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: tuple[int | float, ...]

    def array(self) -> NDArray[Any]:
        """The constant."""
        return np.resize(np.array(self.values), self.shape).astype(self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCheck:
    """How the imported graph was checked against the file it came from.

    Attributes:
        inputs: what both ran on: "data", "made-up" inputs, or "none" if they did not run.
        samples: how many.
        reason: why they did not run, else "".
    """

    inputs: Literal["data", "made-up", "none"]
    samples: int = 0
    reason: str = ""

    def __str__(self) -> str:
        if self.inputs == "none":
            return f"not checked: {self.reason}"
        what = "made-up sample" if self.inputs == "made-up" else "sample"
        return f"checked in onnxruntime on {self.samples} {what}{'s' if self.samples > 1 else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a plan says about the model it came from.

    Attributes:
        name: file name without folders.
        sha256: of the file's bytes, then of its external data files in order of their names.
        opsets: ONNX domain -> version.
        dynamic_batch: any number of samples may run at once; shapes are then for a batch of one.
        constants: inputs that were made constants, with --set.
        check: how the import was checked against the file; None until it was.
        notes: what the user should know of how the model was read, one sentence each.
    """

    name: str
    sha256: str
    opsets: Mapping[str, int]
    dynamic_batch: bool
    constants: tuple["SetInput", ...] = ()
    check: "ImportCheck | None" = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadingPrices:
    """What reading the crossbars of one layer costs in an inference, in joules; what is unknown counts as 0.

    Attributes:
        conversion_j: of converting one column, or pair, at 0, 1, 2, ... bits in every input cycle, and of all that is
            done to the result, float64 (17,); NaN where the ADC law has no entry.
        crossbar_j: of driving what the conversions of a crossbar, or pair, need: rows, cells, columns that are held,
            unit columns and their conversions, float64 (T, C, S, Q); 0 where there is no crossbar.
    """

    conversion_j: NDArray[np.float64]
    crossbar_j: NDArray[np.float64]

    def energy_j(self, bits: NDArray[np.integer[Any]], read: NDArray[np.bool_]) -> float:
        """Of an assignment.

        Args:
            bits: of every conversion, (R, S, Q, N).
            read: the crossbars, or pairs, that are read, (T, C, S, Q).
        """
        return float(self.conversion_j[bits].sum() + self.crossbar_j[read].sum())


class Graph:
    """An immutable network of operators.

    Args:
        info: where it came from.
        ops: operators in any order; names unique.
        tensors: every tensor that `ops` read or write, by name.
        inputs: names of the model's inputs.
        outputs: names of the model's outputs.
        arrays: the model's constants, by tensor name.
        own: arrays that the compiler made, by key; keys and tensor names never meet.
        ranges: (lowest, highest) value seen on calibration data, by tensor name.
        prices: of reading crossbars, by layer, for passes that weigh them; empty until one asks.
        demand: what the model asks of the chip, for the pass that places it; None until one asks.

    Raises:
        ModelError: BSC301 when the operators form a cycle.
    """

    def __init__(
        self,
        *,
        info: ModelInfo,
        ops: Iterable[Op],
        tensors: Mapping[str, TensorType],
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        arrays: Mapping[str, ArraySource],
        own: Mapping[str, ArraySource] | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        prices: Mapping[str, ReadingPrices] | None = None,
        demand: ChipDemand | None = None,
    ) -> None:
        self.info = info
        self.tensors = tensors
        self.inputs = inputs
        self.outputs = outputs
        self.ranges = ranges or {}
        self.prices = prices or {}
        self.demand = demand
        self._constants = arrays
        self._own = own or {}
        named = {op.name: op for op in ops}
        self._producers = {tensor: op.name for op in named.values() for tensor in op.outputs if tensor}
        try:
            self._ops = _ordered(named, self._producers)
        except nx.NetworkXUnfeasible:
            raise ModelError(
                "BSC301",
                f"model '{info.name}': the operators form a cycle",
                seen="an operator that needs its own result",
                fix="export the model again; ONNX graphs must be acyclic",
            ) from None
        self._layers = {name: op for name, op in self._ops.items() if isinstance(op, CrossbarLayer)}
        self._uses = tuple(op for op in self._ops.values() if isinstance(op, LayerUse))

    def op(self, name: str) -> Op:
        """The operator of that name. Raises `KeyError` for an unknown one."""
        return self._ops[name]

    def ops(self) -> Iterator[Op]:
        """All operators, each after those it reads from; ties in model order."""
        return iter(self._ops.values())

    def layers(self) -> Iterator[CrossbarLayer]:
        """The crossbar layers, in the order of `ops`."""
        return iter(self._layers.values())

    def uses(self) -> Iterator[LayerUse]:
        """The further uses of layers' crossbars, in the order of `ops`."""
        return iter(self._uses)

    def layer_inputs(self, layer: CrossbarLayer) -> tuple[str, ...]:
        """Every activation that the layer's crossbars are driven with, its own first."""
        return (layer.input, *self._reused_inputs.get(layer.name, ()))

    def producer(self, tensor: str) -> Op | None:
        """The operator that writes `tensor`; None for a model input or a constant."""
        name = self._producers.get(tensor)
        return None if name is None else self.op(name)

    def consumers(self, tensor: str) -> list[Op]:
        """The operators that read `tensor`, in the order of `ops`."""
        return [self._ops[name] for name in self._readers.get(tensor, ())]

    def array(self, key: str) -> NDArray[Any]:
        """The array that a record names; large ones are mapped for as long as the array is there."""
        return np.asarray(self._own[key] if key in self._own else self._constants[key])

    def arrays_of(self, layer: str) -> Mapping[str, NDArray[Any]]:
        """What passes have computed of a layer, by the names of `bsc.mapping.arrays.SPECS`."""
        return _LayerView(self._own, layer)

    def has_same_arrays(self, other: "Graph", layer: str) -> bool:
        """Whether a pass has computed nothing of a layer in one of the graphs and not in the other."""
        keys = (array_key(layer, name) for name in SPECS)
        return all(self._own.get(key) is other._own.get(key) for key in keys)

    def constant(self, tensor: str) -> NDArray[Any]:
        """The values of a constant that operators read; as `array`, but a key of the compiler's own is not a tensor."""
        return np.asarray(self._constants[tensor])

    def has_array(self, tensor: str) -> bool:
        """Whether a tensor is a constant."""
        return tensor in self._constants

    def with_layers(
        self, layers: Mapping[str, CrossbarLayer], arrays: Mapping[str, ArraySource] | None = None
    ) -> "Graph":
        """A graph with some layers replaced and some arrays added."""
        if not all(_is_connected_as(layer, self._layers.get(name)) for name, layer in layers.items()):
            return self._rebuilt((layers.get(op.name, op) for op in self.ops()), arrays or {})
        other = copy.copy(self)  # most passes leave the edges alone, and so do most operators
        other._ops = {**self._ops, **layers}
        other._layers = {**self._layers, **layers}
        other._own = self._with_own(arrays or {})
        return other

    def without(
        self, removed: set[str], layers: Mapping[str, CrossbarLayer], arrays: Mapping[str, ArraySource]
    ) -> "Graph":
        """A graph without the operators named in `removed`, with `layers` replaced and `arrays` added."""
        return self._rebuilt((layers.get(op.name, op) for op in self.ops() if op.name not in removed), arrays)

    def with_ranges(self, ranges: Mapping[str, tuple[float, float]]) -> "Graph":
        """A graph that knows the value ranges seen on calibration data."""
        other = copy.copy(self)
        other.ranges = dict(ranges)
        return other

    def with_info(self, info: ModelInfo) -> "Graph":
        """The same graph, of which something else is known."""
        other = copy.copy(self)
        other.info = info
        return other

    def with_prices(self, prices: Mapping[str, ReadingPrices]) -> "Graph":
        """A graph that knows what reading the crossbars of its layers costs."""
        other = copy.copy(self)
        other.prices = dict(prices)
        return other

    def with_demand(self, demand: ChipDemand) -> "Graph":
        """A graph that knows what it asks of the chip."""
        other = copy.copy(self)
        other.demand = demand
        return other

    @functools.cached_property
    def _readers(self) -> Mapping[str, Sequence[str]]:
        """Names of the operators that read a tensor."""
        readers: dict[str, list[str]] = {}
        for name, op in self._ops.items():
            for tensor in dict.fromkeys(op.inputs):
                readers.setdefault(tensor, []).append(name)
        return readers

    @functools.cached_property
    def _reused_inputs(self) -> Mapping[str, Sequence[str]]:
        """Activations of the further operators that drive a layer's crossbars, by the layer's name."""
        inputs: dict[str, list[str]] = {}
        for use in self._uses:
            inputs.setdefault(use.layer, []).append(use.input)
        return inputs

    def _with_own(self, arrays: Mapping[str, ArraySource]) -> Mapping[str, ArraySource]:
        """Arrays of the compiler's own with further ones."""
        if not arrays:
            return self._own
        named = {key for layer in self.layers() for key in (layer.weight, layer.bias) if key not in self._own}
        for key in named & arrays.keys():  # a pass that is not ours; the import sees to it that no other meets any
            raise ModelError(
                "BSC301",
                f"model '{self.info.name}': a constant has a name that bsc gives to an array of its own",
                seen=repr(key),
                fix="rename the constant",
            )
        return {**self._own, **SideTable(arrays)}

    def _rebuilt(self, ops: Iterable[Op], arrays: Mapping[str, ArraySource]) -> "Graph":
        return Graph(
            info=self.info,
            ops=ops,
            tensors=self.tensors,
            inputs=self.inputs,
            outputs=self.outputs,
            arrays=self._constants,
            own=self._with_own(arrays),
            ranges=self.ranges,
            prices=self.prices,
            demand=self.demand,
        )

    def __str__(self) -> str:
        head = [f"model     {self.info.name}", *(f"input     {self.tensors[name]}" for name in self.inputs)]
        tail = [f"output    {self.tensors[name]}" for name in self.outputs]
        lines = [*map(visible, head), *map(str, self.ops()), *map(visible, tail)]
        return "\n".join(lines) + "\n"


class _LayerView(Mapping[str, NDArray[Any]]):
    """Arrays of one layer, each fetched when it is asked for. Raises `KeyError` for one that no pass has computed."""

    def __init__(self, arrays: Mapping[str, ArraySource], layer: str) -> None:
        self._arrays = arrays
        self._layer = layer

    def __getitem__(self, name: str) -> NDArray[Any]:
        return np.asarray(self._arrays[array_key(self._layer, name)])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in SPECS and array_key(self._layer, name) in self._arrays

    def __iter__(self) -> Iterator[str]:
        return (name for name in SPECS if array_key(self._layer, name) in self._arrays)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _ordered(ops: dict[str, Op], producers: Mapping[str, str]) -> dict[str, Op]:
    """The operators, each after those it reads from; ties as they come. Raises `NetworkXUnfeasible` for a cycle."""
    seen: set[str] = set()
    for op in ops.values():
        if any(tensor in producers and producers[tensor] not in seen for tensor in op.inputs):
            break
        seen.add(op.name)
    else:  # as most files have them, and every pass leaves them
        return ops
    position = {name: number for number, name in enumerate(ops)}
    net: nx.DiGraph[str] = nx.DiGraph()
    net.add_nodes_from(ops)
    net.add_edges_from(
        (producers[tensor], op.name) for op in ops.values() for tensor in op.inputs if tensor in producers
    )
    return {name: ops[name] for name in nx.lexicographical_topological_sort(net, key=position.__getitem__)}


def _is_connected_as(layer: CrossbarLayer, other: CrossbarLayer | None) -> bool:
    return other is not None and (layer.name, layer.inputs, layer.outputs) == (other.name, other.inputs, other.outputs)
