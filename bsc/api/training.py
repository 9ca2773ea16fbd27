"""Fine-tuning in Python: what `bsc finetune` runs too."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bsc.api.data import Inputs, StrPath, as_arrays
from bsc.api.plan import model_words
from bsc.api.shown import Shown
from bsc.api.table import Table
from bsc.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.hardware.device import Device
    from bsc.ir.graph import Graph
    from bsc.train.options import FinetuneOptions
    from bsc.train.trainer import OnEpoch, OnStep, Trainer
    from bsc.train.workers import Workers


class Finetuned(Shown):
    """A fine-tuned model.

    Args:
        model: the ONNX file that was written.
        trainer: what trained it.

    Attributes:
        model: the ONNX file that was written; `bsc.compile` takes it.
        float_accuracy: of the given model on the test data, 0 to 1; None without labels.
        precision: of training steps, "fp32" or "bf16".
        records: of every epoch, as `bsc finetune --json` prints them.
    """

    def __init__(self, model: Path, trainer: "Trainer") -> None:
        self.model = model
        self.float_accuracy = trainer.float_accuracy
        self.precision = trainer.precision
        self.records: tuple[Mapping[str, Any], ...] = tuple(trainer.history)

    @property
    def accuracy(self) -> float | None:
        """Of the quantised model after the last epoch on the test data, 0 to 1; None without labels."""
        found: float | None = self.records[-1]["accuracy"] if self.records else None
        return found

    @cached_property
    def history(self) -> Table:
        """A row for each epoch; figures of slices have a column each, slice 0 the least significant."""
        rows = [dict(_flat(record)) for record in self.records]
        return Table(
            {name: [row.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row)}
        )

    def __rich__(self) -> "RenderableType":
        from bsc.report.text import plain_text

        return plain_text(EPOCH_HEAD, *map(epoch_line, self.records))

    def _line(self) -> str:
        shares = (("float", self.float_accuracy), ("now", self.accuracy))
        known = [f"{name} {share:.2%}" for name, share in shares if share is not None]
        accuracy = f", accuracy {', '.join(known)}" if known else ""
        return f"{self.model}, {len(self.records)} epochs{accuracy}"


def finetune(
    model: StrPath,
    data: Inputs,
    labels: ArrayLike | None = None,
    *,
    test: Inputs | None = None,
    test_labels: ArrayLike | None = None,
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = False,
    input_shape: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, float | Sequence[float]] | None = None,
    keep_digital: Sequence[str] = (),
    on_epoch: "OnEpoch" = lambda _: None,
    **settings: Any,
) -> Finetuned:
    """Train a model for sparse bit slices and write a new one with the same nodes and names. Needs PyTorch.

    Args:
        model: the ONNX file; it is only read.
        data: training data: a .npz file, a folder of MNIST or CIFAR-10, "MODULE:FUNCTION", or arrays by input.
        labels: class of each sample beside arrays; without labels training follows the float model.
        test: data to judge by, likewise; None for a folder's test split, else the training data.
        test_labels: class of each sample of `test`.
        output: the ONNX file to write; None for MODEL.finetuned.onnx.
        force: replace an output that exists.
        resume: go on after the last whole epoch of a run that was stopped.
        input_shape: as for `compile`.
        constants: as for `compile`.
        keep_digital: as for `compile`.
        on_epoch: called with the record of every epoch.
        settings: fields of `bsc.train.options.FinetuneOptions`, such as `objective="bl1"`, `epochs=5`, `project=True`.

    Raises:
        UsageError: BSC208 without PyTorch; BSC201 for settings, BSC203 for an output that exists.
        ModelError: BSC308 for data, BSC310 for an operator that cannot be trained.
        GateError: BSC503 when training diverged.
    """
    from bsc.train.extra import require_torch

    require_torch()
    options = settings_of(settings)
    place = output_of(Path(model), output, force=force)
    words = model_words(input_shape, constants, None, keep_digital)
    found, checkpoint = fine_tune(
        Path(model),
        {name: words[name] for name in ("input_shape", "constants", "keep_digital")},
        (_source(data, labels), None if test is None else _source(test, test_labels)),
        options,
        output=place,
        resume=resume,
        force=force,
        on_epoch=on_epoch,
    )
    checkpoint.unlink(missing_ok=True)
    return found


Source = str | Mapping[str, NDArray[Any]]


def fine_tune(
    model: Path,
    said: Mapping[str, Any],
    data: tuple[Source, Source | None],
    options: "FinetuneOptions",
    *,
    output: Path,
    resume: bool,
    force: bool,
    workers: "Workers | None" = None,
    curve: Path | None = None,
    begun: "Callable[[Trainer, str, int], None]" = lambda *_: None,
    on_step: "OnStep" = lambda *_: None,
    on_epoch: "OnEpoch" = lambda _: None,
) -> tuple[Finetuned, Path]:
    """Import, train and write; of several processes the first writes.

    Args:
        model: the ONNX file.
        said: sizes and constants of inputs, and layers to keep digital, as `Request` has them.
        data: to train on, and to judge by.
        options: settings.
        output: the ONNX file to write.
        resume: go on from the checkpoint beside it.
        force: replace the output.
        workers: this process among those of the run.
        curve: SVG file of the training curve, or None.
        begun: told of the trainer, the name of its data and the number of samples.
        on_step: called with steps done and steps in all.
        on_epoch: called with the record of every epoch.

    Returns:
        The result, and its checkpoint: to be removed last, since with it whatever could not be written is made again.
    """
    from bsc.output_files import write_file
    from bsc.train.curves import training_curve
    from bsc.train.data import has_test_split, load_samples
    from bsc.train.export import with_parameters, write_model
    from bsc.train.trainer import Trainer
    from bsc.train.workers import Workers

    graph, workers = _graph(model, said), workers or Workers()
    specs = [graph.tensors[name] for name in graph.inputs]
    train = load_samples(data[0], specs, "train")
    judge = data[1] or (data[0] if has_test_split(data[0]) else None)
    test = None if judge is None else load_samples(judge, specs, "test")
    trainer = Trainer(graph, train, test, options, workers, noise=_noise(options))
    with_parameters(model, graph, trainer.parameters())  # what has no place in the file is told before the work
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    begun(trainer, train.source, len(train))
    parameters = trainer.run(checkpoint=checkpoint, resume=resume, on_step=on_step, on_epoch=on_epoch)
    if workers.rank == 0:
        write_model(with_parameters(model, graph, parameters), output, force=force)
        if curve is not None:
            write_file(curve, training_curve(trainer.history).encode())
    return Finetuned(output, trainer), checkpoint


def settings_of(settings: Mapping[str, Any]) -> "FinetuneOptions":
    """Settings of a run.

    Raises:
        UsageError: BSC201 for the first that is wrong.
    """
    from pydantic import ValidationError

    from bsc.train.options import FinetuneOptions

    try:
        return FinetuneOptions.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise UsageError("BSC201", f"--{name} cannot be used", seen=repr(first["input"]), fix=first["msg"]) from None


def output_of(model: Path, output: StrPath | None, *, force: bool) -> Path:
    """The file to write.

    Raises:
        UsageError: BSC203 for one that exists and may not be replaced, or that is the model.
    """
    place = Path(output or model.with_name(f"{model.stem}.finetuned.onnx").name)
    if place.exists() and model.exists() and place.samefile(model):
        raise UsageError(
            "BSC203", "the output is the model itself", seen=str(place), fix="choose another place with --output"
        )
    if place.exists() and not force:
        raise UsageError(
            "BSC203", f"'{place}' exists already", seen="a file of that name", fix="add --force, or choose --output"
        )
    return place


EPOCH_HEAD = "epoch    loss  objective  accuracy   % cells above 0, top slice first   ADC bits proved, max and mean"


def epoch_line(record: Mapping[str, Any]) -> str:
    """One record of an epoch as a line under `EPOCH_HEAD`."""
    accuracy = "n/a" if record["accuracy"] is None else f"{record['accuracy']:.2%}"
    noisy = record.get("noise_accuracy")
    with_noise = "" if noisy is None else f"   {noisy:.2%} with noise"
    density = " ".join(f"{100 * value:5.2f}" for value in record["density"])
    highest = " ".join(map(str, record["bits_max"]))
    means = " ".join(f"{value:.2f}" for value in record["bits_mean"])
    return (
        f"{record['epoch']:5} {record['loss']:7.4f} {record['objective']:10.4f} {accuracy:>9}   {density:31}   "
        f"{highest}   {means}{with_noise}"
    )


def _noise(options: "FinetuneOptions") -> "Device | None":
    """The device that training runs on, or None."""
    import hw_models

    if options.noise is None:
        if options.read_at is None:
            return None
        raise UsageError(
            "BSC201",
            "--read-at means nothing without --noise",
            seen="--read-at alone",
            fix="add --noise, or leave --read-at out",
        )
    device = hw_models.load_device(options.noise)
    return device if options.read_at is None else device.read_at(options.read_at)


def _graph(model: Path, said: Mapping[str, Any]) -> "Graph":
    """The model as written, what is said of its inputs and layers applied."""
    from bsc.frontend.onnx_import import import_model

    return import_model(
        model,
        said["input_shape"],
        constants=said["constants"],
        keep_digital=said["keep_digital"],
        as_written=True,
    )


def _source(data: Inputs, labels: ArrayLike | None) -> Source:
    if isinstance(data, str | os.PathLike):
        if labels is not None:
            raise UsageError(
                "BSC201",
                "labels need arrays of inputs beside them",
                seen=f"a file, '{os.fspath(data)}'",
                fix="give arrays, or add the labels to a .npz file as an array 'labels'",
            )
        return os.fspath(data)
    return as_arrays(data) | ({} if labels is None else {"labels": np.asarray(labels)})


def _flat(record: Mapping[str, Any]) -> "list[tuple[str, Any]]":
    """Values of a record, those of slices, which come top slice first, with the number of the slice."""
    found: list[tuple[str, Any]] = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            continue  # of single layers
        if isinstance(value, list | tuple):
            found += [(f"{name}_slice_{len(value) - 1 - at}", each) for at, each in enumerate(value)]
        else:
            found.append((name, value))
    return found
