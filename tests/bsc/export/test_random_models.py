"""The export of any model that compiles loads in onnxruntime and gives what the replay gives, bit for bit."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.testing import tiny_model
from tests.bsc.export.test_onnx_emulation import assert_same, with_converters
from tests.bsc.plans import model_plan

SUFFIXES = ("", "", "", "/whole", "/codes", "/sums", "/cast", "/adc-lsb", "/turned", "_2", "/whole_2")
"""Behind the names of operators, so that they meet those of an export's own operators."""

UNTOLD = ("com.microsoft", "GroupNormalization", "Sequence")
"""Operators whose sizes ONNX's inference does not tell; behind them products of integers do not compile."""


@dataclass
class Writer:
    """A model of feature maps (batch, channels, size, size), one block after another.

    Attributes:
        draw: from hypothesis.
        random: makes weights.
        body: operators so far, as text.
        weights: initialisers so far.
        names: of the operators so far.
        last: the newest feature map.
        shapes: (channels, size) of every feature map so far.
        opset: of the model.
    """

    draw: st.DrawFn
    random: np.random.Generator
    body: list[str] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    last: str = "x"
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    opset: int = 17

    def weight(self, *shape: int, dtype: str = "float32") -> str:
        name = f"w{len(self.weights)}"
        values = self.random.standard_normal(shape) / max(1, math.prod(shape[1:])) ** 0.5
        self.weights[name] = np.asarray(values * 80 if dtype == "int8" else values).clip(-127, 127).astype(dtype)
        return name

    def constant(self, value: Any) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.asarray(value)
        return name

    def op(self, call: str) -> str:
        """Append an operator; returns the name of its result."""
        index = len(self.body)
        other = f"o{self.draw(st.integers(0, index))}{self.draw(st.sampled_from(SUFFIXES))}"
        name = f"o{index}" if other in self.names else other
        self.names.add(name)
        self.body.append(f'["{name}"] t{index} = {call}')
        return f"t{index}"

    def has(self, *words: str) -> bool:
        """Whether an operator so far has one of these words."""
        return any(word in op for op in self.body for word in words)

    def done(self, name: str, channels: int, size: int) -> None:
        self.last = name
        self.shapes[name] = channels, size


