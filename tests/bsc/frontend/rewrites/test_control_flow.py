from pathlib import Path

import numpy as np
import pytest

from bsc.errors import ModelError
from bsc.ir.graph import DigitalOp, Graph
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, tiny_model

WEIGHTS = {
    "w": random_weights(4, 4),
    "v": random_weights(4, 4, seed=1),
    "three": np.array(3),
    "yes": np.array(True),
    "no": np.array(False),
}

WRITTEN_OUT = {
    "If, true": """
        y = If(yes) <then_branch = t () => (float[] p) { p = MatMul(x, w) },
                     else_branch = e () => (float[] q) { q = MatMul(x, v) }>""",
    "If, false": """
        y = If(no) <then_branch = t () => (float[] p) { p = MatMul(x, w) },
                    else_branch = e () => (float[] q) { q = MatMul(x, v) }>""",
    "Loop": """
        y = Loop(three, , x) <body = b (int64 n, bool more, float[] old) => (bool go, float[] new) {
            go = Identity(more)  h = MatMul(old, w)  new = Tanh(h) }>""",
    "Loop that stacks": """
        s, k = Loop(three, yes, x) <body = b (int64 n, bool more, float[] old) => (bool go, float[] new, float[] out) {
            go = Identity(more)  h = MatMul(old, w)  f = Cast <to = 1> (n)  new = Add(h, f)  out = Tanh(new) }>
        r = ReduceSum(k)
        y = Add(s, r)""",
    "Loop in a Loop": """
        y = Loop(three, , x) <body = b (int64 n, bool more, float[] old) => (bool go, float[] new) {
            go = Identity(more)
            new = Loop(three, , old) <body = c (int64 m, bool on, float[] a) => (bool off, float[] z) {
                off = Identity(on)  h = MatMul(a, w)  z = Tanh(h) }> }>""",
    "Scan": """
        t = Transpose <perm = [1, 0, 2]> (u)
        s, k = Scan <num_scan_inputs = 1, body = b (float[] old, float[] one) => (float[] new, float[] out) {
            h = MatMul(one, w)  r = MatMul(old, v)  i = Add(h, r)  new = Tanh(i)  out = Relu(new) }> (x, t)
        m = ReduceMax <axes = [0], keepdims = 0> (k)
        y = Add(s, m)""",
    "Scan backwards along another axis": """
        s, k = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1], scan_output_axes = [1],
            scan_output_directions = [1], body = b (float[] old, float[] one) => (float[] new, float[] out) {
            h = MatMul(one, w)  i = Add(h, old)  new = Tanh(i)  out = Identity(h) }> (x, u)
        m = ReduceMax <axes = [1], keepdims = 0> (k)
        y = Add(s, m)""",
}


def of(body: str, tmp_path: Path) -> Graph:
    return imported(
        tiny_model(f"(float[N,4] x, float[N,5,4] u, bool c) => (float[] y) {{ {body} }}", WEIGHTS), tmp_path
    )


@pytest.mark.parametrize("case", WRITTEN_OUT)
def test_bodies_that_run_a_known_number_of_times_are_written_out(case: str, tmp_path: Path) -> None:
    source = tiny_model(f"(float[N,4] x, float[N,5,4] u) => (float[] y) {{ {WRITTEN_OUT[case]} }}", WEIGHTS)
    graph = imported(source, tmp_path)
    assert not [
        op for op in graph.ops() if isinstance(op, DigitalOp) and op.op_type in ("If", "Loop", "Scan", "MatMul")
    ]
    for batch in (1, 3):
        assert_same_as_onnxruntime(source, graph, batch=batch)


def test_runs_share_crossbars(tmp_path: Path) -> None:
    graph = of(WRITTEN_OUT["Scan"], tmp_path)
    assert [(layer.name, layer.vectors) for layer in graph.layers()] == [("Scan_1/MatMul", 5), ("Scan_1/MatMul_2", 5)]


