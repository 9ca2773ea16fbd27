"""Results files in which something else wrote: one clear error, or results that can be; never a crash."""

import contextlib
import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.testing import mlp_model, save

SPACE = """
[axes]
xbar = ["8x8", "16x16"]
flip = [false, true]
adc-law = ["isaac", "saberi"]
"""
RESULTS = "mlp.explore.sqlite"
ONE = Path("one.sqlite")
"""A copy in which one value was altered."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep that is done."""
    folder = tmp_path_factory.mktemp("sweep")
    save(mlp_model(12, 8, 3), folder / "mlp.onnx")
    (folder / "space.toml").write_text(SPACE, encoding="utf-8")
    inputs = np.random.default_rng(0).standard_normal((20, 12)).astype(np.float32)
    np.savez(folder / "data.npz", x=inputs, label=np.arange(20) % 3)
    with contextlib.chdir(folder):
        assert explore("-o", RESULTS).exit_code == 0
    return folder


@pytest.fixture(autouse=True)
def _folder(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(begun)


def explore(*options: object) -> Result:
    fixed = ("explore", "mlp.onnx", "space.toml", "--data", "data.npz", "--jobs", "1", "--json")
    return CliRunner().invoke(main, [*fixed, *map(str, options)])


def altered(*statements: str) -> Path:
    """The results after some SQL."""
    shutil.copy(RESULTS, ONE)
    with contextlib.closing(sqlite3.connect(ONE)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return ONE


def counts(**changes: Any) -> str:
    """SQL that changes counts of the first layer of all mappings, and takes their designs away."""
    with contextlib.closing(sqlite3.connect(RESULTS)) as connection:
        layers = json.loads(connection.execute("SELECT counts FROM mappings WHERE code IS NULL").fetchone()[0])
    layers[0].update(changes)
    return f"UPDATE mappings SET counts = '{json.dumps(layers)}'"


ROWS = {
    "choices '[1]'": "design 0: choices are '[1]' and no table of texts",
    "choices '{}'": "design 0 has choices that are not those of the space",
    "choices '{\"model\": 1}'": "design 0: choices are '{\"model\": 1}' and no table of texts",
    "choices 'x'": "design 0: choices are 'x' and no table of texts",
    "pipeline NULL": "design 0: pipeline is None and no text",
    "energy_j 'abc'": "design 0: energy is 'abc' and no number of 0 or more",
    "energy_j 9e999": "design 0: energy is inf and no number of 0 or more",
    "energy_j -1": "design 0: energy is -1.0 and no number of 0 or more",
    "latency_s NULL": "design 0: latency is None and no number of 0 or more",
    "crossbars 1.5": "design 0: crossbars is 1.5 and no whole number of 0 or more",
    "accuracy 2": "design 0: accuracy is 2.0 and no share",
    "code 'BSC000'": "design 0: code is 'BSC000' and no code of an error",
    "code 'BSC205'": "design 0: problem is None and no text",
    "problem 'no'": "design 0: code is None and no code of an error",
    "number 99": "design 99 has choices that are not those of the space",
}
KEY = "mapping "


def refused(path: Path, seen: str) -> None:
    """The sweep is refused with that, and the file is as it was."""
    before = path.read_bytes()
    result = explore("-o", path)
    assert (result.exit_code, result.stdout) == (3, ""), result.output
    shown = result.stderr
    if KEY in shown:  # which of them is tried first says no test
        start = shown.index(KEY) + len(KEY)
        shown = shown[:start] + "KEY" + shown[start + 12 :]
    assert shown == (
        "error [BSC314] 'one.sqlite' is not a results file of a sweep that can be read\n"
        f"  seen: {seen}\n"
        "  fix:  move it away, or choose another --output; it is never written over\n"
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", ROWS)
def test_designs_that_no_sweep_writes(change: str) -> None:
    column, value = change.split(" ", 1)
    refused(altered(f"UPDATE designs SET {column} = {value} WHERE number = 0"), ROWS[change])


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("accuracy = 'high'", "accuracy is 'high' and no number of 0 or more"),
        ("counts = '[]'", None),
        ("counts = '7'", "counts are not a list of layers"),
        ("counts = x'00'", "counts are not text"),
        ("outline = x'00'", "the outline is not text"),
        ("outline = '{}'", "an outline that cannot be read: mapping: Field required"),
        ("pipeline = ''", "pipeline is '' and no text"),
        ("code = 'BSC205', problem = 'no'", None),
        ("code = 7", "code is '7' and no code of an error"),
    ],
)
def test_mappings_that_no_sweep_writes(change: str, seen: str | None) -> None:
    path = altered("DELETE FROM designs", f"UPDATE mappings SET {change}")
    texts = {"counts = '[]'": " has neither counts nor an error"}
    refused(
        path, f"mapping KEY: {seen}" if seen else f"mapping KEY{texts.get(change, ' has an error, and counts too')}"
    )


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"array_rows": -8}, "counts with array_rows that is -8 and no whole number of 1 or more"),
        ({"array_rows": 0}, "counts with array_rows that is 0 and no whole number of 1 or more"),
        ({"array_rows": True}, "counts with array_rows that is True and no whole number of 1 or more"),
        ({"reads": 1.5}, "counts with reads that is 1.5 and no whole number of 0 or more"),
        ({"reads": 10**400}, f"counts with reads that is 1{'0' * 17}...{'0' * 19} and no whole number of 0 or more"),
        ({"conversions": [-1] + 16 * [0]}, "counts with conversions that is -1 and no whole number of 0 or more"),
        ({"conversions": [1 << 62, 1, *15 * [0]]}, "counts of too many conversions"),
        ({"crossbars": [0]}, "counts of other resolutions"),
        ({"counters": {}}, "counts of another kind"),
        ({"counters": {"rows_driven": 7}}, "counts of another kind"),
        ({"name": 3}, "counts of another kind"),
        ({"more": 3}, "counts of another kind"),
    ],
)
def test_counts_that_no_sweep_writes(changes: dict[str, Any], seen: str) -> None:
    refused(altered("DELETE FROM designs", counts(**changes)), f"mapping KEY: {seen}")


