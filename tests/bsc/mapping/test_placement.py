import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bsc.mapping.placement import MAX_SLOTS, ChipDemand, Floor, LayerDemand, Placed, Rules, lay_down

ISAAC = Floor(levels=(8, 12, 168), shared=8)


def demand_of(*crossbars: int, floor: Floor = ISAAC) -> ChipDemand:
    layers = (LayerDemand(name=str(at), crossbars=each, vectors=1, vector_s=1.0) for at, each in enumerate(crossbars))
    return ChipDemand(floor=floor, layers=tuple(layers))


def test_an_isaac_chip_has_16128_places_and_a_tile_96() -> None:
    assert (ISAAC.slots_per_chip, ISAAC.slots_per_tile) == (16_128, 96)


@pytest.mark.parametrize(
    ("slot", "position"),
    [
        (0, (0, 0, 0, 0)),
        (7, (0, 0, 0, 7)),
        (8, (0, 0, 1, 0)),
        (95, (0, 0, 11, 7)),
        (96, (0, 1, 0, 0)),
        (100, (0, 1, 0, 4)),
        (16_127, (0, 167, 11, 7)),
        (16_128, (1, 0, 0, 0)),
    ],
)
def test_a_place_by_level(slot: int, position: tuple[int, ...]) -> None:
    assert ISAAC.position(slot) == position


def test_a_design_of_one_level_or_five() -> None:
    assert Floor(levels=(16,), shared=1).position(35) == (2, 3)
    assert Floor(levels=(2, 3, 4, 5), shared=2).position(2 * 3 * 4 * 5 + 2 * 3 + 3) == (1, 0, 1, 1, 1)


def test_every_layer_starts_on_a_part_of_its_own() -> None:
    assert ISAAC.first_slots([3, 8, 9, 0, 1]) == [0, 8, 16, 32, 32, 33]
    assert Floor(levels=(128,), shared=1).first_slots([3, 8, 9]) == [0, 3, 11, 20]
    assert ISAAC.first_slots([]) == [0]


@given(st.lists(st.integers(0, 300), max_size=8), st.integers(1, 9))
def test_layers_neither_overlap_nor_leave_a_whole_part_free(crossbars: list[int], shared: int) -> None:
    floor = Floor(levels=(shared, 7, 3), shared=shared)
    *starts, end = floor.first_slots(crossbars)
    for start, each, following in zip(starts, crossbars, [*starts[1:], end], strict=False):
        assert start % shared == 0
        assert 0 <= following - (start + each) < shared


def test_copies_follow_each_other_and_take_no_more_memory_for_being_many() -> None:
    demand = demand_of(5, 2)
    rules = Rules(policy="throughput", slots=96, power_w=None, pack=False)
    placed = lay_down(demand, rules, {"0": 3, "1": 4})
    assert placed["0"] == Placed(rules=rules, first_slot=0, copies=3, crossbars_per_copy=5, row=0, column=0)
    assert (placed["0"].end_slot, placed["1"].first_slot, placed["1"].end_slot) == (15, 16, 24)
    assert demand.slots({"0": 3, "1": 4}) == 24
    many = lay_down(demand, rules, {"0": 10**9, "1": 10**9})
    assert len(many) == len(placed)
    assert len(pickle.dumps(many)) <= len(pickle.dumps(placed)) + 64  # as numbers have more digits


@pytest.mark.parametrize(("slots", "chips"), [(0, 1), (1, 1), (16_128, 1), (16_129, 2), (32_257, 3)])
def test_chips_that_have_so_many_places(slots: int, chips: int) -> None:
    assert demand_of(1).chips(slots) == chips


def test_energy_is_unknown_if_that_of_a_layer_is() -> None:
    known = LayerDemand(name="a", crossbars=1, vectors=1, vector_s=1.0, energy_j=2.0)
    unknown = LayerDemand(name="b", crossbars=1, vectors=1, vector_s=1.0)
    assert ChipDemand(floor=ISAAC, layers=(known, known)).energy_j == 4.0
    assert ChipDemand(floor=ISAAC, layers=(known, unknown)).energy_j is None


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [("first_slot", 0, -1), ("first_slot", MAX_SLOTS, MAX_SLOTS + 1), ("copies", 1, 0), ("crossbars_per_copy", 0, -1),
     ("slots", 1, 0), ("power_w", 0.1, 0.0), ("power_w", None, float("inf")), ("policy", "isaac", "fastest")],
)  # fmt: skip
def test_records_of_places_that_cannot_be_are_refused(field: str, good: object, bad: object) -> None:
    rules: dict[str, object] = {"policy": "none", "slots": 8, "power_w": None, "pack": False}
    record: dict[str, object] = {"row": 0, "column": 0, "first_slot": 0, "copies": 1, "crossbars_per_copy": 1}

    def read(value: object) -> Placed:
        changed = {field: value}
        if field in rules:
            return Placed.model_validate(record | {"rules": rules | changed})
        return Placed.model_validate(record | {"rules": rules} | changed)

    assert read(good)
    with pytest.raises(ValidationError):
        read(bad)


def test_the_large_network_of_isaac_on_its_boards() -> None:
    """Private kernels of 18x18 over 8 maps of 200x200, 8 maps out: [isaac16] needs 32 ISAAC-CE chips for it.

    A kernel has 2,592 rows, 21 crossbars of 128, and 8 columns of 16 bits, half of a crossbar of 2-bit cells. The bits
    alone are those of 21.03 chips, for which the smallest of the boards of 8, 16, 32 and 64 chips is the one of 32. As
    no crossbar here has rows of two layers, and no IMA crossbars of two, it takes 50.
    """
    kernels, rows, columns = (200 - 18 + 1) ** 2, 18 * 18 * 8, 8 * 16 // 2
    crossbars = -(-rows // 128) * -(-columns // 128)
    assert kernels * rows * columns / (16_128 * 128 * 128) == pytest.approx(21.03, abs=0.01)
    assert min(board for board in (8, 16, 32, 64) if kernels * rows * columns <= board * 16_128 * 128 * 128) == 32
    demand = demand_of(1)
    assert demand.chips(kernels * crossbars) == 44
    assert demand.chips(ISAAC.first_slots([crossbars] * kernels)[-1]) == 50
