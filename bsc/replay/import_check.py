"""Is the import right? The imported graph, in floating point, against the file itself in onnxruntime.

Everything later is exact relative to the imported graph, so this is what *exact* rests on. Both run on one or two
samples, and their outputs and the results of all layers must agree but for rounding. Where they do not, every step of
the graph is run on the tensors of the file: rounding grows from layer to layer, and behind a threshold, a quantiser or
an argmax a small difference is a large one, but a single step that is right has no more than its own rounding.

What it costs: one inference of the file and one of the graph, and twice that where the steps are looked at, with no
more than `COMPARED_BYTES` of tensors of the file at a time. Nothing is run for longer than `SECONDS`.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.execution.program import GROWTH
from bsc.execution.session import quiet_session
from bsc.ir.graph import Graph, ImportCheck
from bsc.ir.input_values import MAX_MADE_VALUES
from bsc.ir.layer import CrossbarLayer, LayerUse
from bsc.ir.schedule import schedule
from bsc.limits import bounded_memory
from bsc.mapping.model import LayerStep, Segment, Step
from bsc.replay.calibrate import FloatRun, float_result, run_float_once
from bsc.replay.dataset import Dataset, random_dataset
from bsc.replay.original import open_session, read_file

TOLERANCE = 1e-4
"""Difference that sums in another order may make by the end of a network, as a share of a tensor's largest value."""
STEP_TOLERANCE = 1e-3
"""Of a single step; more than rounding makes there, and far less than any operator that is computed wrongly."""
COARSE: Mapping[str, float] = {"float16": 2e-2, "bfloat16": 1e-1}
"""Both for types of few digits."""
OWN_WAYS = frozenset({"DynamicQuantizeLSTM"})
"""Operators that onnxruntime computes in a way of its own, as no formula of theirs says: it quantises the states."""
OWN_TOLERANCE = 0.1
"""Of floating-point outputs of a model that has any of these."""
CODES_OFF_BY_ONE = 1e-3
"""Share of integers of a step that may differ by one, as codes of numbers do that lie between two of them."""
ROUNDING = 64
"""Units in the last place of the largest product sum that a layer's results may differ by, whatever their size."""

COMPARED_BYTES = 1 << 28
"""Of tensors of the file that are held at a time."""
MOST_OUTPUT_BYTES = 1 << 28
"""Of the model's outputs, up to which they are compared: of two runs, and differences are in float64."""
PAIR_VALUES = 1 << 24
"""Values in the input vectors of the largest layer up to which two samples are run in place of one."""
MOST_VALUES = 1 << 28
"""Likewise, up to which one is."""
PLACES = re.compile(r"(?<!\w)[\"']?/[^\s\"']+[\"']?:?\s?")
"""Files in onnxruntime's errors: lines of its source, and where a model lies, which no plan may tell."""
SESSION_BYTES = 1 << 28
SECONDS = 600.0


class _CannotRunError(Exception):
    """onnxruntime cannot run the file; the text says why."""


def check_import(graph: Graph, path: Path, data: Dataset | None, *, seed: int = 0) -> tuple[Graph, FloatRun | None]:
    """A graph that knows how it was checked, and its own run on what it was checked on; None without one.

    Args:
        graph: as imported.
        path: the file.
        data: inputs to check it on; None for made-up ones.
        seed: of made-up inputs.

    Raises:
        ModelError: BSC315 where the graph computes something else than the file; BSC304 or BSC305 where it cannot be
            run although the file can, for any other reason than its size.
    """
    values = max((layer.input_values for layer in graph.layers()), default=1)
    if values > MOST_VALUES:
        return _not_run(graph, f"a layer of {values} input values for one sample is more than is run")
    pair = graph.info.dynamic_batch and 2 * values <= PAIR_VALUES
    try:
        chosen = _inputs(graph, data, 2 if pair else 1, seed)
    except ModelError as error:
        if data is not None or made_up_values(graph) <= MAX_MADE_VALUES:
            raise
        return _not_run(graph, f"{error.problem}: {error.seen}")
    original = _Original(graph, path)
    try:
        feeds = next(chosen.batches())
        try:
            wanted = original.run(feeds)
            if (size := output_bytes(graph, wanted)) > MOST_OUTPUT_BYTES:
                return unchecked(graph, f"{size} bytes of outputs are more than are compared"), None
        except _CannotRunError:
            if not graph.info.dynamic_batch or chosen.rows(feeds) < 2:
                raise
            chosen = chosen.first(1)
            feeds = next(chosen.batches())
            wanted = original.run(feeds)
            graph = _one_at_a_time(graph)
        coupled = chosen.rows(feeds) == 2 and _influence_each_other(graph, chosen, original, wanted)
    except _CannotRunError as error:
        inputs = " on made-up inputs" if data is None else ""
        return _not_run(graph, f"onnxruntime cannot run the file{inputs}: {error}")
    try:
        run = _compare(graph, feeds, original, wanted)
    except ModelError as error:
        if error.code != "BSC312":
            raise
        return _not_run(graph, f"{error.problem}: {error.seen}")
    notes = graph.info.notes
    if coupled:
        notes += ("the result of a sample depends on the samples that it is run with",)
    check = ImportCheck(inputs="made-up" if data is None else "data", samples=chosen.rows(feeds))
    return graph.with_info(replace(graph.info, check=check, notes=notes)), run


