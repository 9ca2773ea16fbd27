"""Small files that would become large graphs or large constants."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bsc.errors import ModelError
from bsc.frontend import bounds
from bsc.ir.graph import DigitalOp
from bsc.testing import imported, random_weights, tiny_model

W = {"w": random_weights(4, 4)}
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def calling(*functions: tuple[str, list[str]]) -> onnx.ModelProto:
    """A model with functions of one input that call others one after another; the first is called once."""
    model = tiny_model("(float[N,4] x) => (float[] y) { h = own.F0(x)  y = MatMul(h, w) }", W, domains=["own"])
    for name, callees in functions:
        body = [
            helper.make_node(callee, [f"t{n}"], [f"t{n + 1}"], domain="" if callee == "Relu" else "own")
            for n, callee in enumerate(callees)
        ]
        model.functions.append(helper.make_function("own", name, ["t0"], [f"t{len(callees)}"], body, OPSETS))
    return model


def doubling(depth: int) -> onnx.ModelProto:
    """2**depth operators: each function calls the next one twice."""
    chain = [(f"F{n}", [f"F{n + 1}"] * 2) for n in range(depth)]
    return calling(*chain, (f"F{depth}", ["Relu"]))


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_words_for_a_function_with_the_name_of_an_operator(domain: str, tmp_path: Path) -> None:
    """onnxruntime would run the operator, others the function."""
    model = tiny_model("(float[N,4] x) => (float[] y) { h = Relu(x)  y = MatMul(h, w) }", W)
    body = [helper.make_node("Neg", ["a"], ["b"])]
    model.functions.append(helper.make_function(domain, "Relu", ["a"], ["b"], body, OPSETS[:1]))
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        "[BSC304] function 'Relu' has the name of a standard operator\n"
        "  seen: a function in the standard domain\n"
        "  fix:  put the function into a domain of its own"
    )


def test_functions_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """By domain and overload; names of operators are free in other domains."""
    model = tiny_model("(float[N,4] x) => (float[] y) { h = own.Relu(x)  k = more.Relu(h)  y = MatMul(k, w) }", W)
    model.ir_version = 10
    model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in ("own", "more"))
    again = model.graph.node.add()
    again.CopyFrom(model.graph.node[1])
    again.input[:], again.output[:], again.overload = ["y"], ["z"], "other"
    model.graph.output[0].name = "z"
    for domain, overload, operator in (("own", "", "Neg"), ("more", "", "Abs"), ("more", "other", "Exp")):
        body = [helper.make_node(operator, ["a"], ["b"])]
        model.functions.append(helper.make_function(domain, "Relu", ["a"], ["b"], body, OPSETS[:1], overload=overload))
    types = [op.op_type if isinstance(op, DigitalOp) else "MatMul" for op in imported(model, tmp_path).ops()]
    assert types == ["Neg", "Abs", "MatMul", "Exp"]


def test_functions_that_call_each_other_are_unfolded(tmp_path: Path) -> None:
    graph = imported(doubling(3), tmp_path)
    assert sum(isinstance(op, DigitalOp) and op.op_type == "Relu" for op in graph.ops()) == 8


def test_words_for_functions_that_unfold_without_end(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        imported(doubling(40), tmp_path)
    assert str(caught.value) == (
        "[BSC312] the model's functions unfold to too many operators\n"
        f"  seen: {1 << 40} calls of one function\n"
        "  fix:  export the model without functions, or with fewer calls of each"
    )


def test_both_sides_of_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1, 2 and 4 calls of two, two and one operators: 2 + 8 + 16."""
    monkeypatch.setattr(bounds, "MAX_UNFOLDED", 26)
    imported(doubling(2), tmp_path)
    monkeypatch.setattr(bounds, "MAX_UNFOLDED", 25)
    with pytest.raises(ModelError, match="BSC312"):
        imported(doubling(2), tmp_path)


