"""The windows of operators, judged by onnxruntime: rows of an input are replaced, and what changes is looked at."""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.random import Generator
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bsc.chip import windows
from bsc.chip.windows import Site, Window, window_of
from bsc.execution.session import quiet_session

DRAWS = 3
"""How often a row is replaced: once may change nothing, where only a maximum is read."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """One operator, and the input that is streamed.

    Attributes:
        op: type of the operator.
        inputs: arrays by position; None where an optional one is left out.
        axis: that the streamed input is streamed over.
        position: of the streamed input.
        constants: positions of inputs that are constants.
        attributes: of the operator.
        outputs: of the operator; the last of them is looked at.
        exact: the window is the smallest one that is possible; otherwise it may be larger by `slack` on each side.
        slack: rows.
        or_none: nothing may be said of it.
        opset: of ONNX's own operators.
        domain: of the operator.
    """

    op: str
    inputs: Sequence[Any]
    axis: int
    position: int = 0
    constants: Sequence[int] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    exact: bool = True
    slack: int = 0
    or_none: bool = False
    opset: int = 21
    domain: str = ""

    def session(self) -> tuple[onnx.NodeProto, Any]:
        names = ["" if array is None else f"x{at}" for at, array in enumerate(self.inputs)]
        node = helper.make_node(
            self.op, names, [f"y{at}" for at in range(self.outputs)], domain=self.domain, **self.attributes
        )
        given = [(name, array) for name, array in zip(names, self.inputs, strict=True) if array is not None]
        fixed = {f"x{at}" for at in self.constants}
        kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in given}
        free = [(name, array) for name, array in given if name not in fixed]
        graph = helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info(name, kinds[name], array.shape) for name, array in free],
            [helper.make_empty_tensor_value_info(f"y{self.outputs - 1}")],
            [numpy_helper.from_array(array, name) for name, array in given if name in fixed],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(self.domain, 1)] if self.domain else []
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return node, quiet_session(model.SerializeToString(), as_written=True)

    def feeds(self) -> dict[str, NDArray[Any]]:
        return {
            f"x{at}": array for at, array in enumerate(self.inputs) if array is not None and at not in self.constants
        }

    def streamed(self) -> NDArray[Any]:
        array: NDArray[Any] = self.inputs[self.position]
        return array


@dataclass(frozen=True, eq=False)
class Judged:
    """A window, and which rows of the input (columns) really change which rows of the output (rows)."""

    window: Window | None
    changes: NDArray[np.bool_]


def judged(case: Case, rng: Generator) -> Judged:
    """The window that the rule has, beside what onnxruntime computes."""
    node, session = case.session()
    feeds, name, array = case.feeds(), f"x{case.position}", case.streamed()
    (before,) = session.run(None, feeds)
    window = window_of(
        Site(
            node=node,
            position=case.position,
            axis=case.axis,
            shapes=[None if each is None else each.shape for each in case.inputs],
            output=before.shape,
            constants={at: np.asarray(case.inputs[at]) for at in case.constants},
            opset=case.opset,
            number=case.outputs - 1,
        )
    )
    if window is None:
        return Judged(None, np.zeros((0, 0), np.bool_))
    rows = array.shape[case.axis]
    changes = np.zeros((before.shape[window.axis], rows), np.bool_)
    for row in range(rows):
        for _ in range(DRAWS):
            other = np.moveaxis(array.copy(), case.axis, 0)
            other[row] = like(rng, array, other[row].shape)
            feeds[name] = np.ascontiguousarray(np.moveaxis(other, 0, case.axis))
            (after,) = session.run(None, feeds)
            with np.errstate(invalid="ignore"):
                differs = ~((after == before) | ((after != after) & (before != before)))  # noqa: PLR0124
            changes[:, row] |= np.moveaxis(differs, window.axis, 0).reshape(len(changes), -1).any(axis=1)
    return Judged(window, changes)


def like(rng: Generator, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Other values of the same kind and range."""
    if array.dtype == np.bool_:
        return rng.random(shape) < 0.5
    if np.issubdtype(array.dtype, np.integer):
        whole: NDArray[Any] = rng.integers(array.min(), int(array.max()) + 2, shape).astype(array.dtype)
        return whole
    if not np.isfinite(array).all():
        return np.asarray(rng.choice([0, np.inf, np.nan], shape), array.dtype)
    low, high = float(array.min()), float(array.max())
    span = high - low or 1.0
    return rng.uniform(low - span * (low < 0) / 2, high + span / 2, shape).astype(array.dtype)


