"""The results of a sweep, landing one mapping at a time in a SQLite file.

Every mapping is one transaction, its designs included, so that a sweep that is killed loses what was being worked on
and nothing else. The file says what sweep it is of. Counts and outlines are kept by the SHA-256 of all
that they follow from; they serve a changed sweep too, which then has only new mappings to compile: none where it has
other chips only. There are no times in it: the same sweep ends
with the same rows.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from bsc.errors import ModelError, UsageError
from bsc.exploration.designs import FIGURES, Design
from bsc.exploration.mapping import MappingResult
from bsc.exploration.rows import counted_from_row, counted_row, design_from_row, design_row, shortened, storable

APPLICATION_ID: Final = 0x62736378  # "bscx"
SCHEMA: Final = 5
BUSY_S: Final = 30.0

_TABLES: Final = (
    "CREATE TABLE sweep (part TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE mappings (key TEXT PRIMARY KEY, pipeline TEXT NOT NULL, counts TEXT NOT NULL, "
    "outline TEXT NOT NULL, accuracy REAL, noise TEXT NOT NULL, code TEXT, problem TEXT) WITHOUT ROWID",
    "CREATE TABLE designs (number INTEGER PRIMARY KEY, choices TEXT NOT NULL, pipeline TEXT, adc_energy_j REAL, "
    "energy_j REAL, latency_s REAL, area_m2 REAL, crossbars INTEGER, accuracy REAL, "
    "mean_accuracy REAL, exact_accuracy REAL, throughput_per_s REAL, chip_latency_s REAL, average_power_w REAL, "
    "chip_energy_j REAL, efficiency_ops_per_w REAL, energy_delay_js REAL, chip_area_m2 REAL, tiles_in_use INTEGER, "
    "chips_in_use INTEGER, code TEXT, problem TEXT)",
    "CREATE TABLE asked (place INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE)",
    "CREATE TABLE lost (key TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID",
)
_SPACE: Final = "free some space and run the same command again: what was done is kept"
_FIXES: Final = {
    sqlite3.SQLITE_FULL: _SPACE,
    sqlite3.SQLITE_IOERR: _SPACE,
    sqlite3.SQLITE_BUSY: "wait for what else has it open, and run the same command again",
}
_MALFORMED: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR})


class Store:
    """The results file of one sweep, open."""

    def __init__(self, path: Path, connection: sqlite3.Connection, identity: Mapping[str, str]) -> None:
        """Use `open_store`."""
        self.path = path
        self._connection = connection
        self._identity = dict(identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def designs(self) -> dict[int, Design]:
        """Every design that is done, by number."""
        with _errors(self.path):
            rows = self._connection.execute("SELECT * FROM designs ORDER BY number").fetchall()
        with _decoding(self.path):
            return {row[0]: design_from_row(row) for row in rows}

    def asked(self) -> list[int]:
        """Designs that a search has chosen so far, in order."""
        with _errors(self.path):
            rows = self._connection.execute("SELECT place, number FROM asked ORDER BY place").fetchall()
        with _decoding(self.path):
            for at, (place, number) in enumerate(rows):
                if place != at or not isinstance(number, int):
                    raise ValueError(f"what was asked for has number {number!r} in place {place}, after {at} others")
        return [number for _, number in rows]

    def counted(self, key: str) -> MappingResult | None:
        """What became of a mapping, or None if it is not known."""
        with _errors(self.path):
            row = self._connection.execute(
                "SELECT key, pipeline, counts, outline, accuracy, noise, code, problem FROM mappings WHERE key = ?",
                (key,),
            ).fetchone()
        with _decoding(self.path):
            return None if row is None else counted_from_row(row)

    def lost(self, key: str) -> int:
        """How often workers were lost over a mapping."""
        with _errors(self.path):
            row = self._connection.execute("SELECT times FROM lost WHERE key = ?", (key,)).fetchone()
        times = 0 if row is None else row[0]
        with _decoding(self.path):
            if not isinstance(times, int) or times < 0:
                raise ValueError(f"workers were lost {times!r} times")
        return times

    def lose(self, key: str) -> int:
        """Record that a worker was lost over a mapping once more; gives how often that was."""
        times = self.lost(key) + 1
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO lost VALUES (?, ?)", (key, times))
        return times

    def ask(self, numbers: Iterable[int]) -> None:
        """Record what a search has chosen next, each of them once; what is there already stays in its place."""
        with self._transaction() as connection:
            known = {number for (number,) in connection.execute("SELECT number FROM asked")}
            new = [number for number in numbers if number not in known]
            connection.executemany("INSERT INTO asked VALUES (?, ?)", enumerate(new, len(known)))

    def add(self, designs: Iterable[Design], counted: MappingResult | None = None) -> None:
        """Record designs, and the mapping that they were priced from; what is there already stays."""
        # All that can go wrong or take long is done before the file is locked.
        rows = [design_row(design) for design in designs]
        mapping = None if counted is None else counted_row(counted)
        with self._transaction() as connection:
            if mapping is not None:
                connection.execute("INSERT OR IGNORE INTO mappings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", mapping)
            connection.executemany(
                f"INSERT OR IGNORE INTO designs VALUES ({', '.join('?' * (5 + len(FIGURES)))})", rows
            )

    def malformed(self, seen: str) -> ModelError:
        """The error of a file that holds what no sweep writes."""
        return _malformed(self.path, seen)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; refused once the file has become that of another sweep."""
        with _errors(self.path), _transaction(self._connection) as connection:
            if _read_identity(connection) != self._identity:
                raise _other_sweep(self.path, "it was begun anew by another run", "let one of them end first")
            yield connection


