"""Compiling: an ONNX file becomes a plan, stage by stage.

`STAGES` is the whole way; `bsc compile`, `bsc check` and `bsc explore` all take it. A stage is a function from what is
known to what is known after it; a new one is such a function and its name in the list. The passes of the pipeline run
in the stages `prepare`, `lay_out`, `assign` and `place`; `Steps` says which of them where.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import hw_models
from bsc.chip.demand import chip_demand
from bsc.chip.outline import outline_of
from bsc.chip.performance import with_power
from bsc.compiler.accuracy_budget import budget_record, keep_budget, measure_accuracy, require_held_out, require_labels
from bsc.compiler.fault_avoidance import MOMENT_VECTORS, avoid_faults
from bsc.compiler.input_moments import with_moments
from bsc.compiler.layout import LayoutChoice, choose_layout
from bsc.compiler.observation import with_observations
from bsc.compiler.options import CompileOptions
from bsc.compiler.quantisation_error import quantisation_notes
from bsc.compiler.refusals import refusals
from bsc.compiler.slice_widths import choose_slice_widths
from bsc.compiler.steps import Steps
from bsc.compiler.trace import Trace
from bsc.cost.counts import count_mapping
from bsc.errors import BscError
from bsc.frontend.coverage import Coverage, cover
from bsc.frontend.onnx_import import import_model
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.ir.graph import Graph
from bsc.ir.mapped import mapping_of
from bsc.ir.passbase import Pass
from bsc.ir.pipeline import PassTime, format_pipeline, parse_pipeline
from bsc.limits import without_collection
from bsc.mapping.fault_map import read_fault_map
from bsc.plan.document import CalibrationRecord, Plan
from bsc.plan.planner import make_plan
from bsc.replay.calibrate import FloatRun, calibrate
from bsc.replay.dataset import Dataset, load_dataset
from bsc.replay.import_check import check_import, unchecked
from bsc.replay.paired import PairedAccuracy
from passes.place import Place


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """What is to be compiled, the same for all stages.

    Attributes:
        model: the ONNX file; it is only read.
        target: the hardware the plan is for.
        options: what the compilation was told.
        law: by which conversions are priced.
        steps: the passes of the pipeline text.
        refuse: told of what cannot be compiled, with the name of the node if it is about one; raises it or notes it.
        trace: notes the time of every pass and dumps its result.
    """

    model: Path
    target: Target
    options: CompileOptions
    law: AdcLaw
    steps: Steps
    refuse: Callable[[str, BscError], None]
    trace: Trace

    @property
    def stops_early(self) -> bool:
        """Whether only a part of the pipeline is to be run."""
        return self.options.stop_after is not None

    def to_run(self, steps: Steps) -> Steps:
        """Those of the steps that are to be run."""
        return steps.until(self.options.stop_after)


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """What is known between two stages.

    Attributes:
        steps: the passes, what was searched for written into them.
        imported: the graph as the file has it; None before `read_model`.
        mapped: the graph as the last stage left it; None for as long as it is the imported one.
        calibration: data that ranges, widths and resolutions may rest on, or None.
        held_out: labelled data that nothing but the test of accuracy sees, or None.
        layout: choices of the layout search, by layer; empty without one.
        accuracy: of the plan beside the quantised model on the held-out data, or None.
        float_run: of the imported graph on what it was checked on, or None.
    """

    steps: Steps
    imported: Graph | None = None
    mapped: Graph | None = None
    calibration: Dataset | None = None
    held_out: Dataset | None = None
    layout: tuple[LayoutChoice, ...] = ()
    accuracy: PairedAccuracy | None = None
    float_run: FloatRun | None = None

    @property
    def graph(self) -> Graph:
        """The graph as far as it has come."""
        found = self.imported if self.mapped is None else self.mapped
        assert found is not None, "no graph before `read_model`"
        return found


Stage = Callable[[Job, State], State]


def refuse_unseen(job: Job, state: State) -> State:
    """Refuse what the pipeline, the options and the target rule out before any work is done."""
    for error in refusals(job.steps, job.options, job.target.adc):
        job.refuse("", error)
    return state


def read_model(job: Job, state: State) -> State:
    """Import: the ONNX file becomes a graph. A node that cannot be compiled is refused."""
    options = job.options
    graph = import_model(
        job.model,
        options.input_shapes,
        constants=options.constants,
        values=options.input_values,
        keep_digital=options.keep_digital,
        refuse=job.refuse,
    )
    job.trace.dump("import", graph)
    return replace(state, imported=graph)


def read_data(job: Job, state: State) -> State:
    """Read calibration and held-out data; without a file of its own, the latter is every other calibration sample."""
    calibration = _load(job, state, job.options.calibration, "--calib")
    held_out = _load(job, state, job.options.held_out, "--held-out")
    if job.options.test_accuracy and held_out is None and calibration is not None:
        calibration, held_out = calibration.halves()
    return replace(state, calibration=calibration, held_out=held_out)


def refuse_data(job: Job, state: State) -> State:
    """Refuse held-out data that cannot show what is asked for."""
    if state.held_out is not None:
        split = job.options.held_out is None
        require_held_out(state.held_out, None if split else state.calibration, job.options.max_accuracy_drop)
    return state


def check_against_file(job: Job, state: State) -> State:
    """Check: the graph in floating point must compute what onnxruntime computes of the file."""
    if not job.options.import_check:
        return replace(state, imported=unchecked(state.graph, "--no-import-check"))
    graph, run = check_import(state.graph, job.model, state.calibration)
    calibration, held_out = state.calibration, state.held_out
    if state.graph.info.dynamic_batch and not graph.info.dynamic_batch:
        calibration = None if calibration is None else calibration.one_at_a_time()
        held_out = None if held_out is None else held_out.one_at_a_time()
    return replace(state, imported=graph, calibration=calibration, held_out=held_out, float_run=run)


def calibrate_inputs(_job: Job, state: State) -> State:
    """Calibrate: note the range of every layer's input on calibration data."""
    return state if state.calibration is None else replace(state, mapped=calibrate(state.graph, state.calibration))


