"""What the operators say of the values of integer inputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from bsc.errors import UsageError
from bsc.ir.input_values import Values, parse_input
from bsc.testing import imported, random_weights, tiny_model

WEIGHTS: dict[str, Any] = {
    "table": random_weights(30, 4),
    "small": random_weights(7, 4),
    "wide": random_weights(2, 9, 4),
    "w": random_weights(4, 3),
    "two": np.array(2),
    "rate": np.array(16000),
    "one": np.array(1),
    "one1": np.array([1]),
    "classes": np.arange(11),
    "depth": np.array(11),
    "values": np.array([0, 1], np.float32),
    "on": random_weights(11, 3),
}
GATHERED = "g = Gather({table}, {ids}) y = MatMul(g, w)"
KNOWN: Mapping[str, tuple[str, str, Values | None]] = {
    "row numbers": ("int64[N,5] ids", GATHERED.format(table="table", ids="ids"), (0, 29)),
    "row numbers of another axis": ("int64[N] ids", "g = Gather <axis = 1> (wide, ids) y = MatMul(g, w)", (0, 8)),
    "cast and reshaped before": (
        "int32[N,5] ids",
        f"c = Cast <to = 7> (ids) r = Flatten(c) {GATHERED.format(table='table', ids='r')}",
        (0, 29),
    ),
    "offset before": ("int64[N,5] ids", f"r = Add(ids, two) {GATHERED.format(table='table', ids='r')}", (-2, 27)),
    "taken away before": ("int64[N,5] ids", f"r = Sub(ids, two) {GATHERED.format(table='table', ids='r')}", (2, 31)),
    "the smaller of two tables": (
        "int64[N,5] ids",
        f"{GATHERED.format(table='table', ids='ids')} s = Gather(small, ids) z = MatMul(s, w)",
        (0, 6),
    ),
    "classes": (
        "int64[N] ids",
        "h = OneHot(ids, depth, values) y = MatMul(h, on)",
        (0, 10),
    ),
    "a number that is asked for": (
        "int64 ids",
        "c = Equal(ids, rate) f = Cast <to = 1> (c) g = Gather(table, two) s = Mul(g, f) y = MatMul(s, w)",
        (16000, 16000),
    ),
    "classes that are counted": (
        "int64[N] ids",
        "r = Unsqueeze(ids, one1) c = Equal(r, classes) f = Cast <to = 1> (c) y = MatMul(f, on)",
        (0, 10),
    ),
    "a mask": (
        "int64[N,4] ids",
        "c = Equal(ids, one) f = Cast <to = 1> (c) y = MatMul(f, w)",
        None,
    ),
    "a mask that is multiplied": ("int64[N,4] ids", "f = Cast <to = 1> (ids) y = MatMul(f, w)", None),
}


@pytest.mark.parametrize(("declared", "body", "values"), KNOWN.values(), ids=KNOWN)
def test_values_of_an_integer_input(declared: str, body: str, values: Values | None, tmp_path: Path) -> None:
    z = ", float[] z" if " z =" in body else ""
    model = tiny_model(f"({declared}) => (float[] y{z}) {{ {body} }}", WEIGHTS)
    assert imported(model, tmp_path).tensors["ids"].values == values


def test_lengths_of_sequences(tmp_path: Path) -> None:
    model = tiny_model(
        "(float[5,N,4] x, int32[N] lens) => (float[] y) { h, y = GRU <hidden_size = 3> (x, w, r, , lens) z = Neg(h) }",
        {"w": random_weights(1, 9, 4), "r": random_weights(1, 9, 3)},
    )
    del model.graph.node[1]
    graph = imported(model, tmp_path)
    assert (graph.tensors["lens"].values, graph.tensors["x"].values) == ((1, 5), None)
    assert (graph.tensors["lens"].batch_axis, graph.tensors["x"].batch_axis) == (0, 1)


def test_tables_of_a_fused_embedding(tmp_path: Path) -> None:
    node = helper.make_node(
        "EmbedLayerNormalization",
        ["ids", "segments", "table", "positions", "small", "gain", "shift"],
        ["e", "m"],
        domain="com.microsoft",
    )
    weights = WEIGHTS | {name: random_weights(4) for name in ("gain", "shift")} | {"positions": random_weights(5, 4)}
    model = tiny_model(
        "(int32[N,5] ids, int32[N,5] segments) => (float[] y) { y = MatMul(e, w) }",
        weights,
        domains=("com.microsoft",),
    )
    model.graph.node.insert(0, node)
    graph = imported(model, tmp_path)
    assert [graph.tensors[name].values for name in graph.inputs] == [(0, 29), (0, 6)]


def test_what_the_user_says_counts(tmp_path: Path) -> None:
    model = tiny_model(f"(int64[N,5] ids) => (float[] y) {{ {GATHERED.format(table='table', ids='ids')} }}", WEIGHTS)
    graph = imported(model, tmp_path, values={"ids": (3, 4)})
    assert graph.tensors["ids"].values == (3, 4)
    with pytest.raises(UsageError) as caught:
        imported(model, tmp_path, values={"idx": (3, 4)})
    assert str(caught.value) == (
        "[BSC201] --input names no input of the model: 'idx'\n  seen: inputs ids\n  fix:  use one of these names"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rate=16000", ("rate", (16000, 16000))),
        ("ids=0..50256", ("ids", (0, 50256))),
        ("x=-1.5..1.5", ("x", (-1.5, 1.5))),
        ("a.b=2", ("a.b", (2, 2))),
        ("mask=true", ("mask", (1, 1))),
        ("mask=false..true", ("mask", (0, 1))),
    ],
)
def test_a_range_is_read(text: str, found: tuple[str, Values]) -> None:
    assert parse_input(text) == found


@pytest.mark.parametrize("text", ["", "x", "x=", "=1", "x=2..1", "x=a", "x=1..", "x=..1", "x=nan", "x=0..inf"])
def test_words_for_a_range_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_input(text)
    assert str(caught.value) == (
        f"[BSC201] --input cannot be read\n  seen: {text!r}\n"
        "  fix:  write NAME=VALUE or NAME=LOWEST..HIGHEST, such as sample_rate=16000 or ids=0..50256"
    )
