"""How much of each device effect the MNIST example stands, and how it fares on published devices.

    python examples/noise/sweep.py [--trials N] [--samples N] [--jobs N]

Writes results.json, sweep.png and table.md beside itself. Needs matplotlib: pip install 'bsc-toolchain[plot]'.
README.md says what was found.
"""

import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.hardware.device import Device
from bsc.plan.document import Plan
from bsc.plan.folder import read_plan, write_plan
from bsc.replay.dataset import load_dataset
from bsc.replay.simulation import simulate

HERE = Path(__file__).parent
MNIST = HERE.parent / "mnist"
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
READ_S = 3600.0
"""Time of the read after programming, for drift."""
ADCS = ("lossless", "fixed=8")
"""What a column's converter resolves: just what exact cells need, or eight bits everywhere."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One device on one plan.

    Attributes:
        device: name of the device file.
        effect: the only effect that is left, or None for all.
        factor: that the effect is scaled by.
        adc: ADC policy of the plan.
    """

    device: str
    effect: str | None
    factor: float
    adc: str

    def described(self) -> Device:
        """The device of this point."""
        device = hw_models.load_device(self.device)
        if self.effect is None:
            return device
        device = device.only(self.effect).scaled(self.effect, self.factor)
        return device.read_at(READ_S) if device.drift is not None else device


def points() -> Iterator[Point]:
    """Every effect of the generic device alone, then the published devices with all of theirs."""
    for effect in hw_models.load_device("generic").effects:
        for factor in FACTORS:
            yield Point(device="generic", effect=effect, factor=factor, adc="lossless")
    for name in hw_models.device_names():
        for adc in ADCS:
            yield Point(device=name, effect=None, factor=1, adc=adc)


def compiled(adc: str) -> Plan:
    """The plan of the example, as README's first command makes it."""
    target = hw_models.load("isaac")
    pipeline = default_pipeline(target, rows=128, cols=128, policy=adc, granularity="column")
    options = CompileOptions(pipeline=pipeline, calibration=MNIST / "test_images.npz")
    plan = compile_model(MNIST / "model.onnx", target, options).plan
    assert plan is not None
    return plan


def measure(folder: Path, point: Point, trials: int, samples: int) -> dict[str, Any]:
    """Accuracy of one point."""
    plan = read_plan(folder / f"{point.adc}.bsc")
    data = load_dataset(MNIST / "test_images.npz", plan.document.inputs, dynamic_batch=True, limit=samples)
    found = simulate(plan.mapping, data, "test_images.npz", device=point.described(), trials=trials, seed=0)
    assert found.trial_accuracy is not None
    interval = found.trial_accuracy
    return {
        **asdict(point),
        "exact": found.accuracy,
        "mean": interval.mean,
        "half_width": interval.half_width if trials > 1 else None,
    }


@click.command()
@click.option("--trials", type=click.IntRange(min=2), default=5, show_default=True, help="Sets of crossbars a point.")
@click.option("--samples", type=click.IntRange(1, 2000), default=1000, show_default=True, help="Images a trial.")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True, help="Processes.")
@click.option("--output", type=click.Path(path_type=Path), default=HERE, help="Folder to write to.  [default: here]")
def main(trials: int, samples: int, jobs: int, output: Path) -> None:
    """Measure all points, seed 0, and draw them."""
    os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")  # one thread for each process
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for adc in ADCS:
            write_plan(compiled(adc), folder / f"{adc}.bsc")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            futures = [pool.submit(measure, folder, point, trials, samples) for point in points()]
            results = []
            for future in futures:
                results.append(future.result())
                click.echo(f"{len(results)} of {len(futures)}", err=True)
    record = {"trials": trials, "samples": samples, "seed": 0, "points": results}
    (output / "results.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (output / "table.md").write_text("\n".join(table(results)) + "\n", encoding="utf-8")
    draw(results, output / "sweep.png")


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """Published devices as a Markdown table."""
    yield "| device | lossless ADCs | 8 bits everywhere |"
    yield "|---|---:|---:|"
    whole = [point for point in results if point["effect"] is None]
    for name in dict.fromkeys(point["device"] for point in whole):
        cells = [
            f"{100 * point['mean']:.1f} ± {100 * point['half_width']:.1f} %"
            for adc in ADCS
            for point in whole
            if (point["device"], point["adc"]) == (name, adc)
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Accuracy over the size of each effect."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    alone = [point for point in results if point["effect"] is not None]
    effects = list(dict.fromkeys(point["effect"] for point in alone))
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.4), sharex=True, sharey=True, layout="constrained")
    for axis, effect in zip(axes.ravel(), effects, strict=False):
        here = [point for point in alone if point["effect"] == effect]
        mean = 100 * np.array([point["mean"] for point in here])
        half = 100 * np.array([point["half_width"] for point in here])
        factors = [point["factor"] for point in here]
        axis.axhline(100 * here[0]["exact"], color="0.6", linewidth=1, linestyle="--")
        axis.fill_between(factors, mean - half, np.minimum(mean + half, 100), color="tab:blue", alpha=0.2, linewidth=0)
        axis.plot(factors, mean, color="tab:blue", marker="o", markersize=4)
        axis.set_title(effect.replace("_", " "), fontsize=11)
        axis.set_xscale("log", base=2)
        axis.set_xticks(FACTORS, [f"×{factor:g}" for factor in FACTORS])
        axis.grid(color="0.9")
    axes[0, 0].set_ylim(0, 100)
    figure.supxlabel("size of the effect, alone, relative to device 'generic'")
    figure.supylabel("accuracy, %")
    figure.suptitle("MNIST example, lossless ADCs: mean of trials with 95 % interval; dashed: without effects")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
