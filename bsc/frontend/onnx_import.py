"""onnx-import: a trained ONNX file becomes a `Graph`.

The file is opened read-only; weights of external data files are mapped while they are read. What each operator
becomes is decided in `bsc.frontend.crossbar_view`.
"""

import difflib
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from bsc.errors import ModelError, UsageError
from bsc.frontend.attributes import bodies, write_node
from bsc.frontend.batch import fix_batch
from bsc.frontend.constants import OwnArrays, known_shape, mapped_array, tensor_sizes, values_of
from bsc.frontend.crossbar_view import UNFOLDED, crossbar_layer
from bsc.frontend.input_ranges import input_ranges
from bsc.frontend.model_file import cause, check_bodies, check_own_data, load_model
from bsc.frontend.rewrite import WHY, rewrite
from bsc.frontend.rewrites.control_flow import DEPENDS
from bsc.frontend.set_inputs import set_inputs
from bsc.frontend.shapes import BATCH_AXES, declared_sizes, forget_inner_shapes, give_shapes, is_sequence
from bsc.frontend.sharing import share_crossbars
from bsc.frontend.simplify import drop_constant_inputs, inconsistent, simplify
from bsc.frontend.upgrade import CONVERTED, upgraded
from bsc.ir.graph import SEQUENCE, UNKNOWN_DTYPE, Attribute, DigitalOp, Graph, ModelInfo, Op, TensorType
from bsc.ir.input_values import Values, require_inputs
from bsc.ir.layer import CrossbarLayer
from bsc.ir.sidetable import ArraySource
from bsc.limits import bounded_memory, without_collection
from bsc.mapping.arrays import SPECS, array_key

OPSETS = range(11, 26)
DOMAINS = ("", "ai.onnx.ml", "com.microsoft")

GROWTH = 4
"""Bytes that the import may take for each byte of the model's files."""

NODE_BYTES = 1 << 13
"""That it may take for each operator, however few bytes of the file say what it is."""

READ_ONCE = 1 << 10
"""Bytes of a constant up to which its values are kept as an array; protobuf makes a larger one anew at every look."""

Refuse = Callable[[str, ModelError], object]
"""Told of a node that cannot be compiled: its name and why."""


def import_model(
    path: Path,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    constants: Mapping[str, tuple[int | float, ...]] | None = None,
    values: Mapping[str, Values] | None = None,
    keep_digital: Collection[str] = (),
    as_written: bool = False,
    refuse: Refuse | None = None,
) -> Graph:
    """Read an ONNX file.

    Args:
        path: the file; opsets 11 to 25, or 6 to 10, which are converted.
        input_shapes: sizes for inputs whose shape the model leaves open, by input name; `shapes.FREE` for the batch.
            Where the batch can be found out it needs no entry.
        constants: inputs that are no inputs any more: all their values, or one for all, by name.
        values: lowest and highest value of inputs, in place of what the operators say that read them.
        keep_digital: names of layers that shall not go onto crossbars, wherever their weights are read.
        as_written: take operators as the file has them. Otherwise they are rewritten so that more of them go onto
            crossbars, and operators that read one weight share its crossbars.
        refuse: gets what would be raised for a single node, which is then digital in the graph; for "", that
            nothing goes onto crossbars. By default the first of these is raised.

    Returns:
        The graph, shapes known for every crossbar layer.

    Raises:
        UsageError: BSC201 for a shape, constant or value that names no input or contradicts the model, or for no layer
            of a name in `keep_digital`; BSC202 if the file cannot be opened.
        ModelError: BSC301 to BSC306.
    """
    given = _Given(input_shapes or {}, constants or {}, values or {}, frozenset(keep_digital))
    with without_collection():
        return _imported(path, given, refuse or _raise, as_written=as_written)


def _imported(path: Path, given: "_Given", refuse: Refuse, *, as_written: bool) -> Graph:
    file = load_model(path)
    check_own_data(file.model)
    check_bodies(file.model)
    sha256, size = file.digest(), file.size()
    model = upgraded(file.model, path)
    try:
        with bounded_memory(GROWTH * size + NODE_BYTES * len(model.graph)):
            return _graph(model, path, sha256, given, refuse, as_written=as_written)
    except MemoryError:
        raise ModelError(
            "BSC312",
            f"model '{path.name}': taking it apart needs more memory than a model of its size may take",
            seen=f"{size} bytes of files",
            fix="look for operators that make large constants out of small ones, and for very large shapes",
        ) from None