def assert_covers(case: Case, found: Judged) -> None:
    """Never less than what has an influence, and no more where the case says so."""
    window, what = found.window, f"{case.op} {dict(case.attributes)} {[np.shape(each) for each in case.inputs]}"
    if window is None:
        assert case.or_none, what
        return
    rows, size = found.changes.shape
    assert window.first.shape == window.last.shape == (rows,), what
    assert np.all(np.diff(window.first) >= 0), what
    assert np.all(np.diff(window.last) >= 0), what
    assert np.all((window.first >= 0) & (window.first <= window.last) & (window.last <= size)), what
    some = found.changes.any(axis=1)
    first = np.where(some, found.changes.argmax(axis=1), size)
    last = np.where(some, size - found.changes[:, ::-1].argmax(axis=1), 0)
    assert np.all(window.first[some] <= first[some]), f"{what}: {window.first} is not down to {first}"
    assert np.all(window.last[some] >= last[some]), f"{what}: {window.last} is not up to {last}"
    if case.exact:
        lowest = np.minimum.accumulate(first[::-1])[::-1]  # windows never fall
        highest = np.maximum.accumulate(last)
        assert np.all(window.first[some] >= lowest[some] - case.slack), f"{what}: {window.first} for {first}"
        assert np.all(window.last <= highest + case.slack), f"{what}: {window.last} for {last}"


def floats(rng: Generator, *shape: int, low: float = -2.0, high: float = 2.0) -> NDArray[np.float32]:
    return rng.uniform(low, high, shape).astype(np.float32)


def shape_of(rng: Generator, rank: int | None = None, *, most: int = 5) -> tuple[int, ...]:
    return tuple(int(size) for size in rng.integers(2, most + 1, rank or int(rng.integers(1, 5))))


def axis_of(rng: Generator, shape: Sequence[int], *but: int) -> int:
    return int(rng.choice([axis for axis in range(len(shape)) if axis not in but]))


Make = Callable[[Generator], Case]

# --- every value of the output from the values at its place ---

ANGLES = {"Acos": (-0.9, 0.9), "Asin": (-0.9, 0.9), "Atanh": (-0.9, 0.9), "Acosh": (1.1, 4.0)}
POSITIVE = dict.fromkeys(("Log", "Sqrt", "Reciprocal", "Pow"), (0.5, 4.0)) | ANGLES
WHOLE = {"BitShift": np.uint8} | dict.fromkeys(("BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"), np.int32)
TRUTH = {"And", "Not", "Or", "Xor"}
COMPARED = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
ADDED = {"Add", "Div", "Max", "Mean", "Min", "Mod", "Mul", "PRelu", "Pow", "Sub", "Sum", "BiasGelu", "FastGelu"}
TWO = COMPARED | ADDED | (TRUTH | WHOLE.keys()) - {"Not", "BitwiseNot"}
MICROSOFT = {"BiasGelu", "FastGelu", "QuickGelu"}
FIXED_ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "BitShift": {"direction": "LEFT"},
    "Cast": {"to": TensorProto.FLOAT16},
    "Mod": {"fmod": 1},
}
STEPS = {"Mod", "Max", "Min", "ThresholdedRelu", "Ceil", "Floor", "Round", "Sign", "IsInf", "IsNaN", "HardSigmoid"}
"""Whose output may stay the same although the input changes."""


