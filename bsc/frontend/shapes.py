"""Sizes of inputs, given by the model or the user, and the shapes that follow from them."""

import contextlib
from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes import common

from bsc.errors import ModelError, UsageError
from bsc.frontend.model_file import quiet


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


def give_shapes(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
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


def fix_batch(model: ir.Model) -> bool:
    """Set a free first axis to 1; every other free axis is the user's to give. True if there was one."""
    free = False
    for value in model.graph.inputs:
        if value.shape is None:
            raise _open_shape(value, "no shape at all")
        sizes = list(value.shape)
        if sizes and not isinstance(sizes[0], int):
            free = True
            sizes[0] = 1
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
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


def infer_shapes(model: ir.Model) -> None:
    """Infer all shapes anew for the inputs' sizes; a value the inference cannot tell keeps none."""
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    with quiet(), contextlib.suppress(Exception):
        common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
