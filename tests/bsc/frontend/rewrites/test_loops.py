"""Loops that count by themselves, and weights that are handed from run to run."""

from pathlib import Path

import numpy as np
import pytest

from bsc.frontend.rewrites.recurrent_node import MAX_STEPS
from bsc.ir.graph import DigitalOp
from bsc.ir.macs import digital_macs
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, tiny_model

WHILE = """(float[N,4] x) => (float[] y, float[] z) {{
    go = Less (zero, most)
    n, y, v, m = Loop (, go, zero, x, w, most) <body = b (int64 i, bool c, int32 at, float[] h, float[4,4] k, int32 end)
        => (bool again, int32 next, float[] g, float[4,4] k_out, int32 end_out) {{
        p = MatMul (h, {weights}) g = Tanh (p) next = Add (at, {step}) again = Less (next, {end})
        k_out = Identity (k) end_out = Identity (end) }}>
    z = MatMul (x, w2) }}"""


NUMBERS = {
    "zero": np.array(0, np.int32),
    "one": np.array(1, np.int32),
    "w": random_weights(4, 4),
    "w2": random_weights(4, 2),
}


@pytest.mark.parametrize("runs", [1, 4, 7])
def test_a_counter_is_followed(runs: int, tmp_path: Path) -> None:
    text = WHILE.format(weights="k", step="one", end="end")
    model = tiny_model(text, NUMBERS | {"most": np.array(runs, np.int32)})
    graph = imported(model, tmp_path)
    assert "Loop" not in [op.op_type for op in graph.ops() if isinstance(op, DigitalOp)]
    shared, _ = graph.layers()
    assert shared.vectors == runs  # one crossbar layer serves every run
    assert_same_as_onnxruntime(model, graph, batch=2)


@pytest.mark.parametrize(("runs", "written_out"), [(MAX_STEPS, True), (MAX_STEPS + 1, False)])
def test_longer_loops_stay(runs: int, tmp_path: Path, *, written_out: bool) -> None:
    text = WHILE.format(weights="k", step="one", end="end")
    graph = imported(tiny_model(text, NUMBERS | {"most": np.array(runs, np.int32)}), tmp_path)
    assert ("Loop" not in [op.op_type for op in graph.ops() if isinstance(op, DigitalOp)]) is written_out


def test_a_condition_on_data_is_not_followed(tmp_path: Path) -> None:
    text = """(float[N,4] x) => (float[] y, float[] z) {
        y = Loop (most, on, x) <body = b (int64 i, bool c, float[] h) => (bool again, float[] g) {
            p = MatMul (h, w) g = Tanh (p) s = ReduceSum <keepdims = 0> (g) again = Less (s, half) }>
        z = MatMul (x, w2) }"""
    numbers = {"most": np.array(5), "on": np.array(True), "half": np.array(0.5, np.float32)}
    model = tiny_model(text, {key: NUMBERS[key] for key in ("w", "w2")} | numbers)
    graph = imported(model, tmp_path)
    (op,) = (op for op in graph.ops() if isinstance(op, DigitalOp))
    assert op.why == "how often it runs is known at run time only; it holds 1 product with weights"
    assert digital_macs(graph, op) == 5 * 4 * 4  # at most
    assert_same_as_onnxruntime(model, graph, batch=1)


def test_the_larger_branch_counts(tmp_path: Path) -> None:
    text = """(float[4,4] x) => (float[] y, float[] z) {
        m = ReduceSum <keepdims = 0> (x) c = Less (m, half) z = MatMul (x, w2)
        y = If (c) <then_branch = a () => (float[] p) { p = MatMul (x, x) },
                    else_branch = b () => (float[] q) { r = MatMul (x, x) q = MatMul (r, x) }> }"""
    graph = imported(tiny_model(text, {"w2": NUMBERS["w2"], "half": np.array(0.5, np.float32)}), tmp_path)
    (op,) = (op for op in graph.ops() if isinstance(op, DigitalOp) and op.op_type == "If")
    assert digital_macs(graph, op) == 2 * 4 * 4 * 4


def test_bodies_within_bodies_count(tmp_path: Path) -> None:
    text = """(float[4,4] x, int64 runs) => (float[] y, float[] z) {
        z = MatMul (x, w2)
        y = Loop (three, , x) <body = b (int64 i, bool c, float[] h) => (bool again, float[] g) {
            s = ReduceSum <keepdims = 0> (h) big = Less (half, s) again = Identity (c)
            g = If (big) <then_branch = a () => (float[] p) { p = MatMul (h, h) },
                          else_branch = e () => (float[] q) { q = Identity (h) }> }> }"""
    numbers = {"w2": NUMBERS["w2"], "half": np.array(0.5, np.float32), "three": np.array(3)}
    graph = imported(tiny_model(text.replace(", int64 runs", ""), numbers), tmp_path)
    (op,) = (op for op in graph.ops() if isinstance(op, DigitalOp) and op.op_type == "Loop")
    assert digital_macs(graph, op) == 3 * 4 * 4 * 4
    free = imported(
        tiny_model(text.replace("three", "runs"), {k: v for k, v in numbers.items() if k != "three"}), tmp_path
    )
    (op,) = (op for op in free.ops() if isinstance(op, DigitalOp) and op.op_type == "Loop")
    assert digital_macs(free, op) is None
