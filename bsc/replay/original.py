"""The model's own file in onnxruntime: what an import and a replay are compared with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from bsc.execution.session import quiet_session

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
    return quiet_session(proto.SerializeToString(), weights=path.resolve().parent)
