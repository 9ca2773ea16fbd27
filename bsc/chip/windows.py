"""Which rows of its inputs an operator needs for each row of its output.

A row is one index along the axis that a tensor is streamed over: the lines of an image, the tokens of a sequence. An
operator that is not in the table, or that mixes rows in a way that is not told here, needs everything before it gives
anything; so a rule that is missing makes a schedule slower and never wrong.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

Shape = tuple[int, ...]
Rows = NDArray[np.int64]
Places = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Window:
    """Rows of an input that each row of the output needs.

    Attributes:
        axis: that the output is streamed over.
        first: lowest row that is needed, int64 (rows of the output,), never falling.
        last: the row behind the highest that is needed, likewise; `first` where none is.
    """

    axis: int
    first: Rows
    last: Rows


@dataclass(frozen=True, eq=False, kw_only=True)
class Site:
    """An operator, and one of its inputs that is streamed.

    Attributes:
        node: the operator.
        position: of the input.
        axis: that the input is streamed over.
        shapes: of all inputs, None where unknown.
        output: shape of the output.
        constants: values of inputs that are constants, by position.
        opset: of ONNX's own operators.
        number: of the output.
    """

    node: onnx.NodeProto
    position: int
    axis: int
    shapes: Sequence[Shape | None]
    output: Shape
    constants: Mapping[int, NDArray[Any]]
    opset: int
    number: int = 0

    @property
    def input(self) -> Shape:
        """Shape of the streamed input."""
        shape = self.shapes[self.position]
        assert shape is not None
        return shape

    @property
    def rows(self) -> int:
        """Rows of the streamed input."""
        return self.input[self.axis]

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the operator."""
        found = next((attr for attr in self.node.attribute if attr.name == name), None)
        if found is None:
            return default
        value = helper.get_attribute_value(found)
        return value.decode() if isinstance(value, bytes) else value


def identity(axis: int, rows: int) -> Window:
    """Every row of the output needs the same row of the input."""
    first = np.arange(rows)
    return Window(axis=axis, first=first, last=first + 1)


def sliding(axis: int, rows: int, size: int, window: tuple[int, int, int, int]) -> Window:
    """A window that slides over an input.

    Args:
        axis: that both are streamed over.
        rows: of the output.
        size: rows of the input.
        window: kernel, stride, dilation, and padding before the first row.
    """
    kernel, stride, dilation, pad = window
    begin = np.arange(rows) * stride - pad
    first = np.clip(begin, 0, size)
    return Window(axis=axis, first=first, last=np.maximum(first, np.clip(begin + (kernel - 1) * dilation + 1, 0, size)))


def everything(axis: int, rows: int, size: int) -> Window:
    """Every row of the output needs all rows of the input."""
    return Window(axis=axis, first=np.zeros(rows, np.int64), last=np.full(rows, size))


def stream_axis(shape: Shape) -> int:
    """The axis that a tensor is streamed over if nothing before it says otherwise: lines of images, tokens."""
    if len(shape) == 3:
        return 1 if shape[1] > 1 else 0  # steps of a recurrent operator come before the batch
    return 2 if len(shape) >= 4 else 0


def window_of(site: Site) -> Window | None:
    """What an operator needs of one input; None if it needs all of it, or nobody knows."""
    rule = _RULES.get(site.node.op_type) if site.node.domain in ("", "ai.onnx", "com.microsoft") else None
    if rule is None:
        return None
    try:
        found = rule(site)
    except Exception:  # attributes of another kind than ONNX says, or none: whoever runs the operator will say so
        return None
    if found is None or found.axis >= len(site.output) or len(found.first) != site.output[found.axis]:
        return None
    return found


def _pointwise(site: Site) -> Window | None:
    axis = site.axis + len(site.output) - len(site.input)
    return identity(axis, site.rows) if axis >= 0 and site.output[axis] == site.rows else None


