from pathlib import Path

import numpy as np
import onnx
import pytest

from bsc.errors import DoesNotFitError, ModelError
from bsc.ir import schedule as schedule_module
from bsc.ir.graph import DigitalOp, Graph
from bsc.ir.schedule import schedule
from bsc.mapping.model import LayerStep, Segment
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, tiny_model

RESIDUAL = tiny_model(
    """(float[N,2,4,4] x) => (float[N,3] y) {
        s = Neg(x)
        [c1] a = Conv <pads = [1,1,1,1]> (s, w1)
        [side] k = Conv(s, w2)
        b = Relu(a)
        [c2] c = Conv(b, w2)
        d = Add(c, k)
        t = Mul(s, two)
        e = Sub(d, t)
        p = GlobalAveragePool(e)
        f = Flatten(p)
        [fc] y = MatMul(f, w3)
    }""",
    {
        "w1": random_weights(2, 2, 3, 3),
        "w2": random_weights(2, 2, 1, 1, seed=1),
        "w3": random_weights(2, 3, seed=2),
        "two": np.array(2, np.float32),
    },
)


def summary(graph: Graph) -> list[str]:
    """One line a step: what runs, what it reads, what it leaves for later."""
    lines = []
    for step in schedule(graph):
        what = step.layer if isinstance(step, LayerStep) else " ".join(op.op_type for op in body(step).node)
        lines.append(f"{what}: {' '.join(step.inputs)} -> {' '.join(step.outputs)}")
    return lines


def body(segment: Segment) -> onnx.GraphProto:
    graph: onnx.GraphProto = onnx.ModelProto.FromString(segment.model).graph
    return graph


def test_steps_of_a_residual_block_by_hand(tmp_path: Path) -> None:
    graph = imported(RESIDUAL, tmp_path)
    assert summary(graph) == [
        "Neg Mul: x -> s t",
        "c1: s -> a",
        "side: s -> k",
        "Relu: a -> b",
        "side: b -> c",  # c2, which has the same weights
        "Add Sub GlobalAveragePool Flatten: c k t -> f",
        "fc: f -> y",
    ]
    first = next(schedule(graph))
    assert isinstance(first, Segment)
    assert [constant.name for constant in body(first).initializer] == ["two"]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_residual_block_computes_what_onnxruntime_does(batch: int, tmp_path: Path) -> None:
    assert_same_as_onnxruntime(RESIDUAL, imported(RESIDUAL, tmp_path), batch=batch)


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (list(schedule(imported(RESIDUAL, tmp_path))) for _ in range(2))
    assert first == second


W = random_weights(4, 4)


def test_an_omitted_output_is_never_asked_for(tmp_path: Path) -> None:
    model = tiny_model(
        """(float[3,2,4] x) => (float[] y) {
            h = MatMul(x, w)
            unread, last = GRU <hidden_size = 2> (h, gates, recurrence)
            g = MatMul(last, u)
            y = Clip(g, , high)
        }""",
        {
            "w": W,
            "gates": random_weights(1, 6, 4),
            "recurrence": random_weights(1, 6, 2),
            "u": random_weights(2, 2),
            "high": np.array(0.1, np.float32),
        },
    )
    graph = imported(model, tmp_path, as_written=True)
    assert graph.op("GRU_1").outputs == ("", "last")
    assert summary(graph) == ["MatMul_0: x -> h", "GRU: h -> last", "MatMul_2: last -> g", "Clip: g -> y"]
    assert_same_as_onnxruntime(model, graph)


def test_words_for_a_tensor_of_unknown_type(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,4] x) => (float[] y) { g = com.microsoft.Unheard(x)  h = MatMul(x, w)  y = Add(h, g) }",
        {"w": W},
        domains=["com.microsoft"],
    )
    with pytest.raises(ModelError) as caught:
        list(schedule(imported(model, tmp_path)))
    assert str(caught.value) == (
        "[BSC305] the element type of tensor 'g' is unknown\n"
        "  seen: an operator before it that ONNX's shape inference does not know\n"
        "  fix:  replace the operators that make it by standard ONNX operators"
    )


@pytest.mark.parametrize(("room", "fits"), [(0, True), (-1, False)])
def test_words_for_constants_that_do_not_fit_into_a_segment(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fits: bool
) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { h = MatMul(x, w)  y = Add(h, big) }", {"w": W, "big": W[:1]})
    graph = imported(model, tmp_path)
    (node,) = (op.node for op in graph.ops() if isinstance(op, DigitalOp))
    size = len(node) + W[:1].nbytes
    monkeypatch.setattr(schedule_module, "MAX_SEGMENT_BYTES", size + room)
    if fits:
        assert len(list(schedule(graph))) == 2
        return
    with pytest.raises(DoesNotFitError) as caught:
        list(schedule(graph))
    assert str(caught.value) == (
        "[BSC402] digital operators before tensor 'y' do not fit into an ONNX file\n"
        f"  seen: {size} bytes of constants\n"
        "  fix:  keep large tables, such as embeddings, out of the model that is compiled"
    )
