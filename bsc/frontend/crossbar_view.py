"""Which ONNX operators go onto crossbars, and how each one's input becomes rows of a weight matrix."""

import inspect
import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from bsc.errors import ModelError
from bsc.ir.layer import CrossbarLayer
from bsc.ir.sidetable import ArraySource
from bsc.numeric.im2col import ConvGeometry, output_sizes

MAX_VALUES = 1 << 40  # of one activation
WEIGHT_TYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


def crossbar_layer(node: ir.Node, name: str, arrays: dict[str, ArraySource]) -> tuple[CrossbarLayer | None, str]:
    """The crossbar layer that an ONNX node becomes.

    Args:
        node: shapes inferred; constants are initialisers.
        name: its unique name.
        arrays: side table; a `Gemm` adds its weights and bias where they are scaled or the bias is no (N,).

    Returns:
        (layer, "") or (None, why it stays digital); the reason is "" for operators that are digital by nature.

    Raises:
        ModelError: BSC301 for an attribute of the wrong type; BSC305 when a shape it needs is unknown or
            contradicts the weights.
    """
    view = _VIEWS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    return (None, "") if view is None else view(node, name, arrays)


def crossbar_operators() -> dict[str, str]:
    """What SUPPORTED.md says of each operator of the table: what goes onto crossbars. Digital: what does not."""
    return {op_type: inspect.getdoc(view) or "" for op_type, view in _VIEWS.items()}


def _conv(node: ir.Node, name: str, _arrays: dict[str, ArraySource]) -> tuple[CrossbarLayer | None, str]:
    """Convolutions over any number of axes, with groups, strides, dilation and every padding.

    Digital: weights or bias that are computed at run time, empty, or no floats.
    """
    weight, why = _weight(node)
    bias, why_bias = _bias(node)
    if weight is None or why_bias:
        return None, why or why_bias
    groups = _int(node, "group", 1)
    x = _input_shape(node, name)
    sizes = _sizes(weight)
    fits = len(x) == len(sizes) > 2 and groups >= 1 and x[1] == sizes[1] * groups and sizes[0] % groups == 0
    if not fits or (bias is not None and _sizes(bias) != sizes[:1]):
        biased = "" if bias is None else f", bias {_sizes(bias)}"
        raise _mismatch(node, name, f"input {list(x)}, weights {sizes}, group {groups}{biased}")
    filters, channels, *kernel = sizes
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
    """Constant weights as the second operand, transposed or not, times alpha; a constant row of biases, times beta.

    Digital: weights or bias that are computed at run time, empty, or no floats; a transposed input; a matrix of biases.
    """
    weight, why = _weight(node)
    bias, why_bias = _bias(node)
    if weight is None or why_bias:
        return None, why or why_bias
    if _int(node, "transA", 0):
        return None, "its input is transposed (transA)"
    transposed = bool(_int(node, "transB", 0))
    x = _input_shape(node, name)
    sizes = _sizes(weight)
    if not len(x) == len(sizes) == 2 or x[1] != sizes[int(transposed)]:
        raise _mismatch(node, name, f"input {list(x)}, weights {sizes}, transB {int(transposed)}")
    rows, columns = reversed(sizes) if transposed else sizes
    if bias is not None and math.prod(_sizes(bias)[:-1]) != 1:
        return None, "its bias is a matrix"
    if bias is not None and math.prod(_sizes(bias)) not in (1, columns):
        raise _mismatch(node, name, f"weights {sizes}, transB {int(transposed)}, bias {_sizes(bias)}")
    layer = CrossbarLayer(
        name=name,
        op_type="Gemm",
        input=_name(node.inputs[0]),
        output=_name(node.outputs[0]),
        rows=rows,
        columns=columns,
        vectors=x[0],
        weight=_scaled(weight, _float(node, "alpha", 1.0), sizes, f"{name}/alpha*weight", arrays),
        transposed=transposed,
        bias=None if bias is None else _scaled(bias, _float(node, "beta", 1.0), [columns], f"{name}/beta*bias", arrays),
    )
    return layer, ""


