"""Inputs of a plan or a model: a .npz file, arrays, or made up; and how columns are read in a replay of them."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bsc.errors import UsageError
from bsc.ir.input_values import require_inputs
from bsc.replay.dataset import LABEL_NAMES, Dataset, dataset_of, load_dataset, npz_bytes, random_dataset
from bsc.replay.engine import ReplayOptions
from bsc.replay.verification import RANDOM_SAMPLES

if TYPE_CHECKING:
    from bsc.ir.input_values import Values
    from bsc.plan.document import Plan

StrPath: TypeAlias = str | os.PathLike[str]
Inputs: TypeAlias = StrPath | ArrayLike | Mapping[str, ArrayLike]
"""A .npz file, the array of a model's only input, or arrays by name of the input; samples along the batch axis."""
Progress: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[int], Any]]]
"""Of a title and a number of samples a context, which gives what is called with the number of samples that are done."""
LONE = "x"
"""What the array of an only input is called where it needs a name."""


def open_data(
    plan: "Plan",
    inputs: Inputs | None,
    labels: ArrayLike | None = None,
    *,
    limit: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    given: "Mapping[str, Values] | None" = None,
) -> tuple[Dataset, str]:
    """The inputs of a replay and what to call them.

    Args:
        plan: whose inputs.
        inputs: a file, arrays, or None to make them up.
        labels: class of each sample, integers (samples,), beside arrays.
        limit: take no more samples.
        batch: samples to run together, None for the usual number.
        seed: of made-up inputs.
        given: lowest and highest value of inputs that are made up, by name.

    Raises:
        UsageError: BSC201 if the model fixes another batch, or for labels without arrays; BSC202 if the file cannot be
            opened.
        ModelError: BSC308 if the data do not fit the model.
    """
    specs, dynamic = plan.mapping.inputs, plan.mapping.free_batch
    require_inputs(given or {}, [spec.name for spec in specs])
    if labels is not None and (inputs is None or isinstance(inputs, str | os.PathLike)):
        raise UsageError(
            "BSC201",
            "labels need arrays of inputs beside them",
            seen="no inputs" if inputs is None else f"a file, '{os.fspath(inputs)}'",
            fix=f"give arrays, or add the labels to a .npz file as an array '{LABEL_NAMES[1]}'",
        )
    if inputs is None:
        source = f"random inputs, seed {seed}"
        samples = limit or RANDOM_SAMPLES
        data = random_dataset(specs, dynamic_batch=dynamic, samples=samples, seed=seed, given=given)
    elif isinstance(inputs, str | os.PathLike):
        source = Path(inputs).name
        data = load_dataset(Path(inputs), specs, dynamic_batch=dynamic, limit=limit, given=given)
    else:
        source = "arrays"
        classes = None if labels is None else np.asarray(labels)
        data = dataset_of(as_arrays(inputs), specs, labels=classes, dynamic_batch=dynamic, limit=limit, given=given)
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


def replay_options(device: str, *, every_conversion: bool, statistics: bool) -> ReplayOptions:
    """How a plan is replayed; columns are read by bsc's own code unless a PyTorch device is named.

    Raises:
        UsageError: BSC201 if the device cannot be used.
    """
    reader = None
    if device != "cpu":
        from bsc.replay.torch_columns import torch_reader

        reader = torch_reader(device)
    return ReplayOptions(every_conversion=every_conversion, statistics=statistics, reader=reader)


def quiet(_title: str, _total: int) -> AbstractContextManager[Callable[[int], Any]]:
    """A `Progress` that shows nothing."""
    return contextlib.nullcontext(lambda _: None)


@contextlib.contextmanager
def as_file(inputs: Inputs | None, name: str) -> Iterator[Path | None]:
    """A file of inputs: the one that is named, or a temporary one with the bytes that `numpy.savez` would write.

    A plan records the digest of the file, so that arrays and a file of them make the same plan.

    Args:
        inputs: a file, arrays, or None, which gives None.
        name: of the temporary file, which errors show.
    """
    if inputs is None or isinstance(inputs, str | os.PathLike):
        yield None if inputs is None else Path(inputs)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.npz"
        path.write_bytes(npz_bytes(as_arrays(inputs)))
        yield path


def as_arrays(inputs: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """Arrays by name, a lone one under a name that fits any only input."""
    if isinstance(inputs, Mapping):
        return {name: np.asarray(values) for name, values in inputs.items()}
    return {LONE: np.asarray(inputs)}
