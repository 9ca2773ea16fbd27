"""Which rows wait for which, judged by running the program: rows of a layer's output are replaced one by one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bsc.chip.dataflow import Dataflow, dataflow_of
from bsc.execution.session import quiet_session
from bsc.mapping.model import LayerStep, MappedModel, StepRecord
from bsc.numeric.im2col import from_vectors, to_vectors
from tests.bsc.chip import networks
from tests.bsc.plans import coded, model_plan, plan_of

Tensors = dict[str, NDArray[Any]]


class Judge:
    """Runs a program whose layers have random weights."""

    def __init__(self, mapping: MappedModel) -> None:
        self.steps = mapping.program()
        self.layers = {layer.name: layer for layer in mapping.layers}
        self.sessions = [None if isinstance(step, LayerStep) else quiet_session(step.model) for step in self.steps]
        rng = np.random.default_rng(0)
        self.weights = {
            name: rng.standard_normal((layer.groups, layer.rows, layer.columns // layer.groups))
            for name, layer in self.layers.items()
        }
        shapes = {tensor.name: tensor.shape or () for tensor in mapping.inputs}
        self.inputs = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}

    def run(self, given: Mapping[str, NDArray[Any]]) -> Tensors:
        """All tensors; outputs of layers that are given are taken from there, for those who read them."""
        known: Tensors = dict(self.inputs)
        computed: Tensors = {}
        for step, session in zip(self.steps, self.sessions, strict=True):
            if isinstance(step, LayerStep):
                name = step.outputs[0]
                computed[name] = self.layer(step.layer, known[step.inputs[0]])
                known[name] = given.get(name, computed[name])
            else:
                assert session is not None
                results = session.run(list(step.outputs), {each: known[each] for each in step.inputs})
                known |= dict(zip(step.outputs, results, strict=True))
        return computed

    def layer(self, name: str, x: NDArray[Any]) -> NDArray[Any]:
        layer = self.layers[name]
        geometry = None if layer.conv is None else layer.conv.geometry()
        products = np.einsum("vgk,gkn->vgn", to_vectors(x, geometry, layer.groups), self.weights[name])
        return from_vectors(products.reshape(len(products), -1), x.shape, geometry).astype(np.float32)

    def uses(self) -> list[str]:
        """Outputs of layers in the order they run."""
        return [step.outputs[0] for step in self.steps if isinstance(step, LayerStep)]


def lines(shape: tuple[int, ...], convolved: bool) -> int:
    """Lines of an image, places of a signal, tokens or steps of a sequence, rows of a matrix."""
    if convolved:
        return shape[2]
    return shape[0] if len(shape) == 2 or shape[1] == 1 else shape[1]


def row_axis(shape: tuple[int, ...], rows: int) -> int:
    """The axis that has so many rows; of several the one that images and tokens are streamed over."""
    preferred = 2 if len(shape) == 4 else 1 if len(shape) == 3 else 0
    return preferred if shape[preferred] == rows else shape.index(rows)


def changes(judge: Judge, flow: Dataflow) -> dict[tuple[int, int], NDArray[np.bool_]]:
    """By (later use, earlier use): which row of the earlier one's output (columns) changes which of the later one's."""
    names = judge.uses()
    base = judge.run({})
    rng = np.random.default_rng(1)
    found: dict[tuple[int, int], NDArray[np.bool_]] = {}
    for earlier, name in enumerate(names):
        axis = row_axis(base[name].shape, flow.uses[earlier].rows)
        for row in range(flow.uses[earlier].rows):
            for _ in range(2):
                other = np.moveaxis(base[name].copy(), axis, 0)
                other[row] = 3 * rng.standard_normal(other[row].shape)
                after = judge.run(base | {name: np.moveaxis(other, 0, axis)})
                for later in range(earlier + 1, len(names)):
                    shape = base[names[later]].shape
                    differs = after[names[later]] != base[names[later]]
                    rows = flow.uses[later].rows
                    which = np.moveaxis(differs, row_axis(shape, rows), 0).reshape(rows, -1).any(axis=1)
                    table = found.setdefault((later, earlier), np.zeros((rows, flow.uses[earlier].rows), np.bool_))
                    table[:, row] |= which
    return found


def assert_follows(mapping: MappedModel, *, exact: bool = True) -> Dataflow:
    """What rows wait for is all that changes them, and no more."""
    flow = dataflow_of(mapping)
    judge = Judge(mapping)
    shapes = [judge.run({})[name].shape for name in judge.uses()]
    assert [use.vectors * mapping.layer(use.layer).columns for use in flow.uses] == [math.prod(each) for each in shapes]
    assert [use.rows for use in flow.uses] == [
        lines(each, mapping.layer(use.layer).conv is not None) for use, each in zip(flow.uses, shapes, strict=True)
    ]
    assert [use.layer for use in flow.uses] == [step.layer for step in judge.steps if isinstance(step, LayerStep)]
    for (later, earlier), table in changes(judge, flow).items():
        read = next((read for read in flow.uses[later].reads if read.source == earlier), None)
        what = f"{flow.uses[later].layer} of {flow.uses[earlier].layer}"
        if read is None:
            assert not table.any(), what
            continue
        assert table.any(), what
        columns = np.arange(table.shape[1])
        within = (columns >= read.first[:, None]) & (columns < read.last[:, None])
        assert not np.any(table & ~within), f"{what}:\n{table.astype(int)}\n{read.first}\n{read.last}"
        last = np.where(table.any(axis=1), table.shape[1] - table[:, ::-1].argmax(axis=1), 0)
        if exact:
            assert read.last.tolist() == np.maximum.accumulate(last).tolist(), what
    return flow


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "chain": networks.chain,
    "branch": networks.branch,
    "residual": networks.residual,
    "dense": networks.dense,
    "depthwise": networks.depthwise,
    "lstm": networks.lstm,
    "two lstms": lambda: networks.lstm(3, 2),
    "attention": networks.attention,
    "shared": networks.shared,
    "turned": networks.turned,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_waits_for_all_that_changes_it_and_for_no_more(name: str, tmp_path: Path) -> None:
    assert_follows(model_plan(NETWORKS[name](), tmp_path).mapping)


def test_a_segment_that_cannot_be_read_needs_everything() -> None:
    """Nobody has checked a plan's digital operators when its report is made."""
    mapping = plan_of(coded([[1, 2]], name="a", output="h"), coded([[3], [4]], name="b", input="h")).mapping
    first, second = mapping.record.steps
    segment = StepRecord(digital="digital/0000.onnx", operators={"Relu": 1}, inputs=("h",), outputs=("g",))
    steps = (first, segment, second.model_copy(update={"inputs": ("g",)}))
    record = mapping.record.model_copy(update={"steps": steps})
    for file in (b"no model", b"", wrong_attribute(), long_list()):
        flow = dataflow_of(replace(mapping, record=record, digital={"digital/0000.onnx": file}.__getitem__))
        assert [(read.source, read.last.tolist()) for read in flow.uses[1].reads] == [(0, [1])]


