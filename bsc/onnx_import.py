"""onnx-import: a trained ONNX file becomes a `Graph`.

The file is opened read-only; weights of external data files stay memory-mapped. Constants are folded,
functions inlined and inner `Identity` removed before any operator is looked at, so that a weight is found
however the exporter wrapped it. What each operator becomes is decided in `bsc.crossbar_view`.
"""

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common
from onnxscript import optimizer

from bsc.crossbar_view import crossbar_layer
from bsc.errors import ModelError, UsageError
from bsc.graph import UNKNOWN_DTYPE, ArraySource, Attribute, DigitalOp, Graph, ModelInfo, Op, TensorType

OPSETS = range(11, 26)
DOMAINS = ("", "ai.onnx.ml", "com.microsoft")
# Folding these never makes a constant larger, so weights of any size may pass through them.
LAYOUT_OPS = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Identity"})
NO_SIZE_LIMIT = 1 << 40


def import_model(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """Read an ONNX file.

    Args:
        path: the file; opsets 11 to 25.
        input_shapes: sizes for inputs whose shape the model leaves open, by input name. A free first axis
            is taken as the batch and needs no entry.

    Returns:
        The graph, shapes known for every crossbar layer.

    Raises:
        UsageError: BSC201 for a shape that names no input or contradicts the model; BSC202 if the file
            cannot be opened.
        ModelError: BSC301 to BSC306.
    """
    model = _load(path)
    _check_external_data(model, path)
    sha256 = _digest(model, path)  # folding may drop external tensors, so it comes first
    opsets = _check_opsets(model, path)
    _give_shapes(model, input_shapes or {})
    _simplify(model)
    dynamic_batch = _fix_batch(model)
    _infer_shapes(model)

    arrays = _constants(model)
    inputs = tuple(value.name or "" for value in model.graph.inputs if value.name not in arrays)
    ops = _operators(model, arrays, opsets)
    info = ModelInfo(name=path.name, sha256=sha256, opsets=dict(sorted(opsets.items())), dynamic_batch=dynamic_batch)
    return Graph(
        info=info,
        ops=ops,
        tensors=_tensor_types(model),
        inputs=inputs,
        outputs=tuple(value.name or "" for value in model.graph.outputs),
        arrays=arrays,
    )


def model_digest(path: Path) -> str:
    """The digest that `ModelInfo.sha256` holds for this file. Raises as `import_model`."""
    model = _load(path)
    _check_external_data(model, path)
    return _digest(model, path)


def parse_input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read "image:1,3,224,224".

    Raises:
        UsageError: BSC201 for any other form or a size below 1.
    """
    name, colon, sizes = text.rpartition(":")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not (colon and name and shape and min(shape) >= 1):
        raise UsageError(
            "BSC201",
            "--input-shape cannot be read",
            seen=repr(text),
            fix="write NAME:SIZE,SIZE,... with sizes of 1 or more, such as image:1,3,224,224",
        )
    return name, shape


def _load(path: Path) -> ir.Model:
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise UsageError(
            "BSC202",
            f"model '{path.name}' cannot be opened",
            seen=error.strerror or str(error),
            fix="give the path of an ONNX file",
        ) from None
    if size == 0:
        raise _unreadable(path, "an empty file")
    try:
        with _quiet():
            model = ir.load(path)
    except Exception as error:  # protobuf, onnx-ir and NumPy each raise their own kinds on hostile bytes
        raise _unreadable(path, _cause(error)) from None
    if len(model.graph) == 0:
        raise _unreadable(path, f"a model without operators in {size} bytes")
    if not all(isinstance(name, str) for name in _names(model)):
        raise _unreadable(path, "a name that is not UTF-8 text")
    return model


def _names(model: ir.Model) -> Iterator[object]:
    """Every name an operator record may take over; protobuf hands out bytes where they are not UTF-8."""
    values = [*model.graph.inputs, *model.graph.outputs]
    for node in model.graph.all_nodes():
        yield from (node.name or "", node.op_type, node.domain, *node.attributes)
        values += [value for value in (*node.inputs, *node.outputs) if value is not None]
    yield from (value.name or "" for value in values)


def _unreadable(path: Path, seen: str) -> ModelError:
    return ModelError(
        "BSC301",
        f"model '{path.name}' is not a readable ONNX model",
        seen=seen,
        fix="export the model again; check that the file was copied whole",
    )


def _cause(error: BaseException) -> str:
    """What went wrong first, in one line: the libraries wrap it in the names of their own steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0][:200]}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' warnings off the user's terminal: what matters is reported as an error."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """External tensors wherever a file can hold them: initialisers and attributes, in functions too."""
    tensors: list[object] = []
    for graph in (model.graph, *model.graph.subgraphs()):
        tensors += [value.const_value for value in graph.initializers.values()]
    nodes = [
        *model.graph.all_nodes(),
        *(node for function in model.functions.values() for node in function.all_nodes()),
    ]
    for attr in (attr for node in nodes for attr in node.attributes.values()):
        tensors += attr.value if attr.type == ir.AttributeType.TENSORS else [attr.value]
    return (tensor for tensor in tensors if isinstance(tensor, ir.ExternalTensor))


def _check_external_data(model: ir.Model, path: Path) -> None:
    """Every external tensor must lie whole in a file below the model's folder."""
    folder = path.resolve().parent
    for tensor in _external_tensors(model):
        location = str(tensor.location)
        file = (folder / location).resolve()
        problem = f"model '{path.name}': external data of tensor '{tensor.name}'"
        if Path(location).is_absolute() or not file.is_relative_to(folder):
            raise ModelError(
                "BSC302",
                f"{problem} lies outside the model's folder",
                seen=repr(location),
                fix="store the weights beside the model with a relative path",
            )
        if not file.is_file():
            raise ModelError(
                "BSC302",
                f"{problem} is missing",
                seen=f"no file '{location}' beside the model",
                fix="copy the external data file into the model's folder",
            )
        start, needed, size = tensor.offset or 0, tensor.nbytes, file.stat().st_size
        if start < 0 or start + needed > size or (tensor.length is not None and tensor.length < needed):
            raise ModelError(
                "BSC302",
                f"{problem} is truncated",
                seen=f"{needed} bytes needed from offset {start}, file '{location}' has {size}",
                fix="copy the external data file again, whole",
            )