def pointwise(op: str) -> Make:
    """Tensors of the same shape, or one that is repeated along some axes of the other."""

    def values(rng: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        if op in WHOLE:
            return rng.integers(0, 6, shape).astype(WHOLE[op])
        if op in TRUTH:
            return rng.random(shape) < 0.5
        low, high = POSITIVE.get(op, (-9.0, 9.0) if op in STEPS else (-2.0, 2.0))
        array = floats(rng, *shape, low=low, high=high)
        if op in ("IsInf", "IsNaN"):
            array[rng.random(shape) < 0.3] = np.inf if op == "IsInf" else np.nan
        return array

    def make(rng: Generator) -> Case:
        shape = shape_of(rng)
        inputs: list[NDArray[Any] | None] = [values(rng, shape)]
        position = 0
        if op in TWO:
            other = shape[int(rng.integers(len(shape))) :] if op not in MICROSOFT else shape[-1:]
            other = tuple(1 if rng.random() < 0.3 and op not in MICROSOFT else size for size in other)
            inputs.append(values(rng, other))
            if rng.random() < 0.5 and op not in ("PRelu", *MICROSOFT):
                inputs.reverse()
                position = 1
        if op in MICROSOFT and len(shape) < 2:
            return make(rng)
        axis = axis_of(rng, shape)
        domain = "com.microsoft" if op in MICROSOFT else ""
        return Case(
            op=op,
            inputs=inputs,
            axis=axis,
            position=position,
            or_none=len(inputs) == 2,
            attributes=FIXED_ATTRIBUTES.get(op, {}),
            domain=domain,
            exact=op not in STEPS | TRUTH | COMPARED | WHOLE.keys(),
        )

    return make


def batch_normalization(rng: Generator) -> Case:
    shape = shape_of(rng, int(rng.integers(2, 5)))
    channels = [floats(rng, shape[1], low=0.5) for _ in range(4)]
    return Case(op="BatchNormalization", inputs=[floats(rng, *shape), *channels], axis=axis_of(rng, shape))


def clip(rng: Generator) -> Case:
    shape = shape_of(rng)
    limits = [np.asarray(-1.5, np.float32), np.asarray(1.5, np.float32)]
    return Case(op="Clip", inputs=[floats(rng, *shape), *limits], axis=axis_of(rng, shape))


def cast_like(rng: Generator) -> Case:
    shape = shape_of(rng)
    inputs = [floats(rng, *shape), np.zeros(1, np.float64)]
    return Case(op="CastLike", inputs=inputs, axis=axis_of(rng, shape))


def expand(rng: Generator) -> Case:
    shape = shape_of(rng)
    axis = axis_of(rng, shape)
    wide = np.array([2, *shape], np.int64)
    thin = tuple(size if at == axis or rng.random() < 0.5 else 1 for at, size in enumerate(shape))
    return Case(op="Expand", inputs=[floats(rng, *thin), wide], axis=axis, constants=[1])


def where(rng: Generator) -> Case:
    shape = shape_of(rng)
    inputs = [rng.random(shape) < 0.5, floats(rng, *shape), floats(rng, *shape[-1:])]
    return Case(op="Where", inputs=inputs, axis=axis_of(rng, shape), position=int(rng.integers(2)), exact=False)


def quantize(rng: Generator) -> Case:
    shape = shape_of(rng)
    inputs = [floats(rng, *shape), np.asarray(0.01, np.float32), np.asarray(3, np.uint8)]
    return Case(op="QuantizeLinear", inputs=inputs, axis=axis_of(rng, shape), exact=False)


def dequantize(rng: Generator) -> Case:
    shape = shape_of(rng)
    inputs = [rng.integers(0, 256, shape).astype(np.uint8), np.asarray(0.1, np.float32)]
    return Case(op="DequantizeLinear", inputs=inputs, axis=axis_of(rng, shape))


# --- windows that slide ---


def pool(op: str) -> Make:
    def make(rng: Generator) -> Case:
        spatial = int(rng.integers(1, 4))
        shape = (*shape_of(rng, 2, most=3), *(int(size) for size in rng.integers(5, 9, spatial)))
        kernel = [int(size) for size in rng.integers(1, 4, spatial)]
        strides = [int(each) for each in rng.integers(1, 4, spatial)]
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
        dilations = [1] * spatial
        if op != "LpPool" and rng.random() < 0.4:
            attributes["dilations"] = dilations = [int(rng.integers(1, 3)) for _ in kernel]
        how = rng.choice(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "plain"])
        if how == "NOTSET":
            attributes["pads"] = [int(rng.integers(size)) for size in kernel * 2]
            if rng.random() < 0.5:
                attributes["ceil_mode"] = 1
        elif how != "plain":
            attributes["auto_pad"] = str(how)
            attributes["strides"] = np.minimum(strides, kernel).tolist()
        axis = 2 if rng.random() < 0.8 else axis_of(rng, shape)
        return Case(
            op=op,
            inputs=[floats(rng, *shape)],
            axis=axis,
            attributes=attributes,
            slack=max(dilations) - 1,
            or_none=max(dilations) > 1 and how in ("SAME_UPPER", "SAME_LOWER"),
        )

    return make


