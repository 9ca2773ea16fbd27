"""The quantisers of QONNX and Brevitas: of constants they make codes, of activations operators of ONNX."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.frontend.attributes import integer, text
from bsc.frontend.builder import Builder
from bsc.frontend.constants import Coded, is_constant, sizes_of, tensor_of

DOMAINS = ("finn.custom_op.general", "onnx.brevitas", "qonnx.custom_op.general")
Rounding = Callable[[NDArray[Any]], NDArray[Any]]
_ROUNDINGS: Mapping[str, Rounding] = {
    "ROUND": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "ROUND_TO_ZERO": np.trunc,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class _Format:
    """What a Quant says of itself; codes lie in [low, high] and have `bits` bits."""

    scale: NDArray[np.float32]
    zero: NDArray[np.float32]
    bits: int
    low: int
    high: int
    rounding: str


def quant(b: Builder) -> Sequence[ir.Value] | str:
    """Quant: (round(clip(x / scale + zero, low, high)) - zero) * scale."""
    x, *formats = b.node.inputs
    rounding = text(b.node, "rounding_mode", "ROUND").upper()
    if len(formats) != 3 or not all(map(is_constant, formats)) or rounding not in _ROUNDINGS:
        return "its number format is computed at run time, or its rounding is not known"
    scale, zero, width = (tensor_of(value).numpy().astype(np.float32) for value in formats)
    bits = int(width.ravel()[0])
    signed, narrow = bool(integer(b.node, "signed", 1)), bool(integer(b.node, "narrow", 0))
    if width.size != 1 or not 1 <= bits <= 16:
        return "its codes have no single width of 1 to 16 bits"
    low = -(1 << (bits - 1)) + narrow if signed else 0
    high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 - narrow
    given = _Format(scale=scale, zero=zero, bits=bits, low=low, high=high, rounding=rounding)
    if x is not None and is_constant(x):
        return [_constant(b, x, given)]
    whole = float(zero.ravel()[0]) if zero.size == 1 else 0.5
    # QuantizeLinear rounds before it adds the zero point, which is the same for an even one.
    fits = bits <= 8 and whole % 2 == 0 and scale.size == 1 and rounding == "ROUND" and b.opset >= 12
    return [_operators(b, x, given) if fits and low <= whole <= high else _floats(b, x, given)]


def _constant(b: Builder, x: ir.Value, given: _Format) -> ir.Value:
    stored, shape = tensor_of(x), sizes_of(x)
    spread = given.scale.reshape((1,) * (len(shape) - given.scale.ndim) + given.scale.shape)
    np.broadcast_to(spread, shape)

    def codes() -> NDArray[np.int32]:
        bounded = np.clip(stored.numpy() / given.scale + given.zero, given.low, given.high)
        return np.asarray(_ROUNDINGS[given.rounding](bounded) - given.zero, np.int32)

    return b.keep(Coded(codes, spread.astype(np.float64), shape, stored.dtype, given.bits + 1), "codes")


def _operators(b: Builder, x: ir.Value | None, given: _Format) -> ir.Value:
    """QuantizeLinear, Clip where the codes are narrower than their type, DequantizeLinear."""
    kind = np.dtype(np.int8 if given.low < 0 else np.uint8)
    step, centre = b.constant(given.scale.reshape(()), label="scale"), b.constant(given.zero.reshape(()), kind, "zero")
    codes = b.op("QuantizeLinear", x, step, centre, label="codes")
    limits = given.low, given.high
    if limits != (np.iinfo(kind).min, np.iinfo(kind).max):
        codes = b.op("Clip", codes, *(b.constant(limit, kind, "limit") for limit in limits), label="clipped")
    value: ir.Value = b.op("DequantizeLinear", codes, step, centre)
    return value


def _floats(b: Builder, x: ir.Value | None, given: _Format) -> ir.Value:
    """The same in float operators."""
    step, centre = b.constant(given.scale, label="scale"), b.constant(given.zero, label="zero")
    moved = b.op("Add", b.op("Div", x, step, label="scaled"), centre, label="moved")
    bounds = (b.constant(limit, np.float32, "limit") for limit in (given.low, given.high))
    bounded = b.op("Clip", moved, *bounds, label="clipped")
    if given.rounding == "ROUND_TO_ZERO":
        size = b.op("Floor", b.op("Abs", bounded, label="size"), label="rounded")
        whole = b.op("Mul", b.op("Sign", bounded, label="sign"), size, label="signed")
    else:
        whole = b.op({"ROUND": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}[given.rounding], bounded, label="rounded")
    value: ir.Value = b.op("Mul", b.op("Sub", whole, centre, label="centred"), step)
    return value


def bipolar_quant(b: Builder) -> Sequence[ir.Value] | str:
    """BipolarQuant: scale where x is 0 or more, -scale elsewhere."""
    x, scale = b.node.inputs
    if not is_constant(scale):
        return "its number format is computed at run time, or its rounding is not known"
    factor = tensor_of(scale).numpy().astype(np.float32)
    if x is not None and is_constant(x):
        stored, shape = tensor_of(x), sizes_of(x)
        spread = factor.reshape((1,) * (len(shape) - factor.ndim) + factor.shape)
        np.broadcast_to(spread, shape)

        def codes() -> NDArray[np.int32]:
            return np.where(stored.numpy() >= 0, 1, -1).astype(np.int32)

        return [b.keep(Coded(codes, spread.astype(np.float64), shape, stored.dtype, 1), "codes")]
    below = b.op("Less", x, b.constant(0.0, np.float32, "zero"), label="below")
    return [b.op("Where", below, b.constant(-factor, label="scale"), b.constant(factor, label="scale"))]
