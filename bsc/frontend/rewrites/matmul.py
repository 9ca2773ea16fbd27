"""Products of matrices: whichever operand is the constant one, it becomes the right one."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from bsc.frontend.attributes import integer, real
from bsc.frontend.builder import Builder, rank_of, swapped
from bsc.frontend.constants import Coded, is_constant, known_shape, sizes_of, tensor_of
from bsc.frontend.rewrites.blocks import block_rows, blocked


def matmul(b: Builder) -> Sequence[ir.Value] | str | None:
    """MatMul with the constant on the left, or with more or fewer than two axes.

        W x = (x^T W^T)^T

    A stack of matrices is a grouped convolution of kernel 1, one group each; so are blocks of rows with scales of their
    own.
    """
    left, right = b.node.inputs
    if is_constant(left) == is_constant(right):
        return None
    rank = rank_of(right if is_constant(left) else left)
    if rank is None:
        return "the number of axes of its input is unknown"
    if is_constant(left):
        return _constant_left(b, left, right, rank)
    axes = len(sizes_of(right))
    if axes == 1:
        column = b.rearranged(right, lambda array: array[:, None])
        return [b.squeeze(b.op("MatMul", left, column), -1, "squeezed")]
    return blocked(b, left, right, rank) if axes == 2 else _stack(b, left, right, rank)


def _constant_left(b: Builder, left: Any, right: Any, rank: int) -> Sequence[ir.Value] | str | None:
    axes = len(sizes_of(left))
    x = right if rank == 1 else b.transpose(right, swapped(rank), "input")
    weight = b.transpose(left, swapped(axes), "weight") if axes > 1 else b.rearranged(left, lambda w: w[:, None])
    y = b.op("MatMul", x, weight)
    if axes == 1:
        return [b.squeeze(y, -1, "squeezed")]
    if rank == 1:  # (K) times a stack (G, K, M) is (G, M) on both sides
        return [y]
    return [b.transpose(y, swapped(max(rank, axes)), "output")]


def _stack(b: Builder, x: Any, weight: ir.Value | None, rank: int) -> Sequence[ir.Value] | str | None:
    """The product of x (..., M, K) and (..., K, N)."""
    *stack, rows, columns = sizes_of(weight)
    if rank >= len(stack) + 2 and set(stack) == {1}:
        return [b.op("MatMul", x, b.rearranged(weight, lambda w: w.reshape(rows, columns)))]
    if rank <= 2:
        return [_side_by_side(b, x, weight, rank)]
    while len(stack) > 1 and stack[0] == 1 and rank >= len(stack) + 2:
        stack.pop(0)
    shape = known_shape(x)
    if len(stack) != 1 or shape is None or rank > 4:
        return f"its weights are a stack of {' x '.join(map(str, stack))} matrices"
    if shape[-3] != stack[0]:
        return "its weights are a stack of matrices for an input that has none"
    constant = b.rearranged(weight, lambda w: w.reshape(stack[0], rows, columns))
    y = grouped_product(b, x if rank == 4 else b.unsqueeze(x, 0, "batch"), constant, shape[-2])
    return [y if rank == 4 else b.squeeze(y, 0, "output")]


def _side_by_side(b: Builder, x: Any, weight: ir.Value | None, rank: int) -> Any:
    """Every matrix of a stack is driven with the same vectors: x (K) or (M, K)."""
    *stack, rows, columns = sizes_of(weight)
    wide = math.prod(stack) * columns
    order = [len(stack), *range(len(stack)), len(stack) + 1]
    y = b.op("MatMul", x, b.rearranged(weight, lambda w: w.transpose(order).reshape(rows, wide)))
    if rank == 1:
        return b.reshape(y, [*stack, columns], "stacked")
    stacked = b.reshape(y, [-1, *stack, columns], "stacked")
    return b.transpose(stacked, [*range(1, len(stack) + 1), 0, len(stack) + 1], "output")


def grouped_product(b: Builder, x: ir.Value, weight: ir.Value | None, vectors: int) -> Any:
    """X (B, G, M, K) times constant (G, K, N) by a grouped convolution; B may be any, M is `vectors`."""
    groups, rows, columns = sizes_of(weight)
    channels = b.reshape(b.op("Transpose", x, label="rows", perm=[0, 1, 3, 2]), [0, groups * rows, vectors], "channels")
    filters = b.rearranged(weight, lambda w: w.transpose(0, 2, 1).reshape(groups * columns, rows, 1))
    y = b.op("Conv", channels, filters, group=groups)
    return b.op("Transpose", b.reshape(y, [0, groups, columns, vectors], "stacked"), label="stack", perm=[0, 1, 3, 2])


def gemm(b: Builder) -> Sequence[ir.Value] | str | None:
    """Gemm whose constant is on the left or has scales of blocks, a transposed input, or a bias that is not a row."""
    left, right, bias = (*b.node.inputs, None)[:3]
    if is_constant(left) == is_constant(right):
        return None
    alpha, beta = real(b.node, "alpha", 1.0), real(b.node, "beta", 1.0)
    flipped = bool(integer(b.node, "transA", 0)), bool(integer(b.node, "transB", 0))
    if is_constant(left):
        weight = b.scaled(left if flipped[0] else b.transpose(left, [1, 0], "weight"), alpha, "weight")
        x = right if flipped[1] else b.transpose(right, [1, 0], "input")
        return [_plus(b, b.transpose(b.op("MatMul", x, weight), [1, 0], "product"), bias, beta)]
    sizes = sizes_of(right)
    if len(sizes) == 2 and isinstance(tensor_of(right), Coded):
        columns = b.transpose(right, [1, 0], "weight") if flipped[1] else right
        if block_rows(columns) < sizes_of(columns)[0]:
            x = b.transpose(left, [1, 0], "input") if flipped[0] else left
            return [_plus(b, b.op("MatMul", x, b.scaled(columns, alpha, "scaled")), bias, beta)]
    row = bias is None or (is_constant(bias) and int(np.prod(sizes_of(bias)[:-1])) == 1)
    if len(sizes) != 2 or (row and not flipped[0]):
        return None
    x = b.transpose(left, [1, 0], "input") if flipped[0] else left
    y = b.op("Gemm", x, right, *([bias] if row and bias else []), alpha=alpha, beta=beta, transB=int(flipped[1]))
    return [y if row else _plus(b, y, bias, beta)]


def _plus(b: Builder, y: ir.Value, bias: ir.Value | None, beta: float) -> ir.Value:
    """Y + beta * bias."""
    if bias is None or beta == 0.0:
        return y
    if is_constant(bias):
        bias = b.scaled(bias, beta, "bias")
    elif beta != 1.0:
        factor = b.constant(beta, bias.dtype.numpy() if bias.dtype else np.float32, "beta")
        bias = b.op("Mul", bias, factor, label="bias")
    added: ir.Value = b.op("Add", y, bias, label="biased")
    return added


def fused_matmul(b: Builder) -> Sequence[ir.Value] | str | None:
    """com.microsoft FusedMatMul: the factor goes into the constant."""
    left, right = b.node.inputs
    if is_constant(left) == is_constant(right):
        return None
    if integer(b.node, "transBatchA", 0) or integer(b.node, "transBatchB", 0):
        return "it exchanges batch axes (transBatchA, transBatchB)"
    operands = []
    for value, flag in ((left, "transA"), (right, "transB")):
        rank = rank_of(value)
        if rank is None:
            return "the number of axes of its input is unknown"
        flip = bool(integer(b.node, flag, 0)) and rank > 1
        operand = b.transpose(value, swapped(rank), flag) if flip else value
        operands.append(b.scaled(operand, real(b.node, "alpha", 1.0), "scaled") if is_constant(value) else operand)
    return [b.op("MatMul", *operands)]
