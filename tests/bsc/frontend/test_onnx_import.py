import contextlib
import hashlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bsc.errors import BscError, UsageError
from bsc.frontend.onnx_import import import_model
from bsc.frontend.shapes import FREE, format_input_shape, parse_input_shape
from bsc.ir.graph import Graph
from bsc.printable import visible
from bsc.testing import (
    assert_same_as_onnxruntime,
    conv_model,
    imported,
    mlp_model,
    random_weights,
    save,
    tiny_model,
)

W = random_weights(4, 3)


def refusal(read: Callable[[], Graph]) -> tuple[str, int]:
    """Text and exit code of the error."""
    with pytest.raises(BscError) as caught:
        read()
    return str(caught.value), caught.value.exit_code


def layers(graph: Graph) -> list[str]:
    return [layer.name for layer in graph.layers()]


# --- opsets and domains ---


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20, 21, 25])
def test_supported_opsets(opset: int, tmp_path: Path) -> None:
    model = mlp_model(4, 3, 2, opset=opset)
    graph = imported(model, tmp_path)
    assert dict(graph.info.opsets) == {"": opset}
    assert_same_as_onnxruntime(model, graph, batch=3)


@pytest.mark.parametrize("opset", [5, 26])
def test_words_for_an_opset_outside_the_limits(opset: int, tmp_path: Path) -> None:
    assert refusal(lambda: imported(mlp_model(4, 3, opset=opset), tmp_path)) == (
        "[BSC304] model 'model.onnx': ONNX opset not in 6..25\n"
        f"  seen: opset {opset}\n"
        "  fix:  export with an opset of that range, or convert with onnx.version_converter",
        3,
    )


def test_words_for_a_model_without_standard_operators(tmp_path: Path) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { y = com.microsoft.Gelu(x) }", domains=["com.microsoft"])
    del model.opset_import[0]
    assert refusal(lambda: imported(model, tmp_path)) == (
        "[BSC304] model 'model.onnx': ONNX opset not in 6..25\n"
        "  seen: no opset of the standard domain\n"
        "  fix:  export with an opset of that range, or convert with onnx.version_converter",
        3,
    )


@pytest.mark.parametrize("field", ["input", "output"])
def test_words_for_a_model_without_ends(field: str, tmp_path: Path) -> None:
    model = tiny_model("(float[1,4] x) => (float[] y) { y = MatMul(x, w) }", {"w": W})
    del getattr(model.graph, field)[:]
    if field == "input":
        model.graph.initializer.append(numpy_helper.from_array(random_weights(1, 4), "x"))
    assert refusal(lambda: imported(model, tmp_path)) == (
        "[BSC301] the model's graph is inconsistent\n"
        f"  seen: no {field}s\n"
        "  fix:  check the file with onnx.checker.check_model and export it again",
        3,
    )


def test_the_standard_domain_may_be_spelled_out(tmp_path: Path) -> None:
    model = mlp_model(4, 3, 2)
    model.opset_import[0].domain = "ai.onnx"
    for node in model.graph.node:
        node.domain = "ai.onnx"
    graph = imported(model, tmp_path)
    assert dict(graph.info.opsets) == {"": 17}
    assert layers(graph) == ["fc0", "fc1"]
    assert_same_as_onnxruntime(model, graph)


@pytest.mark.parametrize(
    ("operator", "problem", "seen"),
    [
        ("NoSuchOperator", "(NoSuchOperator): operator is unknown to ONNX", "opset 17"),
        ("Gelu", "(Gelu): operator is unknown to ONNX", "opset 17"),  # came with opset 20
        ("my.own.Relu", "(Relu): operator domain is not supported", "domain 'my.own'"),
    ],
)
def test_words_for_an_unknown_operator(operator: str, problem: str, seen: str, tmp_path: Path) -> None:
    model = tiny_model(
        f"(float[N,4] x) => (float[] y) {{ [act] h = {operator}(x)  y = MatMul(h, w) }}", {"w": W}, domains=["my.own"]
    )
    assert refusal(lambda: imported(model, tmp_path)) == (
        f"[BSC304] node 'act' {problem}\n"
        f"  seen: {seen}\n"
        "  fix:  replace the operator by standard ONNX operators before compiling",
        3,
    )


