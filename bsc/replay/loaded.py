"""A plan that is ready to run: its program, and the arrays of every layer."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.execution.program import Program, working_bytes
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.replay.activations import input_codes, output, zero_part

MAX_KEPT_BYTES = 7 << 27
"""What layers may take that are kept in memory; those beyond it are read anew whenever they are run."""

PRODUCT_BYTES = 4
"""For each weight, beside its arrays: of the matrix product that a replay makes of them."""

LayerResults = Callable[[str, NDArray[Any]], NDArray[np.float64]]
"""From a layer's name and its input codes (V, G, K) over the model's rows to its whole results (V, N)."""


class LayerCache(Mapping[str, tuple[MappedLayer, LayerArrays]]):
    """Record and arrays of every layer, by its name, in the order of the plan.

    Args:
        mapping: of a plan, or straight from the passes.

    Attributes:
        largest: bytes that the largest layer read so far takes.
    """

    def __init__(self, mapping: MappedModel) -> None:
        self.largest = 0
        self._mapping = mapping
        self._records = {layer.name: layer for layer in mapping.layers}
        self._kept: dict[str, LayerArrays] = {}
        self._room = MAX_KEPT_BYTES
        self._last: tuple[str, LayerArrays] | None = None

    def keeps(self, name: str) -> bool:
        """Whether the layer stays in memory; asked once it was read."""
        return name in self._kept

    def record(self, name: str) -> MappedLayer:
        """The layer's record, without its arrays."""
        return self._records[name]

    def __getitem__(self, name: str) -> tuple[MappedLayer, LayerArrays]:
        layer = self._records[name]
        if name not in self._kept and (self._last is None or self._last[0] != name):
            self._last = None  # before another one is read
            arrays = self._mapping.arrays(layer)
            size = sum(array.nbytes for array in arrays.by_name().values()) + PRODUCT_BYTES * arrays.codes.size
            self.largest = max(self.largest, size)
            if size <= self._room:
                self._room -= size
                self._kept[name] = arrays
            else:
                self._last = (name, arrays)
        arrays = self._kept[name] if self._last is None or name in self._kept else self._last[1]
        return layer, arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


class PlanRunner:
    """Runs a plan; what its crossbars give is computed by whoever calls it.

    Args:
        mapping: of a plan, or straight from the passes.

    Attributes:
        layers: record and arrays of every layer.
        extra_bytes: what `results` may take beside them and the inputs.
    """

    def __init__(self, mapping: MappedModel) -> None:
        self._program = Program(mapping.program(), tuple(tensor.name for tensor in mapping.outputs))
        self.layers = LayerCache(mapping)
        self.extra_bytes = 0
        self._zeros: dict[str, NDArray[np.int64] | None] = {}

    def run(
        self, feeds: Mapping[str, NDArray[Any]], results: LayerResults, keep: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """Outputs for one batch of every model input, and the tensors named in `keep`."""

        def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
            layer, arrays = self.layers[name]
            codes, step = input_codes(layer, x)
            whole = results(name, codes)
            if layer.input_zero_point and name not in self._zeros:
                self._zeros[name] = zero_part(layer, arrays)
            zeros = self._zeros.get(name)
            return output(layer, arrays, whole if zeros is None else whole - zeros, step, x)

        return self._program.run(feeds, run_layer, keep, layer_bytes=self._layer_bytes)

    def _layer_bytes(self, name: str, x: NDArray[Any]) -> int:
        layer = self.layers.record(name)
        conv = None if layer.conv is None else layer.conv.geometry()
        working = working_bytes(x.shape, conv, layer.groups * layer.rows + layer.columns)
        return working + 4 * self.layers.largest + self.extra_bytes
