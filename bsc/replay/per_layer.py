"""How far the result of every crossbar layer is from the tensor of the same name in the float model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.mapping.model import LayerStep, MappedModel
from bsc.replay.original import open_session, read_file


@dataclass(frozen=True, kw_only=True)
class LayerDifference:
    """One layer on all samples; errors of the layers before it included.

    Attributes:
        largest: largest difference of a result.
        relative_rms: root mean square of the difference over that of the float results.
        Each is None where the model has no tensor of that name, as behind an operator that was rewritten, or where
        a value is not finite.
    """

    largest: float | None = None
    relative_rms: float | None = None


class LayerComparison:
    """Adds up differences, batch by batch.

    Args:
        mapping: what is replayed.
        model: bytes or path of the float model.

    Attributes:
        tensors: results of layers that the float model has as well.
    """

    def __init__(self, mapping: MappedModel, model: Path) -> None:
        steps = [step for step in mapping.program() if isinstance(step, LayerStep)]
        proto = read_file(model)
        known = set() if proto is None else {name for node in proto.graph.node for name in node.output}
        self._layer_of = {step.outputs[0]: step.layer for step in steps if step.outputs[0] in known}
        self._layers = [layer.name for layer in mapping.layers]
        self._sums = {name: np.zeros(2) for name in self._layers}  # squares of the error and of the reference
        self._largest = dict.fromkeys(self._layers, 0.0)
        self.tensors: Sequence[str] = tuple(self._layer_of)
        self._session = open_session(model, proto, self.tensors)

    def add(self, replayed: Mapping[str, NDArray[Any]], feeds: Mapping[str, NDArray[Any]]) -> None:
        """Take in what a replay gave for one batch. Raises what onnxruntime raises."""
        if not self.tensors:
            return
        wanted = self._session.run(list(self.tensors), dict(feeds))
        for name, reference in zip(self.tensors, wanted, strict=True):
            exact = reference.astype(np.float64)
            error = replayed[name].astype(np.float64) - exact
            layer = self._layer_of[name]
            self._sums[layer] += np.sum(error**2), np.sum(exact**2)
            self._largest[layer] = max(self._largest[layer], float(np.abs(error).max(initial=0)))

    def found(self) -> dict[str, LayerDifference]:
        """Differences of every layer, by its name, in the order of the mapping."""
        compared = set(self._layer_of.values())
        return {name: self._of(name) if name in compared else LayerDifference() for name in self._layers}

    def _of(self, name: str) -> LayerDifference:
        squares, reference = self._sums[name]
        if not np.isfinite(squares + reference):
            return LayerDifference()
        rms = float(np.sqrt(squares / reference)) if reference else None
        return LayerDifference(largest=self._largest[name], relative_rms=rms)
