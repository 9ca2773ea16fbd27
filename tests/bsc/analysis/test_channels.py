"""Dead rows and unread columns: by hand on tiny graphs, and as a law that outputs of whole models stay."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from bsc.analysis.channels import ChannelFacts, analyse
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions
from bsc.ir.graph import DigitalOp, Graph
from bsc.numeric.im2col import ConvGeometry
from bsc.plan.document import Plan
from bsc.replay.engine import Replayer
from bsc.testing import random_weights, save, tiny_model
from passes.eliminate import Eliminate
from tests.bsc.plans import ISAAC, Coded, coded
from tests.passes.layers import digital, network

CODES = [[1, -1, -1, 0, 0], [0, -2, -2, 0, 0]]
BIAS = [0.0, 0.0, 0.5, 0.0, -1.0]
IDENTITY = np.eye(5)


def facts(
    *between: DigitalOp,
    second: ArrayLike = IDENTITY,
    second_input: str = "h",
    shapes: dict[str, tuple[int, ...]] | None = None,
    arrays: dict[str, ArrayLike] | None = None,
    outputs: tuple[str, ...] = ("z",),
    **fields: Any,
) -> ChannelFacts:
    """A layer 'one' of `CODES` from 'x' to 'y', what is between, and a layer 'two' from `second_input` to 'z'."""
    one = coded(CODES, name="one", bias="bias")
    two = coded(second, name="two", input=second_input, output="z", **fields)
    sizes = dict.fromkeys(("y", "h", "g", "z"), (1, 5)) | {"x": (1, 2)} | (shapes or {})
    tables = {"bias": BIAS, **one.arrays, **two.arrays, **(arrays or {})}
    return analyse(network(one.layer, *between, two.layer, arrays=tables, shapes=sizes, outputs=outputs))


def dead(found: ChannelFacts) -> list[int]:
    (rows,) = found.dead_rows["two"]
    return np.flatnonzero(rows).tolist()


def unread(found: ChannelFacts) -> list[int]:
    return np.flatnonzero(found.unread["one"]).tolist()


RELU = digital("Relu", "y", "h")


def test_by_hand() -> None:
    """Columns 1, 3 and 4 are never positive; column 2 has a bias that may be."""
    found = facts(RELU)
    assert dead(found) == [1, 3, 4]
    assert unread(found) == [1, 3, 4]  # their ReLU gives 0 for the bias alone too
    assert not found.dead_rows["one"].any()
    assert not found.unread["two"].any()


def test_signed_inputs_have_no_sign() -> None:
    """Without a ReLU column 1 may be negative; an unsigned code of it is 0 all the same."""
    second = digital("Identity", "y", "h")
    assert dead(facts(second)) == [1, 3, 4]
    assert dead(facts(second, input_signed=True)) == [3]


def test_a_value_that_may_set_the_step_is_read() -> None:
    codes = np.eye(5)
    codes[0] = 0
    assert unread(facts(RELU, second=codes)) == [0, 1, 3, 4]
    assert unread(facts(RELU, second=codes, input_scale=None)) == [1, 3, 4]


def test_outputs_of_the_model_are_read() -> None:
    assert unread(facts(RELU, outputs=("z", "y"))) == []
    assert unread(facts(RELU, outputs=("z", "h"))) == [1, 3, 4]  # 0 with the column and without it


def test_an_operator_that_is_not_known_ends_it() -> None:
    assert dead(facts(digital("Sigmoid", "y", "h"))) == []
    assert unread(facts(digital("Sigmoid", "y", "h"))) == []
    assert dead(facts(digital("Relu", "y", "h", domain="acme"))) == []
    assert unread(facts(RELU, digital("Softmax", "y", "other"))) == []


PASSED: dict[str, tuple[DigitalOp, dict[str, ArrayLike]]] = {
    "clip": (digital("Clip", "y zero six", "h"), {"zero": 0.0, "six": 6.0}),
    "clip at 0": (digital("Clip", "y - zero", "h"), {"zero": 0.0}),
    "dropout": (digital("Dropout", "y", "h"), {}),
}
STOPPED: dict[str, tuple[DigitalOp, dict[str, ArrayLike]]] = {
    "clip from above 0": (digital("Clip", "y one six", "h"), {"one": 1.0, "six": 6.0}),
    "clip at run time": (digital("Clip", "y x", "h"), {}),
    "training": (digital("Dropout", "y ratio mode", "h"), {"ratio": 0.5, "mode": True}),
    "second result": (digital("MaxPool", "y", "h indices"), {}),
    "axes that are none": (digital("Transpose", "y", "h", perm=(7, 0)), {}),
    "pad of channels": (digital("Pad", "y pads", "h"), {"pads": [0, 1, 0, 0]}),
}


@pytest.mark.parametrize("name", PASSED)
def test_operators_that_keep_signs(name: str) -> None:
    op, arrays = PASSED[name]
    assert {1, 3, 4} <= set(dead(facts(op, arrays=arrays)))


@pytest.mark.parametrize("name", STOPPED)
def test_operators_that_do_not(name: str) -> None:
    op, arrays = STOPPED[name]
    assert dead(facts(op, arrays=arrays)) == []


def test_limits_of_a_clip_decide() -> None:
    """With an upper limit of 0 every channel is dead."""
    assert dead(facts(digital("Clip", "y - zero", "h"), arrays={"zero": 0.0})) == [0, 1, 2, 3, 4]


def test_flatten_repeats_a_channel() -> None:
    conv = {"y": (1, 5, 2, 1), "r": (1, 5, 2, 1), "h": (1, 10)}
    ops = (digital("Relu", "y", "r"), digital("Flatten", "r", "h"))
    one = _convolution()
    two = coded(np.eye(10), name="two", input="h", output="z")
    graph = network(
        one.layer, *ops, two.layer, arrays={"bias": BIAS, **one.arrays, **two.arrays}, shapes=conv, outputs=("z",)
    )
    found = analyse(graph)
    assert dead(found) == [2, 3, 6, 7, 8, 9]
    assert unread(found) == [1, 3, 4]


@pytest.mark.parametrize(
    ("op", "shape", "expected"),
    [
        (digital("GlobalAveragePool", "r", "h"), (1, 5, 1, 1), [1, 3, 4]),
        (digital("Transpose", "r", "h", perm=(0, 2, 3, 1)), (1, 2, 1, 5), []),
        (digital("Pad", "r pads", "h"), (1, 5, 4, 1), [1, 3, 4]),
        (digital("Pad", "r pads ones", "h"), (1, 5, 4, 1), []),
        (digital("Reshape", "r sizes", "h"), (1, 2, 5, 1), []),
    ],
)
def test_where_channels_lie(op: DigitalOp, shape: tuple[int, ...], expected: list[int]) -> None:
    """The second layer is a convolution too: its rows are the channels of axis 1."""
    one = _convolution()
    conv = one.layer.conv
    rows = shape[1]
    two = coded(np.eye(rows), name="two", input="h", output="z", conv=conv, op_type="Conv")
    arrays: dict[str, ArrayLike] = {"bias": BIAS, "pads": [0, 0, 1, 0, 0, 0, 1, 0], "ones": 1.0, "sizes": [1, 2, 5, 1]}
    shapes = {"y": (1, 5, 2, 1), "r": (1, 5, 2, 1), "h": shape}
    ops = (digital("Relu", "y", "r"), op)
    tables = {**arrays, **one.arrays, **two.arrays}
    assert dead(analyse(network(one.layer, *ops, two.layer, arrays=tables, shapes=shapes))) == expected


def _convolution() -> Coded:
    conv = ConvGeometry(kernel=(1, 1), strides=(1, 1), dilations=(1, 1), pads=((0, 0), (0, 0)))
    return coded(CODES, name="one", bias="bias", conv=conv, op_type="Conv")


def test_concat_and_add() -> None:
    """Column 0 of 'two' is dead in both parts of the sum; a part that is not known makes the sum unknown."""
    relu, other = digital("Relu", "y", "r"), digital("Identity", "y", "s")
    both = facts(relu, other, digital("Add", "r s", "h"), shapes={"r": (1, 5), "s": (1, 5)})
    assert dead(both) == [1, 3, 4]
    unknown = facts(relu, digital("Add", "r v", "h"), shapes={"r": (1, 5), "v": (1, 5)})
    assert (dead(unknown), unread(unknown)) == ([], [1, 3, 4])  # what the ReLU gives is 0 whoever reads it
    joined = facts(
        relu,
        digital("Concat", "v r", "h", axis=-1),
        second=np.eye(7),
        shapes={"r": (1, 5), "v": (1, 2), "h": (1, 7)},
    )
    assert (dead(joined), unread(joined)) == ([3, 5, 6], [1, 3, 4])


def test_deadness_goes_on_through_layers() -> None:
    """Column 0 of 'two' has a positive weight on a dead row alone."""
    second = -np.ones((5, 2))
    second[1, 0] = 3
    one = coded(CODES, name="one", bias="bias")
    two = coded(second, name="two", input="h", output="u")
    three = coded([[1], [1]], name="three", input="v", output="z")
    tables = {"bias": BIAS, **one.arrays, **two.arrays, **three.arrays}
    shapes = {"x": (1, 2), "y": (1, 5), "h": (1, 5), "u": (1, 2), "v": (1, 2), "z": (1, 1)}
    ops = (one.layer, RELU, two.layer, digital("Relu", "u", "v"), three.layer)
    found = analyse(network(*ops, arrays=tables, shapes=shapes, outputs=("z",)))
    assert found.dead_rows["three"].tolist() == [[True, True]]
    assert found.unread["two"].all()
    assert found.unread["one"].all()


# --- the law ---

ELIMINATE = ",eliminate{rows=16 dead=always}"
PIPELINE = f"fold-batchnorm,quantize{{bits=8}},slice-bits{ELIMINATE},tile{{rows=16 cols=8}},assign-adc"


def pruned_network(seed: int) -> onnx.ModelProto:
    """Convolutions, one depthwise, a residual sum, pooling and a classifier, with most columns never positive."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> NDArray[np.float32]:
        values = random_weights(*shape, seed=int(random.integers(1 << 30)))
        values[random.random(shape) < 0.6] = 0
        columns = random.random(shape[0]) < 0.5
        values[columns] = -np.abs(values[columns])
        return np.asarray(values, np.float32)

    def bias(size: int) -> NDArray[np.float32]:
        values = random.standard_normal(size)
        values[random.random(size) < 0.6] *= 0
        return np.asarray(np.where(random.random(size) < 0.6, -np.abs(values), values), np.float32)

    tables = {
        "w0": weights(6, 2, 3, 3),
        "w1": weights(6, 6, 3, 3),
        "wd": weights(6, 1, 3, 3),
        "w2": weights(6, 6, 1, 1),
        "w3": weights(4, 24),
        "w4": weights(3, 4),
        **{f"b{name}": bias(size) for name, size in (("0", 6), ("1", 6), ("d", 6), ("2", 6), ("3", 4), ("4", 3))},
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
    }
    return tiny_model(
        """(float[N,2,8,8] x) => (float[N,3] y) {
            [c0] a0 = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
            r0 = Relu (a0)
            [c1] a1 = Conv <pads = [1, 1, 1, 1]> (r0, w1, b1)
            s1 = Add (a1, a0)
            r1 = Relu (s1)
            [cd] ad = Conv <group = 6, pads = [1, 1, 1, 1]> (r1, wd, bd)
            rd = Clip (ad, low, high)
            p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (rd)
            [c2] a2 = Conv (p, w2, b2)
            r2 = Relu (a2)
            q = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (r2)
            f = Flatten (q)
            [f3] a3 = Gemm <transB = 1> (f, w3, b3)
            r3 = Relu (a3)
            [f4] y = Gemm <transB = 1> (r3, w4, b4)
        }""",
        tables,
    )


