"""Training sees the very codes that compiling makes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from bsc.ir.graph import Graph
from bsc.numeric.column_stats import column_stats, lossless_bits
from bsc.testing import imported, mlp_model, random_weights, save, tiny_model
from bsc.train.export import with_parameters
from bsc.train.measure import measure
from bsc.train.network import Network
from bsc.train.options import FinetuneOptions
from bsc.train.quantised import QuantisedLayers
from passes import PASSES


def normed_model() -> onnx.ModelProto:
    """A convolution with two batch normalisations behind it, one gain negative and one zero, and a classifier."""
    weights = {"w": random_weights(3, 2, 3, 3), "f": random_weights(3, 4, seed=1)}
    for norm, gains in (("p", [1.5, -0.7, 0.4]), ("q", [2.0, 1.0, 0.0])):
        weights[f"{norm}g"] = np.array(gains, np.float32)
        weights |= {f"{norm}{part}": random_weights(3, seed=2) for part in "bm"}
        weights[f"{norm}v"] = np.array([0.5, 1.0, 2.0], np.float32)
    body = """
        a = Conv (x, w)
        b = BatchNormalization (a, pg, pb, pm, pv)
        c = BatchNormalization (b, qg, qb, qm, qv)
        d = Relu (c) e = GlobalAveragePool (d) f2 = Flatten (e)
        y = MatMul (f2, f)
    """
    return tiny_model(f"(float[N,2,5,5] x) => (float[N,4] y) {{ {body} }}", weights)


MODELS = {"mlp": mlp_model(40, 12, 5), "normed": normed_model()}


def compiled(graph: Graph, bits: int = 8) -> Graph:
    for step in (PASSES["fold-batchnorm"](), PASSES["quantize"](bits=bits)):  # type: ignore[call-arg]
        graph = step.run(graph).graph
    return graph


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bits", [8, 6])
def test_codes_are_those_of_the_compile_path(name: str, bits: int, tmp_path: Path) -> None:
    graph = imported(MODELS[name], tmp_path)
    layers = QuantisedLayers(Network(graph), FinetuneOptions(bits=bits, budget=(8,) * (bits // 2)))
    mapped = compiled(graph, bits)
    for layer in mapped.layers():
        codes = layers.codes(layers.layers[layer.name])
        np.testing.assert_array_equal(codes.values.numpy(), mapped.arrays_of(layer.name)["codes"])
        np.testing.assert_array_equal(codes.step.numpy(), mapped.arrays_of(layer.name)["weight_scale"])


@pytest.mark.parametrize("name", MODELS)
def test_the_quantised_network_computes_with_its_codes(name: str, tmp_path: Path) -> None:
    """With codes and step in place of the folded weights, the float network gives the same."""
    graph = imported(MODELS[name], tmp_path)
    network = Network(graph)
    layers = QuantisedLayers(network, FinetuneOptions())
    mapped = compiled(graph)
    integer = Network(mapped)
    with torch.no_grad():
        for layer in mapped.layers():
            arrays = mapped.arrays_of(layer.name)
            matrix = torch.from_numpy(arrays["codes"] * arrays["weight_scale"])
            stored = integer.parameters[layer.weight]
            stored.copy_((matrix.T if layer.transposed else matrix).reshape(stored.shape))
        x = torch.from_numpy(random_weights(3, *(graph.tensors["x"].shape or ())[1:], seed=5))
        found = network.run({"x": x}, layers.prepare)["y"]
        np.testing.assert_allclose(found.numpy(), integer.run({"x": x})["y"].numpy(), rtol=1e-4, atol=1e-5)


def test_inputs_are_quantised_to_the_range_that_was_seen(tmp_path: Path) -> None:
    """Range 0..0.9 takes steps of 2**-8; below 0, two's complement in steps of 2**-7. Beyond the range they clip."""
    network = Network(imported(mlp_model(3, 2), tmp_path))
    layers = QuantisedLayers(network, FinetuneOptions())
    layer = layers.layers["fc0"]
    x = torch.tensor([[0.3, 1.5, -0.2]], requires_grad=True)
    layers.ranges = {"fc0": (0.0, 0.9)}
    found, _ = layers.prepare(layer, x, network.parameters["w0"])
    assert (found.detach() * 256).tolist() == [[77, 255, 0]]
    torch.autograd.backward(found.sum())
    assert x.grad is not None
    assert x.grad.tolist() == [[1, 0, 0]]
    layers.ranges = {"fc0": (-0.2, 0.9)}
    found, _ = layers.prepare(layer, x, network.parameters["w0"])
    assert (found.detach() * 128).tolist() == [[38, 127, -26]]


@pytest.mark.parametrize("headroom", [0, 3])
@pytest.mark.parametrize("name", MODELS)
def test_projected_weights_compile_to_projected_codes(name: str, headroom: int, tmp_path: Path) -> None:
    """What training proves of its codes holds for the codes in the plan."""
    graph = imported(MODELS[name], tmp_path)
    options = FinetuneOptions(project=True, headroom=headroom, budget=(1, 2, 2, 3), rows=16)
    network = Network(graph)
    layers = QuantisedLayers(network, options)
    layers.freeze_steps()
    layers.caps = {layer: options.caps(layer) for layer in layers.layers}
    wanted = {layer: layers.codes(record).values.numpy().copy() for layer, record in layers.layers.items()}
    layers.store()
    parameters = {key: value.detach().numpy() for key, value in network.parameters.items()}
    path = save(with_parameters(tmp_path / "model.onnx", graph, parameters), tmp_path / "new.onnx")
    mapped = compiled(imported(onnx.load(path), tmp_path))
    for layer in mapped.layers():
        codes = mapped.arrays_of(layer.name)["codes"]
        np.testing.assert_array_equal(codes, wanted[layer.name])
        stats = column_stats(codes, stored_bits=8, bits_per_cell=2, group_rows=16)
        assert (lossless_bits(stats.sums, stats.gcds).max(axis=(0, 2, 3)) <= options.budget[::-1]).all()
        assert codes.any()


def test_figures_by_hand() -> None:
    """Codes 64, 1 and -3 in two columns: row 1 and column 2 are empty and not built."""
    codes = np.array([[64, 1, 0], [0, 0, 0], [0, -3, 0]], np.int16)
    found = measure(codes, FinetuneOptions(), grouped=False)
    assert found.weights == 9
    assert found.nonzeros.tolist() == [2, 0, 0, 1]
    assert found.bits[:, :2].tolist() == [[2, 2], [4, 0], [4, 0], [3, 1]]
    both = found + found
    assert both.to_json() == {
        "density": [1 / 9, 0, 0, 2 / 9],
        "bits_max": [1, 0, 0, 1],
        "bits_mean": [0.25, 0, 0, 0.5],
    }
