from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bsc.errors import ModelError
from bsc.ir.graph import DigitalOp, Graph, ModelInfo, Op, TensorType
from bsc.ir.layer import CrossbarLayer
from bsc.testing import imported, random_weights, tiny_model
from tests.passes.layers import coded_layer


def digital(name: str, inputs: str, outputs: str) -> DigitalOp:
    return DigitalOp(
        name=name, op_type="Any", domain="", inputs=tuple(inputs.split()), outputs=tuple(outputs.split()), node=b""
    )


def layer(name: str, x: str, y: str) -> CrossbarLayer:
    return CrossbarLayer(
        name=name,
        op_type="MatMul",
        input=x,
        output=y,
        rows=2,
        columns=2,
        vectors=1,
        weight="w",
        transposed=False,
        bias=None,
    )


def graph_of(ops: Sequence[Op]) -> Graph:
    return Graph(
        info=ModelInfo(name="hand.onnx", sha256="", opsets={"": 17}, dynamic_batch=False),
        ops=ops,
        tensors={name: TensorType(name=name, shape=(1, 2), dtype="float32") for name in ("x", "y")},
        inputs=("x",),
        outputs=("y",),
        arrays={"w": np.eye(2)},
    )


# x feeds two branches that meet in `add`; written in an order that no run could follow.
SPLIT, LEFT, RIGHT, ADD = (
    digital("split", "x", "l r"),
    layer("left", "l", "a"),
    digital("right", "r r", "b"),
    digital("add", "a b", "y"),
)


@pytest.mark.parametrize(
    ("given_order", "run_order"),
    [
        ([SPLIT, LEFT, RIGHT, ADD], ["split", "left", "right", "add"]),
        ([SPLIT, RIGHT, LEFT, ADD], ["split", "right", "left", "add"]),
        ([ADD, RIGHT, LEFT, SPLIT], ["split", "right", "left", "add"]),
    ],
)
def test_operators_come_after_what_they_read_and_else_in_model_order(
    given_order: list[Op], run_order: list[str]
) -> None:
    graph = graph_of(given_order)
    assert [op.name for op in graph.ops()] == run_order
    assert [op.name for op in graph.with_layers({}).ops()] == run_order


def test_producers_and_consumers() -> None:
    graph = graph_of([ADD, RIGHT, LEFT, SPLIT])
    assert graph.op("left") is LEFT
    assert list(graph.layers()) == [LEFT]
    assert (graph.producer("r"), graph.producer("y")) == (SPLIT, ADD)
    assert (graph.producer("x"), graph.producer("w"), graph.producer("")) == (None, None, None)
    assert (graph.consumers("r"), graph.consumers("x"), graph.consumers("y")) == ([RIGHT], [SPLIT], [])


def test_with_layers_leaves_the_original_as_it_was() -> None:
    graph = graph_of([SPLIT, LEFT, RIGHT, ADD])
    before = str(graph)
    other = graph.with_layers({"left": replace(LEFT, rows=3)}, {"left/new": np.ones(1)})
    assert [op.rows for op in other.layers()] == [3]
    assert other.array("left/new").tolist() == [1]
    assert (other.has_array("left/new"), other.has_array("w")) == (False, True)  # no tensor is called so
    assert (str(graph), graph.has_array("left/new")) == (before, False)


def test_without_drops_operators() -> None:
    graph = graph_of([SPLIT, LEFT, RIGHT, ADD])
    shortened = graph.without({"right"}, {"left": replace(LEFT, output="y")}, {})
    assert [op.name for op in shortened.ops()] == ["split", "left", "add"]
    assert graph.op("right") is RIGHT


def test_ranges_survive_later_changes() -> None:
    graph = graph_of([SPLIT, LEFT, RIGHT, ADD])
    seen = graph.with_ranges({"a": (-1.0, 2.0)})
    assert (dict(graph.ranges), dict(seen.with_layers({}).ranges)) == ({}, {"a": (-1.0, 2.0)})


def test_words_for_a_cycle() -> None:
    with pytest.raises(ModelError) as caught:
        graph_of([digital("a", "x q", "p"), digital("b", "p", "q y")])
    assert str(caught.value) == (
        "[BSC301] model 'hand.onnx': the operators form a cycle\n"
        "  seen: an operator that needs its own result\n"
        "  fix:  export the model again; ONNX graphs must be acyclic"
    )


def test_text_of_a_graph(tmp_path: Path) -> None:
    model = tiny_model(
        """(float[N,2,5,5] x, float[3,4] u) => (float[] y, float[] q) {
            [conv] c = Conv <group = 2, pads = [1,0,1,0]> (x, w)
            [clip] d = Clip(c, , high)
            [gelu] y = com.microsoft.Gelu(d)
            [left] p = MatMul(v, u)
            q = Add(p, high)
        }""",
        {"w": random_weights(4, 1, 3, 3), "high": np.array(6, np.float32), "v": random_weights(2, 3)},
        domains=["com.microsoft"],
    )
    assert str(imported(model, tmp_path)) == (
        "model     model.onnx\n"
        "input     x:float32[1x2x5x5]\n"
        "input     u:float32[3x4]\n"
        "crossbar  conv  Conv  x -> c  9x4/2 groups  15 vectors\n"
        "          kernel 3x3 stride 1x1 dilation 1x1 pad 1:1 0:0\n"
        "digital   clip  Clip  c, -, high -> d\n"
        "digital   gelu  com.microsoft.Gelu  d -> y\n"
        "digital   left/input  Transpose  u -> left/input\n"
        "crossbar  left  MatMul  left/input -> left/result  3x2  4 vectors\n"
        "digital   left/output  Transpose  left/result -> p\n"
        "digital   Add_4  Add  p, high -> q\n"
        "output    y:float32[1x4x5x3]\n"
        "output    q:float32[2x4]\n"
    )


def test_a_constant_that_bsc_would_overwrite_is_refused() -> None:
    """Passes name arrays after layers; a model may hold a constant of that very name."""
    graph = coded_layer([[1]])
    (weight,) = (layer.weight for layer in graph.layers())
    added = graph.with_layers({}, {"mine": np.zeros(1)})
    assert added.with_layers({}, {"mine": np.ones(1)}).array("mine") == 1  # a pass may replace what a pass made
    with pytest.raises(ModelError) as caught:
        graph.with_layers({}, {weight: np.zeros(1)})
    assert str(caught.value) == (
        "[BSC301] model 'tiny.onnx': a constant has a name that bsc gives to an array of its own\n"
        "  seen: 'fc.weight'\n"
        "  fix:  rename the constant"
    )
