"""Trained values go back to where the model file had them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from bsc.errors import BscError
from bsc.output_files import write_file
from bsc.testing import imported, mlp_model, random_weights, tiny_model
from bsc.train.export import with_parameters, write_model
from bsc.train.network import Network

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def trained(model: onnx.ModelProto, folder: Path) -> tuple[onnx.ModelProto, NDArray[Any], NDArray[Any]]:
    """The model with every parameter changed, what PyTorch computes with it, and onnxruntime."""
    graph = imported(model, folder)
    network = Network(graph)
    with torch.no_grad():
        for position, value in enumerate(network.parameters.values()):
            value.mul_(1.5).add_(0.01 * (position + 1))
        expected = network.run({"x": torch.from_numpy(X)})["y"].numpy()
    parameters = {name: value.detach().numpy() for name, value in network.parameters.items()}
    result = with_parameters(folder / "model.onnx", graph, parameters)
    onnx.checker.check_model(result, full_check=True)
    session = onnxruntime.InferenceSession(result.SerializeToString(), providers=["CPUExecutionProvider"])
    return result, expected, session.run(None, {"x": X})[0]


MODELS = {
    "initialisers": mlp_model(4, 3, 2),
    "transposed": tiny_model(
        "(float[N,4] x) => (float[N,2] y) { [turn] t = Transpose <perm = [1, 0]> (w) [fc] y = MatMul (x, t) }",
        {"w": random_weights(2, 4)},
    ),
    "scaled": tiny_model(
        "(float[N,4] x) => (float[N,2] y) { [fc] y = Gemm <alpha = 0.5, beta = 3.0> (x, w, b) }",
        {"w": random_weights(4, 2), "b": random_weights(1)},
    ),
    "shared": tiny_model(
        "(float[N,4] x) => (float[N,4] y) { [a] h = Gemm <alpha = 2.0> (x, w) [b] y = MatMul (h, w) }",
        {"w": random_weights(4, 4)},
    ),
    "constant": tiny_model(
        "(float[N,4] x) => (float[N,1] y) "
        "{ [c] w = Constant <value = float[4,1] {1, 2, 3, 4}> () [fc] y = MatMul (x, w) }"
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_new_file_computes_what_was_trained(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    before = model.SerializeToString(deterministic=True)
    result, expected, found = trained(model, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert (tmp_path / "model.onnx").read_bytes() == before
    assert [value.name for value in result.graph.output] == [value.name for value in model.graph.output]
    names = [node.name for node in model.graph.node]
    assert [node.name for node in result.graph.node] == [name for name in names if name not in ("turn", "c")]


def test_only_weights_change(tmp_path: Path) -> None:
    result, _, _ = trained(MODELS["initialisers"], tmp_path)
    again = onnx.ModelProto.FromString(result.SerializeToString())
    for new, old in zip(again.graph.initializer, MODELS["initialisers"].graph.initializer, strict=True):
        assert (new.name, list(new.dims)) == (old.name, list(old.dims))
        assert (numpy_helper.to_array(new) != numpy_helper.to_array(old)).all()
        new.CopyFrom(old)
    assert again == MODELS["initialisers"]


def test_a_weight_without_a_place(tmp_path: Path) -> None:
    graph = imported(mlp_model(4, 2), tmp_path)
    with pytest.raises(BscError) as caught:
        with_parameters(tmp_path / "model.onnx", graph, {"inner": X})
    assert str(caught.value) == (
        "[BSC304] fine-tuned weight 'inner' has no place in the model file\n"
        "  seen: a weight that is made inside a function\n"
        "  fix:  inline the model's functions first, with onnx.inliner.inline_local_functions"
    )


def test_a_weight_whose_name_two_bodies_have(tmp_path: Path) -> None:
    """Which of them was trained, names alone do not tell."""
    body = "() => (float[] {0}) {{ {0} = Neg(x) }}"
    model = tiny_model(
        "(float[N,4] x, bool c) => (float[] y) { h = MatMul(x, w)  p = If(c) <then_branch = t "
        f"{body.format('a')}, else_branch = e {body.format('b')}>  y = Add(h, p) }}",
        {"w": random_weights(4, 4)},
    )
    for attr in model.graph.node[1].attribute:
        attr.g.initializer.add().CopyFrom(numpy_helper.from_array(X, "own"))
    graph = imported(mlp_model(4, 2), tmp_path)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BscError, match="several weights of that name"):
        with_parameters(tmp_path / "model.onnx", graph, {"own": X})


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_model(MODELS["initialisers"], tmp_path / "a.onnx")
    assert onnx.load(tmp_path / "a.onnx") == MODELS["initialisers"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    with pytest.raises(BscError, match=r"BSC204.*cannot be written"):
        write_file(tmp_path / "no" / "such" / "folder.bin", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BscError, match=r"BSC204.*cannot be written"):
        write_file(tmp_path / "folder", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "folder"]
