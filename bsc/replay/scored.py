"""Runs a data set through a plan and keeps the output that is scored: what accuracies and differences are of."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.mapping.model import MappedModel
from bsc.replay.dataset import Dataset
from bsc.replay.scores import no_tensor, require_scores, scored_output

Batch = dict[str, NDArray[Any]]


def batches_for(mapping: MappedModel, data: Dataset) -> Iterator[Batch]:
    """The data in batches that the largest layer has room for."""
    return data.batches(max((layer.input_values for layer in mapping.layers), default=1))


def scored_outputs(
    mapping: MappedModel,
    data: Dataset,
    run: Callable[[Batch], Mapping[str, Any]],
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> list[NDArray[Any]]:
    """What `run` gives for the scored output, batch by batch.

    Args:
        mapping: what is run.
        data: all of it goes through.
        run: outputs of one batch by name, such as `Replayer.replayed`.
        advance: called with the number of samples whenever some are done.

    Raises:
        ModelError: BSC308 for an output that is no tensor, or of which a label is no class.
    """
    name, outputs = scored_output(mapping.outputs), []
    for batch in batches_for(mapping, data):
        found = run(batch)[name]
        if not isinstance(found, np.ndarray):
            raise no_tensor(found)
        require_scores(found, data.labels)
        outputs.append(found)
        advance(data.rows(batch))
    return outputs
