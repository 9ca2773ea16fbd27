"""Workers of a Dask cluster. They need bsc installed, and must see the files of the sweep at the same paths."""

import contextlib
import logging
import uuid
from asyncio import CancelledError
from collections.abc import Iterable, Iterator
from typing import Any

import dask
from distributed import Client, as_completed
from distributed.scheduler import KilledWorker

from bsc.errors import UsageError
from bsc.exploration.scheduler import Answer, Work, lost, lost_over

CONNECT_S = 5
WORKERS_S = 10
AGAIN = 3
"""How often a design is given out anew."""
AHEAD = 3
"""Pieces of work that are given out for each thread of the cluster, so that none has to wait for the next."""


class _Client(Client):
    """A client that is closed when `Cluster` says so; one that never connected would wait for that in vain."""

    def __del__(self) -> None:
        pass


def _connect(address: str, **options: Any) -> Any:
    """Distributed has types, but not everywhere."""
    client: Any = _Client
    return client(address, **options)


class Cluster:
    """A scheduler at an address, as `tcp://10.0.0.1:8786`."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            UsageError: BSC210 if nothing answers there, or has no workers.
        """
        self._address = address
        dask.config.set({"distributed.comm.timeouts.connect": CONNECT_S})  # of handshakes too
        for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what is lost is told as an error
        try:
            self._client: Any = _connect(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            seen = (str(error) or type(error).__name__).splitlines()[0]
            raise UsageError(
                "BSC210",
                f"no Dask scheduler answers at '{address}'",
                seen=seen,
                fix="start one with 'dask scheduler' and give the address that it prints, as tcp://HOST:8786",
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_S)
        except OSError:
            self._client.close(timeout=1)
            raise UsageError(
                "BSC210",
                f"the Dask scheduler at '{address}' has no workers",
                seen=f"none within {WORKERS_S} s",
                fix=f"start some with 'dask worker {address} --nthreads 1', where bsc is installed",
            ) from None

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):  # a scheduler that is gone has nothing to close
            self._client.close(timeout=2)

    def run(self, works: Iterable[Work]) -> Iterator[Answer]:
        """As `Scheduler.run`; what a worker had that is lost is done again by another one."""
        left = iter(works)
        running = as_completed(loop=self._client.loop)
        given: dict[str, tuple[Work, int]] = {}

        def give(work: Work, again: int = 0) -> None:
            # A name of its own, since the scheduler may remember what happened under another one.
            future = self._client.submit(_done, work, key=f"bsc-{work.key}-{uuid.uuid4().hex}", pure=False)
            given[future.key] = work, again
            running.add(future)

        def give_more() -> None:
            """As much as all threads have ahead; an answer may have added more than one piece of work."""
            while len(given) < most and (work := next(left, None)) is not None:
                give(work)

        most = AHEAD * max(1, sum(self._client.nthreads().values()))
        give_more()
        for future in running:
            work, again = given.pop(future.key)
            if future.status in ("finished", "error"):
                with contextlib.suppress(CancelledError):  # the worker that had the answer has gone just now
                    yield self._answer(work, future)
                    give_more()
                    continue
            if self._client.status != "running":
                raise lost(f"the Dask scheduler at '{self._address}' is gone")
            if again == AGAIN:
                yield lost_over(work.key, f"{1 + AGAIN} workers in a row were lost over it")
                give_more()
                continue
            give(work, again + 1)

    def _answer(self, work: Work, future: Any) -> Answer:
        try:
            answer: Answer = future.result()
        except KilledWorker:
            return lost_over(work.key, "workers died one after another over it, as when memory runs out")
        return answer


def _done(work: Work) -> Answer:
    """What a worker of the cluster does."""
    return work.done()
