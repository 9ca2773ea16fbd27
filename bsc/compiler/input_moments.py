"""Attaches to a graph the moments of what its layers read: mean and covariance of input vectors on calibration data."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, InputMoments
from bsc.ir.sidetable import SideTable
from bsc.numeric.im2col import to_vectors
from bsc.replay.calibrate import run_float
from bsc.replay.dataset import Dataset

MOST_ROWS = 8192
"""Rows of a layer up to which covariances are kept; beyond, variances alone."""

SEED = 0


@dataclass(eq=False)
class _Sums:
    """Of the vectors that were looked at so far.

    Attributes:
        first: of vectors (G, K).
        second: of their products (G, K, K), or of their squares (G, K).
        vectors: how many.
        random: chooses them.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    random: np.random.Generator
    vectors: int = field(default=0)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Add vectors (G, V, K)."""
        self.first += vectors.sum(axis=1, dtype=np.float64)
        if self.second.ndim == 2:
            self.second += np.square(vectors).sum(axis=1, dtype=np.float64)
        else:
            self.second += vectors.transpose(0, 2, 1) @ vectors
        self.vectors += vectors.shape[1]


def with_moments(graph: Graph, data: Dataset, vectors: int) -> Graph:
    """A graph whose layers know the moments of their inputs in the float model.

    Args:
        graph: as imported.
        data: calibration data; labels are not looked at.
        vectors: how many input vectors of each layer to look at, about; all of them if there are fewer.

    Raises:
        ModelError: BSC308 for data on which an activation is not finite.
    """
    sums: dict[str, _Sums] = {}
    for index, layer in enumerate(graph.layers()):
        rows, square = (layer.groups, layer.rows), layer.rows <= MOST_ROWS
        second = np.zeros((*rows, layer.rows) if square else rows)
        sums[layer.name] = _Sums(np.zeros(rows), second, np.random.default_rng((SEED, index)))

    def look(layer: CrossbarLayer, x: NDArray[Any], samples: int) -> None:
        found, every = sums[layer.name], to_vectors(x, layer.conv, layer.groups)  # (V, G, K)
        count = min(len(every), -(-samples * vectors // data.samples))
        chosen = np.sort(found.random.choice(len(every), count, replace=False))
        found.add(np.ascontiguousarray(every[chosen].transpose(1, 0, 2), np.float32))

    run_float(graph, data, look)
    layers: dict[str, CrossbarLayer] = {}
    arrays = SideTable()
    for layer in graph.layers():
        if (found := sums[layer.name]).vectors:
            layers[layer.name] = _attached(layer, found, arrays)
    return graph.with_layers(layers, arrays)


def _attached(layer: CrossbarLayer, found: _Sums, arrays: SideTable) -> CrossbarLayer:
    moments = InputMoments(
        vectors=found.vectors, mean=f"{layer.name}/input-mean", covariance=f"{layer.name}/input-covariance"
    )
    mean = found.first / found.vectors
    outer = np.square(mean) if found.second.ndim == 2 else mean[:, :, None] * mean[:, None]
    arrays[moments.mean] = mean
    arrays[moments.covariance] = (found.second / found.vectors - outer).astype(np.float32)
    return replace(layer, moments=moments)
