"""Number formats that a model says itself: of weights by their constants, of activations by the operators before."""

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.frontend.constants import Coded, Derived, OwnArrays, is_constant, sizes_of, tensor_of
from bsc.ir.formats import GivenWeights, InputFormat

MAX_CODE = (1 << 15) - 1
_KEEPS_VALUES = frozenset({
    "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
})  # fmt: skip
_FORMATS: Mapping[ir.DataType, tuple[int, bool]] = {
    ir.DataType.INT4: (4, True),
    ir.DataType.UINT4: (4, False),
    ir.DataType.INT8: (8, True),
    ir.DataType.UINT8: (8, False),
    ir.DataType.INT16: (16, True),
    ir.DataType.UINT16: (16, False),
}


def given_weights(tensor: Coded, name: str, own: OwnArrays, *, transposed: bool, columns: int) -> GivenWeights | str:
    """The codes of a layer's weights.

    Args:
        tensor: the weights as the layer stores them.
        name: of the layer.
        own: gets them.
        transposed: they lie as (N, K), otherwise as (K, N).
        columns: N.

    Returns:
        The record, or why the codes do not fit a crossbar.
    """

    def matrix(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return array.reshape(columns, -1).T if transposed else array.reshape(-1, columns)

    step: NDArray[np.float64] = tensor.scale.ravel()
    if step.size > 1:
        by_weight = matrix(np.broadcast_to(tensor.scale, tuple(tensor.shape.numpy())))
        highest = by_weight.max(axis=0)
        step = np.where(highest > 0, highest, by_weight.min(axis=0))
        if not ((by_weight == step) | (by_weight == 0)).all():  # zero where a rule has put zeros between the weights
            return "its weights have scales that differ along their rows"
    if not np.isfinite(step).all():
        return "its weights have a scale that is not finite"
    if tensor.bits > 15 and np.abs(tensor.codes()).max(initial=0) > MAX_CODE:
        return "its weights need more than 15 bits and a sign"
    codes, signs = tensor.codes, np.where(step < 0, -1, 1)  # the steps of a plan are positive
    made = Derived(lambda: matrix(codes()) * signs if (signs < 0).any() else matrix(codes()))
    return GivenWeights(codes=own.add(f"{name}/given-codes", made), step=own.add(f"{name}/given-step", np.abs(step)))


def given_input(value: ir.Value | None) -> InputFormat | None:
    """The format of an activation whose values are known to be scaled integers."""
    wide = True  # as long as the values lie in a type that holds them
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "DequantizeLinear":  # of com.microsoft too
            return _dequantised(node, wide=wide)
        if node.domain not in ("", "ai.onnx"):
            return None
        source = node.inputs[0] if node.inputs else None
        if node.op_type == "Cast":
            if source is not None and source.dtype is not None and source.dtype in _FORMATS:
                bits, signed = _FORMATS[source.dtype]
                return InputFormat(bits=bits, signed=signed, step=1.0)
            wide = wide and value.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE)
        elif node.op_type not in _KEEPS_VALUES:
            return None
        value = source
    return None


def _dequantised(node: ir.Node, *, wide: bool) -> InputFormat | None:
    codes, scale, zero = (*node.inputs, None)[:3]
    if codes is None or codes.dtype is None or codes.dtype not in _FORMATS:
        return None
    if not is_constant(scale) or math.prod(sizes_of(scale)) != 1:
        return None
    if zero is not None and not is_constant(zero):
        return None
    bits, signed = _FORMATS[codes.dtype]
    narrow = _clipped(codes)
    if narrow is not None:
        bits, signed = narrow
    step = float(tensor_of(scale).numpy().ravel()[0])
    code = 0 if zero is None else int(tensor_of(zero).numpy().ravel()[0])
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    half = not wide or tensor_of(scale).dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE)
    if not (math.isfinite(step) and step > 0 and low <= code <= high) or (half and bits > 8):
        return None
    return InputFormat(bits=bits, signed=signed, step=step, zero=code)


def _clipped(codes: ir.Value) -> tuple[int, bool] | None:
    """(bits, signed) of codes that a Clip bounds more narrowly than their type does."""
    node = codes.producer()
    if node is None or node.op_type != "Clip" or len(node.inputs) != 3 or not all(map(is_constant, node.inputs[1:])):
        return None
    low, high = (int(tensor_of(bound).numpy()) for bound in node.inputs[1:])
    if low >= 0:
        return max(2, high.bit_length()), False
    return max(2, max(high, -low - 1).bit_length() + 1), True
