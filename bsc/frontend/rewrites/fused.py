"""Operators that do the work of several: the product with weights comes out, the rest stays digital."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from bsc.frontend.attributes import integer, integers, real, reals, text
from bsc.frontend.builder import Builder, rank_of
from bsc.frontend.constants import is_constant, known_shape, sizes_of
from bsc.frontend.rewrites.activations import activate, is_covered
from bsc.frontend.rewrites.blocks import blocked_conv

CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def attributes_of(node: ir.Node, names: Sequence[str]) -> Mapping[str, Any]:
    """Those attributes of a node that are in `names`, for another node."""
    return {name: node.attributes[name] for name in names if name in node.attributes}


def conv(b: Builder) -> Sequence[ir.Value] | str | None:
    """Conv with a bias that is computed at run time: added behind it. Blocks of channels with scales of their own."""
    x, weight, bias = (*b.node.inputs, None)[:3]
    if not is_constant(weight):
        return None
    parts = blocked_conv(b, attributes_of(b.node, CONV_ATTRIBUTES))
    if parts is not None or bias is None or is_constant(bias):
        return parts
    y = b.op("Conv", x, weight, **attributes_of(b.node, CONV_ATTRIBUTES))
    return [_plus_channels(b, y, bias, len(sizes_of(weight)) - 2)]


def _plus_channels(b: Builder, y: ir.Value, bias: ir.Value, spatial: int) -> Any:
    return b.op("Add", y, b.reshape(bias, [-1, *(1,) * spatial], "bias"), label="biased")


def fused_conv(b: Builder) -> Sequence[ir.Value] | str | None:
    """com.microsoft FusedConv: activation(Conv(X, W, B) + Z)."""
    x, weight, bias, added = (*b.node.inputs, None, None)[:4]
    if not is_constant(weight):
        return None
    name, parameters = text(b.node, "activation", "Identity"), reals(b.node, "activation_params")
    if not is_covered(name, parameters):
        return f"its activation is {name}"
    y = b.op("Conv", x, weight, *([bias] if bias else []), **attributes_of(b.node, CONV_ATTRIBUTES))
    if added is not None:
        y = b.op("Add", y, added, label="sum")
    return [activate(b, y, name, parameters, "activation")]


def fused_gemm(b: Builder) -> Sequence[ir.Value] | str | None:
    """com.microsoft FusedGemm: activation(Gemm(A, B, C))."""
    if not any(map(is_constant, b.node.inputs[:2])):
        return None
    name = text(b.node, "activation", "Identity")
    given = [f"activation_{key}" for key in ("alpha", "beta") if f"activation_{key}" in b.node.attributes]
    parameters = tuple(real(b.node, key, 0.0) for key in given)
    if not is_covered(name, parameters):
        return f"its activation is {name}"
    y = b.op("Gemm", *b.node.inputs, **attributes_of(b.node, ("alpha", "beta", "transA", "transB")))
    return [activate(b, y, name, parameters, "activation")]


def attention(b: Builder) -> Sequence[ir.Value] | str | None:
    """com.microsoft Attention: the projections of queries, keys and values; MultiHeadAttention does the rest."""
    x, weight, bias, mask, past, added = (*b.node.inputs, *(None,) * 6)[:6]
    if not is_constant(weight):
        return None
    problem = _problem(b, x, weight, mask, past)
    if problem:
        return problem
    y = b.op("MatMul", x, weight)
    return [_heads(b, y if bias is None else b.op("Add", y, bias, label="biased"), weight, mask, added)]


def quantised_attention(b: Builder) -> Sequence[ir.Value] | str | None:
    """com.microsoft QAttention: as Attention, its projections by MatMulIntegerToFloat."""
    x, weight, bias, x_scale, weight_scale, mask, x_zero, weight_zero, past = (*b.node.inputs, *(None,) * 4)[:9]
    if not is_constant(weight):
        return None
    problem = _problem(b, x, weight, mask, past)
    if problem:
        return problem
    inputs = (x, weight, x_scale, weight_scale, x_zero, weight_zero, bias)
    y = b.op("MatMulIntegerToFloat", *inputs, domain="com.microsoft")
    return [_heads(b, y, weight, mask, None)]


def _problem(b: Builder, x: ir.Value | None, weight: Any, mask: ir.Value | None, past: ir.Value | None) -> str:
    """Why an attention cannot be taken apart, else ""."""
    if past is not None or any(value.uses() or value.is_graph_output() for value in b.node.outputs[1:]):
        return "it keeps keys and values from one run to the next"
    if integer(b.node, "do_rotary", 0):
        return "it rotates queries and keys"
    shape = known_shape(x)
    lengths = rank_of(mask) == 1 and (shape is None or known_shape(mask) != shape[:1])
    if mask is not None and (lengths or rank_of(mask) not in (1, 2, 3)):
        return "its mask is of a kind that MultiHeadAttention does not take"
    sizes = _sizes(b, weight)
    return "" if len(sizes) == 3 and sum(sizes) == sizes_of(weight)[-1] else "its weights do not fit its heads"


def _sizes(b: Builder, weight: Any) -> tuple[int, ...]:
    """Columns of queries, keys and values."""
    return integers(b.node, "qkv_hidden_sizes", (sizes_of(weight)[-1] // 3,) * 3)


def _heads(b: Builder, y: Any, weight: Any, mask: ir.Value | None, added: ir.Value | None) -> Any:
    starts = np.cumsum([0, *_sizes(b, weight)]).tolist()
    parts = [b.slice(y, starts[i], starts[i + 1], -1, label) for i, label in enumerate(("query", "key", "value"))]
    kept = attributes_of(b.node, ("mask_filter_value", "num_heads", "scale", "unidirectional"))
    return b.op("MultiHeadAttention", *parts, None, mask, added, label="heads", domain="com.microsoft", **kept)
