"""Worker processes on this machine. What they do is imported by the worker, after its threads were counted."""

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bsc.exploration.scheduler import Answer, Work

STOP_S = 5.0
"""How long a worker may take to end before it is killed."""


class Processes:
    """Worker processes, each with one piece of work at a time; started when there is something for them to do."""

    def __init__(self, jobs: int) -> None:
        """`jobs` processes at most."""
        self._jobs = jobs
        self._workers: dict[Connection, SpawnProcess] = {}

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, whatever they are doing: nothing of theirs is kept outside the results file."""
        for process in self._workers.values():
            process.terminate()
        for connection, process in self._workers.items():
            process.join(STOP_S)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
            connection.close()
        self._workers.clear()

    def run(self, works: "Iterable[Work]") -> "Iterator[Answer]":
        """As `Scheduler.run`."""
        left = iter(works)
        idle, busy = list(self._workers), dict[Connection, "Work"]()
        while True:
            while (idle or len(self._workers) < self._jobs) and (work := next(left, None)) is not None:
                worker = idle.pop() if idle else self._start()
                busy[worker] = work
                with contextlib.suppress(OSError):  # of a worker that is gone the other end tells
                    worker.send(work)
            if not busy:
                return
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                try:
                    answer = ready.recv()
                except (EOFError, OSError):
                    yield self._lost(ready, busy.pop(ready))
                    continue
                if isinstance(answer, str):
                    raise RuntimeError(answer)
                del busy[ready]
                idle.append(ready)
                yield answer

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # so that our end tells when the worker is gone
        self._workers[ours] = process
        return ours

    def _lost(self, connection: Connection, work: "Work") -> "Answer":
        """What became of work whose worker is gone; another worker takes its place."""
        from bsc.exploration.scheduler import lost_over

        process = self._workers.pop(connection)
        process.join(STOP_S)
        seen = f"process {process.pid} ended with {_status(process.exitcode)}"
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
        connection.close()
        return lost_over(work.key, seen)


def _status(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}, as when memory runs out"
    return f"exit status {code}"


def _serve(connection: Connection) -> None:
    """The life of a worker: one thread of arithmetic, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, and the first ends the others
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            work = connection.recv()
            try:
                answer: Answer | str = work.done()
            except Exception:  # a bug, which the first process reports
                answer = traceback.format_exc()
            connection.send(answer)
