"""cap-columns: change weight codes until every slice column's conversion is proved to need no more than so many bits.

    before   codes (K, N) in the order they are mapped in, moments of the layer's inputs
    after    codes whose cells add up, in each slice, polarity and column of a row group, to at most
             (2**bits - 1) / (highest input digit); a weight step of each column and a bias that go with them
    keeps    codes, step and bias of columns that need no more bits as they are

No training and no labels: `bsc.numeric.capping` chooses the codes that change the layer's results on calibration data
least. A column may get a step that is 2, 4 or 8 times coarser, since the same weight in fewer bits spends less of the
caps of the upper slices; the one of least error is taken. The mean of what is left of the error goes into the bias,
which is digital.

It belongs right before `tile`: what comes between would move rows. The two columns of a pair that is subtracted before
its conversion get half of the cap each.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.ir.adc_pass import NO_MOMENTS, needs_data
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import Pass, PassResult, check_options, refuse_after, required, selected
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import Slicing
from bsc.numeric.capping import Capped, cap_columns
from bsc.numeric.column_stats import lossless_bits, stored_stats, sum_range
from bsc.numeric.encoding import CellFormat
from bsc.numeric.quantizer import max_digit

COARSEST = 3
"""Most doublings of a column's step."""


@dataclass(frozen=True)
class CapColumns(Pass):
    """Cap the slice columns of every layer; layers that need no more bits are left alone.

    Attributes:
        bits: what a conversion of one column may need, 1 to 16.
        group_rows: rows that share a column sum: the `active-rows` of `tile`.
        vectors: input vectors of each layer whose moments are taken, about.
        only: names of the layers it is for; empty for all.
    """

    name = "cap-columns"

    bits: int = 6
    group_rows: int = 128
    vectors: int = 16384
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_options(
            self,
            ("bits", 1 <= self.bits <= MAX_ADC_BITS, f"1 to {MAX_ADC_BITS}"),
            ("group-rows", self.group_rows >= 1, "1 or more"),
            ("vectors", self.vectors >= 1, "1 or more"),
        )

    def input_vectors(self) -> int:
        """What errors of a weight do to results follows from how inputs go together."""
        return self.vectors

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring.

        Raises:
            ModelError: BSC309 for a layer that is not sliced, or that is tiled.
            UsageError: BSC201 for a layer that needs more bits and whose inputs were not looked at; BSC205 for one
                whose cells are not `differential`, or a name that no layer has.
        """
        layers: dict[str, CrossbarLayer] = {}
        arrays = SideTable()
        for layer in selected(graph, self.only, self.name):
            refuse_after(layer.tiling, layer.name, self.name, "tile")
            if (capped := self._capped(graph, layer, arrays)) is not None:
                layers[layer.name] = capped
        return PassResult(graph.with_layers(layers, arrays), tuple(layers)) if layers else PassResult(graph, ())

    def _capped(self, graph: Graph, layer: CrossbarLayer, arrays: SideTable) -> CrossbarLayer | None:
        """The layer with other codes; None if none of its columns needs more bits."""
        slicing = required(layer.slicing, layer.name, self.name, "slice-bits")
        quant = required(layer.quant, layer.name, self.name, "quantize")
        if slicing.encoding != "differential":
            raise _not_differential(layer.name, slicing)
        cells, found = slicing.format_of(quant.weight_bits), graph.arrays_of(layer.name)
        digit = max_digit(quant.input_bits, signed=quant.input_signed, dac_bits=slicing.dac_bits)
        columns_each = cells.polarities // cells.conversions
        cap = ((1 << self.bits) - 1) // digit // columns_each
        codes = found["codes"].astype(np.int64)
        over = self._over(codes, cells, digit)  # (N,)
        if not over.any():
            return None
        if layer.moments is None:
            raise needs_data(self.name, NO_MOMENTS)
        rows, columns = (
            found.get("kept_rows", np.arange(layer.rows)),
            found.get("kept_columns", np.arange(layer.columns)),
        )
        mean, covariance = graph.array(layer.moments.mean), graph.array(layer.moments.covariance)
        each = codes.shape[1] // layer.groups
        doublings, shift = np.zeros(codes.shape[1], np.int64), np.zeros(codes.shape[1])
        for group in range(layer.groups):
            here = np.flatnonzero(over[group * each : (group + 1) * each]) + group * each
            taken = covariance[group][np.ix_(rows, rows)] if covariance.ndim == 3 else covariance[group][rows]
            before = codes[:, here]
            codes[:, here], doublings[here] = self._codes(before, taken, cells, cap)
            shift[here] = mean[group][rows] @ (before - (codes[:, here] << doublings[here]))
        step = np.broadcast_to(found["weight_scale"], layer.columns).copy()
        old = found.get("bias", np.zeros(layer.columns, np.float32))
        bias = old.astype(np.float64)
        bias[columns] += shift * step[columns]
        step[columns] *= 2.0**doublings
        key = partial(array_key, layer.name)
        arrays[key("codes")] = codes.astype(found["codes"].dtype)
        arrays[key("weight_scale")] = step
        arrays[key("bias")] = bias.astype(old.dtype)
        return layer

    def _over(self, codes: NDArray[np.int64], cells: CellFormat, digit: int) -> NDArray[np.bool_]:
        """Columns of which a conversion is not proved to need no more than `bits`, (N,)."""
        stats = stored_stats(codes, cells, self.group_rows)
        found = sum_range(stats.sums, stats.gcds, cells, digit)
        needed = lossless_bits((found.high - found.low).astype(np.uint32), found.step)
        return np.asarray((needed > self.bits).any(axis=(0, 1, 2)))

    def _codes(
        self, weights: NDArray[np.int64], moments: NDArray[Any], cells: CellFormat, cap: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Codes (K, n) and doublings of the step (n,) of least error."""
        digits = cells.levels()[: 1 << cells.stored_bits, :, 0].astype(np.int64)
        caps = np.full(cells.slices, cap)
        codes, doublings = np.zeros_like(weights), np.zeros(weights.shape[1], np.int64)
        least = np.full(weights.shape[1], np.inf)
        better = np.arange(weights.shape[1])
        for doubling in range(COARSEST + 1):
            scale = 2.0**-doubling
            found: Capped = cap_columns(weights[:, better] * scale, moments, digits, caps, self.group_rows)
            error = found.errors / scale**2
            wins = error < least[better]
            better = better[wins]
            codes[:, better], doublings[better], least[better] = found.codes[:, wins], doubling, error[wins]
        return codes, doublings


def _not_differential(name: str, slicing: Slicing) -> UsageError:
    return UsageError(
        "BSC205",
        f"pass 'cap-columns': layer '{name}' has cells that it cannot cap",
        seen=f"{slicing.encoding} encoding",
        fix="choose slice-bits{encoding=differential}, or leave the pass out",
    )
