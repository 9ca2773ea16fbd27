import math
from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.ir.graph import Graph
from bsc.ir.pipeline import parse_pipeline
from bsc.ir.stages import layer_record
from bsc.mapping.layer import TiledLayer
from bsc.numeric.column_stats import column_stats
from bsc.numeric.tiles import column_widths
from passes import PASSES
from passes.eliminate import Eliminate
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import coded
from tests.passes.layers import (
    array,
    assert_runs_once,
    coded_layer,
    compiled,
    float_layer,
    network,
    sparse_codes,
    the_layer,
)


def tiled(graph: Graph) -> TiledLayer:
    return layer_record(TiledLayer, the_layer(graph), "test")


def test_by_hand() -> None:
    # 6 = 01|10 and -9 = -(10|01) in 2-bit cells, high|low.
    graph = compiled(coded_layer([[6, 0, 0], [6, -9, 0], [0, 0, 0]], weight_bits=4), SliceBits(), Tile(rows=2, cols=2))
    layer = tiled(graph)
    assert (layer.row_tiles, layer.column_tiles()) == (2, (1, (0, 2)))
    # Axes: slice (low first), polarity, column; row tile 1 holds zeros.
    assert array(graph, "sums").tolist() == [
        [[[4, 0, 0], [0, 1, 0]], [[2, 0, 0], [0, 2, 0]]],
        [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]],
    ]
    assert array(graph, "gcds")[0].tolist() == [[[2, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 2, 0]]]
    assert array(graph, "nonzeros")[0].tolist() == [[[2, 0, 0], [0, 1, 0]], [[2, 0, 0], [0, 1, 0]]]
    assert array(graph, "allocated").all()


def cells_of_crossbar(layer: TiledLayer, row_tile: int, column_tile: int) -> list[tuple[int, int, int, int]]:
    """Cells on one crossbar as (wordline, bitline, row, column): groups share it along the diagonal."""
    groups_here, starts = layer.column_tiles()
    start = starts[column_tile]
    width = int(column_widths(starts, layer.columns)[column_tile])
    group_width = layer.columns // layer.groups
    tile_rows = range(row_tile * layer.tile_rows, min((row_tile + 1) * layer.tile_rows, layer.rows))
    packed = groups_here > 1
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
    layer = tiled(compiled(graph, SliceBits(), Tile(rows=tile_rows, cols=tile_cols)))
    laid: Counter[tuple[int, int]] = Counter()
    for row_tile in range(layer.row_tiles):
        for column_tile in range(len(layer.column_tiles()[1])):
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
    codes = array(graph, "codes")
    allocated = array(graph, "allocated")
    assert allocated.shape == (math.ceil(codes.shape[0] / rows), math.ceil(codes.shape[1] / cols), 4, 2)
    for (row_tile, column_tile, slice_, polarity), exists in np.ndenumerate(allocated):
        part = codes[row_tile * rows :, column_tile * cols :][:rows, :cols]
        magnitudes = np.maximum(part if polarity == 0 else -part, 0)
        assert exists == (not eliminated or bool((magnitudes >> 2 * slice_ & 3).any()))


def test_statistics_are_those_of_the_options() -> None:
    codes = np.arange(-30, 30).reshape(12, 5)
    graph = compiled(coded_layer(codes, weight_bits=6), SliceBits(bits_per_cell=3), Tile(rows=5, cols=2))
    expected = column_stats(codes, stored_bits=6, bits_per_cell=3, group_rows=5)
    np.testing.assert_array_equal(array(graph, "sums"), expected.sums)
    np.testing.assert_array_equal(array(graph, "gcds"), expected.gcds)
    np.testing.assert_array_equal(array(graph, "nonzeros"), expected.nonzeros)


def test_runs_once() -> None:
    assert_runs_once(Tile(), compiled(coded_layer([[1, 2]]), SliceBits()))


