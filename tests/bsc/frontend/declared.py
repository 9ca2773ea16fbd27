"""Models whose inputs have sizes that ONNX's text form cannot write."""

import onnx
from onnx import helper


def declared(model: onnx.ModelProto, **sizes: list[int | str | None]) -> onnx.ModelProto:
    """The model with these sizes of its inputs, as protobuf has them."""
    for value in model.graph.input:
        if value.name in sizes:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, sizes[value.name]))
    return model