def open_store(path: Path, identity: Mapping[str, str], *, force: bool) -> Store:
    """Open a results file, or begin one.

    Args:
        path: the file.
        identity: what the sweep is of, part by part.
        force: begin anew where the file is of another sweep, or of this one; counts are kept, lost workers forgotten.

    Raises:
        UsageError: BSC204 if it cannot be read or written.
        ModelError: BSC314 if it is malformed, no results of a sweep, or those of another one.
    """
    identity = {storable(part): storable(value) for part, value in identity.items()}
    with _errors(path):
        connection = sqlite3.connect(path.absolute(), timeout=BUSY_S, isolation_level=None)
    try:
        with _errors(path):
            _prepare(path, connection, identity, force=force)
        return Store(path, connection, identity)
    except BaseException:
        connection.close()
        raise


def _prepare(path: Path, connection: sqlite3.Connection, identity: Mapping[str, str], *, force: bool) -> None:
    with _transaction(connection):
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        if not tables and not application:
            for statement in (*_TABLES, f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {SCHEMA}"):
                connection.execute(statement)
        elif application != APPLICATION_ID:
            raise _malformed(path, "a database of something else")
        elif schema != SCHEMA:
            raise _malformed(path, f"results in format {schema}, this bsc reads {SCHEMA}")
        else:
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise _malformed(path, state)
            found = _read_identity(connection)
            if found == dict(identity) and not force:
                return
            if not force:
                raise _other_sweep(path, *_difference(found, identity))
            for table in ("sweep", "designs", "asked", "lost"):
                connection.execute(f"DELETE FROM {table}")
        connection.executemany("INSERT INTO sweep VALUES (?, ?)", sorted(identity.items()))


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:  # an interrupt too
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def _read_identity(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT part, value FROM sweep").fetchall())


def _difference(found: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[str, str]:
    """The first part that is not as it was, and what to do."""
    part = next(each for each in [*wanted, *found] if found.get(each) != wanted.get(each))
    seen = f"{part}: {_short(found.get(part))} there, {_short(wanted.get(part))} now"
    return seen, "choose another --output, or begin anew with --force, which keeps the counts that still hold"


def _short(value: str | None) -> str:
    return "none" if value is None else shortened(value)


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Tell what is wrong with the file.

    Raises:
        UsageError: BSC204.
        ModelError: BSC314.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _MALFORMED:
            raise _malformed(path, str(error)) from None
        raise UsageError(
            "BSC204",
            f"results file '{path}' cannot be written",
            seen=str(error),
            fix=_FIXES.get(code, "choose a file that you may write to with --output"),
        ) from None


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Tell what was read and is not a row of a sweep; nothing else belongs in here.

    Raises:
        ModelError: BSC314.
    """
    try:
        yield
    except ValueError as error:
        raise _malformed(path, str(error)) from None


def _malformed(path: Path, seen: str) -> ModelError:
    return ModelError(
        "BSC314",
        f"'{path.name}' is not a results file of a sweep that can be read",
        seen=seen,
        fix="move it away, or choose another --output; it is never written over",
    )


def _other_sweep(path: Path, seen: str, fix: str) -> ModelError:
    return ModelError("BSC314", f"results file '{path.name}' is of another sweep", seen=seen, fix=fix)
