"""Steps of an inference as [Li, Han and Chen, TODAES 29(1), 2023, doi 10.1145/3631523] count them (algorithm 1).

In a step each of the R copies of a layer gives one place of its output, line after line. A layer starts when the places
that its first R windows cover are there, pooling in between included, and may wait for a layer further back that long.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ConvPool:
    """A convolution over square maps and the pooling behind it.

    Attributes:
        inputs: channels.
        outputs: channels.
        width: of the output of the convolution.
        kernel: of the convolution.
        stride: of the convolution.
        pad: of the convolution.
        pool: kernel and stride and padding of the pooling; (1, 1, 0) for none.
    """

    inputs: int
    outputs: int
    width: int
    kernel: int = 3
    stride: int = 1
    pad: int = 1
    pool: tuple[int, int, int] = (1, 1, 0)

    def crossbars(self, size: int) -> int:
        """Of one copy, a weight in a cell."""
        return -(-self.kernel * self.kernel * self.inputs // size) * -(-self.outputs // size)

    @property
    def vectors(self) -> int:
        return self.width * self.width

    @property
    def pooled_width(self) -> int:
        kernel, stride, pad = self.pool
        return (self.width - kernel + 2 * pad) // stride + 1


def steps(layers: Sequence[ConvPool], copies: Sequence[int]) -> int:
    """Steps until the last layer is done."""
    before = [0]
    total = -(-layers[0].vectors // copies[0])
    for at in range(1, len(layers)):
        layer = layers[at]
        before.append(max(_interval(layers, copies, at, back) + before[back] for back in range(at)))
        tail = -(-layer.width * -(-layer.pad // layer.stride) // copies[at])
        total = max(-(-layer.vectors // copies[at]) + before[at], total + tail)
    return total


def _interval(layers: Sequence[ConvPool], copies: Sequence[int], at: int, back: int) -> int:
    """Steps of layer `back` before layer `at` has what its first step needs."""
    places = copies[at]
    for number in range(at, back, -1):
        layer, source = layers[number], layers[number - 1]
        kernel, stride, pad = source.pool
        line = -(-places // layer.width)
        column = places - (line - 1) * layer.width
        pooled_lines = (line - 1) * layer.stride + layer.kernel - layer.pad
        pooled_columns = min((column - 1) * layer.stride + layer.kernel - layer.pad, source.pooled_width)
        lines = kernel + stride * (pooled_lines - 1) - pad
        columns = min(kernel + stride * (pooled_columns - 1) - pad, source.width)
        reach = (lines - 1) * source.width + columns
        places = -(-reach // copies[number - 1]) * copies[number - 1]
    return -(-reach // copies[back]) - 1


HALVED = (2, 2, 0)


def vgg(*blocks: int) -> list[ConvPool]:
    """Convolutions of a VGG with so many in each of its five blocks."""
    layers, channels = [], 3
    for block, (number, outputs) in enumerate(zip(blocks, (64, 128, 256, 512, 512), strict=True)):
        for at in range(number):
            pool = HALVED if at == number - 1 else (1, 1, 0)
            layers.append(ConvPool(inputs=channels, outputs=outputs, width=224 >> block, pool=pool))
            channels = outputs
    return layers


def resnet18() -> list[ConvPool]:
    """As Li's table 2 has it: a chain of 17 convolutions without those of the short cuts."""
    layers = [ConvPool(inputs=3, outputs=64, width=112, kernel=7, stride=2, pad=3, pool=(3, 2, 1))]
    channels = 64
    for outputs, width in ((64, 56), (128, 28), (256, 14), (512, 7)):
        for at in range(4):
            stride = 2 if at == 0 and width < 56 else 1
            layers.append(ConvPool(inputs=channels, outputs=outputs, width=width, stride=stride))
            channels = outputs
    return layers


def mobilenet_v1() -> list[ConvPool]:
    """Kernels of depthwise layers take as many rows as one channel has, side by side: Li's table does not say."""
    layers = [ConvPool(inputs=3, outputs=32, width=112, stride=2)]
    channels, width = 32, 112
    for outputs, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)
    ):  # fmt: skip
        width //= stride
        layers.append(ConvPool(inputs=1, outputs=channels, width=width, stride=stride))
        layers.append(ConvPool(inputs=channels, outputs=outputs, width=width, kernel=1, pad=0))
        channels = outputs
    return layers
