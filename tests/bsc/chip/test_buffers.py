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


def test_of_several_uses_the_largest_counts(tmp_path: Path) -> None:
    buffers = layer_buffers(dataflow_of(model_plan(networks.shared(), tmp_path).mapping))
    assert buffers["big"].line_values == 3 * 2 * 8


def test_a_layer_behind_tokens_needs_one_of_them(tmp_path: Path) -> None:
    flow = dataflow_of(model_plan(networks.attention(), tmp_path).mapping)
    assert {name: buffer.line_values for name, buffer in layer_buffers(flow).items()} == {
        "q": 4, "k": 4, "v": 4, "out": 4, "up": 4, "down": 8,
    }  # fmt: skip
    assert all(np.all(read.last <= 6) for each in flow.uses for read in each.reads)
