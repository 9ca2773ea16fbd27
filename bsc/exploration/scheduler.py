"""Where the mappings of a sweep are counted: a scheduler takes work and gives answers as they come, in any order."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from bsc.errors import UsageError
from bsc.exploration.mapping import MappingJob, MappingResult, count

RESUME = "run the same command again: what was done is kept"


class Scheduler(Protocol):
    """Something that does work."""

    def run(self, works: Iterable[MappingJob]) -> Iterator[MappingResult]:
        """Count mappings; one whose worker is lost is an answer too, and the others go on.

        Raises:
            UsageError: BSC210 if all workers are lost together.
        """
        ...


class InProcess:
    """Does one after another, here."""

    def run(self, works: Iterable[MappingJob]) -> Iterator[MappingResult]:
        """Count mappings in their order."""
        return map(count, works)


def lost(seen: str) -> UsageError:
    """The error of a sweep whose workers are gone."""
    return UsageError("BSC210", "the workers of the sweep were lost", seen=seen, fix=RESUME)


def lost_over(key: str, seen: str) -> MappingResult:
    """The answer to a mapping whose worker is gone."""
    return MappingResult(key=key, seen=seen, lost=True)
