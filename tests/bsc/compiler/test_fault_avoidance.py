"""Rows and columns around stuck cells: results stay what they are, harm never grows, and nothing would be less."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.fault_avoidance import choose_orders, harm_of
from bsc.compiler.options import CompileOptions
from bsc.mapping.fault_map import LayerFaults, read_fault_map
from bsc.mapping.model import MappedModel
from bsc.plan.cells import CrossbarIndex, crossbar_cells
from bsc.replay.engine import Replayer
from bsc.replay.loaded import PlanRunner
from bsc.replay.noisy import NoisyReplayer
from bsc.replay.proofs import check_proofs
from bsc.replay.simulation import layer_faults
from bsc.testing import mlp_model, save
from tests.bsc.plans import ISAAC, coded, mapped, only_layer

IDEAL = hw_models.load_device("ideal")
PIPELINES = {
    "differential": "slice-bits{bits-per-cell=2 dac-bits=1},eliminate{rows=8},tile{rows=8 cols=8},assign-adc,place",
    "row-groups": "slice-bits{bits-per-cell=1 dac-bits=2},eliminate{rows=8},tile{rows=8 cols=4 active-rows=4},"
    "assign-adc{policy=fixed bits=2},place",
    "centre-pairs": "slice-bits{bits-per-cell=2 encoding=centre subtraction=analog cut=4-4},eliminate{rows=16},"
    "tile{rows=16 cols=16},assign-adc,place",
    "offset-flipped": "slice-bits{bits-per-cell=2 encoding=offset flip=yes},eliminate{rows=8},tile{rows=8 cols=8},"
    "assign-adc,place",
    "packed": "slice-bits{bits-per-cell=2},eliminate{rows=64},tile{rows=64 cols=64},assign-adc,place{pack=yes}",
}


def compiled(folder: Path, pipeline: str, faults: Path | None = None) -> tuple[MappedModel, tuple[str, ...]]:
    model = save(mlp_model(20, 9, 5), folder / "mlp.onnx")
    plan = compile_model(model, ISAAC, CompileOptions(pipeline=f"quantize,{pipeline}", faults=faults)).plan
    assert plan is not None
    return plan.mapping, plan.document.model.notes


def random_map(folder: Path, mapping: MappedModel, share: float, seed: int) -> Path:
    """Any cell may be stuck at any level."""
    random = np.random.default_rng(seed)
    path = folder / "map.csv"
    places = max(layer.placed.end_slot for layer in mapping.layers if layer.placed is not None)
    lines = ["crossbar,row,column,stuck"]
    layer = mapping.layers[0]
    for place, row, column in itertools.product(range(places), range(layer.tile_rows), range(layer.tile_cols)):
        if random.random() < share:
            lines.append(f"{place},{row},{column},{random.integers(0, layer.cells.max_level + 1)}")
    path.write_text("\n".join(lines) + "\n")
    return path


def wrong_cells(mapping: MappedModel, path: Path) -> tuple[int, int]:
    """Stuck cells in use, and those of them that should hold another level; by plain loops."""
    used = wrong = 0
    for name, faults in layer_faults(mapping, read_fault_map(path)).items():
        layer = mapping.layer(name)
        arrays = mapping.arrays(layer)
        for crossbar, cells in faults.crossbars.items():
            t, c, s, p = crossbar
            held = crossbar_cells(layer, arrays, CrossbarIndex(row_tile=t, column_tile=c, slice=s, polarity=p))
            for row, column, level in cells.tolist():
                if 0 <= row < held.shape[0] and 0 <= column < held.shape[1]:
                    used += 1
                    wrong += held[row, column] != level
    return used, wrong


def outputs(mapping: MappedModel) -> NDArray[np.float32]:
    x = np.random.default_rng(5).standard_normal((30, 20)).astype(np.float32)
    return np.asarray(Replayer(mapping).replayed({"x": x})["y"])


def with_faults(mapping: MappedModel, path: Path) -> NDArray[np.float32]:
    x = np.random.default_rng(5).standard_normal((30, 20)).astype(np.float32)
    stuck = layer_faults(mapping, read_fault_map(path))
    return np.asarray(NoisyReplayer(PlanRunner(mapping), IDEAL, seed=0, faults=stuck).replayed({"x": x})["y"])


@pytest.mark.parametrize("kind", PIPELINES)
def test_moved_plans_compute_the_same_and_suffer_less(tmp_path: Path, kind: str) -> None:
    before, _ = compiled(tmp_path, PIPELINES[kind])
    path = random_map(tmp_path, before, 0.04, 1)
    after, notes = compiled(tmp_path, PIPELINES[kind], path)
    np.testing.assert_array_equal(outputs(after), outputs(before))
    assert [each.placed for each in after.layers] == [each.placed for each in before.layers]
    (used, wrong), (same, left) = wrong_cells(before, path), wrong_cells(after, path)
    assert used == same > 5
    assert left < wrong
    assert f"{used} in use, of which {left} should hold another level, {wrong} before" in notes[-1]


def test_every_bound_of_a_moved_plan_is_proved(tmp_path: Path) -> None:
    before, _ = compiled(tmp_path, PIPELINES["differential"])
    after, _ = compiled(tmp_path, PIPELINES["differential"], random_map(tmp_path, before, 0.05, 1))
    assert any(layer.permuted for layer in after.layers)
    check_proofs(after)  # raises for the first that is not


def test_faults_that_hold_what_cells_should_hold_change_nothing(tmp_path: Path) -> None:
    """Cells are stuck at what the plan has there, after its rows were put in another order: a move makes it exact."""
    before, _ = compiled(tmp_path, PIPELINES["differential"])
    random, lines = np.random.default_rng(3), ["crossbar,row,column,stuck"]
    for layer in before.layers:
        assert layer.placed is not None
        arrays = before.arrays(layer)
        orders = [random.permutation(8) for _ in range(layer.row_tiles)]
        for place, (t, c, s, p) in enumerate(np.argwhere(arrays.allocated).tolist()):
            held = crossbar_cells(layer, arrays, CrossbarIndex(row_tile=t, column_tile=c, slice=s, polarity=p))
            moved = held[orders[t][orders[t] < len(held)]]
            lines += [
                f"{layer.placed.first_slot + place},{row},{column},{moved[row, column]}"
                for row, column in np.ndindex(*held.shape)
                if random.random() < 0.4
            ]
    path = tmp_path / "map.csv"
    path.write_text("\n".join(lines) + "\n")
    exact = outputs(before)
    assert (with_faults(before, path) != exact).any()
    after, notes = compiled(tmp_path, PIPELINES["differential"], path)
    assert "of which 0 should hold another level" in notes[-1]
    np.testing.assert_array_equal(with_faults(after, path), exact)
    again, _ = compiled(tmp_path, PIPELINES["differential"], path)
    for one, other in zip(after.layers, again.layers, strict=True):
        np.testing.assert_array_equal(after.arrays(one).codes, again.arrays(other).codes)


def test_a_plan_that_nothing_is_wrong_with_stays_as_it_is(tmp_path: Path) -> None:
    before, _ = compiled(tmp_path, PIPELINES["differential"])
    path = tmp_path / "map.csv"
    path.write_text("crossbar,row,column,stuck\n")
    after, notes = compiled(tmp_path, PIPELINES["differential"], path)
    assert after.layers == before.layers
    assert "0 in use, of which 0 should hold another level" in notes[-1]


@pytest.mark.parametrize("seed", range(6))
def test_no_order_of_rows_would_do_less_harm(seed: int) -> None:
    """Five rows of one column: every order is tried."""
    random = np.random.default_rng(seed)
    codes = random.integers(-255, 256, (5, 1))
    layer, arrays = only_layer(mapped(coded(codes), rows=5, cols=1))
    cells = [
        (tuple(index), np.array([[row, 0, random.integers(0, 4)] for row in range(5) if random.random() < 0.4]))
        for index in np.argwhere(arrays.allocated).tolist()
    ]
    faults = LayerFaults(crossbars={index: each.reshape(-1, 3) for index, each in cells})
    power = random.random(5) + 0.1
    rows, columns = choose_orders(layer, arrays, faults, power)
    assert columns.tolist() == [0]
    harm = {}
    for order in itertools.permutations(range(5)):
        moved, powers = only_layer(mapped(coded(codes[list(order)]), rows=5, cols=1))[1], power[list(order)]
        harm[order] = harm_of(layer, moved, faults, powers).squared
    assert harm[tuple(rows.tolist())] == pytest.approx(min(harm.values()))


def test_rows_that_are_driven_more_count_more(tmp_path: Path) -> None:
    """One stuck cell, and two rows of one code: the row of small inputs takes the faulty place."""
    layer, arrays = only_layer(mapped(coded([[255], [255]]), rows=2, cols=1))
    faults = LayerFaults(crossbars={(0, 0, 3, 0): np.array([[0, 0, 0]])})
    assert choose_orders(layer, arrays, faults, np.array([1.5, 0.5]))[0].tolist() == [1, 0]
    assert choose_orders(layer, arrays, faults, np.array([0.5, 1.5]))[0].tolist() == [0, 1]
    # The same from calibration data: the first input is never driven.
    model = save(mlp_model(20, 9, 5), tmp_path / "mlp.onnx")
    data = np.random.default_rng(0).random((40, 20)).astype(np.float32)
    data[:, :8] = 0
    np.savez(tmp_path / "calib.npz", x=data)
    before, _ = compiled(tmp_path, PIPELINES["differential"])
    path = random_map(tmp_path, before, 0.04, 2)
    options = CompileOptions(
        pipeline=f"quantize,{PIPELINES['differential']}", faults=path, calibration=tmp_path / "calib.npz"
    )
    plan = compile_model(model, ISAAC, options).plan
    assert plan is not None
    assert "weighted by inputs" in plan.document.model.notes[-1]
