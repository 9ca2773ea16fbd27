from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.cost.counts import count_mapping
from bsc.errors import ModelError, UsageError
from bsc.ir.graph import Graph
from bsc.ir.mapped import mapping_of
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import LineSelection, MappedLayer
from bsc.numeric.encoding import Encoding
from bsc.replay.engine import Replayer
from bsc.replay.reference import reference_results
from bsc.replay.tally import LayerTally
from passes.assign_adc import AssignAdc
from passes.eliminate import Eliminate
from passes.permute import Permute
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.passes.layers import array, coded_layer, compiled, sparse_codes, the_layer

CODES = [[0, 1, 0, 0], [0, 64, 0, 16], [0, 0, 0, 0], [0, 64, 0, 64]]
FIRST = (SliceBits(), Eliminate())


def kept_of(graph: Graph) -> LineSelection:
    kept = the_layer(graph).kept
    assert kept is not None
    return kept


def codes_of(graph: Graph) -> list[list[int]]:
    quant = the_layer(graph).quant
    assert quant is not None
    codes: list[list[int]] = array(graph, "codes").tolist()
    return codes


def test_by_hand() -> None:
    """Rows 3, 1, 0 by their cells in the top slice; columns 1 and 3 stay in that order."""
    graph = compiled(coded_layer(CODES), *FIRST, Permute())
    kept = kept_of(graph)
    assert (kept.mapped_rows, kept.mapped_columns, kept.permuted) == (3, 2, True)
    assert array(graph, "kept_rows").tolist() == [3, 1, 0]
    assert array(graph, "kept_columns").tolist() == [1, 3]
    assert codes_of(graph) == [[64, 64], [64, 16], [1, 0]]


def test_lines_that_stay_need_no_numbers() -> None:
    graph = compiled(coded_layer([[64, 64], [64, 0]]), *FIRST, Permute())
    assert not {"kept_rows", "kept_columns"} & set(graph.arrays_of("fc"))
    kept = kept_of(graph)
    assert kept == LineSelection(mapped_rows=2, mapped_columns=2, permuted=True)


def test_as_is() -> None:
    graph = compiled(coded_layer(CODES), *FIRST)
    same = compiled(graph, Permute(rows="as-is", columns="as-is"))
    assert codes_of(same) == codes_of(graph)
    assert array(same, "kept_rows").tolist() == array(graph, "kept_rows").tolist()


def test_balanced() -> None:
    graph = compiled(coded_layer([[3, 0], [0, 3], [2, 0], [0, 2]]), *FIRST, Permute(rows="balanced", group_rows=2))
    assert array(graph, "kept_rows").tolist() == [0, 3, 1, 2]


@pytest.mark.parametrize(("codes", "groups"), [([[1, 2], [64, 3]], 2), ([[0, 0], [0, 0]], 1)])
def test_grouped_and_empty_layers_are_left_alone(codes: list[list[int]], groups: int) -> None:
    graph = compiled(coded_layer(codes, groups=groups), *FIRST)
    assert Permute().run(graph).graph is graph


def test_runs_once() -> None:
    graph = compiled(coded_layer(CODES), *FIRST)
    before = str(graph)
    first = Permute().run(graph)
    assert first.changed == ("fc",)
    assert "kept 3 rows, 2 columns, permuted" in str(first.graph)
    assert str(graph) == before
    assert Permute(rows="balanced").run(first.graph).graph is first.graph


@st.composite
def orders(draw: st.DrawFn) -> Permute:
    return Permute(
        rows=draw(st.sampled_from(["as-is", "sorted", "balanced"])),
        columns=draw(st.sampled_from(["as-is", "sorted"])),
        group_rows=draw(st.integers(1, 20)),
    )


@settings(deadline=None)
@given(
    codes=sparse_codes(),
    order=orders(),
    encoding=st.sampled_from(["differential", "offset", "centre"]),
    adc=st.sampled_from([AssignAdc(), AssignAdc(granularity="tile"), AssignAdc(policy="fixed", bits=2)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_results_stay(codes: NDArray[np.int16], order: Permute, encoding: Encoding, adc: AssignAdc, seed: int) -> None:
    """By the fast engine and by the reference; the integer model behind both is that of the unpermuted codes."""
    first = (SliceBits(encoding=encoding), Eliminate(), order, Tile(rows=8, cols=3, active_rows=4), adc)
    mapping = mapping_of(compiled(coded_layer(codes), *first))
    (layer,) = mapping.layers
    arrays = mapping.arrays(layer)
    x = np.random.default_rng(seed).integers(0, 255, (3, len(codes))).astype(np.float32)
    replayer = Replayer(mapping)
    engine = replayer.engine("fc")
    results = engine.results(x[:, None])
    expected = reference_results(layer, arrays, _driven(layer, arrays, x), LayerTally())
    np.testing.assert_array_equal(results, expected)
    numbers = arrays.kept_columns
    columns = np.arange(codes.shape[1]) if numbers is None else numbers
    whole = (x.astype(np.int64) @ codes.astype(np.int64))[:, columns]
    np.testing.assert_array_equal(engine.integers(x[:, None]), whole)
    if adc.policy == "lossless":
        np.testing.assert_array_equal(results, whole)


def _driven(layer: MappedLayer, arrays: LayerArrays, x: NDArray[Any]) -> NDArray[np.int64]:
    rows = np.arange(layer.rows) if arrays.kept_rows is None else arrays.kept_rows
    return np.asarray(x[:, None, rows], np.int64)


def test_numbers_are_charged() -> None:
    """By hand: 3 rows of 4 need 2 bits each, 2 columns of 4 likewise: 10 bits, beside 8 * (3 + 4) that are moved."""

    def moved(*passes: Any) -> int:
        graph = compiled(coded_layer(CODES), *passes, Tile(), AssignAdc())
        (counts,) = count_mapping(mapping_of(graph))
        assert counts.counters["moved_bits"] == 8 * (len(codes_of(graph)) + 4)
        return counts.counters["buffer_bits"] - counts.counters["moved_bits"]

    assert moved(*FIRST, Permute()) == 10
    assert moved(*FIRST) == 10
    assert moved(SliceBits()) == 0


@pytest.mark.parametrize(
    ("passes", "needs"), [((Eliminate(), Permute()), "slice-bits"), ((SliceBits(), Permute()), "eliminate")]
)
def test_words_for_passes_that_are_missing(passes: tuple[Any, ...], needs: str) -> None:
    with pytest.raises(ModelError) as caught:
        compiled(coded_layer(CODES), *passes)
    assert str(caught.value) == (
        f"[BSC309] layer 'fc': pass 'permute' needs what '{needs}' computes\n"
        f"  seen: no result of '{needs}' in the graph\n"
        f"  fix:  put '{needs}' before 'permute' in --passes"
    )


def test_words_after_tile() -> None:
    with pytest.raises(ModelError) as caught:
        compiled(coded_layer(CODES), *FIRST, Tile(), Permute())
    assert str(caught.value).startswith("[BSC309] layer 'fc': pass 'permute' comes too late\n")


def test_words_for_no_rows() -> None:
    assert Permute(group_rows=1).group_rows == 1
    with pytest.raises(UsageError) as caught:
        Permute(group_rows=0)
    assert str(caught.value) == (
        "[BSC205] pass 'permute': group-rows must be 1 or more\n  seen: 0\n  fix:  choose permute{group-rows=128}"
    )
