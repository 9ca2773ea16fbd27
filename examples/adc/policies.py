"""Every ADC policy on every network under two ADC laws: what it saves, and what accuracy it costs.

    python -m examples.adc.policies DATA_DIR MODEL.onnx... --out DIR

DATA_DIR is a folder of MNIST IDX or CIFAR-10 binary files. Three sets are cut from it that share no image: every
thirtieth training image calibrates, four of five test images test accuracy budgets, and every fifth test image is
reported on. Writes results.json, table.md and adc.svg. README.md says what was found.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.cost.compare import compare
from bsc.errors import GateError
from bsc.frontend.onnx_import import import_model
from bsc.plan.document import Plan
from bsc.replay.dataset import load_dataset
from bsc.replay.verification import verify
from bsc.train.curves import bar_charts
from bsc.train.data import load_samples

CALIBRATION_EVERY = 30
REPORT_EVERY = 5
LAWS = ("isaac", "saberi")
"""The default, and the paper's."""


@dataclass(frozen=True)
class Policy:
    """One row of the table.

    Attributes:
        name: of the row.
        adc: policy as on the command line.
        granularity: what shares a resolution.
        max_drop: accuracy budget in points, or None.
        passes: options to add to the last pass.
        cells: how weights are held, as further arguments of `default_pipeline`.
        adaptive: cut every layer into slices by measured error.
    """

    name: str
    adc: str
    granularity: str = "column"
    max_drop: float | None = None
    passes: str = ""
    cells: Mapping[str, Any] = field(default_factory=dict)
    adaptive: bool = False


POLICIES = (
    Policy("uniform 8 bit", "isaac"),
    Policy("lossless, slice", "lossless", "slice"),
    Policy("lossless, tile", "lossless", "tile"),
    Policy("lossless, column", "lossless"),
    Policy("calibrated, tile", "calibrated", "tile"),
    Policy("calibrated", "calibrated"),
    Policy("calibrated, 1 spare bit", "calibrated", passes="spare-bits=1"),
    Policy("calibrated=5", "calibrated=5"),
    Policy("calibrated=5, bias", "calibrated=5", passes="correct=bias"),
    Policy("calibrated=4", "calibrated=4"),
    Policy("calibrated=4, bias", "calibrated=4", passes="correct=bias"),
    Policy("calibrated=3", "calibrated=3"),
    Policy("calibrated=3, bias", "calibrated=3", passes="correct=bias"),
    Policy("budgeted 0.5, tile", "budgeted", "tile", max_drop=0.5),
    Policy("budgeted 0.5", "budgeted", max_drop=0.5),
    Policy("budgeted 0.5, bias", "budgeted", max_drop=0.5, passes="correct=bias"),
    Policy("budgeted 1", "budgeted", max_drop=1.0),
)
BASE = "lossless, column"
"""What the figures in brackets are compared with."""

DRAWN = {
    "uniform 8 bit": "8 bit",
    "lossless, column": "lossless",
    "calibrated": "calib.",
    "calibrated=4": "calib.=4",
    "budgeted 0.5": "budget .5",
}


def split_data(folder: Path, model: Path, out: Path, held_out: int) -> dict[str, Path]:
    """The three data files, by their use; at most so many images are held out."""
    graph = import_model(model)
    specs = [graph.tensors[name] for name in graph.inputs]
    train, test = (load_samples(str(folder), specs, split) for split in ("train", "test"))
    reported = np.arange(len(test)) % REPORT_EVERY == 0
    parts = {
        "calibration": (train, np.arange(len(train)) % CALIBRATION_EVERY == 0),
        "held-out": (test, ~reported),
        "report": (test, reported),
    }
    files = {}
    for name, (samples, chosen) in parts.items():
        files[name] = out / f"{name}.npz"
        assert samples.labels is not None
        numbers = np.flatnonzero(chosen)[: held_out if name == "held-out" else None]
        inputs = {key: values[numbers] for key, values in samples.inputs.items()}
        np.savez(files[name], allow_pickle=False, label=samples.labels[numbers], **inputs)
    return files


def compiled(model: Path, policy: Policy, law: str, files: dict[str, Path]) -> Plan:
    """The plan of one row."""
    target = hw_models.load("isaac")
    pipeline = default_pipeline(
        target, rows=128, cols=128, policy=policy.adc, granularity=policy.granularity, **policy.cells
    )
    if policy.passes:
        pipeline = f"{pipeline[:-1]} {policy.passes}}}"
    options = CompileOptions(
        pipeline=pipeline,
        calibration=files["calibration"],
        test_accuracy=policy.max_drop is not None,
        held_out=None if policy.max_drop is None else files["held-out"],
        max_accuracy_drop=None if policy.max_drop is None else policy.max_drop / 100,
        adc_law=hw_models.load_law(law),
        adaptive_cut=policy.adaptive,
    )
    plan = compile_model(model, target, options).plan
    assert plan is not None
    return plan


