"""Which rows of which layers every row of a layer waits for, followed through the digital operators between them.

The mapping says which tensors a step reads and writes; how far a layer may follow the one before it, row by row, is in
the operators between the two (`bsc.chip.windows`). Everything here follows from the mapping: shapes are inferred from
those of the model's inputs.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bsc.chip.windows import Rows, Shape, Site, Window, everything, identity, sliding, stream_axis, window_of
from bsc.chip.work import UNREAD, Operator, OperatorWork, work_of
from bsc.frontend.bounds import HIDDEN, MAKE_LISTS, is_long_list
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import LayerStep, MappedModel, Segment
from bsc.numeric.im2col import output_sizes

MAX_ROWS: Final = 1 << 17
"""Of a tensor that is followed row by row."""
MAX_VALUES: Final = 1 << 40
PORT: Final = -1
"""Where inputs of the model come from and outputs go to, in place of the number of a use."""
PRODUCTS: Final = frozenset({"Attention", "Einsum", "Gemm", "MatMul", "MultiHeadAttention"})
"""Operators that multiply matrices of activations, which must be there whole."""
OF_ALL_OUTPUTS: Final = frozenset({"MaxPool", "Split"})
"""Operators whose further outputs have windows too."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Read:
    """Rows of an earlier use that each row of a use needs, through all digital operators between them.

    Attributes:
        source: number of the earlier use.
        first: lowest row, int64 (rows of the use,), never falling.
        last: the row behind the highest, likewise; no more than `first` where none is needed.
    """

    source: int
    first: Rows
    last: Rows


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Use:
    """One run of a layer's crossbars over all vectors of a tensor; a layer that operators share has several.

    Attributes:
        layer: its name.
        vectors: input vectors, in the order of rows.
        rows: that the output is streamed over; `vectors` is a multiple of it.
        row_values: values of one row of the output.
        reads: what it waits for; none for one that only reads inputs of the model, which are there from the start.
        window_rows: most rows of its input tensor that one row of the output needs.
        input_row_values: values of one row of that tensor.
        input_shape: of that tensor; None where it is unknown, or does not fit the layer.
        home: number of the use at which that tensor is, or `PORT`.
        tensor: its name.
    """

    layer: str
    vectors: int
    rows: int
    row_values: int
    reads: tuple[Read, ...]
    window_rows: int
    input_row_values: int
    input_shape: Shape | None = None
    home: int = PORT
    tensor: str = ""

    @property
    def values(self) -> int:
        """Of the whole output."""
        return self.rows * self.row_values

    @property
    def input_values(self) -> int | None:
        """Of the whole tensor that it reads; None is unknown."""
        return None if self.input_shape is None else math.prod(self.input_shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A tensor that is needed where another one is.

    Attributes:
        values: of the tensor; None where its shape is unknown.
        source: number of the use at which it is, or `PORT`.
        target: likewise, at which it is needed.
        tensor: its name.
    """

    values: int | None
    source: int
    target: int
    tensor: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataflow:
    """A mapped model as uses of layers that wait for each other.

    A digital operator is carried out where the last of the uses that it needs gives its results; its other operands
    are moved there. One that needs inputs of the model alone is carried out where these come in.

    Attributes:
        uses: in the order of the program; each waits for earlier ones only.
        outputs: numbers of the uses that the outputs of the model need the last rows of.
        moves: of operands of digital operators, and of outputs of the model; each tensor once to each place.
        work: of digital operators, in the order of the program.
        results: of each output of the model, the rows of uses that each of its rows needs.
        factors: values of a use's result that products of two activations need at once, by number of the use.
    """

    uses: tuple[Use, ...]
    outputs: tuple[int, ...]
    moves: tuple[Move, ...] = ()
    work: tuple[OperatorWork, ...] = ()
    results: tuple[tuple[Read, ...], ...] = ()
    factors: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class _Flow:
    """A tensor on its way.

    Attributes:
        shape: None where it is unknown.
        axis: that it is streamed over.
        needs: rows of uses that each of its rows needs, by number of the use: (first, last).
        sent: numbers of uses at which it is by now, beside its own.
        results: values of a result of a layer, whose shape may be unknown.
    """

    shape: Shape | None
    axis: int
    needs: Mapping[int, tuple[Rows, Rows]]
    sent: set[int] = field(default_factory=set)
    results: int | None = None

    @property
    def home(self) -> int:
        """The use at which it is: the last one that it needs."""
        return max(self.needs, default=PORT)

    @property
    def rows(self) -> int:
        return self.shape[self.axis] if self.shape else 1

    @property
    def values(self) -> int | None:
        return self.results if self.shape is None else math.prod(self.shape)

    @property
    def row_values(self) -> int:
        return math.prod(self.shape) // self.rows if self.shape and self.rows else 1


@dataclass(frozen=True, eq=False)
class _Constants:
    """What a segment brings along: its constants by name, and the version of ONNX's own operators."""

    values: Mapping[str, NDArray[Any]]
    opset: int


@dataclass(eq=False)
class _Walk:
    """What is known while the program is walked through.

    Attributes:
        flows: by tensor.
        uses: so far.
        steps_left: steps of each layer that are still to come.
        vectors_left: input vectors that they have together.
        factors: of tensors that are multiplied with each other, the use that gives the last of each, and values of it
            that are needed at once.
    """

    steps_left: dict[str, int]
    vectors_left: dict[str, int]
    flows: dict[str, _Flow] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    work: list[OperatorWork] = field(default_factory=list)
    factors: dict[str, tuple[int, int]] = field(default_factory=dict)


def dataflow_of(mapping: MappedModel) -> Dataflow:
    """Follow the program of a mapping."""
    steps = mapping.program()
    walk = _Walk(
        steps_left=dict(Counter(step.layer for step in steps if isinstance(step, LayerStep))),
        vectors_left={layer.name: layer.vectors for layer in mapping.layers},
    )
    for tensor in mapping.inputs:
        walk.flows[tensor.name] = _whole(tensor.shape)
    layers = {layer.name: layer for layer in mapping.layers}
    for step in steps:
        if isinstance(step, LayerStep):
            _use(walk, layers[step.layer], step)
        else:
            _segment(walk, step)
    for tensor in mapping.outputs:
        _move(walk, tensor.name, PORT)
    results = [_reads(walk.flows[tensor.name].needs) for tensor in mapping.outputs]
    factors = Counter[int]()
    for number, values in walk.factors.values():
        factors[number] += values
    return Dataflow(
        uses=tuple(walk.uses),
        outputs=tuple(sorted({read.source for reads in results for read in reads})),
        moves=tuple(walk.moves),
        work=tuple(walk.work),
        results=tuple(results),
        factors={number: min(values, walk.uses[number].values) for number, values in factors.items()},
    )


def _reads(needs: Mapping[int, tuple[Rows, Rows]]) -> tuple[Read, ...]:
    return tuple(Read(source=each, first=first, last=last) for each, (first, last) in needs.items())


def _whole(shape: Shape | None) -> _Flow:
    """A tensor that is there from the start."""
    known = _manageable(shape)
    return _Flow(known, 0 if known is None else stream_axis(known), {})


def _manageable(shape: Shape | None) -> Shape | None:
    """A shape whose rows can be followed one by one; None for what is unknown or larger, which comes whole."""
    if shape is None or math.prod(shape) > MAX_VALUES or max(shape, default=0) > MAX_ROWS:
        return None
    return shape


def _use(walk: _Walk, layer: MappedLayer, step: LayerStep) -> None:
    """Note a use of a layer, and its result."""
    source = walk.flows[step.inputs[0]]
    shape = _output_shape(layer, source.shape)
    vectors = _vectors(walk, layer, shape)
    if shape is None or vectors * layer.columns != math.prod(shape):
        shape, window = None, everything(0, 1, source.rows)
    else:
        window = _layer_window(layer, source, shape)
    axis, rows = window.axis, len(window.first)
    number = len(walk.uses)
    walk.uses.append(
        Use(
            layer=layer.name,
            vectors=vectors,
            rows=rows,
            row_values=vectors * layer.columns // max(rows, 1),
            reads=_reads(_through(source.needs, window)),
            window_rows=int((window.last - window.first).max(initial=0)),
            input_row_values=source.row_values if source.shape else min(layer.input_values, MAX_VALUES),
            input_shape=None if shape is None else source.shape,
            home=source.home,
            tensor=step.inputs[0],
        )
    )
    flow = _Flow(shape, axis, {})
    own = identity(axis, rows) if flow.rows == rows else everything(axis, flow.rows, rows)
    walk.flows[step.outputs[0]] = _Flow(shape, axis, {number: (own.first, own.last)}, results=vectors * layer.columns)


def _vectors(walk: _Walk, layer: MappedLayer, shape: Shape | None) -> int:
    """Input vectors of the next use: as many as the shape of its output says, if the plan counts as many.

    Uses of a layer may differ in size, as those of a detector's head do, and the plan counts them together.
    """
    steps, left = walk.steps_left[layer.name], walk.vectors_left[layer.name]
    vectors = left // steps if shape is None else math.prod(shape) // layer.columns
    if vectors > left or steps == 1:
        vectors = left // steps
    walk.steps_left[layer.name] = steps - 1
    walk.vectors_left[layer.name] = left - vectors
    return vectors


def _output_shape(layer: MappedLayer, shape: Shape | None) -> Shape | None:
    """Shape of a layer's output; None where it is unknown."""
    if shape is None or 0 in shape or len(shape) < (1 if layer.conv is None else 3):
        return None
    if layer.conv is None:
        return _manageable((*shape[:-1], layer.columns))
    geometry = layer.conv.geometry()
    if len(shape) - 2 != len(geometry.kernel):
        return None
    return _manageable((shape[0], layer.columns, *output_sizes(geometry, shape[2:])))


def _layer_window(layer: MappedLayer, source: _Flow, shape: Shape) -> Window:
    if layer.conv is None:
        if source.axis < len(shape) - 1:
            return identity(source.axis, source.rows)
        if len(shape) < 2:
            return everything(0, 1, source.rows)
        axis = min(stream_axis(shape), len(shape) - 2)
        return everything(axis, shape[axis], source.rows)
    geometry, rows = layer.conv.geometry(), shape[2]
    if source.axis != 2:
        return everything(2, rows, source.rows)
    window = (geometry.kernel[0], geometry.strides[0], geometry.dilations[0], geometry.pads[0][0])
    return sliding(2, rows, source.rows, window)


def _through(needs: Mapping[int, tuple[Rows, Rows]], window: Window) -> dict[int, tuple[Rows, Rows]]:
    """What rows behind a window need of uses, if the rows before it need `needs`."""
    found = {}
    for use, (first, last) in needs.items():
        some = window.last > window.first
        begin = np.where(some, first[np.minimum(window.first, len(first) - 1)], 0)
        end = np.where(some, last[np.maximum(window.last, 1) - 1], 0)
        found[use] = (begin, np.maximum.accumulate(end))
    return found


def _segment(walk: _Walk, segment: Segment) -> None:
    """Follow tensors through the digital operators of a segment; those that nobody reads later are forgotten."""
    inside = replace(walk, flows={name: walk.flows[name] for name in segment.inputs})
    try:
        _operators(inside, onnx.load_from_string(segment.model))
    except Exception:  # nobody has checked the file: a replay refuses it, and for now it needs everything
        inside.flows = {}
        walk.work.append(UNREAD)
    for name in segment.outputs:
        found = inside.flows.get(name)
        walk.flows[name] = _Flow(None, 0, _all_of(walk, segment.inputs, 1)) if found is None else found


def _operators(walk: _Walk, model: onnx.ModelProto) -> None:
    """Follow tensors through digital operators."""
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    constants |= {node.output[0]: _constant(node) for node in model.graph.node if node.op_type == "Constant"}
    shapes = _shapes(model, {name: flow.shape for name, flow in walk.flows.items()})
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    known = _Constants(constants, opset)
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        _carry_out(walk, node, shapes, known)
        for number, output in enumerate(node.output):
            if output:
                walk.flows[output] = _result(walk, node, number, shapes.get(output), known)


def _shapes(model: onnx.ModelProto, inputs: Mapping[str, Shape | None]) -> dict[str, Shape]:
    """Shapes that ONNX infers if those of the inputs are known."""
    for value in model.graph.input:
        shape = inputs.get(value.name)
        if shape is not None and value.type.HasField("tensor_type"):
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shape))
    graph = model.graph
    # A shape that cannot be inferred is unknown, whatever the reason.
    with contextlib.suppress(Exception), _long_lists_hidden(model):
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes: dict[str, Shape] = {}
    for value in (*graph.value_info, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(size.HasField("dim_value") for size in sizes):
            shape = _manageable(tuple(size.dim_value for size in sizes))
            shapes |= {} if shape is None else {value.name: shape}
    return shapes


def _carry_out(walk: _Walk, node: onnx.NodeProto, shapes: Mapping[str, Shape], known: _Constants) -> None:
    """Note an operator, and bring its operands to one place."""
    names = [name for name in (*node.input, *_captured(node)) if name in walk.flows]
    home = max((walk.flows[name].home for name in names), default=PORT)
    for name in names:
        _move(walk, name, home)
    inputs = [
        known.values[name].shape if name in known.values else walk.flows[name].shape if name in walk.flows else None
        for name in node.input
    ]
    site = Operator(
        node=node,
        inputs=inputs,
        outputs=[shapes.get(name) for name in node.output],
        constants={at: known.values[name] for at, name in enumerate(node.input) if name in known.values},
        opset=known.opset,
    )
    walk.work.append(work_of(site))


def _move(walk: _Walk, name: str, target: int) -> None:
    """Bring a tensor to a place, unless it is there."""
    flow = walk.flows[name]
    if target not in {flow.home, *flow.sent}:
        flow.sent.add(target)
        walk.moves.append(Move(values=flow.values, source=flow.home, target=target, tensor=name))


@contextlib.contextmanager
def _long_lists_hidden(model: onnx.ModelProto) -> Iterator[None]:
    """Hide operators from shape inference that it would take any time for, `bounds.is_long_list`."""
    graphs = list(_graphs(model.graph))
    nodes = [node for graph in graphs for node in graph.node]
    makers = [node for node in nodes if node.op_type in MAKE_LISTS]
    read = {name for node in makers for name in node.input}
    constants = {
        each.name: numpy_helper.to_array(each) for graph in graphs for each in graph.initializer if each.name in read
    }
    constants |= {node.output[0]: _constant(node) for node in nodes if node.op_type == "Constant"}
    hidden = [node for node in makers if is_long_list(node.op_type, [constants.get(name) for name in node.input])]
    domains = [node.domain for node in hidden]
    for node in hidden:
        node.domain = HIDDEN
    model.opset_import.append(helper.make_opsetid(HIDDEN, 1))
    try:
        yield
    finally:
        model.opset_import.pop()
        for node, domain in zip(hidden, domains, strict=True):
            node.domain = domain


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the bodies within it."""
    yield graph
    for body in (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")):
        yield from _graphs(body)


def _result(walk: _Walk, node: onnx.NodeProto, number: int, output: Shape | None, known: _Constants) -> _Flow:
    """An output of a digital operator."""
    read = [(position, name) for position, name in enumerate(node.input) if name in walk.flows]
    captured = [name for name in _captured(node) if name in walk.flows]
    if output is None or 0 in output:
        return _Flow(None, 0, _all_of(walk, [*(name for _, name in read), *captured], 1))
    windows: dict[int, Window] = {}
    if number == 0 or node.op_type in OF_ALL_OUTPUTS:
        windows = {
            position: found
            for position, name in read
            if (found := _window(walk, node, (position, number), output, known)) is not None
        }
    axis = max((window.axis for window in windows.values()), key=output.__getitem__, default=stream_axis(output))
    rows = output[axis] if output else 1
    needs = _all_of(walk, captured, rows)
    multiplied = node.op_type in PRODUCTS and sum(bool(walk.flows[name].needs) for _, name in read) > 1
    for position, name in read:
        flow, window = walk.flows[name], windows.get(position)
        if window is None or window.axis != axis:
            window = everything(axis, rows, flow.rows)
        if multiplied and flow.needs:
            values = int((window.last - window.first).max(initial=0)) * flow.row_values
            walk.factors[name] = max(flow.needs), max(values, walk.factors.get(name, (0, 0))[1])
        needs = _joined(needs, _through(flow.needs, window))
    return _Flow(output, axis, needs)


def _window(walk: _Walk, node: onnx.NodeProto, way: tuple[int, int], output: Shape, known: _Constants) -> Window | None:
    """What an output of an operator, by number, needs of an input, by position, if that waits for anything."""
    position, number = way
    flow = walk.flows[node.input[position]]
    if not flow.shape or not flow.needs or flow.rows == 0:
        return None
    shapes = [
        known.values[name].shape if name in known.values else walk.flows[name].shape if name in walk.flows else None
        for name in node.input
    ]
    constants = {at: known.values[name] for at, name in enumerate(node.input) if name in known.values}
    return window_of(
        Site(
            node=node,
            position=position,
            axis=flow.axis,
            shapes=shapes,
            output=output,
            constants=constants,
            opset=known.opset,
            number=number,
        )
    )


def _all_of(walk: _Walk, names: Iterable[str], rows: int) -> dict[int, tuple[Rows, Rows]]:
    """What rows need that wait for all of some tensors."""
    needs: dict[int, tuple[Rows, Rows]] = {}
    for name in names:
        flow = walk.flows[name]
        needs = _joined(needs, _through(flow.needs, everything(0, rows, flow.rows)))
    return needs


def _constant(node: onnx.NodeProto) -> NDArray[Any]:
    """The value of a Constant; of one that is text or sparse, nothing."""
    found = next((attr for attr in node.attribute), None)
    value = None if found is None else helper.get_attribute_value(found)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray([])


def _joined(
    one: Mapping[int, tuple[Rows, Rows]], other: Mapping[int, tuple[Rows, Rows]]
) -> dict[int, tuple[Rows, Rows]]:
    """What rows need that need both."""
    needs = dict(one)
    for use, (first, last) in other.items():
        if use in needs:
            known = needs[use]
            needs[use] = (np.minimum(known[0], first), np.maximum(known[1], last))
        else:
            needs[use] = (first, last)
    return needs


def _captured(node: onnx.NodeProto) -> Iterator[str]:
    """Names that the bodies of a node read."""
    for attribute in node.attribute:
        bodies: Sequence[onnx.GraphProto] = [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
        for body in bodies:
            for inner in body.node:
                yield from inner.input
                yield from _captured(inner)
