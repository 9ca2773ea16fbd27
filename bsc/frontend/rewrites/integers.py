"""Operators on integers: their weights keep their codes, their zero points become constants, and nothing is rounded.

What a crossbar computes is a whole number in a float type that holds it: float32 where the model dequantises, float64
where it wants the integers themselves.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from bsc.frontend.attributes import integer, integers, real, text
from bsc.frontend.builder import Builder
from bsc.frontend.constants import Coded, is_constant, sizes_of, tensor_of
from bsc.frontend.rewrites.fused import CONV_ATTRIBUTES, attributes_of
from bsc.frontend.rewrites.literals import dequantized

ACTIVATIONS = "both operands are activations"
RUN_TIME = "its weights or number formats are computed at run time"


def qlinear_conv(b: Builder) -> Sequence[ir.Value] | str:
    """QLinearConv: dequantised input and weights, Conv, quantised result."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = (*b.node.inputs, None)[:9]
    if not all(map(is_constant, (x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero))):
        return RUN_TIME
    if bias is not None and not is_constant(bias):
        return RUN_TIME
    weight = dequantized(b, w, w_scale, w_zero, axis=0, label="weight")
    inputs = [dequantized(b, x, x_scale, x_zero, axis=0, label="input"), weight]
    if bias is not None:
        inputs.append(_bias(b, bias, x_scale, w_scale))
    y = b.op("Conv", *inputs, **attributes_of(b.node, CONV_ATTRIBUTES))
    return [b.op("QuantizeLinear", y, y_scale, y_zero, label="quantised")]


def microsoft_qlinear_conv(b: Builder) -> Sequence[ir.Value] | str:
    """com.microsoft QLinearConv: the same, unless the channels come last."""
    return "its channels come last" if integer(b.node, "channels_last", 0) else qlinear_conv(b)


def _bias(b: Builder, bias: ir.Value | None, *scales: ir.Value | None, factor: float = 1.0) -> ir.Value:
    """An integer bias, whose scale is the product of those of input and weights."""
    total = np.array([factor])
    for scale in scales:
        total = total * tensor_of(scale).numpy().astype(np.float64).ravel()
    stored, sizes = tensor_of(bias), sizes_of(bias)
    spread = total.reshape((1,) * (len(sizes) - 1) + (-1,)) if sizes else total.reshape(())
    return b.keep(Coded(stored.numpy, spread, sizes, ir.DataType.FLOAT, 32), "bias")


def qlinear_matmul(b: Builder) -> Sequence[ir.Value] | str | None:
    """QLinearMatMul: dequantised operands, MatMul, quantised result."""
    left, left_scale, left_zero, right, right_scale, right_zero, y_scale, y_zero = b.node.inputs
    if is_constant(left) == is_constant(right):
        return "both operands are constants" if is_constant(left) else ACTIVATIONS
    if not all(map(is_constant, (left_scale, left_zero, right_scale, right_zero, y_scale, y_zero))):
        return RUN_TIME
    y = b.op(
        "MatMul",
        dequantized(b, left, left_scale, left_zero, axis=-2, label="left"),
        dequantized(b, right, right_scale, right_zero, axis=-1, label="right"),
    )
    return [b.op("QuantizeLinear", y, y_scale, y_zero, label="quantised")]


def qgemm(b: Builder) -> Sequence[ir.Value] | str | None:
    """com.microsoft QGemm: dequantised operands, Gemm, quantised result if it has a scale."""
    x, x_scale, x_zero, w, w_scale, w_zero, bias, y_scale, y_zero = (*b.node.inputs, *(None,) * 3)[:9]
    if is_constant(x) or not is_constant(w):
        return None
    formats = (x_scale, x_zero, w_scale, w_zero, bias, y_scale, y_zero)
    if not all(value is None or is_constant(value) for value in formats):
        return RUN_TIME
    alpha, transposed = real(b.node, "alpha", 1.0), integer(b.node, "transB", 0)
    inputs = [
        dequantized(b, x, x_scale, x_zero, axis=0, label="input"),
        dequantized(b, w, w_scale, w_zero, axis=0 if transposed else 1, label="weight"),
    ]
    if bias is not None:
        inputs.append(_bias(b, bias, x_scale, w_scale, factor=alpha))
    y = b.op("Gemm", *inputs, **attributes_of(b.node, ("alpha", "transA", "transB")))
    return [y if y_scale is None else b.op("QuantizeLinear", y, y_scale, y_zero, label="quantised")]