@pytest.mark.parametrize(("inputs", "seen"), [("", "0 inputs and 1 outputs"), ("x, x", "2 inputs and 1 outputs")])
def test_words_for_an_operator_with_too_few_or_too_many_inputs(inputs: str, seen: str, tmp_path: Path) -> None:
    model = tiny_model(f"(float[N,4] x) => (float[] y) {{ [act] h = Relu({inputs})  y = MatMul(h, w) }}", {"w": W})
    assert refusal(lambda: imported(model, tmp_path)) == (
        "[BSC301] node 'act' (Relu): it has too few or too many inputs or outputs\n"
        f"  seen: {seen}\n"
        "  fix:  check the file with onnx.checker.check_model and export it again",
        3,
    )


# --- where weights may hide ---

BIG = random_weights(120, 100)  # more numbers than the optimiser folds by itself
WEIGHTS: dict[str, tuple[str, dict[str, NDArray[Any]]]] = {
    "initialiser": ("y = MatMul(x, w)", {"w": W}),
    "Constant": ("w = Constant <value = float[4,2] {1,2,3,4,5,6,7,8}> ()  y = MatMul(x, w)", {}),
    "Identity": ("v = Identity(w)  u = Identity(v)  y = MatMul(x, u)", {"w": W}),
    "Constant and Identity": (
        "k = Constant <value = float[4,1] {1,2,3,4}> ()  w = Identity(k)  y = MatMul(x, w)",
        {},
    ),
    "arithmetic on small constants": ("v = Mul(w, w)  y = MatMul(x, v)", {"w": W}),
    "Transpose and Reshape of a large constant": (
        "t = Transpose <perm = [1, 0]> (w)  v = Reshape(t, sizes)  y = MatMul(x, v)",
        {"w": BIG, "sizes": np.array([4, 3000])},
    ),
    "Cast of a large constant": (
        "c = Cast <to = 1> (w)  v = Reshape(c, sizes)  y = MatMul(x, v)",
        {"w": BIG.astype(np.float16), "sizes": np.array([4, 3000])},
    ),
}


@pytest.mark.parametrize("place", WEIGHTS)
def test_weights_are_found_wherever_they_hide(place: str, tmp_path: Path) -> None:
    body, constants = WEIGHTS[place]
    model = tiny_model(f"(float[N,4] x) => (float[] y) {{ {body} }}", constants)
    graph = imported(model, tmp_path)
    assert [type(op).__name__ for op in graph.ops()] == ["CrossbarLayer"]
    assert_same_as_onnxruntime(model, graph, batch=3)


def test_initialisers_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = tiny_model("(float[N,4] x, float[4,3] w) => (float[] y) { y = MatMul(x, w) }", {"w": W})
    model.ir_version = 3
    graph = imported(model, tmp_path)
    assert (graph.inputs, len(layers(graph))) == (("x",), 1)


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[N,4] x) => (float[] y) { h = my.own.Dense(x, w)  y = my.own.Dense(h, v) }",
        {"w": W, "v": random_weights(3, 2)},
        domains=["my.own"],
    )
    dense = [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("Relu", ["c"], ["d"])]
    model.functions.append(
        helper.make_function("my.own", "Dense", ["a", "b"], ["d"], dense, [helper.make_opsetid("", 17)])
    )
    graph = imported(model, tmp_path)
    assert len(layers(graph)) == 2
    assert_same_as_onnxruntime(model, graph, batch=3)


def test_names_of_operators_are_unique_and_tell_their_place_in_the_file(tmp_path: Path) -> None:
    model = tiny_model(
        """(float[N,3] x) => (float[] y) {
            i = Identity(x)
            a = MatMul(i, w)
            [a] b = MatMul(a, w)
            [a] c = MatMul(b, w)
            [MatMul_5] d = MatMul(c, w)
            y = MatMul(d, w)
        }""",
        {"w": random_weights(3, 3)},
    )
    names = ["MatMul_1", "a", "a_2", "MatMul_5", "MatMul_5_2"]
    assert layers(imported(model, tmp_path, as_written=True)) == names
    assert [op.name for op in imported(model, tmp_path).ops()] == names