def note_moments(job: Job, state: State) -> State:
    """Note moments: attach mean and covariance of layer inputs, for passes that change codes by them."""
    vectors = max((step.input_vectors() for step in job.to_run(state.steps).all), default=0)
    if job.options.faults is not None and state.calibration is not None:
        vectors = max(vectors, MOMENT_VECTORS)
    if not vectors:
        return state
    assert state.calibration is not None
    return replace(state, mapped=with_moments(state.graph, state.calibration, vectors))


def cut(job: Job, state: State) -> State:
    """Cut: with --cut adaptive, give each layer the slice widths that err least."""
    if not job.options.adaptive_cut:
        return state
    assert state.calibration is not None
    return replace(state, steps=choose_slice_widths(state.graph, state.steps, state.calibration))


def prepare(job: Job, state: State) -> State:
    """Prepare: fold, quantise, slice, drop zeros, reorder."""
    return _with_passes(job, state, job.to_run(state.steps).prepare)


def look_at_accuracy(job: Job, state: State) -> State:
    """Look: note where quantisation hurts, and what would help."""
    quantised = all(layer.quant is not None for layer in state.graph.layers())
    if not quantised or job.stops_early or not job.options.import_check:
        return state
    info = state.graph.info
    notes = quantisation_notes(state.graph, state.float_run, of_data=state.calibration is not None)
    return replace(state, mapped=state.graph.with_info(replace(info, notes=(*info.notes, *notes)))) if notes else state


def lay_out(job: Job, state: State) -> State:
    """Lay out: put the layers on crossbars; with a search, in the way that costs least."""
    search = job.options.search
    if search is not None and job.to_run(state.steps).layout:
        steps, choices = choose_layout(state.graph, state.steps, job.target, search)
        state = replace(state, steps=steps, layout=choices)
    return _with_passes(job, state, job.to_run(state.steps).layout)


def observe(job: Job, state: State) -> State:
    """Observe: attach what the ADC passes ask for: column sums on calibration data, sensitivities and prices."""
    wishes = (step.observes() for step in job.to_run(state.steps).adc)
    wanted = next((wish for wish in wishes if wish is not None), None)
    if wanted is None:
        return state
    assert state.calibration is not None
    return replace(state, mapped=with_observations(state.graph, job.target, job.law, state.calibration, wanted))


def assign(job: Job, state: State) -> State:
    """Assign: give every conversion its resolution, as cautiously as an accuracy budget wants it."""
    max_drop = job.options.max_accuracy_drop
    if max_drop is not None and not job.stops_early:
        assert state.calibration is not None
        assert state.held_out is not None
        passes, accuracy = keep_budget(
            state.graph,
            state.steps.assign,
            calibration=state.calibration,
            held_out=state.held_out,
            max_drop=max_drop,
            device=job.options.noise,
        )
        state = replace(state, steps=replace(state.steps, assign=passes), accuracy=accuracy)
    return _with_passes(job, state, job.to_run(state.steps).assign)


def place(job: Job, state: State) -> State:
    """Place: give every layer its copies, and every crossbar its place on the chips."""
    passes = job.to_run(state.steps).place
    if not passes:
        return state
    mapping = mapping_of(state.graph)
    demand = chip_demand(mapping.record, count_mapping(mapping), job.target, job.law)
    if any(isinstance(step, Place) and step.power for step in passes):
        demand = with_power(demand, outline_of(mapping), job.target)
    return _with_passes(job, replace(state, mapped=state.graph.with_demand(demand)), passes)


def move_off_faults(job: Job, state: State) -> State:
    """Move: with a fault map, put rows and columns where stuck cells do least harm."""
    if job.options.faults is None or job.stops_early:
        return state
    faults = read_fault_map(job.options.faults)
    graph, before, after = avoid_faults(state.graph, faults)
    info = graph.info
    note = (
        f"stuck cells of {faults.file}, SHA-256 {faults.sha256[:12]}...: {before.cells} in use, of which {after.wrong} "
        f"should hold another level, {before.wrong} before rows and columns were moved; their squared error in weight "
        f"codes, weighted by inputs, is {after.squared:.3g}, {before.squared:.3g} before"
    )
    return replace(state, mapped=graph.with_info(replace(info, notes=(*info.notes, note))))


