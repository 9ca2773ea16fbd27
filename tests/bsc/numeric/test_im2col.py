import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.numeric.im2col import ConvGeometry, column_blocks, from_vectors, output_sizes, to_vectors

PLAIN_3X3 = ConvGeometry(kernel=(3, 3), strides=(1, 1), dilations=(1, 1), pads=((0, 0), (0, 0)))


def test_a_3x3_window_by_hand() -> None:
    x = np.arange(12).reshape(1, 1, 3, 4)
    assert to_vectors(x, PLAIN_3X3, 1).tolist() == [
        [[0, 1, 2, 4, 5, 6, 8, 9, 10]],
        [[1, 2, 3, 5, 6, 7, 9, 10, 11]],
    ]
    # Two filters, two positions: position p of filter n is y[p, n].
    assert from_vectors(np.array([[1, 2], [3, 4]]), x.shape, PLAIN_3X3).tolist() == [[[[1, 3]], [[2, 4]]]]


def test_stride_dilation_and_pads_by_hand() -> None:
    conv = ConvGeometry(kernel=(2,), strides=(3,), dilations=(2,), pads=((1, 2),))
    x = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]])  # padded: 0 1 2 3 4 0 0 and 0 5 6 7 8 0 0
    assert to_vectors(x, conv, 1).tolist() == [[[0, 2, 0, 6]], [[3, 0, 7, 0]]]
    assert to_vectors(x, conv, 2).tolist() == [[[0, 2], [0, 6]], [[3, 0], [7, 0]]]


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4), (2, 3, 5, 4), (0, 4)])
def test_without_a_convolution_the_last_axis_is_the_rows(shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape)).reshape(shape)
    vectors = to_vectors(x, None, 1)
    assert vectors.shape == (np.prod(shape[:-1]), 1, 4)
    assert np.array_equal(from_vectors(vectors[:, 0], shape, None), x)


@pytest.mark.parametrize(
    ("size", "stride", "dilation", "pads", "positions"),
    [
        (8, 1, 1, (0, 0), 6),
        (8, 2, 1, (0, 0), 3),
        (8, 2, 1, (1, 0), 4),
        (8, 1, 2, (0, 0), 4),
        (5, 1, 2, (0, 0), 1),
        (4, 1, 2, (0, 0), 0),
        (4, 1, 2, (0, 1), 1),
    ],
)
def test_output_sizes_of_a_window_of_3(
    size: int, stride: int, dilation: int, pads: tuple[int, int], positions: int
) -> None:
    conv = ConvGeometry(kernel=(3,), strides=(stride,), dilations=(dilation,), pads=(pads,))
    assert output_sizes(conv, (size,)) == (positions,)


@pytest.mark.parametrize(("x", "vectors"), [((0, 2, 3, 3), (0, 1, 18)), ((5, 2, 3, 3), (5, 1, 18))])
def test_an_empty_batch_has_no_vectors(x: tuple[int, ...], vectors: tuple[int, ...]) -> None:
    assert to_vectors(np.zeros(x), PLAIN_3X3, 1).shape == vectors


def naive(x: NDArray[Any], conv: ConvGeometry, groups: int) -> NDArray[Any]:
    """The same as `to_vectors`, one number at a time."""
    share = x.shape[1] // groups
    spatial = x.shape[2:]

    def tap(image: int, channel: int, position: tuple[int, ...], offset: tuple[int, ...]) -> int:
        places = [
            p * stride + o * dilation - before
            for p, stride, o, dilation, (before, _) in zip(
                position, conv.strides, offset, conv.dilations, conv.pads, strict=True
            )
        ]
        inside = all(0 <= place < size for place, size in zip(places, spatial, strict=True))
        return int(x[(image, channel, *places)]) if inside else 0

    return np.array(
        [
            [
                [
                    tap(image, group * share + channel, position, offset)
                    for channel in range(share)
                    for offset in np.ndindex(*conv.kernel)
                ]
                for group in range(groups)
            ]
            for image, position in itertools.product(range(len(x)), np.ndindex(*output_sizes(conv, spatial)))
        ]
    )


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[tuple[int, ...], ConvGeometry, int]:
    """Shape of an input, a geometry that fits it, groups."""
    axes = draw(st.integers(1, 3))

    def sizes(lowest: int, highest: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(lowest, highest), min_size=axes, max_size=axes)))

    kernel, dilations = sizes(1, 3), sizes(1, 2)
    spans = [(window - 1) * dilation + 1 for window, dilation in zip(kernel, dilations, strict=True)]
    spatial = tuple(span + more for span, more in zip(spans, sizes(0, 2), strict=True))
    pads = tuple(zip(sizes(0, 2), sizes(0, 2), strict=True))
    groups = draw(st.integers(1, 3))
    conv = ConvGeometry(kernel=kernel, strides=sizes(1, 3), dilations=dilations, pads=pads)
    return (draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)), *spatial), conv, groups


@settings(deadline=None)
@given(convolutions())
def test_vectors_are_those_of_a_naive_loop(case: tuple[tuple[int, ...], ConvGeometry, int]) -> None:
    shape, conv, groups = case
    x = np.arange(1, 1 + np.prod(shape)).reshape(shape)
    assert np.array_equal(to_vectors(x, conv, groups), naive(x, conv, groups))


@settings(deadline=None)
@given(convolutions(), st.sampled_from([1, 100, 1 << 20]))
def test_blocks_of_columns_are_the_vectors(case: tuple[tuple[int, ...], ConvGeometry, int], most: int) -> None:
    shape, conv, groups = case
    x = np.arange(1, 1 + np.prod(shape)).reshape(shape)
    wanted = to_vectors(x, conv, groups).reshape(shape[0], -1, groups, shape[1] // groups * math.prod(conv.kernel))
    found = np.zeros_like(wanted)
    for sample, places, columns in column_blocks(x, conv, groups, most):
        found[sample, places] = columns.transpose(2, 0, 1)
    assert np.array_equal(found, wanted)
