"""How an activation tensor becomes the input vectors of a crossbar layer, and its results a tensor again."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvGeometry:
    """How a convolution's input becomes rows (im2col); one entry per spatial axis.

    Attributes:
        kernel: window sizes.
        strides: steps between windows.
        dilations: steps between the taps of a window.
        pads: (before, after) zeros.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        def axes(sizes: tuple[int, ...]) -> str:
            return "x".join(map(str, sizes))

        pads = " ".join(f"{before}:{after}" for before, after in self.pads)
        return f"kernel {axes(self.kernel)} stride {axes(self.strides)} dilation {axes(self.dilations)} pad {pads}"


def output_sizes(geometry: ConvGeometry, spatial: tuple[int, ...]) -> tuple[int, ...]:
    """Output positions along each spatial axis of an input of those sizes."""
    return tuple(
        (size + sum(pads) - ((kernel - 1) * dilation + 1)) // stride + 1
        for size, kernel, stride, dilation, pads in zip(
            spatial, geometry.kernel, geometry.strides, geometry.dilations, geometry.pads, strict=True
        )
    )


def to_vectors(x: NDArray[Any], conv: ConvGeometry | None, groups: int) -> NDArray[Any]:
    """Cut an activation into input vectors.

    Args:
        x: (B, channels, *spatial) for a convolution, else (..., K).
        conv: geometry of a convolution, else None.
        groups: convolution groups, G.

    Returns:
        (V, G, K); K runs over channels of the group, then taps. A convolution's V runs over B, then positions.
    """
    if conv is None:
        return x.reshape(math.prod(x.shape[:-1]), 1, x.shape[-1])
    axes = len(conv.kernel)
    padded = np.pad(x, ((0, 0), (0, 0), *conv.pads))
    spans = tuple((kernel - 1) * dilation + 1 for kernel, dilation in zip(conv.kernel, conv.dilations, strict=True))
    windows = sliding_window_view(padded, spans, axis=tuple(range(2, 2 + axes)))
    steps = (slice(None), slice(None), *(slice(None, None, stride) for stride in conv.strides))
    windows = windows[(*steps, *(slice(None, None, dilation) for dilation in conv.dilations))]
    batch, channels = x.shape[:2]
    positions, taps = windows.shape[2 : 2 + axes], windows.shape[2 + axes :]
    places, rows = math.prod(positions), channels // groups * math.prod(taps)
    grouped = windows.reshape(batch, groups, channels // groups, places, math.prod(taps))
    return grouped.transpose(0, 3, 1, 2, 4).reshape(batch * places, groups, rows)


def from_vectors(y: NDArray[Any], x_shape: tuple[int, ...], conv: ConvGeometry | None) -> NDArray[Any]:
    """Put results (V, N) back into the layer's output tensor, given the shape of its input."""
    if conv is None:
        return y.reshape(*x_shape[:-1], y.shape[-1])
    positions = output_sizes(conv, x_shape[2:])
    return np.moveaxis(y.reshape(x_shape[0], *positions, y.shape[-1]), -1, 1)
