"""--set: inputs that become constants."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsc.errors import UsageError
from bsc.frontend.set_inputs import parse_set
from bsc.ir.graph import Graph, SetInput
from bsc.testing import float_outputs, imported, random_feeds, random_weights, tiny_model

W = random_weights(8, 6)
V = random_weights(8, 6, seed=1)
RATES = tiny_model(
    """(float[N,8] x, int64 rate, bool scaled, float[2] gain, float[N,M] open) => (float[] y, float[] z) {
        c = Equal(rate, high)
        y = If(c) <then_branch = t () => (float[] p) { p = MatMul(x, w) },
                   else_branch = e () => (float[] q) { q = MatMul(x, v) }>
        n = Not(scaled)
        f = Cast <to = 1> (n)
        s = ReduceSum <keepdims = 0> (gain)
        u = Mul(f, s)
        z = Add(u, y) }""",
    {"w": W, "v": V, "high": np.array(16000)},
)
RATES.graph.input.pop()


def with_constants(folder: Path, **constants: tuple[int | float, ...]) -> Graph:
    return imported(RATES, folder, constants=constants)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rate=16000", ("rate", (16000,))),
        ("x.y=0.5,-2", ("x.y", (0.5, -2))),
        ("on=true", ("on", (1,))),
        ("on=False", ("on", (0,))),
        ("a=1e3", ("a", (1000.0,))),
    ],
)
def test_a_constant_is_read(text: str, found: tuple[str, tuple[float, ...]]) -> None:
    assert parse_set(text) == found


@pytest.mark.parametrize("text", ["", "rate", "rate=", "=1", "rate=fast", "rate=1,,2", "rate=nan", "rate=inf"])
def test_words_for_a_constant_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_set(text)
    assert str(caught.value) == (
        f"[BSC201] --set cannot be read\n  seen: {text!r}\n"
        "  fix:  write NAME=VALUE, such as sample_rate=16000, training=false or scale=0.5,0.25"
    )


@pytest.mark.parametrize(("rate", "weight"), [(16000, W), (8000, V)])
def test_a_branch_that_depends_on_a_constant_lands_on_crossbars(rate: int, weight: Any, tmp_path: Path) -> None:
    graph = with_constants(tmp_path, rate=(rate,), scaled=(1,))
    assert list(graph.inputs) == ["x", "gain"]
    (layer,) = graph.layers()
    np.testing.assert_array_equal(graph.array(layer.weight), weight)
    feeds = random_feeds(graph, batch=3)
    np.testing.assert_allclose(float_outputs(graph, feeds)["y"], feeds["x"] @ weight, atol=1e-5)
    assert graph.info.constants == (
        SetInput(name="rate", dtype="int64", shape=(), values=(rate,)),
        SetInput(name="scaled", dtype="bool", shape=(), values=(1,)),
    )


@pytest.mark.parametrize(("values", "total"), [((0.5,), 1.0), ((0.5, 2), 2.5)])
def test_one_value_for_all_or_one_each(values: tuple[float, ...], total: float, tmp_path: Path) -> None:
    graph = with_constants(tmp_path, rate=(16000,), scaled=(0,), gain=values)
    outputs = float_outputs(graph, random_feeds(graph, batch=2))
    np.testing.assert_allclose(outputs["z"] - outputs["y"], np.full((2, 6), total), atol=1e-5)
    (gain, *_) = graph.info.constants
    np.testing.assert_array_equal(gain.array(), np.full(2, values[0]) if len(values) == 1 else values)
    assert gain.array().dtype == np.float32


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        (
            {"speed": (1,)},
            "[BSC201] --set names no input of the model: 'speed'\n"
            "  seen: inputs gain, rate, scaled, x\n  fix:  use one of these names",
        ),
        (
            {"rate": (0.5,)},
            "[BSC201] --set does not fit input 'rate'\n  seen: 0.5 for int64 of shape ()\n"
            "  fix:  give one value that its type can hold, or one for each element in order",
        ),
        (
            {"scaled": (2,)},
            "[BSC201] --set does not fit input 'scaled'\n  seen: 2 for bool of shape ()\n"
            "  fix:  give one value that its type can hold, or one for each element in order",
        ),
        (
            {"gain": (1, 2, 3)},
            "[BSC201] --set does not fit input 'gain'\n  seen: 1,2,3 for float32 of shape (2,)\n"
            "  fix:  give one value that its type can hold, or one for each element in order",
        ),
        (
            {"x": (1,)},
            "[BSC201] --set needs the sizes of input 'x'\n  seen: [N,8]\n"
            "  fix:  give them with --input-shape x:SIZE,SIZE,...",
        ),
    ],
)
def test_words_for_constants_that_do_not_fit(
    constants: dict[str, tuple[float, ...]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        with_constants(tmp_path, **constants)
    assert str(caught.value) == words
