"""Sizes of inputs, given by the model or the user, and the shapes that follow from them."""

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence

import onnx
import onnx_ir as ir

from bsc.errors import UsageError
from bsc.execution.session import quiet_session
from bsc.frontend.attributes import all_nodes, inner_graphs
from bsc.frontend.bounds import HIDDEN, MAKE_LISTS, MAX_FOLDED_VALUES, is_long_list, may_fold
from bsc.frontend.constants import bytes_of, known_shape, serialised
from bsc.frontend.inference import Inference
from bsc.frontend.ml_shapes import learn_shapes
from bsc.frontend.model_file import quiet

FREE_BATCH = "N"
FREE = -1
"""Size of a given shape's batch axis that stays free."""
SCALAR = "scalar"
BATCH_AXES = "bsc.batch-axes"
"""Key of a value's metadata: the axes that grow with the free batch."""
IS_SEQUENCE = "bsc.sequence"
"""Key of a value's metadata: it is a sequence of tensors of its type; onnx-ir takes these for tensors."""
MAKE_MAPS = frozenset({"CastMap", "ZipMap"})
"""Operators of ai.onnx.ml with maps, whose type onnx-ir does not read: inference does not see them."""
SEQUENCE_OPS = frozenset({
    "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceMap", "SplitToSequence",
})  # fmt: skip
SMALL_CONSTANT = 1 << 10
"""Bytes up to which a constant may decide about a shape."""
NO_NAMES = frozenset({"", "?", "none", "null", "nan", "-1", "0", "unk", "unknown", "dynamic", "any"})
"""What exporters write for a size that they do not know, in small letters: two of them need not be the same size."""
NUMBERED = re.compile(r"unk__\d+")
"""What tf2onnx writes for them."""

Size = int | str | None
"""Of an input's axis: a number, the name of one that is open, or None for one without a name."""


def parse_input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read "image:1,3,224,224", or "image:N,3,224,224", which leaves the batch free: `FREE` in the result.

    Raises:
        UsageError: BSC201 for any other form or a size below 0.
    """
    name, colon, sizes = text.rpartition(":")
    words = [] if sizes == SCALAR else sizes.split(",")
    shape = tuple(FREE if word == FREE_BATCH else int(word) if word.isdecimal() else -2 for word in words)
    if not (colon and name and min(shape, default=0) >= FREE and shape.count(FREE) <= 1):
        raise UsageError(
            "BSC201",
            "--input-shape cannot be read",
            seen=repr(text),
            fix="write NAME:SIZE,SIZE,... with whole numbers, such as image:1,3,224,224; "
            f"{FREE_BATCH} for one of them is the batch and stays free; NAME:{SCALAR} has no axes",
        )
    return name, shape


def format_input_shape(name: str, shape: Sequence[int]) -> str:
    """The text that `parse_input_shape` reads as that."""
    sizes = [FREE_BATCH if size == FREE else str(size) for size in shape]
    return f"{name}:{','.join(sizes) or SCALAR}"


def declared_sizes(value: ir.Value) -> tuple[Size, ...] | None:
    """The sizes that the file gives an input: -1, 0 and names such as "?" say that nothing is known."""
    if value.shape is None:
        return None
    sizes: list[Size] = []
    for size in value.shape:
        if isinstance(size, int):
            sizes.append(size if size > 0 else None)
        else:
            name = (size.value or "").strip().lower()
            sizes.append(None if name in NO_NAMES or NUMBERED.fullmatch(name) else size.value)
    return tuple(sizes)


def give_shapes(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[Size, ...] | None]:
    """The sizes of every input, those of --input-shape put in; a size given for a name holds for that name everywhere.

    Args:
        model: is not changed.
        shapes: by input name; `FREE` for the batch.

    Raises:
        UsageError: BSC201 for a shape that names no input or contradicts the model.
    """
    named: dict[Size, int] = {}
    sizes = {value.name or "": declared_sizes(value) for value in model.graph.inputs}
    for name, shape in shapes.items():
        if name not in sizes:
            raise UsageError(
                "BSC201",
                f"--input-shape names no input of model: '{name}'",
                seen=f"inputs {', '.join(sorted(sizes))}",
                fix="use one of these names",
            )
        declared = sizes[name]
        fits = declared is None or (
            len(declared) == len(shape)
            and all(not isinstance(old, int) or old == new for old, new in zip(declared, shape, strict=True))
        )
        if not fits:
            raise UsageError(
                "BSC201",
                f"--input-shape contradicts the model for input '{name}'",
                seen=f"{format_input_shape(name, shape)} given, model declares {format_sizes(declared)}",
                fix="change only the sizes that the model leaves open",
            )
        named |= {old: new for old, new in zip(declared or (), shape, strict=False) if isinstance(old, str)}
        sizes[name] = shape
    return {
        name: each if each is None or name in shapes else tuple(named.get(size, size) for size in each)
        for name, each in sizes.items()
    }


def format_sizes(sizes: Sequence[Size] | None) -> str:
    """Such as [N,3,?], where N is a name of the model's."""
    if sizes is None:
        return "no shape at all"
    return f"[{','.join('?' if size is None else FREE_BATCH if size == FREE else str(size) for size in sizes)}]"


