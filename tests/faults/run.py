"""Kills, full disks and races, many of them; prints the tables of README.md and exits 1 for any problem.

python -m tests.faults.run [--kills N] [--seed N]
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults import child
from tests.faults.scenes import Scene, left_over_of, prepare, problem, scenes, went_on

LIMITS = (0, 1000, 10_000, 100_000)
"""Bytes that a file may have before the disk is full."""


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    problems: list[str] = []
    child.load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        found = {key: each for key, each in scenes(folder).items() if not options.only or key in options.only}
        print("| command | kills | nothing there | as before | done | full disk: refused | in time |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for key, scene in found.items():
            each = -(-options.kills // len(found))
            counts, seen = kills(scene, each, options.seed)
            disk, more = full_disk(scene)
            problems += [f"{key}: {text}" for text in seen + more]
            cells = [counts["nothing"], counts["old"], counts["new"], disk["refused"], disk["done"]]
            print(f"| {key} | {each} | {' | '.join(map(str, cells))} |", flush=True)
    print("\n".join(problems) or "\nno problem")
    sys.exit(bool(problems))


def kills(scene: Scene, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Kill a command at random moments, half of the times with an earlier result there.

    Returns:
        What was there afterwards, and what was wrong.
    """
    clear(scene)
    undisturbed = child.run(scene.arguments)
    assert undisturbed.code == 0, undisturbed.stderr
    after = scene.state(scene.output)
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for number, moment in enumerate(child.moments(seed, count, undisturbed.seconds)):
        if number % 2 and not scene.partial:
            before = after
        else:
            clear(scene)
            before = ""
        child.killed(scene.arguments, moment)
        wrong = problem(scene, before, after)
        state = "" if wrong else scene.state(scene.output)
        counts["nothing" if not state else "old" if state == before else "new"] += 1
        wrong = went_on(scene, child.run(resumed(scene)), after) or wrong
        if wrong:
            problems.append(f"killed after {moment:.3f} s: {wrong}")
    return counts, problems


def full_disk(scene: Scene, limits: Sequence[int] = LIMITS) -> tuple[Counter[str], list[str]]:
    """Let a command run out of space at different sizes."""
    counts: Counter[str] = Counter()
    problems: list[str] = []
    clear(scene)
    assert child.run(scene.arguments).code == 0
    after = scene.state(scene.output)
    for limit in limits:
        for before in ("", after):
            if not before:
                clear(scene)
            ended = child.run(scene.arguments, before=child.file_limit(limit))
            counts["refused" if ended.code else "done"] += 1
            wrong = problem(scene, before, after) or ("" if ended.clear else f"not clear: {ended.stderr}")
            wrong = wrong or (f"left behind: {left}" if (left := left_over_of(scene.output)) else "")
            wrong = went_on(scene, child.run(resumed(scene)), after) or wrong
            if wrong:
                problems.append(f"full disk at {limit} bytes: {wrong}")
    return counts, problems


def resumed(scene: Scene) -> list[object]:
    """The command that goes on."""
    go_on = scene.arguments[0] == "finetune" and checkpoint(scene).exists()
    return [*scene.again, *(["--resume"] if go_on else [])]


def checkpoint(scene: Scene) -> Path:
    """That of a fine-tuning."""
    return scene.output.with_name(f"{scene.output.name}.checkpoint")


def clear(scene: Scene) -> None:
    """Remove the output."""
    for path in (scene.output, checkpoint(scene), scene.output.with_name(f"{scene.output.name}-journal")):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