# --- control flow and networks ---

CONTROL_FLOW = {
    "If that passes an outer tensor on": """
        z = If(c) <then_branch = t () => (float[] p) { p = Identity(h) },
                   else_branch = e () => (float[] q) { q = Neg(h) }>""",
    "If that reads a weight and a constant": """
        z = If(c) <then_branch = t () => (float[] p) { p = MatMul(x, w) },
                   else_branch = e () => (float[] q) { q = Constant <value = float[1,3] {1, 2, 3}> () }>""",
    "If inside If": """
        g = Relu(x)
        z = If(c) <then_branch = t () => (float[] p) {
                       p = If(c) <then_branch = tt () => (float[] pp) { pp = MatMul(g, w) },
                                  else_branch = te () => (float[] pq) { pq = Identity(h) }> },
                   else_branch = e () => (float[] q) { q = Neg(h) }>""",
    "Loop that reads an outer tensor": """
        s = Relu(h)
        z = Loop(three, , s) <body = b (int64 n, bool more, float[] old) => (bool go, float[] new) {
                                  go = Identity(more)
                                  new = Add(old, h) }>""",
}


@pytest.mark.parametrize("body", CONTROL_FLOW.values(), ids=CONTROL_FLOW)
def test_bodies_of_control_flow_read_outer_tensors(body: str, tmp_path: Path) -> None:
    model = tiny_model(
        f"(float[1,4] x, bool c) => (float[] h, float[] z) {{ h = MatMul(x, w) {body} }}",
        {"w": W, "three": np.array(3)},
    )
    graph = imported(model, tmp_path)
    assert layers(graph) == ["MatMul_0"]
    assert_same_as_onnxruntime(model, graph)


NETWORK = tiny_model(
    """(float[N,3,8,8] x) => (float[N,5] y) {
        [left] a = Conv <pads = [1,1,1,1]> (x, w1, b1)
        [right] b = Conv(x, w2)
        r = Add(a, b)
        n = BatchNormalization(r, scale, shift, mean, var)
        c = Concat <axis = 1> (n, x)
        p = GlobalAveragePool(c)
        f = Flatten(p)
        [head] g = Gemm(f, w3, b3)
        y = Softmax(g)
    }""",
    {
        "w1": random_weights(4, 3, 3, 3),
        "b1": random_weights(4),
        "w2": random_weights(4, 3, 1, 1, seed=1),
        "w3": random_weights(7, 5),
        "b3": random_weights(5),
        "scale": random_weights(4, seed=2),
        "shift": random_weights(4, seed=3),
        "mean": random_weights(4, seed=4),
        "var": np.full(4, 1.5, np.float32),
    },
)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_with_branches_computes_what_onnxruntime_does(batch: int, tmp_path: Path) -> None:
    graph = imported(NETWORK, tmp_path)
    assert layers(graph) == ["left", "right", "head"]
    assert graph.info.dynamic_batch
    assert_same_as_onnxruntime(NETWORK, graph, batch=batch)


def test_nothing_about_the_folder_enters_the_graph(tmp_path: Path) -> None:
    graphs = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        graphs.append(imported(NETWORK, tmp_path / name))
    here, there = graphs
    assert (str(here), here.info) == (str(there), there.info)


# --- shapes ---


def test_input_shape_fixes_open_axes(tmp_path: Path) -> None:
    model = conv_model(spatial=["H", "W"])
    graph = imported(model, tmp_path, {"x": (2, 3, 5, 6)})
    (layer,) = graph.layers()
    assert (graph.info.dynamic_batch, layer.vectors) == (False, 2 * 3 * 4)
    assert_same_as_onnxruntime(model, graph)


