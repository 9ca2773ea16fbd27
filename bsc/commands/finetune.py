"""`bsc finetune`."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bsc.commands.completion import device_names
from bsc.commands.input_options import finetune_inputs, keep_option, set_option, shape_option
from bsc.commands.output import print_text, say, step_progress
from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.train.options import FinetuneOptions
    from bsc.train.trainer import Trainer


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
    "--noise",
    shell_complete=device_names,
    metavar="NAME|FILE.toml",
    help="Train on this device: weights and reads are disturbed as on it.",
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
    from bsc.api.training import EPOCH_HEAD, epoch_line, fine_tune, output_of
    from bsc.train.extra import require_torch

    require_torch()
    from bsc.train.precision import multiplies_bfloat16
    from bsc.train.workers import join, leave

    output, curve = flags.pop("output"), flags.pop("curve")
    resume, as_json, force = (flags.pop(name) for name in ("resume", "as_json", "force"))
    said = finetune_inputs({name: flags.pop(name) for name in ("input_shape", "constants", "keep_digital")})
    options = _options(config, flags)
    place = output_of(model, output, force=force)
    workers, options_device = join(options.device)
    options = options.model_copy(update={"device": options_device})
    first = workers.rank == 0
    quiet = as_json or not first

    def begun(trainer: "Trainer", source: str, samples: int) -> None:
        """Say what is trained on, before the first line of figures."""
        if quiet:
            return
        start = "" if trainer.float_accuracy is None else f", accuracy {trainer.float_accuracy:.2%}"
        say(f"{samples} samples of {source}{start} in floating point")
        if trainer.precision == "bf16" and not multiplies_bfloat16(options.device):
            say("this device has no instructions for bfloat16, which is slow on it; --precision auto takes fp32 then")
        say(EPOCH_HEAD)

    def on_epoch(record: Mapping[str, Any]) -> None:
        """A line for each."""
        if not quiet:
            say(epoch_line(record))

    try:
        with step_progress("fine-tuning", shown=first) as on_step:
            found, checkpoint = fine_tune(
                model,
                said,
                (data, test),
                options,
                output=place,
                resume=resume,
                force=force,
                workers=workers,
                curve=curve,
                begun=begun,
                on_step=on_step,
                on_epoch=on_epoch,
            )
    finally:
        leave(workers)
    if not first:
        return
    if as_json:
        record = {"float_accuracy": found.float_accuracy, "precision": found.precision, "epochs": found.records}
        print_text(json.dumps(record, indent=2) + "\n")
    else:
        say(f"wrote {place}", err=True)
    sys.stdout.flush()
    checkpoint.unlink(missing_ok=True)  # last: with it, whatever could not be written is made again by --resume


PER_LAYER: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "budget": ("layer_budgets", int),
    "sparsity": ("layer_sparsity", float),
}
"""Flags that can be given for single layers: the setting they fill then, and the type of a number."""


def _options(config: Path | None, flags: Mapping[str, Any]) -> "FinetuneOptions":
    from bsc.api.training import settings_of
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
    return settings_of(settings)


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