def _check_opsets(model: ir.Model, path: Path) -> dict[str, int]:
    opsets = {"" if domain == "ai.onnx" else domain: version for domain, version in model.opset_imports.items()}
    version = opsets.get("")
    if version not in OPSETS:
        raise ModelError(
            "BSC304",
            f"model '{path.name}': ONNX opset not in {OPSETS.start}..{OPSETS.stop - 1}",
            seen="no opset of the standard domain" if version is None else f"opset {version}",
            fix="export with an opset of that range, or convert with onnx.version_converter",
        )
    return opsets


def _give_shapes(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Apply --input-shape; a size given for a symbol holds in every input that uses the symbol."""
    symbols: dict[str | None, int] = {}
    values = {value.name: value for value in model.graph.inputs}
    for name, shape in shapes.items():
        if name not in values:
            raise UsageError(
                "BSC201",
                f"--input-shape names no input of model: '{name}'",
                seen=f"inputs {', '.join(sorted(str(key) for key in values))}",
                fix="use one of these names",
            )
        declared = values[name].shape
        fits = declared is None or (
            len(declared) == len(shape)
            and all(not isinstance(old, int) or old == new for old, new in zip(declared, shape, strict=True))
        )
        if not fits:
            raise UsageError(
                "BSC201",
                f"--input-shape contradicts the model for input '{name}'",
                seen=f"{list(shape)} given, model declares {declared}",
                fix="change only the sizes that the model leaves open",
            )
        symbols |= {old.value: new for old, new in zip(declared or (), shape, strict=False) if not isinstance(old, int)}
        values[name].shape = ir.Shape(shape)
    symbols.pop(None, None)
    for value in values.values():
        if value.shape is not None:
            value.shape = ir.Shape(
                size if isinstance(size, int) else symbols.get(size.value, size) for size in value.shape
            )


def _simplify(model: ir.Model) -> None:
    """Inline functions, fold constants, drop inner `Identity` and what nothing reads."""
    cleanup = ir.passes.Sequential(
        common.RemoveInitializersFromInputsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveUnusedNodesPass(),
    )
    for index, node in enumerate(model.graph):  # now, as the passes below would name what they touch "node_1"
        node.name = node.name or f"{node.op_type}_{index}"
    with _quiet():
        try:
            common.InlinePass()(model)
            common.TopologicalSortPass()(model)
        except Exception as error:
            raise _inconsistent(_cause(error)) from None
        _check_connected(model)
        _drop_identities(model)
        cleanup(model)
        # A fold that fails leaves its operator digital, where onnxruntime judges it.
        with contextlib.suppress(Exception):
            optimizer.fold_constants(model)
        with contextlib.suppress(Exception):
            optimizer.fold_constants(
                model,
                input_size_limit=NO_SIZE_LIMIT,
                output_size_limit=NO_SIZE_LIMIT,
                should_fold=lambda node: None if node.op_type in LAYOUT_OPS else False,
            )
        _drop_identities(model)
        cleanup(model)
    _separate_constant_outputs(model)


def _inconsistent(seen: str) -> ModelError:
    return ModelError(
        "BSC301",
        "the model's graph is inconsistent",
        seen=seen,
        fix="check the file with onnx.checker.check_model and export it again",
    )


def _check_connected(model: ir.Model) -> None:
    """Every tensor that is read, by an operator or by the user, must come from somewhere."""
    for node in model.graph.all_nodes():
        for value in node.inputs:
            if value is not None and _from_nowhere(value):
                raise _inconsistent(f"nothing makes tensor '{value.name}', which node '{node.name}' reads")
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.outputs:
            if _from_nowhere(value):
                raise _inconsistent(f"nothing makes tensor '{value.name}', an output of graph '{graph.name}'")


def _from_nowhere(value: ir.Value) -> bool:
    return value.producer() is None and not value.is_graph_input() and not value.is_initializer()


def _drop_identities(model: ir.Model) -> None:
    """Remove `Identity` operators; those that make an output stay, as outputs keep their names."""
    for node in list(model.graph):
        if node.op_type != "Identity" or node.domain not in ("", "ai.onnx"):
            continue
        if len(node.inputs) != 1 or len(node.outputs) != 1 or node.outputs[0].is_graph_output():
            continue
        source = node.inputs[0]
        if source is not None:
            node.outputs[0].replace_all_uses_with(source)
            model.graph.remove(node, safe=True)


def _separate_constant_outputs(model: ir.Model) -> None:
    """Let an `Identity` make each output that is a constant: only operators make tensors when a plan runs."""
    for position, value in enumerate(model.graph.outputs):
        if value.is_initializer():
            name = value.name
            value.name = f"{name}/constant"
            node = ir.node("Identity", [value], name=f"{name}/output")
            node.outputs[0].name = name
            model.graph.append(node)
            model.graph.outputs[position] = node.outputs[0]


def _fix_batch(model: ir.Model) -> bool:
    """Set a free first axis to 1; every other free axis is the user's to give. True if there was one."""
    free = False
    for value in model.graph.inputs:
        if value.shape is None:
            raise _open_shape(value, "no shape at all")
        sizes = list(value.shape)
        if sizes and not isinstance(sizes[0], int):
            free = True
            sizes[0] = 1
        if not all(isinstance(size, int) for size in sizes):
            raise _open_shape(value, f"shape {value.shape}")
        value.shape = ir.Shape(sizes)
    return free


def _open_shape(value: ir.Value, seen: str) -> ModelError:
    return ModelError(
        "BSC305",
        f"input '{value.name}' has axes of unknown size",
        seen=seen,
        fix=f"give them: --input-shape {value.name}:SIZE,SIZE,...",
    )


def _infer_shapes(model: ir.Model) -> None:
    """Infer all shapes anew for the inputs' sizes; a value the inference cannot tell keeps none."""
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    with _quiet(), contextlib.suppress(Exception):
        common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)