def is_sequence(value: ir.Value) -> bool:
    """Whether a value is known to be a sequence of tensors."""
    node = value.producer()
    return (node is not None and node.op_type in SEQUENCE_OPS) or IS_SEQUENCE in value.meta.data


def infer_shapes(model: ir.Model, again: Inference | None = None) -> Inference | None:
    """Infer all shapes anew for the inputs' sizes; a value that no inference can tell keeps none.

    Args:
        model: functions inlined.
        again: what this returned for the same model and other sizes of inputs.

    Returns:
        What spares the next call to read the model again; None where more than ONNX's own inference was asked.
    """
    for node in model.graph:
        sequences = node.op_type in SEQUENCE_OPS
        for value in node.outputs:
            value.shape = None
            if sequences or IS_SEQUENCE in value.meta.data:
                value.type = None  # of which onnx-ir keeps the element type only
    forget_inner_shapes(model)
    first = inference = _infer(model, again)
    while learn_shapes(model):
        inference = _infer(model)
    if not _unknown(model.graph):
        return inference if inference is first else None
    if not _told_by_onnxruntime(model, list(model.graph)):  # it cannot run the model
        asked: set[int] = set()
        while sum(_told_by_onnxruntime(model, [node]) for node in _askable(model, asked)):
            _infer(model)
    return None


def _infer(model: ir.Model, again: Inference | None = None) -> Inference | None:
    """What ONNX's own inference knows; where it fails, everything stays as it is."""
    hidden = [] if again else [node for node in all_nodes(model.graph) if _is_hidden(node)]
    domains = [node.domain for node in hidden]
    for node in hidden:
        node.domain = HIDDEN
    if hidden:
        model.opset_imports[HIDDEN] = 1
    inference = again
    try:
        with quiet(), contextlib.suppress(Exception):
            inference = again or Inference(model)
            inference.run()
    finally:
        for node, domain in zip(hidden, domains, strict=True):
            node.domain = domain
            kind = _kind_of_list(node) if node.op_type in MAKE_LISTS and node.outputs else None
            if kind is not None:
                node.outputs[0].dtype = kind
        model.opset_imports.pop(HIDDEN, None)
    return inference


def _is_hidden(node: ir.Node) -> bool:
    """Whether inference must not see a node."""
    if node.op_type in MAKE_MAPS:
        return True
    if node.op_type not in MAKE_LISTS | {"Cast"}:
        return False
    if node.op_type == "Cast":
        return any(value is not None and _is_long(value) for value in node.inputs)
    constants = [None if value is None else value.const_value for value in node.inputs]
    try:
        values = [None if constant is None else constant.numpy() for constant in constants]
    except (TypeError, ValueError):  # a tensor that is not what it says
        return True
    return node.domain in ("", "ai.onnx") and is_long_list(node.op_type, values)


def _kind_of_list(node: ir.Node) -> ir.DataType | None:
    """The type of what one of `MAKE_LISTS` makes: of its first input, or of the value that a window is filled with."""
    if node.op_type != "ConstantOfShape":
        return None if node.inputs[0] is None else node.inputs[0].dtype
    filled = node.attributes.get("value")
    return ir.DataType.FLOAT if filled is None else filled.as_tensor().dtype