def wrong_attribute() -> bytes:
    """A pool whose padding is a list of numbers where ONNX has a word."""
    node = onnx.helper.make_node("MaxPool", ["h"], ["g"], kernel_shape=[2, 2], auto_pad=[1])
    value = onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, [1, 2, 4, 4])
    out = onnx.ValueInfoProto(name="g")
    return bytes(onnx.helper.make_model(onnx.helper.make_graph([node], "s", [value], [out])).SerializeToString())


def long_list() -> bytes:
    """What counts to 2^44, which shape inference would do number by number."""
    numbers = [onnx.numpy_helper.from_array(np.array(n), name) for name, n in {"a": 0, "b": 1 << 44, "c": 1}.items()]
    nodes = [
        onnx.helper.make_node("Range", ["a", "b", "c"], ["r"]),
        onnx.helper.make_node("Cast", ["r"], ["f"], to=1),
        onnx.helper.make_node("ReduceMax", ["f"], ["m"], keepdims=0),
        onnx.helper.make_node("Add", ["h", "m"], ["g"]),
    ]
    value = onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, [1, 2])
    graph = onnx.helper.make_graph(nodes, "s", [value], [onnx.ValueInfoProto(name="g")], numbers)
    return bytes(onnx.helper.make_model(graph).SerializeToString())
