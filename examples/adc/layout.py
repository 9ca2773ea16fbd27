"""What the order of rows and columns, and fewer active rows, are worth: energies of whole models, lossless ADCs.

    python examples/adc/layout.py MODEL.onnx... [--prune 0.9] [--law isaac --law saberi] [--search]

Prints one row of a table for each model, granularity and law: the energy of one inference on the shipped hardware, and
how many times less ADC energy, and energy, every layout takes. Figures in examples/adc/README.md.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.layout import LayoutSearch
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.cost.compare import compare
from passes.permute import RowOrder
from passes.tile import Tile

ORDERS: tuple[RowOrder, ...] = ("sorted", "balanced")
CROSSBAR = Tile().rows


def pruned(path: Path, share: float, folder: Path) -> Path:
    """A copy of the model without the smallest weights: `share` of each matrix or kernel."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor).copy()
        if weights.ndim > 1:
            weights[np.abs(weights) <= np.quantile(np.abs(weights), share)] = 0
            tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    copy = folder / path.name
    onnx.save(model, copy)
    return copy


def energies(
    path: Path, granularity: str, law: str, order: RowOrder, search: LayoutSearch | None
) -> tuple[float, float]:
    """ADC energy and energy of one inference, J."""
    target, laws = hw_models.load("isaac"), hw_models.laws()
    pipeline = default_pipeline(
        target, rows=CROSSBAR, cols=CROSSBAR, policy="lossless", granularity=granularity, row_order=order
    )
    plan = compile_model(path, target, CompileOptions(pipeline=pipeline, search=search)).plan
    assert plan is not None
    cost = compare(plan.mapping, target, laws[law], laws).plan
    return cost.total_adc_energy_j or 0.0, cost.total_energy_j or 0.0


def row(path: Path, granularity: str, law: str, *, active_rows: bool) -> str:
    """One row of the table."""
    every: tuple[RowOrder, ...] = ("as-is", *ORDERS)
    search = LayoutSearch(law=hw_models.laws()[law], orders=every, active_rows=active_rows)
    plain = energies(path, granularity, law, "as-is", None)
    found = [energies(path, granularity, law, order, None) for order in ORDERS]
    found.append(energies(path, granularity, law, "as-is", search))
    gains = [f"{plain[0] / adc:.3f} / {plain[1] / whole:.3f}" for adc, whole in found]
    return f"| {path.stem} | {granularity} | {law} | {plain[1]:.3g} J | {' | '.join(gains)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--prune", type=float, default=0.0)
    parser.add_argument("--law", action="append")
    parser.add_argument("--search", action="store_true", help="let the last column choose active rows too")
    options = parser.parse_args()
    print("| model | granularity | law | energy | sorted: ADC / all | balanced | searched |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for path in options.models:
            model = pruned(path, options.prune, Path(folder)) if options.prune else path
            for granularity in ("column", "tile", "slice"):
                for law in options.law or ["isaac", "saberi"]:
                    print(row(model, granularity, law, active_rows=options.search), flush=True)


if __name__ == "__main__":
    main()