def _not_run(graph: Graph, reason: str) -> tuple[Graph, None]:
    return unchecked(graph, reason), None


def output_bytes(graph: Graph, results: Mapping[str, Any]) -> int:
    """Of the model's outputs that are tensors."""
    return sum(getattr(results[name], "nbytes", 0) for name in graph.outputs)


def made_up_values(graph: Graph) -> int:
    """Of the model's inputs, for one sample; 0 for sizes that are unknown."""
    return sum(math.prod(graph.tensors[name].shape or (0,)) for name in graph.inputs)


def unchecked(graph: Graph, reason: str) -> Graph:
    """The graph that was not checked, and knows why."""
    return graph.with_info(replace(graph.info, check=ImportCheck(inputs="none", reason=reason)))


def _inputs(graph: Graph, data: Dataset | None, samples: int, seed: int) -> Dataset:
    if data is not None:
        return data.first(max(min(samples, data.samples), 1 if data.free_batch else data.batch))
    specs = [graph.tensors[name] for name in graph.inputs]
    return random_dataset(specs, dynamic_batch=graph.info.dynamic_batch, samples=samples, seed=seed)


def _one_at_a_time(graph: Graph) -> Graph:
    """The graph as one of a fixed batch: the file runs with one sample and not with two."""
    note = "the model takes one sample at a time: it does not run with two"
    return graph.with_info(replace(graph.info, dynamic_batch=False, notes=(*graph.info.notes, note)))


def _influence_each_other(graph: Graph, data: Dataset, original: "_Original", together: Mapping[str, Any]) -> bool:
    """Whether one of two samples has another result beside the other than beside itself: rounding is the same there."""
    for row in range(2):
        twins = original.run(next(data.repeated(row).batches()))
        for name in graph.outputs:
            axis, both, twin = graph.tensors[name].batch_axis, together[name], twins[name]
            if axis is None or not isinstance(both, np.ndarray) or both.shape[axis : axis + 1] != (2,):
                continue
            if twin.shape != both.shape:
                return True
            if _difference(np.take(twin, row, axis), np.take(both, row, axis), TOLERANCE):
                return True
    return False


class _Original:
    """The file in onnxruntime.

    Attributes:
        tensors: names of its tensors, in order; empty for a file that is opened where it lies.
    """

    def __init__(self, graph: Graph, path: Path) -> None:
        self._path = path
        self._outputs = graph.outputs
        self._constants = {each.name: each.array() for each in graph.info.constants}
        self._proto = read_file(path)
        self._session: tuple[tuple[str, ...], Any] | None = None
        self.results = graph.outputs
        self.tensors: dict[str, onnx.NodeProto] = {}
        if self._proto is not None:
            self.tensors = {name: node for node in self._proto.graph.node for name in node.output if name}
            made = [name for op in graph.ops() if isinstance(op, CrossbarLayer | LayerUse) for name in op.outputs]
            shared = [name for name in made if name in self.tensors and name not in graph.outputs]
            self.results += tuple(_first_lot(graph, shared))

    def run(self, feeds: Mapping[str, NDArray[Any]], names: Sequence[str] | None = None) -> dict[str, Any]:
        """Tensors by name, by default the outputs and what layers make. Raises `_CannotRunError`."""
        wanted = tuple(self.results if names is None else names)
        size = self._path.stat().st_size
        try:
            with bounded_memory(GROWTH * sum(values.nbytes for values in feeds.values()) + 8 * size, SESSION_BYTES):
                if self._session is None or self._session[0] != wanted:
                    self._session = None
                    self._session = wanted, self._open(wanted)
                results = _run(self._session[1], wanted, dict(feeds) | self._constants)
        except Exception as error:  # onnxruntime raises a kind of its own for each failure
            said = PLACES.sub("", (str(error).strip().splitlines() or [type(error).__name__])[0])
            raise _CannotRunError(said[:200]) from None
        return dict(zip(wanted, results, strict=True))

    def _open(self, wanted: Sequence[str]) -> Any:
        model = None if self._proto is None else onnx.ModelProto()
        if model is not None and self._proto is not None:
            model.CopyFrom(self._proto)
        return open_session(self._path, model, wanted, once=True)