def over_space(op: str) -> Make:
    def make(rng: Generator) -> Case:
        shape = shape_of(rng, int(rng.integers(3, 6)))
        return Case(op=op, inputs=[floats(rng, *shape)], axis=int(rng.integers(2)))

    return make


def instance_normalization(rng: Generator) -> Case:
    shape = shape_of(rng, int(rng.integers(3, 5)))
    scales = [floats(rng, shape[1], low=0.5), floats(rng, shape[1])]
    return Case(op="InstanceNormalization", inputs=[floats(rng, *shape), *scales], axis=int(rng.integers(2)))


def lrn(rng: Generator) -> Case:
    shape = shape_of(rng, 4)
    attributes = {"size": 3, "alpha": 0.5}
    return Case(op="LRN", inputs=[floats(rng, *shape)], axis=axis_of(rng, shape, 1), attributes=attributes)


# --- rows that change places ---


def concat(rng: Generator) -> Case:
    shape = shape_of(rng)
    along, position = int(rng.integers(len(shape))), int(rng.integers(3))
    parts: list[NDArray[Any] | None] = []
    for _ in range(3):
        size = int(rng.integers(1, 4))
        parts.append(floats(rng, *shape[:along], size, *shape[along + 1 :]))
    axis = axis_of(rng, shape)
    given = along - len(shape) if rng.random() < 0.5 else along
    return Case(op="Concat", inputs=parts, axis=axis, position=position, attributes={"axis": given})


def transpose(rng: Generator) -> Case:
    shape = shape_of(rng)
    perm = {"perm": [int(each) for each in rng.permutation(len(shape))]} if rng.random() < 0.8 else {}
    return Case(op="Transpose", inputs=[floats(rng, *shape)], axis=axis_of(rng, shape), attributes=perm)


