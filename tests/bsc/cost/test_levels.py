"""Laws of levels: what is added up over them, and what neither their names nor further ones change."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hw_models
from bsc.cost.compare import Comparison, compare
from bsc.cost.counts import count_mapping
from bsc.hardware.check import check, total
from bsc.hardware.target import Level, Target
from tests.bsc.plans import ISAAC, coded, mapped

LAWS = hw_models.laws()
MAPPING = mapped(
    coded(np.random.default_rng(0).integers(-255, 256, (300, 40)), name="a", vectors=3),
    coded(np.random.default_rng(1).integers(-3, 4, (40, 10)), name="b", input="y", output="z"),
    eliminate=True,
)


def priced(target: Target) -> Comparison:
    return compare(MAPPING, target, LAWS["isaac"], LAWS)


def read(target: Target) -> Target:
    """The target as a file would give it, all checks made."""
    return Target.model_validate_json(target.model_dump_json())


def renamed(target: Target) -> Target:
    """Every level, action and area under another name."""
    names = {level.name: f"unit-{number}" for number, level in enumerate(target.level)}

    def component(path: str | None) -> str | None:
        return None if path is None else f"{names[path.split('.')[0]]}.{path.split('.')[1]}"

    def level(each: Level) -> Level:
        actions = {
            f"new_{key}": action.model_copy(
                update={
                    "component": component(action.component),
                    "label": None,
                    "energy_as": action.energy_as and f"new_{action.energy_as}",
                }
            )
            for key, action in each.action.items()
        }
        areas = {f"new_{key}": part.model_copy(update={"label": None}) for key, part in each.area.items()}
        return each.model_copy(update={"name": names[each.name], "action": actions, "area": areas})

    published = tuple(entry.model_copy(update={"level": names[entry.level]}) for entry in target.published)
    peak = tuple(entry.model_copy(update={"level": names[entry.level]}) for entry in target.peak)
    levels = tuple(map(level, target.level))
    return read(target.model_copy(update={"level": levels, "published": published, "peak": peak}))


def test_names_change_labels_and_no_number() -> None:
    ours, theirs = priced(renamed(ISAAC)), priced(ISAAC)
    for name in ("plan", "uniform", "offset"):
        one, other = getattr(ours, name), getattr(theirs, name)
        assert [list(layer.values()) for layer in one.energy_j.values()] == [
            list(layer.values()) for layer in other.energy_j.values()
        ]
        assert list(one.area_m2.values()) == list(other.area_m2.values())
        assert list(one.units.values()) == list(other.units.values())
        assert (one.latency_s, one.layer_area_m2) == (other.latency_s, other.layer_area_m2)
        assert one.total_adc_energy_j == other.total_adc_energy_j
    for one, other in zip(ours.spread, theirs.spread, strict=True):
        assert (one.law, one.adc, one.total) == (other.law, other.adc, other.total)
    assert ours.energy_by_kind() == theirs.energy_by_kind()
    lines = zip(check(renamed(ISAAC)), check(ISAAC), strict=True)
    assert all(str(one) == str(other) for one, other in lines)
    assert list(ours.plan.units) == ["unit-0", "unit-1", "unit-2", "unit-3"]
    assert ours.plan.actions[0] == "new_adc_conversion"


@st.composite
def splits(draw: st.DrawFn) -> tuple[int, int, int]:
    """A level of ISAAC but the last, and two factors of its count."""
    place = draw(st.integers(0, len(ISAAC.level) - 2))
    count = ISAAC.level[place].count
    assert count is not None
    inner = draw(st.sampled_from([factor for factor in range(1, count + 1) if count % factor == 0]))
    return place, inner, count // inner


@settings(deadline=None, max_examples=25)
@given(splits())
def test_a_level_that_costs_nothing_changes_no_total(split: tuple[int, int, int]) -> None:
    place, inner, outer = split
    before, after = ISAAC.level[: place + 1], ISAAC.level[place + 1 :]
    nothing = Level(name="bank", count=outer, source="made up")
    levels = (*before[:-1], before[-1].model_copy(update={"count": inner}), nothing, *after)
    # The sub-total of all units of a level is now that of the new one.
    published = [
        entry.model_copy(update={"level": "bank"})
        if (entry.level, entry.covers) == (ISAAC.level[place].name, "all")
        else entry
        for entry in ISAAC.published
    ]
    more = read(ISAAC.model_copy(update={"level": levels, "published": tuple(published)}))
    ours, theirs = priced(more), priced(ISAAC)
    for name in ("plan", "uniform", "offset"):
        one, other = getattr(ours, name), getattr(theirs, name)
        assert (one.energy_j, one.latency_s) == (other.energy_j, other.latency_s)
        assert (one.area_m2, one.layer_area_m2) == (other.area_m2, other.layer_area_m2)
        assert {key: count for key, count in one.units.items() if key != "bank"} == other.units
    for level in ISAAC.level:
        assert total(more, level.name, "power_w") == pytest.approx(total(ISAAC, level.name, "power_w"))
    assert all(line.ok for line in check(more))


def quantity(value: float) -> dict[str, Any]:
    return {"value": value, "kind": "assumed", "source": "made up"}


@st.composite
def targets(draw: st.DrawFn) -> Target:
    """ISAAC's arrays in one to four further levels, with costs of their own."""
    amounts = st.floats(0, 1e-6)
    depth = draw(st.integers(2, 5))
    base = ISAAC.model_dump(mode="json", exclude_none=True)
    levels: list[dict[str, Any]] = []
    for number in range(depth):
        counters = draw(st.lists(st.sampled_from(["rows_driven", "moved_bits", "partial_results"]), max_size=2))
        level: dict[str, Any] = {
            "name": f"l{number}",
            "source": "made up",
            "action": {
                f"a{number}_{index}": {"counter": counter, "per": "one", "energy_j": quantity(draw(amounts))}
                for index, counter in enumerate(["conversions", *counters] if number == 0 else counters)
            },
            "area": {f"p{number}": {"area_m2": quantity(draw(amounts))}},
        }
        if number < depth - 1:
            level["count"] = draw(st.integers(1, 9))
        levels.append(level)
    levels[0]["area"] |= {per: {"per": per, "area_m2": quantity(draw(amounts))} for per in ("converter", "row", "cell")}
    return Target.model_validate({**base, "level": levels, "published": [], "peak": []})


