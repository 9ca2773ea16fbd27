from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from bsc.ir.graph import Graph
from bsc.ir.invariants import check_claim, check_graph
from bsc.ir.passbase import PassResult
from bsc.mapping.arrays import array_key
from passes import PASSES
from tests.passes.layers import coded_layer, compiled, the_layer

Breakage = Callable[[Graph], Graph]

# Row 1 and column 2 are eliminated, two slices of 2 bits, one crossbar a slice and polarity.
MAPPED = compiled(
    coded_layer([[9, -6, 0], [0, 0, 0], [1, 1, 0]], weight_bits=4),
    *(PASSES[name]() for name in ("eliminate", "slice-bits", "tile", "assign-adc")),
)


def with_array(name: str, values: ArrayLike) -> Breakage:
    return lambda graph: graph.with_layers({}, {array_key("fc", name): np.asarray(values)})


def with_fields(**fields: Any) -> Breakage:
    return lambda graph: graph.with_layers({"fc": replace(the_layer(graph), **fields)})


UNSIGNED = np.zeros((1, 2, 2, 2), np.uint8)

BREAKAGES = {
    "groups": (with_fields(groups=2), "columns are not a multiple of the groups"),
    "no slices": (with_fields(slicing=None), "tiled but not sliced"),
    "shape of the codes": (with_array("codes", [[9, -6]]), "array 'codes' has shape (1, 2), not (K, N) of (2, 2)"),
    "a code too high": (with_array("codes", [[16, 0], [0, 0]]), "array 'codes' has values outside -15 to 15"),
    "a code too low": (with_array("codes", [[-16, 0], [0, 0]]), "array 'codes' has values outside -15 to 15"),
    "weight steps": (with_array("weight_scale", [1.0, 1.0]), "array 'weight_scale' has shape (2,), not (M) of (3,)"),
    "number of kept rows": (with_array("kept_rows", [0]), "array 'kept_rows' has shape (1,), not (K) of (2,)"),
    "kept rows below the matrix": (with_array("kept_rows", [0, 3]), "array 'kept_rows' has values outside 0 to 2"),
    "kept rows above the matrix": (with_array("kept_rows", [-1, 0]), "array 'kept_rows' has values outside 0 to 2"),
    "order of kept columns": (with_array("kept_columns", [1, 0]), "array 'kept_columns' does not fit the others"),
    "a kept column twice": (with_array("kept_columns", [1, 1]), "array 'kept_columns' does not fit the others"),
    "centres without an encoding": (with_array("centres", [[0, 0]]), "array 'centres' does not belong there"),
    "type of the divisors": (with_array("gcds", [0]), "array 'gcds' is of type int64, not unsigned integer"),
    "crossbars": (
        with_array("allocated", [True]),
        "array 'allocated' has shape (1,), not (T, C, S, P) of (1, 1, 2, 2)",
    ),
    "an ADC step of 0": (with_array("adc_lsb", UNSIGNED), "array 'adc_lsb' has values outside 1 to 255"),
}


def test_a_mapped_layer_holds() -> None:
    check_graph(MAPPED)


@pytest.mark.parametrize("code", [-15, 15])
def test_the_outermost_codes_hold(code: int) -> None:
    check_graph(coded_layer([[code]], weight_bits=4))


@pytest.mark.parametrize(("breakage", "words"), BREAKAGES.values(), ids=BREAKAGES)
def test_a_broken_layer_is_caught(breakage: Breakage, words: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_graph(breakage(MAPPED))
    assert str(caught.value) == f"layer 'fc': {words}"


CLAIMS = {
    "a change kept quiet": (with_fields(vectors=7), (), "claims (), changed ['fc']"),
    "a change of another layer": (with_fields(vectors=7), ("fc", "other"), "claims ('fc', 'other'), changed ['fc']"),
    "a change that is none": (lambda graph: graph, ("fc",), "claims ('fc',), changed []"),
    "a layer that vanished": (lambda graph: graph.without({"fc"}, {}, {}), (), "claims (), changed ['fc']"),
    "a new graph for nothing": (with_fields(), (), "changed no layer but made a new graph"),
    "arrays without a record": (with_array("codes", [[9, -6], [1, 0]]), (), "claims (), changed ['fc']"),
    "another layer in its place": (with_fields(name="new"), ("fc",), "claims ('fc',), changed ['fc', 'new']"),
}


@pytest.mark.parametrize(("change", "claim", "words"), CLAIMS.values(), ids=CLAIMS)
def test_a_false_claim_is_caught(change: Breakage, claim: tuple[str, ...], words: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_claim("liar", MAPPED, PassResult(change(MAPPED), claim))
    assert str(caught.value) == f"pass 'liar' {words}"


def test_a_true_claim_passes() -> None:
    check_claim("honest", MAPPED, PassResult(with_fields(vectors=7)(MAPPED), ("fc",)))
    check_claim("honest", MAPPED, PassResult(with_array("codes", [[9, -6], [1, 0]])(MAPPED), ("fc",)))
    check_claim("idle", MAPPED, PassResult(MAPPED, ()))
