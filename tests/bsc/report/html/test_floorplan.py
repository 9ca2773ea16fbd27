import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.plan.cells import CrossbarIndex, crossbar_cells
from bsc.plan.document import Plan
from bsc.report.html.floorplan import SHIPPED, Floorplan, cells
from tests.bsc.plans import coded, mapped, plan_of
from tests.bsc.report.reports import report_of


def unpacked(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)


LEVELS = report_of(plan_of(coded([[1]]))).cost.levels


@pytest.fixture
def plan() -> Plan:
    codes = np.random.default_rng(0).integers(-255, 256, (20, 12))
    return plan_of(coded(codes, name="big"), coded(codes[:12, :3], name="small"), rows=8, cols=4, active_rows=4)


def test_numbers_arrive_as_they_were(plan: Plan) -> None:
    floorplan = Floorplan.of(plan.mapping, LEVELS)
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
    floorplan = Floorplan.of(plan.mapping, LEVELS)
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
    shown = cells(plan.mapping, Floorplan.of(plan.mapping, LEVELS), room)
    assert len(json.dumps(shown)) <= room or not shown
    small = sum(int(number) >= 72 for number in shown)
    if room >= 2000:
        assert min(small, len(shown) - small) > 0


def test_upper_slices_of_first_tiles_come_first(plan: Plan) -> None:
    floorplan = Floorplan.of(plan.mapping, LEVELS)
    shown = cells(plan.mapping, floorplan, 1200)
    index = np.concatenate([table.index for table in floorplan.tables])[[int(number) for number in shown]]
    assert {*index[:, 2].tolist()} <= {3, 2}
    assert {*index[:, 0].tolist()} == {0}


def test_a_plan_without_crossbars() -> None:
    plan = plan_of(coded([[0, 0]]), eliminate=True)
    floorplan = Floorplan.of(plan.mapping, LEVELS)
    assert floorplan.data()["layers"][0]["crossbars"] == 0
    assert cells(plan.mapping, floorplan, 1000) == {}


def test_levels_of_unequal_slices_have_their_own_scale() -> None:
    data = Floorplan.of(mapped(coded([[1, 2]]), cut="4-2-2"), LEVELS).data()
    assert data["layers"][0]["tops"] == [3, 3, 15]
