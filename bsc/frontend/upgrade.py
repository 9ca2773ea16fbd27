"""Models of old opsets, converted by ONNX's own converter to the oldest one that the rest of bsc knows well."""

from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from bsc.errors import ModelError
from bsc.frontend.model_file import cause, quiet

CONVERTED = range(6, 11)
TARGET = 13


def upgraded(model: ir.Model, path: Path) -> ir.Model:
    """The model itself, or its conversion if its opset is in `CONVERTED`.

    Raises:
        ModelError: BSC304 if it cannot be converted.
    """
    version = model.opset_imports.get("") or model.opset_imports.get("ai.onnx")
    if version is None or version not in CONVERTED:
        return model
    try:
        slopes = [node for node in model.graph.all_nodes() if node.op_type == "PRelu"]
        if version < 7 and slopes:  # the converter forgets that slopes belong to axis 1
            raise ValueError(f"PRelu {slopes[0].name} of opset {version}")
        proto = ir.serde.serialize_model(model)
        declared = {value.name for value in proto.graph.input}
        proto.graph.input.extend(  # as old opsets have it, and the converter wants it
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in proto.graph.initializer
            if tensor.name not in declared
        )
        with quiet():
            converted = ir.serde.deserialize_model(onnx.version_converter.convert_version(proto, TARGET))
            common.RemoveInitializersFromInputsPass()(converted)
            return converted
    except Exception as error:  # the converter raises a kind of its own for each operator it does not know
        raise ModelError(
            "BSC304",
            f"model '{path.name}': opset {version} cannot be converted to opset {TARGET}",
            seen=cause(error),
            fix="export the model again with an opset of 11 to 25",
        ) from None
