"""Compile and replay every case of the groups named on the command line, and print what became of them.

python -m tests.coverage.run                      all groups
python -m tests.coverage.run torch quantised      some
python -m tests.coverage.run --json results.json  write every outcome as well
"""

import argparse
import collections
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.coverage import cases
from tests.coverage.inputs import input_cases
from tests.coverage.outcome import Outcome, Status, outcome
from tests.coverage.weights import normalised_cases, scikit_cases, weight_cases

GROUPS = {
    **cases.GROUPS,
    "inputs": input_cases,
    "weights": weight_cases,
    "normalised": normalised_cases,
    "scikit": scikit_cases,
}
COLUMNS: tuple[Status, ...] = ("exact", "digital only", "refused", "broken")


def main() -> None:
    """Run the groups."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, list[Outcome]] = {}
    for group in arguments.groups or GROUPS:
        found[group] = []
        start = time.perf_counter()
        for case in GROUPS[group]():
            found[group].append(outcome(case))
            print(_line(found[group][-1]), file=sys.stderr, flush=True)
        print(f"{group}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    print(table(found))
    if arguments.json:
        listing = {group: [asdict(each) for each in outcomes] for group, outcomes in found.items()}
        arguments.json.write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")


def _line(each: Outcome) -> str:
    text = f"{each.status:12} {each.name}"
    if each.status == "exact":
        text += f"  {each.layers} layers, {each.given} with codes of the model, difference {each.difference:.2g}"
    left = collections.Counter(each.left)
    return "\n".join(
        [
            text,
            *([f"             {each.why}"] if each.why else []),
            *(f"             {count} x {why}" for why, count in left.items()),
        ]
    )


def table(found: dict[str, list[Outcome]]) -> str:
    """Counts by group, and every reason."""
    lines = [f"| group | cases | {' | '.join(COLUMNS)} | layers | operators with weights left digital |"]
    lines.append("|---" * (len(COLUMNS) + 4) + "|")
    for group, outcomes in found.items():
        counts = collections.Counter(each.status for each in outcomes)
        layers, left = sum(each.layers for each in outcomes), sum(len(each.left) for each in outcomes)
        cells = [group, len(outcomes), *(counts[column] for column in COLUMNS), layers, left]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
