"""Networks on fewer chips than they need: segments by dynamic programming, and by filling the chips greedily.

    python -m examples.chip.reload --out DIR

Each network is mapped once, with random weights, and placed on a share of the tiles that one copy of each layer takes.
Times are those that segments are chosen by: of writing, crossbars and links of the chips, without the mesh. Writes
reload.md.
"""

import tempfile
from pathlib import Path

import click
import onnx

import hw_models
from bsc.chip.copies import single
from bsc.chip.dataflow import Dataflow, dataflow_of
from bsc.chip.demand import chip_demand
from bsc.chip.segments import Load, choose_segments, filled_greedily, load_of, segment_demand, slots_to_load
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, MappingOptions, resolve
from bsc.cost.counts import count_mapping
from bsc.cost.writing import cell_writing
from bsc.mapping.placement import ChipDemand, Reloading, Rules
from bsc.units import format_ratio, format_si
from examples.chip.shapes import resnet18, squeezenet, vgg16

BATCH = 16
DEVICES = ("reram-isaac-model", "reram-puma19")
SHARES = (1 / 3, 2 / 3, 0.95)
NETWORKS = {"SqueezeNet": squeezenet, "ResNet-18": resnet18, "VGG-16": vgg16}
HEAD = (
    *("network", "tiles", "of those it takes", "cells", "segments", "inferences", "writing", "greedy filling"),
    "layer by layer",
)


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--only", multiple=True, help="Networks, such as ResNet-18; all by default.")
def main(out: Path, only: tuple[str, ...]) -> None:
    """Compare segments of every network."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    for name in only or NETWORKS:
        demand, dataflow = _mapped(name)
        for device in DEVICES:  # where the largest layer takes more than a share, rows would be alike
            lines += dict.fromkeys(_row(name, demand, dataflow, device, share) for share in SHARES)
        click.echo(f"{name} done")
    (out / "reload.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _mapped(name: str) -> tuple[ChipDemand, Dataflow]:
    """What a network asks of ISAAC chips."""
    target = hw_models.load("isaac")
    law = hw_models.load_law(target.adc.law)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        onnx.save(NETWORKS[name](), model)
        pipeline = resolve(MappingOptions(), target, law).pipeline
        plan = compile_model(model, target, CompileOptions(pipeline=pipeline, import_check=False)).plan
        assert plan is not None
        return chip_demand(plan.mapping.record, count_mapping(plan.mapping), target, law), dataflow_of(plan.mapping)


def _row(name: str, demand: ChipDemand, dataflow: Dataflow, device: str, share: float) -> str:
    writing = hw_models.load_device(device).writing
    assert writing is not None
    cell = cell_writing(writing)
    assert cell.time_s is not None
    reload = Reloading(batch=BATCH, cell_s=cell.time_s, cell_j=cell.energy_j, updates=cell.updates, device=device)
    per_tile = demand.floor.slots_per_tile
    need = -(-demand.slots(single(demand.layers)) // per_tile)
    tiles = max(int(share * need), -(-slots_to_load(demand, reload, lambda: dataflow) // per_tile))
    rules = Rules(policy="throughput", slots=tiles * per_tile, power_w=None, pack=False, reload=reload)

    def seconds(loads: list[Load]) -> float:
        return sum(each.write_s(reload) + each.compute_s(BATCH) for each in loads)

    ours = choose_segments(demand, rules, dataflow)
    spans = [(at, at + 1) for at in range(len(demand.layers))]
    alone = [load_of(segment_demand(demand, dataflow, span), rules, dataflow) for span in spans]
    best = seconds(ours)
    cells = (
        name,
        str(tiles),
        str(need),
        device,
        str(len(ours)),
        format_si(BATCH / best, "/s"),
        f"{sum(each.write_s(reload) for each in ours) / best:.0%}",
        format_ratio(seconds(filled_greedily(demand, rules, dataflow)) / best),
        format_ratio(seconds(alone) / best),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
