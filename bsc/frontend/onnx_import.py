"""onnx-import: a trained ONNX file becomes a `Graph`.

The file is opened read-only; weights of external data files are mapped while they are read. What each operator
becomes is decided in `bsc.frontend.crossbar_view`.
"""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from bsc.errors import ModelError, UsageError
from bsc.frontend.batch import fix_batch
from bsc.frontend.constants import OwnArrays, is_constant, mapped_array, values_of
from bsc.frontend.crossbar_view import UNFOLDED, crossbar_layer
from bsc.frontend.input_ranges import input_ranges
from bsc.frontend.model_file import cause, check_external_data, check_own_data, digest, load_model, size_on_disk
from bsc.frontend.rewrite import WHY, rewrite
from bsc.frontend.rewrites.control_flow import DEPENDS
from bsc.frontend.set_inputs import set_inputs
from bsc.frontend.shapes import BATCH_AXES, declared_sizes, forget_inner_shapes, give_shapes, is_sequence
from bsc.frontend.sharing import share_crossbars
from bsc.frontend.simplify import inconsistent, simplify
from bsc.frontend.upgrade import CONVERTED, upgraded
from bsc.ir.graph import SEQUENCE, UNKNOWN_DTYPE, Attribute, DigitalOp, Graph, ModelInfo, Op, TensorType
from bsc.ir.input_values import Values, require_inputs
from bsc.ir.layer import CrossbarLayer
from bsc.ir.sidetable import ArraySource
from bsc.limits import bounded_memory
from bsc.mapping.arrays import SPECS, array_key

OPSETS = range(11, 26)
DOMAINS = ("", "ai.onnx.ml", "com.microsoft")

GROWTH = 4
"""Bytes that the import may take for each byte of the model's files."""

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
    model = load_model(path)
    check_external_data(model, path)
    check_own_data(model)
    sha256 = digest(model, path)  # folding may drop external tensors, so it comes first
    size = size_on_disk(model, path)
    model = upgraded(model, path)
    try:
        with bounded_memory(GROWTH * size):
            given = _Given(input_shapes or {}, constants or {}, values or {}, frozenset(keep_digital))
            return _graph(model, path, sha256, given, refuse or _raise, as_written=as_written)
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
    common.RemoveInitializersFromInputsPass()(model)
    declared = {value.name or "": declared_sizes(value) for value in model.graph.inputs}
    sizes = give_shapes(model, given.shapes)
    made_constant = set_inputs(model, given.constants, sizes)
    simplify(model)
    batch = fix_batch(model, declared, sizes)
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
        tensors=_tensor_types(model, batch.axes, ranges),
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
        if tensor is not None and min(tensor.shape.numpy(), default=0) < 0:  # NumPy would read -1 as "what is left"
            raise inconsistent(f"constant '{name}': a size below 0")
        mapped = mapped_array(tensor)
        if mapped is not None:
            arrays[name] = mapped
        elif isinstance(tensor, ir.LazyTensor):
            arrays[name] = tensor
        elif tensor is not None:
            try:
                values_of(tensor)
            except Exception as error:
                raise inconsistent(f"constant '{name}': {cause(error)}") from None
            arrays[name] = values_of(tensor) if tensor.dtype == ir.DataType.STRING else tensor
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
    for node in model.graph:
        sources = [value.producer() for value in node.inputs if value is not None and not is_constant(value)]
        before = [source and source.meta.get(UNFOLDED) for source in sources]
        if all(before) and node.op_type != "If":
            node.meta[UNFOLDED] = before[0] if before else node


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
    if domain not in DOMAINS:
        problem, seen = "operator domain is not supported", f"domain '{domain}'"
    elif not domain and not onnx.defs.has(node.op_type, opsets[""], ""):
        problem, seen = "operator is unknown to ONNX", f"opset {opsets['']}"
    else:
        if not domain:
            _check_arity(node, opsets[""])
        return
    raise ModelError(
        "BSC304",
        f"node '{node.name}' ({node.op_type}): {problem}",
        seen=seen,
        fix="replace the operator by standard ONNX operators before compiling",
    )


def _check_arity(node: ir.Node, opset: int) -> None:
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    reads, writes = len(node.inputs), len(node.outputs)
    if schema.min_input <= reads <= schema.max_input and schema.min_output <= writes <= schema.max_output:
        return
    raise ModelError(
        "BSC301",
        f"node '{node.name}' ({node.op_type}): it has too few or too many inputs or outputs",
        seen=f"{reads} inputs and {writes} outputs",
        fix="check the file with onnx.checker.check_model and export it again",
    )


def _digital(node: ir.Node, name: str, why: str) -> DigitalOp:
    attributes: dict[str, Attribute] = {}
    for attr in node.attributes.values():
        if isinstance(attr, ir.Attr) and isinstance(attr.value, int | float | str | tuple):
            attributes[attr.name] = attr.value
    try:
        serialised = ir.serde.serialize_node(node).SerializeToString(deterministic=True)
    except Exception as error:
        raise inconsistent(f"node '{name}': {cause(error)}") from None
    return DigitalOp(
        name=name,
        op_type=node.op_type,
        domain="" if node.domain == "ai.onnx" else node.domain,
        inputs=(*(value.name or "" if value else "" for value in node.inputs), *_captured(node)),
        outputs=tuple(value.name or "" for value in node.outputs),
        attributes=attributes,
        node=serialised,
        why=why,
    )


def _captured(node: ir.Node) -> list[str]:
    """Outer tensors that the bodies of an If, Loop or Scan read."""
    bodies = [
        graph
        for attr in node.attributes.values()
        if isinstance(attr, ir.Attr) and attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        for graph in ([attr.value] if attr.type == ir.AttributeType.GRAPH else attr.value)
    ]
    outer: dict[str, None] = {}
    for body in bodies:
        own = {id(value) for value in (*body.inputs, *body.initializers.values())}
        inner = list(body.all_nodes())
        own |= {id(value) for child in inner for value in child.outputs}
        own |= {id(value) for graph in body.subgraphs() for value in (*graph.inputs, *graph.initializers.values())}
        read = [value for child in inner for value in child.inputs] + list(body.outputs)
        outer |= {value.name or "": None for value in read if value is not None and id(value) not in own}
    return list(outer)


def _tensor_types(
    model: ir.Model, batch_axes: Mapping[str, int], ranges: Mapping[str, Values]
) -> dict[str, TensorType]:
    """Every tensor; `batch_axes` and `ranges` are those of inputs."""
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    types = {kind.name: kind for kind in map(_tensor_type, values)}
    grown = {value.name or "": value.meta.get(BATCH_AXES, ()) for value in model.graph.outputs}
    axes = {name: each[0] for name, each in grown.items() if len(each) == 1} | dict(batch_axes)
    for name in {*axes, *ranges}:
        types[name] = replace(types[name], batch_axis=axes.get(name), values=ranges.get(name))
    return types


def _tensor_type(value: ir.Value) -> TensorType:
    sizes = None if value.shape is None else tuple(value.shape)
    known = sizes is not None and all(isinstance(size, int) and size >= 0 for size in sizes)
    untyped = value.dtype in (None, ir.DataType.UNDEFINED)
    dtype = UNKNOWN_DTYPE if untyped or value.dtype is None else str(np.dtype(value.dtype.numpy()))
    shape = tuple(int(size) for size in sizes if isinstance(size, int)) if known and sizes is not None else None
    if is_sequence(value) and dtype != UNKNOWN_DTYPE:
        dtype, shape = SEQUENCE + dtype, None
    return TensorType(name=value.name or "", shape=shape, dtype=dtype)
