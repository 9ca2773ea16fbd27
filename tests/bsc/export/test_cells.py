"""Exported cells: what is packed is unpacked, and is what the weight codes ask for."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.export import cells as cells_module
from bsc.export.cells import (
    PACKING,
    CellsIndex,
    Crossbar,
    pack_levels,
    read_cells,
    read_index,
    unpack_levels,
    write_cells,
)
from bsc.plan.cells import CrossbarIndex, crossbar_cells, crossbar_columns
from bsc.plan.document import Plan
from bsc.plan.folder import to_json
from tests.bsc.plans import CNN, coded, model_plan, only_layer, plan_of, slicings

SCHEMA = Path(cells_module.__file__).with_name("cells.schema.json")
SMALL = plan_of(coded([[-27, 5], [0, 5], [64, 0]]), rows=2, cols=2, eliminate=True)


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return model_plan(CNN, tmp_path_factory.mktemp("cnn"), policy="fixed=5")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("bits", "levels", "packed"),
    [
        (1, [[1, 0, 1, 1, 0, 0, 0, 0, 1]], [[0b00001101, 1]]),
        (2, [[3, 0, 1, 2, 1], [0, 0, 0, 3, 0]], [[0b10_01_00_11, 1], [0b11_00_00_00, 0]]),
        (3, [[7, 2, 5]], [[0b00_010_111, 0b101]]),
        (4, [[15, 1, 2]], [[0x1F, 2]]),
        (5, [[31, 1]], [[31, 1]]),
        (8, [[255, 1]], [[255, 1]]),
    ],
)
def test_packing_by_hand(bits: int, levels: list[list[int]], packed: list[list[int]]) -> None:
    found = pack_levels(np.array(levels, np.uint8), bits)
    assert found.tolist() == packed
    assert unpack_levels(found, len(levels[0]), bits).tolist() == levels


@given(bits=st.integers(1, 8), rows=st.integers(1, 5), columns=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_what_is_packed_is_unpacked(bits: int, rows: int, columns: int, seed: int) -> None:
    levels = np.random.default_rng(seed).integers(0, 1 << bits, (rows, columns)).astype(np.uint8)
    packed = pack_levels(levels, bits)
    assert packed.shape == (rows, -(-columns // (8 // bits)))
    np.testing.assert_array_equal(unpack_levels(packed, columns, bits), levels)


def by_place(crossbars: list[Crossbar]) -> dict[tuple[str, str], Crossbar]:
    places = {}
    for each in crossbars:
        record = each.record
        text = f"{record.row_tile},{record.column_tile},{record.slice},{record.polarity}"
        places[each.layer, text] = each
    assert [each.record.number for each in crossbars] == list(range(len(places)))
    return places


def test_a_model_comes_back(cnn: Plan, tmp_path: Path) -> None:
    """Every allocated crossbar of every layer, groups that share one included, and its converters."""
    index = write_cells(cnn, tmp_path / "cnn.cells")
    assert read_index(tmp_path / "cnn.cells") == index
    found = by_place(list(read_cells(tmp_path / "cnn.cells")))
    assert (
        index.crossbars
        == len(found)
        == sum(int(cnn.mapping.arrays(layer).allocated.sum()) for layer in cnn.mapping.layers)
    )
    for layer in cnn.mapping.layers:
        arrays = cnn.mapping.arrays(layer)
        for place in np.argwhere(arrays.allocated).tolist():
            tile, column_tile, slice_, polarity = place
            here = CrossbarIndex(row_tile=tile, column_tile=column_tile, slice=slice_, polarity=polarity)
            crossbar = found[layer.name, str(here)]
            np.testing.assert_array_equal(crossbar.levels, crossbar_cells(layer, arrays, here))
            assert crossbar.levels.shape == (crossbar.record.rows, crossbar.record.columns)
            columns = crossbar_columns(layer, column_tile)
            assert crossbar.adc_bits.tolist() == [
                arrays.adc_bits[tile, slice_, polarity, columns.start : columns.stop].tolist()
            ]


@settings(deadline=None, max_examples=40)
@given(
    slicing=st.integers(1, 15).flatmap(lambda bits: st.tuples(st.just(bits), slicings(bits, most=9))),
    active_rows=st.sampled_from([2, 4, 8]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_cells_rebuild_every_code(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    slicing: tuple[int, dict[str, Any]],
    active_rows: int,
    seed: int,
) -> None:
    weight_bits, cut = slicing
    top = (1 << weight_bits) - 1
    codes = np.random.default_rng(seed).integers(-top, top, (13, 7), endpoint=True)
    plan = plan_of(
        coded(codes, weight_bits=weight_bits),
        rows=8,
        cols=3,
        active_rows=active_rows,
        **cut,
    )
    layer, arrays = only_layer(plan.mapping)
    folder = tmp_path_factory.mktemp("cells") / "out"
    write_cells(plan, folder)
    rebuilt: NDArray[np.int64] = np.zeros((13, 7), np.int64)
    rebuilt += {"differential": 0, "offset": -(1 << weight_bits)}.get(layer.encoding, 0)
    if arrays.centres is not None:
        rebuilt += np.repeat(arrays.centres, 8, axis=0)[:13]
    for crossbar in read_cells(folder):
        record = crossbar.record
        rows = np.s_[8 * record.row_tile : 8 * record.row_tile + record.rows]
        columns = np.s_[3 * record.column_tile : 3 * record.column_tile + record.columns]
        sign = 1 if record.polarity == "+" else -1
        turned = np.repeat(crossbar.flipped, active_rows, axis=0)[: record.rows]
        highest = (1 << layer.slice_bits[record.slice]) - 1
        levels = np.where(turned, highest - crossbar.levels, crossbar.levels).astype(np.int64)
        rebuilt[rows, columns] += sign * (levels << sum(layer.slice_bits[: record.slice]))
        groups = -(-record.rows // active_rows)
        adc = (crossbar.adc_bits, crossbar.adc_lsb, crossbar.adc_low)
        assert {values.shape for values in adc} == {(groups, record.columns)}
    np.testing.assert_array_equal(rebuilt, codes)


def test_the_index_by_hand(tmp_path: Path) -> None:
    """-27 = -(0b011011), 5 = 0b0101 and 64 = 0b1000000 on tiles of two rows."""
    write_cells(SMALL, tmp_path / "out")
    found = by_place(list(read_cells(tmp_path / "out")))
    assert {place: each.levels.tolist() for (_, place), each in found.items()} == {
        "0,0,0,+": [[0, 1], [0, 1]],
        "0,0,0,-": [[3, 0], [0, 0]],
        "0,0,1,+": [[0, 1], [0, 1]],
        "0,0,1,-": [[2, 0], [0, 0]],
        "0,0,2,-": [[1, 0], [0, 0]],
        "1,0,3,+": [[1, 0]],
    }
    index = json.loads((tmp_path / "out/cells.json").read_text())
    assert index["layers"][0]["crossbars"][5] == {
        "number": 5,
        "row_tile": 1,
        "column_tile": 0,
        "slice": 3,
        "polarity": "+",
        "rows": 1,
        "columns": 2,
    }
    assert (index["packing"], index["crossbars"]) == (PACKING, 6)
    jsonschema.validate(index, json.loads(SCHEMA.read_text()))


def test_the_schema_is_fresh() -> None:
    """After a change of the records: the text on the left is what the file must hold."""
    assert to_json(CellsIndex.model_json_schema()) == SCHEMA.read_text(encoding="utf-8")


def test_the_same_plan_gives_the_same_bytes(cnn: Plan, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_cells(cnn, tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len({path.stat().st_mode for path in (tmp_path / "a").rglob("*") if path.is_file()}) == 1


def test_only_cells_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError) as caught:
        write_cells(SMALL, tmp_path / "mine", force=True)
    assert str(caught.value) == (
        f"[BSC203] output '{tmp_path / 'mine'}' exists already\n"
        "  seen: something that is not a cells folder, which is never replaced\n"
        "  fix:  choose another --output"
    )
    write_cells(SMALL, tmp_path / "out")
    (tmp_path / "out/notes.txt").write_text("old")
    with pytest.raises(UsageError) as caught:
        write_cells(SMALL, tmp_path / "out")
    assert caught.value.seen == "a cells folder"
    write_cells(SMALL, tmp_path / "out", force=True)
    assert sorted(contents(tmp_path / "out")) == ["cells.json", "layers/0000.safetensors"]


def altered(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        list(read_cells(folder))
    assert str(caught.value) == (
        f"[BSC307] cells 'out' are malformed or were altered\n  seen: {caught.value.seen}\n"
        "  fix:  export the plan again"
    )
    return caught.value.seen


def test_words_for_cells_that_were_altered(tmp_path: Path) -> None:
    write_cells(SMALL, tmp_path / "out")
    file, index = tmp_path / "out/layers/0000.safetensors", tmp_path / "out/cells.json"
    file.write_bytes(file.read_bytes()[:-1] + b"\7")
    assert altered(file.parent.parent) == (
        "file 'layers/0000.safetensors' is missing or does not have the SHA-256 of cells.json"
    )
    index.write_text("{}", encoding="utf-8")
    assert altered(tmp_path / "out") == "cells.json: Field required"
    with pytest.raises(UsageError) as caught:
        list(read_cells(tmp_path / "none"))
    assert str(caught.value) == (
        "[BSC202] cells 'none' cannot be opened\n"
        "  seen: No such file or directory\n"
        "  fix:  give the folder that 'bsc export --to cells' wrote"
    )