def test_a_size_given_for_a_symbol_holds_for_all_inputs(tmp_path: Path) -> None:
    model = tiny_model("(float[B,S,4] x, float[B,S,4] u) => (float[] y) { v = Add(x, u)  y = MatMul(u, w) }", {"w": W})
    graph = imported(model, tmp_path, {"x": (2, 5, 4)})
    assert [graph.tensors[name].shape for name in ("x", "u", "y")] == [(2, 5, 4), (2, 5, 4), (2, 5, 3)]


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (
            mlp_model(4, 3),
            ("image", (1, 4)),
            "[BSC201] --input-shape names no input of model: 'image'\n  seen: inputs x\n  fix:  use one of these names",
        ),
        (
            mlp_model(4, 3),
            ("x", (1, 5)),
            "[BSC201] --input-shape contradicts the model for input 'x'\n"
            "  seen: x:1,5 given, model declares [N,4]\n"
            "  fix:  change only the sizes that the model leaves open",
        ),
        (
            mlp_model(4, 3),
            ("x", (4,)),
            "[BSC201] --input-shape contradicts the model for input 'x'\n"
            "  seen: x:4 given, model declares [N,4]\n"
            "  fix:  change only the sizes that the model leaves open",
        ),
        (
            conv_model(spatial=["H", 8]),
            None,
            "[BSC305] input 'x' has axes of unknown size\n"
            "  seen: x [N,3,H,8]\n"
            "  fix:  give them as numbers, for example: --input-shape x:N,3,224,8",
        ),
        (
            tiny_model("(float[] x) => (float[] y) { y = MatMul(x, w) }", {"w": W}),
            None,
            "[BSC305] input 'x' has axes of unknown size\n"
            "  seen: x no shape at all\n"
            "  fix:  give them as numbers, for example: --input-shape x:N,4",
        ),
    ],
)
def test_words_for_input_shapes(
    model: onnx.ModelProto, shape: tuple[str, tuple[int, ...]] | None, words: str, tmp_path: Path
) -> None:
    assert refusal(lambda: imported(model, tmp_path, dict([shape] if shape else []))) == (words, int(words[4]))


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("x:1", ("x", (1,))),
        ("image:1,3,224,224", ("image", (1, 3, 224, 224))),
        ("scope:x:2,3", ("scope:x", (2, 3))),
        ("past:N,0,8", ("past", (FREE, 0, 8))),
        ("x:3,N", ("x", (3, FREE))),
        ("rate:scalar", ("rate", ())),
    ],
)
def test_input_shape_is_read(text: str, shape: tuple[str, tuple[int, ...]]) -> None:
    assert parse_input_shape(text) == shape
    assert format_input_shape(*shape) == text


@pytest.mark.parametrize(
    "text", ["", "x", "x:", ":1,2", "x:1,,2", "x:1;2", "x:N,N", "x:1,-1", "x:1.5", "x:M,3", "x:N,"]
)
def test_words_for_an_input_shape_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_input_shape(text)
    assert str(caught.value) == (
        "[BSC201] --input-shape cannot be read\n"
        f"  seen: {text!r}\n"
        "  fix:  write NAME:SIZE,SIZE,... with whole numbers, such as image:1,3,224,224; "
        "N for one of them is the batch and stays free; NAME:scalar has no axes"
    )


# --- files that cannot be read ---


