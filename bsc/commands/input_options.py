"""What `bsc compile`, `bsc check` and the replaying commands can be told of a model's inputs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bsc.ir.graph import ModelInfo

shape_option = click.option(
    "--input-shape",
    multiple=True,
    metavar="NAME:SIZES",
    help="Open input sizes, as x:1,3,224,224, or x:N,3,224,224 with N for the batch, which stays free.",
)
set_option = click.option(
    "--set",
    "constants",
    multiple=True,
    metavar="NAME=VALUE",
    help="Make an input a constant, as sample_rate=16000, so that an If on it is resolved.",
)
values_option = click.option(
    "--input",
    "values",
    multiple=True,
    metavar="NAME=VALUES",
    help="Values of an input that is made up, as ids=0..50256 or sample_rate=16000.",
)
keep_option = click.option(
    "--keep-digital",
    multiple=True,
    metavar="LAYER",
    help="Keep that layer off the crossbars; it stays a digital operator.",
)
check_option = click.option(
    "--import-check/--no-import-check",
    default=True,
    help="Compare the imported model with the file in onnxruntime.  [default: yes]",
)


def model_inputs(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options above say, as `Request` takes it. Raises `UsageError` BSC201."""
    from bsc.frontend.set_inputs import parse_set
    from bsc.frontend.shapes import parse_input_shape
    from bsc.ir.input_values import parse_input

    return {
        "input_shape": dict(map(parse_input_shape, options["input_shape"])),
        "constants": dict(map(parse_set, options["constants"])),
        "input_values": dict(map(parse_input, options["values"])),
        "keep_digital": tuple(options["keep_digital"]),
        "import_check": options["import_check"],
    }


def finetune_inputs(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of them that `bsc finetune` has. Raises `UsageError` BSC201."""
    whole = model_inputs({**options, "values": (), "import_check": True})
    return {name: whole[name] for name in ("input_shape", "constants", "keep_digital")}


def said_of_import(info: "ModelInfo") -> list[str]:
    """What is worth a line of how a model was read."""
    doubts = () if info.check is None or info.check.inputs != "none" else (f"the import is {info.check}",)
    return [f"note: {note}" for note in (*doubts, *info.notes)]
