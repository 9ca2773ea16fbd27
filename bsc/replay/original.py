"""The model's own file in onnxruntime: what an import and a replay are compared with."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from bsc.execution.session import quiet_session
from bsc.frontend.model_file import folder_of
from bsc.ir.onnx_walk import tensors

LARGE_FILE = 1 << 28
"""Bytes of an ONNX file, weights beside it not counted, from which on it is opened where it lies."""


def read_file(path: Path) -> onnx.ModelProto | None:
    """The file, weights beside it left out; None if it is large."""
    if path.stat().st_size > LARGE_FILE:
        return None
    return onnx.load(path, load_external_data=False)


def open_session(path: Path, proto: onnx.ModelProto | None, outputs: Sequence[str] = ()) -> Any:
    """A session of the file; raises what onnxruntime raises.

    Args:
        path: of the file.
        proto: what `read_file` gives; it is changed.
        outputs: tensors that are to be outputs too; without effect on a large file.
    """
    if proto is None:
        return quiet_session(path)
    for value in proto.graph.input:
        for size in value.type.tensor_type.shape.dim:
            if size.HasField("dim_value") and size.dim_value <= 0:  # an open size, which onnxruntime takes for 0
                size.Clear()
    declared = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in declared)
    folder = _with_plain_locations(path, proto)
    return quiet_session(proto.SerializeToString(), weights=folder)


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