@pytest.mark.parametrize(
    ("functions", "circle"),
    [
        ([("F0", ["F0"])], "own:F0"),
        ([("F0", ["F1", "F2"]), ("F1", ["Relu"]), ("F2", ["F1", "F0"])], "own:F0 and own:F2"),
        ([("F0", ["Relu"]), ("F1", ["F2"]), ("F2", ["F1"])], "own:F1 and own:F2"),
    ],
)
def test_words_for_functions_in_a_circle(functions: list[tuple[str, list[str]]], circle: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        imported(calling(*functions), tmp_path)
    assert str(caught.value) == (
        "[BSC301] the model's functions call each other in a circle\n"
        f"  seen: {circle}\n"
        "  fix:  export the model again; ONNX functions must not be recursive"
    )


def test_a_long_chain_of_functions_is_no_circle(tmp_path: Path) -> None:
    """Longer than Python recurses."""
    functions = [(f"F{n}", [f"F{n + 1}"]) for n in range(2000)]
    assert len(list(imported(calling(*functions, ("F2000", ["Relu"])), tmp_path).ops())) == 2


@pytest.mark.parametrize(("inputs", "fits"), [(98, True), (99, False)])
def test_words_for_operators_of_too_many_inputs(
    inputs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fits: bool
) -> None:
    """A product of two and the sum of many: 3 squared and 99 squared."""
    monkeypatch.setattr(bounds, "MAX_EDGES", 3**2 + 99**2)
    model = tiny_model(f"(float[N,4] x) => (float[] y) {{ h = Sum({', '.join('x' * inputs)})  y = MatMul(h, w) }}", W)
    if fits:
        imported(model, tmp_path)
        return
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        "[BSC312] the model's operators read and write too many tensors\n"
        "  seen: one of 100 inputs and outputs\n"
        "  fix:  export the model with operators of fewer inputs"
    )


GROWING = {
    "ConstantOfShape": ("g = ConstantOfShape(size)", {"size": np.array([1 << 31])}),
    "Expand": ("g = Expand(one, size)", {"one": np.ones(1, np.float32), "size": np.array([1 << 31])}),
    "Tile": ("g = Tile(one, size)", {"one": np.ones(1, np.float32), "size": np.array([1 << 31])}),
    "Range": ("g = Range(zero, size, one)", {"zero": np.array(0), "size": np.array(1 << 31), "one": np.array(1)}),
    "Where": (
        "g = Where(a, b, c)",
        {
            "a": np.ones((2000, 1, 1), np.bool_),
            "b": np.ones((2000, 1), np.float32),
            "c": np.ones((1, 2000), np.float32),
        },
    ),
    "MatMul": ("g = MatMul(a, b)", {"a": np.ones((8000, 1), np.float32), "b": np.ones((1, 8000), np.float32)}),
}


@pytest.mark.parametrize("operator", GROWING)
def test_small_constants_do_not_become_large_ones(operator: str, tmp_path: Path) -> None:
    """The operator stays as it is, for onnxruntime to judge."""
    body, constants = GROWING[operator]
    text = f"(float[N,4] x) => (float[] y, float[] z) {{ y = MatMul(x, w)  {body}  z = Neg(g) }}"
    graph = imported(tiny_model(text, W | constants), tmp_path)
    assert [getattr(op, "op_type", "") for op in graph.ops()] == ["MatMul", operator, "Neg"]


@pytest.mark.parametrize(("size", "folded"), [(1 << 18, True), ((1 << 18) + 1, False)])
def test_constants_grow_to_a_limit(size: int, tmp_path: Path, *, folded: bool) -> None:
    model = tiny_model(
        "(float[N,4] x) => (float[] y, float[] z) { y = MatMul(x, w)  g = Expand(one, size)  z = Relu(g) }",
        W | {"one": np.ones(1, np.float32), "size": np.array([size])},
    )
    assert any(getattr(op, "op_type", "") == "Expand" for op in imported(model, tmp_path).ops()) is not folded