def test_accuracy(job: Job, state: State) -> State:
    """Test: run the plan beside the quantised model on held-out data, unless a budget has just done so."""
    if state.held_out is None or state.accuracy is not None or job.stops_early:
        return state
    return replace(state, accuracy=measure_accuracy(state.graph, state.held_out, job.options.noise))


STAGES: Sequence[Stage] = (
    refuse_unseen,
    read_model,
    read_data,
    refuse_data,
    check_against_file,
    calibrate_inputs,
    note_moments,
    cut,
    prepare,
    look_at_accuracy,
    lay_out,
    observe,
    assign,
    place,
    move_off_faults,
    test_accuracy,
)
"""The way from an ONNX file to a plan."""

IMPORT: Sequence[Stage] = (read_model, read_data, check_against_file, calibrate_inputs)
"""Those that rest on the model and its data alone: `bsc explore` runs them once for many mappings."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Compiled:
    """What a compilation gives.

    Attributes:
        graph: after the last pass.
        plan: None when the pipeline was stopped early.
        times: of every pass.
        choices: of the layout search, by layer; empty without one.
    """

    graph: Graph
    plan: Plan | None
    times: tuple[PassTime, ...]
    choices: tuple[LayoutChoice, ...] = ()


def compile_model(path: Path, target: Target, options: CompileOptions, imported: State | None = None) -> Compiled:
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
    job = _job(path, target, options, _raise)
    if imported is None:
        state = _run(STAGES, job, State(steps=job.steps))
    else:
        state = _run((stage for stage in STAGES if stage not in IMPORT), job, replace(imported, steps=job.steps))
    return Compiled(graph=state.graph, plan=_plan(job, state), times=tuple(job.trace.times), choices=state.layout)


def import_calibrated(path: Path, target: Target, options: CompileOptions) -> State:
    """Read a model and the data of its compilation, for many compilations that differ in other options.

    Args:
        path: the model; it is only read.
        target: the hardware of any of them.
        options: shapes and data files; nothing else of them is looked at.

    Raises:
        BscError: for a bad model or data file.
    """
    job = _job(path, target, options, _raise)
    return _run(IMPORT, job, State(steps=job.steps))


def check_model(path: Path, target: Target, options: CompileOptions) -> Coverage:
    """What becomes of every node of a model, found out by compiling it; nothing is written.

    The first refusal is the error that `compile_model` ends with. More follow where they can be known: all that speaks
    against the compilation before the model is read, and against single nodes of it.

    Args:
        path: the model; it is only read.
        target: as for `compile_model`.
        options: likewise.
    """
    found: list[BscError] = []
    nodes: dict[str, BscError] = {}
    graph: Graph | None = None

    def note(node: str, error: BscError) -> None:
        found.append(error)
        nodes[node] = error

    with without_collection():
        try:
            job = _job(path, target, options, note)
            state = State(steps=job.steps)
            for stage in STAGES:
                state = stage(job, state)
                graph = state.imported
                if found and graph is not None:  # every node has been looked at
                    break
            else:
                _plan(job, state)
        except BscError as error:
            found.append(error)
        covered = () if graph is None else cover(graph, nodes)
    return Coverage(model=path.name, nodes=covered, refusals=tuple(found))


def _job(path: Path, target: Target, options: CompileOptions, refuse: Callable[[str, BscError], None]) -> Job:
    return Job(
        model=path,
        target=target,
        options=options,
        law=options.adc_law or hw_models.load_law(target.adc.law),
        steps=Steps.of(parse_pipeline(options.pipeline, options.registry)),
        refuse=refuse,
        trace=Trace(options.dump_ir),
    )


def _raise(_node: str, error: BscError) -> None:
    raise error from None


def _run(stages: Iterable[Stage], job: Job, state: State) -> State:
    for stage in stages:
        state = stage(job, state)
    return state


def _with_passes(job: Job, state: State, passes: Sequence[Pass]) -> State:
    return replace(state, mapped=job.trace.run(state.graph, passes))


def _plan(job: Job, state: State) -> Plan | None:
    """The plan, if all of the pipeline has been run."""
    if job.stops_early:
        return None
    data, budget = state.calibration, None
    if state.accuracy is not None:
        assert state.held_out is not None
        split, max_drop = job.options.held_out is None, job.options.max_accuracy_drop
        budget = budget_record(
            state.accuracy, state.held_out, job.law.name, split=split, max_drop=max_drop, device=job.options.noise
        )
    calibration = None if data is None else CalibrationRecord(sha256=data.sha256, samples=data.samples)
    return make_plan(state.graph, job.target, format_pipeline(state.steps.all), calibration, budget)


def _load(job: Job, state: State, path: Path | None, option: str) -> Dataset | None:
    if path is None:
        return None
    specs = [state.graph.tensors[name] for name in state.graph.inputs]
    free = state.graph.info.dynamic_batch
    data = load_dataset(path, specs, dynamic_batch=free, given=job.options.input_values)
    if job.options.test_accuracy:
        require_labels(data, option)
    return data
