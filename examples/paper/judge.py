"""What a trained model is worth: compiled, replayed, priced, and its slices counted; as a table and pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.cost.compare import compare
from bsc.frontend.onnx_import import import_model
from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.plan.document import Plan
from bsc.plan.folder import read_plan, write_plan
from bsc.replay.dataset import load_dataset
from bsc.replay.engine import Replayer, ReplayOptions
from bsc.replay.verification import verify
from bsc.report.build import layer_totals, plan_totals
from bsc.report.document import PlanTotals
from bsc.train.curves import bar_charts
from bsc.train.data import Samples
from bsc.train.options import FinetuneOptions
from bsc.train.trainer import Trainer


def judge(out: Path, name: str, test: Samples, observe: int) -> dict[str, Any]:
    """Compile, replay and price one model.

    Args:
        out: folder with the model, calibration.npz and test.npz.
        name: of the stage.
        test: all test images.
        observe: images of calibration.npz to observe column sums on.

    Returns:
        A row of results.json; lists of slices are top slice first.
    """
    target = hw_models.load("isaac")
    pipeline = default_pipeline(target, rows=128, cols=128, policy="lossless", granularity="column")
    model = out / f"{name}.onnx"
    compiled = compile_model(model, target, CompileOptions(pipeline=pipeline, calibration=out / "calibration.npz"))
    assert compiled.plan is not None
    write_plan(compiled.plan, out / f"{name}.bsc", force=True)
    plan = read_plan(out / f"{name}.bsc")
    document = plan.document
    data = load_dataset(out / "test.npz", document.inputs, dynamic_batch=document.free_batch)
    found = verify(plan, data, "test.npz", model)
    assert found.exact
    assert found.accuracy is not None
    laws = hw_models.laws()
    spread = {each.law.name: each for each in compare(plan.mapping, target, laws["isaac"], laws).spread}
    totals = plan_totals(
        plan.mapping.layers,
        {layer.name: layer_totals(layer, plan.mapping.arrays(layer)) for layer in plan.mapping.layers},
    )
    float_accuracy, quantised = _accuracies(model, test)
    return {
        "float": float_accuracy,
        "quantised": quantised,
        "replayed": found.accuracy.replayed,
        "replayed_samples": found.samples,
        **_bits("", totals),
        **_bits("observed_", _observed(plan, out / "calibration.npz", observe)),
        "density": [part.density for part in reversed(totals.slices)],
        "adc_saberi": spread["saberi"].adc,
        "adc_isaac": spread["isaac"].adc,
        "total_saberi": spread["saberi"].total,
        "total_isaac": spread["isaac"].total,
    }


def _accuracies(model: Path, test: Samples) -> tuple[float, float]:
    """(float, quantised) on the whole test split."""
    graph = import_model(model, as_written=True)
    trainer = Trainer(graph, test, None, FinetuneOptions(objective="none"))
    assert trainer.float_accuracy is not None
    quantised = trainer.quantised_accuracy()
    assert quantised is not None
    return trainer.float_accuracy, quantised


def _observed(plan: Plan, calibration: Path, samples: int) -> PlanTotals:
    """Totals as if no column sum were larger than the largest that these images cause."""
    document = plan.document
    replayer = Replayer(plan.mapping, ReplayOptions(statistics=True))
    data = load_dataset(calibration, document.inputs, dynamic_batch=document.free_batch, limit=samples)
    for batch in data.batches(max(layer.input_values for layer in plan.mapping.layers)):
        replayer.replayed(batch)
    layers = {}
    for layer in plan.mapping.layers:
        assert layer.max_digit == 1
        seen = replayer.columns[layer.name].highest
        layers[layer.name] = layer_totals(layer, replace(plan.mapping.arrays(layer), sums=seen))
    return plan_totals(plan.mapping.layers, layers)


def _bits(prefix: str, totals: PlanTotals) -> dict[str, Any]:
    """Largest and mean bits of every slice over its columns, all layers together, and columns by bits."""
    parts = totals.slices[::-1]
    return {
        f"{prefix}bits_max": [max(map(int, part.proved_bits), default=0) for part in parts],
        f"{prefix}bits_mean": [part.mean_proved_bits or 0.0 for part in parts],
        f"{prefix}histogram": [
            [part.proved_bits.get(str(bits), 0) for bits in range(MAX_ADC_BITS + 1)] for part in parts
        ],
    }


def pictures(rows: list[dict[str, Any]]) -> dict[str, str]:
    """density.svg and bits.svg."""
    slices = [f"slice {number}" for number in range(3, -1, -1)]
    density = {row["stage"]: [100 * value for value in row["density"]] for row in rows}
    bits = [str(number) for number in range(10)]
    panels = [
        (label, bits, {row["stage"]: [float(count) for count in row["histogram"][position][:10]] for row in rows[1:]})
        for position, label in enumerate(slices)
    ]
    return {
        "density.svg": bar_charts([("cells above 0", slices, density)], unit="%"),
        "bits.svg": bar_charts(panels, unit="columns by proved bits"),
    }


HEAD = (
    "| stage | float % | quantised % | replayed % | % non-zero, slice 3..0 | mean | proved bits, max | mean | "
    "observed bits, max | mean | ADC × (paper's law) | ADC × (isaac) | total × (isaac) |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def table(rows: list[dict[str, Any]], note: str | None) -> str:
    """The rows as Markdown, under a note if there is one."""
    return "\n".join([*([note, ""] if note else []), HEAD, *map(_line, rows)]) + "\n"


def _line(row: dict[str, Any]) -> str:
    density = " / ".join(f"{100 * value:.2f}" for value in row["density"])
    cells = [
        row["stage"],
        *(f"{100 * row[key]:.2f}" for key in ("float", "quantised", "replayed")),
        density,
        f"{100 * float(np.mean(row['density'])):.2f}",
        " / ".join(map(str, row["bits_max"])),
        " / ".join(f"{value:.2f}" for value in row["bits_mean"]),
        " / ".join(map(str, row["observed_bits_max"])),
        " / ".join(f"{value:.2f}" for value in row["observed_bits_mean"]),
        *(f"{row[key]:.1f}" for key in ("adc_saberi", "adc_isaac")),
        f"{row['total_isaac']:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"
