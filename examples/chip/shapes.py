"""Well-known networks at 224x224 with random weights: what a chip does with a network follows from its shapes.

Weights are normal with the variance of He initialisation, from a fixed seed; batch normalisation is left out, since it
is folded anyway.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 224


class Net:
    """Collects nodes; every method adds one and returns the name of its result."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Any operator."""
        name = f"{op_type.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def weight(self, *shape: int) -> str:
        """A weight with its fan-in behind the first axis."""
        name = f"w{len(self.weights)}"
        values = self.random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x: str, ins: int, outs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> str:
        """A convolution that keeps the size of its input but for the stride."""
        weight = self.weight(outs, ins // groups, kernel, kernel)
        return self.op("Conv", x, weight, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)

    def linear(self, x: str, ins: int, outs: int) -> str:
        """A fully connected layer."""
        return self.op("Gemm", x, self.weight(outs, ins), transB=1)

    def model(self, y: str, classes: int = 1000) -> onnx.ModelProto:
        """The network that ends with `y`."""
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])
        logits = helper.make_tensor_value_info(y, TensorProto.FLOAT, ["N", classes])
        graph = helper.make_graph(self.nodes, "network", [image], [logits], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def resnet18() -> onnx.ModelProto:
    """ResNet-18 of He et al., CVPR 2016."""
    net = Net()
    x = _stem(net)
    ins = 64
    for outs, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        inner = net.op("Relu", net.conv(x, ins, outs, 3, stride=stride))
        inner = net.conv(inner, outs, outs, 3)
        skip = x if ins == outs else net.conv(x, ins, outs, 1, stride=stride)
        x, ins = net.op("Relu", net.op("Add", inner, skip)), outs
    return net.model(net.linear(_pooled(net, x), 512, 1000))


def resnet50() -> onnx.ModelProto:
    """ResNet-50 of He et al., CVPR 2016, with the stride in the 3x3 convolutions."""
    net = Net()
    x = _stem(net)
    ins = 64
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first if block == 0 else 1
            inner = net.op("Relu", net.conv(x, ins, width, 1))
            inner = net.op("Relu", net.conv(inner, width, width, 3, stride=stride))
            inner = net.conv(inner, width, 4 * width, 1)
            skip = x if ins == 4 * width else net.conv(x, ins, 4 * width, 1, stride=stride)
            x, ins = net.op("Relu", net.op("Add", inner, skip)), 4 * width
    return net.model(net.linear(_pooled(net, x), 2048, 1000))


def vgg16() -> onnx.ModelProto:
    """VGG-16 of Simonyan and Zisserman, 2014."""
    net = Net()
    x, ins = "image", 3
    for outs, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            x, ins = net.op("Relu", net.conv(x, ins, outs, 3)), outs
        x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.op("Flatten", x)
    x = net.op("Relu", net.linear(x, 25088, 4096))
    x = net.op("Relu", net.linear(x, 4096, 4096))
    return net.model(net.linear(x, 4096, 1000))


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNet-v2 of Sandler et al., CVPR 2018."""
    net = Net()
    x, ins = net.op("Clip", net.conv("image", 3, 32, 3, stride=2), *_six(net)), 32
    for expand, outs, blocks, first in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for block in range(blocks):
            stride, width = first if block == 0 else 1, ins * expand
            inner = x if expand == 1 else net.op("Clip", net.conv(x, ins, width, 1), *_six(net))
            inner = net.op("Clip", net.conv(inner, width, width, 3, stride=stride, groups=width), *_six(net))
            inner = net.conv(inner, width, outs, 1)
            x, ins = net.op("Add", inner, x) if ins == outs and stride == 1 else inner, outs
    x = net.op("Clip", net.conv(x, ins, 1280, 1), *_six(net))
    return net.model(net.linear(_pooled(net, x), 1280, 1000))


def squeezenet() -> onnx.ModelProto:
    """SqueezeNet 1.1 of Iandola et al., 2016."""
    net = Net()
    x, ins = net.op("Relu", net.conv("image", 3, 64, 3, stride=2)), 64
    for narrow, wide, pooled in (
        *((16, 64, True), (16, 64, False), (32, 128, True), (32, 128, False)),
        *((48, 192, True), (48, 192, False), (64, 256, False), (64, 256, False)),
    ):
        if pooled:
            x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
        squeezed = net.op("Relu", net.conv(x, ins, narrow, 1))
        x = net.op("Concat", *(net.conv(squeezed, narrow, wide, kernel) for kernel in (1, 3)), axis=1)
        x, ins = net.op("Relu", x), 2 * wide
    return net.model(_pooled(net, net.op("Relu", net.conv(x, ins, 1000, 1))))


def _stem(net: Net) -> str:
    x = net.op("Relu", net.conv("image", 3, 64, 7, stride=2))
    return net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def _pooled(net: Net, x: str) -> str:
    return net.op("Flatten", net.op("GlobalAveragePool", x))


def _six(net: Net) -> tuple[str, str]:
    """The bounds of ReLU6."""
    if not any(each.name == "six" for each in net.weights):
        net.weights += [
            numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("zero", 0), ("six", 6))
        ]
    return "zero", "six"


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "ResNet-18": resnet18,
    "ResNet-50": resnet50,
    "VGG-16": vgg16,
    "MobileNet-v2": mobilenet_v2,
}
