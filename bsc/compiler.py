"""Joins the stages: ONNX file -> graph -> passes -> plan. The command line and scripts call this."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bsc.errors import DoesNotFitError, ModelError, UsageError
from bsc.frontend.coverage import Coverage, cover
from bsc.frontend.onnx_import import import_model
from bsc.hardware.target import Target
from bsc.ir.graph import Graph
from bsc.ir.passbase import Pass
from bsc.ir.pipeline import PassTime, format_pipeline, parse_pipeline, run_pipeline
from bsc.numeric.encoding import Encoding
from bsc.plan.document import CalibrationRecord, Plan
from bsc.plan.planner import make_plan
from bsc.replay.calibrate import calibrate
from bsc.replay.dataset import load_dataset
from passes import PASSES


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """What a compilation may be told.

    Attributes:
        pipeline: text of the passes.
        input_shapes: sizes of inputs that the model leaves open, by name.
        calibration: .npz file that input ranges are taken from, or None.
        dump_ir: folder that gets the graph as text after import and after every pass, or None.
        stop_after: name of the last pass to run, or None for all.
        registry: the passes that the pipeline may name.
    """

    pipeline: str
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    calibration: Path | None = None
    dump_ir: Path | None = None
    stop_after: str | None = None
    registry: Mapping[str, type[Pass]] = field(default_factory=lambda: PASSES)


@dataclass(frozen=True, eq=False, kw_only=True)
class Compiled:
    """What a compilation gives.

    Attributes:
        graph: after the last pass.
        plan: None when the pipeline was stopped early.
        times: of every pass.
    """

    graph: Graph
    plan: Plan | None
    times: tuple[PassTime, ...]


def default_pipeline(
    target: Target,
    *,
    rows: int,
    cols: int,
    policy: str,
    granularity: str,
    encoding: Encoding = "differential",
    active_rows: int | None = None,
) -> str:
    """The pipeline text for a target.

    Args:
        target: gives bits per cell and per DAC.
        rows: wordlines of a crossbar.
        cols: bitlines of a crossbar.
        policy: ADC policy as on the command line: lossless, isaac or fixed=N.
        granularity: column, tile or slice.
        encoding: how cells hold the sign of a weight.
        active_rows: wordlines that are driven together; None for all.
    """
    name, _, bits = policy.partition("=")
    fixed = f" bits={bits}" if bits else ""
    return (
        "fold-batchnorm,quantize{bits=8},"
        f"slice-bits{{bits-per-cell={target.crossbar.bits_per_cell} dac-bits={target.dac.bits} "
        f"encoding={encoding}}},eliminate,tile{{rows={rows} cols={cols} active-rows={active_rows or rows}}},"
        f"assign-adc{{policy={name} granularity={granularity}{fixed}}}"
    )


def compile_model(path: Path, target: Target, options: CompileOptions) -> Compiled:
    """Compile an ONNX file.

    Args:
        path: the model; it is only read.
        target: the hardware the plan is for.
        options: pipeline, shapes, calibration data and what to dump.

    Raises:
        BscError: for a bad model, pipeline, data file or dump folder.
    """
    passes = parse_pipeline(options.pipeline, options.registry)
    if options.stop_after is not None:
        passes = _until(passes, options.stop_after)
    graph = import_model(path, options.input_shapes)
    calibration = None
    if options.calibration is not None:
        specs = [graph.tensors[name] for name in graph.inputs]
        data = load_dataset(options.calibration, specs, dynamic_batch=graph.info.dynamic_batch)
        graph = calibrate(graph, data)
        calibration = CalibrationRecord(sha256=data.sha256, samples=data.samples)
    _dump(options.dump_ir, 0, "import", graph)
    graph, times = run_pipeline(
        graph, passes, after_pass=lambda position, step, result: _dump(options.dump_ir, position + 1, step.name, result)
    )
    plan = None
    if options.stop_after is None:
        plan = make_plan(graph, target, format_pipeline(passes), calibration)
    return Compiled(graph=graph, plan=plan, times=tuple(times))


def check_model(path: Path, target: Target, options: CompileOptions) -> Coverage:
    """What becomes of every node of a model, found out by compiling it; nothing is written.

    Args:
        path: the model; it is only read.
        target: as for `compile_model`.
        options: likewise; its pipeline is run if no node is refused.

    Raises:
        UsageError: for a file that cannot be opened, a bad pipeline or an `input_shapes` that names no input.
    """
    passes = parse_pipeline(options.pipeline, options.registry)
    refused: dict[str, ModelError] = {}
    try:
        graph = import_model(path, options.input_shapes, refuse=refused.setdefault)
    except ModelError as error:
        return Coverage(model=path.name, nodes=(), refusals=(error,))
    nodes = cover(graph, refused)
    refusals: tuple[ModelError | DoesNotFitError, ...] = tuple(refused.values())
    if not refusals:
        try:
            make_plan(run_pipeline(graph, passes)[0], target, format_pipeline(passes), None)
        except (ModelError, DoesNotFitError) as error:
            refusals = (error,)
    return Coverage(model=path.name, nodes=nodes, refusals=refusals)


def _until(passes: tuple[Pass, ...], name: str) -> tuple[Pass, ...]:
    names = [step.name for step in passes]
    if name not in names:
        raise UsageError(
            "BSC205",
            f"--stop-after names no pass of the pipeline: '{name}'",
            seen=f"passes {', '.join(names)}",
            fix="use one of these names",
        )
    return passes[: names.index(name) + 1]


def _dump(folder: Path | None, position: int, name: str, graph: Graph) -> None:
    """Write the graph's text, if there is a folder for it."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{position:02}-{name}.txt").write_text(str(graph), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            "BSC204",
            f"--dump-ir folder '{folder}' cannot be written",
            seen=error.strerror or str(error),
            fix="choose a folder you may write to",
        ) from None