@dataclass(frozen=True)
class _Given:
    """What the user says of a model's inputs and layers, by their names; as `import_model` has it."""

    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, tuple[int | float, ...]]
    values: Mapping[str, Values]
    keep_digital: frozenset[str]


def _graph(
    model: ir.Model,
    path: Path,
    sha256: str,
    given: "_Given",
    refuse: Refuse,
    *,
    as_written: bool,
) -> Graph:
    opsets = _check_opsets(model, path)
    drop_constant_inputs(model)
    declared = {value.name or "": declared_sizes(value) for value in model.graph.inputs}
    sizes = give_shapes(model, given.shapes)
    made_constant = set_inputs(model, given.constants, sizes)
    simplify(model)
    batch = fix_batch(model, declared, sizes)
    axes = {**_output_axes(model), **batch.axes}  # before rewrites, which make the outputs anew
    require_inputs(given.values, [value.name or "" for value in model.graph.inputs])
    ranges = input_ranges(model) | dict(given.values)
    of_the_file = set(model.graph.initializers)
    if not as_written:
        rewrite(model)
    forget_inner_shapes(model)

    arrays = _constants(model)
    own = OwnArrays(arrays)
    inputs = tuple(value.name or "" for value in model.graph.inputs if value.name not in arrays)
    for what, values in (("inputs", inputs), ("outputs", model.graph.outputs)):
        if not values:
            raise inconsistent(f"no {what}")
    ops = _operators(model, own, opsets, refuse, given.keep_digital)
    if not as_written:
        ops = share_crossbars(_apart(ops, arrays, own, of_the_file))
    kept = sorted(given.keep_digital)
    known = {domain: version for domain, version in sorted(opsets.items()) if domain in DOMAINS}
    info = ModelInfo(
        name=path.name,
        sha256=sha256,
        opsets=known,
        dynamic_batch=batch.free,
        constants=made_constant,
        notes=(*batch.notes, *(f"layer '{name}' stays digital, as --keep-digital says" for name in kept)),
    )
    return Graph(
        info=info,
        ops=ops,
        tensors=_tensor_types(model, axes, ranges),
        inputs=inputs,
        outputs=tuple(value.name or "" for value in model.graph.outputs),
        arrays=arrays,
        own=own,
    )


def _check_opsets(model: ir.Model, path: Path) -> dict[str, int]:
    opsets = {"" if domain == "ai.onnx" else domain: version for domain, version in model.opset_imports.items()}
    version = opsets.get("")
    if version not in OPSETS:
        raise ModelError(
            "BSC304",
            f"model '{path.name}': ONNX opset not in {CONVERTED.start}..{OPSETS.stop - 1}",
            seen="no opset of the standard domain" if version is None else f"opset {version}",
            fix="export with an opset of that range, or convert with onnx.version_converter",
        )
    return opsets


def _constants(model: ir.Model) -> dict[str, ArraySource]:
    """The side table: every constant by name."""
    arrays: dict[str, ArraySource] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and min(tensor_sizes(tensor), default=0) < 0:  # NumPy would read -1 as "what is left"
            raise inconsistent(f"constant '{name}': a size below 0")
        mapped = mapped_array(tensor)
        if mapped is not None:
            arrays[name] = mapped
        elif isinstance(tensor, ir.LazyTensor):
            arrays[name] = tensor
        elif tensor is not None:
            try:
                values = values_of(tensor)
            except Exception as error:
                raise inconsistent(f"constant '{name}': {cause(error)}") from None
            small = values.nbytes <= READ_ONCE or tensor.dtype == ir.DataType.STRING
            arrays[name] = values if small else tensor
    return arrays


