"""Which ONNX operators go onto crossbars, and how each one's input becomes rows of a weight matrix."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.frontend.attributes import integer, integers, real, text
from bsc.frontend.builder import ORIGIN
from bsc.frontend.constants import Coded, Derived, OwnArrays, known_shape, scaled
from bsc.frontend.formats import given_input, given_weights
from bsc.ir.layer import CrossbarLayer
from bsc.numeric.im2col import ConvGeometry, output_sizes

UNFOLDED = "bsc.unfolded"
"""Key of the metadata of a node that follows from constants alone: the first node on the way that is not folded."""
MAX_VALUES = 1 << 40  # of one activation
WEIGHT_TYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

Viewed = tuple[CrossbarLayer | None, str]
"""A layer and "", or None and why there is none."""


def crossbar_layer(node: ir.Node, name: str, own: OwnArrays) -> Viewed:
    """The crossbar layer that an ONNX node becomes.

    Args:
        node: shapes inferred; constants are initialisers.
        name: its unique name.
        own: gets what is derived from constants: scaled weights, biases that are no (N,), codes.

    Returns:
        (layer, "") or (None, why it stays digital); the reason is "" for operators that are digital by nature.

    Raises:
        ModelError: BSC301 for an attribute of the wrong type; BSC305 when its shapes contradict each other.
    """
    view = _VIEWS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if view is None:
        return None, ""
    weight, why = _weight(node)
    if weight is not None and known_shape(node.inputs[0]) is None:
        return None, _unknown(node)
    return (None, why) if weight is None else view(node, name, weight, own)


def crossbar_operators() -> dict[str, str]:
    """What SUPPORTED.md says of each operator of the table: what goes onto crossbars. Digital: what does not."""
    return {op_type: inspect.getdoc(view) or "" for op_type, view in _VIEWS.items()}


def _conv(node: ir.Node, name: str, weight: ir.Value, own: OwnArrays) -> Viewed:
    """Convolutions over any number of axes, with groups, strides, dilation and every padding.

    Digital: weights or bias that are computed at run time, empty, or no floats.
    """
    bias, why = _bias(node)
    if why:
        return None, why
    groups = integer(node, "group", 1)
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
    layer = _layer(
        node,
        name,
        rows=channels * math.prod(kernel),
        columns=filters,
        groups=groups,
        vectors=x[0] * math.prod(positions),
        weight=_name(weight),
        transposed=True,
        bias=None if bias is None else _constant(bias, 1.0, [filters], f"{name}/bias", own),
        conv=geometry,
    )
    return _with_codes(layer, _tensor(weight), own)


def _gemm(node: ir.Node, name: str, weight: ir.Value, own: OwnArrays) -> Viewed:
    """Constant weights as the second operand, transposed or not, times alpha; a constant row of biases, times beta.

    Digital: weights or bias that are computed at run time, empty, or no floats; a transposed input; a matrix of biases.
    """
    bias, why = _bias(node)
    if why:
        return None, why
    if integer(node, "transA", 0):
        return None, "its input is transposed (transA)"
    transposed = bool(integer(node, "transB", 0))
    x = _input_shape(node, name)
    sizes = _sizes(weight)
    if not len(x) == len(sizes) == 2 or x[1] != sizes[int(transposed)]:
        raise _mismatch(node, name, f"input {list(x)}, weights {sizes}, transB {int(transposed)}")
    rows, columns = reversed(sizes) if transposed else sizes
    if bias is not None and math.prod(_sizes(bias)[:-1]) != 1:
        return None, "its bias is a matrix"
    if bias is not None and math.prod(_sizes(bias)) not in (1, columns):
        raise _mismatch(node, name, f"weights {sizes}, transB {int(transposed)}, bias {_sizes(bias)}")
    alpha, beta = real(node, "alpha", 1.0), real(node, "beta", 1.0)
    layer = _layer(
        node,
        name,
        rows=rows,
        columns=columns,
        vectors=x[0],
        weight=_constant(weight, alpha, sizes, f"{name}/alpha*weight", own),
        transposed=transposed,
        bias=None if bias is None else _constant(bias, beta, [columns], f"{name}/beta*bias", own),
    )
    return _with_codes(layer, _tensor(weight) if alpha == 1.0 else scaled(_tensor(weight), alpha), own)


def _matmul(node: ir.Node, name: str, weight: ir.Value, own: OwnArrays) -> Viewed:
    """A constant matrix as the second operand; any number of axes in the first.

    Digital: products of two activations; weights on the left, with more or fewer axes than two, empty, or no floats.
    """
    sizes = _sizes(weight)
    if len(sizes) != 2:
        return None, f"its weights have {len(sizes)} axes, not 2"
    x = _input_shape(node, name)
    if not x or x[-1] != sizes[0]:
        raise _mismatch(node, name, f"input {list(x)}, weights {sizes}")
    layer = _layer(
        node,
        name,
        rows=sizes[0],
        columns=sizes[1],
        vectors=math.prod(x[:-1]),
        weight=_name(weight),
        transposed=False,
    )
    return _with_codes(layer, _tensor(weight), own)


def _layer(node: ir.Node, name: str, *, bias: str | None = None, **fields: Any) -> CrossbarLayer:
    return CrossbarLayer(
        name=name,
        op_type=node.meta.get(ORIGIN, node.op_type),
        input=_name(node.inputs[0]),
        output=_name(node.outputs[0]),
        bias=bias,
        given_input=given_input(node.inputs[0]),
        **fields,
    )


def _with_codes(layer: CrossbarLayer, tensor: ir.TensorProtocol, own: OwnArrays) -> Viewed:
    """The layer with the codes of its weights, if the model stores any."""
    if not isinstance(tensor, Coded):
        return layer, ""
    given = given_weights(tensor, layer.name, own, transposed=layer.transposed, columns=layer.columns)
    return (None, given) if isinstance(given, str) else (replace(layer, given_weights=given), "")


_View = Callable[[ir.Node, str, ir.Value, OwnArrays], Viewed]
_VIEWS: Mapping[str, _View] = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}


def _geometry(node: ir.Node, name: str, kernel: tuple[int, ...], spatial: tuple[int, ...]) -> ConvGeometry:
    axes = len(kernel)
    ones = (1,) * axes
    strides, dilations = integers(node, "strides", ones), integers(node, "dilations", ones)
    flat = integers(node, "pads", (0,) * 2 * axes)
    if len(strides) != axes or len(dilations) != axes or len(flat) != 2 * axes or min(*strides, *dilations) < 1:
        raise _mismatch(node, name, f"kernel {kernel}, strides {strides}, dilations {dilations}, pads {flat}")
    if integers(node, "kernel_shape", kernel) != kernel:
        raise _mismatch(
            node, name, f"kernel {kernel} in the weights, kernel_shape {integers(node, 'kernel_shape', ())}"
        )
    mode = text(node, "auto_pad", "NOTSET")
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
    unfolded = None if source is None else source.meta.get(UNFOLDED)
    if unfolded is not None:
        return (
            None,
            f"its weights come from {unfolded.op_type} {unfolded.name or ''}".rstrip() + ", which is not folded",
        )
    if static_input:
        return (
            None,
            "its weights are computed at run time" if node.op_type == "Conv" else "its weights are the left operand",
        )
    return None, "both operands are activations"


def _bias(node: ir.Node) -> tuple[ir.Value | None, str]:
    """The constant float bias; (None, "") when there is none, else why it cannot be used."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return None, ""
    why = _unfit(value, "bias is") if value.is_initializer() else "its bias is computed at run time"
    return (None, why) if why else (value, "")


