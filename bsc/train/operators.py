"""ONNX operators in PyTorch, with gradients: one table, `OPERATORS`, from operator to function.

A function gets the operator's record and its input tensors, None for an omitted one, and returns its outputs.
Semantics are those of https://onnx.ai/onnx/operators/; where a case is not covered it raises `unsupported`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from bsc.errors import ModelError

_DTYPES: Mapping[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
}
"""By the number that ONNX's TensorProto.DataType gives the type."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Operator:
    """One digital operator, ready to run.

    Attributes:
        name: unique node name.
        op_type: ONNX operator.
        opset: version of the standard domain.
        outputs: how many outputs it has.
        attributes: by name, as `onnx.helper.get_attribute_value` gives them.
    """

    name: str
    op_type: str
    opset: int
    outputs: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute; text as `str`."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value


Inputs = Sequence[Tensor | None]
Function = Callable[[Operator, Inputs], tuple[Tensor, ...]]


def unsupported(op: Operator, seen: str) -> ModelError:
    """The error for an operator, or a use of one, that has no gradient here."""
    return ModelError(
        "BSC310",
        f"node '{op.name}' ({op.op_type}): cannot be fine-tuned",
        seen=seen,
        fix="export the model with other operators (bsc.train.operators.OPERATORS lists what is known), or compile it "
        "as it is",
    )


def _present(op: Operator, x: Inputs, position: int) -> Tensor:
    value = x[position] if position < len(x) else None
    if value is None:
        raise unsupported(op, f"input {position} is missing")
    return value


def _optional(x: Inputs, position: int) -> Tensor | None:
    return x[position] if position < len(x) else None


