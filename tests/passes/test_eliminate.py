import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.ir.graph import Graph
from bsc.ir.layer import Kept
from passes.eliminate import Eliminate, nonzero_lines
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.passes.layers import (
    FC_CODES,
    array,
    assert_runs_once,
    coded_layer,
    compiled,
    float_layer,
    sparse_codes,
    the_layer,
)


def kept_of(graph: Graph) -> Kept:
    kept = the_layer(graph).kept
    assert kept is not None
    return kept


def mapped_codes(graph: Graph) -> NDArray[np.int16]:
    quant = the_layer(graph).quant
    assert quant is not None
    return array(graph, quant.codes)


def test_by_hand() -> None:
    graph = compiled(coded_layer([[0, 0, 0], [1, 0, -2], [0, 0, 0], [0, 0, 3]]), Eliminate())
    kept = kept_of(graph)
    assert kept.shape == (2, 2)
    assert array(graph, kept.rows).tolist() == [1, 3]
    assert array(graph, kept.columns).tolist() == [0, 2]
    assert mapped_codes(graph).tolist() == [[1, -2], [0, 3]]
    assert array(graph, FC_CODES).shape == (4, 3)


@pytest.mark.parametrize(
    ("codes", "rows_named", "columns_named"),
    [([[1, 0], [0, 1]], False, False), ([[1, 1], [0, 0]], True, False), ([[1, 0], [1, 0]], False, True)],
)
def test_lines_are_named_only_where_some_are_dropped(
    codes: list[list[int]], rows_named: bool, columns_named: bool
) -> None:
    kept = kept_of(compiled(coded_layer(codes), Eliminate()))
    assert (kept.rows is not None, kept.columns is not None) == (rows_named, columns_named)


def test_a_layer_of_zeros_vanishes() -> None:
    graph = compiled(coded_layer(np.zeros((3, 2))), Eliminate(), SliceBits(), Tile())
    assert kept_of(graph).shape == (0, 0)
    tiling = the_layer(graph).tiling
    assert tiling is not None
    assert array(graph, tiling.allocated).shape == (0, 0, 4, 2)


def test_a_grouped_layer_keeps_its_lines() -> None:
    codes = np.array([[0, 0], [1, 0]])
    graph = compiled(coded_layer(codes, groups=2), Eliminate())
    assert kept_of(graph) == Kept(rows=None, columns=None, shape=(2, 2))
    assert mapped_codes(graph).tolist() == codes.tolist()


@settings(deadline=None)
@given(sparse_codes(), st.integers(0, 2**32 - 1))
def test_the_layers_result_stays(codes: NDArray[np.int16], seed: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (3, codes.shape[0]))
    graph = compiled(coded_layer(codes), Eliminate())
    kept, left = kept_of(graph), mapped_codes(graph).astype(np.int64)
    rows = np.arange(codes.shape[0]) if kept.rows is None else array(graph, kept.rows)
    columns = np.arange(codes.shape[1]) if kept.columns is None else array(graph, kept.columns)
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
