"""The results file: what lands stays, what is of something else is refused, and nothing is written over."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bsc.chip.dataflow import dataflow_of
from bsc.chip.outline import Outline
from bsc.cost.counters import COUNTERS
from bsc.cost.counts import LayerCounts
from bsc.cost.layouts import CopyLayout
from bsc.errors import BscError, ModelError, UsageError
from bsc.exploration.designs import FIGURES, Design
from bsc.exploration.mapping import MappingResult, counts_from_json, counts_to_json
from bsc.exploration.outlines import outline_to_json
from bsc.exploration.store import Store, open_store
from tests.bsc.plans import coded, plan_of

COUNTS = LayerCounts(
    name="fc",
    conversions=np.arange(17, dtype=np.int64),
    counters=dict.fromkeys(COUNTERS, 7),
    crossbars=np.ones(17, np.int64),
    reads=8,
    conversions_per_read=128,
    bits_per_read=900,
    dac_bits=1,
    cell_bits=2,
    array_rows=128,
    array_cols=64,
)


def _outline() -> Outline:
    """Of one layer on 17 crossbars, as many as the counts have."""
    mapping = plan_of(coded(np.ones((4, 3), np.int64))).mapping
    layout = CopyLayout(
        block=np.arange(17) // 6,
        column_tile=np.arange(17) % 2,
        block_rows=np.array([2, 1, 1]),
        block_lines=(np.array([0, 3]), np.array([1]), np.array([2])),
        widths=np.array([2, 1]),
    )
    return Outline(record=mapping.record, dataflow=dataflow_of(mapping), layouts=(layout,))


COUNTED = MappingResult(key="k", pipeline="quantize", counts=(COUNTS,), outline=_outline(), accuracy=0.5)
IDENTITY = {"bsc": "1", "model 'm.onnx'": "SHA-256 aa"}


def design(number: int) -> Design:
    figures: dict[str, float | None] = dict.fromkeys(FIGURES, 1 / (1 + number))
    figures |= {"area": None, "crossbars": number, "tiles-in-use": number, "chips-in-use": None}
    return Design(number=number, choices={"xbar": "64x64"}, pipeline="quantize", figures=figures)


def refused(number: int) -> Design:
    return Design(number=number, choices={"xbar": "64x64"}, figures={}, code="BSC205", problem="no")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r.sqlite"


def begin(path: Path, **identity: str) -> Store:
    return open_store(path, IDENTITY | identity, force=False)


def test_what_lands_is_there_when_opened_again(path: Path) -> None:
    with begin(path) as store:
        store.add([design(4), refused(2)], COUNTED)
        store.ask([4, 2])
    with begin(path) as store:
        assert store.designs() == {2: refused(2), 4: design(4)}
        assert store.asked() == [4, 2]
        found = store.counted("k")
        assert found is not None
        assert (found.pipeline, found.accuracy, found.code) == ("quantize", 0.5, None)
        assert counts_to_json(found.counts) == counts_to_json([COUNTS])
        assert found.outline is not None
        assert outline_to_json(found.outline) == outline_to_json(_outline())
        assert store.counted("other") is None


def test_what_lands_twice_stays_as_it_was(path: Path) -> None:
    with begin(path) as store:
        store.add([design(4)])
        store.add([replace(design(4), pipeline="other"), design(5)])
        store.ask([4])
        store.ask([4, 5])
        assert [store.designs()[number].pipeline for number in (4, 5)] == ["quantize", "quantize"]
        assert store.asked() == [4, 5]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, KeyError, ValueError])
def test_what_fails_as_designs_are_made_is_no_fault_of_the_file(raised: type[BaseException], path: Path) -> None:
    """Nothing of it lands, the error stays what it is, and nobody waits meanwhile."""

    def failing() -> Iterator[Design]:
        yield design(1)
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # the file is not locked
        other.close()
        raise raised("area")

    with begin(path) as store:
        with pytest.raises(raised):
            store.add(failing(), COUNTED)
        assert (store.designs(), store.counted("k")) == ({}, None)


def test_what_is_asked_for_again_leaves_no_gap(path: Path) -> None:
    with begin(path) as store:
        store.ask([4, 2])
        store.ask([2, 7, 4, 9])
        assert store.asked() == [4, 2, 7, 9]


def test_lost_workers_are_counted_until_the_sweep_is_begun_anew(path: Path) -> None:
    with begin(path) as store:
        assert [store.lost("k"), store.lose("k"), store.lose("k"), store.lost("k"), store.lost("j")] == [0, 1, 2, 2, 0]
    with begin(path) as store:
        assert store.lost("k") == 2
    with open_store(path, IDENTITY, force=True) as store:
        assert store.lost("k") == 0


def test_another_sweep_is_refused_and_begun_anew_by_force(path: Path) -> None:
    with begin(path) as store:
        store.add([design(4)], COUNTED)
    with pytest.raises(ModelError) as caught:
        begin(path, **{"model 'm.onnx'": "SHA-256 bb"})
    assert str(caught.value) == (
        "[BSC314] results file 'r.sqlite' is of another sweep\n"
        "  seen: model 'm.onnx': SHA-256 aa there, SHA-256 bb now\n"
        "  fix:  choose another --output, or begin anew with --force, which keeps the counts that still hold"
    )
    with pytest.raises(ModelError, match="key 'points' of the space: none there, 3 now"):
        begin(path, **{"key 'points' of the space": "3"})
    with begin(path) as store:
        assert store.designs() == {4: design(4)}
    with open_store(path, {"bsc": "2"}, force=True) as store:
        assert store.designs() == {}
        assert store.counted("k") is not None


def test_a_run_whose_file_was_begun_anew_stops(path: Path) -> None:
    with begin(path) as store:
        open_store(path, {"bsc": "2"}, force=True).__exit__()
        with pytest.raises(ModelError, match="begun anew by another run"):
            store.add([design(1)])


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photos (name TEXT)")
    connection.close()


def corrupted(path: Path) -> None:
    with begin(path) as store:
        store.add([design(number) for number in range(2000)])
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\xff" * (40960 - 8192)
    path.write_bytes(content)


def earlier(path: Path) -> None:
    """Results without outlines and figures of chips."""
    begin(path).__exit__()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 4")
    connection.close()


def later(path: Path) -> None:
    begin(path).__exit__()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (lambda path: path.write_text("hello " * 200), "file is not a database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"x" * 2000), "file is not a database"),
        (foreign, "a database of something else"),
        (corrupted, ""),
        (earlier, "results in format 4, this bsc reads 5"),
        (later, "results in format 99, this bsc reads 5"),
    ],
    ids=["text", "header", "foreign", "corrupted", "earlier", "later"],
)
def test_what_is_no_results_file_is_never_written_over(spoil: object, seen: str, force: bool, path: Path) -> None:
    assert callable(spoil)
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(ModelError) as caught:
        open_store(path, IDENTITY, force=force)
    assert caught.value.problem == "'r.sqlite' is not a results file of a sweep that can be read"
    assert caught.value.seen.startswith(seen)
    assert caught.value.fix == "move it away, or choose another --output; it is never written over"
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("column", ["counts = '[]x'", "counts = '[{}]'", "counts = '7'"])
def test_counts_that_are_none(column: str, path: Path) -> None:
    with begin(path) as store:
        store.add([], COUNTED)
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(f"UPDATE mappings SET {column}")
        connection.close()
        with pytest.raises(ModelError, match=r"\[BSC314\] 'r.sqlite' is not a results file"):
            store.counted("k")


def test_counts_survive_as_text() -> None:
    (found,) = counts_from_json(counts_to_json([COUNTS]))
    for name in ("conversions", "crossbars"):
        assert getattr(found, name).tolist() == getattr(COUNTS, name).tolist()
    assert (found.counters, found.array_rows, found.name) == (COUNTS.counters, 128, "fc")


def test_full_disk_keeps_what_was_there(path: Path) -> None:
    with begin(path) as store:
        store.add([design(0)])
        store._connection.execute("PRAGMA max_page_count = 12")
        with pytest.raises(UsageError) as caught:
            store.add(design(number) for number in range(1, 2000))
    assert str(caught.value) == (
        f"[BSC204] results file '{path}' cannot be written\n"
        "  seen: database or disk is full\n"
        "  fix:  free some space and run the same command again: what was done is kept"
    )
    with begin(path) as store:
        assert store.designs() == {0: design(0)}
        store.add([design(1)])
        assert len(store.designs()) == 2


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BscError) as caught:
        open_store(tmp_path / "nowhere" / "r.sqlite", IDENTITY, force=False)
    assert (caught.value.code, caught.value.seen) == ("BSC204", "unable to open database file")


def test_an_empty_file_is_a_beginning(path: Path) -> None:
    """What a run leaves that is killed as it begins."""
    path.touch()
    with begin(path) as store:
        assert store.designs() == {}
