"""What the crossbars of a layer compute, written so that it can be checked by eye: the judge of the fast engine.

Every row group, slice, polarity and input cycle has a column sum of its own, or a pair of polarities the difference of
two, an ADC reads it, and shift-and-add puts it in its place. Whole numbers in int64 throughout; nothing is skipped and
nothing is clever.
"""

import numpy as np
from numpy.typing import NDArray

from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.numeric.quantizer import input_cycles
from bsc.replay.tally import LayerTally


def reference_results(
    layer: MappedLayer, arrays: LayerArrays, driven: NDArray[np.int64], tally: LayerTally
) -> NDArray[np.int64]:
    """Results of a layer, one conversion after another.

    Args:
        layer: the layer.
        arrays: its arrays.
        driven: input codes of the mapped rows (V, G, K).
        tally: conversions and clipped conversions are added to it.

    Returns:
        Whole numbers (V, N) over the mapped columns.
    """
    cells = layer.cells
    place_values, paired = cells.read_place_values(), cells.analog_pairs
    levels = cells.levels()[cells.stored(arrays.codes, arrays.centres, layer.tile_rows)].astype(np.int64)  # K N S P
    by_centre = np.broadcast_to(
        cells.centres_by_row(arrays.centres, layer.mapped_rows, layer.tile_rows), arrays.codes.shape
    )
    cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
    results = np.zeros((len(driven), layer.mapped_columns), np.int64)
    width = layer.mapped_columns // layer.groups
    for group in range(layer.groups):
        columns = np.s_[group * width : (group + 1) * width]
        for row_group in range(layer.row_groups):
            rows = np.s_[row_group * layer.active_rows : (row_group + 1) * layer.active_rows]
            inputs = driven[:, group, rows]
            total = inputs.sum(axis=1, keepdims=True)
            results[:, columns] += total * by_centre[rows, columns][:1]
            for slice_, conversion in np.ndindex(place_values.shape):
                here = np.s_[row_group, slice_, conversion, columns]
                adc = (arrays.lowest_codes, arrays.adc_bits, arrays.adc_lsb)
                low, bits, step = (values[here].astype(np.int64) for values in adc)
                held = levels[rows, columns, slice_, conversion]
                if paired:
                    held = held - levels[rows, columns, slice_, 1]
                sign = np.ones(width, np.int64)
                if arrays.flipped is not None:
                    flipped, top = arrays.flipped[here], cells.tops[slice_]
                    held = np.where(flipped, top - held, held)
                    sign = np.where(flipped, -1, 1)
                    results[:, columns] += total * np.where(flipped, top, 0) * place_values[slice_, conversion]
                for shift, digit_bits, cycle_sign in cycles:
                    digits = (inputs >> shift) & ((1 << digit_bits) - 1)
                    read = convert(digits @ held, low, bits, step, tally)
                    results[:, columns] += sign * cycle_sign * (read << shift) * place_values[slice_, conversion]
    return results if arrays.correction is None else results + arrays.correction


def convert(
    sums: NDArray[np.int64],
    low: NDArray[np.int64],
    bits: NDArray[np.int64],
    step: NDArray[np.int64],
    tally: LayerTally,
) -> NDArray[np.int64]:
    """What ADCs read of column sums: step * code, code = round(y / step) within low..low + 2**bits - 1.

    Halves go to the even code; 0 bits read nothing.

    Args:
        sums: column sums (V, N), or differences of two.
        low: lowest code of each column (N,).
        bits: resolution of each column (N,).
        step: cell units of one code (N,).
        tally: conversions and clipped conversions are added to it.

    Returns:
        Cell units (V, N).
    """
    code, rest = np.divmod(sums, step)
    code += (2 * rest > step) | ((2 * rest == step) & (code % 2 == 1))
    top = low + (1 << bits) - 1
    tally.conversions += len(sums) * int(np.count_nonzero(bits))
    tally.clipped += int(np.count_nonzero(((code > top) | (code < low)) & (bits > 0)))
    return np.asarray(np.clip(code, low, top) * step)