@pytest.mark.parametrize(
    ("make", "seen"),
    [(None, "No such file or directory"), (Path.mkdir, "Is a directory"), (os.mkfifo, "Not a plain file")],
)
def test_words_for_a_path_that_is_no_file(make: Callable[[Path], None] | None, seen: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if make is not None:
        make(path)
    assert refusal(lambda: import_model(path)) == (
        f"[BSC202] model 'model.onnx' cannot be opened\n  seen: {seen}\n  fix:  give the path of an ONNX file",
        2,
    )


GOOD = mlp_model(4, 3, 2).SerializeToString()
OTHER_DOMAIN = tiny_model(
    "(float[N,4] x) => (float[N,2] y) { y = MatMul (x, w) }", {"w": random_weights(4, 2)}, domains=("acme",)
).SerializeToString()
CORRUPT = "DecodeError: Error parsing message with type 'onnx.ModelProto': Wire format was corrupt"


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "an empty file"),
        (GOOD[:-5], CORRUPT),
        (GOOD[: len(GOOD) // 2], CORRUPT),
        (bytes(range(256)), CORRUPT),
        (b"this is a text file\n", CORRUPT),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "a model without operators in 2 bytes"),
        (GOOD.replace(b"fc0", b"fc\xff"), "a name that is not UTF-8 text"),
        (GOOD.replace(b"Gemm", b"Gem\xff"), "a name that is not UTF-8 text"),
        (OTHER_DOMAIN.replace(b"acme", b"acm\xff"), "a name that is not UTF-8 text"),
    ],
    ids=["empty", "cut by 5 bytes", "cut in half", "junk", "text", "no operators", "node name", "operator", "domain"],
)
def test_words_for_a_file_that_is_no_model(content: bytes, seen: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert refusal(lambda: import_model(path)) == (
        "[BSC301] model 'model.onnx' is not a readable ONNX model\n"
        f"  seen: {seen}\n"
        "  fix:  export the model again; check that the file was copied whole",
        3,
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_law_no_change_of_bytes_crashes_the_import(changes: list[tuple[int, int]]) -> None:
    content = bytearray(GOOD)
    for position, value in changes:
        content[position] = value
    with TemporaryDirectory() as folder, contextlib.suppress(BscError):
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        str(import_model(path))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for size in range(len(GOOD)):
        path.write_bytes(GOOD[:size])
        with pytest.raises(BscError):
            import_model(path)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (
            "a = Add(x, b)  b = Relu(a)  y = MatMul(b, w)",
            "ValueError: Graph contains a cycle, topological sort is not possible.",
        ),
        ("h = MatMul(x, w)  [sum] y = Add(h, q)", "nothing makes tensor 'q', which node 'sum' reads"),
        ("h = MatMul(x, w)", "nothing makes tensor 'y', an output of graph 'tiny'"),
    ],
)
def test_words_for_a_graph_that_does_not_hold_together(body: str, seen: str, tmp_path: Path) -> None:
    model = tiny_model(f"(float[N,4] x) => (float[] y) {{ {body} }}", {"w": W})
    assert refusal(lambda: imported(model, tmp_path)) == (
        "[BSC301] the model's graph is inconsistent\n"
        f"  seen: {seen}\n"
        "  fix:  check the file with onnx.checker.check_model and export it again",
        3,
    )


def test_words_for_a_constant_whose_data_do_not_fill_its_shape(tmp_path: Path) -> None:
    model = mlp_model(4, 3)
    model.graph.initializer[0].dims[0] = 5
    assert refusal(lambda: imported(model, tmp_path)) == (
        "[BSC301] the model's graph is inconsistent\n"
        "  seen: constant 'w0': ValueError: cannot reshape array of size 12 into shape (5,3)\n"
        "  fix:  check the file with onnx.checker.check_model and export it again",
        3,
    )


@pytest.mark.parametrize("body", ["w = Relu(x)  y = MatMul(w, w)", "y = MatMul(x, w)  y = Relu(x)"])
def test_a_tensor_made_twice_is_refused(body: str, tmp_path: Path) -> None:
    model = tiny_model(f"(float[N,4] x) => (float[] y) {{ {body} }}", {"w": W})
    text, exit_code = refusal(lambda: imported(model, tmp_path))
    assert (text.splitlines()[0], exit_code) == ("[BSC301] model 'model.onnx' is not a readable ONNX model", 3)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("y = Relu(x)", "no Conv, Gemm or MatMul with constant weights"),
        ("[dead] h = MatMul(x, w)  y = Relu(x)", "no Conv, Gemm or MatMul with constant weights"),
        ("[scores] y = MatMul(x, x)", "MatMul scores: both operands are activations"),
    ],
)
def test_words_when_nothing_can_go_onto_crossbars(body: str, seen: str, tmp_path: Path) -> None:
    model = tiny_model(f"(float[4,4] x) => (float[] y) {{ {body} }}", {"w": W})
    assert refusal(lambda: imported(model, tmp_path)) == (
        "[BSC306] no operator of the model can go onto crossbars\n"
        f"  seen: {seen}\n"
        "  fix:  compile a model with constant weights in Conv, Gemm or MatMul operators",
        3,
    )


