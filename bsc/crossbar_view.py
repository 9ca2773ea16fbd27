"""Which ONNX operators go onto crossbars, and how each one's input becomes rows of a weight matrix."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from bsc.errors import ModelError
from bsc.graph import ArraySource
from bsc.im2col import output_sizes
from bsc.layer import ConvGeometry, CrossbarLayer

WEIGHT_TYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


def crossbar_layer(node: ir.Node, name: str, arrays: dict[str, ArraySource]) -> tuple[CrossbarLayer | None, str]:
    """The crossbar layer that an ONNX node becomes.

    Args:
        node: shapes inferred; constants are initialisers.
        name: its unique name.
        arrays: side table; a `Gemm` with alpha or beta adds its scaled weights or bias.

    Returns:
        (layer, "") or (None, why it stays digital); the reason is "" for operators that are digital by nature.

    Raises:
        ModelError: BSC305 when a shape it needs is unknown or contradicts the weights.
    """
    view = _VIEWS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    return (None, "") if view is None else view(node, name, arrays)


def _conv(node: ir.Node, name: str, _arrays: dict[str, ArraySource]) -> tuple[CrossbarLayer | None, str]:
    weight, why = _static(node, 1)
    bias, why_bias = _static(node, 2, optional=True)
    if weight is None or why_bias:
        return None, why or why_bias
    filters, channels, *kernel = _sizes(weight)
    groups = _int(node, "group", 1)
    x = _input_shape(node, name)
    if groups < 1 or len(x) != len(kernel) + 2 or x[1] != channels * groups or filters % groups:
        raise _mismatch(node, name, f"input {list(x)}, weights {_sizes(weight)}, group {groups}")
    geometry = _geometry(node, name, tuple(kernel), x[2:])
    positions = output_sizes(geometry, x[2:])
    if min(positions) < 1:
        raise _mismatch(node, name, f"input {list(x)} is smaller than the window: {geometry}")
    layer = CrossbarLayer(
        name=name,
        op_type="Conv",
        input=_name(node.inputs[0]),
        output=_name(node.outputs[0]),
        rows=channels * math.prod(kernel),
        columns=filters,
        groups=groups,
        vectors=x[0] * math.prod(positions),
        weight=_name(weight),
        transposed=True,
        bias=None if bias is None else _name(bias),
        conv=geometry,
    )
    return layer, ""


def _gemm(node: ir.Node, name: str, arrays: dict[str, ArraySource]) -> tuple[CrossbarLayer | None, str]:
    weight, why = _static(node, 1)
    bias, why_bias = _static(node, 2, optional=True)
    if weight is None or why_bias:
        return None, why or why_bias
    if _int(node, "transA", 0):
        return None, "its input is transposed (transA)"
    transposed = bool(_int(node, "transB", 0))
    sizes = _sizes(weight)
    rows, columns = reversed(sizes) if transposed else sizes
    if bias is not None and math.prod(_sizes(bias)) not in (1, columns):
        return None, "its bias is a matrix"
    x = _input_shape(node, name)
    if len(x) != 2 or x[1] != rows:
        raise _mismatch(node, name, f"input {list(x)}, weights {_sizes(weight)}, transB {int(transposed)}")
    layer = CrossbarLayer(
        name=name,
        op_type="Gemm",
        input=_name(node.inputs[0]),
        output=_name(node.outputs[0]),
        rows=rows,
        columns=columns,
        vectors=x[0],
        weight=_scaled(weight, _float(node, "alpha", 1.0), f"{name}/alpha*weight", arrays),
        transposed=transposed,
        bias=None if bias is None else _scaled(bias, _float(node, "beta", 1.0), f"{name}/beta*bias", arrays),
    )
    return layer, ""


def _matmul(node: ir.Node, name: str, _arrays: dict[str, ArraySource]) -> tuple[CrossbarLayer | None, str]:
    weight, why = _static(node, 1)
    if weight is None:
        return None, why
    sizes = _sizes(weight)
    if len(sizes) != 2:
        return None, f"its weights have {len(sizes)} axes, not 2"
    x = _input_shape(node, name)
    if not x or x[-1] != sizes[0]:
        raise _mismatch(node, name, f"input {list(x)}, weights {sizes}")
    layer = CrossbarLayer(
        name=name,
        op_type="MatMul",
        input=_name(node.inputs[0]),
        output=_name(node.outputs[0]),
        rows=sizes[0],
        columns=sizes[1],
        vectors=math.prod(x[:-1]),
        weight=_name(weight),
        transposed=False,
        bias=None,
    )
    return layer, ""


_View = Callable[[ir.Node, str, dict[str, ArraySource]], tuple[CrossbarLayer | None, str]]
_VIEWS: Mapping[str, _View] = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}


def _geometry(node: ir.Node, name: str, kernel: tuple[int, ...], spatial: tuple[int, ...]) -> ConvGeometry:
    axes = len(kernel)
    ones = (1,) * axes
    strides, dilations = _ints(node, "strides", ones), _ints(node, "dilations", ones)
    flat = _ints(node, "pads", (0,) * 2 * axes)
    if len(strides) != axes or len(dilations) != axes or len(flat) != 2 * axes or min(*strides, *dilations, *ones) < 1:
        raise _mismatch(node, name, f"kernel {kernel}, strides {strides}, dilations {dilations}, pads {flat}")
    mode = _str(node, "auto_pad", "NOTSET")
    pads = tuple(zip(flat[:axes], flat[axes:], strict=True))
    if mode == "VALID":
        pads = ((0, 0),) * axes
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((math.ceil(size / stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
            for size, window, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True)
        ]
        halves = [(total // 2, total - total // 2) for total in totals]
        pads = tuple(halves if mode == "SAME_UPPER" else [(more, less) for less, more in halves])
    if min(min(pair) for pair in pads) < 0:
        raise _mismatch(node, name, f"negative pads {pads}")
    return ConvGeometry(kernel=kernel, strides=strides, dilations=dilations, pads=pads)


def _static(node: ir.Node, index: int, *, optional: bool = False) -> tuple[ir.Value | None, str]:
    """The constant float input at `index`, or why there is none; an omitted optional one gives (None, "")."""
    what = "weights" if index == 1 else "bias"
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        return None, "" if optional else f"its {what} are missing"
    if value.const_value is None:
        return None, "both operands are activations" if index == 1 else "its bias is computed at run time"
    if value.const_value.dtype not in WEIGHT_TYPES:
        return None, f"its {what} are {value.const_value.dtype.name}"
    return value, ""


def _scaled(value: ir.Value, factor: float, key: str, arrays: dict[str, ArraySource]) -> str:
    if factor == 1.0:
        return _name(value)
    source = value.const_value
    assert source is not None
    arrays[key] = (source.numpy() * np.float64(factor)).astype(np.float32)
    return key


def _sizes(value: ir.Value) -> list[int]:
    assert value.const_value is not None
    return list(value.const_value.shape.numpy())


def _input_shape(node: ir.Node, name: str) -> tuple[int, ...]:
    value = node.inputs[0]
    shape = None if value is None else value.shape
    sizes = () if shape is None else tuple(size for size in shape if isinstance(size, int))
    if value is None or shape is None or len(sizes) != len(shape):
        raise ModelError(
            "BSC305",
            f"layer '{name}' ({node.op_type}): the shape of its input is unknown",
            seen="no shape" if shape is None else f"shape {shape}",
            fix="fix the model's input sizes with --input-shape NAME:SIZE,SIZE,...",
        )
    return sizes


def _mismatch(node: ir.Node, name: str, seen: str) -> ModelError:
    return ModelError(
        "BSC305",
        f"layer '{name}' ({node.op_type}): its shapes do not fit together",
        seen=seen,
        fix="check the model with onnx.checker.check_model(full_check=True), or the --input-shape given",
    )


def _name(value: ir.Value | None) -> str:
    return "" if value is None else value.name or ""


def _int(node: ir.Node, name: str, default: int) -> int:
    attr = node.attributes.get(name)
    return default if attr is None else attr.as_int()


def _float(node: ir.Node, name: str, default: float) -> float:
    attr = node.attributes.get(name)
    return default if attr is None else attr.as_float()


def _str(node: ir.Node, name: str, default: str) -> str:
    attr = node.attributes.get(name)
    return default if attr is None else attr.as_string()


def _ints(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    attr = node.attributes.get(name)
    return default if attr is None else tuple(attr.as_ints())