def _operators(
    model: ir.Model, own: OwnArrays, opsets: Mapping[str, int], refuse: Refuse, keep_digital: Collection[str]
) -> list[Op]:
    """Every node as an operator record; what the crossbar view derives from weights is added to `own`."""
    names: set[str] = set()
    ops: list[Op] = []
    refused = False
    _mark_unfolded(model)
    for index, node in enumerate(model.graph):
        node.name = name = _unique(node.name or f"{node.op_type}_{index}", names)
        layer, why = None, ""
        try:
            _check_known(node, opsets)
            layer, why = crossbar_layer(node, name, own)
        except ModelError as error:
            refuse(name, error)
            refused = True
        ops.append(layer or _digital(node, name, node.meta.get(WHY) or why))
    ops = _kept_digital(ops, list(model.graph), keep_digital)
    if not refused and all(isinstance(op, DigitalOp) for op in ops):
        left = [op for op in ops if isinstance(op, DigitalOp) and op.why]
        reasons = sorted({f"{op.op_type} {op.name}: {op.why}" for op in left})
        settable = any(op.why.startswith(f"{DEPENDS} ") for op in left)
        nothing = ModelError(
            "BSC306",
            "no operator of the model can go onto crossbars",
            seen="; ".join(reasons[:3]) or "no Conv, Gemm or MatMul with constant weights",
            fix="make that input a constant, as --set NAME=VALUE"
            if settable
            else "compile a model with constant weights in Conv, Gemm or MatMul operators",
        )
        refuse("", nothing)
    return ops


def _kept_digital(ops: list[Op], nodes: Sequence[ir.Node], names: Collection[str]) -> list[Op]:
    """The operators, those that read the weights of the named layers digital. Raises `UsageError` BSC201 for others."""
    weights = {op.name: op.weight for op in ops if isinstance(op, CrossbarLayer)}
    for name in names:
        if name not in weights:
            nearest = difflib.get_close_matches(name, weights, n=1)
            some = ", ".join(list(weights)[:5]) or "none"
            raise UsageError(
                "BSC201",
                f"no layer is called '{name}'",
                seen=f"--keep-digital {name}",
                fix=f"did you mean '{nearest[0]}'?" if nearest else f"layers are {some}",
            )
    kept = {weights[name] for name in names}
    return [
        _digital(node, op.name, "--keep-digital says so") if isinstance(op, CrossbarLayer) and op.weight in kept else op
        for op, node in zip(ops, nodes, strict=True)
    ]


def _mark_unfolded(model: ir.Model) -> None:
    """Note at every operator that follows from constants alone which one was not folded: itself, or one before it."""
    first: dict[ir.Node, ir.Node] = {}
    for node in model.graph:
        found: ir.Node | None = None
        for value in node.inputs:
            if value is None or value.is_initializer():
                continue
            source = value.producer()
            before = None if source is None else first.get(source)
            if before is None:
                break
            found = found or before
        else:
            if node.op_type != "If":
                node.meta[UNFOLDED] = first[node] = found or node


def _apart(ops: list[Op], arrays: Mapping[str, ArraySource], own: OwnArrays, of_the_file: Collection[str]) -> list[Op]:
    """Give a layer's weights a key of the compiler's own if the file's name for them may be a key that a pass makes."""
    layers = {op.name for op in ops if isinstance(op, CrossbarLayer)}
    theirs = {array_key(layer, name) for layer in layers for name in SPECS}

    def apart(key: str) -> str:
        of_a_layer = any(key[:at] in layers for at, letter in enumerate(key) if letter == "/")
        if key not in of_the_file or not (key in theirs or of_a_layer):
            return key
        alias = f"{key}/stored"
        return alias if alias in own else own.add(alias, arrays[key])

    return [
        replace(op, weight=apart(op.weight), bias=op.bias and apart(op.bias)) if isinstance(op, CrossbarLayer) else op
        for op in ops
    ]


def _raise(_name: str, error: ModelError) -> None:
    raise error from None


