import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.plan.cells import CrossbarIndex, crossbar_cells
from bsc.plan.document import Plan
from bsc.report.html.floorplan import SHIPPED, Floorplan, cells
from bsc.testing import save, tiny_model
from tests.bsc.plans import ISAAC, coded, model_plan, plan_of
from tests.bsc.report.reports import changed, report_of


def unpacked(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)


def floorplan_of(plan: Plan) -> Floorplan:
    return Floorplan.of(plan.mapping, report_of(plan))


@pytest.fixture
def plan() -> Plan:
    codes = np.random.default_rng(0).integers(-255, 256, (20, 12))
    return plan_of(coded(codes, name="big"), coded(codes[:12, :3], name="small"), rows=8, cols=4, active_rows=4)


def test_numbers_arrive_as_they_were(plan: Plan) -> None:
    floorplan = floorplan_of(plan)
    data = floorplan.data()
    assert [layer["crossbars"] for layer in data["layers"]] == [3 * 3 * 8, 2 * 1 * 8]
    assert [layer["capacity"] for layer in data["layers"]] == [32, 32]
    assert [layer["tops"] for layer in data["layers"]] == [[3, 3, 3, 3]] * 2
    for name in ("rows", "nonzeros", "adc_bits", "mean_bits"):
        sent = data["arrays"][name]
        kind, script = SHIPPED[name]
        expected = np.concatenate([getattr(table, name) for table in floorplan.tables])
        np.testing.assert_allclose(unpacked(sent["data"], kind), expected, rtol=1e-6)
        assert sent["type"] == script


def test_cells_arrive_as_they_were(plan: Plan) -> None:
    floorplan = floorplan_of(plan)
    shown = cells(plan.mapping, floorplan, 10**6)
    assert len(shown) == 88
    layer = plan.mapping.layers[0]
    arrays = plan.mapping.arrays(layer)
    row_tile, column_tile, part, polarity = floorplan.tables[0].index[37].tolist()
    index = CrossbarIndex(row_tile=row_tile, column_tile=column_tile, slice=part, polarity=polarity)
    expected = crossbar_cells(layer, arrays, index)
    np.testing.assert_array_equal(unpacked(shown["37"]["levels"], "u1").reshape(expected.shape), expected)
    groups, columns = slice(2 * row_tile, 2 * row_tile + 2), slice(4 * column_tile, 4 * column_tile + 4)
    bits = arrays.adc_bits[groups, part, polarity, columns].max(axis=0)
    np.testing.assert_array_equal(unpacked(shown["37"]["bits"], "u1"), bits)


@pytest.mark.parametrize("room", [0, 100, 2000, 5000])
def test_cells_keep_to_their_room_and_every_layer_has_a_share(plan: Plan, room: int) -> None:
    shown = cells(plan.mapping, floorplan_of(plan), room)
    assert len(json.dumps(shown)) <= room or not shown
    small = sum(int(number) >= 72 for number in shown)
    if room >= 2000:
        assert min(small, len(shown) - small) > 0


def test_upper_slices_of_first_tiles_come_first(plan: Plan) -> None:
    floorplan = floorplan_of(plan)
    shown = cells(plan.mapping, floorplan, 1200)
    index = np.concatenate([table.index for table in floorplan.tables])[[int(number) for number in shown]]
    assert {*index[:, 2].tolist()} <= {3, 2}
    assert {*index[:, 0].tolist()} == {0}


def test_a_plan_without_crossbars() -> None:
    plan = plan_of(coded([[0, 0]]), eliminate=True)
    floorplan = floorplan_of(plan)
    assert floorplan.data()["layers"][0]["crossbars"] == 0
    assert cells(plan.mapping, floorplan, 1000) == {}


def test_levels_of_unequal_slices_have_their_own_scale() -> None:
    data = floorplan_of(plan_of(coded([[1, 2]]), cut="4-2-2")).data()
    assert data["layers"][0]["tops"] == [3, 3, 15]


def test_places_are_those_of_the_report(plan: Plan) -> None:
    report = changed(report_of(plan), "chip.layers.big.copies", 3)
    big, small = Floorplan.of(plan.mapping, report).data()["layers"]
    assert [big["first_slot"], big["copies"], big["crossbars_per_copy"]] == [0, 3, 72]
    assert [small["first_slot"], small["copies"], small["crossbars_per_copy"]] == [72, 1, 16]


def test_copies_take_no_room(plan: Plan) -> None:
    many = changed(report_of(plan), "chip.layers.big.copies", 1 << 40)
    one, other = (json.dumps(Floorplan.of(plan.mapping, each).data()) for each in (report_of(plan), many))
    assert len(other) - len(one) == len(str(1 << 40)) - 1


def test_levels_are_those_of_the_target(plan: Plan) -> None:
    levels = floorplan_of(plan).data()["levels"]
    assert [(level["name"], level["count"]) for level in levels] == [
        ("crossbar", 8),
        ("IMA", 12),
        ("tile", 168),
        ("chip", None),
    ]


def test_crossbars_of_a_unit_column_alone_have_places_and_no_numbers() -> None:
    """Two row tiles of offsets alone: both are driven for the sums of their inputs."""
    codes = np.zeros((8, 4), int)
    codes[4:] = -127
    codes[:4, :2] = -1
    plan = plan_of(coded(codes), encoding="centre", eliminate=True, rows=4, cols=2)
    (layer,) = floorplan_of(plan).data()["layers"]
    assert layer["crossbars"] < layer["crossbars_per_copy"]


def test_layers_that_share_crossbars_have_places_of_their_planes(tmp_path: Path) -> None:
    """Codes of 164 leave the lowest slice and all negative planes empty: they have their places all the same."""
    weights = [np.full((4, 4), 0.01, np.float32)] * 2
    model = tiny_model(
        "(float[N,4] x) => (float[N,4] y) { [a] h = MatMul(x, w) [b] y = MatMul(h, v) }",
        {"w": weights[0], "v": weights[1]},
    )
    pipeline = default_pipeline(ISAAC, rows=16, cols=8, policy="lossless", granularity="column")
    options = CompileOptions(pipeline=f"{pipeline},place{{pack=yes}}")
    plan = compile_model(save(model, tmp_path / "model.onnx"), ISAAC, options).plan
    assert plan is not None
    first, second = floorplan_of(plan).data()["layers"]
    assert first["shared"] == second["shared"] == [2, 4, 6]
    assert first["first_slot"] == second["first_slot"] == 0
    assert first["crossbars_per_copy"] == 8
    assert floorplan_of(model_plan(model, tmp_path)).data()["layers"][1]["shared"] is None