def _constants(model: ir.Model) -> dict[str, ArraySource]:
    """The side table: every constant by name."""
    arrays: dict[str, ArraySource] = {}
    files: dict[str, NDArray[np.uint8]] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes and tensor.dtype.bitwidth % 8 == 0:
            arrays[name] = _mapped(tensor, files)
        elif tensor is not None:
            try:
                np.asarray(tensor)
            except Exception as error:
                raise _inconsistent(f"constant '{name}': {_cause(error)}") from None
            arrays[name] = tensor
    return arrays


def _mapped(tensor: ir.ExternalTensor, files: dict[str, NDArray[np.uint8]]) -> NDArray[Any]:
    """A view of its file. One mapping serves all tensors of a file, as each mapping holds a file descriptor."""
    path = str(tensor.path)
    if path not in files:
        files[path] = np.memmap(path, np.uint8, "r")
    start = tensor.offset or 0
    return files[path][start : start + tensor.nbytes].view(tensor.dtype.numpy()).reshape(tensor.shape.numpy())


def _digest(model: ir.Model, path: Path) -> str:
    """SHA-256 of the model file, then of its external data files in order of their names."""
    digest = hashlib.sha256()
    files = sorted({str(tensor.location) for tensor in _external_tensors(model)})
    for file in (path, *(path.parent / name for name in files)):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _operators(model: ir.Model, arrays: dict[str, ArraySource], opsets: Mapping[str, int]) -> list[Op]:
    """Every node as an operator record; what the crossbar view derives from weights is added to `arrays`."""
    names: set[str] = set()
    ops: list[Op] = []
    for index, node in enumerate(model.graph):
        node.name = name = _unique(node.name or f"{node.op_type}_{index}", names)
        _check_known(node, opsets)
        layer, why = crossbar_layer(node, name, arrays)
        ops.append(layer or _digital(node, name, why))
    if all(isinstance(op, DigitalOp) for op in ops):
        reasons = sorted({f"{op.op_type} {op.name}: {op.why}" for op in ops if isinstance(op, DigitalOp) and op.why})
        raise ModelError(
            "BSC306",
            "no operator of the model can go onto crossbars",
            seen="; ".join(reasons[:3]) or "no Conv, Gemm or MatMul with constant weights",
            fix="compile a model with constant weights in Conv, Gemm or MatMul operators",
        )
    return ops


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
        return
    raise ModelError(
        "BSC304",
        f"node '{node.name}' ({node.op_type}): {problem}",
        seen=seen,
        fix="replace the operator by standard ONNX operators before compiling",
    )


def _digital(node: ir.Node, name: str, why: str) -> DigitalOp:
    attributes: dict[str, Attribute] = {}
    for attr in node.attributes.values():
        if isinstance(attr, ir.Attr) and isinstance(attr.value, int | float | str | tuple):
            attributes[attr.name] = attr.value
    try:
        serialised = ir.serde.serialize_node(node).SerializeToString(deterministic=True)
    except Exception as error:
        raise _inconsistent(f"node '{name}': {_cause(error)}") from None
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


def _tensor_types(model: ir.Model) -> dict[str, TensorType]:
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    return {value.name or "": _tensor_type(value) for value in values}


def _tensor_type(value: ir.Value) -> TensorType:
    sizes = None if value.shape is None else tuple(value.shape)
    known = sizes is not None and all(isinstance(size, int) for size in sizes)
    untyped = value.dtype in (None, ir.DataType.UNDEFINED)
    dtype = UNKNOWN_DTYPE if untyped or value.dtype is None else str(np.dtype(value.dtype.numpy()))
    shape = tuple(int(size) for size in sizes if isinstance(size, int)) if known and sizes is not None else None
    return TensorType(name=value.name or "", shape=shape, dtype=dtype)