# --- external data ---


def save_external(model: onnx.ModelProto, path: Path, **changes: str) -> Path:
    """The model with all its constants in `w.bin` beside it; `changes` to what it says of the first one."""
    own = onnx.ModelProto.FromString(model.SerializeToString())  # save_model empties the one it is given
    onnx.save_model(own, path, save_as_external_data=True, location="w.bin", size_threshold=0, convert_attribute=True)
    skeleton = onnx.load(path, load_external_data=False)
    attributes = [
        attribute.t for node in skeleton.graph.node for attribute in node.attribute if attribute.name == "value"
    ]
    first = [*skeleton.graph.initializer, *attributes][0]
    for entry in first.external_data:
        entry.value = changes.get(entry.key, entry.value)
    return save(skeleton, path)


IN_INITIALISER = tiny_model("(float[N,4] x) => (float[] y) { y = MatMul(x, w) }", {"w": W})
IN_CONSTANT = tiny_model("(float[N,4] x) => (float[] y) { y = MatMul(x, w) }")
IN_CONSTANT.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(W, "w")))


@pytest.mark.parametrize("model", [IN_INITIALISER, IN_CONSTANT], ids=["initialiser", "Constant"])
def test_external_data_beside_the_model_or_below(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = save_external(model, tmp_path / "model.onnx", location="below/w.bin")
    (tmp_path / "below").mkdir()
    (tmp_path / "w.bin").rename(tmp_path / "below" / "kept.bin")
    (tmp_path / "below" / "w.bin").symlink_to("kept.bin")
    assert_same_as_onnxruntime(model, import_model(path))


@pytest.mark.parametrize("model", [IN_INITIALISER, IN_CONSTANT], ids=["initialiser", "Constant"])
@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "link.bin", "below/../../w.bin"])
def test_words_for_external_data_outside_the_folder(model: onnx.ModelProto, location: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    path = save_external(model, tmp_path / "model" / "model.onnx", location=location)
    (tmp_path / "model" / "w.bin").rename(tmp_path / "w.bin")
    (tmp_path / "model" / "link.bin").symlink_to("../w.bin")
    assert refusal(lambda: import_model(path)) == (
        "[BSC302] model 'model.onnx': external data of tensor 'w' lies outside the model's folder\n"
        f"  seen: {location!r}\n"
        "  fix:  store the weights beside the model with a relative path",
        3,
    )


def test_words_for_missing_external_data(tmp_path: Path) -> None:
    path = save_external(IN_INITIALISER, tmp_path / "model.onnx")
    (tmp_path / "w.bin").unlink()
    assert refusal(lambda: import_model(path)) == (
        "[BSC302] model 'model.onnx': external data of tensor 'w' is missing\n"
        "  seen: no file 'w.bin' beside the model\n"
        "  fix:  copy the external data file into the model's folder",
        3,
    )


@pytest.mark.parametrize(
    ("changes", "kept", "start"), [({}, 47, 0), ({"offset": "4"}, 48, 4), ({"length": "47"}, 48, 0)]
)
def test_words_for_truncated_external_data(changes: dict[str, str], kept: int, start: int, tmp_path: Path) -> None:
    path = save_external(IN_INITIALISER, tmp_path / "model.onnx", **changes)
    os.truncate(tmp_path / "w.bin", kept)
    assert refusal(lambda: import_model(path)) == (
        "[BSC302] model 'model.onnx': external data of tensor 'w' is truncated\n"
        f"  seen: 48 bytes needed from offset {start}, file 'w.bin' has {kept}\n"
        "  fix:  copy the external data file again, whole",
        3,
    )


@pytest.mark.parametrize("location", ["zero\0byte", "x" * 5000, "circle"])
def test_external_data_with_a_name_that_no_file_can_have(location: str, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    path = save_external(IN_INITIALISER, tmp_path / "model.onnx", location=location)
    assert refusal(lambda: import_model(path)) == (
        "[BSC302] model 'model.onnx': external data of tensor 'w' is missing\n"
        f"  seen: no file '{visible(location[:200])}' beside the model\n"
        "  fix:  copy the external data file into the model's folder",
        3,
    )


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_external_data_that_is_no_plain_file(kind: str, tmp_path: Path) -> None:
    path = save_external(IN_INITIALISER, tmp_path / "model.onnx", location="odd")
    os.mkfifo(tmp_path / "odd") if kind == "fifo" else (tmp_path / "odd").mkdir()
    assert refusal(lambda: import_model(path))[0].startswith("[BSC302]")


def test_words_for_external_data_without_an_element_type(tmp_path: Path) -> None:
    path = save_external(IN_INITIALISER, tmp_path / "model.onnx")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].data_type = 0
    save(model, path)
    assert refusal(lambda: import_model(path)) == (
        "[BSC302] model 'model.onnx': external data of tensor 'w' has no size\n"
        "  seen: element type UNDEFINED\n"
        "  fix:  export the model again",
        3,
    )


def test_external_weights_are_mapped_while_they_are_read(tmp_path: Path) -> None:
    """However many there are, none holds a file open between two reads."""
    model = mlp_model(4, 3, 2)
    graph = import_model(save_external(model, tmp_path / "model.onnx"))
    for name in ("w0", "b0", "w1", "b1"):
        owner: Any = graph.array(name)
        while isinstance(owner, np.ndarray):
            owner = owner.base
        assert isinstance(owner, mmap.mmap)
        assert str(tmp_path / "w.bin") in Path("/proc/self/maps").read_text()
        del owner
        assert str(tmp_path / "w.bin") not in Path("/proc/self/maps").read_text()
    assert_same_as_onnxruntime(model, graph)


@pytest.mark.parametrize("body", ["y = MatMul(x, w)", "v = Mul(w, w)  y = MatMul(x, v)"], ids=["mapped", "folded"])
def test_the_hash_covers_the_external_data(body: str, tmp_path: Path) -> None:
    model = tiny_model(f"(float[N,4] x) => (float[] y) {{ {body} }}", {"w": W})
    path = save_external(model, tmp_path / "model.onnx")
    digests = [hashlib.sha256(file.read_bytes()).digest() for file in (path, tmp_path / "w.bin")]
    assert import_model(path).info.sha256 == hashlib.sha256(b"".join(digests)).hexdigest()


def test_the_input_files_stay_as_they_are(tmp_path: Path) -> None:
    path = save_external(NETWORK, tmp_path / "model.onnx")

    def state() -> dict[str, tuple[bytes, int]]:
        return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}

    before = state()
    assert_same_as_onnxruntime(NETWORK, import_model(path))
    assert state() == before


def test_a_body_that_refers_to_a_function_where_there_is_none(tmp_path: Path) -> None:
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["h"], ["b"])], "g", [], [onnx.ValueInfoProto(name="b")]
    )
    model = tiny_model("(float[N,4] x, bool c) => (float[] h) { h = MatMul (x, w) }", {"w": random_weights(4, 3)})
    node = onnx.helper.make_node("If", ["c"], ["y"], name="choice", then_branch=body, else_branch=body)
    node.attribute[0].ref_attr_name = "own"
    model.graph.node.append(node)
    with pytest.raises(BscError) as caught:
        import_model(save(model, tmp_path / "model.onnx"))
    assert str(caught.value) == (
        "[BSC301] If 'choice' has no body\n"
        f"  seen: attribute '{node.attribute[0].name}' refers to 'own' of a function, and stands in none\n"
        "  fix:  check the file with onnx.checker.check_model and export it again"
    )
