"""Constants behind operators: integer weights keep their codes, and what only rearranges values is done when asked."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.frontend.attributes import integer, integers
from bsc.frontend.builder import Builder
from bsc.frontend.constants import MAX_MADE_WEIGHTS, Coded, is_constant, known_shape, sizes_of, tensor_of
from bsc.frontend.folding import SMALL, reaches_product

LAYOUT = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
DEQUANTISED = "bsc.dequantised"
"""Key of a value's metadata: what it is dequantised to, by scale, zero point, axis, block and type."""

HALVES = {ir.DataType.FLOAT4E2M1: 2}
"""Floats whose values are whole numbers of 1 / that."""


def dequantize(b: Builder) -> Sequence[ir.Value] | str | None:
    """DequantizeLinear of a constant: its codes are the weights."""
    codes, scale, zero = (*b.node.inputs, None)[:3]
    if not is_constant(codes) or not reaches_product(b.node.outputs[0]):
        return None  # an embedding, which is a quarter of the size as it is
    if not is_constant(scale) or (zero is not None and not is_constant(zero)):
        return "its scale or zero point is computed at run time"
    axis, block = integer(b.node, "axis", 1), integer(b.node, "block_size", 0)
    # Quantisers write one operator for each reader; the readers of one weight are to share its crossbars.
    assert codes is not None
    made: dict[tuple[Any, ...], ir.Value] = codes.meta.setdefault(DEQUANTISED, {})
    key = (scale, zero, axis, block, b.node.outputs[0].dtype)
    if key not in made or not made[key].is_initializer():
        made[key] = dequantized(b, codes, scale, zero, axis=axis, label="dequantised", block=block)
    return [made[key]]


def dequantized(
    b: Builder,
    codes: ir.Value | None,
    scale: ir.Value | None,
    zero: ir.Value | None,
    *,
    axis: int,
    label: str,
    block: int = 0,
) -> ir.Value:
    """(codes - zero) * scale: a constant that keeps its codes, or an operator where something is computed at run time.

    Floats of four bits are whole numbers of halves; those of eight bits have a range that no crossbar's codes have, so
    that what is dequantised is a float weight like any other.

    Args:
        b: builds it.
        codes: integers, or floats of few bits.
        scale: one, one for each place along `axis`, or one for each block of places.
        zero: of the shape of `scale`, or None.
        axis: of several scales.
        label: of the result.
        block: places along `axis` that share a scale, or 0.

    Raises:
        ValueError: for scales or zero points that do not fit the codes.
    """
    if not all(value is None or is_constant(value) for value in (codes, scale, zero)):
        per_axis: dict[str, Any] = {"axis": axis} if b.opset >= 13 else {}
        inputs = [codes, scale, *([zero] if zero is not None else [])]
        value: ir.Value = b.op("DequantizeLinear", *inputs, label=label, **per_axis)
        return value
    shape = sizes_of(codes)
    stored = tensor_of(codes)

    def spread(values: NDArray[Any]) -> NDArray[Any]:
        """With as many axes as the codes. Raises `ValueError` if it has other sizes."""
        if values.size == 1:
            return values.reshape((1,) * len(shape))
        at = axis % len(shape)
        if values.ndim == 1:
            values = values.reshape(tuple(-1 if place == at else 1 for place in range(len(shape))))
        elif block:
            if values.shape[at] != -(-shape[at] // block):
                raise ValueError("blocks do not cover the codes")
            values = np.repeat(values, min(block, shape[at]), axis=at)[(slice(None),) * at + (slice(shape[at]),)]
        np.broadcast_to(values, shape)
        return values

    scales = tensor_of(scale)
    kind = ir.DataType(integer(b.node, "output_dtype", 0)) or scales.dtype
    factors = spread(scales.numpy().astype(np.float64))
    bits, unit = stored.dtype.bitwidth, HALVES.get(stored.dtype, 1)
    if stored.dtype.is_floating_point() and unit == 1:

        def values() -> ir.TensorProtocol:
            wide = kind.numpy()
            return ir.tensor(np.asarray(stored.numpy().astype(wide) * factors.astype(wide), wide), dtype=kind)

        return b.keep(ir.LazyTensor(values, kind, ir.Shape(shape)), label)
    zeros = None if zero is None or unit > 1 else spread(tensor_of(zero).numpy().astype(np.int32))

    def centred() -> NDArray[np.int32]:
        whole = (stored.numpy().astype(np.float32) * unit if unit > 1 else stored.numpy()).astype(np.int32)
        return whole if zeros is None else np.asarray(whole - zeros, np.int32)

    return b.keep(Coded(centred, factors / unit, shape, kind, bits + unit // 2), label)


def layout(b: Builder) -> Sequence[ir.Value] | None:
    """Operators that keep the values of a constant and give them another shape or type."""
    if not b.node.inputs or not all(map(is_constant, b.node.inputs)):
        return None
    source = b.node.inputs[0]
    tensor, target = tensor_of(source), known_shape(b.node.outputs[0])
    if b.node.op_type == "Identity":
        return [b.keep(tensor, "constant")] if not b.node.outputs[0].is_graph_output() else None
    if b.node.op_type == "Cast" or tensor.dtype == ir.DataType.STRING:
        kind = ir.DataType(integer(b.node, "to", 0))
        if not (isinstance(tensor, Coded) and kind.is_floating_point()):
            return None
        return [b.keep(Coded(tensor.codes, tensor.scale, sizes_of(source), kind, tensor.bits), "constant")]
    if b.node.op_type == "Transpose":
        order = integers(b.node, "perm", tuple(reversed(range(len(sizes_of(source))))))
        return [b.rearranged(source, lambda array: array.transpose(order), "constant")]
    return None if target is None else [b.rearranged(source, lambda array: array.reshape(target), "constant")]


def constant_of_shape(b: Builder) -> Sequence[ir.Value] | None:
    """ConstantOfShape that makes weights: one number, spread when somebody asks."""
    (shape,) = b.node.inputs
    if not is_constant(shape):
        return None
    sizes = tuple(int(size) for size in tensor_of(shape).numpy())
    if min(sizes, default=1) < 0 or math.prod(sizes) > (
        MAX_MADE_WEIGHTS if reaches_product(b.node.outputs[0]) else SMALL
    ):
        return None
    attr = b.node.attributes.get("value")
    value = np.zeros(1, np.float32) if attr is None else attr.as_tensor().numpy()
    kind = ir.DataType.from_numpy(value.dtype)
    spread = ir.LazyTensor(lambda: ir.tensor(np.broadcast_to(value.reshape(()), sizes)), kind, ir.Shape(sizes))
    return [b.keep(spread, "constant")]
