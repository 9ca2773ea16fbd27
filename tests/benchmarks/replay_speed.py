"""Speed of the replay, compared with the bars of issue 3; exits 1 if one is missed.

    python -m tests.benchmarks.replay_speed [--runs N] [--json FILE]

One thread. Every work is measured by the compiled kernel, by NumPy and, for scale, as one float32 matrix product of
the recombined weights, all in one process and in turn. README.md says what each number includes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from bsc.plan.document import Plan

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
MIN_LOSSLESS_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is replayed, and its bars.

    Attributes:
        name: as in the issue's table.
        batch: samples that are run together.
        crosssim: samples a second of CrossSim 3.2 (../shared/knowledge/peers-simulators.md, another machine).
        must: samples a second that a replay with clipping ADCs everywhere must reach.
        aim: what it should reach.
    """

    name: str
    batch: int
    crosssim: float
    must: float
    aim: float


WORKS = (
    Work(name="784-100-10 MLP", batch=1000, crosssim=2732, must=24_000, aim=60_000),
    Work(name="512x512 layer", batch=1024, crosssim=1086, must=9_000, aim=25_000),
    Work(name="3x3 conv 256->256, 8x8", batch=16, crosssim=8.98, must=60, aim=150),
)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Samples a second, the best of the runs.

    Attributes:
        work: name of the work.
        kernel: every conversion, compiled kernel.
        numpy: every conversion, `read_numpy`.
        reference: every conversion, `reference_results`.
        lossless: a lossless plan, whose conversions are proved and folded.
        float32: one plain matrix product of the recombined weights for each layer, and nothing else.
    """

    work: str
    kernel: float
    numpy: float
    reference: float
    lossless: float
    float32: float


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=7, show_default=True, help="Runs that the best is of.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the rates there.")
@click.option("--here", is_flag=True, hidden=True)
def main(runs: int, json_file: Path | None, *, here: bool) -> None:
    """Measure, print a table, and fail if a bar is missed."""
    if not here:  # the number of threads is read when NumPy is imported
        arguments = [sys.executable, "-m", "tests.benchmarks.replay_speed", "--here", f"--runs={runs}"]
        arguments += [f"--json={json_file}"] if json_file else []
        sys.exit(subprocess.run(arguments, env=os.environ | ONE_THREAD, check=False).returncode)
    with tempfile.TemporaryDirectory(prefix="bsc-benchmark-") as folder:
        rates = [_measure(work, Path(folder), runs) for work in WORKS]
    click.echo("\n".join(report(rates)))
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(each) for each in rates], indent=2) + "\n", encoding="utf-8")
    missed = [
        work.name
        for work, each in zip(WORKS, rates, strict=True)
        if each.kernel < work.must or each.lossless < MIN_LOSSLESS_SHARE * each.float32
    ]
    if missed:
        raise click.ClickException(f"missed: {'; '.join(missed)}")


def report(rates: list[Rates]) -> Iterator[str]:
    """The lines to print."""
    from bsc.replay.columns import best_reader

    yield f"columns read by {best_reader().__name__}; load average now {os.getloadavg()[0]:.1f}"
    yield f"{'samples/s':24}{'must':>8}{'aim':>8}{'kernel':>9}{'numpy':>9}{'reference':>10}{'kernel/numpy':>13}"
    for work, each in zip(WORKS, rates, strict=True):
        yield (
            f"{work.name:24}{work.must:8g}{work.aim:8g}{each.kernel:9.0f}{each.numpy:9.0f}{each.reference:10.3g}"
            f"{each.kernel / each.numpy:13.1f}"
        )
    yield ""
    yield f"{'samples/s':24}{'lossless':>10}{'float32':>10}{'share':>8}{'at least':>10}"
    for each in rates:
        share = each.lossless / each.float32
        yield f"{each.work:24}{each.lossless:10.0f}{each.float32:10.0f}{share:8.2f}{MIN_LOSSLESS_SHARE:10g}"


def _measure(work: Work, folder: Path, runs: int) -> Rates:
    from bsc.replay.columns import read_numpy
    from bsc.replay.engine import Replayer, ReplayOptions

    model, feeds = _model(work)
    clipping = _compile(model, folder, feeds, "fixed=2")
    every = Replayer(clipping.mapping, ReplayOptions(every_conversion=True))
    plain = Replayer(clipping.mapping, ReplayOptions(every_conversion=True, reader=read_numpy))
    lossless = Replayer(_compile(model, folder, feeds, "lossless").mapping)
    jobs: dict[str, Callable[[], object]] = {
        "kernel": lambda: every.replayed(feeds),
        "numpy": lambda: plain.replayed(feeds),
        "lossless": lambda: lossless.replayed(feeds),
        "float32": _products(clipping, work.batch),
    }
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(runs):
        for name, job in jobs.items():
            best[name] = min(best[name], _seconds(job))
    assert all(tally.proved == 0 for tally in every.tallies.values()), "a conversion was left out"
    few = max(1, work.batch // 64)
    reference = _seconds(_referenced(clipping, few))
    rates = {name: work.batch / seconds for name, seconds in best.items()}
    return Rates(work=work.name, reference=few / reference, **rates)


def _seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def _model(work: Work) -> "tuple[onnx.ModelProto, dict[str, NDArray[Any]]]":
    """Weights uniform over all 8-bit codes and their signs, inputs over all 8-bit codes."""
    import numpy as np

    from bsc.testing import tiny_model

    random = np.random.default_rng(0)

    def weights(*shape: int) -> "NDArray[Any]":
        return (random.integers(-255, 256, shape) / 256).astype(np.float32)

    shape: tuple[int, ...]
    if "MLP" in work.name:
        text = """(float[N,784] x) => (float[N,10] y) {
            [fc1] h = MatMul (x, w1)
            a = Relu (h)
            [fc2] y = MatMul (a, w2)
        }"""
        model, shape = tiny_model(text, {"w1": weights(784, 100), "w2": weights(100, 10)}), (work.batch, 784)
    elif "conv" in work.name:
        text = "(float[N,256,8,8] x) => (float[N,256,8,8] y) { [conv] y = Conv <pads = [1, 1, 1, 1]> (x, w) }"
        model, shape = tiny_model(text, {"w": weights(256, 256, 3, 3)}), (work.batch, 256, 8, 8)
    else:
        text = "(float[N,512] x) => (float[N,512] y) { [fc] y = MatMul (x, w) }"
        model, shape = tiny_model(text, {"w": weights(512, 512)}), (work.batch, 512)
    return model, {"x": (random.integers(0, 256, shape) / 256).astype(np.float32)}


def _compile(model: "onnx.ModelProto", folder: Path, feeds: "dict[str, NDArray[Any]]", policy: str) -> "Plan":
    import numpy as np

    import hw_models
    from bsc.compiler.driver import compile_model
    from bsc.compiler.options import CompileOptions, default_pipeline
    from bsc.testing import save

    target = hw_models.load("isaac")
    np.savez(folder / "calibration.npz", allow_pickle=False, **feeds)
    pipeline = default_pipeline(target, rows=128, cols=128, policy=policy, granularity="column")
    options = CompileOptions(pipeline=pipeline, calibration=folder / "calibration.npz")
    plan = compile_model(save(model, folder / "model.onnx"), target, options).plan
    assert plan is not None
    return plan


def _products(plan: "Plan", batch: int) -> Callable[[], object]:
    """The matrix products of all layers, on vectors that lie ready."""
    import numpy as np

    random = np.random.default_rng(1)
    pairs = []
    for layer in plan.mapping.layers:
        vectors = random.integers(0, 256, (batch * layer.vectors, layer.rows)).astype(np.float32)
        pairs.append((vectors, plan.mapping.arrays(layer).codes.astype(np.float32)))
    return lambda: [vectors @ matrix for vectors, matrix in pairs]


def _referenced(plan: "Plan", batch: int) -> Callable[[], object]:
    """All layers by `reference_results`, on made-up codes."""
    import numpy as np

    from bsc.replay.reference import reference_results
    from bsc.replay.tally import LayerTally

    random = np.random.default_rng(1)
    layers = [
        (layer, plan.mapping.arrays(layer), random.integers(0, 256, (batch * layer.vectors, 1, layer.rows)))
        for layer in plan.mapping.layers
    ]
    return lambda: [reference_results(layer, arrays, codes, LayerTally()) for layer, arrays, codes in layers]


if __name__ == "__main__":
    main()