def _unfit(value: ir.Value, what: str) -> str:
    """Why a crossbar cannot hold a constant, else ""."""
    if _tensor(value).dtype not in WEIGHT_TYPES:
        return f"its {what} {_tensor(value).dtype.name}"
    return f"its {what} empty" if 0 in _sizes(value) else ""


def _constant(value: ir.Value, factor: float, sizes: list[int], key: str, own: OwnArrays) -> str:
    """The key of `factor` times the constant, spread over `sizes`; its own name when that changes nothing."""
    source = _tensor(value)
    if factor == 1.0 and _sizes(value) == sizes and not isinstance(source, Coded):
        return _name(value)

    def values() -> NDArray[Any]:
        # Codes are whole numbers: their products with the scale are rounded once, to float64.
        exact = source.codes() * source.scale if isinstance(source, Coded) else source.numpy()
        product = exact * np.float64(factor)
        spread = np.broadcast_to(product, np.broadcast_shapes(product.shape, tuple(sizes))).reshape(sizes)
        kind = np.dtype(np.float64) if isinstance(source, Coded) else source.dtype.numpy()
        return spread.astype(np.promote_types(kind, np.float32))

    return own.add(key, Derived(values))


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    assert value.const_value is not None
    return value.const_value


def _sizes(value: ir.Value) -> list[int]:
    return list(_tensor(value).shape.numpy())


def _input_shape(node: ir.Node, name: str) -> tuple[int, ...]:
    sizes = known_shape(node.inputs[0])
    assert sizes is not None
    if min(sizes, default=1) < 1 or math.prod(sizes) > MAX_VALUES:
        raise _mismatch(node, name, f"input {list(sizes)}, an axis of no size or too large")
    return sizes


def _unknown(node: ir.Node) -> str:
    """Why a node stays digital whose input has unknown sizes: the sizes of the model's own inputs are all known."""
    value = node.inputs[0]
    while value is not None and (source := value.producer()) is not None:
        before = [each for each in source.inputs if each is not None and known_shape(each) is None]
        if not before:
            return f"the size of its input is known at run time only, behind {source.op_type} {source.name}"
        value = before[0]
    return "the size of its input is known at run time only"


def _mismatch(node: ir.Node, name: str, seen: str) -> ModelError:
    return ModelError(
        "BSC305",
        f"layer '{name}' ({node.op_type}): its shapes do not fit together",
        seen=seen,
        fix="check the model with onnx.checker.check_model(full_check=True), or the --input-shape given",
    )


def _name(value: ir.Value | None) -> str:
    return "" if value is None else value.name or ""
