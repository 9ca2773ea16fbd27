"""A plan as an ONNX model of standard operators that computes exactly what its crossbars compute.

onnxruntime alone then reproduces `bsc.replay`, ADC clipping and rounding included: a check that anybody can run. The
digital operators are the plan's own; `bsc.export.onnx_layer` says what a crossbar layer becomes. Inputs that make an
activation infinite or NaN are refused by the replay and have no meaning here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from google.protobuf.message import DecodeError
from onnx import helper

from bsc import __version__
from bsc.errors import ModelError
from bsc.execution.session import quiet_session
from bsc.export.onnx_builder import GraphBuilder
from bsc.export.onnx_layer import emulate
from bsc.frontend.model_file import cause
from bsc.ir.graph import SEQUENCE, UNKNOWN_DTYPE
from bsc.mapping.model import TensorRecord
from bsc.output_files import require_free, write_file
from bsc.plan.document import Plan

KIND = "an exported model"
PRODUCER = "bsc export"
BATCH = "N"


def write_emulation(plan: Plan, path: Path, *, force: bool = False, figures: Mapping[str, str] | None = None) -> None:
    """Write `emulation_model(plan)` to a file; the same plan gives the same bytes.

    Args:
        plan: what to export.
        path: the file; only one that an export wrote is ever replaced.
        force: replace it.
        figures: further metadata of the model.

    Raises:
        UsageError: BSC203 if the file exists and may not be replaced; BSC204 if it cannot be written.
        ModelError, DoesNotFitError: as `emulation_model`.
    """
    check_free(path, force=force)
    try:
        model = emulation_model(plan)
        helper.set_model_props(model, {each.key: each.value for each in model.metadata_props} | dict(figures or {}))
        content = model.SerializeToString(deterministic=True)
    except (DecodeError, UnicodeDecodeError) as error:
        raise _contradiction("digital operators", f"a file that is no ONNX model: {error}") from None
    write_file(path, content, force=force)


def check_free(path: Path, *, force: bool) -> None:
    """Whether an exported model may be written to `path`. Raises as `write_emulation`."""
    require_free(path, force=force, kind=KIND, is_one=_is_export)


def emulation_model(plan: Plan) -> onnx.ModelProto:
    """The model: inputs and outputs of the plan's model, any batch size where that is free.

    Its metadata holds the bsc version and pipeline of the plan and the SHA-256 of the plan's model.

    Raises:
        ModelError: BSC305 for a tensor of unknown element type; BSC307 if the plan's files contradict each other.
        DoesNotFitError: BSC402 if the model would be larger than an ONNX file can be.
    """
    document, mapping = plan.document, plan.mapping
    segments = {
        step.digital: onnx.ModelProto.FromString(mapping.digital(step.digital))
        for step in document.steps
        if step.digital
    }
    opsets = _opsets(document.model.opsets, segments)
    taken = {name for segment in segments.values() for name in _names(segment.graph)}
    taken.update(tensor.name for tensor in (*document.inputs, *document.outputs))
    taken.update(name for step in document.steps for name in (*step.inputs, *step.outputs))
    graph = GraphBuilder(opsets[""], taken)
    dtypes = {tensor.name: tensor.dtype for tensor in document.inputs}
    shared: dict[str, onnx.TensorProto] = {}
    for step in document.steps:
        if step.digital:
            _inline(graph, segments[step.digital], shared)
            dtypes |= _element_types(segments[step.digital])
            continue
        layer = mapping.layer(step.layer or "")
        dtype = _known(dtypes.get(step.inputs[0]), step.inputs[0])
        emulate(graph, layer, mapping.arrays(layer), x=step.inputs[0], dtype=dtype, output=step.outputs[0])
        dtypes[step.outputs[0]] = dtype.name
    imports = [helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())]
    free = document.free_batch
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "crossbars",
            [_value_info(tensor, tensor.dtype, _input_sizes(tensor, free=free)) for tensor in document.inputs],
            [
                _value_info(tensor, dtypes.get(tensor.name), _output_sizes(tensor, free=free))
                for tensor in document.outputs
            ],
            graph.constants,
        ),
        opset_imports=imports,
        ir_version=helper.find_min_ir_version_for(imports, ignore_unknown=True),
        producer_name=PRODUCER,
        producer_version=__version__,
    )
    helper.set_model_props(
        model,
        {
            "bsc_version": document.bsc_version,
            "model": document.model.file,
            "model_sha256": document.model.sha256,
            "pipeline": document.pipeline,
        },
    )
    return model


def _is_export(path: Path) -> bool:
    """Whether a file starts like a model that `write_emulation` wrote; protobuf puts the producer second."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return f"\x12{chr(len(PRODUCER))}{PRODUCER}".encode() in stream.read(4 + len(PRODUCER))


