"""Joins the stages: ONNX file -> graph -> passes -> plan. The command line and scripts call this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bsc.errors import DoesNotFitError, UsageError
from bsc.frontend.onnx_import import import_model
from bsc.hardware.target import Adc, Target
from bsc.ir.graph import Graph
from bsc.ir.layer import UNIFORM_POLICIES
from bsc.ir.passbase import Pass
from bsc.ir.pipeline import PassTime, format_pipeline, parse_pipeline, run_pipeline
from bsc.numeric.encoding import Encoding
from bsc.plan.document import CalibrationRecord, Plan
from bsc.plan.planner import make_plan
from bsc.replay.calibrate import calibrate
from bsc.replay.dataset import load_dataset
from bsc.search import Choice, Search, search
from passes import PASSES
from passes.assign_adc import ISAAC_BITS, AssignAdc
from passes.permute import RowOrder
from passes.tile import Tile


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """What a compilation may be told.

    Attributes:
        pipeline: text of the passes.
        input_shapes: sizes of inputs that the model leaves open, by name.
        calibration: .npz file that input ranges are taken from, or None.
        dump_ir: folder that gets the graph as text after import and after every pass, or None.
        stop_after: name of the last pass to run, or None for all; a search still looks at the whole pipeline.
        registry: the passes that the pipeline may name.
        search: what to choose by its cost before `tile`, or None for the pipeline as it is.
    """

    pipeline: str
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    calibration: Path | None = None
    dump_ir: Path | None = None
    stop_after: str | None = None
    registry: Mapping[str, type[Pass]] = field(default_factory=lambda: PASSES)
    search: Search | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Compiled:
    """What a compilation gives.

    Attributes:
        graph: after the last pass.
        plan: None when the pipeline was stopped early.
        times: of every pass.
        choices: of the search, by layer; empty without one.
    """

    graph: Graph
    plan: Plan | None
    times: tuple[PassTime, ...]
    choices: tuple[Choice, ...] = ()


def default_pipeline(
    target: Target,
    *,
    rows: int,
    cols: int,
    policy: str,
    granularity: str,
    encoding: Encoding = "differential",
    active_rows: int | None = None,
    row_order: RowOrder = "as-is",
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
        row_order: what `permute` does, if anything; columns are sorted then.
    """
    name, _, bits = policy.partition("=")
    fixed = f" bits={bits}" if bits else ""
    driven = active_rows or rows
    permute = f"permute{{rows={row_order} columns=sorted group-rows={driven}}}," if row_order != "as-is" else ""
    return (
        "fold-batchnorm,quantize{bits=8},"
        f"slice-bits{{bits-per-cell={target.crossbar.bits_per_cell} dac-bits={target.dac.bits} "
        f"encoding={encoding}}},eliminate{{rows={rows}}},{permute}"
        f"tile{{rows={rows} cols={cols} active-rows={driven}}},"
        f"assign-adc{{policy={name} granularity={granularity}{fixed}}}"
    )


def compile_model(path: Path, target: Target, options: CompileOptions) -> Compiled:
    """Compile an ONNX file.

    Args:
        path: the model; it is only read.
        target: the hardware the plan is for.
        options: pipeline, shapes, calibration data and what to dump.

    Raises:
        BscError: for a bad model, pipeline, data file or dump folder; BSC403 for ADC resolutions that the target's
            converters cannot have.
    """
    whole = parse_pipeline(options.pipeline, options.registry)
    passes = _until(whole, options.stop_after)
    for step in passes:
        if isinstance(step, AssignAdc):
            _require_offered(step, target.adc)
    graph = import_model(path, options.input_shapes)
    calibration = None
    if options.calibration is not None:
        specs = [graph.tensors[name] for name in graph.inputs]
        data = load_dataset(options.calibration, specs, dynamic_batch=graph.info.dynamic_batch)
        graph = calibrate(graph, data)
        calibration = CalibrationRecord(sha256=data.sha256, samples=data.samples)
    _dump(options.dump_ir, 0, "import", graph)
    times: list[PassTime] = []
    choices: tuple[Choice, ...] = ()

    def run(graph: Graph, steps: Sequence[Pass]) -> Graph:
        done = len(times) + 1
        graph, spent = run_pipeline(
            graph, steps, after_pass=lambda at, step, result: _dump(options.dump_ir, done + at, step.name, result)
        )
        times.extend(spent)
        return graph

    before_tile = next((at for at, step in enumerate(passes) if isinstance(step, Tile)), None)
    if options.search is not None and before_tile is not None:
        graph = run(graph, passes[:before_tile])
        found, choices = search(graph, whole[before_tile:], target, options.search)
        found = _until(found, options.stop_after)
        graph, passes = run(graph, found), (*passes[:before_tile], *found)
    else:
        graph = run(graph, passes)
    plan = None
    if options.stop_after is None:
        plan = make_plan(graph, target, format_pipeline(passes), calibration)
    return Compiled(graph=graph, plan=plan, times=tuple(times), choices=choices)


def _require_offered(step: AssignAdc, adc: Adc) -> None:
    """Refuse resolutions that differ where the target has one for all.

    Raises:
        DoesNotFitError: BSC403.
    """
    uniform = {"isaac": ISAAC_BITS, "fixed": step.bits}.get(step.policy)
    if adc.granularity.value == "fixed":
        fits, fix = uniform == adc.bits, f"choose --adc fixed={adc.bits}"
    else:
        fits = step.policy in UNIFORM_POLICIES or adc.offers(step.granularity)
        fix = f"choose --granularity {adc.granularity.value}"
    if not fits:
        seen = f"{step.policy} resolutions for each {step.granularity}" if uniform is None else f"{uniform} bits"
        offered = f"fixed at {adc.bits} bits" if adc.granularity.value == "fixed" else f"per {adc.granularity.value}"
        raise DoesNotFitError(
            "BSC403",
            f"pass 'assign-adc': the target's ADCs cannot have these resolutions; theirs are {offered}",
            seen=seen,
            fix=f"{fix}, or another --hw",
        )


def _until(passes: tuple[Pass, ...], name: str | None) -> tuple[Pass, ...]:
    """The passes up to the last of that name, all of them for None."""
    if name is None:
        return passes
    names = [step.name for step in passes]
    if name not in names:
        raise UsageError(
            "BSC205",
            f"--stop-after names no pass of the pipeline: '{name}'",
            seen=f"passes {', '.join(names)}",
            fix="use one of these names",
        )
    return passes[: len(names) - names[::-1].index(name)]


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
