"""What the cells of a layer do not hold: it is added digitally, for each row group times the sum of its input codes."""

import numpy as np
from numpy.typing import NDArray

from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer


def corrections(layer: MappedLayer, arrays: LayerArrays) -> NDArray[np.int64]:
    """What every column adds for each unit of the input codes of a row group.

    It is the centre of the column, and for each flipped slice column of it the top level times what a level is worth.

    Returns:
        Shape (R, N).
    """
    shape = (layer.row_groups, layer.mapped_columns)
    centres = layer.cells.centres_by_row(arrays.centres, layer.mapped_rows, layer.tile_rows)
    added = np.broadcast_to(centres, arrays.codes.shape)[:: layer.active_rows].astype(np.int64).reshape(shape)
    if arrays.flipped is None:
        return added
    tops = layer.cells.tops[:, None] * layer.cells.place_values()
    return np.asarray(added + np.einsum("rspn,sp->rn", arrays.flipped.astype(np.int64), tops))