def _opsets(recorded: Mapping[str, int], segments: Mapping[str, onnx.ModelProto]) -> dict[str, int]:
    """Operator sets of all segments by domain, the standard one among them."""
    opsets = dict(recorded)
    for file, segment in segments.items():
        for entry in segment.opset_import:
            if opsets.setdefault(entry.domain, entry.version) != entry.version:
                seen = f"version {entry.version} of domain '{entry.domain}', elsewhere {opsets[entry.domain]}"
                raise _contradiction(f"operator sets of '{file}'", seen)
    if "" not in opsets:
        raise _contradiction("operator sets", "none of the standard domain")
    return opsets


def _inline(graph: GraphBuilder, segment: onnx.ModelProto, shared: dict[str, onnx.TensorProto]) -> None:
    """Take over the operators of a segment, and those constants that no segment before it had."""
    graph.require_room(segment.ByteSize())
    for tensor in segment.graph.initializer:
        if tensor.name not in shared:
            graph.constants.append(tensor)
        elif shared[tensor.name] != tensor:
            raise _contradiction(f"constant '{tensor.name}'", "different values in two digital segments")
        shared[tensor.name] = tensor
    graph.take_over(segment.graph.node)


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every value name of a graph and of the graphs within its operators."""
    yield from (tensor.name for tensor in graph.initializer)
    yield from (value.name for value in graph.input)
    for node in graph.node:
        yield from (*node.input, *node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _names(inner)


def _element_types(segment: onnx.ModelProto) -> dict[str, str]:
    """NumPy type names of the values of a segment as far as they are known, and of all its outputs.

    Those of sequences begin as `SEQUENCE` does. What ONNX's inference does not know, onnxruntime tells, which must know
    it before it runs a segment.
    """
    try:
        graph = onnx.shape_inference.infer_shapes(segment).graph
        types = {value.name: name for value in (*graph.value_info, *graph.output) if (name := _type_name(value.type))}
        if any(output.name not in types for output in segment.graph.output):
            told = quiet_session(segment.SerializeToString(), as_written=True).get_outputs()
            types = {each.name: _told_name(each.type) for each in told} | types
    except Exception as error:  # ONNX raises kinds of its own for a segment that was altered
        raise ModelError(
            "BSC304",
            "digital operators of the plan cannot be exported",
            seen=cause(error),
            fix="compile the model again",
        ) from None
    return types


def _type_name(kind: onnx.TypeProto) -> str:
    """What a tensor, or a sequence of tensors, holds; "" if that is not known."""
    of_sequence = kind.HasField("sequence_type")
    tensor = (kind.sequence_type.elem_type if of_sequence else kind).tensor_type
    name = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else ""
    return f"{SEQUENCE}{name}" if name and of_sequence else name


def _told_name(kind: str) -> str:
    """The same of a type in onnxruntime's words, such as seq(tensor(float))."""
    element = kind.removeprefix("seq(").removeprefix("tensor(").rstrip(")").upper()
    name = helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(element)).name
    return f"{SEQUENCE}{name}" if kind.startswith("seq(") else name


def _known(dtype: str | None, name: str) -> np.dtype[Any]:
    try:
        known = None if dtype is None or dtype == UNKNOWN_DTYPE else np.dtype(dtype)
    except TypeError:  # what a plan that was altered says
        known = None
    if known is None:
        raise ModelError(
            "BSC305",
            f"the element type of tensor '{name}' is unknown",
            seen="an operator before it that ONNX's shape inference does not know",
            fix="replace the operators that make it by standard ONNX operators",
        )
    return known


def _value_info(tensor: TensorRecord, dtype: str | None, sizes: list[int | str | None] | None) -> onnx.ValueInfoProto:
    if dtype is not None and dtype.startswith(SEQUENCE):
        kind = helper.np_dtype_to_tensor_dtype(_known(dtype.removeprefix(SEQUENCE), tensor.name))
        return helper.make_tensor_sequence_value_info(tensor.name, kind, None)
    kind = helper.np_dtype_to_tensor_dtype(_known(dtype, tensor.name))
    return helper.make_tensor_value_info(tensor.name, kind, sizes)


def _input_sizes(tensor: TensorRecord, *, free: bool) -> list[int | str | None] | None:
    """Sizes of an input; a free batch is 1 in the plan."""
    if tensor.shape is None:
        return None
    return [BATCH if free and axis == tensor.batch_axis else size for axis, size in enumerate(tensor.shape)]


def _output_sizes(tensor: TensorRecord, *, free: bool) -> list[int | str | None] | None:
    """Sizes of an output; any of them may hold the batch where that is free."""
    return None if tensor.shape is None else [None if free else size for size in tensor.shape]


def _contradiction(where: str, seen: str) -> ModelError:
    return ModelError("BSC307", f"{where} contradict the plan", seen=seen, fix="compile the model again")