def reshape(rng: Generator) -> Case:
    before, after = shape_of(rng, int(rng.integers(1, 3)))[1:], shape_of(rng, 2)
    rows, inner = int(rng.choice([2, 4, 6])), math.prod(after)
    ways: list[list[int]] = [[rows // 2, 2, inner], [rows, inner], [rows * after[0], after[1]]]
    target = [*before, *([1] if rng.random() < 0.3 else []), *ways[int(rng.integers(3))]]
    inputs = [floats(rng, *before, rows, *after), np.array(target, np.int64)]
    return Case(op="Reshape", inputs=inputs, axis=len(before), constants=[1])


def flatten(rng: Generator) -> Case:
    shape = shape_of(rng, int(rng.integers(2, 5)))
    cut = int(rng.integers(1, len(shape)))
    axis = 0 if rng.random() < 0.5 else cut
    return Case(op="Flatten", inputs=[floats(rng, *shape)], axis=axis, attributes={} if cut == 1 else {"axis": cut})


def squeeze(rng: Generator) -> Case:
    shape = shape_of(rng, 3)
    at = int(rng.integers(4))
    thin = (*shape[:at], 1, *shape[at:])
    axis = axis_of(rng, thin, at)
    return Case(op="Squeeze", inputs=[floats(rng, *thin), np.array([at], np.int64)], axis=axis, constants=[1])


def unsqueeze(rng: Generator) -> Case:
    shape = shape_of(rng, 3)
    axes = np.array([0, int(rng.integers(1, 5))], np.int64)
    return Case(op="Unsqueeze", inputs=[floats(rng, *shape), axes], axis=axis_of(rng, shape), constants=[1])


def pad(rng: Generator) -> Case:
    shape = shape_of(rng, most=6)
    axis = axis_of(rng, shape)
    mode = str(rng.choice(["constant", "reflect", "edge"]))
    low = -1 if rng.random() < 0.3 else 0
    pads = np.zeros((2, len(shape)), np.int64)
    for at, size in enumerate(shape):
        pads[:, at] = rng.integers(low if size > 3 else 0, max(size - 1, 1) if size > 2 else 1, 2)
    inputs = [floats(rng, *shape), pads.ravel()]
    return Case(op="Pad", inputs=inputs, axis=axis, constants=[1], attributes={"mode": mode})


def slice_(rng: Generator) -> Case:
    shape = shape_of(rng, most=8)
    axes = rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))]
    starts = [int(rng.integers(-shape[axis], shape[axis])) for axis in axes]
    steps = [int(rng.integers(1, 4)) for _ in axes]
    inputs: list[NDArray[Any] | None] = [floats(rng, *shape)]
    inputs += [np.array(each, np.int64) for each in (starts, [1 << 40] * len(axes), axes, steps)]
    return Case(op="Slice", inputs=inputs, axis=axis_of(rng, shape), constants=[1, 2, 3, 4])


def gather(rng: Generator) -> Case:
    shape = shape_of(rng, int(rng.integers(2, 5)))
    axis = int(rng.integers(len(shape)))
    indices = rng.integers(-shape[axis], shape[axis], shape_of(rng, int(rng.integers(1, 4)))[1:])
    return Case(
        op="Gather",
        inputs=[floats(rng, *shape), np.asarray(indices, np.int64)],
        axis=axis if rng.random() < 0.5 else axis_of(rng, shape, axis),
        constants=[1],
        attributes={"axis": axis},
        exact=False,
    )


