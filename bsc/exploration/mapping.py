"""Mappings: everything about a design that decides its plan but places. Each is compiled and counted once, somewhere.

What a worker needs is in `MappingJob`, what it finds in `MappingResult`; both are plain records that travel between
processes. Files are read where the work is done, at the paths that it names, and must be the ones that the sweep began
with.
"""

import hashlib
import json
import reprlib
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

import bsc
from bsc.chip.outline import Outline, outline_of
from bsc.compiler.driver import State, compile_model, import_calibrated
from bsc.compiler.options import CompileOptions, ModelOptions, ResolvedOptions
from bsc.cost.counters import COUNTERS
from bsc.cost.counts import RESOLUTIONS, LayerCounts, count_mapping
from bsc.errors import BscError
from bsc.exploration.scheduler import Answer, require_version, told, worker_error
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.device import Device
from bsc.hardware.target import Target
from bsc.mapping.model import MappedModel
from bsc.replay.dataset import Dataset, load_dataset
from bsc.replay.engine import Replayer
from bsc.replay.noise_accuracy import NoiseAccuracy, noise_accuracy
from bsc.replay.scored import scored_outputs
from bsc.replay.scores import accuracy

NOT_THE_DESIGNS = frozenset({"BSC202", "BSC210", "BSC301", "BSC302"})
"""Errors of workers, and of files that could be read when the sweep began: they say nothing about a design."""

MOST: Final = 1 << 62
"""Of anything that is counted, all layers together: sums of them are 64-bit integers."""
_TABLES: Final = ("conversions", "crossbars")
_AT_LEAST_1: Final = frozenset({"dac_bits", "cell_bits", "array_rows", "array_cols"})

_IMPORTED: dict[str, State] = {}
"""What was imported last, in this process: reading and calibrating a model takes longer than most pipelines."""

_ONE_AT_A_TIME = threading.Lock()
"""Bounds on memory are those of a process, so that threads of one must not compile side by side."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file that is read where the work is done.

    Attributes:
        path: absolute.
        sha256: as the compiler records it of such a file.
    """

    path: Path
    sha256: str


