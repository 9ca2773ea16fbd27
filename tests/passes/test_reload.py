"""Segments, from a model whose demands are made up; which are best is tests/bsc/chip/test_segments.py."""

from dataclasses import replace

import pytest

from bsc.errors import DoesNotFitError, UsageError
from bsc.ir.pipeline import format_pipeline, parse_pipeline
from bsc.mapping.placement import Reloading
from passes import PASSES
from passes.place import Place
from passes.reload import Reload
from tests.passes.test_place import graph

LARGE = graph(crossbars=(20, 10))
"""One tile has 24 places."""


def test_by_hand() -> None:
    with pytest.raises(DoesNotFitError) as refused:
        Place(tiles=1).run(LARGE)
    assert "load its layers one after another with --reload" in str(refused.value)
    first, second = Reload(tiles=1, batch=8, cell_s=1e-9, updates=5.0).run(LARGE).graph.layers()
    assert first.placed is not None
    assert second.placed is not None
    assert (first.placed.segment, first.placed.first_slot) == (0, 0)
    assert (second.placed.segment, second.placed.first_slot) == (1, 0)
    assert first.placed.rules.reload == Reloading(batch=8, cell_s=1e-9, cell_j=0.0, updates=5.0, device=None)
    assert str(second.placed) == "segment 1, placed at 0, 1 x 10 crossbars"


def test_copies_are_of_a_segment() -> None:
    first, second = Reload(tiles=1, copies="throughput").run(graph(crossbars=(10, 20))).graph.layers()
    assert first.placed is not None
    assert second.placed is not None
    assert (first.placed.copies, second.placed.copies) == (2, 1)


def test_what_fits_is_where_place_puts_it() -> None:
    given = graph()
    for here, there in zip(Reload().run(given).graph.layers(), Place().run(given).graph.layers(), strict=True):
        assert here.placed is not None
        assert there.placed is not None
        assert here.placed.model_copy(update={"rules": there.placed.rules}) == there.placed


def test_a_layer_is_not_divided() -> None:
    with pytest.raises(DoesNotFitError) as refused:
        Reload(tiles=1).run(graph(crossbars=(40, 10)))
    assert str(refused.value) == (
        "[BSC404] a layer needs more crossbars than there are, and reloading does not divide layers\n"
        "  seen: 40 crossbars in 2 tiles for layers that must be there together, and 24 crossbars in 1 tile are at "
        "hand; the largest layer is 'a' with 40 crossbars\n"
        "  fix:  give it --tiles 2, or map fewer weight bits or --encoding offset"
    )
    Reload(tiles=2).run(graph(crossbars=(40, 10)))


def test_contract() -> None:
    before = str(LARGE)
    first = Reload(tiles=1).run(LARGE)
    assert first.changed == ("a", "b")
    assert str(LARGE) == before
    again = Reload(tiles=1).run(first.graph)
    assert (again.graph is first.graph, again.changed) == (True, ())


def test_round_trip() -> None:
    step = Reload(copies="throughput", chips=2, batch=7, cell_s=3e-9, cell_j=1e-12, updates=1e6, device=("a b{c}",))
    assert parse_pipeline(format_pipeline([step]), PASSES) == (step,)
    assert parse_pipeline("reload{batch=7}", PASSES) == (replace(Reload(), batch=7),)


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 0},
        {"cell_s": -1.0},
        {"cell_j": float("nan")},
        {"updates": float("inf")},
        {"device": ("a", "b")},
        {"chips": -1},
        {"power": 1.0},
    ],
)
def test_impossible_options(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="pass 'reload'"):
        Reload(**options)  # type: ignore[arg-type]
