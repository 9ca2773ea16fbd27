"""How an activation tensor becomes the input vectors of a crossbar layer, and its results a tensor again."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

MAX_KEPT_INDICES = 1 << 21
"""Values in the windows of one sample up to which their places are kept: 16 MB a layer."""

BLOCK_VALUES = 1 << 20
"""Of `column_blocks`: few enough to stay in cache."""


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


def vector_count(x_shape: tuple[int, ...], conv: ConvGeometry | None) -> int:
    """V, the input vectors that `to_vectors` cuts an activation of that shape into."""
    return math.prod(x_shape[:-1]) if conv is None else x_shape[0] * math.prod(output_sizes(conv, x_shape[2:]))


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
        return x.reshape(vector_count(x.shape, None), 1, x.shape[-1])
    padded = np.pad(x, ((0, 0), (0, 0), *conv.pads)) if any(map(any, conv.pads)) else x
    batch, channels = x.shape[:2]
    rows = channels // groups * math.prod(conv.kernel)
    if not batch:
        return np.empty((0, groups, rows), x.dtype)
    places = math.prod(output_sizes(conv, x.shape[2:]))
    if places * groups * rows <= MAX_KEPT_INDICES:  # two to five times as fast as copying windows
        where = _window_indices(conv.kernel, conv.strides, conv.dilations, channels, padded.shape[2:])
        flat = np.take(padded.reshape(batch, -1), where, axis=1, mode="clip")
    else:
        flat = np.stack([_windows(sample, conv.kernel, conv.strides, conv.dilations) for sample in padded])
    return flat.reshape(batch * places, groups, rows)


def column_blocks(
    x: NDArray[Any], conv: ConvGeometry, groups: int, most: int = BLOCK_VALUES
) -> Iterator[tuple[int, slice, NDArray[Any]]]:
    """The input vectors of a convolution as columns, a few rows of positions at a time.

    Where maps are large it is four times as fast as `to_vectors`, and needs no more memory than a block does.

    Args:
        x: (B, channels, *spatial).
        conv: its geometry.
        groups: G.
        most: values of a block, but a row of positions at least.

    Yields:
        A sample, places among its positions, and their vectors (G, K, places).
    """
    sizes, channels = output_sizes(conv, x.shape[2:]), x.shape[1]
    inner = math.prod(sizes[1:])
    rows = max(1, most // max(1, channels * math.prod(conv.kernel) * inner))
    for index, sample in enumerate(x):
        padded = np.pad(sample, ((0, 0), *conv.pads)) if any(map(any, conv.pads)) else sample
        for start in range(0, sizes[0], rows):
            stop = min(start + rows, sizes[0])
            columns = np.empty((channels, math.prod(conv.kernel), stop - start, *sizes[1:]), x.dtype)
            for number, tap in enumerate(np.ndindex(conv.kernel)):
                spans = ((start, stop), *((0, size) for size in sizes[1:]))
                where = [
                    slice(at * dilation + first * stride, at * dilation + (last - 1) * stride + 1, stride)
                    for at, dilation, stride, (first, last) in zip(
                        tap, conv.dilations, conv.strides, spans, strict=True
                    )
                ]
                columns[:, number] = padded[(slice(None), *where)]
            yield index, slice(start * inner, stop * inner), columns.reshape(groups, -1, (stop - start) * inner)


def _windows(
    x: NDArray[Any], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> NDArray[Any]:
    """The windows of a padded sample (channels, *spatial), one after another: flat, over places, channels, taps."""
    axes = len(kernel)
    spans = tuple((size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True))
    windows = sliding_window_view(x, spans, axis=tuple(range(1, 1 + axes)))
    steps = (slice(None), *(slice(None, None, stride) for stride in strides))
    windows = windows[(*steps, *(slice(None, None, dilation) for dilation in dilations))]
    return windows.transpose(*range(1, 1 + axes), 0, *range(1 + axes, 1 + 2 * axes)).reshape(-1)


@lru_cache(maxsize=64)
def _window_indices(
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    channels: int,
    spatial: tuple[int, ...],
) -> NDArray[np.intp]:
    """Where in a padded sample the values of its windows lie."""
    sample = np.arange(channels * math.prod(spatial), dtype=np.intp).reshape(channels, *spatial)
    return _windows(sample, kernel, strides, dilations)


def from_vectors(y: NDArray[Any], x_shape: tuple[int, ...], conv: ConvGeometry | None) -> NDArray[Any]:
    """Put results (V, N) back into the layer's output tensor, given the shape of its input."""
    if conv is None:
        return y.reshape(*x_shape[:-1], y.shape[-1])
    positions = output_sizes(conv, x_shape[2:])
    return np.moveaxis(y.reshape(x_shape[0], *positions, y.shape[-1]), -1, 1)
