"""What the replaying commands share: their inputs, and how columns are read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.plan.document import Plan
    from bsc.replay.dataset import Dataset
    from bsc.replay.engine import ReplayOptions


def open_data(
    plan: "Plan", path: Path | None, *, limit: int | None, batch: int | None, seed: int, given: Sequence[str] = ()
) -> tuple["Dataset", str]:
    """The inputs of a replay and what to call them: from a file, or made up.

    Args:
        plan: whose inputs.
        path: of the file, or None.
        limit: take no more samples.
        batch: samples to run together, None for the usual number.
        seed: of made-up inputs.
        given: what --input says, one each.

    Raises:
        UsageError: BSC201 if the model fixes another batch, or for an --input that cannot be read; BSC202 if the file
            cannot be opened.
        ModelError: BSC308 if the file does not fit the model.
    """
    from bsc.ir.input_values import parse_input, require_inputs
    from bsc.replay.dataset import load_dataset, random_dataset
    from bsc.replay.verification import RANDOM_SAMPLES

    specs, dynamic = plan.mapping.inputs, plan.mapping.free_batch
    values = dict(map(parse_input, given))
    require_inputs(values, [spec.name for spec in specs])
    if path is None:
        source = f"random inputs, seed {seed}"
        samples = limit or RANDOM_SAMPLES
        data = random_dataset(specs, dynamic_batch=dynamic, samples=samples, seed=seed, given=values)
    else:
        source = path.name
        data = load_dataset(path, specs, dynamic_batch=dynamic, limit=limit, given=values)
    if batch is None:
        return data, source
    if not data.free_batch and batch != data.batch:
        raise UsageError(
            "BSC201",
            "--batch cannot be chosen for this plan",
            seen=f"{batch}; the model takes {data.batch} at a time",
            fix="leave --batch out, or export the model with a free batch axis",
        )
    return replace(data, batch=batch), source


def replay_options(device: str, *, every_conversion: bool, statistics: bool) -> "ReplayOptions":
    """How a plan is replayed; columns are read by bsc's own code unless a PyTorch device is named.

    Raises:
        UsageError: BSC201 if the device cannot be used.
    """
    from bsc.replay.engine import ReplayOptions

    reader = None
    if device != "cpu":
        from bsc.replay.torch_columns import torch_reader

        reader = torch_reader(device)
    return ReplayOptions(every_conversion=every_conversion, statistics=statistics, reader=reader)
