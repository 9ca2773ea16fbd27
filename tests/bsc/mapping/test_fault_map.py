"""Fault maps: what is read of a file, which cells of which layer they are, and one error for each that does not fit."""

from pathlib import Path

import numpy as np
import pytest

from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions
from bsc.errors import ModelError, UsageError
from bsc.mapping.fault_map import WORKING, FaultMap, fault_map_from_csv, read_fault_map
from bsc.mapping.model import MappedModel
from bsc.testing import mlp_model, save
from tests.bsc.plans import ISAAC

HEAD = "crossbar,row,column,stuck\n"
PASSES = (
    "fold-batchnorm,quantize,slice-bits{bits-per-cell=2 dac-bits=1},eliminate{rows=8},tile{rows=8 cols=8},assign-adc"
)


def read(text: str) -> FaultMap:
    return fault_map_from_csv(text, "map.csv", "0" * 64)


def compiled(folder: Path, place: str = ",place", faults: Path | None = None) -> MappedModel:
    """Layers of 20x9 and 9x5 on crossbars of 8x8."""
    model = save(mlp_model(20, 9, 5), folder / "mlp.onnx")
    plan = compile_model(model, ISAAC, CompileOptions(pipeline=PASSES + place, faults=faults)).plan
    assert plan is not None
    return plan.mapping


def test_a_map_by_hand(tmp_path: Path) -> None:
    """Crossbars of a layer follow each other in the order of row tile, column tile, slice and polarity."""
    mapping = compiled(tmp_path)
    layer = mapping.layers[1]
    arrays = mapping.arrays(layer)
    assert layer.placed is not None
    index = np.argwhere(arrays.allocated).tolist()
    first, third = layer.placed.first_slot, layer.placed.first_slot + 2
    text = HEAD + f"{third},7,1,On\n{first},0,4,2\n{first} , 1, 0, off\n{first},0,4000,1\n"
    faults = read(text.replace("0,4000,1", "7,7,1"))
    faults.require_fit(mapping.record)
    found = faults.of_layer(mapping.record, layer, arrays)
    assert len(found) == 4
    assert set(found.crossbars) == {tuple(index[0]), tuple(index[2])}
    levels = found.levels(tuple(index[0]), 8, 5)
    assert levels is not None
    assert levels[:2].tolist() == [[WORKING, WORKING, WORKING, WORKING, 2], [0, *[WORKING] * 4]]
    assert (levels[2:] == WORKING).all()  # column 7 is not in use
    levels = found.levels(tuple(index[2]), 8, 5)
    assert levels is not None
    assert levels[7, 1] == 3  # the highest of 2 bits
    assert found.levels(tuple(index[1]), 8, 5) is None
    assert found.levels(tuple(index[2]), 7, 5) is None
    assert len(faults.of_layer(mapping.record, mapping.layers[0], mapping.arrays(mapping.layers[0]))) == 0


