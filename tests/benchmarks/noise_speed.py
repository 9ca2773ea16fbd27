"""Trials on devices: MNIST, 5 trials of 2,000 images, or the shapes of ResNet-18, one image and one trial.

    python -m tests.benchmarks.noise_speed mnist|resnet18 [--jobs N] [--device NAME]

Prints seconds on the clock and of processors for opening a compiled plan, for programming and for reading.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import onnx

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.limits import cores
from bsc.plan.document import Plan
from bsc.plan.folder import read_plan, write_plan
from bsc.replay.dataset import load_dataset
from bsc.replay.loaded import PlanRunner
from bsc.replay.noisy import NoisyReplayer
from bsc.replay.scored import scored_outputs
from tests.benchmarks.models import IMAGE, IMAGE_NAME, SEED, resnet18

MNIST = Path(__file__).parents[2] / "examples" / "mnist"
IMAGES, TRIALS = 2000, 5
Found = TypeVar("Found")


def compiled(model: Path, folder: Path) -> Plan:
    """The plan that `bsc compile` makes by default."""
    target = hw_models.load("isaac")
    pipeline = default_pipeline(target, rows=128, cols=128, policy="lossless", granularity="column")
    plan = compile_model(model, target, CompileOptions(pipeline=pipeline)).plan
    assert plan is not None
    write_plan(plan, folder)
    return read_plan(folder)


@click.command()
@click.argument("model", type=click.Choice(["mnist", "resnet18"]))
@click.option("--jobs", type=click.IntRange(min=1), default=cores(), show_default=True, help="Threads.")
@click.option("--device", default="reram-wan22", show_default=True, help="Name of a device.")
def main(model: str, jobs: int, device: str) -> None:
    """Time trials."""
    effects = hw_models.load_device(device)
    with tempfile.TemporaryDirectory() as name:
        path = MNIST / "model.onnx"
        if model == "resnet18":
            path = Path(name) / "resnet18.onnx"
            onnx.save(resnet18(), path)
        plan = compiled(path, Path(name) / "plan.bsc")
        runner = PlanRunner(plan.mapping)
        for trial in range(TRIALS if model == "mnist" else 1):
            chip = timed("program", partial(NoisyReplayer, runner, effects, seed=0, trial=trial, jobs=jobs))
            if model == "mnist":
                images = MNIST / "test_images.npz"
                data = load_dataset(images, plan.document.inputs, dynamic_batch=True, limit=IMAGES)
                timed("read", partial(scored_outputs, plan.mapping, data, chip.replayed))
            else:
                image = np.random.default_rng(SEED).standard_normal(IMAGE, np.float32)
                timed("read", partial(chip.replayed, {IMAGE_NAME: image}))


def timed(what: str, work: Callable[[], Found]) -> Found:
    """What the work gives, its times printed."""
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    click.echo(f"{what:8} {time.perf_counter() - wall:7.1f} s, CPU {time.process_time() - processor:7.1f} s")
    return found


if __name__ == "__main__":
    main()
