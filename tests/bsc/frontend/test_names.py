"""Names of the file never meet keys of arrays that the compiler makes."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import passes
from bsc.ir.graph import Graph
from bsc.ir.pipeline import parse_pipeline, run_pipeline
from bsc.mapping.arrays import array_key
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, tiny_model

PIPELINE = (
    "fold-batchnorm,quantize{bits=8},"
    "slice-bits{bits-per-cell=2 dac-bits=1 encoding=centre subtraction=digital flip=no cut=even},"
    "eliminate{rows=4},permute{rows=sorted columns=sorted group-rows=4},tile{rows=4 cols=4 active-rows=4},"
    "assign-adc{policy=lossless granularity=column}"
)


def keys_of(graph: Graph) -> set[str]:
    """Keys that passes and the import give to arrays."""
    made = {array_key(layer.name, name) for layer in graph.layers() for name in graph.arrays_of(layer.name)}
    return made | {"fc/folded-weight", "fc/folded-bias", "fc/alpha*weight", "fc/beta*bias"}


def compiled(graph: Graph) -> Graph:
    """After every pass that makes arrays."""
    return run_pipeline(graph, parse_pipeline(PIPELINE, passes.PASSES))[0]


def model_with(**renamed: str) -> onnx.ModelProto:
    """Gemm, normalisation, Relu, MatMul; `renamed` gives tensors other names."""
    ones = np.ones(3, np.float32)
    norm = {"s": 1.5 * ones, "o": ones / 4, "m": 0 * ones, "v": ones}
    model = tiny_model(
        """(float[N,4] x) => (float[] y) {
            [fc] h = Gemm <alpha = 2.0> (x, w, b)
            [bn] n = BatchNormalization (h, s, o, m, v)
            [relu] r = Relu (n)
            [fc2] y = MatMul (r, w2)
        }""",
        {"w": random_weights(4, 3), "b": ones, "w2": random_weights(3, 5), **norm},
    )
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    for tensor in model.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    return model


@pytest.mark.parametrize("tensor", ["w", "w2", "s", "n", "r"])
def test_a_tensor_may_be_called_like_any_array(tensor: str, tmp_path: Path) -> None:
    plain = compiled(imported(model_with(), tmp_path))
    keys = keys_of(plain)
    assert array_key("fc2", "sums") in keys
    for key in sorted(keys):
        model = model_with(**{tensor: key})
        graph = imported(model, tmp_path)
        assert_same_as_onnxruntime(model, graph, batch=3)
        result = compiled(graph)
        for layer in result.layers():
            ours, theirs = result.arrays_of(layer.name), plain.arrays_of(layer.name)
            for array in ("codes", "weight_scale"):
                np.testing.assert_array_equal(ours[array], theirs[array], err_msg=key)