def matmul_integer(b: Builder) -> Sequence[ir.Value] | str | None:
    """MatMulInteger: the zero point of the weights goes into their codes, that of the input is a constant."""
    x, w, x_zero, w_zero = (*b.node.inputs, None, None)[:4]
    if not is_constant(w):
        return "its weights are the left operand" if is_constant(x) else ACTIVATIONS
    if is_constant(x):
        return "both operands are constants"
    if not _scalar(x_zero) or (w_zero is not None and not is_constant(w_zero)):
        return RUN_TIME
    if len(sizes_of(w)) != 2:
        return f"its weights have {len(sizes_of(w))} axes, not 2"
    weight = dequantized(b, w, b.constant(1.0, np.float64, "one"), w_zero, axis=-1, label="weight")
    if x_zero is None or is_constant(x_zero):
        y = b.op("MatMul", _whole(b, x, x_zero), weight)
    else:
        y = b.op("Sub", b.op("MatMul", _whole(b, x, None), weight), _zeros(b, x_zero, weight, 1, ()), label="centred")
    return [b.op("Cast", y, label="integers", to=ir.DataType.INT32)]


def conv_integer(b: Builder) -> Sequence[ir.Value] | str | None:
    """ConvInteger: as MatMulInteger; padding has the code of zero."""
    x, w, x_zero, w_zero = (*b.node.inputs, None, None)[:4]
    if not is_constant(w):
        return None
    if not _scalar(x_zero) or (w_zero is not None and not is_constant(w_zero)):
        return RUN_TIME
    attributes = dict(attributes_of(b.node, CONV_ATTRIBUTES))
    weight = dequantized(b, w, b.constant(1.0, np.float64, "one"), w_zero, axis=0, label="weight")
    if x_zero is None or is_constant(x_zero):
        y = b.op("Conv", _whole(b, x, x_zero), weight, **attributes)
    else:
        spatial = len(sizes_of(w)) - 2
        pads = integers(b.node, "pads", (0,) * 2 * spatial)
        if text(b.node, "auto_pad", "NOTSET").startswith("SAME"):
            return "its padding depends on its input (auto_pad)"
        if any(pads):
            around = [0, 0, *pads[:spatial], 0, 0, *pads[spatial:]]
            x = b.op("Pad", x, b.constant(around, np.int64, "pads"), _as_scalar(b, x_zero), label="padded")
            attributes.pop("pads")
        whole = b.op("Conv", _whole(b, x, None), weight, **attributes)
        y = b.op("Sub", whole, _zeros(b, x_zero, weight, 0, (1,) * spatial), label="centred")
    return [b.op("Cast", y, label="integers", to=ir.DataType.INT32)]


def _scalar(zero: ir.Value | None) -> bool:
    """Whether a zero point is known to be one for all."""
    if zero is None:
        return True
    return zero.shape is not None and all(size == 1 for size in zero.shape)


def _as_scalar(b: Builder, zero: ir.Value | None) -> Any:
    return b.reshape(zero, [], "zero") if zero is not None and zero.shape is not None and len(zero.shape) else zero


def _whole(b: Builder, x: ir.Value | None, zero: ir.Value | None) -> Any:
    """An integer activation less its zero point, in float64."""
    if zero is not None and np.any(tensor_of(zero).numpy()):
        zero = b.constant(tensor_of(zero).numpy().reshape(()), label="zero")
        x = b.op("DequantizeLinear", x, b.constant(1.0, np.float32, "one"), zero, label="input")
    return b.op("Cast", x, label="codes", to=ir.DataType.DOUBLE)


