"""Sparse constants, texts and values that are not tensors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bsc.errors import ModelError
from bsc.frontend import plain
from bsc.frontend.onnx_import import import_model
from bsc.testing import (
    assert_same_as_onnxruntime,
    float_outputs,
    imported,
    random_feeds,
    random_weights,
    save,
    tiny_model,
)

WHOLE = np.array([[0, 0, 1.5], [0, -2, 0], [0, 0, 0], [4, 0, 0.5]], np.float32)


def sparse(
    places: NDArray[np.int64], *, name: str = "w", values: Sequence[float] = (1.5, -2, 4, 0.5)
) -> onnx.SparseTensorProto:
    """`WHOLE`, by the places of its values."""
    return helper.make_sparse_tensor(
        numpy_helper.from_array(np.array(values, np.float32), name), numpy_helper.from_array(places, ""), [4, 3]
    )


LINEAR = np.array([2, 4, 9, 11])
PAIRS = np.array([[0, 2], [1, 1], [3, 0], [3, 2]])


@pytest.mark.parametrize("places", [LINEAR, PAIRS])
def test_sparse_initialisers_are_weights(places: NDArray[np.int64], tmp_path: Path) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { [fc] y = MatMul (x, w) }")
    model.graph.sparse_initializer.append(sparse(places))
    graph = imported(model, tmp_path)
    (layer,) = graph.layers()
    assert graph.array(layer.weight).tolist() == WHOLE.tolist()
    assert_same_as_onnxruntime(model, graph, batch=2)


@pytest.mark.parametrize("places", [LINEAR, PAIRS])
def test_sparse_constants_are_weights(places: NDArray[np.int64], tmp_path: Path) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { [fc] y = MatMul (x, w) }")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=sparse(places, name="")))
    graph = imported(model, tmp_path)
    (layer,) = graph.layers()
    assert graph.array(layer.weight).tolist() == WHOLE.tolist()
    assert_same_as_onnxruntime(model, graph, batch=2)


@pytest.mark.parametrize(
    "places", [np.array([2, 4, 9, 12]), np.array([-1, 4, 9, 11]), LINEAR[:3], PAIRS[:, :1], PAIRS + 1]
)
def test_places_outside_are_refused(places: NDArray[np.int64], tmp_path: Path) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { [fc] y = MatMul (x, w) }")
    model.graph.sparse_initializer.append(sparse(places))
    with pytest.raises(ModelError, match=r"BSC301\] sparse constant 'w' contradicts itself"):
        imported(model, tmp_path)


@pytest.mark.parametrize("most", [12, 11])
def test_zeros_have_an_end(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "MAX_DENSE_VALUES", most)
    model = tiny_model("(float[N,4] x) => (float[] y) { [fc] y = MatMul (x, w) }")
    model.graph.sparse_initializer.append(sparse(LINEAR))
    if most == 12:
        imported(model, tmp_path)
        return
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        "[BSC312] sparse constant 'w' is too large once its zeros are written out\n"
        "  seen: 12 values\n"
        "  fix:  export the model with sparse constants of at most 11 values"
    )


@pytest.mark.parametrize("texts", [[b"yes"], ["größer".encode()], [b"a", b"b", b"c"]])
def test_texts_stay_digital(texts: list[bytes], tmp_path: Path) -> None:
    """As an initialiser, and as each kind of Constant that texts can be in."""
    body = "h = MatMul (x, w) c = Greater (h, z) t = Where (c, s, a) u = Where (c, b, t)"
    numbers = {"w": random_weights(4, 3), "z": np.zeros((), np.float32)}
    model = tiny_model(f"(float[N,4] x) => (float[] h, string[] u) {{ {body} }}", numbers)
    model.graph.initializer.append(numpy_helper.from_array(np.array([each.decode() for each in texts], object), "s"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["a"], value_strings=texts))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["b"], value_string=texts[0]))
    graph = imported(model, tmp_path)
    feeds = random_feeds(graph, batch=2)
    found = float_outputs(graph, feeds)
    above = found["h"] > 0
    assert (
        found["u"].tolist()
        == np.where(above, texts[0].decode(), np.broadcast_to([t.decode() for t in texts], (2, 3))).tolist()
    )


def test_outputs_may_be_maps_and_sequences(tmp_path: Path) -> None:
    body = "h = MatMul (x, w) q = SequenceConstruct (h, x) m = ai.onnx.ml.ZipMap <classlabels_int64s = [1, 2, 3]> (h)"
    model = tiny_model(
        f"(float[N,4] x) => (float[] h, seq(float[]) q) {{ {body} }}",
        {"w": random_weights(4, 3)},
        domains=["ai.onnx.ml"],
    )
    output = model.graph.output.add(name="m")
    output.type.sequence_type.elem_type.map_type.key_type = onnx.TensorProto.INT64
    output.type.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    graph = imported(model, tmp_path)
    found = float_outputs(graph, random_feeds(graph, batch=2))
    assert [len(each) for each in found["q"]] == [2, 2]
    assert [dict(each) for each in found["m"]] == [dict(zip((1, 2, 3), row, strict=True)) for row in found["h"]]


# --- links, as model hubs lay them out ---


def hub(folder: Path) -> Path:
    """A model and its weights as links into a folder of files that are named by their content."""
    files, names = folder / "blobs", folder / "snapshots" / "abc" / "onnx"
    files.mkdir()
    names.mkdir(parents=True)
    model = tiny_model("(float[N,4] x) => (float[] y) { [fc] y = MatMul (x, w) }", {"w": random_weights(4, 3)})
    onnx.save_model(model, files / "1111", save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    (files / "model.onnx_data").rename(files / "2222")
    (names / "model.onnx").symlink_to(Path("../../../blobs/1111"))
    (names / "model.onnx_data").symlink_to(Path("../../../blobs/2222"))
    return names / "model.onnx"


def test_links_of_a_hub_are_followed(tmp_path: Path) -> None:
    graph = import_model(hub(tmp_path))
    (layer,) = graph.layers()
    assert graph.array(layer.weight).tolist() == random_weights(4, 3).tolist()
    assert graph.info.name == "model.onnx"


def test_data_may_lie_beside_the_file_that_the_model_links_to(tmp_path: Path) -> None:
    path = hub(tmp_path)
    (path.parent / "model.onnx_data").unlink()
    (tmp_path / "blobs" / "2222").rename(tmp_path / "blobs" / "model.onnx_data")
    (layer,) = import_model(path).layers()
    assert (layer.rows, layer.columns) == (4, 3)


def test_links_may_not_lead_elsewhere(tmp_path: Path) -> None:
    path = hub(tmp_path)
    (tmp_path / "blobs" / "2222").rename(tmp_path / "elsewhere")
    (path.parent / "model.onnx_data").unlink()
    (path.parent / "model.onnx_data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="lies outside the model's folder"):
        import_model(path)


def test_a_plain_model_may_not_link_its_data_to_elsewhere(tmp_path: Path) -> None:
    path = hub(tmp_path)
    plain_model = path.parent / "copy.onnx"
    save(onnx.load(path, load_external_data=False), plain_model)
    with pytest.raises(ModelError, match="lies outside the model's folder"):
        import_model(plain_model)
