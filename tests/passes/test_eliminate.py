from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.ir.graph import Graph
from bsc.mapping.layer import LineSelection
from passes.eliminate import Eliminate, nonzero_lines
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import coded
from tests.passes.layers import (
    array,
    assert_runs_once,
    coded_layer,
    compiled,
    digital,
    float_layer,
    network,
    sparse_codes,
    the_layer,
)


def kept_of(graph: Graph) -> LineSelection:
    kept = the_layer(graph).kept
    assert kept is not None
    return kept


def mapped_codes(graph: Graph) -> NDArray[np.int16]:
    return array(graph, "codes")


def test_by_hand() -> None:
    graph = compiled(coded_layer([[0, 0, 0], [1, 0, -2], [0, 0, 0], [0, 0, 3]]), Eliminate())
    kept = kept_of(graph)
    assert (kept.mapped_rows, kept.mapped_columns) == (2, 2)
    assert array(graph, "kept_rows").tolist() == [1, 3]
    assert array(graph, "kept_columns").tolist() == [0, 2]
    assert mapped_codes(graph).tolist() == [[1, -2], [0, 3]]


@pytest.mark.parametrize(
    ("codes", "rows_named", "columns_named"),
    [([[1, 0], [0, 1]], False, False), ([[1, 1], [0, 0]], True, False), ([[1, 0], [1, 0]], False, True)],
)
def test_lines_are_named_only_where_some_are_dropped(
    codes: list[list[int]], rows_named: bool, columns_named: bool
) -> None:
    arrays = compiled(coded_layer(codes), Eliminate()).arrays_of("fc")
    assert ("kept_rows" in arrays, "kept_columns" in arrays) == (rows_named, columns_named)


def test_a_layer_of_zeros_vanishes() -> None:
    graph = compiled(coded_layer(np.zeros((3, 2))), Eliminate(), SliceBits(), Tile())
    assert kept_of(graph) == LineSelection(mapped_rows=0, mapped_columns=0, permuted=False)
    assert array(graph, "allocated").shape == (0, 0, 4, 2)


def test_a_grouped_layer_keeps_its_lines() -> None:
    codes = np.array([[0, 0], [1, 0]])
    graph = compiled(coded_layer(codes, groups=2), Eliminate())
    assert kept_of(graph) == LineSelection(mapped_rows=2, mapped_columns=2, permuted=False)
    assert mapped_codes(graph).tolist() == codes.tolist()


@settings(deadline=None)
@given(sparse_codes(), st.integers(0, 2**32 - 1))
def test_the_layers_result_stays(codes: NDArray[np.int16], seed: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (3, codes.shape[0]))
    graph = compiled(coded_layer(codes), Eliminate())
    arrays, left = graph.arrays_of("fc"), mapped_codes(graph).astype(np.int64)
    rows = arrays.get("kept_rows", np.arange(codes.shape[0]))
    columns = arrays.get("kept_columns", np.arange(codes.shape[1]))
    result = np.zeros((3, codes.shape[1]), np.int64)
    result[:, columns] = x[:, rows] @ left
    np.testing.assert_array_equal(result, x @ codes.astype(np.int64))
    assert left.any(axis=0).all()
    assert left.any(axis=1).all()


def test_nonzero_lines_of_no_lines() -> None:
    rows, columns = nonzero_lines(np.zeros((0, 3), np.int8))
    assert (rows.tolist(), columns.tolist()) == ([], [])


@pytest.mark.parametrize("codes", [[[1, 2]], [[1, 0], [0, 0]], [[0]]])
def test_runs_once(codes: list[list[int]]) -> None:
    assert_runs_once(Eliminate(), coded_layer(codes))


def test_words_before_quantize() -> None:
    with pytest.raises(ModelError) as caught:
        Eliminate().run(float_layer([[1.0]]))
    assert str(caught.value) == (
        "[BSC309] layer 'fc': pass 'eliminate' needs what 'quantize' computes\n"
        "  seen: no result of 'quantize' in the graph\n"
        "  fix:  put 'quantize' before 'eliminate' in --passes"
    )


def test_words_after_tile() -> None:
    graph = compiled(coded_layer([[1, 0]]), SliceBits(), Tile())
    with pytest.raises(ModelError) as caught:
        Eliminate().run(graph)
    assert str(caught.value) == (
        "[BSC309] layer 'fc': pass 'eliminate' comes too late\n"
        "  seen: the result of 'tile' in the graph\n"
        "  fix:  put 'eliminate' before 'tile' in --passes"
    )


def dead_first(second: list[list[int]], *, slicing: bool = True, **options: Any) -> Graph:
    """The layer 'fc' behind a ReLU, whose first input is proved to be 0; the driver has checked the passes."""
    one = coded([[-1] + [1] * (len(second) - 1)], name="one", output="h")
    two = coded(second, input="g", output="y")
    shapes = {"x": (1, 1), "h": (1, len(second)), "g": (1, len(second)), "y": (1, len(second[0]))}
    graph = network(one.layer, digital("Relu", "h", "g"), two.layer, arrays={**one.arrays, **two.arrays}, shapes=shapes)
    steps = (SliceBits(), Eliminate(**options)) if slicing else (Eliminate(**options),)
    return compiled(graph, *steps)


def second_layer(graph: Graph) -> tuple[tuple[int, int], list[list[int]]]:
    _, layer = graph.layers()
    return layer.mapped_shape, array(graph, "codes", layer.name).tolist()


def test_a_dead_row_is_left_out() -> None:
    """1 + 2 need the two bits that 0 + 1 + 2 do."""
    assert second_layer(dead_first([[7], [1], [2]], rows=4)) == ((2, 1), [[1], [2]])


def test_a_dead_row_stays_where_others_would_need_more_bits() -> None:
    """Crossbars of two rows: 0 and 3, then 3 alone, need one bit each, 0 or 3; 3 and 1 would need two."""
    assert second_layer(dead_first([[7], [3], [1]], rows=2)) == ((3, 1), [[0], [3], [1]])
    assert second_layer(dead_first([[7], [3], [1]], rows=1)) == ((2, 1), [[3], [1]])
    assert second_layer(dead_first([[7], [3], [1]], rows=2, dead="always")) == ((2, 1), [[3], [1]])


def test_the_order_of_slicing_and_elimination_does_not_matter_to_results() -> None:
    """Without slices nothing is known of bits, and the row is left out."""
    assert second_layer(dead_first([[7], [3], [3]], rows=2, slicing=False)) == ((2, 1), [[3], [3]])


def test_words_for_no_rows() -> None:
    with pytest.raises(UsageError) as caught:
        Eliminate(rows=0)
    assert str(caught.value) == (
        "[BSC205] pass 'eliminate': rows must be 1 or more\n  seen: 0\n  fix:  choose eliminate{rows=128}"
    )