def measured(plan: Plan, files: dict[str, Path]) -> dict[str, Any]:
    """Savings over uniform 8 bit by law, and accuracy on the reported images."""
    laws = hw_models.laws()
    spread = compare(plan.mapping, plan.target, laws["isaac"], laws).spread
    data = load_dataset(files["report"], plan.document.inputs, dynamic_batch=plan.document.free_batch)
    found = verify(plan, data, "report", None)
    assert found.accuracy is not None
    assert found.paired is not None
    return {
        "pipeline": plan.document.pipeline,
        "saving": {each.law.name: {"adc": each.adc, "total": each.total} for each in spread},
        "quantised": found.accuracy.quantised,
        "replayed": found.accuracy.replayed,
        "report": {**asdict(found.paired), "drop_bound": found.paired.drop_bound},
        "clipped": sum(tally.clipped for tally in found.tallies.values()),
        "conversions": sum(tally.conversions for tally in found.tallies.values()),
        "budget": None
        if plan.document.budget is None
        else plan.document.budget.model_dump(exclude={"held_out_sha256"}),  # .npz files hold the time of writing
    }


def rows(model: Path, files: dict[str, Path], policies: Sequence[Policy] | None = None) -> Iterator[dict[str, Any]]:
    """Every policy, by default those of `POLICIES`; one that weighs prices once for each law."""
    for policy in policies or POLICIES:
        by_law: dict[str, Any] = {}
        for law in LAWS:
            if policy.max_drop is None and by_law:
                by_law[law] = by_law[LAWS[0]]
                continue
            try:
                by_law[law] = measured(compiled(model, policy, law, files), files)
            except GateError as error:
                by_law[law] = {"refused": error.problem, "seen": error.seen}
        yield {"model": model.stem, "policy": policy.name, "laws": by_law}


def table(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table as Markdown; savings are over uniform 8 bit, and in brackets over lossless per column."""
    yield "| network | policy | isaac: ADC | total | points lost | saberi: ADC | total | points lost |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    lossless = {each["model"]: each["laws"] for each in results if each["policy"] == BASE}
    for each in results:
        cells = [each["model"], each["policy"]]
        for law, found in each["laws"].items():
            if "refused" in found:
                cells += ["refused", "", ""]
                continue
            saving, base = found["saving"][law], lossless[each["model"]][law]["saving"][law]
            cells += [
                f"{saving['adc']:.2f}× ({saving['adc'] / base['adc']:.2f}×)",
                f"{saving['total']:.2f}× ({saving['total'] / base['total']:.2f}×)",
                f"{100 * (found['quantised'] - found['replayed']):.2f}",
            ]
        yield f"| {' | '.join(cells)} |"


def picture(results: Sequence[dict[str, Any]]) -> str:
    """ADC energy by policy, in per cent of uniform 8 bit, one panel a network."""
    panels = []
    for model in dict.fromkeys(each["model"] for each in results):
        drawn = [each for each in results if each["model"] == model and each["policy"] in DRAWN]
        drawn = [each for each in drawn if not any("refused" in found for found in each["laws"].values())]
        series = {law: [100 / each["laws"][law]["saving"][law]["adc"] for each in drawn] for law in LAWS}
        panels.append((f"ADC energy of {model}", [DRAWN[each["policy"]] for each in drawn], series))
    return bar_charts(panels, unit="% of uniform 8 bit")


def measure(
    data_dir: Path, models: Sequence[Path], out: Path, held_out: int, policies: Sequence[Policy] | None = None
) -> Iterator[list[dict[str, Any]]]:
    """All rows so far, once more after each model."""
    out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for model in models:
        files = split_data(data_dir, model, out, held_out)
        for row in rows(model, files, policies):
            results.append(row)
            click.echo(f"{row['model']}: {row['policy']}", err=True)
        yield results


def save(results: Sequence[dict[str, Any]], record: Path, page: Path) -> None:
    """Write what was measured, and the table of it."""
    record.write_text(json.dumps({"seed": 0, "rows": results}, indent=2) + "\n", encoding="utf-8")
    page.write_text("\n".join(table(results)) + "\n", encoding="utf-8")


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("models", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for everything that is made.")
@click.option("--held-out", type=click.IntRange(min=1), default=1 << 30, help="Images held out.  [default: all]")
def main(data_dir: Path, models: tuple[Path, ...], out: Path, held_out: int) -> None:
    """Measure every policy on every MODEL, seed 0."""
    for results in measure(data_dir, models, out, held_out):
        save(results, out / "results.json", out / "table.md")
        (out / "adc.svg").write_text(picture(results), encoding="utf-8")


if __name__ == "__main__":
    main()
