"""A sweep: every design of a space is split into its mapping and its prices, and lands in the results file.

Mappings are counted by a scheduler, each once; designs that share one are priced here, from its counts, in less than a
millisecond each. Where the space asks for chips, the scheduler places them too, from the outline of their mapping.
Designs that cannot exist are results like any other, with the error that they end with.
"""

import hashlib
import itertools
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bsc
import hw_models
from bsc.compiler.accuracy_budget import require_labels
from bsc.compiler.options import ModelOptions, resolve
from bsc.compiler.refusals import not_offered
from bsc.compiler.steps import Steps
from bsc.errors import BscError, ModelError, UsageError
from bsc.exploration.designs import Design, Exploration, evaluate, oriented
from bsc.exploration.extra import require
from bsc.exploration.mapping import Input, MappingJob, MappingResult
from bsc.exploration.pareto import pareto_front
from bsc.exploration.placing import PlacingJob, PlacingResult
from bsc.exploration.scheduler import RESUME, Agenda, Answer, Scheduler
from bsc.exploration.space import (
    Grid,
    choices,
    designs,
    is_budgeted,
    max_accuracy_drop,
    needing_data,
    placing,
    read_space,
)
from bsc.exploration.store import Store
from bsc.frontend.onnx_import import import_model
from bsc.frontend.set_inputs import format_set
from bsc.frontend.shapes import format_input_shape
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.device import Device
from bsc.hardware.target import Target
from bsc.ir.graph import Graph
from bsc.ir.input_values import format_input
from bsc.ir.pipeline import parse_pipeline
from bsc.replay.dataset import load_dataset
from passes import PASSES
from passes.place import Place

DEFAULT_HARDWARE = "isaac"
DEFAULT_TRIALS = 10
"""Chips of a device where the space does not say."""
AT_ONCE = 500
"""Designs that are recorded together where none has to be compiled."""
MOST_LOST = 2
"""Workers that may be lost over a design before it is given up: one may be lost to something else."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a sweep is about.

    Attributes:
        model: the model.
        space: the design space, a file or a table like that of a file.
        data: labelled data for accuracies, or None.
        limit: samples of these to replay, or None for all.
        calibration: data for input ranges and resolutions, or None.
        given: what is said of the models' inputs and layers.
    """

    model: Path
    space: Path | Mapping[str, Any]
    data: Path | None = None
    limit: int | None = None
    calibration: Path | None = None
    given: ModelOptions = field(default_factory=ModelOptions)

    @property
    def folder(self) -> Path:
        """Where paths of the space are taken from: the folder of its file, or this one."""
        return self.space.parent if isinstance(self.space, Path) else Path()

    @property
    def space_name(self) -> str:
        """What reports call the space."""
        return self.space.name if isinstance(self.space, Path) else "a table"


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """A design that may exist: a mapping, and what it is placed and priced by; `place` is None off chips."""

    number: int
    work: MappingJob
    target: Target
    law: AdcLaw
    own_law: AdcLaw
    place: Place | None

    @property
    def placing_key(self) -> str:
        """The key of the work of placing it."""
        return f"{self.work.key}/{self.number}"