def split(rng: Generator) -> Case:
    shape = shape_of(rng, int(rng.integers(2, 5)))
    axis = int(rng.integers(len(shape)))
    outputs = int(rng.integers(1, shape[axis] + 1))
    parts = rng.multinomial(shape[axis] - outputs, [1 / outputs] * outputs) + 1
    way, size = rng.random(), -(-shape[axis] // outputs)
    inputs: list[NDArray[Any]] = [floats(rng, *shape)]
    given: dict[str, Any] = {}
    if way < 0.3 and size * (outputs - 1) < shape[axis]:
        given["num_outputs"] = outputs
    elif way < 0.6:
        given["split"] = parts.tolist()
    else:
        inputs.append(parts)
    return Case(
        op="Split",
        inputs=inputs,
        axis=int(rng.integers(len(shape))),
        constants=range(1, len(inputs)),
        attributes={"axis": axis, **given},
        outputs=outputs,
        opset=12 if "split" in given else 21,
    )


def blocks(op: str) -> Make:
    def make(rng: Generator) -> Case:
        block = int(rng.integers(1, 4))
        n, c, h, w = (int(size) for size in rng.integers(1, 4, 4))
        shape = (n, c * block * block, h + 1, w) if op == "DepthToSpace" else (n, c, (h + 1) * block, w * block)
        attributes: dict[str, Any] = {"blocksize": block}
        if op == "DepthToSpace" and rng.random() < 0.5:
            attributes["mode"] = "CRD"
        return Case(op=op, inputs=[floats(rng, *shape)], axis=int(rng.choice([0, 2, 3])), attributes=attributes)

    return make


# --- reductions and products ---


def reduce(op: str) -> Make:
    def make(rng: Generator) -> Case:
        shape = shape_of(rng, int(rng.integers(2, 5)))
        axes = rng.permutation(len(shape))[: int(rng.integers(1, len(shape)))]
        given = np.array([axis - len(shape) if rng.random() < 0.5 else axis for axis in axes], np.int64)
        keep = {} if rng.random() < 0.5 else {"keepdims": 0}
        positive = floats(rng, *shape, low=0.5, high=3)
        if rng.random() < 0.3:  # as an attribute, like in old opsets
            return Case(
                op=op,
                inputs=[positive],
                axis=axis_of(rng, shape, *axes),
                attributes=keep | {"axes": given.tolist()},
                opset=12,
            )
        return Case(op=op, inputs=[positive, given], axis=axis_of(rng, shape, *axes), constants=[1], attributes=keep)

    return make


def arg(op: str) -> Make:
    def make(rng: Generator) -> Case:
        shape = shape_of(rng, int(rng.integers(2, 5)))
        axis = int(rng.integers(len(shape)))
        attributes = {"axis": axis} | ({} if rng.random() < 0.5 else {"keepdims": 0})
        return Case(
            op=op, inputs=[floats(rng, *shape)], axis=axis_of(rng, shape, axis), attributes=attributes, exact=False
        )

    return make


def softmax(op: str) -> Make:
    def make(rng: Generator) -> Case:
        shape = shape_of(rng, int(rng.integers(2, 5)))
        axis, opset = int(rng.integers(1, len(shape))), int(rng.choice([11, 13]))
        mixed = [axis] if opset >= 13 else list(range(axis, len(shape)))
        return Case(
            op=op,
            inputs=[floats(rng, *shape)],
            axis=axis_of(rng, shape, *mixed),
            attributes={"axis": axis - len(shape) if rng.random() < 0.5 else axis},
            opset=opset,
            exact=op != "Hardmax",
        )

    return make


def layer_norm(op: str) -> Make:
    def make(rng: Generator) -> Case:
        shape = shape_of(rng, int(rng.integers(2, 5)))
        axis = int(rng.integers(1, len(shape)))
        scale = floats(rng, *shape[axis:], low=0.5)
        attributes: dict[str, Any] = {"axis": axis - len(shape) if rng.random() < 0.5 else axis}
        position = int(rng.random() < 0.3)
        return Case(
            op=op,
            inputs=[floats(rng, *shape), scale],
            axis=axis_of(rng, scale.shape if position else shape[:axis]),
            position=position,
            or_none=position == 1,
            attributes=attributes,
            opset=17 if op == "LayerNormalization" else 23,
        )

    return make


def matmul(rng: Generator) -> Case:
    batch = shape_of(rng, int(rng.integers(1, 4)))[1:]
    m, k, n = shape_of(rng, 3)
    m = batch[0] if batch and rng.random() < 0.4 else m
    position = int(rng.integers(2)) if batch else 0
    shapes: list[tuple[int, ...]] = [(*batch, m, k), (*batch, k, n)]
    other = rng.random()
    if other < 0.3:  # the other factor has no matrices of its own
        shapes[1 - position] = shapes[1 - position][-2:]
    elif other < 0.6 and len(batch) + 1 - position > 0:  # or is a vector
        shapes[1 - position] = (k,)
    axis = int(rng.integers(len(batch) + 1 - position)) if batch or not position else 0
    return Case(op="MatMul", inputs=[floats(rng, *shape) for shape in shapes], axis=axis, position=position)


def gemm(rng: Generator) -> Case:
    m, k, n = shape_of(rng, 3)
    down, across = int(rng.integers(2)), int(rng.integers(2))
    c = (m, n) if rng.random() < 0.5 else (m, 1)
    position = int(rng.choice([0, 2]))
    inputs = [floats(rng, *(k, m) if down else (m, k)), floats(rng, *(n, k) if across else (k, n)), floats(rng, *c)]
    attributes = {"transA": down, "transB": across}
    return Case(op="Gemm", inputs=inputs, axis=down if position == 0 else 0, position=position, attributes=attributes)


def resize(rng: Generator) -> Case:
    shape = (1, 2, *(int(size) for size in rng.integers(1, 14, 2)))
    mode = str(rng.choice(["nearest", "linear", "cubic"]))
    how = str(rng.choice(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]))
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": how}
    if mode == "nearest":
        attributes["nearest_mode"] = str(rng.choice(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]))
    sizes: list[NDArray[Any] | None] = [None, None]
    if rng.random() < 0.5:
        sizes[1] = np.array([1, 2, *rng.integers(1, 20, 2)], np.int64)
    else:
        sizes[0] = np.array([1, 1, *(max(rng.uniform(0.1, 3), 1.01 / size) for size in shape[2:])], np.float32)
    inputs = [floats(rng, *shape), None, sizes[0]] + ([sizes[1]] if sizes[1] is not None else [])
    constants = [at for at, each in enumerate(inputs) if at and each is not None]
    return Case(op="Resize", inputs=inputs, axis=2, constants=constants, attributes=attributes, slack=2)


