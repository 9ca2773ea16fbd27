"""Single crossbars: their cells are the codes, and nothing else."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.errors import UsageError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.plan.cells import CrossbarIndex, crossbar_cells, crossbar_columns, read_levels
from tests.bsc.plans import coded, mapped, only_layer


def cells(layer: MappedLayer, arrays: LayerArrays, text: str) -> Any:
    return crossbar_cells(layer, arrays, CrossbarIndex.parse(text, layer, arrays)).tolist()


def test_by_hand() -> None:
    """-27 = -(0b011011): slices 3, 2, 1, 0 from the lowest; 5 = 0b0101: slices 1, 1, 0, 0."""
    layer, arrays = only_layer(mapped(coded([[-27, 5], [0, 5], [64, 0]]), rows=2, cols=2))
    assert cells(layer, arrays, "0,0,0,-") == [[3, 0], [0, 0]]
    assert cells(layer, arrays, "0,0,1,-") == [[2, 0], [0, 0]]
    assert cells(layer, arrays, "0,0,0,+") == [[0, 1], [0, 1]]
    assert cells(layer, arrays, "1,0,3,+") == [[1, 0]]


def test_what_conversions_read_by_hand() -> None:
    """-27 again, over 64: levels of single columns, or the differences of pairs."""
    codes = coded([[-27], [64]])
    layer, arrays = only_layer(mapped(codes))
    assert read_levels(layer, arrays, 0, np.s_[:])[:, 0].tolist() == [
        [[0, 3], [0, 2], [0, 1], [0, 0]],
        [[0, 0], [0, 0], [0, 0], [1, 0]],
    ]
    paired = read_levels(*only_layer(mapped(codes, subtraction="analog")), 0, np.s_[:])
    assert paired.dtype == np.int8
    assert paired[:, 0, :, 0].tolist() == [[-3, -2, -1, 0], [0, 0, 0, 1]]


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 12), st.sampled_from([1, 2, 3, 4])),
    weight_bits=st.integers(1, 15),
    bits_per_cell=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_crossbars_rebuild_every_code(
    size: tuple[int, int, int], weight_bits: int, bits_per_cell: int, seed: int
) -> None:
    rows, columns, groups = size
    top = (1 << weight_bits) - 1
    codes = np.random.default_rng(seed).integers(-top, top, (rows, columns * groups), endpoint=True)
    plan = mapped(coded(codes, weight_bits=weight_bits, groups=groups), bits_per_cell=bits_per_cell, rows=16, cols=8)
    layer, arrays = only_layer(plan)
    rebuilt = np.zeros_like(codes)
    for index in itertools.product(*map(range, arrays.allocated.shape)):
        text = "{},{},{},{}".format(*index[:3], "+-"[index[3]])
        tile, column_tile, part, polarity = index
        here = crossbar_columns(layer, column_tile)
        levels = crossbar_cells(layer, arrays, CrossbarIndex.parse(text, layer, arrays)).astype(int)
        assert levels.shape[0] <= 16
        assert levels.shape[1] <= 8
        # Packed groups lie block-diagonally, so that adding the blocks up gives each column its own group's rows.
        height = min(16, rows - 16 * tile)
        stacked = levels.reshape(-1, height, len(here)).sum(axis=0)
        rebuilt[16 * tile : 16 * tile + height, here.start : here.stop] += (1 - 2 * polarity) * (
            stacked << bits_per_cell * part
        )
    np.testing.assert_array_equal(rebuilt, codes)


def test_groups_share_a_crossbar_block_diagonally() -> None:
    layer, arrays = only_layer(mapped(coded([[1, 2], [3, 1]], groups=2), rows=4, cols=4))
    assert cells(layer, arrays, "0,0,0,+") == [[1, 0], [3, 0], [0, 2], [0, 1]]


@pytest.mark.parametrize(
    "text", ["", "0,0,0", "0,0,0,*", "0,0,4,+", "1,0,0,+", "0,1,0,+", "-1,0,0,+", "0,0,0,-", "a,0,0,+"]
)
def test_a_crossbar_that_is_not_there(text: str) -> None:
    layer, arrays = only_layer(mapped(coded([[1, 2]]), eliminate=True))
    with pytest.raises(UsageError) as caught:
        CrossbarIndex.parse(text, layer, arrays)
    assert str(caught.value) == (
        f"[BSC201] layer 'fc' has no crossbar '{text}'\n"
        "  seen: 1 row tiles, 1 column tiles, 4 slices; all-zero ones are left out\n"
        "  fix:  write ROW-TILE,COLUMN-TILE,SLICE,SIGN counted from 0, such as 0,0,1,+"
    )


def test_text_of_an_index() -> None:
    layer, arrays = only_layer(mapped(coded([[1, 2]])))
    assert str(CrossbarIndex.parse("0,0,3,-", layer, arrays)) == "0,0,3,-"
