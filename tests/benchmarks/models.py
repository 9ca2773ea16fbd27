"""Large models with random weights: the shapes of ResNet-18 and VGG-19, 224x224 images, 1000 classes.

    python -m tests.benchmarks.models FOLDER

Layers are those of the papers [He et al. 2016, table 1; Simonyan and Zisserman 2015, table 1, network E], so
that ResNet-18 has 11.7 M parameters and VGG-19 143.7 M. Only standard operators of opset 17, weights inside the
file. Batch normalisations are left in for `fold-batchnorm`. The same call writes the same bytes.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IMAGE = (1, 3, 224, 224)
CLASSES = 1000
SEED = 0
IMAGE_NAME = "image"


class Builder:
    """A network in the making; every method adds an operator and returns the name of its result."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(SEED)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """An operator with one result."""
        name = f"{op_type}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op_type, inputs, [f"{name}/y"], name=name, **attributes))
        return f"{name}/y"

    def conv(self, x: str, channels: int, filters: int, *, kernel: int, stride: int = 1, bias: bool) -> str:
        """A square convolution that only its stride makes smaller."""
        operands = [x, self._weights(filters, channels, kernel, kernel)]
        if bias:
            operands.append(self._uniform(filters, -0.1, 0.1))
        pads = [kernel // 2] * 4
        return self.op("Conv", *operands, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def batch_norm(self, x: str, channels: int) -> str:
        """A batch normalisation whose factors differ from channel to channel."""
        scale, variance = self._uniform(channels, 0.5, 1.5), self._uniform(channels, 0.5, 1.5)
        shift, mean = self._uniform(channels, -0.1, 0.1), self._uniform(channels, -0.1, 0.1)
        return self.op("BatchNormalization", x, scale, shift, mean, variance)

    def linear(self, x: str, rows: int, columns: int) -> str:
        """A fully connected layer, stored as PyTorch exports it."""
        return self.op("Gemm", x, self._weights(columns, rows), self._uniform(columns, -0.1, 0.1), transB=1)

    def model(self, name: str, y: str) -> onnx.ModelProto:
        """The network that ends in `y`."""
        inputs = [helper.make_tensor_value_info(IMAGE_NAME, TensorProto.FLOAT, IMAGE)]
        outputs = [helper.make_tensor_value_info(y, TensorProto.FLOAT, (IMAGE[0], CLASSES))]
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))

    def _weights(self, *shape: int) -> str:
        """Normal numbers that keep the variance of what a Relu lets through."""
        values = self._random.standard_normal(shape, np.float32)
        values *= np.float32(math.sqrt(2 / math.prod(shape[1:])))
        return self._constant(values)

    def _uniform(self, size: int, low: float, high: float) -> str:
        return self._constant(self._random.uniform(low, high, size).astype(np.float32))

    def _constant(self, values: NDArray[np.float32]) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name


def resnet18() -> onnx.ModelProto:
    """20 convolutions without bias, each with a batch normalisation, and one fully connected layer."""
    net = Builder()
    x = net.op("Relu", _normalised_conv(net, IMAGE_NAME, 3, 64, kernel=7, stride=2))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for filters, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        x = _residual_block(net, x, channels, filters, stride)
        channels = filters
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model("resnet18", net.linear(x, channels, CLASSES))


def resnet50() -> onnx.ModelProto:
    """53 convolutions without bias, each with a batch normalisation, and one fully connected layer."""
    net = Builder()
    x = net.op("Relu", _normalised_conv(net, IMAGE_NAME, 3, 64, kernel=7, stride=2))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for filters, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            x = _bottleneck(net, x, channels, filters, 1 if block else stride)
            channels = 4 * filters
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model("resnet50", net.linear(x, channels, CLASSES))


def vgg19() -> onnx.ModelProto:
    """16 convolutions and 3 fully connected layers, all with bias."""
    net = Builder()
    x, channels = IMAGE_NAME, 3
    for filters, convolutions in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(convolutions):
            x = net.op("Relu", net.conv(x, channels, filters, kernel=3, bias=True))
            channels = filters
        x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.op("Relu", net.linear(net.op("Flatten", x), channels * 7 * 7, 4096))
    x = net.op("Relu", net.linear(x, 4096, 4096))
    return net.model("vgg19", net.linear(x, 4096, CLASSES))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {"resnet18": resnet18, "vgg19": vgg19}


def write_models(folder: Path) -> None:
    """Write each model to `folder / "NAME.onnx"`."""
    for name, make in MODELS.items():
        onnx.save(make(), folder / f"{name}.onnx")


def _normalised_conv(net: Builder, x: str, channels: int, filters: int, *, kernel: int, stride: int = 1) -> str:
    return net.batch_norm(net.conv(x, channels, filters, kernel=kernel, stride=stride, bias=False), filters)


def _residual_block(net: Builder, x: str, channels: int, filters: int, stride: int) -> str:
    inner = net.op("Relu", _normalised_conv(net, x, channels, filters, kernel=3, stride=stride))
    inner = _normalised_conv(net, inner, filters, filters, kernel=3)
    if channels != filters:
        x = _normalised_conv(net, x, channels, filters, kernel=1, stride=stride)
    return net.op("Relu", net.op("Add", inner, x))


def _bottleneck(net: Builder, x: str, channels: int, filters: int, stride: int) -> str:
    inner = net.op("Relu", _normalised_conv(net, x, channels, filters, kernel=1))
    inner = net.op("Relu", _normalised_conv(net, inner, filters, filters, kernel=3, stride=stride))
    inner = _normalised_conv(net, inner, filters, 4 * filters, kernel=1)
    if channels != 4 * filters:
        x = _normalised_conv(net, x, channels, 4 * filters, kernel=1, stride=stride)
    return net.op("Relu", net.op("Add", inner, x))


if __name__ == "__main__":
    write_models(Path(sys.argv[1]))