def test_layers_that_share_crossbars_have_cells_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "tiny.onnx"
    save(mlp_model(3, 4, 2), folder)
    plan = compile_model(folder, ISAAC, CompileOptions(pipeline=f"{PASSES},place{{pack=yes}}")).plan
    assert plan is not None
    first, second = plan.mapping.layers
    assert first.placed is not None
    assert second.placed is not None
    assert first.placed.first_slot == second.placed.first_slot
    row, column = second.placed.row, second.placed.column
    assert (row, column) == (first.mapped_rows, first.mapped_columns)
    slot = first.placed.first_slot + 1 * second.cells.polarities + 1  # slice 1, negative
    faults = read(f"{HEAD}{slot},{row + 2},{column + 1},1\n{slot},0,0,2\n")
    faults.require_fit(plan.mapping.record)
    found = faults.of_layer(plan.mapping.record, second, plan.mapping.arrays(second))
    levels = found.levels((0, 0, 1, 1), second.mapped_rows, second.mapped_columns)
    assert levels is not None
    assert np.argwhere(levels != WORKING).tolist() == [[2, 1]]
    assert levels[2, 1] == 1
    levels = faults.of_layer(plan.mapping.record, first, plan.mapping.arrays(first)).levels((0, 0, 1, 1), 3, 4)
    assert levels is not None
    assert np.argwhere(levels != WORKING).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "map.csv: has another header\n  seen: nothing\n  fix:  begin with the line crossbar,row,column,stuck"),
        (
            "chip,row,column,stuck\n",
            "map.csv: has another header\n  seen: chip,row,column,stuck\n"
            "  fix:  begin with the line crossbar,row,column,stuck",
        ),
        (
            f"{HEAD}0,0,0\n",
            "map.csv, line 2: has another number of values\n  seen: 3 values\n"
            "  fix:  write crossbar, row, column, stuck",
        ),
        (
            f"{HEAD}0,-1,0,on\n",
            "map.csv, line 2: row cannot be used\n  seen: '-1'\n  fix:  write a whole number of 0 or more",
        ),
        (
            f"{HEAD}0,1,0,open\n",
            "map.csv, line 2: stuck cannot be used\n  seen: 'open'\n  fix:  write on, off or a level",
        ),
        (
            f"{HEAD}{'9' * 16},1,0,on\n",
            "map.csv, line 2: crossbar cannot be used\n  seen: '9999999999999999'\n"
            "  fix:  write a whole number of 0 or more",
        ),
        (
            f"{HEAD}0,1,0,on\n\n0,2,0,on\n0,1,0,off\n",
            "map.csv, line 5: has a cell that was there before\n  seen: crossbar 0, row 1, column 0, on line 2 too\n"
            "  fix:  leave one of them out",
        ),
        (
            f'{HEAD}"0',
            "map.csv: is not CSV\n  seen: unexpected end of data\n"
            "  fix:  write crossbar,row,column,stuck and one cell a line",
        ),
    ],
)
def test_words_for_a_map_that_cannot_be_read(text: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        read(text)
    assert str(caught.value) == f"[BSC317] {words}"


@pytest.mark.parametrize(
    ("place", "cell", "words"),
    [
        (
            ",place",
            "0,8,0,on",
            "map.csv, line 2: is of larger crossbars than those of the plan\n"
            "  seen: row 8, and 8 rows and 8 columns\n  fix:  give the map of the hardware that the plan is for",
        ),
        (
            ",place",
            "0,0,8,on",
            "map.csv, line 2: is of larger crossbars than those of the plan\n"
            "  seen: column 8, and 8 rows and 8 columns\n  fix:  give the map of the hardware that the plan is for",
        ),
        (
            ",place{tiles=2}",
            "192,0,0,on",
            "map.csv, line 2: is of more crossbars\n"
            "  seen: crossbar 192, and 192 places\n  fix:  give the map of the hardware that the plan is for",
        ),
        (
            ",place",
            "0,0,0,4",
            "map.csv, line 2: has a level that no cell of the plan can have\n"
            "  seen: level 4, and 3 the highest\n  fix:  write on, off or a level of the plan's cells",
        ),
        (
            "",
            "0,0,0,on",
            "map.csv: layer '{layer}' has no place on the chips\n"
            "  seen: a pipeline without 'place'\n  fix:  add the pass place to the pipeline",
        ),
        (
            ",place{copies=throughput tiles=2}",
            "0,0,0,on",
            "map.csv: layer '{layer}' has copies, whose faults differ\n"
            "  seen: {copies} copies\n  fix:  compile with --copies none",
        ),
    ],
)
def test_words_for_a_map_of_another_plan(tmp_path: Path, place: str, cell: str, words: str) -> None:
    record = compiled(tmp_path, place).record
    layer = next((each for each in record.layers if each.placed is None or each.placed.copies > 1), record.layers[0])
    copies = 0 if layer.placed is None else layer.placed.copies
    with pytest.raises(ModelError) as caught:
        read(f"{HEAD}{cell}\n").require_fit(record)
    assert str(caught.value) == f"[BSC317] {words.format(layer=layer.name, copies=copies)}"


def test_the_last_cells_fit(tmp_path: Path) -> None:
    record = compiled(tmp_path, ",place{tiles=2}").record
    read(f"{HEAD}191,7,7,3\n0,0,0,on\n").require_fit(record)
    read(HEAD).require_fit(record)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fault map 'none.csv' cannot be read"):
        read_fault_map(tmp_path / "none.csv")