@pytest.mark.parametrize("option", ["rows", "cols"])
def test_option_limits(option: str) -> None:
    graph = compiled(coded_layer([[1, 2], [3, 4]]), SliceBits())
    for value in (1, 16384):
        assert Tile(**cast("Any", {option: value})).run(graph).changed == ("fc",)
    for value in (0, 16385):
        with pytest.raises(UsageError) as caught:
            Tile(**cast("Any", {option: value}))
        assert str(caught.value) == (
            f"[BSC205] pass 'tile': {option} must be 1 to 16384\n  seen: {value}\n  fix:  choose tile{{{option}=128}}"
        )


@pytest.mark.parametrize(
    ("active", "fits"), [(0, True), (1, True), (4, True), (8, True), (3, False), (16, False), (-1, False)]
)
def test_active_rows_divide_the_rows(active: int, fits: bool) -> None:
    if fits:
        assert Tile(rows=8, active_rows=active).active_rows == (active or 8)
        return
    with pytest.raises(UsageError) as caught:
        Tile(rows=8, active_rows=active)
    assert str(caught.value) == (
        "[BSC205] pass 'tile': active-rows must divide rows\n"
        f"  seen: {active} active of 8 rows\n"
        "  fix:  choose tile{rows=8 active-rows=8} or a divisor of it"
    )


def test_row_groups_by_hand() -> None:
    """Rows 0 and 1, 2 and 3, and 4, which is all of the second tile: sums 3, 5 and 3 of the only slice."""
    graph = coded_layer([[1], [2], [3], [2], [3]], weight_bits=2)
    layer = tiled(result := compiled(graph, SliceBits(), Tile(rows=4, cols=4, active_rows=2)))
    assert (layer.row_tiles, layer.row_groups, layer.groups_per_tile) == (2, 3, 2)
    assert result.arrays_of("fc")["sums"][:, 0, 0, 0].tolist() == [3, 5, 3]
    assert result.arrays_of("fc")["allocated"].shape == (2, 1, 1, 2)


def test_a_centre_for_each_row_tile() -> None:
    graph = coded_layer([[5], [5], [-2]], weight_bits=3)
    result = compiled(graph, SliceBits(bits_per_cell=3, encoding="centre"), Tile(rows=2, cols=4))
    assert result.arrays_of("fc")["centres"].tolist() == [[5], [-2]]
    assert not result.arrays_of("fc")["sums"].any()


@pytest.mark.parametrize(("graph", "missing"), [(float_layer([[1.0]]), "quantize"), (coded_layer([[1]]), "slice-bits")])
def test_words_in_the_wrong_order(graph: Graph, missing: str) -> None:
    with pytest.raises(ModelError) as caught:
        Tile().run(graph)
    assert str(caught.value) == (
        f"[BSC309] layer 'fc': pass 'tile' needs what '{missing}' computes\n"
        f"  seen: no result of '{missing}' in the graph\n"
        f"  fix:  put '{missing}' before 'tile' in --passes"
    )


def test_only_some_layers() -> None:
    """Two tiles, each for layers of its own; the second leaves alone what the first has done."""
    first, second = coded([[1], [2]], name="a"), coded([[3], [4]], name="b, c", input="y", output="z")
    graph = network(first.layer, second.layer, arrays={**first.arrays, **second.arrays})
    text = "slice-bits,tile{rows=4 active-rows=2 only=b%2C%20c},tile{rows=2 cols=2}"
    done = compiled(graph, *parse_pipeline(text, PASSES))
    found = {layer.name: layer.tiling for layer in done.layers()}
    assert {name: (tiling.tile_rows, tiling.active_rows) for name, tiling in found.items() if tiling} == {
        "a": (2, 2),
        "b, c": (4, 2),
    }


def test_words_for_a_layer_that_is_not_there() -> None:
    graph = compiled(coded_layer([[1, 2]]), SliceBits())
    with pytest.raises(UsageError) as caught:
        Tile(only=("fc", "cf")).run(graph)
    assert str(caught.value) == (
        "[BSC205] pass 'tile': option only names no layer: 'cf'\n"
        "  seen: layers fc\n"
        "  fix:  use these names, or leave only out"
    )
