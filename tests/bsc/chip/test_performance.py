"""Figures of a chip, by hand and against what other figures say."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

import hw_models
from bsc.cost.compare import compare
from bsc.mapping.placement import Placed, Rules
from bsc.plan.document import Plan
from bsc.plan.folder import read_plan
from bsc.report.build import report_document
from bsc.report.chip import chip_notes
from bsc.report.document import ChipFigures, ReportDocument
from bsc.testing import conv_model, mlp_model, save
from bsc.units import format_si
from tests.bsc.plans import ISAAC, coded, plan_of
from tests.bsc.report.reports import report_of
from tests.test_cli import EXAMPLE, run


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReportDocument]:
    """Of a small convolution network, by policy, on two tiles."""
    folder = tmp_path_factory.mktemp("chip")
    model = save(conv_model(), folder / "conv.onnx")
    found = {}
    for policy in ("none", "isaac", "throughput", "latency"):
        output = folder / f"{policy}.bsc"
        options = ("--copies", policy, "--tiles", "2", "--xbar", "32x32", "-o", output)
        assert run("compile", model, *options).exit_code == 0
        found[policy] = ReportDocument.model_validate_json((output / "report.json").read_text())
    return found


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped example, compiled."""
    output = tmp_path_factory.mktemp("mnist") / "mnist.bsc"
    assert run("compile", EXAMPLE, "-o", output).exit_code == 0
    return output


def columns(report: ReportDocument) -> tuple[ChipFigures, ...]:
    return (*report.chip.columns, report.chip.filled)


def test_by_hand() -> None:
    # Two layers of one crossbar pair a slice, one vector each: 8 input cycles of 100 ns one after the other.
    plan = plan_of(coded([[1, 2], [3, 4]], name="a", output="h"), coded([[5], [6]], name="b", input="h"))
    chip = report_of(plan).chip.plan
    assert (chip.chips, chip.tiles) == (1, 1)
    assert chip.latency_s == pytest.approx(1.6e-6)
    assert chip.interval_s == pytest.approx(0.8e-6)
    assert chip.inferences_per_s == pytest.approx(1.25e6)
    assert chip.ops_per_s == pytest.approx(2 * (4 + 2) * 1.25e6)
    assert chip.busy_share == pytest.approx(1.0)


def test_figures_follow_from_each_other(reports: dict[str, ReportDocument]) -> None:
    for report in reports.values():
        spends = (report.cost.plan, *report.cost.baselines, report.cost.plan)
        macs = sum(layer.rows * layer.columns * layer.vectors for layer in report.plan.layers)
        for chip, spend in zip(columns(report), spends, strict=True):
            assert chip.inferences_per_s == pytest.approx(1 / chip.interval_s)
            energy = chip.energy
            assert energy.total_j is not None
            assert energy.layers_j == spend.energy_j
            assert chip.power_w == pytest.approx(energy.total_j / chip.interval_s)
            assert chip.ops_per_j == pytest.approx(2 * macs / energy.total_j)
            assert chip.energy_delay_js == pytest.approx(energy.total_j * chip.latency_s)
            assert chip.latency_s <= spend.latency_s * (1 + 1e-9)
            assert chip.inferences_per_s_bound is not None
            assert chip.inferences_per_s is not None
            assert chip.inferences_per_s <= chip.inferences_per_s_bound * (1 + 1e-9)
            assert chip.crossbars <= chip.slots_taken <= chip.slots_at_hand == 2 * 96


def test_policies_do_what_they_promise(reports: dict[str, ReportDocument]) -> None:
    plan = {policy: report.chip.plan for policy, report in reports.items()}
    assert plan["none"].crossbars == reports["none"].cost.plan.crossbars
    assert plan["throughput"].interval_s == min(each.interval_s for each in plan.values()) < plan["none"].interval_s
    assert plan["latency"].latency_s == min(each.latency_s for each in plan.values()) < plan["none"].latency_s
    for report in reports.values():
        assert report.chip.filled.interval_s == pytest.approx(plan["throughput"].interval_s)


