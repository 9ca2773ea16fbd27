import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, Tiling
from bsc.numeric.column_stats import column_stats
from bsc.numeric.tiles import column_widths
from passes.eliminate import Eliminate
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.passes.layers import array, assert_runs_once, coded_layer, compiled, float_layer, sparse_codes, the_layer


def tiling_of(graph: Graph) -> Tiling:
    tiling = the_layer(graph).tiling
    assert tiling is not None
    return tiling


def test_by_hand() -> None:
    # 6 = 01|10 and -9 = -(10|01) in 2-bit cells, high|low.
    graph = compiled(coded_layer([[6, 0, 0], [6, -9, 0], [0, 0, 0]], weight_bits=4), SliceBits(), Tile(rows=2, cols=2))
    tiling = tiling_of(graph)
    assert (tiling.row_tiles, tiling.column_starts, tiling.groups_per_crossbar) == (2, (0, 2), 1)
    # Axes: slice (low first), polarity, column; row tile 1 holds zeros.
    assert array(graph, tiling.sums).tolist() == [
        [[[4, 0, 0], [0, 1, 0]], [[2, 0, 0], [0, 2, 0]]],
        [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]],
    ]
    assert array(graph, tiling.gcds)[0].tolist() == [[[2, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 2, 0]]]
    assert array(graph, tiling.nonzeros)[0].tolist() == [[[2, 0, 0], [0, 1, 0]], [[2, 0, 0], [0, 1, 0]]]
    assert array(graph, tiling.allocated).all()


def cells_of_crossbar(layer: CrossbarLayer, row_tile: int, column_tile: int) -> list[tuple[int, int, int, int]]:
    """Cells on one crossbar as (wordline, bitline, row, column): groups share it along the diagonal."""
    tiling = layer.tiling
    assert tiling is not None
    start = tiling.column_starts[column_tile]
    width = int(column_widths(tiling.column_starts, layer.columns)[column_tile])
    group_width = layer.columns // layer.groups
    tile_rows = range(row_tile * tiling.rows, min((row_tile + 1) * tiling.rows, layer.rows))
    packed = tiling.groups_per_crossbar > 1
    return [
        (bitline // group_width * layer.rows * packed + wordline, bitline, row, start + bitline)
        for bitline in range(width)
        for wordline, row in enumerate(tile_rows)
    ]


@settings(deadline=None)
@given(
    rows=st.integers(1, 30),
    group_width=st.integers(1, 8),
    groups=st.integers(1, 6),
    tile_rows=st.integers(1, 40),
    tile_cols=st.integers(1, 20),
)
def test_each_cell_lies_on_one_crossbar_of_legal_size(
    rows: int, group_width: int, groups: int, tile_rows: int, tile_cols: int
) -> None:
    columns = group_width * groups
    graph = coded_layer(np.ones((rows, columns)), groups=groups)
    layer = the_layer(compiled(graph, SliceBits(), Tile(rows=tile_rows, cols=tile_cols)))
    tiling = layer.tiling
    assert tiling is not None
    laid: Counter[tuple[int, int]] = Counter()
    for row_tile in range(tiling.row_tiles):
        for column_tile in range(len(tiling.column_starts)):
            cells = cells_of_crossbar(layer, row_tile, column_tile)
            assert all(wordline < tile_rows and bitline < tile_cols for wordline, bitline, _, _ in cells)
            # An input line belongs to one row of one group.
            inputs = {(wordline, row, column // group_width) for wordline, _, row, column in cells}
            assert len(inputs) == len({wordline for wordline, _, _ in inputs})
            laid.update((row, column) for _, _, row, column in cells)
    assert laid == {(row, column): 1 for row in range(rows) for column in range(columns)}


@settings(deadline=None)
@given(sparse_codes(), st.integers(1, 20), st.integers(1, 8), st.booleans())
def test_crossbars_are_allocated_where_they_hold_weights(
    codes: NDArray[np.int16], rows: int, cols: int, eliminated: bool
) -> None:
    before = (Eliminate(),) if eliminated else ()
    graph = compiled(coded_layer(codes), *before, SliceBits(), Tile(rows=rows, cols=cols))
    tiling, layer = tiling_of(graph), the_layer(graph)
    assert layer.quant is not None
    codes = array(graph, layer.quant.codes)
    allocated = array(graph, tiling.allocated)
    assert allocated.shape == (math.ceil(codes.shape[0] / rows), math.ceil(codes.shape[1] / cols), 4, 2)
    for (row_tile, column_tile, slice_, polarity), exists in np.ndenumerate(allocated):
        part = codes[row_tile * rows :, column_tile * cols :][:rows, :cols]
        magnitudes = np.maximum(part if polarity == 0 else -part, 0)
        assert exists == (not eliminated or bool((magnitudes >> 2 * slice_ & 3).any()))


def test_statistics_are_those_of_the_options() -> None:
    codes = np.arange(-30, 30).reshape(12, 5)
    graph = compiled(coded_layer(codes, weight_bits=6), SliceBits(bits_per_cell=3), Tile(rows=5, cols=2))
    expected = column_stats(codes, weight_bits=6, bits_per_cell=3, tile_rows=5)
    tiling = tiling_of(graph)
    np.testing.assert_array_equal(array(graph, tiling.sums), expected.sums)
    np.testing.assert_array_equal(array(graph, tiling.gcds), expected.gcds)
    np.testing.assert_array_equal(array(graph, tiling.nonzeros), expected.nonzeros)


def test_runs_once() -> None:
    assert_runs_once(Tile(), compiled(coded_layer([[1, 2]]), SliceBits()))


@pytest.mark.parametrize("option", ["rows", "cols"])
def test_option_limits(option: str) -> None:
    graph = compiled(coded_layer([[1, 2], [3, 4]]), SliceBits())
    for value in (1, 16384):
        assert Tile(**{option: value}).run(graph).changed == ("fc",)
    for value in (0, 16385):
        with pytest.raises(UsageError) as caught:
            Tile(**{option: value})
        assert str(caught.value) == (
            f"[BSC205] pass 'tile': {option} must be 1 to 16384\n  seen: {value}\n  fix:  choose tile{{{option}=128}}"
        )


@pytest.mark.parametrize(("graph", "missing"), [(float_layer([[1.0]]), "quantize"), (coded_layer([[1]]), "slice-bits")])
def test_words_in_the_wrong_order(graph: Graph, missing: str) -> None:
    with pytest.raises(ModelError) as caught:
        Tile().run(graph)
    assert str(caught.value) == (
        f"[BSC309] layer 'fc': pass 'tile' needs what '{missing}' computes\n"
        f"  seen: no result of '{missing}' in the graph\n"
        f"  fix:  put '{missing}' before 'tile' in --passes"
    )
