"""What becomes of every node, and that it is what compiling makes of it."""

from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import onnx
import pytest

import hw_models
from bsc.compiler.driver import check_model, compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.errors import ModelError
from bsc.frontend.coverage import ADVICE, Coverage, advice
from bsc.testing import conv_model, mlp_model, random_weights, save, tiny_model
from tests.bsc.frontend.test_crossbar_view import SHAPES_THAT_DO_NOT_FIT, STAYS_DIGITAL

TARGET = hw_models.load("isaac")
OPTIONS = CompileOptions(pipeline=default_pipeline(TARGET, rows=128, cols=128, policy="lossless", granularity="column"))


def checked(model: onnx.ModelProto, folder: Path) -> Coverage:
    """The coverage of a model, which compiling must agree with."""
    path = save(model, folder / "model.onnx")
    found = check_model(path, TARGET, OPTIONS)
    if found.refusals:
        with pytest.raises(ModelError) as caught:
            compile_model(path, TARGET, OPTIONS)
        assert str(caught.value) == str(found.refusals[0])
    else:
        compile_model(path, TARGET, OPTIONS)
    return found


def test_by_hand(tmp_path: Path) -> None:
    """One node in each place; 3 x 4 x 2 products on a crossbar, 3 x 4 x 3 of two activations."""
    model = tiny_model(
        "(float[3,4] x) => (float[] y, float[] z) { [fc] y = MatMul(x, w)  [t] t = Transpose(x) "
        "[self] d = MatMul(x, t)  [odd] o = acme.Magic(x)  [gone] u = Relu(o)  [sum] z = Add(d, u) }",
        {"w": random_weights(4, 2)},
        domains=["acme"],
    )
    found = checked(model, tmp_path)
    assert [(node.name, node.operator, node.place, node.reason, node.fix, node.macs) for node in found.nodes] == [
        ("fc", "MatMul", "crossbar", "", "", 24),
        ("t", "Transpose", "digital", "", "", 0),
        ("self", "MatMul", "digital", "both operands are activations", "", 36),
        (
            "odd",
            "acme.Magic",
            "unsupported",
            "[BSC304] operator domain is not supported: domain 'acme'",
            "replace the operator by standard ONNX operators before compiling",
            None,
        ),
        ("gone", "Relu", "digital", "", "", 0),
        ("sum", "Add", "digital", "", "", 0),
    ]
    assert {name: dict(counts) for name, counts in found.operators.items()} == {
        "Add": {"digital": 1},
        "MatMul": {"crossbar": 1, "digital": 1},
        "Relu": {"digital": 1},
        "Transpose": {"digital": 1},
        "acme.Magic": {"unsupported": 1},
    }
    assert found.macs == {"crossbar": 24, "activations": 36, "digital": 0}
    assert found.crossbar_share is None  # nobody knows what `odd` multiplies
    assert found.not_counted == ("odd",)


def test_every_node_that_is_refused_is_named(tmp_path: Path) -> None:
    body = "[a] h = acme.Magic(x)  [fc] z = MatMul(x, w)  [b] i = acme.More(h)  y = Add(z, i)"
    model = tiny_model(f"(float[N,4] x) => (float[] y) {{ {body} }}", {"w": random_weights(4, 2)}, domains=["acme"])
    found = checked(model, tmp_path)
    assert [node.name for node in found.nodes if node.place == "unsupported"] == ["a", "b"]
    assert [error.code for error in found.refusals] == ["BSC304", "BSC304"]


def test_bodies_are_listed_with_the_operator_they_belong_to(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,4] x, bool c) => (float[] y) { h = MatMul(x, w)  [pick] y = If (c) <"
        "then_branch = g1 () => (float[] a) { [left] a = Relu(h) }, "
        "else_branch = g2 () => (float[] b) { b = Neg(h) }> }",
        {"w": random_weights(4, 2)},
    )
    found = checked(model, tmp_path)
    assert [(node.name, node.place, node.reason, node.macs) for node in found.nodes] == [
        ("MatMul_0", "crossbar", "", 8),
        ("pick", "digital", "", 0),
        ("pick/left", "digital", "in a body of If", 0),
        ("pick/Neg", "digital", "in a body of If", 0),
    ]


def nan_weights() -> onnx.ModelProto:
    return tiny_model("(float[N,4] x) => (float[] y) { y = MatMul(x, w) }", {"w": np.full((4, 2), np.nan, np.float32)})


REFUSED = {
    "a weight that is not a number": (nan_weights(), "BSC303"),
    "open sizes": (conv_model(spatial=["H", "W"]), "BSC305"),
    "nothing to map": (tiny_model("(float[N,4] x) => (float[] y) { y = Relu(x) }"), "BSC306"),
    "an old opset": (mlp_model(4, 3, opset=5), "BSC304"),
    **{f"shapes: {seen}": (model, "BSC305") for seen, model in SHAPES_THAT_DO_NOT_FIT.items()},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_compiling_refuses_is_refused(case: str, tmp_path: Path) -> None:
    model, code = REFUSED[case]
    assert [error.code for error in checked(model, tmp_path).refusals] == [code]


def test_no_model_at_all(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"junk")
    found = check_model(path, TARGET, OPTIONS)
    assert (found.nodes, [error.code for error in found.refusals]) == ((), ["BSC301"])
    assert found.crossbar_share is None


@pytest.mark.parametrize("why", STAYS_DIGITAL)
def test_every_reason_has_a_row_of_advice(why: str) -> None:
    assert any(fnmatch(why, pattern) for pattern in ADVICE)


def test_the_first_row_that_fits_counts() -> None:
    assert advice("its weights are INT32") == "convert the weights to float32"
    assert advice("its weights are empty") == "remove the operator, it computes nothing"
    assert advice("") == ""
