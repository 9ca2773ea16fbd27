"""Copies and places, from a model whose demands are made up."""

from dataclasses import replace

import pytest

from bsc.errors import DoesNotFitError, ModelError, UsageError
from bsc.ir.graph import Graph
from bsc.ir.pipeline import parse_pipeline
from bsc.mapping.placement import ChipDemand, CopiesPolicy, Floor, LayerDemand, Part, PowerDemand, Rules
from passes import PASSES
from passes.assign_adc import AssignAdc
from passes.place import Place
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import coded
from tests.passes.layers import compiled, network

TILE = Floor(levels=(8, 3, 4), shared=8)
"""Eight slots in an IMA, three IMAs in a tile, four tiles in a chip: 96 slots."""


def graph(floor: Floor = TILE, crossbars: tuple[int, int] = (5, 10), energy_j: float | None = 1e-6) -> Graph:
    """Two layers, the first of which works ten times as long as the second."""
    layers = (coded([[1, 2]], name="a", output="h"), coded([[3], [4]], name="b", input="h"))
    arrays = {key: values for each in layers for key, values in each.arrays.items()}
    mapped = compiled(network(*(each.layer for each in layers), arrays=arrays), SliceBits(), Tile(), AssignAdc())
    demands = tuple(
        LayerDemand(name=name, crossbars=each, vectors=vectors, vector_s=1e-6, energy_j=energy_j)
        for name, each, vectors in zip("ab", crossbars, (10, 1), strict=True)
    )
    return mapped.with_demand(ChipDemand(floor=floor, layers=demands))


def places(step: Place, given: Graph) -> dict[str, tuple[int, int]]:
    """Copies and first slot by layer."""
    layers = step.run(given).graph.layers()
    return {layer.name: (layer.placed.copies, layer.placed.first_slot) for layer in layers if layer.placed is not None}


def test_by_hand() -> None:
    # One copy each: 5 slots, then the next IMA. Copies of a: 10 us / 5 = 2 us, and 5 x 10 us + 10 x 1 us over 96 slots.
    assert places(Place(), graph()) == {"a": (1, 0), "b": (1, 8)}
    # T = 0.67 us would need 15 copies of a (75, and from 80 on) and 2 of b (20): 100 slots. With 14, 70, 72 and 20: 92.
    assert places(Place(copies="throughput"), graph()) == {"a": (14, 0), "b": (2, 72)}
    assert places(Place(copies="isaac"), graph()) == {"a": (10, 0), "b": (1, 56)}
    placed = next(Place(copies="throughput").run(graph()).graph.layers()).placed
    assert placed is not None
    assert placed.rules == Rules(policy="throughput", slots=96, power_w=None, pack=False)
    assert (placed.crossbars_per_copy, placed.end_slot) == (5, 70)
    assert str(placed) == "placed at 0, 14 x 5 crossbars"


def test_power_ends_the_search() -> None:
    # 2 uJ an inference: at 1 W an inference every 2 us, for which five copies of a are enough.
    assert places(Place(copies="throughput", power=1.0), graph()) == {"a": (5, 0), "b": (1, 32)}


def test_power_is_that_of_everything() -> None:
    """Layers take 2 uJ, digital work and traffic one each; a tile draws 100 mW and the chip 200 mW."""
    given = graph()
    demand = given.demand
    assert demand is not None

    def copies(carried_j: float) -> int:
        power = PowerDemand(
            work_j=1e-6,
            traffic_j=1e-6,
            tile_w=0.1,
            chip_w=0.2,
            carried_j=lambda placed: 1e-6 + carried_j * (placed["a"].copies - 1),
        )
        return places(Place(copies="throughput", power=1.3), given.with_demand(replace(demand, power=power)))["a"][0]

    # 1.3 W less two tiles and the chip leave 0.9 W: 4 uJ every 4.44 us, so that two copies of a (5 us) are enough.
    assert copies(0.0) == 2
    # Traffic of 2 uJ makes that 5.56 us, and one copy (10 us, in one tile) is what is left.
    assert copies(1e-6) == 1


