"""Many hostile cases in worker processes that may crash or hang; prints the outcome and exits 1 for any problem.

python -m tests.fuzz.run --cases 20000 --json outcome.json
python -m tests.fuzz.run --only 1234              # one case again, in this process, with its files kept
"""

import argparse
import contextlib
import gc
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

KILL_CPU_SECONDS = 300  # the largest models may take 250
KILL_WALL_SECONDS = 1800  # waits for a pipe take no processor time
START_CPU_SECONDS = 20  # imports, and the plans to start from
HARD_LIMIT_BYTES = 6 << 30  # so that a blow-up is a case that fails and not a machine that does


def work(pipe: Connection, folder: str) -> None:
    """Run the cases whose numbers come in; a worker."""
    import hw_models
    from tests.fuzz.case import base_plans, run_case

    for part in ("load", "load_law"):  # shipped files, of which no case says anything
        setattr(hw_models, part, cache(getattr(hw_models, part)))
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (HARD_LIMIT_BYTES, HARD_LIMIT_BYTES))
    base = Path(folder)
    (base / "base").mkdir()
    plans = base_plans(base / "base")
    gc.collect()
    gc.freeze()  # libraries stay: going through them again takes an eighth of a case
    while (number := pipe.recv()) is not None:
        case = base / "case"
        shutil.rmtree(case, ignore_errors=True)
        case.mkdir()
        pipe.send(asdict(run_case(number, case, plans)))


@dataclass
class Worker:
    """A process, the case it is at, and the clocks at which that is a hang."""

    process: Any
    pipe: Connection
    number: int = -1
    cases: int = 0
    last_cpu: float = 0.0
    last_wall: float = 0.0

    @classmethod
    def start(cls, folder: Path, number: int) -> "Worker":
        """Start one on its first case."""
        place = tempfile.mkdtemp(dir=folder)
        context = get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there, place), daemon=True)
        process.start()
        there.close()
        worker = cls(process, here)
        worker.take(number)
        worker.last_cpu += START_CPU_SECONDS
        return worker

    def take(self, number: int) -> None:
        """Give it a case."""
        self.number = number
        self.cases += 1
        self.last_cpu = self.cpu_seconds() + KILL_CPU_SECONDS
        self.last_wall = time.monotonic() + KILL_WALL_SECONDS
        self.pipe.send(number)

    def hangs(self) -> bool:
        """Whether the case has taken too long."""
        return self.cpu_seconds() > self.last_cpu or time.monotonic() > self.last_wall

    def cpu_seconds(self) -> float:
        """Processor time of the process so far."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def outcomes(numbers: Iterator[int], workers: int, folder: Path) -> Iterator[dict[str, Any]]:
    """The outcomes of all cases, in no order."""
    pool = [Worker.start(folder, number) for _, number in zip(range(workers), numbers, strict=False)]
    while pool:
        ready = wait([worker.pipe for worker in pool], timeout=1)
        for worker in list(pool):
            outcome = None
            if worker.pipe in ready:
                try:
                    outcome = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    worker.process.join()
                    outcome = lost(worker, f"died with exit code {worker.process.exitcode}")
            elif worker.hangs():
                worker.process.kill()
                outcome = lost(worker, "no answer")
            if outcome is None:
                continue
            if outcome["problem"].startswith("memory") and worker.cases > 1:  # earlier cases may have left some
                worker.pipe.send(None)
                pool[pool.index(worker)] = Worker.start(folder, worker.number)
                continue
            yield outcome
            following = next(numbers, None)
            alive = outcome["kind"] != "?"
            if following is None:
                if alive:
                    worker.pipe.send(None)
                pool.remove(worker)
            elif alive:
                worker.take(following)
            else:
                pool[pool.index(worker)] = Worker.start(folder, following)


def lost(worker: Worker, problem: str) -> dict[str, Any]:
    """The outcome of a case whose worker is gone."""
    return {"number": worker.number, "kind": "?", "code": "?", "problem": problem, "seconds": 0.0, "peak_bytes": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, help="run this case alone")
    parser.add_argument("--json", type=Path, help="write the outcome there")
    options = parser.parse_args()
    if options.only is not None:
        run_alone(options.only)
        return
    start = time.monotonic()
    codes: dict[str, Counter[str]] = {"model": Counter(), "plan": Counter(), "?": Counter()}
    problems, slowest, peak = [], 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(options.first, options.first + options.cases))
        with contextlib.suppress(KeyboardInterrupt):  # what is done by then is told
            for outcome in outcomes(numbers, options.workers, Path(folder)):
                codes[outcome["kind"]][outcome["code"]] += 1
                slowest, peak = max(slowest, outcome["seconds"]), max(peak, outcome["peak_bytes"])
                if outcome["problem"]:
                    problems.append(outcome)
                    print(f"case {outcome['number']} ({outcome['kind']}): {outcome['problem']}", flush=True)
    summary = {
        "first": options.first,
        "cases": sum(map(Counter.total, codes.values())),
        "by_kind_and_code": {kind: dict(sorted(counts.items())) for kind, counts in codes.items() if counts},
        "problems": problems,
        "slowest_case_s": round(slowest, 2),
        "peak_bytes": peak,
        "seconds": round(time.monotonic() - start),
    }
    text = json.dumps(summary, indent=2) + "\n"
    print(text, end="")
    if options.json:
        options.json.write_text(text)
    sys.exit(bool(problems))


def run_alone(number: int) -> None:
    """One case in this process; its files stay in a folder that is named."""
    from tests.fuzz.case import base_plans, run_case

    folder = Path(tempfile.mkdtemp(prefix=f"case-{number}-"))
    (folder / "base").mkdir()
    (folder / "case").mkdir()
    print(folder / "case")
    print(run_case(number, folder / "case", base_plans(folder / "base")))


if __name__ == "__main__":
    main()