def _is_long(value: ir.Value) -> bool:
    """Whether a tensor that nothing makes is known to have one axis, and more numbers than sizes could follow from."""
    shape = known_shape(value) if value.producer() is None else None
    return shape is not None and len(shape) == 1 and shape[0] > MAX_FOLDED_VALUES


def forget_inner_shapes(model: ir.Model) -> None:
    """Forget the sizes that bodies of If, Loop and Scan declare, though not their number: they run with any batch."""
    for body in inner_graphs(model.graph):
        inner = [value for node in body for value in node.outputs]
        for value in (*body.inputs, *inner):
            value.shape = None if value.shape is None else ir.Shape([None] * len(value.shape))


def _unknown(nodes: Iterable[ir.Node]) -> list[ir.Value]:
    """What operators make whose sizes are not known."""
    return [value for node in nodes for value in node.outputs if value.name and known_shape(value) is None]


def _askable(model: ir.Model, asked: set[int]) -> list[ir.Node]:
    """Operators that only onnxruntime knows, of which all is known but what they make; each once, as `asked` says."""
    found = []
    for node in (each for each in model.graph if each.domain not in ("", "ai.onnx")):
        read = [value for value in node.inputs if value is not None]
        known = all(known_shape(value) is not None and value.dtype is not None for value in read)
        if known and id(node) not in asked and _unknown([node]):
            found.append(node)
    asked |= {id(node) for node in found}
    return found


def _told_by_onnxruntime(model: ir.Model, nodes: Sequence[ir.Node]) -> bool:
    """Whether onnxruntime can run operators, and so has told what they make."""
    with quiet(), contextlib.suppress(Exception):
        _ask_onnxruntime(model, nodes)
        return True
    return False


def _ask_onnxruntime(model: ir.Model, nodes: Sequence[ir.Node]) -> None:
    """Shapes and types behind operators that ONNX's own inference does not know; raises what onnxruntime raises.

    Large constants take part as inputs, of which only the sizes matter. So does what operators make of constants that
    must not be folded: onnxruntime would compute it, of whatever size it is.

    Args:
        model: learns what is told.
        nodes: all of it, or some; what they read of others must have known sizes.
    """
    graph = onnx.GraphProto(name="shapes")
    whole = len(nodes) == len(model.graph)
    made = {id(value) for node in nodes for value in node.outputs}
    read = [value for node in nodes for value in node.inputs if value is not None and id(value) not in made]
    constants = (
        [*model.graph.initializers.values()] if whole else [each for each in read if each.const_value is not None]
    )
    inputs = {id(value): value for value in (model.graph.inputs if whole else read) if value.const_value is None}
    for node in nodes:
        if _makes_any_size(node):
            inputs |= {id(value): value for value in node.outputs if value.name}
        else:
            graph.node.append(ir.serde.serialize_node(node))
    for value in constants:
        tensor = value.const_value
        if tensor is not None and bytes_of(tensor) <= SMALL_CONSTANT:
            graph.initializer.append(serialised(value))
        elif tensor is not None:
            inputs[id(value)] = ir.Value(
                name=value.name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype)
            )
    graph.input.extend(ir.serde.serialize_value(value) for value in inputs.values())
    unknown = [value for value in _unknown(nodes) if id(value) not in inputs]
    graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in unknown)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    told = {output.name: output for output in quiet_session(proto.SerializeToString()).get_outputs()}
    for value in unknown:
        output = told[value.name or ""]
        sizes = [size if isinstance(size, int) and size >= 0 else None for size in output.shape]
        if sizes and (value.shape is None or None not in sizes):  # no sizes may mean that they are unknown
            value.shape = ir.Shape(sizes)
        element = output.type.removeprefix("seq(").removeprefix("tensor(").rstrip(")").upper()
        if element in ir.DataType.__members__:
            value.meta.pop(IS_SEQUENCE, None)
            if output.type.startswith("seq("):
                value.meta[IS_SEQUENCE] = True
            if value.dtype is None:
                value.dtype = ir.DataType[element]


def _makes_any_size(node: ir.Node) -> bool:
    """Whether an operator of constants was left because of what it makes, which has a type all the same."""
    read = [value for value in node.inputs if value is not None]
    constant = bool(read) and all(value.const_value is not None for value in read)
    typed = all(value.dtype is not None for value in node.outputs if value.name)
    return constant and typed and node.domain in ("", "ai.onnx") and may_fold(node) is False
