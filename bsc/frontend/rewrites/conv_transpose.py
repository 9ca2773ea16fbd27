"""ConvTranspose as a convolution of stride 1 whose filters make all the outputs between two inputs.

With stride s, output o = i * s + t - pad adds input i times tap t. Write t = q * s + r: the outputs of one phase r are
a convolution over i with the taps q, so that the s phases are s times as many filters on ceil(kernel / s) taps, and
their results are interleaved. No zero is driven that is not padding, unlike in a convolution over an input with zeros
between its values, which drives s times as many vectors; and no partial sums overlap, unlike in one product for each
input position, which converts kernel / s times as many columns.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.frontend.attributes import integer, integers, text
from bsc.frontend.builder import Builder
from bsc.frontend.constants import MAX_MADE_WEIGHTS, is_constant, known_shape, sizes_of


def conv_transpose(b: Builder) -> Sequence[ir.Value] | str | None:
    """ConvTranspose of constant weights, as a Conv that makes all phases of the output.

    Dilated kernels are written out with their zeros.
    """
    x, weight, bias = (*b.node.inputs, None)[:3]
    problem = _problem(x, weight, bias)
    if problem:
        return problem
    shape = known_shape(x) or ()
    channels, per_group, *kernel = sizes_of(weight)
    groups, axes = integer(b.node, "group", 1), len(kernel)
    ones = (1,) * axes
    strides, dilations = integers(b.node, "strides", ones), integers(b.node, "dilations", ones)
    lengths = {len(strides), len(dilations), len(shape) - 2}
    if lengths != {axes} or shape[1] != channels or groups < 1 or channels % groups or min(*strides, *dilations) < 1:
        return "its shapes do not fit together"
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    window = _window(b, shape[2:], strides, spans)
    if window is None or min(min(pair) for pair in window) < 0 or min(size for _, size in window) < 1:
        return "its pads and output sizes do not fit together"
    taps = [-(-span // stride) for span, stride in zip(spans, strides, strict=True)]
    written_out = [tap * stride for tap, stride in zip(taps, strides, strict=True)]
    if channels * per_group * math.prod(written_out) > MAX_MADE_WEIGHTS:
        return "its filters are too large once they are written out"
    filters = b.rearranged(weight, lambda w: _filters(w, groups, dilations, strides, taps))
    phases = math.prod(strides)
    if bias is not None:
        bias = b.rearranged(bias, lambda array: np.repeat(array, phases), "bias")
    positions = [
        max(size + tap - 1, -(-(before + wanted) // stride))
        for size, tap, stride, (before, wanted) in zip(shape[2:], taps, strides, window, strict=True)
    ]
    after = [position - size for position, size in zip(positions, shape[2:], strict=True)]
    pads = [*(tap - 1 for tap in taps), *after]
    y = b.op("Conv", x, filters, *([bias] if bias else []), group=groups, pads=pads)
    if phases > 1:
        y = b.reshape(y, [0, groups * per_group, *strides, *positions], "phases")
        order = [0, 1, *(axis for i in range(axes) for axis in (2 + axes + i, 2 + i))]
        y = b.op("Transpose", y, label="interleaved", perm=order)
        whole = [position * stride for position, stride in zip(positions, strides, strict=True)]
        y = b.reshape(y, [0, groups * per_group, *whole], "whole")
    for axis, (before, wanted) in enumerate(window):
        if (before, wanted) != (0, positions[axis] * strides[axis]):
            y = b.slice(y, before, before + wanted, 2 + axis, "cropped")
    return [y]


def _problem(x: ir.Value | None, weight: ir.Value | None, bias: ir.Value | None) -> str:
    """Why it stays digital whatever its attributes are, else ""."""
    if not is_constant(weight):
        return "both operands are activations"
    if known_shape(x) is None:
        return "the size of its input is known at run time only"
    return "" if bias is None or is_constant(bias) else "its bias is computed at run time"


def _filters(
    weight: NDArray[Any], groups: int, dilations: Sequence[int], strides: Sequence[int], taps: Sequence[int]
) -> NDArray[Any]:
    """(C, M / G, *kernel) to filters (M * phases, C / G, *taps), phases fastest."""
    axes = len(taps)
    channels, per_group, *kernel = weight.shape
    spread = np.zeros((channels, per_group, *(tap * s for tap, s in zip(taps, strides, strict=True))), weight.dtype)
    places = (slice(0, (size - 1) * step + 1, step) for size, step in zip(kernel, dilations, strict=True))
    spread[(slice(None), slice(None), *places)] = weight
    split = [size for tap, stride in zip(taps, strides, strict=True) for size in (tap, stride)]
    parts = spread.reshape(groups, channels // groups, per_group, *split)
    parts = np.flip(parts, axis=tuple(3 + 2 * axis for axis in range(axes)))  # a convolution runs the other way
    order = [0, 2, *(4 + 2 * axis for axis in range(axes)), 1, *(3 + 2 * axis for axis in range(axes))]
    filters = groups * per_group * math.prod(strides)
    return parts.transpose(order).reshape(filters, channels // groups, *taps)


def _window(
    b: Builder, spatial: Sequence[int], strides: Sequence[int], spans: Sequence[int]
) -> list[tuple[int, int]] | None:
    """Along each axis, the first output that is kept and how many are; None for attributes that do not fit."""
    axes = len(spatial)
    extra = integers(b.node, "output_padding", (0,) * axes)
    flat = integers(b.node, "pads", (0,) * 2 * axes)
    wanted = integers(b.node, "output_shape", ())[-axes:]
    mode = text(b.node, "auto_pad", "NOTSET")
    if len(extra) != axes or len(flat) != 2 * axes or (wanted and len(wanted) != axes):
        return None
    full = [
        (size - 1) * stride + span + more
        for size, stride, span, more in zip(spatial, strides, spans, extra, strict=True)
    ]
    if mode.startswith("SAME") and not wanted:
        wanted = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
    if wanted:
        totals = [size - want for size, want in zip(full, wanted, strict=True)]
        return [
            (total // 2 if mode == "SAME_UPPER" else total - total // 2, want)
            for total, want in zip(totals, wanted, strict=True)
        ]
    pads = (0,) * 2 * axes if mode == "VALID" else flat
    return [(before, size - before - after) for size, before, after in zip(full, pads[:axes], pads[axes:], strict=True)]
