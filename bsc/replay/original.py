"""The model's own file in onnxruntime: what an import and a replay are compared with."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from bsc.execution.session import quiet_session
from bsc.frontend.large_tensors import as_external, read_without_large
from bsc.frontend.model_file import folder_of
from bsc.ir.onnx_walk import tensors

INTEGER_PRODUCTS = re.compile(rb"Integer|Quant|QLinear|QAttention|QGemm|NBits")
"""In the names of operators that have them, in bodies and functions too."""
LARGE_FILE = 1 << 28
"""Bytes of a model, large weights not counted, from which on the file is opened where it lies."""


def read_file(path: Path) -> onnx.ModelProto | None:
    """The file; its large weights are external data, which onnxruntime maps; None if it is large without them."""
    proto, places = read_without_large(path)
    as_external(proto, places, path)
    return proto if proto.ByteSize() <= LARGE_FILE else None


def open_session(path: Path, proto: onnx.ModelProto | None, outputs: Sequence[str] = (), *, once: bool = False) -> Any:
    """A session of the file, which keeps no memory between runs; raises what onnxruntime raises.

    Args:
        path: of the file.
        proto: what `read_file` gives; it is changed.
        outputs: tensors that are to be outputs too; without effect on a large file.
        once: as in `quiet_session`, unless the model may have products of integers: see there.
    """
    if proto is None:
        return quiet_session(path, arena=False)
    for value in proto.graph.input:
        for size in value.type.tensor_type.shape.dim:
            if size.HasField("dim_value") and size.dim_value <= 0:  # an open size, which onnxruntime takes for 0
                size.Clear()
    declared = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in declared)
    folder = _with_plain_locations(path, proto)
    serialised = proto.SerializeToString()
    once = once and not INTEGER_PRODUCTS.search(serialised)
    return quiet_session(serialised, weights=folder, once=once, arena=False)


def _with_plain_locations(path: Path, proto: onnx.ModelProto) -> Path:
    """A folder that all weights beside the file lie below, where links lead to; `proto` then says where below it.

    onnxruntime does not follow links out of a model's folder. Where they may lead the import has checked.
    """
    places = [
        (entry, (folder_of(path, entry.value) / entry.value).resolve())
        for tensor in tensors(proto)
        for entry in tensor.external_data
        if tensor.data_location == onnx.TensorProto.EXTERNAL and entry.key == "location"
    ]
    folder = Path(os.path.commonpath([file.parent for _, file in places] or [path.resolve().parent]))
    for entry, file in places:
        entry.value = str(file.relative_to(folder))
    return folder
