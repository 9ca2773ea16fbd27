"""Joins the stages: ONNX file -> graph -> passes -> plan. The command line and scripts call this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hw_models
from bsc.budget import Judge, budget_record, candidate, keep_budget, require_labels
from bsc.errors import DoesNotFitError, ModelError, UsageError
from bsc.frontend.coverage import Coverage, cover
from bsc.frontend.onnx_import import import_model
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.ir.graph import Graph
from bsc.ir.passbase import Pass, needs_data
from bsc.ir.pipeline import PassTime, format_pipeline, parse_pipeline, run_pipeline
from bsc.numeric.encoding import Encoding, Subtraction
from bsc.observed import with_observations
from bsc.plan.document import CalibrationRecord, Plan
from bsc.plan.planner import make_plan
from bsc.refusals import no_data_to_cut_by, require_offered, require_possible
from bsc.replay.calibrate import calibrate
from bsc.replay.dataset import Dataset, load_dataset
from bsc.replay.paired import PairedAccuracy
from bsc.search import Choice, Search, cut_by_error, lay_out
from passes import PASSES
from passes.permute import RowOrder
from passes.tile import Tile

DEFAULT_WEIGHT_BITS = 8
"""The paper's."""


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
        test_accuracy: test the accuracy of the plan on held-out data; these and calibration data then need labels.
        held_out: .npz file of those; None for every other sample of the calibration data, which then has no other use.
        max_accuracy_drop: accuracy below the quantised model that `budget-adc` may lose, a share of samples; None for
            the caution that the pipeline says. Needs `test_accuracy`.
        adc_law: by which conversions are priced; None for the target's own.
        adaptive_cut: cut every layer into slices by measured error [raella23]; needs calibration data.
    """

    pipeline: str
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    calibration: Path | None = None
    dump_ir: Path | None = None
    stop_after: str | None = None
    registry: Mapping[str, type[Pass]] = field(default_factory=lambda: PASSES)
    search: Search | None = None
    test_accuracy: bool = False
    held_out: Path | None = None
    max_accuracy_drop: float | None = None
    adc_law: AdcLaw | None = None
    adaptive_cut: bool = False


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
    subtraction: Subtraction = "digital",
    flip: bool = False,
    cut: str = "even",
    active_rows: int | None = None,
    row_order: RowOrder = "as-is",
    weight_bits: int | None = None,
    cell_bits: int | None = None,
    dac_bits: int | None = None,
) -> str:
    """The pipeline text for a target.

    Args:
        target: gives bits per cell and per DAC.
        rows: wordlines of a crossbar.
        cols: bitlines of a crossbar.
        policy: ADC policy as on the command line: lossless, calibrated, calibrated=N, budgeted, isaac or fixed=N.
        granularity: column, tile or slice.
        encoding: how cells hold the sign of a weight.
        subtraction: where the columns of a pair are subtracted.
        flip: let columns hold top - level where that adds up to less.
        cut: "even" or the bits of each slice, as in the pass `slice-bits`.
        active_rows: wordlines that are driven together; None for all.
        row_order: what `permute` does, if anything; columns are sorted then.
        weight_bits: bits of a weight code beside its sign; None for 8.
        cell_bits: bits one cell stores; None for the target's.
        dac_bits: input bits a DAC drives at a time; None for the target's.
    """
    name, _, bits = policy.partition("=")
    cell_bits, dac_bits = cell_bits or target.crossbar.bits_per_cell, dac_bits or target.dac.bits
    driven = active_rows or rows
    permute = f"permute{{rows={row_order} columns=sorted group-rows={driven}}}," if row_order != "as-is" else ""
    if name == "calibrated":
        adc = f"calibrate-adc{{granularity={granularity}{f' most-bits={bits}' if bits else ''}}}"
    elif name == "budgeted":
        adc = f"budget-adc{{granularity={granularity}}}"
    else:
        adc = f"assign-adc{{policy={name} granularity={granularity}{f' bits={bits}' if bits else ''}}}"
    return (
        f"fold-batchnorm,quantize{{bits={weight_bits or DEFAULT_WEIGHT_BITS}}},"
        f"slice-bits{{bits-per-cell={cell_bits} dac-bits={dac_bits} "
        f"encoding={encoding} subtraction={subtraction} flip={'yes' if flip else 'no'} cut={cut}}},"
        f"eliminate{{rows={rows}}},{permute}tile{{rows={rows} cols={cols} active-rows={driven}}},"
        f"{adc}"
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Imported:
    """What compilations of one model begin with, whatever the pipeline.

    Attributes:
        graph: calibrated, where there are data to do it with.
        data: calibration data, or None.
        held_out: labelled data that nothing else sees, or None.
    """

    graph: Graph
    data: Dataset | None
    held_out: Dataset | None


def import_calibrated(path: Path, options: CompileOptions) -> Imported:
    """Read a model and the data of its compilation.

    Args:
        path: the model; it is only read.
        options: shapes and data files; nothing else of them is looked at.

    Raises:
        BscError: for a bad model or data file.
    """
    graph = import_model(path, options.input_shapes)
    data, held_out = _load(options, graph)
    return Imported(graph=graph if data is None else calibrate(graph, data), data=data, held_out=held_out)


def compile_model(path: Path, target: Target, options: CompileOptions, imported: Imported | None = None) -> Compiled:
    """Compile an ONNX file.

    Args:
        path: the model; it is only read.
        target: the hardware the plan is for.
        options: pipeline, shapes, calibration data and what to dump.
        imported: what `import_calibrated` gives for the model and these options, to compile it many times; None to
            read it here.

    Raises:
        BscError: for a bad model, pipeline, data file or dump folder, or an accuracy budget that cannot be kept; BSC403
            for ADC resolutions that the target's converters cannot have.
    """
    whole = parse_pipeline(options.pipeline, options.registry)
    passes = _until(whole, options.stop_after)
    require_possible(options.pipeline, whole, budget=options.max_accuracy_drop is not None)
    require_offered(passes, target.adc)
    if options.adaptive_cut and options.calibration is None:
        raise no_data_to_cut_by()
    imported = imported or import_calibrated(path, options)
    graph, data, held_out = imported.graph, imported.data, imported.held_out
    budget = plan = None
    calibration = None if data is None else CalibrationRecord(sha256=data.sha256, samples=data.samples)
    _dump(options.dump_ir, 0, "import", graph)
    if options.adaptive_cut:
        assert data is not None
        whole = cut_by_error(graph, whole, data)
        passes = _until(whole, options.stop_after)
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
        laid, choices = lay_out(graph, whole[before_tile:], target, options.search)
        passes = _until((*passes[:before_tile], *laid), options.stop_after)
    asking, wanted = next(
        ((at, wish) for at, step in enumerate(passes) if (wish := step.observes()) is not None), (len(passes), None)
    )
    graph = run(graph, passes[len(times) : asking])
    law = options.adc_law or hw_models.load_law(target.adc.law)
    if wanted is not None:
        if data is None:
            raise needs_data(passes[asking].name)
        graph = with_observations(graph, target, law, data, wanted)
    later = passes[asking:]
    if held_out is not None and options.stop_after is None:
        later, counts = _tested(graph, later, options, (data, held_out))
        split = options.held_out is None
        budget = budget_record(counts, held_out, law.name, split=split, max_drop=options.max_accuracy_drop)
    graph = run(graph, later)
    if options.stop_after is None:
        plan = make_plan(graph, target, format_pipeline((*passes[:asking], *later)), calibration, budget)
    return Compiled(graph=graph, plan=plan, times=tuple(times), choices=choices)


def _tested(
    graph: Graph,
    steps: tuple[Pass, ...],
    options: CompileOptions,
    data: tuple[Dataset | None, Dataset],
) -> tuple[tuple[Pass, ...], PairedAccuracy]:
    """The last steps, cautious enough for the accuracy budget if there is one, and how they do on held-out data."""
    calibration, held_out = data
    if options.max_accuracy_drop is None:
        return steps, Judge(held_out)(candidate(graph, steps))
    assert calibration is not None
    limit = options.max_accuracy_drop
    return keep_budget(graph, steps, calibration=calibration, held_out=held_out, max_drop=limit)


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


def _load(options: CompileOptions, graph: Graph) -> tuple[Dataset | None, Dataset | None]:
    """Calibration and held-out data; without a file of its own, the latter is every other calibration sample."""
    specs = [graph.tensors[name] for name in graph.inputs]

    def load(path: Path | None, option: str) -> Dataset | None:
        if path is None:
            return None
        data = load_dataset(path, specs, dynamic_batch=graph.info.dynamic_batch)
        if options.test_accuracy:
            require_labels(data, option)
        return data

    data = load(options.calibration, "--calib")
    if options.test_accuracy and options.held_out is None and data is not None:
        return data.halves()
    return data, load(options.held_out, "--held-out")


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
