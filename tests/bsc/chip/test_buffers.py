from pathlib import Path

import numpy as np
import pytest

from bsc.chip.buffers import layer_buffers
from bsc.chip.dataflow import dataflow_of
from bsc.testing import random_weights, tiny_model
from tests.bsc.chip import networks
from tests.bsc.plans import model_plan

TABLE_3 = [
    (3, 3, 224, 1.96),
    (96, 7, 112, 74),
    (64, 3, 112, 21),
    (128, 3, 56, 21),
    (256, 3, 28, 21),
    (384, 3, 28, 32),
    (512, 3, 14, 21),
    (768, 3, 14, 32),
]
"""Maps, kernel, width, and KB of the input buffer of layers that follow each other: [isaac16] table III."""


@pytest.mark.parametrize(("maps", "kernel", "width", "printed"), TABLE_3)
def test_line_buffers_are_those_of_isaac_at_one_byte_a_value(
    maps: int, kernel: int, width: int, printed: float, tmp_path: Path
) -> None:
    pads = [kernel // 2] * 4
    model = tiny_model(
        f"(float[N,{maps},8,{width}] x) => (float[N,1,8,{width}] y) {{ [conv] y = Conv <pads = {pads}> (x, w) }}",
        {"w": random_weights(1, maps, kernel, kernel)},
    )
    buffer = layer_buffers(dataflow_of(model_plan(model, tmp_path).mapping))["conv"]
    assert (buffer.line_values, buffer.skip_values) == (maps * kernel * width, 0)
    assert buffer.line_values / 1024 == pytest.approx(printed, rel=0.03)


def test_a_skip_waits_for_the_lines_that_the_other_way_is_ahead(tmp_path: Path) -> None:
    """Two kernels of three lines need two lines below; the join of `e` is read by a kernel of three and one of one."""
    buffers = layer_buffers(dataflow_of(model_plan(networks.residual(), tmp_path).mapping))
    assert buffers["b0"].line_values == 3 * 3 * 8
    assert buffers["stem"].skip_values == buffers["b0"].skip_values == buffers["b1"].skip_values == 0
    # line r of the sum is of line r of the stem, which must be two lines ahead for the kernels in between
    assert buffers["b2"].skip_values == 2 * 3 * 8
    assert buffers["out"].line_values == 4 * 4
    # line r of the second sum needs line r of `short`, that is line 2r of the first sum, and by the other way, a kernel
    # of three lines behind one of three lines and stride 2, up to line r + 1 of b2, that is line 2r + 3 of the first
    # sum: line r + 1 of `short` is there by then
    assert buffers["out"].skip_values == 4 * 4


def test_the_faster_of_two_branches_waits(tmp_path: Path) -> None:
    """`left` has one line, where the lines of `right0` and `right1`, of five lines each, come four lines later."""
    buffers = layer_buffers(dataflow_of(model_plan(networks.branch(), tmp_path).mapping))
    assert buffers["out"].skip_values == 4 * 2 * 8
    assert sum(buffer.skip_values for buffer in buffers.values()) == buffers["out"].skip_values


def test_keys_and_values_wait_where_they_are_made(tmp_path: Path) -> None:
    """Six tokens of four values each; of queries one, where the inputs of all three are those of the model."""
    buffers = layer_buffers(dataflow_of(model_plan(networks.attention(), tmp_path).mapping))
    assert {name: buffer.kept_values for name, buffer in buffers.items()} == {
        "q": 4, "k": 6 * 4, "v": 6 * 4, "out": 0, "up": 0, "down": 0,
    }  # fmt: skip
    assert buffers["k"].values == 4 + 6 * 4


def test_queries_wait_for_the_keys_of_all_tokens(tmp_path: Path) -> None:
    """Behind a layer that gives one token after another, all queries are there when the last key is."""
    model = tiny_model(
        """(float[N,6,4] x) => (float[N,6,4] y) {
            [first] h = MatMul (x, w)
            [q] q = MatMul (h, wq)
            [k] k = MatMul (h, wk)
            t = Transpose <perm = [0, 2, 1]> (k)
            s = MatMul (q, t)
            p = Softmax <axis = -1> (s)
            [out] y = MatMul (p, wo)
        }""",
        {"w": random_weights(4, 4), "wq": random_weights(4, 4), "wk": random_weights(4, 4), "wo": random_weights(6, 4)},
    )
    buffers = layer_buffers(dataflow_of(model_plan(model, tmp_path).mapping))
    assert buffers["k"].kept_values == 6 * 4
    assert buffers["out"].skip_values == 5 * 4  # beside the one that is in use, which is of `q`
    assert buffers["q"].kept_values == 4
    assert buffers["first"].values == 4


def test_factors_are_never_more_than_what_is_made(tmp_path: Path) -> None:
    """Keys that two heads of queries share are one tensor, though each product reads them once more."""
    model = tiny_model(
        """(float[N,6,4] x) => (float[N,2,6,6] y) {
            [k] k = MatMul (x, wk)
            [q] q = MatMul (x, wq)
            r = Reshape (q, heads)
            s = Transpose <perm = [0, 2, 1, 3]> (r)
            t = Transpose <perm = [0, 2, 1]> (k)
            u = Unsqueeze (t, one)
            v = Expand (u, both)
            y = MatMul (s, v)
        }""",
        {
            "wk": random_weights(4, 4),
            "wq": random_weights(4, 8),
            "heads": np.array([0, 6, 2, 4], np.int64),
            "one": np.array([1], np.int64),
            "both": np.array([1, 2, 4, 6], np.int64),
        },
    )
    buffers = layer_buffers(dataflow_of(model_plan(model, tmp_path).mapping))
    assert buffers["k"].kept_values == 6 * 4


def test_what_only_an_output_waits_for_is_kept_where_it_is_made(tmp_path: Path) -> None:
    """A skip over two kernels of three lines whose sum is an output; another output waits for nothing."""
    model = tiny_model(
        """(float[N,2,8,8] x) => (float[N,3,8,8] y, float[N,3,8,8] z) {
            [stem] a = Conv <pads = [1, 1, 1, 1]> (x, w0)
            [b0] b = Conv <pads = [1, 1, 1, 1]> (a, w1)
            z = Relu (b)
            [b1] c = Conv <pads = [1, 1, 1, 1]> (b, w2)
            y = Add (a, c)
        }""",
        {
            "w0": random_weights(3, 2, 3, 3),
            "w1": random_weights(3, 3, 3, 3, seed=1),
            "w2": random_weights(3, 3, 3, 3, seed=2),
        },
    )
    buffers = layer_buffers(dataflow_of(model_plan(model, tmp_path).mapping))
    assert {name: buffer.kept_values for name, buffer in buffers.items()} == {"stem": 2 * 3 * 8, "b0": 0, "b1": 0}
    assert all(buffer.skip_values == 0 for buffer in buffers.values())


def test_of_several_uses_the_largest_counts(tmp_path: Path) -> None:
    buffers = layer_buffers(dataflow_of(model_plan(networks.shared(), tmp_path).mapping))
    assert buffers["big"].line_values == 3 * 2 * 8


def test_a_layer_behind_tokens_needs_one_of_them(tmp_path: Path) -> None:
    flow = dataflow_of(model_plan(networks.attention(), tmp_path).mapping)
    assert {name: buffer.line_values for name, buffer in layer_buffers(flow).items()} == {
        "q": 4, "k": 4, "v": 4, "out": 4, "up": 4, "down": 8,
    }  # fmt: skip
    assert all(np.all(read.last <= 6) for each in flow.uses for read in each.reads)
