"""Compiles random models in random ways, and compares all that bsc says of the plans with what the oracle finds.

    python -m tests.oracle.run --plans 2000 --seed 0
    python -m tests.oracle.run --only 17 --seed 0

The oracle itself (`plan`, `values`, `bounds`, `costs`, `report`) imports nothing of bsc; this driver runs bsc.
"""

import hashlib
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from bsc.cli import main
from bsc.plan.folder import read_plan
from bsc.replay.engine import LayerEngine, Replayer, ReplayOptions
from bsc.replay.tally import ColumnTally, LayerTally
from tests.oracle.bounds import bounds
from tests.oracle.cases import Case, case
from tests.oracle.plan import Folder, Layer, read_folder
from tests.oracle.report import differences, figures
from tests.oracle.values import LayerRun, run_model

LAWS = ("saberi", "linear", "puma", "neurosim", "exponential")
ROOT = Path(__file__).parent.parent.parent


@dataclass
class Outcome:
    """What became of a case.

    Attributes:
        case: what it was.
        code: "ok", or that of the error that `bsc compile` ended with.
        problems: where bsc and the oracle differ.
        compared: how much was compared, by what it is.
    """

    case: Case
    code: str = "ok"
    problems: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)


def run_bsc(*arguments: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def run_case(seed: int, number: int, folder: Path) -> Outcome:
    """Compile a case in an empty folder and compare."""
    made = case(seed, number)
    outcome = Outcome(made)
    model, plan, data = folder / "model.onnx", folder / "model.bsc", folder / "data.npz"
    model.write_bytes(made.model.SerializeToString())
    np.savez(folder / "calib.npz", x=made.calibration)
    np.savez(data, x=made.inputs)
    options = [str(folder / "calib.npz") if before == "--calib" else "" for before in made.options]
    arguments = [text for pair in zip(made.options, options, strict=True) for text in pair if text]
    arguments = [str(ROOT / text) if text.endswith(".toml") else text for text in arguments]
    status, output = run_bsc("compile", str(model), "-o", str(plan), "--no-import-check", *arguments)
    if status:
        outcome.code = output.partition("[")[2].partition("]")[0]
        return outcome
    if made.altered:
        alter(Random(f"{seed} {number} altered"), plan)
    try:
        compare(outcome, plan, data, Random(f"{seed} {number} law"))
    except Exception:
        outcome.problems.append(traceback.format_exc())
    return outcome


def alter(random: Random, plan: Path) -> None:
    """Give every conversion that happens a random resolution, step and lowest code, and record the hashes anew."""
    document = json.loads((plan / "plan.json").read_text(encoding="utf-8"))
    generator = np.random.default_rng(random.randrange(1 << 32))
    for position, record in enumerate(document["layers"]):
        name = f"layers/{position:04}.safetensors"
        arrays = load_file(plan / name)
        shape = arrays["adc_bits"].shape
        bits = np.where(arrays["adc_bits"] > 0, generator.integers(1, 8, shape), 0)
        arrays["adc_bits"] = bits.astype(arrays["adc_bits"].dtype)
        steps = np.where(bits > 0, generator.integers(1, 6, shape), 1)
        arrays["adc_lsb"] = steps.astype(arrays["adc_lsb"].dtype)
        if "adc_low" in arrays:
            low = -generator.integers(0, 2**bits)
            arrays["adc_low"] = np.where(bits > 0, low, 0).astype(arrays["adc_low"].dtype)
        save_file({key: np.ascontiguousarray(each) for key, each in arrays.items()}, plan / name)
        document["files"][name] = hashlib.sha256((plan / name).read_bytes()).hexdigest()
        record["adc_policy"] = "other"
    (plan / "plan.json").write_text(json.dumps(document), encoding="utf-8")


def compare(outcome: Outcome, plan: Path, data: Path, random: Random) -> None:
    """Everything that bsc says of a plan."""
    folder = read_folder(plan)
    for name, layer in folder.layers.items():
        outcome.problems += [f"{name}: {problem}" for problem in recorded(layer, outcome.compared)]
    law = random.choice([folder.target["adc"]["law"], *LAWS])
    own = law == folder.target["adc"]["law"]
    command = ["report", str(plan), "--json"] if own else ["cost", str(plan), "--json", "--adc-law", law]
    status, text = run_bsc(*command)
    if status:
        outcome.problems.append(text)
        return
    expected = figures(folder, law)
    found = json.loads(text)
    if not own:
        expected, found = expected["cost"], found.get("cost", found)
    outcome.compared["figures"] += leaves(expected)
    outcome.problems += differences(expected, found)
    replay(outcome, folder, plan, data)


def leaves(value: Any) -> int:
    """Figures of a document."""
    if isinstance(value, dict | list):
        return sum(map(leaves, value.values() if isinstance(value, dict) else value))
    return 1


def recorded(layer: Layer, compared: Counter[str]) -> list[str]:
    """Arrays of a plan that follow from its cells."""
    found, arrays, problems = bounds(layer), layer.arrays, []
    wanted: dict[str, NDArray[Any]] = {"sums": found.sums, "gcds": found.gcds, "nonzeros": found.nonzeros}
    if "flipped" in arrays:
        wanted["flipped"] = found.flipped
    for name, values in wanted.items():
        compared["bounds"] += values.size
        if not np.array_equal(arrays[name], values):
            problems.append(f"{name} are not those of the cells")
    read = arrays["adc_bits"] > 0
    if (found.holds_cells != arrays["allocated"]).any():
        problems.append("crossbars that exist are not those with cells above 0")
    if layer["adc_policy"] == "lossless":
        if not found.lossless.all():
            problems.append("a conversion of a lossless layer loses something")
        if layer["adc_granularity"] == "column" and not np.array_equal(arrays["adc_bits"], found.bits):
            problems.append("a resolution is not the smallest that is proved")
    for tile, part, index, polarity in np.argwhere(~found.holds_cells).tolist():
        if not layer.paired and any(
            read[group, index, polarity, column]
            for group in layer.groups_of(tile)
            for column in layer.column_tiles[part]
        ):
            problems.append("a column of no crossbar is converted")
    return problems


def replay(outcome: Outcome, folder: Folder, plan: Path, data: Path) -> None:
    """Integers of every layer, conversions, clipped conversions and outputs, in all ways to replay."""
    feeds = {"x": np.load(data)["x"]}
    tensors, runs = run_model(folder, feeds)
    quantised, _ = run_model(folder, feeds, quantised=True)
    wanted = [tensor["name"] for tensor in folder.document["outputs"]]
    layers = [step["outputs"][0] for step in folder.document["steps"] if step["layer"] is not None]
    mapping = read_plan(plan).mapping
    for every in (False, True):
        replayer = Replayer(mapping, ReplayOptions(every_conversion=every, statistics=every))
        results = replayer.replayed(feeds, layers)
        for name in [*wanted, *layers]:
            outcome.compared["values"] += results[name].size
            if not np.array_equal(results[name], tensors[name]):
                outcome.problems.append(f"replayed tensor {name} differs, every conversion {every}")
        for name, values in replayer.quantised(feeds).items():
            if not np.array_equal(values, quantised[name]):
                outcome.problems.append(f"quantised output {name} differs")
        for name, uses in runs.items():
            outcome.compared["conversions"] += sum(run.conversions for run in uses)
            problems = [*tallied(replayer.tallies[name], uses), *whole(replayer.engine(name), uses)]
            if every:
                problems += extremes(replayer.columns[name], folder.layers[name], uses)
            outcome.problems += [f"{name}: {problem}, every conversion {every}" for problem in problems]
    status, text = run_bsc("verify", str(plan), "--data", str(data), "--json", "--proofs")
    if status:
        outcome.problems.append(text)
        return
    found = json.loads(text)
    exact = all(np.array_equal(run.results, run.integers) for uses in runs.values() for run in uses)
    if found["exact"] != exact:
        outcome.problems.append(f"verify says exact {found['exact']}, not {exact}")
    for name, proof in found["proofs"].items():
        lossless = bounds(folder.layers[name]).lossless
        if (proof["conversions"], proof["lossless"]) != (lossless.size, int(lossless.sum())):
            outcome.problems.append(f"{name}: proofs {proof}, not {lossless.size}, {int(lossless.sum())}")


def tallied(tally: LayerTally, uses: list[LayerRun]) -> list[str]:
    """What a replay counted before anything else ran."""
    seen = (tally.results, tally.differing, tally.conversions, tally.clipped)
    expected = (
        sum(run.results.size for run in uses),
        sum(int(np.count_nonzero(run.results != run.integers)) for run in uses),
        sum(run.conversions for run in uses),
        sum(run.clipped for run in uses),
    )
    return [] if seen == expected else [f"results, differing, conversions, clipped {seen}, not {expected}"]


def whole(engine: LayerEngine, uses: list[LayerRun]) -> list[str]:
    """Whole results of the same codes: of the crossbars, and of the integer model."""
    problems = []
    for run in uses:
        codes = run.codes.astype(np.float32)
        if not np.array_equal(engine.integers(codes), run.integers):
            problems.append("integers differ")
        if not np.array_equal(engine.results(codes), run.results):
            problems.append("whole results differ")
    return problems


def extremes(columns: ColumnTally, layer: Layer, uses: list[LayerRun]) -> list[str]:
    """Highest and lowest sums of every conversion."""
    converted, problems = layer.arrays["adc_bits"] > 0, []
    for name, combine in (("highest", np.maximum), ("lowest", np.minimum)):
        expected = combine.reduce([getattr(run, name) for run in uses])
        if (np.where(converted, getattr(columns, name), 0) != np.where(converted, expected, 0)).any():
            problems.append(f"{name} sums differ")
    return problems


@click.command()
@click.option("--plans", default=2000, show_default=True, help="How many cases.")
@click.option("--first", default=0, show_default=True, help="Number of the first one.")
@click.option("--seed", default=0, show_default=True, help="Of all cases.")
@click.option("--only", type=int, help="One case again, in all detail.")
@click.option("--seconds", type=float, help="Stop after so many seconds.")
def cli(plans: int, first: int, seed: int, only: int | None, seconds: float | None) -> None:
    """Compare bsc with the oracle on random plans."""
    numbers = range(first, first + plans) if only is None else [only]
    kinds: Counter[tuple[str, str]] = Counter()
    compared: Counter[str] = Counter()
    failed, start, cpu = 0, time.monotonic(), time.process_time()
    for done, number in enumerate(numbers):
        if seconds is not None and time.monotonic() - start > seconds:
            print(f"stopped after {done} cases")
            break
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_case(seed, number, Path(folder))
        kinds[outcome.case.kind, outcome.code] += 1
        compared += outcome.compared
        if outcome.problems:
            failed += 1
            print(
                f"case {number} ({outcome.case.kind}) {' '.join(outcome.case.options)} altered {outcome.case.altered}"
            )
            print(
                "\n".join(f"    {problem}" for problem in outcome.problems[: 5 if only is None else None]), flush=True
            )
    print("\n".join(f"{count:6} {kind:10} {code}" for (kind, code), count in sorted(kinds.items())))
    print(", ".join(f"{count} {what}" for what, count in compared.items()))
    print(f"{failed} cases differ; {time.process_time() - cpu:.0f} s of processor time")
    sys.exit(failed > 0)


if __name__ == "__main__":
    cli()