@pytest.mark.parametrize("policy", ["isaac", "throughput", "latency"])
@pytest.mark.parametrize(
    ("power", "throughput", "isaac"), [(0.9, 4, 2), (1.0, 5, 5), (1.19, 5, 5), (1.2, 6, 5), (0.2, 1, 1)]
)
def test_copies_do_not_exceed_the_power(policy: CopiesPolicy, power: float, throughput: int, isaac: int) -> None:
    # 2 uJ an inference every 10 us / copies: 0.2 W a copy. ISAAC's rule halves ten copies of a: 5, 2, 1.
    copies = places(Place(copies=policy, power=power), graph())["a"][0]
    assert copies <= throughput
    assert copies == {"isaac": isaac, "throughput": throughput}.get(policy, copies)


@pytest.mark.parametrize("policy", ["none", "isaac", "throughput", "latency"])
def test_power_that_one_copy_exceeds_is_refused(policy: CopiesPolicy) -> None:
    with pytest.raises(DoesNotFitError) as caught:
        Place(copies=policy, power=0.199).run(graph())
    assert str(caught.value) == (
        "[BSC404] the model needs more power than there is\n"
        "  seen: one copy of each layer takes 200 mW at an inference every 10.0 µs, and 199 mW are at hand\n"
        "  fix:  give it --power 0.2, or leave --power out and run an inference every 10.1 µs or less often"
    )
    placed = next(Place(copies=policy, power=0.2).run(graph()).graph.layers()).placed
    assert placed is not None
    assert placed.rules.power_w == 0.2


def test_links_lower_the_power_that_is_needed() -> None:
    given = graph()
    assert given.demand is not None
    slow = given.with_demand(replace(given.demand, io_bits=40, link_bits_per_s=1e6))  # 40 us, and 2 uJ
    assert places(Place(power=0.05), slow) == {"a": (1, 0), "b": (1, 8)}
    with pytest.raises(DoesNotFitError, match=r"takes 50\.0 mW at an inference every 40\.0 µs"):
        Place(power=0.049).run(slow)


def test_an_area_is_that_of_whole_tiles_and_what_is_needed_is_enough() -> None:
    given = graph()
    assert given.demand is not None
    tiled = given.with_demand(replace(given.demand, tile=("core", "cores"), tile_m2=0.3721e-6))
    assert places(Place(copies="throughput", area=0.7442), tiled) == {"a": (6, 0), "b": (1, 32)}  # as with two tiles
    assert places(Place(copies="throughput", area=0.744), tiled) == {"a": (1, 0), "b": (1, 8)}
    assert places(Place(copies="throughput", tiles=1, area=9.0), tiled) == {"a": (1, 0), "b": (1, 8)}
    with pytest.raises(DoesNotFitError) as caught:
        Place(area=0.3, chips=1).run(tiled)
    assert str(caught.value) == (
        "[BSC404] the model needs more crossbars than there are\n"
        "  seen: one copy of each layer takes 18 crossbars in 1 core, and 0 crossbars in 0 cores are at hand; the "
        "largest layer is 'b' with 10 crossbars\n"
        "  fix:  give it --area 0.373, or load its layers one after another with --reload, or map fewer weight bits or "
        "--encoding offset"
    )
    assert places(Place(area=0.373, chips=1), tiled) == {"a": (1, 0), "b": (1, 8)}
    with pytest.raises(UsageError, match="--area needs a target that gives areas"):
        Place(area=1.0).run(given)


def test_tiles_and_chips() -> None:
    # Tiles of 24 slots: one copy each takes 18 slots, which is one tile.
    assert places(Place(copies="throughput", tiles=1), graph()) == {"a": (1, 0), "b": (1, 8)}
    assert places(Place(copies="throughput", tiles=2), graph()) == {"a": (6, 0), "b": (1, 32)}
    two = places(Place(copies="throughput", chips=2), graph())
    assert two["a"][0] > 14  # on two chips there is room for more
    assert places(Place(copies="throughput", chips=2, tiles=2), graph()) == {"a": (6, 0), "b": (1, 32)}


def test_a_layer_larger_than_a_chip_goes_on_on_the_next() -> None:
    found = places(Place(), graph(crossbars=(5, 200)))
    assert found == {"a": (1, 0), "b": (1, 8)}
    with pytest.raises(DoesNotFitError) as caught:
        Place(chips=2).run(graph(crossbars=(5, 200)))
    assert str(caught.value) == (
        "[BSC404] the model needs more crossbars than there are\n"
        "  seen: one copy of each layer takes 208 crossbars in 9 tiles, and 192 crossbars in 8 tiles are at hand; the "
        "largest layer is 'b' with 200 crossbars\n"
        "  fix:  give it --chips 3, or load its layers one after another with --reload, or map fewer weight bits or "
        "--encoding offset"
    )


