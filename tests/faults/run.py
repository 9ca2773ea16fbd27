"""Kills, full disks and races, many of them; prints the table of README.md and exits 1 for any problem.

python -m tests.faults.run [--kills N] [--races N] [--seed N]

As root on Linux disks are really full, those of a small tmpfs; otherwise that column is left out.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import child
from tests.faults.scenes import Scene, left_over_of, prepare, problem, scenes, went_on

LIMITS = (0, 1000, 10_000, 100_000)
"""Bytes that a file may have."""

ROOMS = (0, 1 << 12, 1 << 14, 1 << 16, 1 << 18)
"""Bytes that are left on a disk."""

DISK, FILLER = 1 << 24, "filler"


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--races", type=int, default=8, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    problems: list[str] = []
    child.load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        found = {key: each for key, each in scenes(folder).items() if not options.only or key in options.only}
        heads = ["kills", "nothing there", "as before", "done", "at a limit: refused", "done"]
        heads += ["full disk: refused", "done", "two at once: both", "one refused"]
        print(f"| command | {' | '.join(heads)} |\n| --- |{' ---: |' * len(heads)}")
        for key, scene in found.items():
            each = -(-options.kills // len(found))
            counts, seen = kills(scene, each, options.seed)
            limited, more = at_limits(scene)
            disk, full = on_full_disk(key)
            met, raced = races(scene, options.races, options.seed)
            problems += [f"{key}: {text}" for text in [*seen, *more, *full, *raced]]
            cells = [each, counts["nothing"], counts["old"], counts["new"], limited["refused"], limited["done"]]
            cells += [disk["refused"], disk["done"], met["both"], met["one"]]
            print(f"| {key} | {' | '.join(map(str, cells))} |", flush=True)
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


def races(scene: Scene, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Let two processes write different things to one place, without `--force` where nothing is there before.

    Returns:
        Whether both ended well or one was refused, and what was wrong.
    """
    results, seconds = [], 0.0
    for arguments in (scene.rival, scene.arguments):
        clear(scene)
        ended = child.run(arguments)
        assert ended.code == 0, ended.stderr
        results.append(scene.state(scene.output))
        seconds = ended.seconds
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for number, moment in enumerate(child.moments(seed, count, seconds / 2)):
        if not number % 2:
            clear(scene)
        both = [[each for each in one if number % 2 or each != "--force"] for one in (scene.arguments, scene.rival)]
        first = child.start(both[0])
        time.sleep(moment)
        second = child.start(both[1])
        ends = {results[1]: first.wait(), results[0]: second.wait()}
        written = [state for state, ended in ends.items() if ended.code == 0]
        counts["both" if len(written) == 2 else "one"] += 1
        wrong = next((f"not clear: {ended.stderr}" for ended in ends.values() if not ended.clear), "")
        wrong = wrong or ("" if scene.state(scene.output) in written else "not what one wrote that ended well")
        if wrong or (left := left_over_of(scene.output)):
            problems.append(f"the second {moment:.3f} s behind the first: {wrong or f'left behind: {left}'}")
    return counts, problems


def on_full_disk(key: str, rooms: Sequence[int] = ROOMS) -> tuple[Counter[str], list[str]]:
    """Let a command run on a small disk that is full but for a few bytes; nothing where that cannot be mounted."""
    counts: Counter[str] = Counter()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name)) as disk:
        if disk is None:
            return counts, problems
        prepare(disk)
        scene = scenes(disk)[key]
        assert child.run(scene.arguments).code == 0
        after = scene.state(scene.output)
        for room in rooms:
            for before in ("", after):
                if not before:
                    clear(scene)
                fill(disk, room)
                ended = child.run(scene.arguments)
                counts["refused" if ended.code else "done"] += 1
                wrong = problem(scene, before, after) or ("" if ended.clear else f"not clear: {ended.stderr}")
                wrong = wrong or (f"left behind: {left}" if (left := left_over_of(scene.output)) else "")
                (disk / FILLER).unlink()
                wrong = went_on(scene, child.run(resumed(scene)), after) or wrong
                if wrong:
                    problems.append(f"disk with {room} bytes: {wrong}")
    return counts, problems


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """A file system of `DISK` bytes at a folder, None where this process may not mount one."""
    options = ("-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place))
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, room: int) -> None:
    """Leave so many bytes free."""
    state = os.statvfs(disk)
    (disk / FILLER).write_bytes(bytes(state.f_bavail * state.f_frsize - room))


def at_limits(scene: Scene, limits: Sequence[int] = LIMITS) -> tuple[Counter[str], list[str]]:
    """Let a command run out of space at different sizes of a file."""
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
