"""What is read of a file of measurements, and the one error for each way in which it cannot be."""

from pathlib import Path

import numpy as np
import pytest

from bsc.errors import ModelError, UsageError
from bsc.fit.measurements import FEWEST_CELLS, MOST_LEVELS, Measurements, measurements_from_csv, read_measurements


def read(text: str) -> Measurements:
    return measurements_from_csv(text, "m.csv", "0" * 64)


def readings(*lines: str, header: str = "level,conductance_us", times: int = FEWEST_CELLS) -> str:
    return "\n".join([header, *(line for line in lines for _ in range(times))]) + "\n"


def test_a_file_by_hand() -> None:
    found = read(
        "chip,cell,target_us,conductance_ns,time_s,temperature_c\n"
        + "".join(
            f"{chip},{cell},{target},{1000 * target + cell},{time},25\n"
            for chip in ("b", "a")
            for cell in range(10)
            for target in (2, 40.5)
            for time in (1, 60)
        )
    )
    assert found.targets is not None
    assert found.targets.tolist() == pytest.approx([2e-6, 40.5e-6])
    assert found.level[:4].tolist() == [0, 0, 1, 1]
    assert found.conductance[:5] == pytest.approx([2e-6, 2e-6, 40.5e-6, 40.5e-6, 2.001e-6])
    assert found.time_s is not None
    assert found.time_s[:2].tolist() == [1, 60]
    assert found.temperature_k is not None
    assert np.unique(found.temperature_k).tolist() == [298.15]
    assert found.chip is not None
    assert (found.chip[0], found.chip[-1]) == (1, 0)  # by name
    assert (found.levels, found.cells, found.chips) == (2, 20, 2)
    assert len(np.unique(found.cell)) == 20  # cells of one name on two chips are two


def test_without_names_every_line_is_a_cell() -> None:
    found = read(readings("0,1", "1,9"))
    assert (found.cells, found.chips, found.chip, found.targets, found.time_s) == (20, 1, None, None, None)


def test_spaces_blank_lines_a_byte_order_mark_and_capitals_are_nothing() -> None:
    text = "\ufeff" + readings(" 0 , 1 ", "", "1,9", header=" Level , Conductance_uS ")
    path_text = text.removeprefix("\ufeff")
    assert read(path_text).level.tolist() == [0] * 10 + [1] * 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "m.csv: has no readings\n  seen: 0 lines\n  fix:  write a header and one reading a line"),
        (
            readings("0,1,2", "1,9"),
            "m.csv, line 2: has another number of values than the header\n  seen: 3 values\n"
            "  fix:  write 2 values: level, conductance_us",
        ),
        (
            readings("0,-1", "1,9"),
            "m.csv, line 2: conductance_us cannot be used\n  seen: '-1'\n"
            "  fix:  write a conductance of 0 or more, or leave the line out",
        ),
        (
            readings("0,1", "1,nan"),
            "m.csv, line 12: conductance_us cannot be used\n  seen: 'nan'\n"
            "  fix:  write a conductance of 0 or more, or leave the line out",
        ),
        (
            readings("0,1", "1,four"),
            "m.csv, line 12: conductance_us cannot be used\n  seen: 'four'\n"
            "  fix:  write a conductance of 0 or more, or leave the line out",
        ),
        (
            readings("0,1", "0.5,9"),
            "m.csv, line 12: level cannot be used\n  seen: '0.5'\n"
            "  fix:  write a whole level of 0 or more, or leave the line out",
        ),
        (
            readings("0,1", "3,9"),
            "m.csv: has no readings of some levels\n  seen: levels 0, 3, none of 1, 2\n"
            "  fix:  measure every level from 0 to the highest, or give target conductances in place of levels",
        ),
        (
            readings("0,1"),
            "m.csv: has no readings of some levels\n  seen: levels 0, none of 1\n"
            "  fix:  measure every level from 0 to the highest, or give target conductances in place of levels",
        ),
        (
            readings("0,1", f"{MOST_LEVELS},9"),
            f"m.csv: has levels of 64 and above\n  seen: level {MOST_LEVELS}\n  fix:  number them from 0",
        ),
        (
            readings("2,1", header="target_us,conductance_us"),
            "m.csv: has one target only\n  seen: 2e-06 S\n  fix:  measure two or more, the lowest and highest of them",
        ),
        (
            readings(*(f"{target},1" for target in range(65)), header="target_us,conductance_us"),
            "m.csv: has more than 64 different targets\n  seen: 65\n"
            "  fix:  round the targets to the levels that the cells were programmed to",
        ),
        (
            readings("0,1", "1,9", times=9),
            "m.csv: has too few cells at level 0\n  seen: 9 of them\n  fix:  measure 10 cells or more at every level",
        ),
        (
            readings("2,1", "40,9", times=9, header="target_us,conductance_us"),
            "m.csv: has too few cells at target 2e-06 S\n  seen: 9 of them\n"
            "  fix:  measure 10 cells or more at every level",
        ),
        (
            readings("0,1,x", "1,9,x", header="level,conductance_us,cell"),
            "m.csv: has too few cells at level 0\n  seen: 1 of them\n  fix:  measure 10 cells or more at every level",
        ),
        (
            readings("0,1,x", "1,9,", header="level,conductance_us,chip"),
            "m.csv, line 12: has no chip\n  seen: nothing\n  fix:  name the chip",
        ),
        (
            readings("0,1,0", header="level,conductance_us,time_s"),
            "m.csv, line 2: time_s cannot be used\n  seen: '0'\n  fix:  write a time above 0, or leave the line out",
        ),
        (
            readings("0,1,-274", header="level,conductance_us,temperature_c"),
            "m.csv, line 2: temperature_c cannot be used\n  seen: '-274'\n"
            "  fix:  write a temperature above 0 K, or leave the line out",
        ),
        (
            readings("0,1", header="level,resistance"),
            "m.csv: has a column that is not known\n  seen: 'resistance'\n"
            "  fix:  use these: level, target_s, target_ms, target_us, target_ns, conductance_s, conductance_ms, "
            "conductance_us, conductance_ns, time_s, temperature_k, temperature_c, cell, chip",
        ),
        (
            readings("0,1,1", header="level,target_us,conductance_us"),
            "m.csv: has two columns about the target\n  seen: 'level' and 'target_us'\n  fix:  leave one of them out",
        ),
        (
            readings("0,1,1", header="cell,level,cell"),
            "m.csv: has two columns about the cell\n  seen: 'cell' twice\n  fix:  leave one of them out",
        ),
        (
            readings("0,1", header="level,cell"),
            "m.csv: does not say the conductance\n  seen: columns level, cell\n"
            "  fix:  add conductance_s or conductance_ms or conductance_us or conductance_ns",
        ),
        (
            'level,conductance_us\n"0,1',
            "m.csv: is not CSV\n  seen: unexpected end of data\n"
            "  fix:  write one reading a line, values separated by commas",
        ),
    ],
)
def test_words_for_a_file_that_cannot_be_used(text: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        read(text)
    assert str(caught.value) == f"[BSC316] {words}"


def test_limits_are_accepted() -> None:
    assert read(readings("0,0", "1,1e-9")).cells == 20
    levels = readings(*(f"{target},1" for target in range(MOST_LEVELS)), header="target_us,conductance_us")
    assert read(levels).levels == MOST_LEVELS


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, data in ((tmp_path / "none.csv", None), (tmp_path / "binary.csv", b"\xff\xfe\x00")):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(UsageError, match="cannot be read") as caught:
            read_measurements(path)
        assert caught.value.code == "BSC202"
