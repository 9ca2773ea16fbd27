"""onnx-import: a trained ONNX file becomes a `Graph`.

The file is opened read-only; weights of external data files stay memory-mapped. Constants are folded,
functions inlined and `Identity` removed before any operator is looked at, so that a weight is found however
the exporter wrapped it. What each operator becomes is decided in `bsc.crossbar_view`.
"""

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from bsc.crossbar_view import crossbar_layer
from bsc.errors import ModelError, UsageError
from bsc.graph import ArraySource, Attribute, DigitalOp, Graph, ModelInfo, Op, TensorType

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
    opsets = _check_opsets(model, path)
    _give_shapes(model, input_shapes or {})
    _simplify(model)
    dynamic_batch = _fix_batch(model)
    _infer_shapes(model)

    constants = {name: value.const_value for name, value in model.graph.initializers.items()}
    arrays: dict[str, ArraySource] = {name: tensor for name, tensor in constants.items() if tensor is not None}
    inputs = tuple(value.name or "" for value in model.graph.inputs if value.name not in arrays)
    ops = _operators(model, arrays)
    info = ModelInfo(
        name=path.name, sha256=_digest(model, path), opsets=dict(sorted(opsets.items())), dynamic_batch=dynamic_batch
    )
    return Graph(
        info=info,
        ops=ops,
        tensors=_tensor_types(model),
        inputs=inputs,
        outputs=tuple(value.name or "" for value in model.graph.outputs),
        arrays=arrays,
    )


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
        raise _unreadable(path, f"{type(error).__name__}: {_first_line(error)}") from None
    if len(model.graph) == 0:
        raise _unreadable(path, f"a model without operators in {size} bytes")
    return model


def _unreadable(path: Path, seen: str) -> ModelError:
    return ModelError(
        "BSC301",
        f"model '{path.name}' is not a readable ONNX model",
        seen=seen,
        fix="export the model again; check that the file was copied whole",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]


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
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value


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
    """Apply --input-shape."""
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
        values[name].shape = ir.Shape(shape)


def _simplify(model: ir.Model) -> None:
    """Inline functions, fold constants, drop `Identity` and what nothing reads."""
    cleanup = ir.passes.Sequential(
        common.RemoveInitializersFromInputsPass(),
        common.IdentityEliminationPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveUnusedNodesPass(),
    )
    with _quiet():
        try:
            common.InlinePass()(model)
            cleanup(model)
            common.TopologicalSortPass()(model)
        except Exception as error:
            raise ModelError(
                "BSC301",
                "the model's graph is inconsistent",
                seen=_first_line(error),
                fix="check the file with onnx.checker.check_model and export it again",
            ) from None
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
        cleanup(model)
        common.OutputFixPass()(model)


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


def _digest(model: ir.Model, path: Path) -> str:
    """SHA-256 of the model file, then of its external data files in order of their names."""
    digest = hashlib.sha256()
    files = sorted({str(tensor.location) for tensor in _external_tensors(model)})
    for file in (path, *(path.parent / name for name in files)):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _operators(model: ir.Model, arrays: dict[str, ArraySource]) -> list[Op]:
    """Every node as an operator record; folded scalings of weights are added to `arrays`."""
    names: set[str] = set()
    ops: list[Op] = []
    for index, node in enumerate(model.graph):
        _check_known(node, model.opset_imports)
        node.name = name = _unique(node.name or f"{node.op_type}_{index}", names)
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
    elif not domain and not onnx.defs.has(node.op_type, opsets.get("", OPSETS.stop - 1), ""):
        problem, seen = "operator is unknown to ONNX", f"opset {opsets.get('')}"
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
    return DigitalOp(
        name=name,
        op_type=node.op_type,
        domain="" if node.domain == "ai.onnx" else node.domain,
        inputs=(*(value.name or "" if value else "" for value in node.inputs), *_captured(node)),
        outputs=tuple(value.name or "" for value in node.outputs),
        attributes=attributes,
        node=ir.serde.serialize_node(node).SerializeToString(deterministic=True),
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
    dtype = "?" if value.dtype is None else str(np.dtype(value.dtype.numpy()))
    shape = tuple(int(size) for size in sizes if isinstance(size, int)) if known and sizes is not None else None
    return TensorType(name=value.name or "", shape=shape, dtype=dtype)
