"""Training steps compared with plain PyTorch's; exits 1 if a bar is missed.

    python -m tests.benchmarks.training_speed [--rounds N] [--threads N] [--json FILE]

Every step is one of 128 images in bfloat16, augmentation and optimiser included. *plain* is the network of
examples/paper in PyTorch's own modules, channels-last, its normalisations at fixed statistics as in fine-tuning.
The kinds of step take turns in one process; processor time, medians.
"""

import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from bsc.frontend.onnx_import import import_model
from bsc.testing import save
from bsc.train.augment import augment
from bsc.train.data import Samples
from bsc.train.options import FinetuneOptions
from bsc.train.trainer import Trainer
from examples.paper.networks import NETWORKS, Network, to_onnx

MOST = 1.5
"""Processor time of a step over that of a plain one."""
BATCH, STEPS = 128, 5
KINDS: Mapping[str, Mapping[str, Any]] = {
    "none": {"objective": "none"},
    "l1": {"objective": "l1"},
    "bl1": {"objective": "bl1"},
    "adc": {"objective": "adc"},
    "projected": {"objective": "adc", "alpha": 0.0, "project": True, "headroom": 2, "sparsity": 0.8},
}
"""What fine-tuning is told, by kind of step."""

OnStep = Callable[[], None]


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Turns of each kind.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the times there.")
def main(rounds: int, threads: int, json_file: Path | None) -> None:
    """Measure, print a table, and fail if the bar is missed."""
    torch.set_num_threads(threads)
    found = {name: _measure(name, rounds, threads) for name in ("resnet20", "vgg11")}
    click.echo(f"torch {torch.__version__}, {threads} threads; load average now {os.getloadavg()[0]:.1f}")
    click.echo(f"{'ms a step, and over plain':26}{'plain':>8}" + "".join(f"{kind:>15}" for kind in KINDS))
    for name, times in found.items():
        cells = "".join(f"{times[kind]:>9.0f} {times[kind] / times['plain']:>5.2f}" for kind in KINDS)
        click.echo(f"{name:26}{times['plain']:8.0f}{cells}")
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    missed = [
        f"{name} {kind}" for name, times in found.items() for kind in KINDS if times[kind] > MOST * times["plain"]
    ]
    if missed:
        raise click.ClickException(f"more than {MOST} times a plain step: {', '.join(missed)}")


def _measure(name: str, rounds: int, threads: int) -> dict[str, float]:
    """Milliseconds of processor time by kind of step, the plain one among them."""
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    random = np.random.default_rng(0)
    images = random.random((BATCH * STEPS, *network.shape), np.float32)
    data = Samples(inputs={"image": images}, labels=random.integers(0, 10, len(images)), source="noise")
    few = Samples(inputs={"image": images[:8]}, labels=np.zeros(8, np.int64), source="noise")
    with tempfile.TemporaryDirectory(prefix="bsc-benchmark-") as folder:
        graph = import_model(save(to_onnx(network), Path(folder) / "model.onnx"), as_written=True)
    times: dict[str, list[float]] = {kind: [] for kind in ("plain", *KINDS)}
    for _ in range(rounds):
        times["plain"] += _timed(lambda done: _plain(network, data, done))
        for kind, settings in KINDS.items():
            common = {"epochs": 1, "optimizer": "sgd", "lr": 1e-6, "augment": "flip-crop", "precision": "bf16"}
            options = FinetuneOptions.model_validate(common | {"threads": threads} | dict(settings))
            times[kind] += _timed(partial(_tuned, Trainer(graph, data, few, options)))
    return {kind: statistics.median(values) for kind, values in times.items()}


class _Enough(Exception):  # noqa: N818 - no error
    """All steps are done: what ends an epoch is not measured."""


def _tuned(trainer: Trainer, done: OnStep) -> None:
    def on_step(step: int, steps: int) -> None:
        done()
        if step == steps:
            raise _Enough

    with contextlib.suppress(_Enough):
        trainer.run(on_step=on_step)


def _timed(job: Callable[[OnStep], object]) -> list[float]:
    """Milliseconds from each step's end to the next one's; the first step, which finds its kernels, is left out."""
    ends: list[float] = []
    job(lambda: ends.append(time.process_time()))
    return [1e3 * float(spent) for spent in np.diff(ends)]


def _plain(network: Network, data: Samples, done: OnStep) -> None:
    """One epoch as anybody would write it."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert data.labels is not None
    images, labels = torch.from_numpy(data.inputs["image"]), torch.from_numpy(data.labels)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for chosen in torch.split(torch.randperm(len(images), generator=generator), BATCH):
        x = augment(images[chosen], "flip-crop", generator)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(x)
        torch.autograd.backward(F.cross_entropy(logits.float(), labels[chosen]))
        optimizer.step()
        done()


if __name__ == "__main__":
    main()