CASES: dict[str, Make] = {
    **{op: pointwise(op) for op in windows.POINTWISE},
    "BatchNormalization": batch_normalization,
    "CastLike": cast_like,
    "Clip": clip,
    "DequantizeLinear": dequantize,
    "Expand": expand,
    "QuantizeLinear": quantize,
    "Where": where,
    **{op: pool(op) for op in ("AveragePool", "LpPool", "MaxPool")},
    **{op: over_space(op) for op in ("GlobalAveragePool", "GlobalMaxPool")},
    "InstanceNormalization": instance_normalization,
    "LRN": lrn,
    "Concat": concat,
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Pad": pad,
    "Slice": slice_,
    "Gather": gather,
    "Split": split,
    **{op: blocks(op) for op in ("DepthToSpace", "SpaceToDepth")},
    **{op: reduce(op) for op in windows._RULES if op.startswith("Reduce")},
    **{op: arg(op) for op in ("ArgMax", "ArgMin")},
    **{op: softmax(op) for op in ("Hardmax", "LogSoftmax", "Softmax")},
    **{op: layer_norm(op) for op in ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")},
    "MatMul": matmul,
    "Gemm": gemm,
    "Resize": resize,
}
RUNS = {"Resize": 60, "MatMul": 30, "MaxPool": 30, "Pad": 30}
RUNS |= dict.fromkeys(("AveragePool", "LpPool", "Slice", "Split", "Gather", "Reshape"), 20)


@pytest.mark.parametrize("op", sorted(windows._RULES))
def test_a_window_holds_every_row_that_changes_the_output_and_hardly_more(op: str) -> None:
    rng = np.random.default_rng(zlib.crc32(op.encode()))
    for _ in range(RUNS.get(op, 2 if op in windows.POINTWISE else 8)):
        case = CASES[op](rng)
        assert_covers(case, judged(case, rng))


def nothing(case: Case) -> bool:
    return judged(case, np.random.default_rng(0)).window is None


def ones(*shape: int) -> NDArray[np.float32]:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    "case",
    [
        Case(op="Softmax", inputs=[ones(2, 3, 4)], axis=1, attributes={"axis": 1}),
        Case(op="Softmax", inputs=[ones(2, 3, 4)], axis=2, attributes={"axis": 1}, opset=11),
        Case(op="LayerNormalization", inputs=[ones(2, 3, 4), ones(3, 4)], axis=1, attributes={"axis": -2}),
        Case(op="LRN", inputs=[ones(1, 4, 3, 3)], axis=1, attributes={"size": 3}),
        Case(op="GlobalAveragePool", inputs=[ones(1, 2, 4, 4)], axis=2),
        Case(op="InstanceNormalization", inputs=[ones(1, 3, 4, 3), ones(3), ones(3)], axis=3),
        Case(op="InstanceNormalization", inputs=[ones(1, 3, 4, 3), ones(3), ones(3)], axis=0, position=1),
        Case(op="BatchNormalization", inputs=[ones(1, 3, 4, 3), *[ones(3)] * 4], axis=0, position=1),
        Case(op="ReduceSum", inputs=[ones(2, 3)], axis=1),
        Case(op="ReduceSum", inputs=[ones(2, 3), np.zeros(0, np.int64)], axis=1, constants=[1]),
        Case(op="ReduceSum", inputs=[ones(2, 3), np.array([1])], axis=0),
        Case(op="ArgMax", inputs=[ones(3, 2)], axis=0),
        Case(op="MatMul", inputs=[ones(2, 3), ones(3, 3)], axis=0, position=1),
        Case(op="MatMul", inputs=[ones(2, 3), ones(3, 3)], axis=1),
        Case(op="Gemm", inputs=[ones(2, 3), ones(3, 2)], axis=1),
        Case(op="Gather", inputs=[ones(3, 3), np.array([2, 0, 1])], axis=0),
        Case(
            op="Slice",
            inputs=[ones(4), *(np.array([each]) for each in (-1, -9, 0, -1))],
            axis=0,
            constants=[1, 2, 3, 4],
        ),
        Case(op="Slice", inputs=[ones(4, 4), *(np.array([each]) for each in (1, 3, 1))], axis=0, constants=[1, 2]),
        Case(op="Pad", inputs=[ones(4), np.array([1, 1])], axis=0, constants=[1], attributes={"mode": "wrap"}),
        Case(op="Pad", inputs=[ones(4), np.array([1, 1])], axis=0),
        Case(op="Split", inputs=[ones(4, 2), np.array([2, 2])], axis=0, outputs=2),
        Case(op="Reshape", inputs=[ones(2, 6, 2), np.array([4, 6])], axis=1, constants=[1]),
        Case(op="Expand", inputs=[ones(1, 2), np.array([3, 2])], axis=0, constants=[1]),
        Case(op="Resize", inputs=[ones(1, 1, 4, 4), None, ones(4)], axis=2),
        Case(op="CumSum", inputs=[ones(4, 2), np.array(1)], axis=0, constants=[1]),
    ],
    ids=lambda case: f"{case.op} of axis {case.axis}, input {case.position}",
)
def test_of_what_mixes_rows_nothing_is_said(case: Case) -> None:
    assert nothing(case)