@pytest.mark.parametrize(("chips", "fits"), [(1, False), (2, True)])
def test_both_sides_of_the_limit(chips: int, fits: bool) -> None:
    given = graph(crossbars=(88, 9))  # 88 + 9 = 97 slots, one more than a chip has
    if fits:
        assert places(Place(chips=chips), given) == {"a": (1, 0), "b": (1, 88)}
    else:
        with pytest.raises(DoesNotFitError):
            Place(chips=chips).run(given)
    assert places(Place(chips=1), graph(crossbars=(88, 8))) == {"a": (1, 0), "b": (1, 88)}


def test_contract() -> None:
    given = graph()
    before = str(given)
    first = Place().run(given)
    assert first.changed == ("a", "b")
    assert str(given) == before
    again = Place().run(first.graph)
    assert (again.graph is first.graph, again.changed) == (True, ())


def test_round_trip() -> None:
    text = "place{copies=latency chips=2 tiles=40 area=2.5 power=1.5}"
    (step,) = parse_pipeline(text, PASSES)
    assert step == Place(copies="latency", chips=2, tiles=40, area=2.5, power=1.5)


@pytest.mark.parametrize(
    "options",
    [{"chips": -1}, {"tiles": -1}, {"area": -1.0}, {"area": float("nan")}, {"power": -1.0}, {"power": float("inf")}],
)
def test_impossible_options(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="pass 'place'"):
        Place(**options)  # type: ignore[arg-type]


def test_a_power_budget_needs_energies() -> None:
    with pytest.raises(UsageError, match="a power budget needs the energy of an inference"):
        Place(power=1.0).run(graph(energy_j=None))
    assert places(Place(), graph(energy_j=None)) == {"a": (1, 0), "b": (1, 8)}


def test_without_demands() -> None:
    given = graph()
    given.demand = None
    with pytest.raises(ModelError, match="pass 'place' needs what 'assign-adc' computes"):
        Place().run(given)


def test_a_layer_of_zeros_takes_no_place() -> None:
    given = graph()
    assert given.demand is not None
    none = replace(given.demand.layers[0], crossbars=0, vector_s=0.0)
    demand = replace(given.demand, layers=(none, given.demand.layers[1]))
    assert places(Place(copies="throughput"), given.with_demand(demand)) == {"a": (1, 0), "b": (9, 0)}


def parts(*sizes: tuple[int, int]) -> Graph:
    """Two layers of eight crossbars, of which they take so many rows and columns."""
    given = graph(crossbars=(8, 8))
    assert given.demand is not None
    layers = tuple(
        replace(layer, part=Part(rows=rows, columns=columns, of_rows=128, of_columns=128, planes=8))
        for layer, (rows, columns) in zip(given.demand.layers, sizes, strict=True)
    )
    return given.with_demand(replace(given.demand, layers=layers))


@pytest.mark.parametrize(
    ("sizes", "shared"),
    [
        (((100, 100), (28, 28)), True),
        (((101, 100), (28, 28)), False),
        (((100, 101), (28, 28)), False),
    ],
)
def test_small_layers_share_crossbars(sizes: tuple[tuple[int, int], tuple[int, int]], shared: bool) -> None:
    given = parts(*sizes)
    assert places(Place(), given) == {"a": (1, 0), "b": (1, 8)}
    assert places(Place(pack="yes"), given) == {"a": (1, 0), "b": (1, 0 if shared else 8)}
    second = list(Place(pack="yes").run(given).graph.layers())[1].placed
    assert second is not None
    assert (second.row, second.column) == (sizes[0] if shared else (0, 0))


def test_layers_that_share_crossbars_have_as_many_copies() -> None:
    # 10 us over 12 copies of the eight crossbars that both share; alone, a has 11 of 8 and b one.
    found = places(Place(copies="throughput", pack="yes"), parts((64, 64), (64, 64)))
    assert found == {"a": (12, 0), "b": (12, 0)}
    alone = places(Place(copies="throughput"), parts((64, 64), (64, 64)))
    assert alone == {"a": (10, 0), "b": (1, 80)}
