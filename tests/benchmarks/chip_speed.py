"""Time of placing and copying large models on chips, compared with the bars; exits 1 if one is missed.

    python -m tests.benchmarks.chip_speed

Run it from the repository's root, with bsc installed. README.md says what each number includes.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click
import onnx

import hw_models
from bsc.chip.copies import Room, choose_copies, interval_bound
from bsc.chip.dataflow import dataflow_of
from bsc.chip.demand import chip_demand
from bsc.chip.fit import slots_needed
from bsc.chip.timing import time_of
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.cost.counts import count_mapping
from bsc.mapping.model import MappedModel
from bsc.mapping.placement import CopiesPolicy, Rules, lay_down
from tests.benchmarks.models import resnet50, vgg19

# Source of the bars: issue 16, "Speed".
BARS: dict[str, tuple[Callable[[], onnx.ModelProto], float]] = {"resnet50": (resnet50, 1.0), "vgg19": (vgg19, 2.0)}
CHIPS = (1.0, 4.0)
"""Chips at hand, as a multiple of those that one copy of each layer needs."""
RUNS = 3


@click.command()
def main() -> None:
    """Measure, print a table, and fail if a bar is missed."""
    missed = []
    click.echo(f"{'':44}{'chips':>6}{'CPU s':>8}{'latency ms':>12}{'interval ms':>13}{'over bound':>12}")
    for name, (make, bar) in BARS.items():
        mapping = _mapping(make())
        for policy in get_args(CopiesPolicy):
            for factor in CHIPS:
                cpu_s, line = _measure(mapping, policy, factor)
                click.echo(f"{f'{name}, {policy}':44}{line}")
                if cpu_s > bar:
                    missed.append(f"{name}, {policy}: {cpu_s:.2f} s > {bar:g} s")
    if missed:
        raise click.ClickException(f"missed: {'; '.join(missed)}")


def _mapping(model: onnx.ModelProto) -> MappedModel:
    target = hw_models.load("isaac")
    pipeline = default_pipeline(target, rows=128, cols=128, policy="lossless", granularity="column")
    with tempfile.TemporaryDirectory(prefix="bsc-benchmark-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        plan = compile_model(path, target, CompileOptions(pipeline=pipeline, import_check=False)).plan
    assert plan is not None
    return plan.mapping


def _measure(mapping: MappedModel, policy: CopiesPolicy, factor: float) -> tuple[float, str]:
    """Processor time of dataflow, copies, places and time of an inference, the best of the runs."""
    counts, target, law = count_mapping(mapping), hw_models.load("isaac"), hw_models.load_law("isaac")
    demand = chip_demand(mapping.record, counts, target, law)
    chips = max(int(demand.chips(slots_needed(demand)) * factor), 1)
    room = Room(demand=demand, slots=chips * demand.floor.slots_per_chip)
    spent = []
    for _ in range(RUNS):
        start = time.process_time()
        flow = dataflow_of(mapping)
        copies = choose_copies(policy, room, lambda: flow)  # noqa: B023
        lay_down(demand, Rules(policy=policy, slots=room.slots, power_w=None, pack=False), copies)
        timing = time_of(flow, demand.layers, copies)
        spent.append(time.process_time() - start)
    bound = timing.interval_s / interval_bound(demand, room.slots)
    times = f"{1e3 * timing.latency_s:12.4f}{1e3 * timing.interval_s:13.5f}{bound:12.3f}"
    return min(spent), f"{chips:6}{min(spent):8.3f}{times}"


if __name__ == "__main__":
    main()
