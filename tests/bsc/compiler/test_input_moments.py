from pathlib import Path

import numpy as np
import pytest

from bsc.compiler import input_moments
from bsc.compiler.input_moments import with_moments
from bsc.ir.graph import Graph
from bsc.numeric.im2col import to_vectors
from bsc.replay.dataset import load_dataset
from bsc.testing import float_outputs, imported, mlp_model, random_weights, tiny_model


def moments(graph: Graph, name: str) -> tuple[int, np.ndarray, np.ndarray]:
    layer = next(layer for layer in graph.layers() if layer.name == name)
    assert layer.moments is not None
    return layer.moments.vectors, graph.array(layer.moments.mean), graph.array(layer.moments.covariance)


def on_data(graph: Graph, x: np.ndarray, folder: Path, vectors: int) -> Graph:
    np.savez(folder / "data.npz", x=x)
    return with_moments(graph, load_dataset(folder / "data.npz", [graph.tensors["x"]], dynamic_batch=True), vectors)


def test_of_the_model_s_input_and_of_what_a_layer_makes_of_it(tmp_path: Path) -> None:
    graph = imported(mlp_model(4, 3, 2), tmp_path)
    x = np.random.default_rng(0).normal(0, 1, (50, 4)).astype(np.float32)
    found = on_data(graph, x, tmp_path, 50)
    weights, bias = graph.array("w0"), graph.array("b0")
    for name, inputs in (("fc0", x), ("fc1", np.maximum(x @ weights + bias, 0))):
        vectors, mean, covariance = moments(found, name)
        assert vectors == 50
        assert covariance.dtype == np.float32
        np.testing.assert_allclose(mean, inputs.mean(axis=0)[None], atol=1e-6)
        np.testing.assert_allclose(covariance, np.cov(inputs.T, bias=True)[None], atol=1e-5)
    assert float_outputs(found, {"x": x})["y"].shape == (50, 2)  # nothing else has changed


def test_convolutions_by_group(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,4,5,5] x) => (float[N,6,5,5] y) { [c] y = Conv <group = 2, pads = [1, 1, 1, 1]> (x, w) }",
        {"w": random_weights(6, 2, 3, 3)},
    )
    graph = imported(model, tmp_path)
    x = np.random.default_rng(0).uniform(0, 1, (8, 4, 5, 5)).astype(np.float32)
    (layer,) = graph.layers()
    every = to_vectors(x, layer.conv, 2)
    vectors, mean, covariance = moments(on_data(graph, x, tmp_path, 10**6), "c")
    assert vectors == 8 * 25
    np.testing.assert_allclose(mean, every.mean(axis=0), atol=1e-6)
    for group in range(2):
        np.testing.assert_allclose(covariance[group], np.cov(every[:, group].T, bias=True), atol=1e-5)


@pytest.mark.parametrize(("wanted", "seen"), [(1, 1), (7, 7), (200, 200), (201, 200)])
def test_about_as_many_vectors_as_are_wanted(wanted: int, seen: int, tmp_path: Path) -> None:
    graph = imported(mlp_model(4, 3), tmp_path)
    x = np.random.default_rng(0).normal(0, 1, (200, 4)).astype(np.float32)
    assert moments(on_data(graph, x, tmp_path, wanted), "fc0")[0] == seen


@pytest.mark.parametrize(("most", "axes"), [(4, 3), (3, 2)])
def test_large_layers_get_variances_alone(
    most: int, axes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_moments, "MOST_ROWS", most)
    graph = imported(mlp_model(4, 3), tmp_path)
    x = np.random.default_rng(0).normal(3, 1, (200, 4)).astype(np.float32)
    _, _, covariance = moments(on_data(graph, x, tmp_path, 200), "fc0")
    assert covariance.ndim == axes
    variances = covariance[0] if axes == 2 else np.diag(covariance[0])
    np.testing.assert_allclose(variances, x.var(axis=0), rtol=1e-4)
