"""Weights with a scale for each block of rows, as large language models have them.

A column of a crossbar has one scale. The blocks therefore become the groups of a grouped convolution of kernel 1, each
with columns of its own, and what the blocks give is added digitally.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.frontend.attributes import integer
from bsc.frontend.builder import Builder
from bsc.frontend.constants import Coded, is_constant, known_shape, sizes_of, tensor_of


def block_rows(weight: ir.Value | None) -> int:
    """Rows that share their scales, from the first on; all of them where scales do not differ along rows."""
    tensor, (rows, columns) = tensor_of(weight), sizes_of(weight)
    if not isinstance(tensor, Coded) or tensor.scale.shape[0] == 1:
        return rows
    scale = np.broadcast_to(tensor.scale, (rows, columns))
    changes = np.flatnonzero((scale[1:] != scale[:-1]).any(axis=1)) + 1
    return math.gcd(*changes.tolist()) if len(changes) else rows


def blocked(b: Builder, x: Any, weight: ir.Value | None, rank: int) -> Sequence[ir.Value] | str | None:
    """MatMul of x (..., K) with weights (K, N) whose scales differ from block to block; None where they do not."""
    rows, columns = sizes_of(weight)
    size = block_rows(weight)
    if size == rows:
        return None
    shape = known_shape(x)
    if size == 1 or shape is None:
        return "its weights have a scale for every row"
    blocks = -(-rows // size)
    extra = blocks * size - rows

    def filters(w: NDArray[Any]) -> NDArray[Any]:
        whole = np.pad(w, ((0, extra), (0, 0)))
        return whole.reshape(blocks, size, columns).transpose(0, 2, 1).reshape(blocks * columns, size, 1)

    vectors = math.prod(shape[1:-1])
    stacked = b.reshape(x, [0, vectors, rows] if rank > 1 else [1, 1, rows], "vectors")
    if extra:
        stacked = b.pad(stacked, [0, 0, 0, 0, 0, extra], "padded")
    channels = b.op("Transpose", stacked, label="channels", perm=[0, 2, 1])
    y = b.op("Conv", channels, b.rearranged(weight, filters), group=blocks)
    y = b.reduce_sum(b.reshape(y, [0, blocks, columns, vectors], "blocks"), 1, "sum")
    y = b.op("Transpose", y, label="columns", perm=[0, 2, 1])
    return [b.reshape(y, [0, *shape[1:-1], columns] if rank > 1 else [columns], "output")]


def blocked_conv(b: Builder, attributes: Mapping[str, Any]) -> Sequence[ir.Value] | str | None:
    """Conv of weights (F, C, ...) whose scales differ from block to block of channels; None where they do not."""
    x, weight, bias = (*b.node.inputs, None)[:3]
    filters, channels, *kernel = sizes_of(weight)
    tensor, shape = tensor_of(weight), known_shape(b.node.outputs[0])
    if not isinstance(tensor, Coded) or integer(b.node, "group", 1) != 1 or tensor.scale.shape[1] == 1 or shape is None:
        return None
    scale = np.broadcast_to(tensor.scale, sizes_of(weight)).reshape(filters, channels, -1)
    changes = np.flatnonzero((scale[:, 1:] != scale[:, :-1]).any(axis=(0, 2))) + 1
    if not len(changes) or (scale != scale[..., :1]).any():
        return None
    size = math.gcd(*changes.tolist())
    if size == 1:
        return "its weights have a scale for every channel"
    blocks = -(-channels // size)
    extra = blocks * size - channels

    def split(w: NDArray[Any]) -> NDArray[Any]:
        whole = np.pad(w, ((0, 0), (0, extra), *((0, 0),) * len(kernel))).reshape(filters, blocks, size, *kernel)
        return whole.swapaxes(0, 1).reshape(blocks * filters, size, *kernel)

    if extra:
        assert x is not None
        around = [0] * (len(kernel) + 2)
        x = b.pad(x, [*around, 0, extra, *around[2:]], "padded")
    y = b.op("Conv", x, b.rearranged(weight, split), **{**attributes, "group": blocks})
    y = b.reduce_sum(b.reshape(y, [0, blocks, filters, math.prod(shape[2:])], "blocks"), 1, "sum")
    y = b.reshape(y, [0, filters, *shape[2:]], "output")
    if bias is None:
        return [y]
    column = [1, filters, *(1 for _ in kernel)]
    added = (
        b.rearranged(bias, lambda array: array.reshape(column), "bias")
        if is_constant(bias)
        else b.reshape(bias, column, "bias")
    )
    return [b.op("Add", y, added, label="biased")]


def matmul_nbits(b: Builder) -> Sequence[ir.Value] | str | None:
    """com.microsoft MatMulNBits: packed codes of 2, 4 or 8 bits, (N, blocks, bytes)."""
    x, packed, scales, zeros, order, bias = (*b.node.inputs, *(None,) * 3)[:6]
    bits, block = integer(b.node, "bits", 4), integer(b.node, "block_size", 0)
    rows, columns = integer(b.node, "K", 0), integer(b.node, "N", 0)
    constants = (packed, scales, *(value for value in (zeros, order) if value is not None))
    if not all(map(is_constant, constants)) or bits not in (2, 4, 8) or order is not None or block < 1:
        return "its weights are computed at run time, or in another order"
    blocks = -(-rows // block)
    stored, factors = tensor_of(packed), tensor_of(scales)
    if stored.size * 8 != columns * blocks * block * bits:
        return "its weights do not have the size that it says"
    by_block = factors.numpy().reshape(columns, blocks).astype(np.float64)
    zero = np.full((columns, blocks), 1 << (bits - 1))
    if zeros is not None:
        given = tensor_of(zeros).numpy()
        whole = _unpacked(given.reshape(columns, -1), bits) if given.dtype == np.uint8 else given.reshape(columns, -1)
        zero = whole[:, :blocks].astype(np.float64)
        if (zero % 1).any():
            return "its zero points are not whole numbers"

    def by_row(values: NDArray[Any]) -> NDArray[Any]:
        """(N, blocks) to (K, N)."""
        return np.repeat(values, block, axis=1)[:, :rows].T

    def codes() -> NDArray[np.int32]:
        plain = _unpacked(stored.numpy().reshape(columns, -1), bits).reshape(columns, -1)[:, :rows].T
        return np.asarray(plain - by_row(zero), np.int32)

    coded = Coded(codes, by_row(by_block), (rows, columns), factors.dtype, 9)
    y = b.op("MatMul", x, b.keep(coded, "weight"))
    return [y if bias is None else b.op("Add", y, bias, label="biased")]


def _unpacked(packed: NDArray[Any], bits: int) -> NDArray[np.int32]:
    """Codes of rows of bytes, the lowest bits of a byte first."""
    shifts = np.arange(0, 8, bits)
    return ((packed[..., None].astype(np.int32) >> shifts) & ((1 << bits) - 1)).reshape(len(packed), -1)