def conv(writer: Writer) -> None:
    channels, size = writer.shapes[writer.last]
    groups = writer.draw(st.sampled_from([1, 1, channels]))
    filters = groups * writer.draw(st.integers(1, 2))
    w = writer.weight(filters, channels // groups, 3, 3)
    writer.done(writer.op(f"Conv <pads = [1, 1, 1, 1], group = {groups}> ({writer.last}, {w})"), filters, size)


def conv_transpose(writer: Writer) -> None:
    channels, size = writer.shapes[writer.last]
    if size > 8:
        return
    filters, kernel = writer.draw(st.integers(1, 3)), writer.draw(st.integers(1, 3))
    w = writer.weight(channels, filters, kernel, kernel)
    out = (size - 1) * 2 + kernel
    writer.done(writer.op(f"ConvTranspose <strides = [2, 2]> ({writer.last}, {w})"), filters, out)


def conv_integer(writer: Writer) -> None:
    channels, size = writer.shapes[writer.last]
    if writer.has(*UNTOLD):
        return
    filters = writer.draw(st.integers(1, 3))
    zero, scale = writer.constant(np.uint8(128)), writer.constant(np.float32(0.05))
    codes = writer.op(f"QuantizeLinear ({writer.last}, {scale}, {zero})")
    w = writer.weight(filters, channels, 1, 1, dtype="int8")
    sums = writer.op(f"ConvInteger ({codes}, {w}, {zero})")
    floats = writer.op(f"Cast <to = 1> ({sums})")
    writer.done(writer.op(f"Mul ({floats}, {writer.constant(np.float32(0.002))})"), filters, size)


def matmul_integer(writer: Writer) -> None:
    channels, size = writer.shapes[writer.last]
    if writer.has(*UNTOLD):
        return
    columns = writer.draw(st.integers(1, 4))
    turned = writer.op(f"Transpose <perm = [0, 2, 3, 1]> ({writer.last})")
    zero, scale = writer.constant(np.uint8(100)), writer.constant(np.float32(0.05))
    codes = writer.op(f"QuantizeLinear ({turned}, {scale}, {zero})")
    sums = writer.op(f"MatMulInteger ({codes}, {writer.weight(channels, columns, dtype='int8')}, {zero})")
    floats = writer.op(f"Cast <to = 1> ({sums})")
    scaled = writer.op(f"Mul ({floats}, {writer.constant(np.float32(0.002))})")
    writer.done(writer.op(f"Transpose <perm = [0, 3, 1, 2]> ({scaled})"), columns, size)


def shared_weights(writer: Writer) -> None:
    channels, size = writer.shapes[writer.last]
    w = writer.weight(channels, channels, 1, 1)
    first = writer.op(f"Conv ({writer.last}, {w})")
    bent = writer.op(f"Tanh ({first})")
    writer.done(writer.op(f"Conv ({bent}, {w})"), channels, size)


def branch(writer: Writer) -> None:
    """A run-time If, one branch of which has weights."""
    channels, size = writer.shapes[writer.last]
    index, x = len(writer.body), writer.last
    w = writer.weight(channels, channels, 1, 1)
    largest = writer.op(f"ReduceMax <keepdims = 0> ({x})")
    above = writer.op(f"Greater ({largest}, {writer.constant(np.float32(writer.draw(st.sampled_from([0.0, 1e9]))))})")
    then = f"then_branch = g{index} () => (float[] u{index}) {{ u{index} = Conv({x}, {w}) }}"
    other = f"else_branch = e{index} () => (float[] v{index}) {{ v{index} = Sigmoid({x}) }}"
    writer.done(writer.op(f"If ({above}) <{then}, {other}>"), channels, size)


def loop(writer: Writer) -> None:
    """A loop of digital operators whose number of runs is a constant, and is written out or not."""
    channels, size = writer.shapes[writer.last]
    index, count = len(writer.body), writer.constant(np.int64(writer.draw(st.integers(1, 3))))
    w = writer.weight(channels, channels, 1, 1)
    inner = f"k{index} = Identity(b{index})  m{index} = Conv(s{index}, {w})  r{index} = Tanh(m{index})"
    head = f"(int64 i{index}, bool b{index}, float[] s{index}) => (bool k{index}, float[] r{index})"
    writer.done(writer.op(f"Loop ({count}, , {writer.last}) <body = l{index} {head} {{ {inner} }}>"), channels, size)


def pointwise(writer: Writer) -> None:
    channels, size = writer.shapes[writer.last]
    call = writer.draw(st.sampled_from(["Relu", "Tanh", "Sigmoid", "Neg", "Softplus"]))
    writer.done(writer.op(f"{call} ({writer.last})"), channels, size)


def add_earlier(writer: Writer) -> None:
    shape = writer.shapes[writer.last]
    earlier = writer.draw(st.sampled_from([name for name, other in writer.shapes.items() if other == shape]))
    writer.done(writer.op(f"Add ({writer.last}, {earlier})"), *shape)


def fake_quantised(writer: Writer) -> None:
    zero, scale = writer.constant(np.uint8(128)), writer.constant(np.float32(0.03))
    codes = writer.op(f"QuantizeLinear ({writer.last}, {scale}, {zero})")
    writer.done(writer.op(f"DequantizeLinear ({codes}, {scale}, {zero})"), *writer.shapes[writer.last])


def group_normalization(writer: Writer) -> None:
    """ONNX's inference does not tell its type."""
    channels, size = writer.shapes[writer.last]
    if writer.opset < 21 or writer.has("Integer"):
        return
    groups = writer.draw(st.sampled_from([1, channels]))
    scale, bias = writer.weight(channels), writer.weight(channels)
    call = f"GroupNormalization <num_groups = {groups}> ({writer.last}, {scale}, {bias})"
    writer.done(writer.op(call), channels, size)


def microsoft(writer: Writer) -> None:
    """Of a domain that ONNX's inference does not know."""
    if writer.has("Integer"):
        return
    writer.done(writer.op(f"com.microsoft.FastGelu ({writer.last})"), *writer.shapes[writer.last])


def sequence(writer: Writer) -> None:
    """A sequence that is read behind a layer, and its first tensor in front of one."""
    channels, size = writer.shapes[writer.last]
    if channels == 1 or writer.has("Integer"):  # the size of one channel is known at run time only
        return
    parts = writer.op(f"SplitToSequence <axis = 1> ({writer.last}, {writer.constant(np.int64(1))})")
    first = writer.op(f"SequenceAt ({parts}, {writer.constant(np.int64(0))})")
    layer = writer.op(f"Conv ({first}, {writer.weight(channels, 1, 1, 1)})")
    whole = writer.op(f"ConcatFromSequence <axis = 1> ({parts})")
    writer.done(writer.op(f"Add ({layer}, {whole})"), channels, size)


BLOCKS: tuple[Callable[[Writer], None], ...] = (
    conv, conv_transpose, conv_integer, matmul_integer, shared_weights, branch, loop, pointwise, add_earlier,
    fake_quantised, group_normalization, microsoft, sequence,
)  # fmt: skip


@st.composite
def models(draw: st.DrawFn) -> tuple[onnx.ModelProto, NDArray[Any]]:
    """A model of some blocks with one to three outputs, and an input for it."""
    writer = Writer(draw, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    channels, size, batch = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    writer.shapes["x"] = channels, size
    writer.opset = draw(st.sampled_from([17, 21]))
    for block in [conv, *draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=6))]:
        block(writer)
    made = [name for name in writer.shapes if name != "x"]
    outputs = {writer.last, *draw(st.lists(st.sampled_from(made), max_size=2))}
    free = draw(st.booleans()) and not any(" If (" in op or " Loop (" in op for op in writer.body)
    heads = ", ".join(f"float[] {name}" for name in sorted(outputs))
    text = f"(float[{'N' if free else batch},{channels},{size},{size}] x) => ({heads}) {{ {'  '.join(writer.body)} }}"
    x = writer.random.standard_normal((batch, channels, size, size)).astype(np.float32)
    return tiny_model(text, writer.weights, opset=writer.opset, domains=("com.microsoft",)), x


@settings(deadline=None, max_examples=60)
@given(
    case=models(),
    policy=st.sampled_from(["lossless", "fixed=3"]),
    calibrated=st.booleans(),
)
def test_any_export_loads_and_equals_the_replay(
    case: tuple[onnx.ModelProto, NDArray[Any]], policy: str, *, calibrated: bool
) -> None:
    model, x = case
    with tempfile.TemporaryDirectory() as folder:
        plan = model_plan(model, Path(folder), policy=policy, calibration={"x": x} if calibrated else None)
        if policy != "lossless":
            plan = with_converters(plan, np.array([4, 3, 16, 0, 2]), np.array([3, 1, 2, 5, 4, 255, 1]))
        assert_same(plan, {"x": x}, optimised=False)  # fused digital operators round in other places