@pytest.mark.parametrize("policy", ["isaac", "throughput", "latency"])
def test_baselines_keep_the_power_budget(policy: str, reports: dict[str, ReportDocument], tmp_path: Path) -> None:
    """At 1.5 times what one copy takes beside its links, copies are few; uniform 8 bit alone may exceed it with one."""
    single = columns(reports["none"])
    assert all(each.power_w is not None for each in single)
    static_w = single[0].energy.static_w or 0.0
    budget = static_w + 1.5 * ((single[0].power_w or 0.0) - static_w)
    model = save(conv_model(), tmp_path / "conv.onnx")
    options = ("--copies", policy, "--tiles", "2", "--xbar", "32x32", "--power", budget, "-o", tmp_path / "plan")
    assert run("compile", model, *options).exit_code == 0
    found = ReportDocument.model_validate_json((tmp_path / "plan" / "report.json").read_text())
    assert max(each.power_w or 0.0 for each in columns(reports["throughput"])) > budget
    for each, alone in zip(columns(found), single, strict=True):
        assert each.power_w is not None
        assert each.power_budget_w == budget
        assert each.power_w <= max(budget, alone.power_w or 0.0) * (1 + 1e-9)
        assert each.inferences_per_s is not None
        assert each.inferences_per_s_bound is not None
        assert each.inferences_per_s <= each.inferences_per_s_bound * (1 + 1e-9)
    of_power = (budget - static_w) / (single[0].energy.active_j or 0.0)
    assert found.chip.plan.inferences_per_s_bound == pytest.approx(of_power)
    assert (
        f"power budget      {format_si(budget, 'W')} for all that copies draw"
        in (tmp_path / "plan" / "report.txt").read_text()
    )


def test_whoever_exceeds_the_budget_with_one_copy_is_named(mnist: Path) -> None:
    """Beside 10.4 W of links one copy takes 116 mW, 155 mW with uniform 8 bit, and 100 and 104 mW in the others."""
    plan = read_plan(mnist)
    rules = Rules(policy="throughput", slots=16128, power_w=10.53, pack=False)
    placed = {
        layer.name: layer.placed.model_copy(update={"rules": rules})
        for layer in plan.mapping.layers
        if layer.placed is not None
    }
    report = report_of(_with(plan, placed))
    assert (
        dict(chip_notes(report))["power budget"]
        == "10.5 W for all that copies draw; uniform 8 bit exceeds it with one of each layer"
    )
    # On other hardware as well, where it is placed anew.
    chip = ISAAC.level[-1].model_copy(update={"name": "board", "plural": "boards"})
    levels = (*ISAAC.level[:-2], ISAAC.level[-2].model_copy(update={"count": 7}), chip)
    elsewhere = report_of(_with(plan, placed), target=ISAAC.model_copy(update={"level": levels}))
    assert elsewhere.chip.plan.slots_at_hand == 7 * 96
    assert [each.power_budget_w for each in columns(elsewhere)] == [10.53] * 5
    assert elsewhere.chip.plan.copies_policy == "throughput"
    assert elsewhere.chip.plan.power_w == report.chip.plan.power_w


@pytest.mark.parametrize("zeros", [(0,), (0, 1)])
def test_operations_are_those_of_crossbars(zeros: tuple[int, ...], tmp_path: Path) -> None:
    """A layer of zeros has none, and a network of zeros has neither operations nor operations for a joule."""
    network = mlp_model(8, 4, 2)
    weights = [each for each in network.graph.initializer if len(each.dims) == 2]
    for at in zeros:
        shape = tuple(weights[at].dims)
        weights[at].CopyFrom(numpy_helper.from_array(np.zeros(shape, np.float32), weights[at].name))
    model = save(network, tmp_path / "zeros.onnx")
    assert run("compile", model, "-o", tmp_path / "plan").exit_code == 0
    chip = ReportDocument.model_validate_json((tmp_path / "plan" / "report.json").read_text()).chip
    assert chip.uniform_8_bit.ops_per_s == pytest.approx(2 * (8 * 4 + 4 * 2) * 1.25e6)
    if len(zeros) == 2:
        assert chip.plan.crossbars == 0
        assert (chip.plan.ops_per_s, chip.plan.ops_per_j, chip.plan.ops_per_s_m2) == (None, None, None)
    else:
        assert chip.plan.ops_per_s == pytest.approx(2 * 4 * 2 * 1.25e6)


