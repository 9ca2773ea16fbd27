"""The full total: by hand, re-added from its parts, and what static power and links make of it."""

from pathlib import Path
from typing import Any

import pytest

from bsc.chip.energy import chip_energy, static_w_by_kind
from bsc.cost.counters import ALL_COUNTERS, CHIP_COUNTERS, chip_actions
from bsc.hardware.check import total
from bsc.hardware.target import Component, Quantity, Target
from bsc.report.document import ReportDocument
from tests.bsc.chip.networks import attention, residual
from tests.bsc.plans import ISAAC, model_plan
from tests.bsc.report.reports import report_of
from tests.bsc.targets import with_action, without_price

NOTHING = dict.fromkeys(CHIP_COUNTERS, 0)


def priced(target: Target = ISAAC, **more: object) -> Any:
    counts: dict[str, Any] = {"counters": NOTHING, "interval_s": 1e-6, "tiles": 2, "chips": 1, "idle_share": 0.25}
    return chip_energy(target, **({"layers_j": 1e-6, **counts} | more))


def test_by_hand() -> None:
    counters = NOTHING | {"router_bits": 1000, "merges": 10, "interpolations": 100, "chip_link_bits": 5000}
    found = priced(counters=counters)
    assert found.traffic_j == pytest.approx(1000 * 42e-3 / (8 * 32e9) + 10 * 0.05e-3 / 0.96e9)
    assert found.work_j == pytest.approx(100 * 0.52e-3 / 0.96e9)
    assert found.static_w == 10.4  # links of the one chip, whatever they carry
    assert found.static_j == pytest.approx(10.4e-6)
    assert found.total_j == pytest.approx(1e-6 + found.traffic_j + found.work_j + found.static_j)
    # Two tiles of 330 mW that do nothing for a quarter of a microsecond, at 1 % of their power.
    assert found.at_rest(0.01) - found.total_j == pytest.approx(0.01 * 2 * 0.32986 * 0.25e-6, rel=1e-3)
    assert found.at_rest(0.05) - found.total_j == pytest.approx(5 * (found.at_rest(0.01) - found.total_j))


def test_a_published_static_part_is_charged_and_not_assumed_again() -> None:
    """The eDRAM of two tiles draws 1 mW all the time."""

    def leaks(row: Component) -> Component:
        part = Quantity(value=1e-3, kind="survey", source="a test")
        return row.model_copy(update={"static_w": part})

    levels = list(ISAAC.level)
    rows = {**levels[2].component, "edram": leaks(levels[2].component["edram"])}
    levels[2] = levels[2].model_copy(update={"component": rows})
    target = ISAAC.model_copy(update={"level": tuple(levels)})
    assert static_w_by_kind(target, tiles=2, chips=3) == pytest.approx({"paper": 3 * 10.4, "survey": 2e-3})
    found, without = priced(target), priced()
    assert found.static_j - without.static_j == pytest.approx(2e-9)
    assert without.at_rest_j - found.at_rest_j == pytest.approx(20.7e-3 * 2 * 0.25e-6)
    assert total(target, "tile", "power_w") == total(ISAAC, "tile", "power_w")


def test_what_never_happens_costs_nothing_and_what_has_no_price_is_unknown() -> None:
    assert priced().by_action_j["product"] == 0.0
    found = priced(counters=NOTHING | {"products": 1})
    assert (found.by_action_j["product"], found.work_j, found.total_j) == (None, None, None)
    assert found.traffic_j == 0.0
    unknown = priced(counters=NOTHING | {"router_bits": None})
    assert (unknown.traffic_j, unknown.work_j, unknown.total_j) == (None, 0.0, None)
    assert priced(without_price(ISAAC, "router_bit")).traffic_j == 0.0


def test_energies_re_add(tmp_path: Path) -> None:
    """Parts of the plan and of its baselines, from counters and prices alone."""
    report = report_of(model_plan(residual(), tmp_path))
    prices = {name: action.energy_j.value for name, action in chip_actions(ISAAC).items() if action.energy_j}
    spends = (report.cost.plan, *report.cost.baselines)
    for chip, spend in zip(report.chip.columns, spends, strict=True):
        energy: Any = chip.energy
        again = sum(
            energy.counters[action.counter] * prices.get(name, 0.0) for name, action in chip_actions(ISAAC).items()
        )
        assert energy.counters["products"] == 0
        assert energy.traffic_j + energy.work_j == pytest.approx(again)
        assert energy.total_j == pytest.approx(spend.energy_j + again + 10.4 * chip.chips * chip.interval_s)
        assert chip.power_w == pytest.approx(energy.total_j / chip.interval_s)
        assert energy.active_j < energy.total_j < energy.at_rest_1_percent_j < energy.at_rest_5_percent_j
        assert set(energy.counters) == set(CHIP_COUNTERS)
    work = {each.op_type: each for each in report.chip.operators}
    for kind in ("products", "additions", "comparisons", "interpolations"):
        assert sum(getattr(each, kind) for each in work.values()) == report.chip.plan.energy.counters[kind]
    assert sum(report.chip.energy_by_kind_j.values()) == pytest.approx(report.chip.plan.energy.active_j)
    assert sum(report.chip.energy_share_by_kind.values()) == pytest.approx(1.0)
    assert report.chip.static_w_by_kind == {"paper": 10.4 * report.chip.plan.chips}


def test_products_of_activations_are_counted_and_have_no_price(tmp_path: Path) -> None:
    report = report_of(model_plan(attention(), tmp_path))
    energy: Any = report.chip.plan.energy
    assert energy.counters["products"] > 0
    assert (energy.by_action_j["product"], energy.total_j) == (None, None)
    assert report.chip.plan.power_w is None
    assert energy.traffic_j > 0


def test_a_target_of_a_users_may_price_products(tmp_path: Path) -> None:
    price = Quantity(value=2e-13, kind="survey", source="a test")
    target = with_action(ISAAC, "product", lambda action: action.model_copy(update={"energy_j": price}))
    report: ReportDocument = report_of(model_plan(attention(), tmp_path), target=target)
    energy: Any = report.chip.plan.energy
    assert energy.by_action_j["product"] == pytest.approx(2e-13 * energy.counters["products"])
    assert energy.total_j is not None


def test_what_has_no_action_is_left_out_and_unknown() -> None:
    levels = tuple(
        level.model_copy(
            update={"action": {name: each for name, each in level.action.items() if each.counter not in CHIP_COUNTERS}}
        )
        for level in ISAAC.level
    )
    found = priced(ISAAC.model_copy(update={"level": levels}))
    assert (found.traffic_j, found.work_j) == (None, None)
    assert found.active_j == 1e-6


def test_every_counter_has_one_table() -> None:
    assert len(set(ALL_COUNTERS)) == len(ALL_COUNTERS)