def rows_of(window: Window | None) -> list[list[int]]:
    assert window is not None
    return [list(range(first, last)) for first, last in zip(window.first, window.last, strict=True)]


def test_a_window_of_3_with_stride_2_and_padding_by_hand() -> None:
    assert rows_of(windows.sliding(2, 3, 5, (3, 2, 1, 1))) == [[0, 1], [1, 2, 3], [3, 4]]


def test_a_padded_row_needs_nothing_and_a_reflected_one_what_is_mirrored() -> None:
    inputs, rng = [ones(3), np.array([2, 1])], np.random.default_rng(0)
    padded = judged(Case(op="Pad", inputs=inputs, axis=0, constants=[1]), rng)
    assert rows_of(padded.window) == [[], [], [0], [1], [2], []]
    mirrored = judged(Case(op="Pad", inputs=inputs, axis=0, constants=[1], attributes={"mode": "reflect"}), rng)
    assert [rows[-1] for rows in rows_of(mirrored.window)] == [2] * 6  # row 0 of the output is row 2 of the input


def test_a_row_that_is_made_smaller_tenfold_reaches_the_last_line() -> None:
    scales = [ones(1, 1, 100, 2), None, np.array([1, 1, 0.1, 1], np.float32)]
    attributes = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    case = Case(op="Resize", inputs=scales, axis=2, constants=[2], attributes=attributes)
    assert rows_of(judged(case, np.random.default_rng(0)).window)[-1][-1] == 99
