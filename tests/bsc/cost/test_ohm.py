"""Energy of reading cells against plain loops over vectors, cycles, crossbars and cells, and what contradicts it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import hw_models
from bsc.cost.compare import compare
from bsc.cost.device import device_cost
from bsc.cost.ohm import CellEnergy, all_driven, baseline_j, cell_energy, crossbars_j
from bsc.cost.writing import writing_cost
from bsc.hardware.device import Device
from bsc.hardware.target import Quantity
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.numeric.encoding import Encoding
from bsc.replay.dataset import Dataset
from bsc.replay.driven import driven_rows
from bsc.testing import conv_model
from tests.bsc.plans import ISAAC, coded, mapped, model_plan

LAWS = hw_models.laws()
CELL = CellEnergy(on_j=3.0, off_share=0.25, reference=True, pulse_s=1e-9)


def digits_of(code: int, layer: MappedLayer) -> list[int]:
    """What a row is driven with, cycle after cycle: parts of the two's complement, then the sign."""
    bits = layer.input_bits - layer.input_signed
    whole = code % 2**layer.input_bits
    digits = [whole % 2**bits // 2**shift % 2**layer.dac_bits for shift in range(0, bits, layer.dac_bits)]
    return digits + ([whole // 2**bits] if layer.input_signed else [])


def looped(layer: MappedLayer, arrays: LayerArrays, codes: NDArray[np.int64], cell: CellEnergy) -> float:
    """Joules for input codes (V, K) of a layer of one group, one cell after another."""
    highest = max(max(digits_of(code, layer)) for code in range(-(2**layer.input_bits), 2**layer.input_bits))
    top = float(max(2**bits - 1 for bits in layer.slice_bits))

    def conducts(level: int) -> float:
        return cell.off_share + (1 - cell.off_share) * level / top

    total = 0.0
    for row_tile, column_tile, part, sign in np.argwhere(arrays.allocated).tolist():
        columns = range(column_tile * layer.tile_cols, min((column_tile + 1) * layer.tile_cols, layer.mapped_columns))
        for row in range(row_tile * layer.tile_rows, min((row_tile + 1) * layer.tile_rows, layer.mapped_rows)):
            conductance = 0.0
            for column in columns:
                code = int(arrays.codes[row, column])
                if layer.encoding == "offset":
                    code += 2**layer.weight_bits
                if arrays.centres is not None:
                    code -= int(arrays.centres[row_tile, column])
                held = abs(code) if (code < 0) == bool(sign) else 0
                conductance += conducts(held >> sum(layer.slice_bits[:part]) & (2 ** layer.slice_bits[part] - 1))
            conductance += (layer.tile_cols - len(columns)) * conducts(0)  # bitlines that are not in use
            conductance += conducts(0) * cell.reference + conducts(1) * (layer.encoding != "differential")
            model_row = row if arrays.kept_rows is None else int(arrays.kept_rows[row])
            for vector in codes:
                for digit in digits_of(int(vector[model_row]), layer):
                    total += (digit / highest) ** 2 * conductance * cell.on_j
    return total


@st.composite
def layers(draw: st.DrawFn) -> tuple[Any, NDArray[np.int64]]:
    """A mapped layer, and input codes for it."""
    seed = draw(st.integers(0, 10**6))
    random = np.random.default_rng(seed)
    rows, columns, vectors = draw(st.integers(1, 11)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    codes = random.integers(-255, 256, (rows, columns)) * (random.random((rows, columns)) < 0.6)
    encoding: Encoding = draw(st.sampled_from(["differential", "offset", "centre"]))
    signed, dac_bits = draw(st.booleans()), draw(st.integers(1, 3))
    mapping = mapped(
        coded(codes, input_signed=signed, input_bits=5),
        bits_per_cell=draw(st.integers(1, 4)),
        dac_bits=dac_bits,
        rows=draw(st.sampled_from([4, 8])),
        cols=draw(st.sampled_from([3, 8])),
        encoding=encoding,
        eliminate=draw(st.booleans()) and encoding == "differential",
    )
    low, high = (-16, 16) if signed else (0, 32)
    return mapping, random.integers(low, high, (vectors, rows))


def driven(layer: MappedLayer, codes: NDArray[np.int64]) -> NDArray[np.float64]:
    squares = [
        [sum((digit / layer.max_digit) ** 2 for digit in digits_of(int(code), layer)) for code in vector]
        for vector in codes
    ]
    return np.asarray(np.sum(squares, axis=0)[None], np.float64)


@settings(deadline=None, max_examples=60)
@given(layers())
def test_as_plain_loops(case: tuple[Any, NDArray[np.int64]]) -> None:
    mapping, codes = case
    (layer,) = mapping.layers
    found = crossbars_j(mapping, CELL, {layer.name: driven(layer, codes)})
    assert found[layer.name] == pytest.approx(looped(layer, mapping.arrays(layer), codes, CELL), rel=1e-12)


@settings(deadline=None, max_examples=30)
@given(layers())
def test_no_input_takes_more_than_all_rows_driven(case: tuple[Any, NDArray[np.int64]]) -> None:
    mapping, codes = case
    (layer,) = mapping.layers
    ours = {layer.name: driven(layer, codes) / len(codes)}
    assert crossbars_j(mapping, CELL, ours)[layer.name] <= crossbars_j(mapping, CELL, None)[layer.name] * (1 + 1e-12)


@pytest.mark.parametrize("encoding", ["differential", "offset"])
def test_a_plan_that_leaves_nothing_out_is_its_own_baseline(encoding: Any) -> None:
    mapping = mapped(coded(np.random.default_rng(0).integers(-255, 256, (20, 12))), rows=16, cols=8, encoding=encoding)
    assert crossbars_j(mapping, CELL, None) == pytest.approx(baseline_j(mapping, CELL, None, encoding, 2))


def test_groups_that_share_crossbars_are_their_own_baseline(tmp_path: Path) -> None:
    plan = model_plan(conv_model(channels=8, filters=8, groups=4), tmp_path, rows=64, cols=8)
    (layer,) = plan.mapping.layers
    assert layer.column_tiles()[0] > 1
    assert plan.mapping.arrays(layer).allocated.all()
    assert crossbars_j(plan.mapping, CELL, None) == pytest.approx(
        baseline_j(plan.mapping, CELL, None, "differential", 2)
    )


def test_digits_that_data_drive_are_those_of_the_input_codes() -> None:
    """A layer of one code a value: 5 is 101 in three cycles of eight, so that two of them drive its row."""
    mapping = mapped(coded([[1, 2], [3, 0], [0, 0]], input_scale=1.0))
    (layer,) = mapping.layers
    spec = mapping.inputs[0]
    inputs = {spec.name: np.array([[5, 0, 255], [7, 1, 0]], np.float32)}
    data = Dataset(inputs=inputs, labels=None, batch=2, sha256="", free_batch=True)
    assert driven_rows(mapping, data)[layer.name].tolist() == [[(2 + 3) / 2, 1 / 2, 8 / 2]]


def test_by_hand() -> None:
    """Cells of 3 and 1 of 3, one row, driven at each of eight bits; fourteen others, of both signs, at 0."""
    mapping = mapped(coded([[3, 1]], weight_bits=2), rows=4, cols=8)
    (layer,) = mapping.layers
    cell = CellEnergy(on_j=2.0, off_share=0.1, reference=False, pulse_s=1e-9)
    (energy,) = crossbars_j(mapping, cell, None).values()
    assert all_driven(layer).tolist() == [[8.0]]
    assert energy == pytest.approx(8 * 2.0 * (1 + (0.1 + 0.9 / 3) + 14 * 0.1))


@pytest.mark.parametrize(
    ("name", "over", "contradicts"),
    [
        ("reram-milo21", 0.2**2 / 4444.4 * 100e-9 * (1 + 1 / 4.5) / 4 / 1.831e-15, True),
        ("reram-isaac-model", 3.0, False),
    ],
)
def test_a_device_that_the_target_cannot_be_made_of_is_named(name: str, over: float, contradicts: bool) -> None:
    mapping = mapped(coded(np.random.default_rng(0).integers(-255, 256, (150, 30))))
    comparison = compare(mapping, ISAAC, LAWS["isaac"], {})
    found = device_cost(mapping, comparison, device(name), None, None)
    assert found.reads is not None
    assert found.reads.over_price == pytest.approx(over, rel=2e-3)
    assert found.reads.contradicts is contradicts
    average = found.reads.average_j
    assert average is not None
    assert average == comparison.plan.action_energy_j("crossbar_cell")


def device(name: str) -> Device:
    return hw_models.load_device(name)


def test_a_device_without_a_pulse_conducts_for_the_whole_read() -> None:
    short, long = cell_energy(device("reram-wan22"), 100e-9), cell_energy(device("reram-milo21"), 100e-9)
    assert short is not None
    assert long is not None
    assert (short.pulse_s, long.pulse_s) == (10e-9, 100e-9)
    assert short.on_j == pytest.approx(0.5**2 * 40e-6 * 10e-9)
    assert cell_energy(device("ideal"), 100e-9) is None


def test_writing_by_hand() -> None:
    writing = device("reram-wan22").writing
    assert writing is not None
    cost = writing_cost(writing, 1000, 400)
    assert cost.energy_j == pytest.approx(1000 * (8.52 * (45e-12 + 28e-12) + 2 * 28e-12))
    assert cost.time_s == pytest.approx(1000 * (56e-6 + 2 * 5.57e-6), rel=1e-3)
    assert cost.parallel_s == pytest.approx(0.4 * (cost.time_s or 0))
    assert cost.updates == pytest.approx(1e6 / 8.52)
    assert cost.lifetime_s(2) == pytest.approx(1e6 / 8.52 / 2 * 86400)
    assert cost.inferences(1e-9) == pytest.approx(cost.energy_j / 1e-9)
    assert cost.inferences(None) is None


def test_what_is_not_said_is_unknown() -> None:
    writing = device("reram-milo21").writing
    assert writing is not None
    assert writing_cost(writing, 10, 10).time_s is None
    worn = writing.model_copy(update={"endurance": None, "at_once": Quantity(value=4, kind="assumed", source="here")})
    assert worn.endurance is None
    assert writing_cost(worn, 10, 10).lifetime_s(1) is None