def _run(session: Any, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    """Run a session, for no longer than `SECONDS`."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    with ThreadPoolExecutor(1) as pool:  # Python does not handle signals while its main thread is in native code
        try:
            results: list[Any] = pool.submit(session.run, list(outputs), dict(feeds), options).result(SECONDS)
        except TimeoutError:
            raise TimeoutError(f"it runs for more than {SECONDS:.0f} s") from None
        finally:
            options.terminate = True
    return results


def _compare(
    graph: Graph, feeds: Mapping[str, NDArray[Any]], original: _Original, wanted: Mapping[str, Any]
) -> FloatRun:
    """Compare outputs and layers, and where they differ every step. Raises `ModelError` BSC315 for a wrong step."""
    steps = tuple(schedule(graph))
    own_ways = {node.op_type for node in original.tensors.values()} & OWN_WAYS
    if own_ways:  # nothing behind them can be compared more closely
        run = run_float_once(graph, feeds, steps=steps)
        for name in graph.outputs:
            if _is_float(wanted[name]) and (found := _difference(run.tensors[name], wanted[name], OWN_TOLERANCE)):
                raise _wrong(graph, original, name, found)
        return run
    run = run_float_once(graph, feeds, [name for name in wanted if name not in graph.outputs], steps)
    if any(_difference(run.tensors[name], value, TOLERANCE) for name, value in wanted.items()):
        step = _first_wrong_step(graph, steps, feeds, original)
        if step is not None:
            raise _wrong(graph, original, *step)
    return replace(run, tensors={name: run.tensors[name] for name in graph.outputs})


def _difference(got: Any, wanted: Any, tolerance: float, rounding: float = 0.0) -> str:
    """What is more than rounding between two values of a tensor, as text; "" for nothing.

    Args:
        got: of the graph.
        wanted: of the file.
        tolerance: `TOLERANCE` or `STEP_TOLERANCE`.
        rounding: a difference that is allowed whatever the values are.
    """
    if not isinstance(wanted, np.ndarray) or not isinstance(got, np.ndarray):
        return _difference_of_others(got, wanted, tolerance)
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype} of shape {got.shape} in place of {wanted.dtype} of shape {wanted.shape}"
    if not _is_float(wanted):
        return _difference_of_integers(got, wanted, tolerance)
    wide = np.promote_types(wanted.dtype, np.float32)
    a, b = got.astype(wide, copy=False), wanted.astype(wide, copy=False)
    finite = np.isfinite(b)
    if not finite.all():
        if not np.array_equal(np.where(finite, 0, b), np.where(np.isfinite(a), 0, a), equal_nan=True):
            return "NaN or infinity in other places"
        a, b = a[finite], b[finite]
    largest = float(np.abs(b).max(initial=0))
    off = float(np.abs(a - b).max(initial=0))
    allowed = max(max(tolerance, COARSE.get(wanted.dtype.name, 0)) * largest, rounding)
    return "" if off <= allowed else f"a difference of {off:.3g}, where the largest value is {largest:.3g}"


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and (value.dtype.kind == "f" or value.dtype.name in COARSE)


def _difference_of_integers(got: NDArray[Any], wanted: NDArray[Any], tolerance: float) -> str:
    differing = int(np.count_nonzero(got != wanted))
    if not differing:
        return ""
    if tolerance == STEP_TOLERANCE and wanted.dtype.kind in "iu" and differing <= CODES_OFF_BY_ONE * wanted.size:
        apart = np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max()
        if apart <= 1:
            return ""
    return f"{differing} of {wanted.size} values differ"


def _difference_of_others(got: Any, wanted: Any, tolerance: float) -> str:
    """Of sequences and maps."""
    if isinstance(wanted, list) and isinstance(got, list) and len(got) == len(wanted):
        parts = (_difference(one, other, tolerance) for one, other in zip(got, wanted, strict=True))
        return next(filter(None, parts), "")
    if isinstance(wanted, dict) and isinstance(got, dict) and got.keys() == wanted.keys():
        one, other = (np.array([each[key] for key in wanted]) for each in (got, wanted))
        return _difference(one, other, tolerance)
    return "" if got == wanted else "another value"


def _first_wrong_step(
    graph: Graph, steps: Sequence[Step], feeds: Mapping[str, NDArray[Any]], original: _Original
) -> tuple[str, str] | None:
    """The first tensor that a step makes wrong out of the file's own tensors; None if all are right."""
    layers = {layer.name: layer for layer in graph.layers()}
    last = {name: at for at, step in enumerate(steps) for name in step.inputs}
    tensors: dict[str, Any] = dict(feeds)
    done = 0
    made = [[name for name in step.outputs if name in original.tensors or name in graph.outputs] for step in steps]
    for lot in _lots(graph, made):
        wanted = original.run(feeds, [name for names in lot for name in names])
        for at in range(done, done + len(lot)):
            step = steps[at]
            results, rounding = _run_step(graph, layers, step, tensors)
            for name in lot[at - done]:
                found = _difference(results[name], wanted[name], STEP_TOLERANCE, rounding)
                if found:
                    return _inside(graph, step, tensors, feeds, original) or (name, found)
            tensors |= results | {name: wanted[name] for name in lot[at - done]}
            for name in [name for name in step.inputs if last[name] == at]:
                tensors.pop(name, None)
        done += len(lot)
    return None


def _run_step(
    graph: Graph, layers: Mapping[str, CrossbarLayer], step: Step, tensors: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """What a step makes, and how much its results may differ from rounding alone."""
    if isinstance(step, Segment):
        results = _run(quiet_session(step.model), step.outputs, {name: tensors[name] for name in step.inputs})
        return dict(zip(step.outputs, results, strict=True)), 0.0
    layer, x = layers[step.layer], tensors[step.inputs[0]]
    weights = np.abs(layer.matrix(graph.array(layer.weight)).astype(np.float64))
    most = float(np.abs(x.astype(np.float64)).max(initial=0)) * float(weights.sum(axis=0).max(initial=0))
    eps = 2.0**-24 if x.dtype.itemsize == 4 else 2.0**-53 if x.dtype.itemsize == 8 else 2.0**-11
    return {step.outputs[0]: float_result(graph, layer, x)}, ROUNDING * eps * most


def _inside(
    graph: Graph, step: Step, tensors: Mapping[str, Any], feeds: Mapping[str, NDArray[Any]], original: _Original
) -> tuple[str, str] | None:
    """The first tensor inside a digital segment that differs."""
    if isinstance(step, LayerStep):
        return None
    model = onnx.ModelProto.FromString(step.model)
    inner = [name for node in model.graph.node for name in node.output if name in original.tensors]
    names = _first_lot(graph, inner)
    present = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    got = _run(quiet_session(model.SerializeToString()), names, {name: tensors[name] for name in step.inputs})
    wanted = original.run(feeds, names)
    for name, value in zip(names, got, strict=True):
        found = _difference(value, wanted[name], STEP_TOLERANCE)
        if found:
            return name, found
    return None


def _bytes(graph: Graph, name: str) -> int:
    """About what a tensor takes for two samples."""
    shape = graph.tensors[name].shape if name in graph.tensors else None
    return (1 << 24) if shape is None else 8 * int(np.prod(shape, dtype=np.float64))


def _lots(graph: Graph, made: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """What steps make, in lots of `COMPARED_BYTES` at most but one step at least."""
    lot: list[list[str]] = []
    held = 0
    for names in made:
        size = sum(_bytes(graph, name) for name in names)
        if lot and held + size > COMPARED_BYTES:
            yield lot
            lot, held = [], 0
        lot.append(names)
        held += size
    if lot:
        yield lot


def _first_lot(graph: Graph, names: Iterable[str]) -> list[str]:
    """As many of the names, in order, as are held at a time."""
    return [name for (name,) in next(_lots(graph, ([name] for name in names)), [])]


def _wrong(graph: Graph, original: _Original, name: str, found: str) -> ModelError:
    node = original.tensors.get(name)
    what = f" ({node.op_type} {node.name})".replace(" )", ")") if node is not None else ""
    return ModelError(
        "BSC315",
        f"model '{graph.info.name}': tensor '{name}'{what} is not what onnxruntime gives for the file",
        seen=found,
        fix="report it, for the model was read wrongly; --no-import-check compiles it all the same",
    )