def test_one_copy_has_the_area_that_the_cost_says(reports: dict[str, ReportDocument]) -> None:
    report = reports["none"]
    assert report.chip.plan.area_m2 == pytest.approx(report.cost.plan.area_m2)
    more, one = reports["throughput"].chip.plan.area_m2, report.chip.plan.area_m2
    assert more is not None
    assert one is not None
    assert more > one


def test_links_are_a_limit(mnist: Path) -> None:
    # 784 inputs and 10 outputs of 8 bits on four links of 51.2 Gbit/s: 31 ns, whatever the copies.
    plan = read_plan(mnist)
    report = report_of(plan)
    filled = report.chip.filled
    assert filled.interval_s == filled.links_s["chip links"] == pytest.approx(794 * 8 / (4 * 51.2e9))
    assert filled.busiest_link == "chip links"
    chip = ISAAC.level[-1].model_copy(update={"link": {}})
    without = ISAAC.model_copy(update={"level": (*ISAAC.level[:-1], chip)})
    without_links = report_of(plan, target=without).chip.filled
    assert "chip links" not in without_links.links_s
    assert without_links.interval_s < report.chip.filled.interval_s


def test_places_are_those_of_the_plan() -> None:
    plan = plan_of(coded([[1, 2]], name="a", output="h"), coded([[3], [4]], name="b", input="h"))
    crossbars = {name: layer.crossbars_per_copy for name, layer in report_of(plan).chip.layers.items()}
    placed = {
        name: Placed(
            rules=Rules(policy="throughput", slots=96, power_w=None, pack=False),
            first_slot=slot,
            copies=2,
            crossbars_per_copy=crossbars[name],
            row=0,
            column=0,
        )
        for name, slot in (("a", 32), ("b", 8))
    }
    plan = _with(plan, placed)
    report = report_document(plan, compare(plan.mapping, plan.target, hw_models.load_law("isaac"), {}))
    assert [report.chip.layers[name].first_slot for name in "ab"] == [32, 8]
    assert report.chip.layers["a"].first_place == [0, 0, 4, 0]
    assert report.chip.plan.slots_taken == 32 + 2 * report.chip.layers["a"].crossbars_per_copy


def test_a_layer_without_crossbars_overflows_no_buffer(tmp_path: Path) -> None:
    zeros = mlp_model(8, 4, 2)
    zeros.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.zeros((8, 4), np.float32), zeros.graph.initializer[0].name)
    )
    model = save(zeros, tmp_path / "zeros.onnx")
    output = tmp_path / "zeros.bsc"
    assert run("compile", model, "-o", output).exit_code == 0
    report = ReportDocument.model_validate_json((output / "report.json").read_text())
    assert next(layer.crossbars for layer in report.chip.layers.values()) == 0
    assert not any(layer.overflows for layer in report.chip.layers.values())
    assert "BUFFERS" not in (output / "report.txt").read_text()


def _with(plan: Plan, placed: Mapping[str, Placed]) -> Plan:
    """The plan with its layers in these places."""
    layers = tuple(layer.model_copy(update={"placed": placed[layer.name]}) for layer in plan.mapping.layers)
    record = plan.mapping.record.model_copy(update={"layers": layers})
    mapping = type(plan.mapping)(record=record, arrays=plan.mapping.arrays, digital=plan.mapping.digital)
    return type(plan)(mapping=mapping, target=plan.target, provenance=plan.provenance, files=plan.files)


def test_links_of_chips_without_a_crossbar_carry_nothing(tmp_path: Path) -> None:
    """The example fills a part of one chip, however many there are."""
    output = tmp_path / "two.bsc"
    assert run("compile", EXAMPLE, "--chips", 2, "--copies", "throughput", "-o", output).exit_code == 0
    chip = report_of(read_plan(output)).chip.plan
    assert chip.chips == 1
    assert chip.inferences_per_s == pytest.approx(4 * 51.2e9 / (794 * 8))
