"""How hard a data set drives the rows of every layer: what the energy of reading cells follows from."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.mapping.model import MappedModel
from bsc.numeric.quantizer import input_cycles
from bsc.replay.dataset import Dataset
from bsc.replay.engine import Replayer
from bsc.replay.scored import batches_for


def driven_rows(
    mapping: MappedModel, data: Dataset, *, advance: Callable[[int], None] = lambda _: None
) -> dict[str, NDArray[np.float64]]:
    """Squares of the digits of every row over that of the highest, summed over cycles and vectors, of a mean sample.

    Layers are fed by what the crossbars before them give.

    Args:
        mapping: of a plan.
        data: inputs; labels are not looked at.
        advance: called with the number of samples whenever some are done.

    Returns:
        By layer, over the rows of the model, float64 (G, K).
    """
    replayer = Replayer(mapping)
    records = {layer.name: layer for layer in mapping.layers}
    sums = {layer.name: np.zeros((layer.groups, layer.rows)) for layer in mapping.layers}

    def results(name: str, codes: NDArray[Any]) -> NDArray[np.float64]:
        layer, whole = records[name], codes.astype(np.int32)
        for shift, width, _ in input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits):
            digits = (whole >> shift) & ((1 << width) - 1)
            sums[name] += np.square(digits, dtype=np.int64).sum(axis=0)
        return replayer.engine(name).results(codes)

    for batch in batches_for(mapping, data):
        replayer.loaded.run(batch, results)
        advance(data.rows(batch))
    return {name: total / (data.samples * records[name].max_digit ** 2) for name, total in sums.items()}