def plans(model: onnx.ModelProto, folder: Path, *, calibrated: bool, dead: str = "always") -> tuple[Plan, Plan]:
    """The plan with `eliminate` and the one without."""
    path, data = save(model, folder / "model.onnx"), None
    if calibrated:
        data = folder / "data.npz"
        np.savez(data, x=np.random.default_rng(0).standard_normal((16, 2, 8, 8)).astype(np.float32))
    found = []
    for text in (PIPELINE.replace("always", dead), PIPELINE.replace(ELIMINATE, "")):
        plan = compile_model(path, ISAAC, CompileOptions(pipeline=text, calibration=data)).plan
        assert plan is not None
        found.append(plan)
    return found[0], found[1]


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), calibrated=st.booleans(), dead=st.sampled_from(["same-bits", "always"]))
def test_outputs_stay(tmp_path_factory: pytest.TempPathFactory, seed: int, calibrated: bool, dead: str) -> None:
    """Bit for bit, on inputs beyond those of the calibration too."""
    folder = tmp_path_factory.mktemp("plan")
    with_it, without = plans(pruned_network(seed), folder, calibrated=calibrated, dead=dead)
    feeds = {"x": 3 * np.random.default_rng(seed).standard_normal((4, 2, 8, 8)).astype(np.float32)}
    ours, whole = Replayer(with_it.mapping), Replayer(without.mapping)
    for run in ("replayed", "quantised"):
        np.testing.assert_array_equal(getattr(ours, run)(feeds)["y"], getattr(whole, run)(feeds)["y"])