def _matmul(node: ir.Node, name: str, _arrays: dict[str, ArraySource]) -> tuple[CrossbarLayer | None, str]:
    """A constant matrix as the second operand; any number of axes in the first.

    Digital: products of two activations; weights on the left, with more or fewer axes than two, empty, or no floats.
    """
    weight, why = _weight(node)
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
    if len(strides) != axes or len(dilations) != axes or len(flat) != 2 * axes or min(*strides, *dilations) < 1:
        raise _mismatch(node, name, f"kernel {kernel}, strides {strides}, dilations {dilations}, pads {flat}")
    if _ints(node, "kernel_shape", kernel) != kernel:
        raise _mismatch(node, name, f"kernel {kernel} in the weights, kernel_shape {_ints(node, 'kernel_shape', ())}")
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
    elif mode != "NOTSET":
        raise _mismatch(node, name, f"auto_pad '{mode}'")
    if min(min(pair) for pair in pads) < 0:
        raise _mismatch(node, name, f"negative pads {pads}")
    return ConvGeometry(kernel=kernel, strides=strides, dilations=dilations, pads=pads)


def _weight(node: ir.Node) -> tuple[ir.Value | None, str]:
    """The constant float weights, or why there are none."""
    left, right = (*node.inputs, None, None)[:2]
    if right is None:
        return None, "its weights are missing"
    static_input = left is not None and left.is_initializer()
    if right.is_initializer():
        why = "both operands are constants" if static_input else _unfit(right, "weights are")
        return (None, why) if why else (right, "")
    source = right.producer()
    if source is not None and all(value is None or value.is_initializer() for value in source.inputs):
        return None, f"its weights come from {source.op_type}, which is not folded"
    return None, "its weights are the left operand" if static_input else "both operands are activations"


def _bias(node: ir.Node) -> tuple[ir.Value | None, str]:
    """The constant float bias; (None, "") when there is none, else why it cannot be used."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return None, ""
    why = _unfit(value, "bias is") if value.is_initializer() else "its bias is computed at run time"
    return (None, why) if why else (value, "")


def _unfit(value: ir.Value, what: str) -> str:
    """Why a crossbar cannot hold a constant, else ""."""
    assert value.const_value is not None
    if value.const_value.dtype not in WEIGHT_TYPES:
        return f"its {what} {value.const_value.dtype.name}"
    return f"its {what} empty" if 0 in _sizes(value) else ""


def _scaled(value: ir.Value, factor: float, sizes: list[int], key: str, arrays: dict[str, ArraySource]) -> str:
    """The key of `factor` times the constant, spread over `sizes`; its own name when that changes nothing."""
    if factor == 1.0 and _sizes(value) == sizes:
        return _name(value)
    source = value.const_value
    assert source is not None
    scaled = source.numpy() * np.float64(factor)
    spread = np.broadcast_to(scaled, np.broadcast_shapes(scaled.shape, tuple(sizes))).reshape(sizes)
    arrays[key] = spread.astype(np.promote_types(source.dtype.numpy(), np.float32))
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
    if min(sizes, default=1) < 1 or math.prod(sizes) > MAX_VALUES:
        raise _mismatch(node, name, f"input {list(sizes)}, an axis of no size or too large")
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
    attr = _attribute(node, name, ir.AttributeType.INT)
    return default if attr is None else attr.as_int()


def _float(node: ir.Node, name: str, default: float) -> float:
    attr = _attribute(node, name, ir.AttributeType.FLOAT)
    return default if attr is None else attr.as_float()


def _str(node: ir.Node, name: str, default: str) -> str:
    attr = _attribute(node, name, ir.AttributeType.STRING)
    return default if attr is None else attr.as_string()


def _ints(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    attr = _attribute(node, name, ir.AttributeType.INTS)
    return default if attr is None else tuple(attr.as_ints())


def _attribute(node: ir.Node, name: str, kind: ir.AttributeType) -> ir.Attr | None:
    attr = node.attributes.get(name)
    if attr is not None and (attr.type != kind or attr.value is None):
        raise ModelError(
            "BSC301",
            f"layer '{node.name}' ({node.op_type}): attribute '{name}' has the wrong type",
            seen=attr.type.name if attr.value is not None else "a reference to an attribute outside a function",
            fix=f"export the model again; ONNX wants {kind.name}",
        )
    return attr