def test_lost_workers_that_no_sweep_writes() -> None:
    ruined = ("DELETE FROM designs", "INSERT INTO lost SELECT key, 'often' FROM mappings", "DELETE FROM mappings")
    refused(altered(*ruined), "workers were lost 'often' times")


@pytest.mark.parametrize("row", ["(1, 0)", "(0, 99)", "(0, 'x')"])
def test_searches_that_no_sweep_writes(row: str) -> None:
    pytest.importorskip("optuna")
    space = Path("space.toml")
    text = space.read_text(encoding="utf-8")
    try:
        space.write_text('method = "search"\npoints = 2\n' + text.replace(', "saberi"', ""), encoding="utf-8")
        ONE.unlink(missing_ok=True)
        assert explore("-o", ONE).exit_code == 0
        with contextlib.closing(sqlite3.connect(ONE)) as connection, connection:
            connection.execute("DELETE FROM asked")
            connection.execute(f"INSERT INTO asked VALUES {row}")
        refused(
            ONE,
            {
                "(1, 0)": "what was asked for has number 0 in place 1, after 0 others",
                "(0, 99)": "design 99 was asked for, of 4",
                "(0, 'x')": "what was asked for has number 'x' in place 0, after 0 others",
            }[row],
        )
    finally:
        space.write_text(text, encoding="utf-8")


VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    1,
    1.5,
    9e999,
    -9e999,
    1 << 62,
    "",
    "abc",
    "7",
    "[]",
    "{}",
    "[1]",
    "[[",
    b"\xff",
)


@pytest.mark.parametrize("seed", range(120))
def test_single_values_altered_at_random(seed: int) -> None:
    """Where the value can be, the sweep ends; where not, it is refused and the file stays as it was."""
    choose = random.Random(seed)
    table = choose.choice(["designs", "designs", "mappings", "mappings", "sweep"])
    shutil.copy(RESULTS, ONE)
    with contextlib.closing(sqlite3.connect(ONE)) as connection, connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        rows = connection.execute(f"SELECT {columns[0]} FROM {table}").fetchall()
        column, (key,) = choose.choice(columns), choose.choice(rows)
        value = choose.choice(VALUES)
        if table == "mappings":
            connection.execute("DELETE FROM designs")
            if seed % 2:
                column = "counts"
                (text,) = connection.execute("SELECT counts FROM mappings WHERE key = ?", (key,)).fetchone()
                value = _with_one_altered(text, choose)
        with contextlib.suppress(sqlite3.IntegrityError, OverflowError):  # SQLite itself refuses some
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {columns[0]} = ?", (value, key))
    before = ONE.read_bytes()
    result = explore("-o", ONE)
    assert result.exception is None or isinstance(result.exception, SystemExit), (column, value, result.exception)
    assert result.exit_code in (0, 3), result.output
    if result.exit_code:
        assert result.stderr.startswith("error [BSC314] ")
        assert ONE.read_bytes() == before
    else:
        figures = [design["figures"] for design in json.loads(result.stdout)["designs"]]
        assert len(figures) == 8
        assert all(value is None or value >= 0 for each in figures for value in each.values())


def _with_one_altered(text: str, choose: random.Random) -> str:
    """Counts of which one value, anywhere in them, is another one."""
    layers = json.loads(text)
    place: Any = layers
    while True:
        key = choose.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or choose.random() < 0.2:
            break
        place = place[key]
    place[key] = choose.choice([value for value in VALUES if not isinstance(value, bytes)])
    return json.dumps(layers)
