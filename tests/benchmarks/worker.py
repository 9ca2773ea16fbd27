"""One measured run in a process of its own, so that its peak memory is its own; prints a `Run` as JSON.

    python -m tests.benchmarks.worker bsc MODEL.onnx SCRATCH_FOLDER
    python -m tests.benchmarks.worker quantize_dynamic MODEL.onnx SCRATCH_FOLDER

Clocks start after the imports. CPU time is that of all threads, user and system. On Linux a process inherits the
peak memory of the one that starts it, so whoever starts this must be small: `compile_speed` imports nothing large.
"""

import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

KIB = 1024  # unit of ru_maxrss on Linux


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run took.

    Attributes:
        cpu_s: CPU seconds.
        wall_s: wall-clock seconds.
        peak_bytes: largest resident memory of the process, imports and memory-mapped files included.
        stages: wall-clock seconds by stage, for bsc.
    """

    cpu_s: float
    wall_s: float
    peak_bytes: int
    stages: dict[str, float]


Task = Callable[[Path, Path], dict[str, float]]


def bsc_task() -> Task:
    """What `bsc compile` does by default up to the plan folder; no cost and no report."""
    import hw_models
    from bsc.compiler.driver import compile_model
    from bsc.compiler.options import CompileOptions, default_pipeline
    from bsc.plan.folder import write_plan

    target = hw_models.load("isaac")
    size = target.crossbar
    pipeline = default_pipeline(target, rows=size.rows, cols=size.cols, policy="lossless", granularity="column")

    def run(model: Path, scratch: Path) -> dict[str, float]:
        start = time.perf_counter()
        compiled = compile_model(model, target, CompileOptions(pipeline=pipeline))
        done = time.perf_counter()
        assert compiled.plan is not None
        write_plan(compiled.plan, scratch / "plan.bsc")
        passes = {step.name: step.seconds for step in compiled.times}
        rest = done - start - sum(passes.values())
        return {"import and checks": rest, **passes, "write plan": time.perf_counter() - done}

    return run


def quantize_dynamic_task() -> Task:
    """onnxruntime's 8-bit dynamic quantisation with its defaults."""
    from onnxruntime.quantization import quantize_dynamic

    logging.disable(logging.WARNING)  # it asks for a pre-processing step

    def run(model: Path, scratch: Path) -> dict[str, float]:
        quantize_dynamic(model, scratch / "quantised.onnx")
        return {}

    return run


TASKS: dict[str, Callable[[], Task]] = {"bsc": bsc_task, "quantize_dynamic": quantize_dynamic_task}


def measure(task: Task, model: Path, scratch: Path) -> Run:
    """Run a task once."""
    cpu, wall = time.process_time(), time.perf_counter()
    stages = task(model, scratch)
    return Run(
        cpu_s=time.process_time() - cpu,
        wall_s=time.perf_counter() - wall,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB,
        stages=stages,
    )


if __name__ == "__main__":
    program, model_file, scratch_folder = sys.argv[1:]
    print(json.dumps(asdict(measure(TASKS[program](), Path(model_file), Path(scratch_folder)))))