def _unary(function: Callable[[Tensor], Tensor]) -> Function:
    return lambda op, x: (function(_present(op, x, 0)),)


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda op, x: (function(_present(op, x, 0), _present(op, x, 1)),)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """Of two or more inputs, taken from the left."""

    def run(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
        result = _present(op, x, 0)
        for position in range(1, len(x)):
            result = function(result, _present(op, x, position))
        return (result,)

    return run


def _with_alpha(function: Callable[[Tensor, float], Tensor], default: float) -> Function:
    return lambda op, x: (function(_present(op, x, 0), op.get("alpha", default)),)


def _division(left: Tensor, right: Tensor) -> Tensor:
    if left.is_floating_point():
        return left / right
    return torch.div(left, right, rounding_mode="trunc")


def _ints(value: Tensor | None) -> list[int] | None:
    return None if value is None else [int(item) for item in value.reshape(-1).tolist()]


def _axes(op: Operator, x: Inputs, position: int) -> list[int] | None:
    """Axes: an attribute in older opsets, an input in newer ones."""
    given = op.get("axes")
    return list(given) if given is not None else _ints(_optional(x, position))


# --- elementwise


def _clip(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    low, high = _optional(x, 1), _optional(x, 2)
    result = _present(op, x, 0)
    low = low if low is not None else _as_tensor(op.get("min"), result)
    high = high if high is not None else _as_tensor(op.get("max"), result)
    return (result if low is None and high is None else torch.clamp(result, low, high),)


def _as_tensor(value: float | None, like: Tensor) -> Tensor | None:
    return None if value is None else torch.tensor(value, dtype=like.dtype, device=like.device)


def _gelu(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    return (F.gelu(_present(op, x, 0), approximate=op.get("approximate", "none")),)


def _hard_sigmoid(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    return (torch.clamp(op.get("alpha", 0.2) * _present(op, x, 0) + op.get("beta", 0.5), 0, 1),)


def _prelu(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value, slope = _present(op, x, 0), _present(op, x, 1)
    return (torch.where(value < 0, value * slope, value),)


def _where(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    return (torch.where(_present(op, x, 0), _present(op, x, 1), _present(op, x, 2)),)


def _cast(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    if op.get("to") not in _DTYPES:
        raise unsupported(op, f"a cast to ONNX element type {op.get('to')}")
    return (_present(op, x, 0).to(_DTYPES[op.get("to")]),)


def _dropout(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value = _present(op, x, 0)  # a deployed model drops nothing, and fine-tuning trains the deployed model
    return (value, torch.ones_like(value, dtype=torch.bool))[: op.outputs]


# --- shape


def _reshape(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value, wanted = _present(op, x, 0), _ints(_present(op, x, 1)) or []
    if not op.get("allowzero", 0):
        wanted = [value.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return (value.reshape(wanted),)


def _flatten(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value, axis = _present(op, x, 0), op.get("axis", 1)
    return (value.reshape(math.prod(value.shape[: axis if axis >= 0 else axis + value.ndim]), -1),)


def _transpose(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value = _present(op, x, 0)
    return (value.permute(op.get("perm") or list(range(value.ndim))[::-1]),)


def _squeeze(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value, axes = _present(op, x, 0), _axes(op, x, 1)
    return (value.squeeze() if axes is None else value.squeeze(tuple(axes)),)


def _unsqueeze(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value, axes = _present(op, x, 0), _axes(op, x, 1) or []
    rank = value.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = value.unsqueeze(axis)
    return (value,)


def _concat(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    return (torch.cat([_present(op, x, position) for position in range(len(x))], dim=op.get("axis")),)


def _split(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value, axis = _present(op, x, 0), op.get("axis", 0)
    sizes = op.get("split") or _ints(_optional(x, 1))
    if sizes is None:
        each = -(-value.shape[axis] // op.outputs)
        sizes = [min(each, value.shape[axis] - each * part) for part in range(op.outputs)]
    return tuple(torch.split(value, list(sizes), dim=axis))


def _slice(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value = _present(op, x, 0)
    starts = op.get("starts") or _ints(_optional(x, 1)) or []
    ends = op.get("ends") or _ints(_optional(x, 2)) or []
    axes = _axes(op, x, 3) or range(len(starts))
    steps = _ints(_optional(x, 4)) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        taken = range(value.shape[axis])[slice(start, _bounded(end), step)]
        value = value.index_select(axis, torch.tensor(list(taken), device=value.device))
    return (value,)


def _bounded(end: int) -> int | None:
    """The largest negative numbers mean "through the first" when a slice runs backwards."""
    return None if end <= -(1 << 31) else end


def _gather(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value, index, axis = _present(op, x, 0), _present(op, x, 1), op.get("axis", 0)
    axis %= value.ndim
    flat = torch.remainder(index.reshape(-1), value.shape[axis])  # a negative index counts from the end
    picked = value.index_select(axis, flat.to(value.device))
    return (picked.reshape(*value.shape[:axis], *index.shape, *value.shape[axis + 1 :]),)


def _expand(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value, wanted = _present(op, x, 0), _ints(_present(op, x, 1)) or []
    return (value.expand(np.broadcast_shapes(value.shape, tuple(wanted))),)


def _tile(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    return (_present(op, x, 0).repeat(_ints(_present(op, x, 1)) or []),)


def _shape(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value = _present(op, x, 0)
    return (torch.tensor(list(value.shape)[slice(op.get("start", 0), op.get("end"))], dtype=torch.int64),)


def _constant_of_shape(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value = op.get("value")
    shape = _ints(_present(op, x, 0)) or []
    if value is None:
        return (torch.zeros(shape),)
    import onnx.numpy_helper

    filling = torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
    return (filling.expand(shape).clone() if shape else filling.reshape(()),)


def _range(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    start, limit, step = (_present(op, x, position) for position in range(3))
    return (torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype),)


def _pad(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value = _present(op, x, 0)
    pads = op.get("pads") or _ints(_optional(x, 1)) or []
    axes = _ints(_optional(x, 3)) or list(range(value.ndim))
    mode = op.get("mode", "constant")
    if mode != "constant":
        raise unsupported(op, f"mode '{mode}'")
    both = dict.fromkeys(range(value.ndim), (0, 0))
    both |= {axis % value.ndim: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    filling = _optional(x, 2)
    flat = [size for axis in reversed(range(value.ndim)) for size in both[axis]]
    return (F.pad(value, flat, value=op.get("value", 0.0) if filling is None else float(filling)),)


# --- reductions and normalisations


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Function:
    def run(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
        value, axes = _present(op, x, 0), _axes(op, x, 1)
        if not axes:
            if op.get("noop_with_empty_axes", 0):
                return (value,)
            axes = list(range(value.ndim))
        return (function(value, axes, bool(op.get("keepdims", 1))),)

    return run


def _softmax(function: Callable[[Tensor, int], Tensor]) -> Function:
    def run(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
        value = _present(op, x, 0)
        if op.opset >= 13:
            return (function(value, op.get("axis", -1)),)
        axis = op.get("axis", 1) % value.ndim  # before opset 13 over all axes from this one on
        return (function(value.reshape(math.prod(value.shape[:axis]), -1), 1).reshape(value.shape),)

    return run


def _argmax(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    return (torch.argmax(_present(op, x, 0), op.get("axis", 0), keepdim=bool(op.get("keepdims", 1))),)


def _batch_norm(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    if op.get("training_mode", 0):
        raise unsupported(op, "training_mode 1, statistics of the batch")
    value, scale, bias, mean, var = (_present(op, x, position) for position in range(5))
    return (F.batch_norm(value, mean, var, scale, bias, eps=op.get("epsilon", 1e-5)),)


def _layer_norm(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    if op.outputs > 1:
        raise unsupported(op, "its mean or deviation is read")
    value = _present(op, x, 0)
    shape = value.shape[op.get("axis", -1) % value.ndim :]
    scale, bias = _present(op, x, 1).expand(shape), _optional(x, 2)
    return (F.layer_norm(value, shape, scale, None if bias is None else bias.expand(shape), op.get("epsilon", 1e-5)),)


def _instance_norm(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value, scale, bias = (_present(op, x, position) for position in range(3))
    return (F.instance_norm(value, weight=scale, bias=bias, eps=op.get("epsilon", 1e-5)),)


# --- pooling


def _pool_pads(
    op: Operator, value: Tensor, kernel: tuple[int, ...] | None = None
) -> tuple[tuple[int, ...], list[int], list[int], list[tuple[int, int]]]:
    """(kernel, strides, dilations, pads of each axis); the kernel is that of the attribute unless given."""
    kernel = tuple(op.get("kernel_shape")) if kernel is None else kernel
    axes = len(kernel)
    strides = list(op.get("strides") or [1] * axes)
    dilations = list(op.get("dilations") or [1] * axes)
    mode = op.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for size, window, stride, dilation in zip(value.shape[2:], kernel, strides, dilations, strict=True):
            total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if mode == "SAME_UPPER" else (more, less))
        return kernel, strides, dilations, pads
    flat = list(op.get("pads") or [0] * 2 * axes)
    pads = list(zip(flat[:axes], flat[axes:], strict=True))
    if op.get("ceil_mode", 0):
        for axis, (size, window) in enumerate(zip(value.shape[2:], kernel, strict=True)):
            before, after = pads[axis]
            span = size + before + after - (window - 1) * dilations[axis] - 1
            out = -(-span // strides[axis])
            if out * strides[axis] >= size + before:  # a last window that starts in the padding is left out
                out -= 1
            pads[axis] = (before, after + max(out * strides[axis] - span, 0))
    return kernel, strides, dilations, pads


def _padded(value: Tensor, pads: Sequence[tuple[int, int]], filling: float) -> Tensor:
    return (
        F.pad(value, [size for pair in reversed(pads) for size in pair], value=filling)
        if any(map(any, pads))
        else value
    )


def _max_pool(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value = _present(op, x, 0)
    if op.outputs > 1:
        raise unsupported(op, "its indices are read")
    kernel, strides, dilations, pads = _pool_pads(op, value)
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}.get(len(kernel))
    if pool is None:
        raise unsupported(op, f"{len(kernel)} spatial axes")
    return (pool(_padded(value, pads, -math.inf), kernel, strides, 0, dilations),)


def _conv(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    """Of a layer that is kept off the crossbars."""
    value, weight, bias = _present(op, x, 0), _present(op, x, 1), _optional(x, 2)
    _, strides, dilations, pads = _pool_pads(op, value, tuple(weight.shape[2:]))
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}.get(weight.ndim - 2)
    if conv is None:
        raise unsupported(op, f"{weight.ndim - 2} spatial axes")
    padded = _padded(value, pads, 0.0)
    return (conv(padded, weight, bias, strides, 0, dilations, op.get("group", 1)),)


def _average_pool(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    value = _present(op, x, 0)
    kernel, strides, dilations, pads = _pool_pads(op, value)
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}.get(len(kernel))
    if pool is None or any(size != 1 for size in dilations) or op.get("ceil_mode", 0):
        raise unsupported(op, "ceil_mode, dilation or more than three spatial axes")
    total = pool(_padded(value, pads, 0.0), kernel, strides)
    if op.get("count_include_pad", 0) or not any(map(any, pads)):
        return (total,)
    inside = pool(_padded(torch.ones_like(value[:1, :1]), pads, 0.0), kernel, strides)
    return (total / inside,)


def _global_pool(function: Callable[[Tensor, list[int], bool], Tensor]) -> Function:
    def run(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
        value = _present(op, x, 0)
        return (function(value, list(range(2, value.ndim)), True),)

    return run


# --- matrices whose operands are both computed, and recurrence


def _gemm(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    left, right, bias = _present(op, x, 0), _present(op, x, 1), _optional(x, 2)
    left = left.T if op.get("transA", 0) else left
    right = right.T if op.get("transB", 0) else right
    result = op.get("alpha", 1.0) * (left @ right)
    return (result if bias is None else result + op.get("beta", 1.0) * bias,)


def _einsum(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    return (torch.einsum(op.get("equation"), *[_present(op, x, position) for position in range(len(x))]),)


def _lstm(op: Operator, x: Inputs) -> tuple[Tensor, ...]:
    """Gates in the order i, o, f, c; no peepholes, default activations, all sequences of full length."""
    value, weights, recurrent = (_present(op, x, position) for position in range(3))
    if any(_optional(x, position) is not None for position in (4, 7)):
        raise unsupported(op, "sequence lengths or peepholes")
    for name in ("activations", "clip", "input_forget", "layout"):
        if op.get(name):
            raise unsupported(op, f"attribute '{name}'")
    direction = op.get("direction", "forward")
    hidden, batch = op.get("hidden_size"), value.shape[1]
    ways = weights.shape[0]
    bias = _optional(x, 3)
    bias = value.new_zeros(ways, 8 * hidden) if bias is None else bias
    blank = value.new_zeros(ways, batch, hidden)
    start_h, start_c = _optional(x, 5), _optional(x, 6)
    start_h, start_c = blank if start_h is None else start_h, blank if start_c is None else start_c
    outputs, last_h, last_c = [], [], []
    for way in range(ways):
        reverse = direction == "reverse" or way == 1
        h, c = start_h[way], start_c[way]
        driven = value @ weights[way].T + bias[way, : 4 * hidden] + bias[way, 4 * hidden :]
        states: list[Tensor] = []
        for step in reversed(range(len(value))) if reverse else range(len(value)):
            gate_i, gate_o, gate_f, gate_c = (driven[step] + h @ recurrent[way].T).chunk(4, dim=1)
            c = torch.sigmoid(gate_f) * c + torch.sigmoid(gate_i) * torch.tanh(gate_c)
            h = torch.sigmoid(gate_o) * torch.tanh(c)
            states.append(h)
        outputs.append(torch.stack(states[::-1] if reverse else states))
        last_h.append(h)
        last_c.append(c)
    return (torch.stack(outputs, dim=1), torch.stack(last_h), torch.stack(last_c))[: op.outputs]


def _amax(value: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.amax(value, axes, keepdim=keep)


OPERATORS: Mapping[str, Function] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(torch.add),
    "And": _binary(torch.logical_and),
    "ArgMax": _argmax,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Ceil": _unary(torch.ceil),
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Cos": _unary(torch.cos),
    "Div": _binary(_division),
    "Dropout": _dropout,
    "Einsum": _einsum,
    "Elu": _with_alpha(F.elu, 1.0),
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _unary(torch.floor),
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool(lambda value, axes, keep: value.mean(axes, keepdim=keep)),
    "GlobalMaxPool": _global_pool(_amax),
    "Greater": _binary(torch.gt),
    "GreaterOrEqual": _binary(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(F.hardswish),
    "Identity": _unary(lambda value: value),
    "InstanceNormalization": _instance_norm,
    "LSTM": _lstm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _with_alpha(F.leaky_relu, 0.01),
    "Less": _binary(torch.lt),
    "LessOrEqual": _binary(torch.le),
    "Log": _unary(torch.log),
    "LogSoftmax": _softmax(torch.log_softmax),
    "MatMul": _binary(torch.matmul),
    "Max": _folded(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _folded(torch.minimum),
    "Mish": _unary(F.mish),
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _binary(torch.pow),
    "Range": _range,
    "Reciprocal": _unary(torch.reciprocal),
    "ReduceL2": _reduction(lambda value, axes, keep: value.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceMax": _reduction(_amax),
    "ReduceMean": _reduction(lambda value, axes, keep: value.mean(axes, keepdim=keep)),
    "ReduceMin": _reduction(lambda value, axes, keep: torch.amin(value, axes, keepdim=keep)),
    "ReduceSum": _reduction(lambda value, axes, keep: value.sum(axes, keepdim=keep)),
    "Relu": _unary(torch.relu),
    "Reshape": _reshape,
    "Round": _unary(torch.round),
    "Selu": _unary(F.selu),
    "Shape": _shape,
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Slice": _slice,
    "Softmax": _softmax(torch.softmax),
    "Softplus": _unary(F.softplus),
    "Softsign": _unary(F.softsign),
    "Split": _split,
    "Sqrt": _unary(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(torch.sub),
    "Sum": _folded(torch.add),
    "Tanh": _unary(torch.tanh),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