class Sweep:
    """A sweep whose files have all been read once.

    Attributes:
        space: what is tried.
        grid: its designs by number.
        objectives: names in `FIGURES`.
    """

    def __init__(self, inputs: Inputs) -> None:
        """Read and check everything.

        Raises:
            BscError: for a model, data file, hardware description, ADC law or space that cannot be used.
        """
        self.space = read_space(inputs.space)
        self._inputs = inputs
        self._folder = inputs.folder
        self.grid = Grid(self.space, inputs.model.name)
        self.objectives = self._objectives()
        self._known = set[int]()
        self._check()
        self._noise = self._devices()
        self._targets = {name: hw_models.load(self._path(name)) for name in self._said("hw") or [DEFAULT_HARDWARE]}
        self._laws = {name: hw_models.load_law(self._path(name)) for name in self._said("adc-law")}
        for target in self._targets.values():
            self._laws.setdefault(target.adc.law, hw_models.load_law(target.adc.law))
        paths = [inputs.model, *(self._folder / name for name in self.space.axes.variants)]
        self._paths = dict(zip(map(str, self.grid.axes["model"]), paths, strict=True))
        self._models: dict[str, Input] = {}
        self._data: Input | None = None
        self._calibration: Input | None = None
        for name, path in self._paths.items():
            graph = import_model(
                path,
                inputs.given.input_shapes,
                constants=inputs.given.constants,
                values=inputs.given.input_values,
                keep_digital=inputs.given.keep_digital,
            )
            self._models[name] = Input(path=path.absolute(), sha256=graph.info.sha256)
            self._data = self._fitting(graph, inputs.data, "--data", inputs.limit, labels=True)
            budgeted = any(map(is_budgeted, self._said("adc")))
            self._calibration = self._fitting(graph, inputs.calibration, "--calib", None, labels=budgeted)

    @property
    def total(self) -> int:
        """How many designs are tried; a search that finds no more that may exist tries fewer."""
        return len(self.grid) if self.space.points is None else min(self.space.points, len(self.grid))

    @property
    def identity(self) -> dict[str, str]:
        """What the results follow from, part by part."""
        searched = self.space.method == "search"
        space = self.space.model_dump(mode="json", by_alias=True, exclude_none=True)
        judging = {} if searched else {"objectives": None, "generation": None}
        parts = {"bsc": bsc.__version__}
        for key, value in ({**space, **judging, "axes": None} | space["axes"]).items():
            if value is not None:
                parts[f"key '{key}' of the space"] = json.dumps(value)
        for name, model in self._models.items():
            parts[f"model '{name}'"] = f"SHA-256 {model.sha256}"
        for name, target in self._targets.items():
            parts[f"hardware '{name}'"] = f"SHA-256 {_digest(target.model_dump(mode='json'))}"
        for name, law in self._laws.items():
            parts[f"ADC law '{name}'"] = f"SHA-256 {_digest([law.energy, law.area, law.name])}"
        for device in self._noise:
            parts[f"device '{device.name}'"] = f"SHA-256 {_digest(device.model_dump(mode='json'))}"
        for option, file in (("--data", self._data), ("--calib", self._calibration)):
            if file is not None:
                parts[option] = f"SHA-256 {file.sha256}"
        if self._data is not None:
            parts["--limit"] = str(self._inputs.limit)
        for option, texts in _given_texts(self._inputs.given).items():
            parts[option] = " ".join(sorted(texts))
        if not self._inputs.given.import_check:
            parts["--import-check"] = "no"
        if self.space.on_chips:
            parts["figures of chips"] = "yes"  # objectives alone may have asked for them
        return parts

    def run(self, store: Store, scheduler: Scheduler, advance: Callable[[int], None] = lambda _: None) -> None:
        """Try all designs that are not in the results file yet.

        Args:
            store: of this sweep.
            scheduler: counts mappings.
            advance: called with the number of designs whenever some are done.

        Raises:
            UsageError: BSC204 if results cannot be written; BSC210 if a worker is lost, unless that happened over the
                same designs before: then these are given up; what files that vanish raise.
            ModelError: BSC314 if the results file was altered, or becomes that of another sweep.
        """
        for numbers in self._waves(store):
            done = self._done(store).keys()
            jobs, ready = self._jobs(number for number in numbers if number not in done)
            known: list[str] = []
            unknown: list[MappingJob] = []
            for key, alike in jobs.items():
                if (counted := store.counted(key)) is not None:
                    ready += self._designs(alike, counted)
                    over = [job for job in alike if job.place is not None and store.lost(job.placing_key) >= MOST_LOST]
                    ready += self._given_up(over)
                    jobs[key] = [job for job in alike if job not in over]
                    known.append(key)
                elif store.lost(key) >= MOST_LOST:
                    ready += self._given_up(alike)
                else:
                    unknown.append(alike[0].work)
            for at in range(0, len(ready), AT_ONCE):
                store.add(ready[at : at + AT_ONCE])
                advance(len(ready[at : at + AT_ONCE]))
            placings = (each for key in known for each in self._placings(jobs[key], store.counted(key)))
            agenda = Agenda(itertools.chain(placings, unknown))
            self._take_answers(store, scheduler, agenda, jobs, advance)

    def _jobs(self, numbers: Iterable[int]) -> tuple[dict[str, list[Job]], list[Design]]:
        """Designs by the keys of their mappings, and those that cannot exist."""
        jobs: dict[str, list[Job]] = {}
        refused: list[Design] = []
        for number in numbers:
            try:
                job = self._job(number)
                jobs.setdefault(job.work.key, []).append(job)
            except BscError as error:
                refused.append(self._refused(number, error.code, error.problem))
        return jobs, refused

    def _take_answers(
        self,
        store: Store,
        scheduler: Scheduler,
        agenda: Agenda,
        jobs: Mapping[str, Sequence[Job]],
        advance: Callable[[int], None],
    ) -> None:
        """Record what comes of the work on an agenda, and put the designs of every new mapping on it to be placed."""
        placed = {job.placing_key: job for alike in jobs.values() for job in alike}
        for answer in scheduler.run(agenda):
            shared = jobs[answer.key] if answer.key in jobs else [placed[answer.key]]
            if answer.lost:
                if store.lose(answer.key) < MOST_LOST:
                    raise self._lost(shared, answer.seen)
                found = self._given_up(shared)
                store.add(found)
            elif isinstance(answer, MappingResult):
                _require_usable(answer)
                found = list(self._designs(shared, answer))
                store.add(found, answer)
                agenda.add(self._placings(shared, answer))
            else:
                assert isinstance(answer, PlacingResult)
                _require_usable(answer)
                found = [self._placed(shared[0], answer)]
                store.add(found)
            advance(len(found))

    def explored(self, store: Store) -> Exploration:
        """What came out; of a sweep that was stopped, what came out so far."""
        done = self._done(store)
        numbers = self._asked(store) if self.space.method == "search" else designs(self.space, self.grid)
        tried = [replace(done[number], command=self._command(done[number])) for number in numbers if number in done]
        front: set[int] = set()
        for law in self.grid.axes["adc-law"]:
            # Laws are assumptions and no choices: a design is compared with those that are priced by the same.
            alike = [each for each in tried if law is None or each.choices["adc-law"] == law]
            best = pareto_front(oriented(alike, self.objectives))
            front.update(design.number for design, stays in zip(alike, best, strict=True) if stays)
        return Exploration(
            model=self._inputs.model.name,
            space=self._inputs.space_name,
            method=self.space.method,
            grid=len(self.grid),
            axes=self.grid.explicit_values,
            objectives=self.objectives,
            designs=tried,
            front=frozenset(front),
            data=None if self._inputs.data is None else self._inputs.data.name,
            noise=tuple(device.name for device in self._noise),
            trials=self._trials,
            on_chips=self.space.on_chips,
        )

    def _waves(self, store: Store) -> Iterator[Sequence[int]]:
        """Designs to try, in order; of a search, a generation at a time, since each rests on those before."""
        if self.space.method != "search":
            yield designs(self.space, self.grid)
            return
        from bsc.exploration.search import ask

        asked = self._asked(store)
        yield asked
        while len(asked) < self.total:
            done = self._done(store)
            known = oriented([done[number] for number in asked], self.objectives)
            wanted = min(self.space.generation, self.total - len(asked))
            seed = self.space.seed
            chosen = ask(self.grid, asked, known, seed=seed, wanted=wanted, may_exist=self._may_exist)
            if not chosen:
                return
            store.ask(chosen)
            asked = self._asked(store)
            yield chosen

    def _done(self, store: Store) -> dict[int, Design]:
        """Every design that is done, by number; one that is not of this space was put there by something else."""
        done = store.designs()
        for number, design in done.items():
            if number in self._known:
                continue
            if not 0 <= number < len(self.grid) or design.choices != self.grid.texts(number):
                raise store.malformed(f"design {number} has choices that are not those of the space")
            self._known.add(number)
        return done

    def _asked(self, store: Store) -> list[int]:
        """What a search has chosen so far, in order."""
        asked = store.asked()
        for number in asked:
            if not 0 <= number < len(self.grid):
                raise store.malformed(f"design {number} was asked for, of {len(self.grid)}")
        return asked

    def _job(self, number: int) -> Job:
        values = self.grid.values(number)
        target = self._targets[str(values["hw"] or DEFAULT_HARDWARE)]
        law = self._laws[str(values["adc-law"] or target.adc.law)]
        found = resolve(choices(values), target, law)
        for error in not_offered(Steps.of(parse_pipeline(found.pipeline, PASSES)), target.adc):
            raise error
        work = MappingJob(
            model=self._models[str(values["model"])],
            recipe=found,
            target=target,
            law=law,
            max_accuracy_drop=max_accuracy_drop(str(values["adc"])),
            given=self._inputs.given,
            calibration=self._calibration,
            data=self._data,
            limit=self._inputs.limit,
            noise=self._noise,
            trials=self._trials,
        )
        place = placing(values).step(target) if self.space.on_chips else None
        own_law = self._laws[target.adc.law]
        return Job(number=number, work=work, target=target, law=law, own_law=own_law, place=place)

    def _may_exist(self, number: int) -> bool:
        """Whether nothing speaks against a design before it is compiled."""
        try:
            self._job(number)
        except BscError:
            return False
        return True

    def _designs(self, jobs: Iterable[Job], counted: MappingResult) -> Iterator[Design]:
        """The designs of one mapping that are not to be placed, each at its own prices."""
        for job in jobs:
            if counted.code is not None:
                yield self._refused(job.number, counted.code, counted.problem)
                continue
            if job.place is not None:
                continue
            try:
                figures = evaluate(counted, job.target, job.law, job.own_law)
            except BscError as error:
                yield self._refused(job.number, error.code, error.problem)
                continue
            yield self._design(job.number, counted.pipeline, figures)

    def _placings(self, jobs: Iterable[Job], counted: MappingResult | None) -> Iterator[PlacingJob]:
        """The designs of one mapping that are to be placed."""
        for job in jobs if counted is not None and counted.code is None else ():
            if job.place is not None:
                assert counted is not None
                yield PlacingJob(
                    key=job.placing_key,
                    counted=counted,
                    target=job.target,
                    law=job.law,
                    own_law=job.own_law,
                    place=job.place,
                )

    def _placed(self, job: Job, found: PlacingResult) -> Design:
        """A design that was placed, or does not fit."""
        if found.code is not None:
            return self._refused(job.number, found.code, found.problem)
        return self._design(job.number, found.pipeline, found.figures)

    def _design(self, number: int, pipeline: str, figures: Mapping[str, float | None]) -> Design:
        return Design(number=number, choices=self.grid.texts(number), pipeline=pipeline, figures=figures)

    def _command(self, design: Design) -> str | None:
        """The line that compiles a design again, from where this sweep was begun."""
        if design.pipeline is None:
            return None
        values = self.grid.values(design.number)
        path, inputs = self._paths[str(values["model"])], self._inputs
        name = str(path)
        words = ["bsc", "compile", f"./{name}" if name.startswith("-") else name, "--passes", design.pipeline]
        for axis in ("hw", "adc-law"):
            if values[axis] is not None:
                words += [f"--{axis}", self._path(str(values[axis]))]
        if inputs.calibration is not None:
            words += ["--calib", str(inputs.calibration)]
        if max_accuracy_drop(str(values["adc"])) is not None:
            words += ["--max-accuracy-drop", str(values["adc"]).partition("=")[2]]
        for option, texts in _given_texts(inputs.given).items():
            words += [word for text in texts for word in (option, text)]
        if not inputs.given.import_check:
            words.append("--no-import-check")
        return shlex.join([*words, "--output", f"./{path.stem}-{design.number}.bsc"])

    def _given_up(self, jobs: Iterable[Job]) -> list[Design]:
        """The designs of a mapping over which too many workers were lost."""
        problem = f"{MOST_LOST} workers were lost over it, as when memory runs out"
        return [self._refused(job.number, "BSC211", problem) for job in jobs]

    def _lost(self, jobs: Sequence[Job], seen: str) -> UsageError:
        """The error of a worker that was lost over a mapping, which names its designs."""
        first = self.grid.texts(jobs[0].number)
        varying = [f"{axis} {first[axis]}" for axis, values in self.grid.explicit_values.items() if len(values) > 1]
        name = f"design {jobs[0].number}" + (f" ({', '.join(varying)})" if varying else "")
        others = f" and {len(jobs) - 1} of the same plan" if len(jobs) > 1 else ""
        return UsageError(
            "BSC210",
            f"a worker was lost over {name}{others}",
            seen=seen,
            fix=f"{RESUME}, and a design over which {MOST_LOST} workers are lost is left out",
        )

    def _refused(self, number: int, code: str, problem: str | None) -> Design:
        return Design(number=number, choices=self.grid.texts(number), figures={}, code=code, problem=problem)

    def _fitting(
        self, graph: Graph, path: Path | None, option: str, limit: int | None, *, labels: bool
    ) -> Input | None:
        """A data file that fits a model."""
        if path is None:
            return None
        specs = [graph.tensors[name] for name in graph.inputs]
        free, given = graph.info.dynamic_batch, self._inputs.given.input_values
        data = load_dataset(path, specs, dynamic_batch=free, limit=limit, given=given)
        if labels and data.labels is None:
            require_labels(data, option)
        if labels and self._noise and option == "--data" and data.samples < 2:
            raise UsageError(
                "BSC201",
                "accuracy with noise needs two samples or more",
                seen=f"{data.samples} of them",
                fix="give more samples with --data, or a higher --limit",
            )
        return Input(path=path.absolute(), sha256=data.sha256)

    @property
    def _trials(self) -> int:
        """Chips of each device."""
        return (self.space.trials or DEFAULT_TRIALS) if self._noise else 0

    def _devices(self) -> tuple[Device, ...]:
        """The devices that accuracies are measured on, at the time of the read.

        Raises:
            UsageError: BSC201 for devices without data; BSC206 for one that cannot be used; BSC209 for two of one name.
        """
        names = self.space.noise or ()
        if names and self._inputs.data is None:
            raise UsageError(
                "BSC201",
                "the space has noise and there are no data to measure accuracy on",
                seen="no --data",
                fix="add labelled data with --data FILE.npz, or leave noise out of the space",
            )
        devices = [hw_models.load_device(self._path(name)) for name in names]
        if len({device.name for device in devices}) < len(devices):
            raise UsageError(
                "BSC209",
                "two devices have the same name",
                seen=", ".join(device.name for device in devices),
                fix="give one of them another name in its file",
            )
        seconds = self.space.read_at
        return tuple(device if seconds is None else device.read_at(seconds) for device in devices)

    def _objectives(self) -> tuple[str, ...]:
        if self.space.objectives is None:
            return ("energy", "area") if self._inputs.data is None else ("energy", "accuracy")
        if "accuracy" in self.space.objectives and self._inputs.data is None:
            raise UsageError(
                "BSC201",
                "accuracy is an objective and there are no data to measure it on",
                seen="no --data",
                fix="add labelled data with --data FILE.npz, or leave accuracy out of the objectives",
            )
        return self.space.objectives

    def _check(self) -> None:
        """What is known to be wrong before any file but the space is read."""
        if self.space.method == "search":
            require("optuna", "a search")
        if self.space.method == "grid":
            designs(self.space, self.grid)
        elif len(self.grid) > 1 << 53:
            raise UsageError(
                "BSC209", "the grid is too large to be numbered", seen=str(len(self.grid)), fix="leave values out"
            )
        laws = self._said("adc-law")
        if self.space.method == "search" and len(laws) > 1:
            raise UsageError(
                "BSC209",
                "a search would choose the most lenient of several ADC laws",
                seen=f"adc-law = {laws}",
                fix="search under one law, or try all designs with another method",
            )
        names = self.grid.axes["model"]
        if len(set(names)) < len(names):
            raise UsageError(
                "BSC209",
                f"'{names[0]}' is the model, and one of its variants too",
                seen=str(list(self.space.axes.variants)),
                fix="leave it out of the variants: the model is tried beside them",
            )
        value = needing_data(self.space)
        if value is not None and self._inputs.calibration is None:
            raise UsageError(
                "BSC201",
                f"'{value}' needs calibration data",
                seen="no --calib",
                fix="give typical inputs with --calib FILE.npz, or leave that value out of the space",
            )

    def _said(self, axis: str) -> list[str]:
        return self.grid.explicit_values.get(axis, [])

    def _path(self, name: str) -> str:
        """The path of a file that the space names, or the name of something that bsc has."""
        return str(self._folder / name) if name.endswith(".toml") else name


def _given_texts(given: ModelOptions) -> dict[str, list[str]]:
    """What is said of a model, by the options of `bsc compile` that say it."""
    texts = {
        "--input-shape": [format_input_shape(*each) for each in given.input_shapes.items()],
        "--set": [format_set(*each) for each in given.constants.items()],
        "--input": [format_input(*each) for each in given.input_values.items()],
        "--keep-digital": list(given.keep_digital),
    }
    return {option: found for option, found in texts.items() if found}


def _require_usable(answer: Answer) -> None:
    """Stop at an error that is none of the design's."""
    if answer.fatal:
        assert answer.code is not None
        assert answer.problem is not None
        kind = UsageError if answer.code.startswith("BSC2") else ModelError
        raise kind(answer.code, answer.problem, seen=answer.seen, fix=answer.fix)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
