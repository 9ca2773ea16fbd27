"""Where the work of a sweep is done: a scheduler takes work and gives answers as they come, in any order."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import bsc
from bsc.errors import BscError, UsageError

RESUME = "run the same command again: what was done is kept"


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """What became of a piece of work.

    Attributes:
        key: of the work.
        code: of the error that it ended with, or None.
        problem: first line of that error.
        seen: what was found there; of fatal errors.
        fix: what to do about it; likewise.
        fatal: the error is none of the design's but of files or workers: the sweep cannot go on.
        lost: the worker was lost over it; only `seen` tells more.
    """

    key: str
    code: str | None = None
    problem: str | None = None
    seen: str = ""
    fix: str = ""
    fatal: bool = False
    lost: bool = False


class Work(Protocol):
    """A piece of work: a plain record that travels between processes."""

    @property
    def key(self) -> str:
        """Tells it from all other work of a sweep."""
        ...

    def done(self) -> Answer:
        """Do it, here; errors are part of the answer."""
        ...


class Agenda:
    """Work to be done, which answers may add to: what they add comes first."""

    def __init__(self, later: Iterable[Work]) -> None:
        """An agenda of some work."""
        self._next = deque[Work]()
        self._later = iter(later)

    def add(self, works: Iterable[Work]) -> None:
        """More work, ahead of all that has not begun."""
        self._next.extend(works)

    def __iter__(self) -> Iterator[Work]:
        return self

    def __next__(self) -> Work:
        return self._next.popleft() if self._next else next(self._later)


class Scheduler(Protocol):
    """Something that does work."""

    def run(self, works: Iterable[Work]) -> Iterator[Answer]:
        """Do work; a piece whose worker is lost is an answer too, and the others go on.

        Args:
            works: what is to be done. It is asked for more after every answer, since answers may add to it.

        Raises:
            UsageError: BSC210 if all workers are lost together.
        """
        ...


class InProcess:
    """Does one after another, here."""

    def run(self, works: Iterable[Work]) -> Iterator[Answer]:
        """Do work in its order."""
        return (work.done() for work in works)


def told(error: BscError) -> dict[str, Any]:
    """An error as an answer tells it."""
    return {"code": error.code, "problem": error.problem, "seen": error.seen, "fix": error.fix}


def require_version(version: str) -> None:
    """Refuse work of another version of bsc.

    Raises:
        UsageError: BSC210.
    """
    if version != bsc.__version__:
        raise worker_error("is of another version", bsc.__version__, f"install bsc {version} there")


def worker_error(problem: str, seen: str, fix: str) -> UsageError:
    """The error of a worker that cannot do what others can."""
    return UsageError("BSC210", f"a worker {problem}", seen=seen, fix=fix)


def lost(seen: str) -> UsageError:
    """The error of a sweep whose workers are gone."""
    return UsageError("BSC210", "the workers of the sweep were lost", seen=seen, fix=RESUME)


def lost_over(key: str, seen: str) -> Answer:
    """The answer to work whose worker is gone."""
    return Answer(key=key, seen=seen, lost=True)
