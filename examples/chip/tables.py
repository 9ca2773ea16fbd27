"""What an ISAAC does with well-known networks: inferences a second, latency and power under every policy of copies.

    python -m examples.chip.tables --out DIR

MNIST is the trained example; the others have random weights (`examples.chip.shapes`), so that their resolutions are
those of dense networks and only what follows from shapes is theirs. Writes table.md and results.json.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import click
import onnx

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, MappingOptions, Placing, resolve
from bsc.cost.compare import compare
from bsc.mapping.placement import CopiesPolicy
from bsc.report.build import report_document
from bsc.report.document import ChipFigures, ReportDocument
from bsc.units import format_ratio, format_si, ratio
from examples.chip.shapes import NETWORKS

POLICIES: tuple[CopiesPolicy, ...] = ("none", "isaac", "throughput", "latency")
MNIST = Path(__file__).parent.parent / "mnist" / "model.onnx"
HEAD = (
    "network",
    "copies",
    "chips",
    "crossbars",
    "inferences",
    "no more than",
    "latency",
    "layer after layer",
    "busiest",
    "power",
    "TOPS/W",
    "over uniform 8 bit",
    "over ISAAC offset",
)


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--only", multiple=True, help="Networks, such as ResNet-18; all by default.")
def main(out: Path, only: tuple[str, ...]) -> None:
    """Place every network under every policy."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("MNIST example", *NETWORKS):
            if only and name not in only:
                continue
            path = MNIST
            if name in NETWORKS:
                path = Path(folder) / "model.onnx"
                onnx.save(NETWORKS[name](), path)
            rows += [_row(name, policy, *_report(path, policy)) for policy in POLICIES]
            click.echo(f"{name} done")
    (out / "results.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (out / "table.md").write_text(_table(rows), encoding="utf-8")


def _report(path: Path, policy: CopiesPolicy) -> tuple[ReportDocument, float]:
    """The report of a lossless plan, and the seconds that placing it took."""
    target, laws = hw_models.load("isaac"), hw_models.laws()
    law = laws[target.adc.law]
    found = resolve(MappingOptions(placing=Placing(copies=policy)), target, law)
    compiled = compile_model(path, target, CompileOptions(pipeline=found.pipeline, import_check=False))
    assert compiled.plan is not None
    placing = sum(each.seconds for each in compiled.times if each.name == "place")
    return report_document(compiled.plan, compare(compiled.plan.mapping, target, law, laws)), placing


def _row(name: str, policy: CopiesPolicy, report: ReportDocument, placing_s: float) -> dict[str, Any]:
    chip = report.chip
    return {
        "network": name,
        "copies": policy,
        "serial_latency_s": report.cost.plan.latency_s,
        "placing_s": round(placing_s, 2),
        "overflowing_buffers": sum(layer.overflows for layer in chip.layers.values()),
        **{
            key: each.model_dump()
            for key, each in zip(("plan", "uniform", "offset", "raella"), chip.columns, strict=True)
        },
    }


def _table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    for row in rows:
        plan, uniform, offset = (ChipFigures(**row[key]) for key in ("plan", "uniform", "offset"))
        slowest = plan.bottleneck if plan.busiest_link is None else plan.busiest_link
        cells = (
            row["network"],
            row["copies"],
            str(plan.chips),
            str(plan.crossbars),
            format_si(plan.inferences_per_s, "/s"),
            format_si(plan.inferences_per_s_bound, "/s"),
            format_si(plan.latency_s, "s"),
            format_si(row["serial_latency_s"], "s"),
            slowest,
            format_si(plan.power_w, "W"),
            format_si(plan.ops_per_j, "OPS/W"),
            *(
                f"{format_ratio(ratio(plan.inferences_per_s, each.inferences_per_s))} inferences, "
                f"{format_ratio(ratio(plan.ops_per_j, each.ops_per_j))} TOPS/W"
                + (f", on {each.chips} chips" if each.chips != plan.chips else "")
                for each in (uniform, offset)
            ),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