@settings(deadline=None, max_examples=30)
@given(targets())
def test_energies_and_areas_add_up_over_levels(target: Target) -> None:
    cost, counts = priced(target).plan, count_mapping(MAPPING)
    by_level = [math.fsum(cost.action_energy_j(name) or 0 for name in level.action) for level in target.level]
    assert cost.total_energy_j == pytest.approx(sum(by_level))
    assert cost.total_energy_j == pytest.approx(sum(cost.layer_energy_j(name) or 0 for name in cost.energy_j))
    for level in target.level:
        for name, action in level.action.items():
            if action.counter != "conversions":
                assert action.energy_j is not None
                expected = sum(layer.counters[action.counter] for layer in counts) * action.energy_j.value
                assert cost.action_energy_j(name) == pytest.approx(expected)
    # Whole units of every level, each filled by the one within it.
    number = cost.crossbars
    for level in target.level:
        assert cost.units[level.name] == number
        number = math.ceil(number / (level.count or 1))
    assert cost.area_m2 is not None
    assert cost.layer_area_m2 is not None
    areas = [math.fsum(cost.area_m2[name] for name in level.area) for level in target.level]
    assert cost.total_area_m2 == pytest.approx(sum(areas))
    assert cost.total_area_m2 == pytest.approx(sum(cost.layer_area_m2.values()))
    for level in target.level:
        part = level.area[f"p{level.name[1:]}"]
        assert cost.area_m2[f"p{level.name[1:]}"] == pytest.approx(cost.units[level.name] * part.area_m2.value)
