from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from bsc.ir.graph import Graph
from bsc.ir.invariants import check_claim, check_graph
from bsc.ir.passbase import PassResult
from passes import PASSES
from tests.passes.layers import FC_CODES, coded_layer, compiled, the_layer

Breakage = Callable[[Graph], Graph]

# Row 1 and column 2 are eliminated, two slices of 2 bits, one crossbar a slice and polarity.
MAPPED = compiled(
    coded_layer([[9, -6, 0], [0, 0, 0], [1, 1, 0]], weight_bits=4),
    *(PASSES[name]() for name in ("eliminate", "slice-bits", "tile", "assign-adc")),
)
TILING = the_layer(MAPPED).tiling
assert TILING is not None


def with_array(key: str, values: ArrayLike) -> Breakage:
    return lambda graph: graph.with_layers({}, {key: np.asarray(values)})


def with_fields(**fields: Any) -> Breakage:
    return lambda graph: graph.with_layers({"fc": replace(the_layer(graph), **fields)})


def with_weight_steps(values: ArrayLike) -> Breakage:
    quant = the_layer(MAPPED).quant
    assert quant is not None
    changed = with_fields(quant=replace(quant, weight_step="steps"))
    return lambda graph: with_array("steps", values)(changed(graph))


BREAKAGES = {
    "groups": (with_fields(groups=2), "columns are not a multiple of the groups"),
    "shape of the codes": (with_array(f"{FC_CODES}-kept", [[9, -6]]), "codes are (1, 2), not (2, 2)"),
    "a code too high": (with_array(f"{FC_CODES}-kept", [[16, 0], [0, 0]]), "a code outside -15..15"),
    "a code too low": (with_array(f"{FC_CODES}-kept", [[-16, 0], [0, 0]]), "a code outside -15..15"),
    "weight steps": (with_weight_steps([1.0, 1.0]), "one weight step a tensor or a column"),
    "number of kept rows": (with_array("fc/rows", [0]), "kept lines outside the matrix"),
    "kept rows below the matrix": (with_array("fc/rows", [0, 3]), "kept lines outside the matrix"),
    "kept rows above the matrix": (with_array("fc/rows", [-1, 0]), "kept lines outside the matrix"),
    "order of kept columns": (with_array("fc/columns", [1, 0]), "kept lines are not ascending"),
    "a kept column twice": (with_array("fc/columns", [1, 1]), "a kept line twice"),
    "no slices": (with_fields(slicing=None), "tiled but not sliced"),
    "row tiles": (with_fields(tiling=replace(TILING, row_tiles=2)), "row tiles do not cover the rows"),
    "sums": (with_array("fc/sums", [0]), "fc/sums is not (1, 2, 2, 2)"),
    "divisors": (with_array("fc/gcds", [0]), "fc/gcds is not (1, 2, 2, 2)"),
    "counts": (with_array("fc/nonzeros", [0]), "fc/nonzeros is not (1, 2, 2, 2)"),
    "crossbars": (with_array("fc/allocated", [True]), "fc/allocated is not (1, 1, 2, 2)"),
    "ADC bits": (with_array("fc/adc-bits", [0]), "fc/adc-bits is not (1, 2, 2, 2)"),
    "ADC steps": (with_array("fc/adc-step", [1]), "fc/adc-step is not (1, 2, 2, 2)"),
    "an ADC step of 0": (with_array("fc/adc-step", np.zeros((1, 2, 2, 2))), "an ADC step of 0"),
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
    "another layer in its place": (with_fields(name="new"), ("fc",), "claims ('fc',), changed ['fc', 'new']"),
}


@pytest.mark.parametrize(("change", "claim", "words"), CLAIMS.values(), ids=CLAIMS)
def test_a_false_claim_is_caught(change: Breakage, claim: tuple[str, ...], words: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_claim("liar", MAPPED, PassResult(change(MAPPED), claim))
    assert str(caught.value) == f"pass 'liar' {words}"


def test_a_true_claim_passes() -> None:
    check_claim("honest", MAPPED, PassResult(with_fields(vectors=7)(MAPPED), ("fc",)))
    check_claim("idle", MAPPED, PassResult(MAPPED, ()))