def _zeros(b: Builder, zero: ir.Value | None, weight: ir.Value, axis: int, behind: tuple[int, ...]) -> Any:
    """What a zero point that is known at run time adds to every result: itself times the sum of a column's weights.

    Args:
        b: builds it.
        zero: one number.
        weight: a `Coded` constant.
        axis: of the columns in the weights.
        behind: axes of size 1 to put behind that of the columns.
    """
    coded = tensor_of(weight)
    assert isinstance(coded, Coded)
    codes, sizes = coded.codes, tuple(coded.shape.numpy())
    others = tuple(other for other in range(len(sizes)) if other != axis % len(sizes))
    target = (sizes[axis], *behind)

    def sums() -> ir.TensorProtocol:
        return ir.tensor(codes().sum(axis=others).reshape(target).astype(np.float64))

    constant = b.keep(ir.LazyTensor(sums, ir.DataType.DOUBLE, ir.Shape(target)), "weight-sums")
    wide = b.op("Cast", _as_scalar(b, zero), label="zero-wide", to=ir.DataType.DOUBLE)
    return b.op("Mul", wide, constant, label="zeros")


def matmul_integer_to_float(b: Builder) -> Sequence[ir.Value] | None:
    """com.microsoft MatMulIntegerToFloat: MatMulInteger times both scales, plus a bias."""
    x, w, x_scale, w_scale, x_zero, w_zero, bias = (*b.node.inputs, *(None,) * 3)[:7]
    if is_constant(x) or not is_constant(w):
        return None
    whole = b.op("MatMulInteger", x, w, x_zero, w_zero)
    y = b.op("Cast", whole, label="float", to=ir.DataType.FLOAT)
    y = b.op("Mul", y, b.op("Mul", x_scale, w_scale, label="scales"), label="scaled")
    return [y if bias is None else b.op("Add", y, bias, label="biased")]


def dynamic_quantize_matmul(b: Builder) -> Sequence[ir.Value] | None:
    """com.microsoft DynamicQuantizeMatMul: DynamicQuantizeLinear, then MatMulIntegerToFloat."""
    x, w, w_scale, w_zero, bias = (*b.node.inputs, *(None,) * 2)[:5]
    if is_constant(x) or not is_constant(w):
        return None
    codes, scale, zero = b.ops("DynamicQuantizeLinear", x, label="input", outputs=3)
    return [b.op("MatMulIntegerToFloat", codes, w, scale, w_scale, zero, w_zero, bias, domain="com.microsoft")]


def dynamic_product(b: Builder, weight: ir.Value, label: str) -> Callable[[Any], Any]:
    """Multiplies what it is given, quantised as DynamicQuantizeLinear does, with constant `Coded` weights (K, N)."""
    coded = tensor_of(weight)
    assert isinstance(coded, Coded)
    shape = tuple(coded.shape.numpy())
    whole = b.keep(Coded(coded.codes, np.ones((1, 1)), shape, ir.DataType.DOUBLE, coded.bits), f"{label}-codes")
    steps = b.constant(coded.scale[0], np.float32, f"{label}-scale")

    def product(x: Any) -> Any:
        codes, scale, zero = b.ops("DynamicQuantizeLinear", x, label=f"{label}-input", outputs=3)
        y = b.op("MatMul", b.op("Cast", codes, label=f"{label}-codes", to=ir.DataType.DOUBLE), whole, label=label)
        y = b.op("Sub", y, _zeros(b, zero, whole, 1, ()), label=f"{label}-centred")
        scales = b.op("Mul", scale, steps, label=f"{label}-scales")
        return b.op(
            "Mul", b.op("Cast", y, label=f"{label}-float", to=ir.DataType.FLOAT), scales, label=f"{label}-scaled"
        )

    return product
