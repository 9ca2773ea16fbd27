"""What a plan gives for a data set: every output of the model, of all samples."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.mapping.model import MappedModel, TensorRecord
from bsc.replay.dataset import Dataset
from bsc.replay.engine import Replayer, ReplayOptions
from bsc.replay.scored import batches_for


def replayed_outputs(
    mapping: MappedModel,
    data: Dataset,
    *,
    options: ReplayOptions | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, NDArray[Any]]:
    """Replay a plan on all samples.

    Args:
        mapping: of a plan.
        data: inputs.
        options: how the plan is replayed.
        advance: called with the number of samples whenever some are done.

    Returns:
        By name of the output. Samples lie along the axis that the plan knows for them, else along the first if it has
        as many entries as there are samples in every run; what has neither gets a first axis with an entry for every
        run.

    Raises:
        ModelError: BSC308 for an output that is no array, or whose shapes of different runs do not go together.
    """
    replayer = Replayer(mapping, options)
    runs: dict[str, list[NDArray[Any]]] = {tensor.name: [] for tensor in mapping.outputs}
    samples: list[int] = []
    for batch in batches_for(mapping, data):
        found = replayer.replayed(batch)
        samples.append(data.rows(batch))
        for name, values in runs.items():
            if not isinstance(found[name], np.ndarray):
                raise ModelError(
                    "BSC308",
                    f"output '{name}' is no array and cannot be kept",
                    seen=f"a {type(found[name]).__name__}",
                    fix="cut sequences and maps off the end of the model before compiling it",
                )
            values.append(found[name])
        advance(samples[-1])
    return {tensor.name: _joined(tensor, runs[tensor.name], samples) for tensor in mapping.outputs}


def _joined(tensor: TensorRecord, values: list[NDArray[Any]], samples: Sequence[int]) -> NDArray[Any]:
    axis = tensor.batch_axis
    if axis is None and all(value.shape[:1] == (count,) for value, count in zip(values, samples, strict=True)):
        axis = 0
    try:
        return np.stack(values) if axis is None else np.concatenate(values, axis)
    except ValueError:
        shapes = sorted({value.shape for value in values})
        raise ModelError(
            "BSC308",
            f"output '{tensor.name}' has another shape in every run",
            seen=", ".join(map(str, shapes[:4])),
            fix="give one sample at a time, as with --limit 1",
        ) from None