def test_words_for_a_model_that_takes_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folding a layout is not limited; here it runs out of what a file of this size may take."""
    model = tiny_model("(float[N,4] x) => (float[] y) { y = MatMul(x, w) }", W)
    size = len(model.SerializeToString(deterministic=True))
    monkeypatch.setattr("bsc.frontend.onnx_import.simplify", lambda _: np.ones(1 << 28))
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        "[BSC312] model 'model.onnx': taking it apart needs more memory than a model of its size may take\n"
        f"  seen: {size} bytes of files\n"
        "  fix:  look for operators that make large constants out of small ones, and for very large shapes"
    )


def test_constants_that_promise_more_than_they_hold(tmp_path: Path) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { y = MatMul(x, w) }", W)
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    tensor.dims[:] = [1 << 40, 4]
    model.graph.initializer[0].CopyFrom(tensor)
    with pytest.raises(ModelError, match="BSC301"):
        imported(model, tmp_path)


@pytest.mark.parametrize("dims", [(-1, 4), (-4, -4)])
def test_words_for_constants_of_negative_size(dims: tuple[int, int], tmp_path: Path) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { y = MatMul(x, w) }", W)
    model.graph.initializer[0].dims[:] = dims
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        "[BSC301] the model's graph is inconsistent\n"
        "  seen: constant 'w': a size below 0\n"
        "  fix:  check the file with onnx.checker.check_model and export it again"
    )


def test_words_for_bytes_that_do_not_fit_a_shape(tmp_path: Path) -> None:
    """A left operand, which is turned over when a pass reads it."""
    model = tiny_model("(float[4,2] x) => (float[] y) { y = MatMul(w, x) }", W)
    model.graph.initializer[0].raw_data = bytes(64 + 4)
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        "[BSC301] the model's graph is inconsistent\n"
        "  seen: constant 'w': ValueError: cannot reshape array of size 17 into shape (4,4)\n"
        "  fix:  check the file with onnx.checker.check_model and export it again"
    )


def test_functions_that_nothing_calls_are_not_unfolded(tmp_path: Path) -> None:
    """The graph calls the last but one of a chain that doubles thirty times."""
    model = doubling(30)
    model.graph.node[0].op_type = "F28"
    assert len(list(imported(model, tmp_path).ops())) == 2**2 + 1


LONG = bounds.MAX_FOLDED_VALUES
"""Numbers of the longest list that inference sees."""


@pytest.mark.parametrize(
    ("op_type", "read", "long"),
    [
        ("Range", (0, LONG, 1), False),
        ("Range", (0, LONG + 1, 1), True),
        ("Range", (0, 2 * LONG, 2), False),
        ("Range", (0, LONG, 0), False),
        ("ConstantOfShape", ([LONG + 1],), True),
        ("ConstantOfShape", ([LONG, 2],), False),
        ("Tile", ([1, 2], [LONG]), True),
        ("Expand", ([1], [LONG]), False),
        ("Expand", ([1], [LONG + 1]), True),
        ("Expand", (None, [LONG + 1]), False),
        ("Relu", ([LONG + 1],), False),
    ],
)
def test_long_lists(op_type: str, read: tuple[Any, ...], long: bool) -> None:
    values = [None if each is None else np.array(each) for each in read]
    assert bounds.is_long_list(op_type, values) is long


LISTS = {
    "range": "g = Range(zero, many, one)",
    "range in a body": "g = If (yes) <then_branch = a () => (int64[k] t) { t = Range(zero, many, one) }, "
    "else_branch = b () => (int64[l] e) { e = Cast <to = 7> (ones) }>",
    "filled": "g = ConstantOfShape <value = int64[1] {1}> (size)",
    "repeated": "g = Tile(ones, size)",
    "spread": "g = Expand(ones, size)",
}


@pytest.mark.parametrize("kind", LISTS)
def test_inference_does_not_see_long_lists(kind: str, tmp_path: Path) -> None:
    """ONNX's own inference makes a symbol for each of their numbers: minutes and all memory, here 2^44 of them."""
    text = f"(float[N,4] x) => (float[] y) {{ {LISTS[kind]} f = Cast <to = 1> (g) m = ReduceMax(f) h = MatMul(x, w) "
    many = {"zero": 0, "many": 1 << 44, "one": 1, "ones": [1], "size": [1 << 44]}
    weights = W | {name: np.array(value) for name, value in many.items()} | {"yes": np.array(True)}
    graph = imported(tiny_model(text + "y = Add(h, m) }", weights), tmp_path)
    assert graph.tensors["h"].shape == (1, 4)


def test_a_long_list_that_is_given(tmp_path: Path) -> None:
    """The same for inputs."""
    model = tiny_model(
        "(float[N,4] x, int64[17592186044416] g) => (float[] y) "
        "{ f = Cast <to = 1> (g) m = ReduceMax(f) h = MatMul(x, w) y = Add(h, m) }",
        W,
    )
    assert imported(model, tmp_path).tensors["h"].shape == (1, 4)


@pytest.mark.parametrize("values", ["raw", "fields"])
def test_words_for_a_constant_that_says_more_than_it_has(values: str, tmp_path: Path) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { h = MatMul(x, w) y = Slice(h, start, start) }", W)
    start = numpy_helper.from_array(np.zeros(1, np.int64), "start")
    if values == "fields":
        start.ClearField("raw_data")
        start.int64_data.append(0)
    start.dims[0] = (1 << 63) - 1
    model.graph.initializer.append(start)
    with pytest.raises(ModelError) as caught:
        imported(model, tmp_path)
    assert str(caught.value) == (
        "[BSC301] constant 'start' has less data than it says\n"
        f"  seen: sizes [9223372036854775807], and {start.ByteSize()} bytes in the file\n"
        "  fix:  check the file with onnx.checker.check_model and export it again"
    )


def test_small_numbers_take_a_byte_each(tmp_path: Path) -> None:
    """Where they have fields of their own, eight times less than in memory: that is as much as they say."""
    model = tiny_model("(float[N,4] x) => (float[] y) { h = MatMul(x, w) y = Gather <axis = 1> (h, at) }", W)
    model.graph.initializer.append(helper.make_tensor("at", onnx.TensorProto.INT64, [5000], [0] * 5000))
    assert imported(model, tmp_path).tensors["y"].shape == (1, 5000)
