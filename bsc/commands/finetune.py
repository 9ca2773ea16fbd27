"""`bsc finetune`."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bsc.commands.input_options import keep_option, set_option, shape_option
from bsc.commands.output import new_console, print_text, require_together, say
from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.hardware.device import Device
    from bsc.ir.graph import Graph
    from bsc.train.options import FinetuneOptions
    from bsc.train.workers import Workers


@click.command(short_help="Train MODEL.onnx for sparse bit slices.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="DATA", help="FILE.npz, MNIST or CIFAR-10 folder, or MODULE:FUNCTION.")
@click.option(
    "--test", metavar="DATA", help="Data to judge by.  [default: a folder's test split, else the training data]"
)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE.toml", help="Settings; flags overrule them.")
@click.option("--objective", type=click.Choice(["none", "l1", "bl1", "bl1-weighted", "adc"]), help="[default: adc]")
@click.option("--alpha", type=float, help="Weight of the objective.")
@click.option("--epochs", type=int, help="[default: 10]")
@click.option("--batch", type=int, help="Samples a step.  [default: 128]")
@click.option("--lr", type=float, help="Learning rate.  [default: 0.001]")
@click.option("--schedule", type=click.Choice(["constant", "cosine", "halve"]), help="[default: cosine]")
@click.option("--optimizer", type=click.Choice(["sgd", "adam"]), help="[default: adam]")
@click.option("--prune-below", type=float, metavar="LIMIT", help="Prune weights smaller than this.")
@click.option(
    "--sparsity",
    multiple=True,
    metavar="[LAYER=]SHARE",
    help="Prune this share of the weights of all layers or of one.",
)
@click.option("--prune-epochs", type=int, metavar="N", help="Reach --sparsity over the first N epochs.")
@click.option("--slice-weights", metavar="W,...", help="For bl1-weighted, top slice first.")
@click.option(
    "--budget",
    multiple=True,
    metavar="[LAYER=]BITS,...",
    help="ADC bits, top slice first, of all layers or of one.  [default: 1,3,3,3]",
)
@click.option("--project", is_flag=True, default=None, help="With adc: keep to the budget, provably.")
@click.option("--headroom", type=int, metavar="N", help="With --project: steps coarser by 2**N.  [default: 0]")
@click.option(
    "--noise", metavar="NAME|FILE.toml", help="Train on this device: weights and reads are disturbed as on it."
)
@click.option("--read-at", type=float, metavar="SECONDS", help="With --noise: time of the read after programming.")
@click.option("--augment", type=click.Choice(["none", "crop", "flip-crop"]), help="[default: none]")
@click.option("--rows", type=int, help="Wordlines of a crossbar.  [default: 128]")
@click.option("--seed", type=int, help="[default: 0]")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "auto"]),
    help="Of training steps; auto is bf16 where the device has instructions for it.  [default: fp32]",
)
@click.option("--device", help="cpu, cuda or cuda:N.  [default: cpu]")
@click.option("--threads", type=int, help="Of the CPU.  [default: as many as there are cores]")
@shape_option
@set_option
@keep_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: MODEL.finetuned.onnx]")
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@click.option("--resume", is_flag=True, help="Go on after the last whole epoch of a run that was stopped.")
@click.option("--curve", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw the training curve.")
@click.option("--json", "as_json", is_flag=True, help="Print the epochs as JSON in place of text.")
def finetune(model: Path, data: str, test: str | None, config: Path | None, **flags: Any) -> None:
    """Train MODEL.onnx for sparse bit slices and write a new model with the same nodes and names.

    Under torchrun the processes share every batch: torchrun --nproc-per-node 2 -m bsc finetune ...
    """
    from bsc.train.extra import require_torch

    require_torch()
    from bsc.train.workers import join, leave

    output = flags.pop("output") or model.with_name(f"{model.stem}.finetuned.onnx").name
    paths = {name: flags.pop(name) for name in ("curve", "resume", "as_json", "force")}
    said = {name: flags.pop(name) for name in ("input_shape", "constants", "keep_digital")}
    options = _options(config, flags)
    _check_output(Path(output), model, force=paths["force"])
    workers, device = join(options.device)
    try:
        graph = _graph(model, said)
        _run(
            model,
            graph,
            (data, test),
            options.model_copy(update={"device": device}),
            workers,
            output=Path(output),
            **paths,
        )
    finally:
        leave(workers)


def _graph(model: Path, said: Mapping[str, Any]) -> "Graph":
    """The model as written, what is said of its inputs and layers applied."""
    from bsc.frontend.onnx_import import import_model
    from bsc.frontend.set_inputs import parse_set
    from bsc.frontend.shapes import parse_input_shape

    return import_model(
        model,
        dict(map(parse_input_shape, said["input_shape"])),
        constants=dict(map(parse_set, said["constants"])),
        keep_digital=said["keep_digital"],
        as_written=True,
    )


def _run(
    model: Path,
    graph: "Graph",
    data: tuple[str, str | None],
    options: "FinetuneOptions",
    workers: "Workers",
    *,
    output: Path,
    curve: Path | None,
    resume: bool,
    as_json: bool,
    force: bool,
) -> None:
    from rich.progress import Progress

    from bsc.output_files import write_file
    from bsc.train.curves import training_curve
    from bsc.train.data import has_test_split, load_samples
    from bsc.train.export import with_parameters, write_model
    from bsc.train.precision import multiplies_bfloat16
    from bsc.train.trainer import Trainer

    specs = [graph.tensors[name] for name in graph.inputs]
    train = load_samples(data[0], specs, "train")
    judge = data[1] or (data[0] if has_test_split(data[0]) else None)
    test = None if judge is None else load_samples(judge, specs, "test")
    trainer = Trainer(graph, train, test, options, workers, noise=_noise(options))
    with_parameters(model, graph, trainer.parameters())  # what has no place in the file is told before the work
    first, quiet = workers.rank == 0, as_json or workers.rank > 0
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    if not quiet:
        start = "" if trainer.float_accuracy is None else f", accuracy {trainer.float_accuracy:.2%}"
        say(f"{len(train)} samples of {train.source}{start} in floating point")
        if trainer.precision == "bf16" and not multiplies_bfloat16(options.device):
            say("this device has no instructions for bfloat16, which is slow on it; --precision auto takes fp32 then")
        say(EPOCH_HEAD)
    console = new_console(stderr=True)
    with Progress(console=console, transient=True, disable=not first or not console.is_terminal) as progress:
        task = progress.add_task("fine-tuning", total=None)

        def on_epoch(record: Mapping[str, Any]) -> None:
            if not quiet:
                say(epoch_line(record))

        parameters = trainer.run(
            checkpoint=checkpoint,
            resume=resume,
            on_step=lambda done, total: progress.update(task, completed=done, total=total),
            on_epoch=on_epoch,
        )
    if not first:
        return
    write_model(with_parameters(model, graph, parameters), output, force=force)
    if curve is not None:
        write_file(curve, training_curve(trainer.history).encode())
    if as_json:
        record = {"float_accuracy": trainer.float_accuracy, "precision": trainer.precision, "epochs": trainer.history}
        print_text(json.dumps(record, indent=2) + "\n")
    else:
        say(f"wrote {output}", err=True)
    sys.stdout.flush()
    checkpoint.unlink(missing_ok=True)  # last: with it, whatever could not be written is made again by --resume


def _noise(options: "FinetuneOptions") -> "Device | None":
    """The device that training runs on, or None."""
    import hw_models

    require_together("--read-at", options.read_at, "--noise", options.noise)
    if options.noise is None:
        return None
    device = hw_models.load_device(options.noise)
    return device if options.read_at is None else device.read_at(options.read_at)


EPOCH_HEAD = "epoch    loss  objective  accuracy   % cells above 0, top slice first   ADC bits proved, max and mean"

PER_LAYER: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "budget": ("layer_budgets", int),
    "sparsity": ("layer_sparsity", float),
}
"""Flags that can be given for single layers: the setting they fill then, and the type of a number."""


def epoch_line(record: Mapping[str, Any]) -> str:
    """One record of `Trainer.history` as a line under `EPOCH_HEAD`."""
    accuracy = "n/a" if record["accuracy"] is None else f"{record['accuracy']:.2%}"
    noisy = record.get("noise_accuracy")
    noisy = "" if noisy is None else f"   {noisy:.2%} with noise"
    density = " ".join(f"{100 * value:5.2f}" for value in record["density"])
    highest = " ".join(map(str, record["bits_max"]))
    means = " ".join(f"{value:.2f}" for value in record["bits_mean"])
    return (
        f"{record['epoch']:5} {record['loss']:7.4f} {record['objective']:10.4f} {accuracy:>9}   {density:31}   "
        f"{highest}   {means}{noisy}"
    )


def _options(config: Path | None, flags: Mapping[str, Any]) -> "FinetuneOptions":
    from pydantic import ValidationError

    from bsc.toml_record import read_record
    from bsc.train.options import FinetuneOptions

    settings: dict[str, Any] = {}
    if config is not None:
        try:
            text = config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                "BSC202",
                f"settings '{config.name}' cannot be opened",
                seen=str(error),
                fix="give the path of a TOML file",
            ) from None
        settings = read_record(FinetuneOptions, text, where=config.name, code="BSC201").model_dump(exclude_unset=True)
    settings |= {name: value for name, value in flags.items() if value is not None and name not in PER_LAYER}
    if flags["slice_weights"] is not None:
        settings["slice_weights"] = _numbers("slice-weights", flags["slice_weights"], float)
    for option, (key, kind) in PER_LAYER.items():
        for text in flags[option]:
            layer, _, value = text.rpartition("=")
            numbers = _numbers(option, value, kind)
            found = numbers[0] if option == "sparsity" and len(numbers) == 1 else numbers
            if layer:
                settings[key] = settings.get(key, {}) | {layer: found}
            else:
                settings[option] = found
    try:
        return FinetuneOptions.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise UsageError("BSC201", f"--{name} cannot be used", seen=repr(first["input"]), fix=first["msg"]) from None


def _numbers(option: str, text: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    try:
        return tuple(map(kind, text.split(",")))
    except ValueError:
        raise UsageError(
            "BSC201",
            f"--{option} cannot be read",
            seen=repr(text),
            fix="write one number a slice, top slice first, as 1,3,3,3",
        ) from None


def _check_output(output: Path, model: Path, *, force: bool) -> None:
    if output.exists() and model.exists() and output.samefile(model):
        raise UsageError(
            "BSC203", "the output is the model itself", seen=str(output), fix="choose another place with --output"
        )
    if output.exists() and not force:
        raise UsageError(
            "BSC203", f"'{output}' exists already", seen="a file of that name", fix="add --force, or choose --output"
        )