def _pool(site: Site) -> Window | None:
    place = site.axis - 2
    if place < 0:
        return _pointwise(site)
    spatial = len(site.input) - 2
    kernel = site.attribute("kernel_shape", [1] * spatial)[place]
    stride = site.attribute("strides", [1] * spatial)[place]
    dilation = site.attribute("dilations", [1] * spatial)[place]
    rows, size = site.output[site.axis], site.rows
    pad = site.attribute("pads", [0] * 2 * spatial)[place]
    if site.attribute("auto_pad", "NOTSET").startswith("SAME"):
        if dilation > 1:
            return None  # onnxruntime pads it as if it were not dilated
        total = max((rows - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        pad = total // 2 if site.attribute("auto_pad", "") == "SAME_UPPER" else -(-total // 2)
    return sliding(site.axis, rows, size, (kernel, stride, dilation, pad))


def _over_space(site: Site) -> Window | None:
    return _pointwise(site) if site.axis < 2 and not site.position else None


def _over_channels(site: Site) -> Window | None:
    return _pointwise(site) if site.axis != 1 else None


def _first_input(site: Site) -> Window | None:
    """Scales of channels lie along an axis that is not the last, shapes along none. Training mixes all rows."""
    return None if site.position or site.attribute("training_mode", 0) else _pointwise(site)


def _concat(site: Site) -> Window | None:
    axis = site.attribute("axis", 1) % len(site.output)
    if axis != site.axis:
        return identity(site.axis, site.rows)
    known = [shape[axis] for shape in site.shapes[: site.position] if shape is not None]
    if len(known) != site.position:
        return None
    row = np.arange(site.output[axis]) - sum(known)
    return Window(axis=axis, first=np.clip(row, 0, site.rows), last=np.clip(row + 1, 0, site.rows))


def _transpose(site: Site) -> Window | None:
    order = list(site.attribute("perm", range(len(site.input))[::-1]))
    return identity(order.index(site.axis), site.rows)


def _reshape(site: Site) -> Window | None:
    """The axis, or a part of it, is found again where as many values lie before it."""
    before = math.prod(site.input[: site.axis])
    if site.position or site.rows == 0:
        return None
    for axis, size in enumerate(site.output):
        if math.prod(site.output[:axis]) != before or size <= 1:
            continue
        row = np.arange(size)
        if size % site.rows == 0:  # the axis itself, or with later ones in it
            first = row // (size // site.rows)
            return Window(axis=axis, first=first, last=first + 1)
        if site.rows % size == 0:  # the outer part of it
            each = site.rows // size
            return Window(axis=axis, first=row * each, last=(row + 1) * each)
    return None


def _axes(site: Site) -> tuple[int, ...] | None:
    """Axes that a reduction goes over; None if they are unknown."""
    axes = site.attribute("axes", None)
    if axes is None and len(site.shapes) > 1 and site.node.input[1]:
        if 1 not in site.constants:
            return None
        axes = site.constants[1].ravel().tolist()
    return tuple(int(axis) % len(site.input) for axis in axes or range(len(site.input)))


def _reduce(site: Site) -> Window | None:
    axes = _axes(site)
    return None if axes is None else _without(site, axes)


def _arg(site: Site) -> Window | None:
    return _without(site, (site.attribute("axis", 0) % len(site.input),))


def _without(site: Site, axes: tuple[int, ...]) -> Window | None:
    if site.axis in axes or site.position:
        return None
    gone = 0 if site.attribute("keepdims", 1) else sum(axis < site.axis for axis in axes)
    return identity(site.axis - gone, site.rows)


def _softmax(site: Site) -> Window | None:
    axis = site.attribute("axis", -1 if site.opset >= 13 else 1) % len(site.input)
    mixed = site.axis == axis if site.opset >= 13 else site.axis >= axis
    return None if mixed else identity(site.axis, site.rows)


def _layer_norm(site: Site) -> Window | None:
    axis = site.attribute("axis", -1) % len(site.output)
    return None if site.axis >= axis else _pointwise(site)


def _matmul(site: Site) -> Window | None:
    """Rows of the first factor; a product needs all of the second, unless they are of another matrix."""
    other = site.shapes[1 - site.position]
    own = 1 if site.position == 0 else 2  # axes at the end that a product needs all of
    if other is None or len(site.input) - site.axis <= own:
        return None
    if len(other) == 1:  # a vector, whose axis the output does not have
        return identity(site.axis, site.rows)
    return _pointwise(site)


def _gemm(site: Site) -> Window | None:
    if site.position == 2:
        return _pointwise(site)
    down = site.axis == (1 if site.attribute("transA", 0) else 0)
    return identity(0, site.rows) if site.position == 0 and down else None


def _pad(site: Site) -> Window | None:
    if site.attribute("mode", "constant") == "wrap" or site.position:
        return None
    pads = site.constants[1].ravel() if 1 in site.constants else np.asarray(site.attribute("pads", []))
    if len(pads) != 2 * len(site.input) or (len(site.shapes) > 3 and site.node.input[3]):
        return None
    row, size = np.arange(site.output[site.axis]) - int(pads[site.axis]), site.rows
    if site.attribute("mode", "constant") == "constant":
        return Window(axis=site.axis, first=np.clip(row, 0, size), last=np.clip(row + 1, 0, size))
    if site.attribute("mode", "constant") == "reflect":
        row = size - 1 - np.abs(size - 1 - np.abs(row))
    row = np.clip(row, 0, size - 1)
    return _chosen(site.axis, row, row)


def _slice(site: Site) -> Window | None:
    given = {at for at, name in enumerate(site.node.input) if at and name}
    if site.position or not given <= site.constants.keys():
        return None
    rank = len(site.input)
    starts = site.constants[1].ravel() if 1 in site.constants else np.asarray(site.attribute("starts", []))
    axes: Any = site.constants[3].ravel() if 3 in site.constants else site.attribute("axes", list(range(len(starts))))
    steps: Any = site.constants[4].ravel() if 4 in site.constants else np.ones(len(starts), np.int64)
    by_axis = {int(axis) % rank: (int(start), int(step)) for axis, start, step in zip(axes, starts, steps, strict=True)}
    start, step = by_axis.get(site.axis, (0, 1))
    if step < 1:
        return None
    first = np.clip(start + site.rows if start < 0 else start, 0, site.rows) + np.arange(site.output[site.axis]) * step
    return Window(axis=site.axis, first=first, last=first + 1)


def _gather(site: Site) -> Window | None:
    axis = site.attribute("axis", 0) % len(site.input)
    if site.position:
        return None
    if site.axis != axis:
        return identity(site.axis + (len(site.output) - len(site.input) if site.axis > axis else 0), site.rows)
    if 1 not in site.constants:
        return None
    chosen = site.constants[1].astype(np.int64) % site.rows
    if chosen.ndim:
        return _chosen(axis, chosen.reshape(len(chosen), -1).min(axis=1), chosen.reshape(len(chosen), -1).max(axis=1))
    if not site.output:
        return None
    out = stream_axis(site.output)  # one row for all of the output
    rows = np.full(site.output[out], int(chosen))
    return Window(axis=out, first=rows, last=rows + 1)


def _chosen(axis: int, lowest: Rows, highest: Rows) -> Window:
    """A window around rows in any order."""
    return Window(axis=axis, first=np.minimum.accumulate(lowest[::-1])[::-1], last=np.maximum.accumulate(highest) + 1)


def _split(site: Site) -> Window | None:
    axis = site.attribute("axis", 0) % len(site.input)
    if site.position:
        return None
    if site.axis != axis:
        return identity(site.axis, site.rows)
    given = any(site.node.input[1:])
    parts = site.constants[1].ravel().tolist() if 1 in site.constants else site.attribute("split", None)
    if given and 1 not in site.constants:
        return None
    if parts is None:  # parts of one size, the last of which may be smaller
        parts = [-(-site.rows // len(site.node.output))] * len(site.node.output)
    row = np.arange(site.output[axis]) + sum(parts[: site.number])
    return Window(axis=axis, first=row, last=row + 1)


def _resize(site: Site) -> Window | None:
    """The lines of the input around the place of every line of the output: the nearest, two, or four for cubic."""
    rows, size = site.output[site.axis], site.rows
    scale = _scale(site)
    mode = site.attribute("mode", "nearest")
    how = site.attribute("coordinate_transformation_mode", "half_pixel")
    if site.position or not size or scale is None or mode not in RESIZED or how not in PLACES:
        return None
    if site.attribute("antialias", 0) or site.attribute("exclude_outside", 0):
        return None
    place = np.clip(PLACES[how](np.arange(rows, dtype=np.float64), scale, rows, size), 0, size - 1)
    row = np.arange(rows)
    rounded = 0.0 if scale.is_integer() and how != "align_corners" else ROUNDED
    low, high = place - rounded, place + rounded
    if mode == "nearest":
        nearest = NEAREST[site.attribute("nearest_mode", "round_prefer_floor")]
        first, last = nearest(low), nearest(high)
    else:
        first, last = np.floor(low) - RESIZED[mode], np.ceil(high) + RESIZED[mode]
    if rows == size:  # onnxruntime may have copied it, however it is scaled
        first, last = np.minimum(first, row), np.maximum(last, row)
    return Window(
        axis=site.axis,
        first=np.clip(first, 0, size - 1).astype(np.int64),
        last=np.clip(last + 1, 1, size).astype(np.int64),
    )


def _scale(site: Site) -> float | None:
    """By how much the streamed axis grows; None where that is not known, or not told by the sizes."""
    if site.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    axes = [axis % len(site.input) for axis in site.attribute("axes", range(len(site.input)))]
    if site.axis not in axes:
        return 1.0
    if len(site.shapes) > 3 and site.node.input[3]:
        return site.output[site.axis] / site.rows
    scales = site.constants.get(2)
    return float(scales.ravel()[axes.index(site.axis)]) if scales is not None and scales.size else None


def _depth_to_space(site: Site) -> Window | None:
    if site.axis < 2:
        return _pointwise(site)
    first = np.arange(site.output[site.axis]) // site.attribute("blocksize", 1)
    return Window(axis=site.axis, first=first, last=first + 1)


def _space_to_depth(site: Site) -> Window | None:
    if site.axis < 2:
        return _pointwise(site)
    block = site.attribute("blocksize", 1)
    first = np.arange(site.output[site.axis]) * block
    return Window(axis=site.axis, first=first, last=first + block)


ROUNDED: Final = 1e-3
"""By how much single precision may move the place of a line; not at all where lines are multiplied."""
RESIZED: Final = {"nearest": 0, "linear": 0, "cubic": 1}
"""Lines that are needed before and behind those next to a place."""
NEAREST: Final[Mapping[str, Callable[[Places], Places]]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda place: np.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: np.floor(place + 0.5),
}
"""Which line is the nearest."""
PLACES: Final[Mapping[str, Callable[[Places, float, int, int], Places]]] = {
    "half_pixel": lambda row, scale, _rows, _size: (row + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda row, scale, rows, _size: (row + 0.5) / scale - 0.5 if rows > 1 else row,
    "asymmetric": lambda row, scale, _rows, _size: row / scale,
    "align_corners": lambda row, _scale, rows, size: row * ((size - 1) / (rows - 1)) if rows > 1 else row,
}
"""Where in the input each line of the output lies."""
_POINTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BiasGelu BitShift BitwiseAnd BitwiseNot
    BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp
    FastGelu Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual
    Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QuickGelu Reciprocal Relu Round Selu Shrink
    Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor
"""
POINTWISE: Final = frozenset(_POINTWISE.split())
"""Every value of the output comes from the values at its place, and from tensors that are repeated."""

_RULES: Final[Mapping[str, Callable[[Site], Window | None]]] = {
    **dict.fromkeys(POINTWISE, _pointwise),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pool),
    **dict.fromkeys(("BatchNormalization", "DequantizeLinear", "Expand", "QuantizeLinear"), _first_input),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization"), _over_space),
    "LRN": _over_channels,
    "Concat": _concat,
    "Transpose": _transpose,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(
        (
            f"Reduce{name}"
            for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
        ),
        _reduce,
    ),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("Hardmax", "LogSoftmax", "Softmax"), _softmax),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), _layer_norm),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
