"""Random small models and random ways to compile them, each from its number alone."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray
from onnx import helper, numpy_helper

XBARS = ("4x4", "8x4", "8x8", "12x6", "16x8", "16x32", "32x16", "64x64", "6x3")
HARDWARE = ("isaac", "isaac", "examples/hardware/smallest.toml", "puma", "isaac-se", "raella", "neurram")


@dataclass
class Model:
    """A model while it is written down.

    Attributes:
        random: of its weights and shapes.
        body: operators so far.
        weights: initialisers by name.
    """

    random: Random
    body: list[str] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)

    def weight(self, *shape: int) -> str:
        """Normal numbers, some rows and columns of a matrix of zeros, or few of them not."""
        generator = np.random.default_rng(self.random.randrange(1 << 32))
        values = generator.standard_normal(shape) * 2.0 ** self.random.randrange(-3, 3)
        kind = self.random.randrange(6)
        if kind == 0:
            values *= generator.random(shape) < 0.2
        if kind == 1:
            values = np.abs(values)
        if kind == 2 and len(shape) == 2:
            values[generator.random(shape[0]) < 0.4] = 0
            values[:, generator.random(shape[1]) < 0.3] = 0
        if kind == 3:
            values = np.round(values)
        return self.constant(values.astype(np.float32))

    def constant(self, values: NDArray[Any]) -> str:
        self.weights[name := f"w{len(self.weights)}"] = values
        return name

    def op(self, call: str) -> str:
        self.body.append(f"t{len(self.body)} = {call}")
        return f"t{len(self.body) - 1}"

    def activation(self, x: str) -> str:
        call = self.random.choice(["Relu", "Relu", "Tanh", "Sigmoid", "Neg", ""])
        return self.op(f"{call} ({x})") if call else x

    def done(self, x: str, head: str) -> onnx.ModelProto:
        text = f"random ({head} x) => (float[] {x}) {{ {' '.join(self.body)} }}"
        graph = onnx.parser.parse_graph(text)
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self.weights.items())
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets, True))


def mlp(model: Model) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """Gemm layers with or without bias, and one that is used twice."""
    first = width = model.random.randint(1, 24)
    x = "x"
    for _ in range(model.random.randint(1, 3)):
        out = model.random.randint(1, 12)
        bias = f", {model.constant(np.linspace(-1, 1, out, dtype=np.float32))}" if model.random.random() < 0.5 else ""
        x = model.activation(model.op(f"Gemm ({x}, {model.weight(width, out)}{bias})"))
        width = out
    if model.random.random() < 0.4:
        shared = model.weight(width, width)
        x = model.op(f"Add ({x}, {model.op(f'MatMul ({x}, {shared})')})")
        x = model.op(f"MatMul ({model.activation(x)}, {shared})")
    return model.done(x, f"float[N,{first}]"), (first,)


def conv(model: Model) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """Convolutions of any groups, strides, pads and dilations, in one to three dimensions, maybe around a residual."""
    random = model.random
    axes = random.choice([1, 2, 2, 2, 3])
    channels = first = random.choice([1, 2, 3, 4, 6])
    sizes = [random.randint(3, 6) if axes < 3 else 3 for _ in range(axes)]
    spatial, x = sizes, "x"
    for _ in range(random.randint(1, 2)):
        groups = random.choice([each for each in range(1, channels + 1) if channels % each == 0])
        filters = groups * random.randint(1, 3)
        kernel = [random.randint(1, min(3, size)) for size in spatial]
        strides = [random.randint(1, 2) for _ in spatial]
        dilations = [random.randint(1, 2) if (k - 1) * 2 < size else 1 for k, size in zip(kernel, spatial, strict=True)]
        before, after = ([random.randint(0, 1) for _ in spatial] for _ in range(2))
        w = model.weight(filters, channels // groups, *kernel)
        x = model.op(
            f"Conv <group = {groups}, strides = {strides}, dilations = {dilations}, pads = {before + after}> ({x}, {w})"
        )
        spatial = [
            (size + b + a - (k - 1) * d - 1) // s + 1
            for size, b, a, k, d, s in zip(spatial, before, after, kernel, dilations, strides, strict=True)
        ]
        channels = filters
        x = model.activation(x)
        if random.random() < 0.4:
            w = model.weight(channels, channels, *([1] * axes))
            x = model.op(f"Add ({x}, {model.op(f'Conv ({x}, {w})')})")
    if random.random() < 0.3:
        x = model.op(f"Flatten ({x})")
        x = model.op(f"Gemm ({x}, {model.weight(channels * int(np.prod(spatial)), random.randint(1, 5))})")
    return model.done(x, f"float[N,{','.join(map(str, [first, *sizes]))}]"), (first, *sizes)


def sequence(model: Model) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """MatMul over the last axis of a sequence, with a product of activations between."""
    random = model.random
    length, width, out = random.randint(1, 5), random.randint(1, 10), random.randint(1, 8)
    x = model.op(f"MatMul (x, {model.weight(width, out)})")
    x = model.activation(x)
    if random.random() < 0.5:
        turned = model.op(f"Transpose <perm = [0, 2, 1]> ({x})")
        x = model.op(f"MatMul ({model.op(f'MatMul ({x}, {turned})')}, {x})")
    x = model.op(f"MatMul ({x}, {model.weight(out, random.randint(1, 8))})")
    return model.done(x, f"float[N,{length},{width}]"), (length, width)


def integers(model: Model) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """A model that is quantised already, whose inputs have a zero point."""
    random = model.random
    width, out = random.randint(1, 16), random.randint(1, 8)
    zero = model.constant(np.array(random.randint(0, 255), np.uint8))
    scale = model.constant(np.array(random.choice([0.05, 0.1, 0.013]), np.float32))
    codes = model.op(f"QuantizeLinear (x, {scale}, {zero})")
    generator = np.random.default_rng(random.randrange(1 << 32))
    w = model.constant(generator.integers(-127, 128, (width, out)).astype(np.int8))
    sums = model.op(f"Cast <to = 1> ({model.op(f'MatMulInteger ({codes}, {w}, {zero})')})")
    x = model.op(f"Mul ({sums}, {model.constant(np.array(0.002, np.float32))})")
    return model.done(model.activation(x), f"float[N,{width}]"), (width,)


MODELS = {"mlp": mlp, "conv": conv, "sequence": sequence, "integers": integers}


@dataclass(frozen=True)
class Case:
    """One plan to be made.

    Attributes:
        number: what it follows from.
        kind: of the model, a key of `MODELS`.
        model: the model.
        inputs: samples of its input x, some of them far outside what it was calibrated on.
        calibration: samples to calibrate on.
        options: of `bsc compile`.
        altered: its ADCs are to be replaced by random ones.
    """

    number: int
    kind: str
    model: onnx.ModelProto
    inputs: NDArray[np.float32]
    calibration: NDArray[np.float32]
    options: tuple[str, ...]
    altered: bool


def case(seed: int, number: int) -> Case:
    """The case of that number."""
    random = Random(f"{seed} {number}")
    kind = random.choice([*MODELS, "mlp", "conv", "conv"])
    model, shape = MODELS[kind](Model(random))
    generator = np.random.default_rng(random.randrange(1 << 32))
    calibration = generator.standard_normal((6, *shape)).astype(np.float32)
    inputs = generator.standard_normal((3, *shape)).astype(np.float32)
    inputs[-1] *= 5
    inputs[0, ..., 0] = 0
    options, calibrated = _options(random)
    return Case(number, kind, model, inputs, calibration, (*options, *calibrated), random.random() < 0.3)


def _options(random: Random) -> tuple[list[str], list[str]]:
    """Random options, and a mark where calibration data are given."""
    found = ["--xbar", random.choice(XBARS), "--hw", random.choice(HARDWARE)]
    if random.random() < 0.25:
        return [*found[2:], "--passes", _pipeline(random)], ["--calib"] if random.random() < 0.5 else []
    encoding = random.choice(["differential", "differential", "offset", "centre"])
    adc = random.choice(["lossless", "lossless", "isaac", "fixed=3", "fixed=5", "calibrated", "calibrated=4", "raella"])
    if adc == "raella":
        return [*found, "--adc", adc], ["--calib"]
    found += ["--adc", adc, "--encoding", encoding]
    if encoding != "offset" and random.random() < 0.3:
        found += ["--subtract", "analog"]
    elif encoding != "differential" and random.random() < 0.4:
        found += ["--flip"]
    if random.random() < 0.3:
        wanted = [["4", "2", "2"], ["1", "2", "5"], ["3", "5"], ["2", "2", "1", "3"]][random.randrange(4)]
        found += ["--cut", "-".join(["1", *wanted] if encoding == "offset" else wanted)]
    rows = int(found[1].split("x")[0])
    if random.random() < 0.4:
        found += ["--active-rows", str(random.choice([each for each in range(1, rows + 1) if rows % each == 0]))]
    if random.random() < 0.3:
        found += ["--granularity", random.choice(["column", "tile", "slice"])]
    if random.random() < 0.3:
        found += ["--permute", random.choice(["sorted", "balanced", "none"])]
    return found, ["--calib"] if adc.startswith("calibrated") or random.random() < 0.5 else []


def _pipeline(random: Random) -> str:
    """Passes by hand: any bits of weights, cells, inputs and DACs."""
    bits, cell = random.randint(2, 9), random.randint(1, 4)
    rows = random.choice([4, 8, 16, 32])
    active = random.choice([each for each in (2, 4, 8, 16, 32) if rows % each == 0])
    encoding = random.choice(["differential", "offset", "centre"])
    slicing = f"bits-per-cell={cell} encoding={encoding} dac-bits={random.randint(1, 4)}"
    inputs, per = random.randint(2, 10), random.choice(["channel", "tensor"])
    cols, granularity = random.choice([3, 8, 16]), random.choice(["column", "tile", "slice"])
    passes = [
        "fold-batchnorm",
        f"quantize{{bits={bits} activation-bits={inputs} per={per}}}",
        "eliminate",
        random.choice(["permute", f"permute{{rows=balanced group-rows={active}}}", ""]),
        f"slice-bits{{{slicing}}}",
        f"tile{{rows={rows} cols={cols} active-rows={active}}}",
        f"assign-adc{{granularity={granularity}}}",
    ]
    return ",".join(filter(None, passes))