@dataclass(frozen=True, eq=False, kw_only=True)
class MappingJob:
    """One mapping to compile and count.

    Attributes:
        model: the model.
        recipe: the pipeline, and what is searched for.
        target: hardware to compile for.
        law: ADC law that searches and budgets go by.
        max_accuracy_drop: for `budget-adc`, a share of samples; or None.
        given: what is said of the model's inputs and layers.
        calibration: data for input ranges and resolutions, or None.
        data: labelled data to replay for its accuracy, or None.
        limit: samples of these to replay, or None for all.
        noise: devices whose chips replay them too.
        trials: chips of each.
        version: of bsc.
    """

    model: Input
    recipe: ResolvedOptions
    target: Target
    law: AdcLaw
    max_accuracy_drop: float | None
    given: ModelOptions
    calibration: Input | None
    data: Input | None
    limit: int | None
    noise: tuple[Device, ...] = ()
    trials: int = 0
    version: str = bsc.__version__

    @property
    def key(self) -> str:
        """SHA-256 of everything that the counts follow from: the same key means the same counts, in any sweep."""
        priced = self.recipe.needs_prices
        explicit_values: dict[str, Any] = {
            "bsc": self.version,
            "model": self.model.sha256,
            "recipe": asdict(self.recipe),
            "target": self.target.model_dump(mode="json") if priced else None,
            "law": asdict(self.law) if priced else None,
            "max-accuracy-drop": self.max_accuracy_drop,
            "given": asdict(self.given),
            "calibration": self.calibration and self.calibration.sha256,
            "data": self.data and [self.data.sha256, self.limit],
        }
        if self.noise:
            explicit_values["noise"] = [[device.model_dump(mode="json") for device in self.noise], self.trials]
        return hashlib.sha256(json.dumps(explicit_values, sort_keys=True).encode()).hexdigest()

    def done(self) -> "MappingResult":
        """As `count`."""
        return count(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class MappingResult(Answer):
    """A mapping that was counted, or the error that it ended with.

    Attributes:
        pipeline: the line that makes the plan again, searches written out.
        counts: by layer; empty after an error.
        outline: what it is placed by; None after an error.
        accuracy: as replayed, or None.
        noise: accuracy on each device.
    """

    pipeline: str = ""
    counts: tuple[LayerCounts, ...] = ()
    outline: Outline | None = None
    accuracy: float | None = None
    noise: tuple[NoiseAccuracy, ...] = ()


def count(work: MappingJob) -> MappingResult:
    """Compile a mapping and count what it does; errors are part of the answer."""
    with _ONE_AT_A_TIME:
        try:
            require_version(work.version)
            return _count(work)
        except BscError as error:
            return MappingResult(key=work.key, fatal=error.code in NOT_THE_DESIGNS, **told(error))


def counts_to_json(counts: Sequence[LayerCounts]) -> str:
    """The counts as text."""
    return json.dumps([{**asdict(each), **_tables(each)} for each in counts], sort_keys=True)


def counts_from_json(text: str) -> tuple[LayerCounts, ...]:
    """The counts that a text holds.

    Raises:
        ValueError: for a text that holds none.
    """
    try:
        layers = json.loads(text)
    except RecursionError:
        raise ValueError("counts that are nested too deeply") from None
    if not isinstance(layers, list):
        raise ValueError("counts are not a list of layers")
    found = tuple(map(_layer_counts, layers))
    if len({layer.name for layer in found}) < len(found):
        raise ValueError("counts of layers that are named alike")
    for name in _TABLES:
        if sum(sum(getattr(layer, name).tolist()) for layer in found) > MOST:
            raise ValueError(f"counts of too many {name}")
    return found


def _layer_counts(each: Any) -> LayerCounts:
    """The counts of one layer, every number of them whole and possible."""
    if not isinstance(each, dict) or each.keys() != {field.name for field in fields(LayerCounts)}:
        raise ValueError("counts of another kind")
    tables, counters = {name: each[name] for name in _TABLES}, each["counters"]
    if not isinstance(each["name"], str) or not isinstance(counters, dict) or counters.keys() != COUNTERS.keys():
        raise ValueError("counts of another kind")
    if any(not isinstance(table, list) or len(table) != RESOLUTIONS for table in tables.values()):
        raise ValueError("counts of other resolutions")
    alone = {name: value for name, value in each.items() if name not in (*_TABLES, "name", "counters")}
    counted = [(name, value) for name, values in tables.items() for value in values]
    for name, value in [*counted, *counters.items(), *alone.items()]:
        least = 1 if name in _AT_LEAST_1 else 0
        if type(value) is not int or not least <= value <= MOST:  # True is not a count
            raise ValueError(f"counts with {name} that is {reprlib.repr(value)} and no whole number of {least} or more")
    arrays: dict[str, Any] = {name: np.array(table, np.int64) for name, table in tables.items()}
    return LayerCounts(name=each["name"], counters=counters, **arrays, **alone)


def _tables(counts: LayerCounts) -> dict[str, list[int]]:
    return {name: getattr(counts, name).tolist() for name in _TABLES}


def _count(work: MappingJob) -> MappingResult:
    options = CompileOptions(
        pipeline=work.recipe.pipeline,
        **asdict(work.given),
        calibration=None if work.calibration is None else work.calibration.path,
        search=work.recipe.search,
        test_accuracy=work.max_accuracy_drop is not None,
        max_accuracy_drop=work.max_accuracy_drop,
        adc_law=work.law,
        adaptive_cut=work.recipe.adaptive_cut,
    )
    plan = compile_model(work.model.path, work.target, options, _import(work, options)).plan
    assert plan is not None
    document = plan.document
    replayed, noise = None, tuple[NoiseAccuracy, ...]()
    if work.data is not None:
        data = load_dataset(
            work.data.path,
            document.inputs,
            dynamic_batch=document.free_batch,
            limit=work.limit,
            given=work.given.input_values,
        )
        _require_same(work.data, data.sha256)
        replayed = _accuracy(plan.mapping, data)
        noise = tuple(noise_accuracy(plan.mapping, data, device, trials=work.trials) for device in work.noise)
    return MappingResult(
        key=work.key,
        pipeline=document.pipeline,
        counts=tuple(count_mapping(plan.mapping)),
        outline=outline_of(plan.mapping),
        accuracy=replayed,
        noise=noise,
    )


def _import(work: MappingJob, options: CompileOptions) -> State:
    """The model and its data, from the last time if they were the same."""
    files = [(each.path, each.sha256) for each in (work.model, work.calibration) if each is not None]
    key = repr((files, json.dumps(asdict(work.given), sort_keys=True), options.test_accuracy))
    if key not in _IMPORTED:
        _IMPORTED.clear()
        imported = import_calibrated(work.model.path, work.target, options)
        _require_same(work.model, imported.graph.info.sha256)
        if work.calibration is not None:
            assert imported.calibration is not None
            _require_same(work.calibration, imported.calibration.sha256)
        _IMPORTED[key] = imported
    return _IMPORTED[key]


def _accuracy(mapping: MappedModel, data: Dataset) -> float:
    """Share of the samples that the crossbars get right."""
    assert data.labels is not None
    return accuracy(scored_outputs(mapping, data, Replayer(mapping).replayed), data.labels)


def _require_same(file: Input, digest: str) -> None:
    """Refuse a file that is not what the sweep began with."""
    if digest != file.sha256:
        seen = f"SHA-256 {digest[:12]}..., not {file.sha256[:12]}..."
        raise worker_error(f"reads another '{file.path.name}'", seen, "let every worker see the same files")