LEFT = {
    "which of its branches runs depends on input 'c'; it holds 2 products with weights": """
        y = If(c) <then_branch = t () => (float[] p) { p = MatMul(x, w) },
                   else_branch = e () => (float[] q) { q = MatMul(x, v) }>""",
    "which of its branches runs is known at run time only; it holds 2 products with weights": """
        s = ReduceSum <keepdims = 0> (x)
        t = Cast <to = 9> (s)
        y = If(t) <then_branch = t () => (float[] p) { p = MatMul(x, w) },
                   else_branch = e () => (float[] q) { q = MatMul(x, v) }>""",
    "how often it runs is known at run time only; it holds 1 product with weights": """
        n = Size(x)
        y = Loop(n, , x) <body = b (int64 i, bool more, float[] old) => (bool go, float[] new) {
            go = Identity(more)  new = MatMul(old, w) }>""",
    "it runs 257 times, more than can be written out; it holds 1 product with weights": """
        n = Constant <value = int64 {257}> ()
        y = Loop(n, , x) <body = b (int64 i, bool more, float[] old) => (bool go, float[] new) {
            go = Identity(more)  new = MatMul(old, w) }>""",
}


@pytest.mark.parametrize("why", LEFT)
def test_words_of_what_stays_digital(why: str, tmp_path: Path) -> None:
    graph = of(f"a = MatMul(x, w) b = Relu(a) {LEFT[why].replace(' y =', ' z =')} y = Add(b, z)", tmp_path)
    assert [op.why for op in graph.ops() if isinstance(op, DigitalOp) and op.why] == [why]


def test_a_loop_that_may_stop_early_stays(tmp_path: Path) -> None:
    body = """
        a = MatMul(x, w)
        z = Loop(three, , x) <body = b (int64 i, bool more, float[] old) => (bool go, float[] new) {
            m = ReduceMax <keepdims = 0> (old)  go = Less(m, m)  new = MatMul(old, w) }>
        y = Add(a, z)"""
    graph = of(body, tmp_path)
    assert [op.op_type for op in graph.ops() if isinstance(op, DigitalOp)] == ["Loop", "Add"]


def looping(runs: int, tmp_path: Path, *, go: str = "go = Identity(more)") -> Graph:
    """A layer, and a Loop that holds no weights behind it."""
    text = f"""(float[N,4] x) => (float[] z) {{
        y = MatMul(x, w)
        z = Loop(n, , y) <body = b (int64 i, bool more, float[] old) => (bool go, float[] new) {{
            {go}
            new = Tanh(old) }}> }}"""
    return imported(tiny_model(text, {"w": WEIGHTS["w"], "n": np.array(runs)}), tmp_path)


def test_words_for_a_loop_without_end(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        looping((1 << 24) + 1, tmp_path)
    name = str(caught.value).split("'")[1]
    assert str(caught.value) == (
        f"[BSC312] operator '{name}' (Loop) would run without end\n"
        "  seen: 16777217 runs, and nothing in it stops it earlier\n"
        "  fix:  export the model with a Loop of at most 16777216 runs, or one that stops by its condition"
    )


def test_long_loops_that_end(tmp_path: Path) -> None:
    """The largest number of runs allowed, and more of them where the values decide."""
    stops = "s = ReduceSum <keepdims = 0> (old)  one = Constant <value = float {1}> ()  go = Less(s, one)"
    for graph in (looping(1 << 24, tmp_path), looping((1 << 63) - 1, tmp_path, go=stops)):
        assert [op.op_type for op in graph.ops() if isinstance(op, DigitalOp)] == ["Loop"]


def test_a_branch_that_gives_too_little_stays(tmp_path: Path) -> None:
    model = tiny_model(f"(float[N,4] x) => (float[] y) {{ a = MatMul(x, w) {WRITTEN_OUT['If, true']} }}", WEIGHTS)
    (branch,) = (attribute.g for attribute in model.graph.node[1].attribute if attribute.name == "then_branch")
    del branch.output[:]
    with pytest.raises(ModelError, match="seen: If If_1: its inputs and attributes contradict each other"):
        imported(model, tmp_path)
