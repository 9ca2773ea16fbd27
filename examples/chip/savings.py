"""What plans save of all the energy of an inference, with and without traffic, digital work and static power.

    python -m examples.chip.savings --out DIR

MNIST is the trained example; the others have random weights (`examples.chip.shapes`), so that their resolutions are
those of dense networks, and are calibrated with an image of random numbers. Budgets need labels, and so are kept for
MNIST alone. Writes savings.md and savings.json.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, MappingOptions, Placing, resolve
from bsc.cost.compare import compare
from bsc.mapping.placement import CopiesPolicy
from bsc.report.build import report_document
from bsc.report.document import ReportDocument
from bsc.units import format_ratio, format_si, ratio
from examples.chip.shapes import NETWORKS, SIDE

NAMES = ("MNIST example", "ResNet-18", "VGG-16")
COPIES: tuple[CopiesPolicy, ...] = ("none", "throughput")
MNIST = Path(__file__).parent.parent / "mnist"
BASELINES = ("uniform_8_bit", "isaac_offset_8_bit", "raella_7_bit")
HEAD = (
    *("network", "plan", "copies", "over", "crossbar layers", "with traffic", "with digital work"),
    *("FULL TOTAL", "1 % static", "5 % static", "energy of an inference"),
)


@dataclass(frozen=True)
class Kind:
    """A kind of plan.

    Attributes:
        name: of the row.
        options: of `bsc compile`.
        max_drop: accuracy budget, a share of samples, or None.
        data: it needs calibration data.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    max_drop: float | None = None
    data: bool = False


PAIRS = {"encoding": "centre", "subtract": "analog", "cut": "4-2-2"}
KINDS = (
    Kind("lossless"),
    Kind("analog pairs with centres", PAIRS),
    Kind("calibrated", {"adc": "calibrated"}, data=True),
    Kind("calibrated pairs", {**PAIRS, "adc": "calibrated"}, data=True),
    Kind("budgeted, 0.5 points", {"adc": "budgeted"}, max_drop=0.005, data=True),
)


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--only", multiple=True, help="Networks, such as ResNet-18; all by default.")
@click.option("--kind", "kinds", multiple=True, help="Kinds of plans, such as lossless; all by default.")
def main(out: Path, only: tuple[str, ...], kinds: tuple[str, ...]) -> None:
    """Compile every kind of plan of every network, one copy of each layer and many."""
    out.mkdir(parents=True, exist_ok=True)
    known = out / "savings.json"
    rows = json.loads(known.read_text(encoding="utf-8")) if only and known.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            if only and name not in only:
                continue
            rows = [row for row in rows if row["network"] != name or (kinds and row["plan"] not in kinds)]
            model, data = _model(name, Path(folder))
            for kind in KINDS:
                if (kind.max_drop is not None and name in NETWORKS) or (kinds and kind.name not in kinds):
                    continue
                rows += [_row(name, kind, copies, _report(model, data, kind, copies)) for copies in COPIES]
                click.echo(f"{name}, {kind.name} done")
    rows.sort(key=lambda row: NAMES.index(row["network"]))
    known.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (out / "savings.md").write_text(table(rows), encoding="utf-8")


def _model(name: str, folder: Path) -> tuple[Path, Path]:
    """A network, and data to calibrate it with."""
    if name not in NETWORKS:
        return MNIST / "model.onnx", MNIST / "test_images.npz"
    model, data = folder / "model.onnx", folder / "images.npz"
    onnx.save(NETWORKS[name](), model)
    images = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE), np.float32)
    np.savez(data, allow_pickle=False, image=images)
    return model, data


def _report(model: Path, data: Path, kind: Kind, copies: CopiesPolicy) -> ReportDocument:
    target, laws = hw_models.load("isaac"), hw_models.laws()
    law = laws[target.adc.law]
    found = resolve(MappingOptions(**kind.options, placing=Placing(copies=copies)), target, law)
    options = CompileOptions(
        pipeline=found.pipeline,
        import_check=False,
        calibration=data if kind.data or "mnist" in str(model) else None,
        test_accuracy=kind.max_drop is not None,
        max_accuracy_drop=kind.max_drop,
    )
    plan = compile_model(model, target, options).plan
    assert plan is not None
    return report_document(plan, compare(plan.mapping, target, law, laws))


def _row(name: str, kind: Kind, copies: CopiesPolicy, report: ReportDocument) -> dict[str, Any]:
    chips = {"plan": report.chip.plan, **{each: getattr(report.chip, each) for each in BASELINES}}
    return {
        "network": name,
        "plan": kind.name,
        "copies": copies,
        "chips": {each: chip.model_dump() for each, chip in chips.items()},
        "energy_share_by_kind": report.chip.energy_share_by_kind,
    }


def savings(row: dict[str, Any], baseline: str) -> Iterator[float | None]:
    """How many times less the plan takes: of crossbar layers, then with one thing after another."""
    ours, theirs = row["chips"]["plan"]["energy"], row["chips"][baseline]["energy"]

    def known(energy: dict[str, Any], *names: str) -> float | None:
        values = [energy[name] for name in names]
        return None if None in values else sum(values)

    for names in (("layers_j",), ("layers_j", "traffic_j"), ("active_j",), ("total_j",)):
        yield ratio(known(theirs, *names), known(ours, *names))
    for name in ("at_rest_1_percent_j", "at_rest_5_percent_j"):
        yield ratio(theirs[name], ours[name])


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    for row in rows:
        for baseline in (each for each in BASELINES if each in row["chips"]):
            total = format_si(row["chips"]["plan"]["energy"]["total_j"], "J")
            over = baseline.replace("_", " ").replace("isaac", "ISAAC").replace("raella", "RAELLA")
            cells = (
                row["network"],
                row["plan"],
                row["copies"],
                over,
                *map(format_ratio, savings(row, baseline)),
                total,
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