def _unique(name: str, taken: set[str]) -> str:
    """`name`, with a number behind it if an earlier node has it already."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _check_known(node: ir.Node, opsets: Mapping[str, int]) -> None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    arity = None if domain else _arity(node.op_type, opsets[""])
    if domain not in DOMAINS:
        problem, seen = "operator domain is not supported", f"domain '{domain}'"
    elif not domain and arity is None:
        problem, seen = "operator is unknown to ONNX", f"opset {opsets['']}"
    else:
        if arity is not None and not (len(node.inputs) in arity[0] and len(node.outputs) in arity[1]):
            raise ModelError(
                "BSC301",
                f"node '{node.name}' ({node.op_type}): it has too few or too many inputs or outputs",
                seen=f"{len(node.inputs)} inputs and {len(node.outputs)} outputs",
                fix="check the file with onnx.checker.check_model and export it again",
            )
        return
    raise ModelError(
        "BSC304",
        f"node '{node.name}' ({node.op_type}): {problem}",
        seen=seen,
        fix="replace the operator by standard ONNX operators before compiling",
    )


@functools.cache
def _arity(op_type: str, opset: int) -> tuple[range, range] | None:
    """How many inputs and outputs an operator of the standard domain may have; None if there is no such operator."""
    if not onnx.defs.has(op_type, opset, ""):
        return None
    schema = onnx.defs.get_schema(op_type, opset, "")
    return range(schema.min_input, schema.max_input + 1), range(schema.min_output, schema.max_output + 1)


def _digital(node: ir.Node, name: str, why: str) -> DigitalOp:
    attributes: dict[str, Attribute] = {}
    for attr in node.attributes.data.values():
        if isinstance(attr, ir.Attr) and isinstance(attr.value, int | float | str | tuple):
            attributes[attr.name] = attr.value
    proto = onnx.NodeProto()
    try:
        write_node(node, proto)
    except Exception as error:
        raise inconsistent(f"node '{name}': {cause(error)}") from None
    return DigitalOp(
        name=name,
        op_type=node.op_type,
        domain="" if node.domain == "ai.onnx" else node.domain,
        inputs=(*[value.name or "" if value is not None else "" for value in node.inputs], *_captured(node)),
        outputs=tuple([value.name or "" for value in node.outputs]),
        attributes=attributes,
        node=proto.SerializeToString(deterministic=True),
        why=why,
    )


def _captured(node: ir.Node) -> list[str]:
    """Outer tensors that the bodies of an If, Loop or Scan read."""
    outer: dict[str, None] = {}
    for body in bodies(node):
        own = {id(value) for value in (*body.inputs, *body.initializers.values())}
        inner = list(body.all_nodes())
        own |= {id(value) for child in inner for value in child.outputs}
        own |= {id(value) for graph in body.subgraphs() for value in (*graph.inputs, *graph.initializers.values())}
        read = [value for child in inner for value in child.inputs] + list(body.outputs)
        outer |= {value.name or "": None for value in read if value is not None and id(value) not in own}
    return list(outer)


def _output_axes(model: ir.Model) -> dict[str, int]:
    """The axis that samples lie along, of outputs where it is known."""
    grown = {value.name or "": value.meta.get(BATCH_AXES, ()) for value in model.graph.outputs}
    return {name: axes[0] for name, axes in grown.items() if len(axes) == 1}


def _tensor_types(
    model: ir.Model, batch_axes: Mapping[str, int], ranges: Mapping[str, Values]
) -> dict[str, TensorType]:
    """Every tensor; `batch_axes` are those of inputs and outputs, `ranges` those of inputs."""
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    types = {kind.name: kind for kind in map(_tensor_type, values)}
    for name in {*batch_axes, *ranges}:
        types[name] = replace(types[name], batch_axis=batch_axes.get(name), values=ranges.get(name))
    return types


def _tensor_type(value: ir.Value) -> TensorType:
    dtype = UNKNOWN_DTYPE if value.dtype is None else _numpy_name(value.dtype)
    shape = known_shape(value)
    if shape is not None and min(shape, default=0) < 0:
        shape = None
    if dtype != UNKNOWN_DTYPE and is_sequence(value):
        dtype, shape = SEQUENCE + dtype, None
    return TensorType(name=value.name or "", shape=shape, dtype=dtype)


@functools.cache
def _numpy_name(dtype: ir.DataType) -> str:
    return UNKNOWN_DTYPE if dtype == ir.DataType.UNDEFINED else str(np.dtype(dtype.numpy()))