def test_the_law_is_about_something(tmp_path: Path) -> None:
    """In the networks of the law, rows are dropped that have weights, and columns that have some too."""
    plan, whole = plans(pruned_network(1), tmp_path, calibrated=True)
    rows = columns = 0
    for layer in plan.mapping.layers:
        codes = whole.mapping.arrays(whole.mapping.layer(layer.name)).codes
        if layer.groups == 1:
            rows += int(codes.any(axis=1).sum()) - layer.mapped_rows
            columns += int(codes.any(axis=0).sum()) - layer.mapped_columns
    assert rows > 10
    assert columns > 3


def test_a_layer_that_is_kept_already_is_left_out() -> None:
    one = coded(CODES, name="one", bias="bias")
    two = coded(np.eye(5), name="two", input="h", output="z")
    shapes = {"x": (1, 2), "y": (1, 5), "h": (1, 5), "z": (1, 5)}
    tables = {"bias": BIAS, **one.arrays, **two.arrays}
    graph: Graph = network(one.layer, RELU, two.layer, arrays=tables, shapes=shapes, outputs=("z",))
    done = Eliminate().run(graph).graph
    assert [layer.mapped_shape for layer in done.layers()] == [(2, 2), (2, 2)]
    found = analyse(done)
    assert not any(flags.any() for flags in (*found.dead_rows.values(), *found.unread.values()))
