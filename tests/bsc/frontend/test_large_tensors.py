"""Large initialisers stay in the file: the same graph, the same digest, and what is not plain is read as before."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bsc.frontend import large_tensors
from bsc.frontend.large_tensors import as_external, read_without_large
from bsc.frontend.onnx_import import import_model
from bsc.replay.import_check import check_import
from bsc.testing import mlp_model, save


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_tensors, "LARGE_BYTES", 1)


def test_weights_lie_where_the_file_has_them(tmp_path: Path) -> None:
    path = save(mlp_model(8, 6, 4), tmp_path / "model.onnx")
    proto, places = read_without_large(path)
    whole = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    assert set(places) == set(whole)
    content = path.read_bytes()
    for tensor in proto.graph.initializer:
        place = places[tensor.name]
        assert not tensor.raw_data
        assert content[place.offset : place.offset + place.length] == whole[tensor.name].raw_data
        tensor.raw_data = whole[tensor.name].raw_data
    assert proto == onnx.load(path)


def test_the_graph_is_that_of_a_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(mlp_model(8, 6, 4), tmp_path / "model.onnx")
    mapped = import_model(path)
    monkeypatch.setattr(large_tensors, "LARGE_BYTES", 1 << 30)
    whole = import_model(path)
    assert mapped.info == whole.info
    assert str(mapped) == str(whole)
    for layer in whole.layers():
        np.testing.assert_array_equal(mapped.array(layer.weight), whole.array(layer.weight))


def test_onnxruntime_reads_them_there_too(tmp_path: Path) -> None:
    path = save(mlp_model(8, 6, 4), tmp_path / "a model.onnx")
    link = tmp_path / "elsewhere" / "link.onnx"
    link.parent.mkdir()
    link.symlink_to(path)
    for each in (path, link):
        graph, run = check_import(import_model(each), each, None)
        assert graph.info.check is not None
        assert graph.info.check.inputs == "made-up"
        assert run is not None


def test_another_file_may_take_the_name(tmp_path: Path) -> None:
    path = save(mlp_model(8, 6), tmp_path / "model.onnx")
    (layer,) = (graph := import_model(path)).layers()
    before = np.array(graph.array(layer.weight))
    save(mlp_model(8, 6, 4), tmp_path / "other.onnx").replace(path)
    np.testing.assert_array_equal(graph.array(layer.weight), before)


def _with_external(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="weights")


def _in_floats(model: onnx.ModelProto) -> None:
    values = numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].float_data.extend(values.ravel())


def _too_short(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]


def _of_half_bytes(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = onnx.TensorProto.INT4


@pytest.mark.parametrize("alter", [_with_external, _in_floats, _too_short, _of_half_bytes])
def test_what_is_not_plain_stays(alter: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    model = mlp_model(8, 6, 4)
    alter(model)
    path = save(model, tmp_path / "model.onnx")
    proto, places = read_without_large(path)
    assert model.graph.initializer[0].name not in places
    assert proto.graph.initializer[0] == model.graph.initializer[0]


def test_a_name_that_two_have(tmp_path: Path) -> None:
    model = mlp_model(8, 6, 4)
    model.graph.initializer.append(model.graph.initializer[0])
    path = save(model, tmp_path / "model.onnx")
    assert read_without_large(path) == (model, {})


@pytest.mark.parametrize("cut", [1, 7])
def test_a_file_that_was_not_copied_whole(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(mlp_model(8, 6).SerializeToString()[:-cut])
    with pytest.raises(Exception, match="pars"):
        read_without_large(path)


def test_the_model_refers_to_its_own_file(tmp_path: Path) -> None:
    path = save(mlp_model(8, 6), tmp_path / "model.onnx")
    proto, places = read_without_large(path)
    as_external(proto, places, path)
    onnx.load_external_data_for_model(proto, str(tmp_path))
    got = [numpy_helper.to_array(tensor) for tensor in proto.graph.initializer]
    for one, other in zip(got, onnx.load(path).graph.initializer, strict=True):
        np.testing.assert_array_equal(one, numpy_helper.to_array(other))
