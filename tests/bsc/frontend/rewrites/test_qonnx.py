"""QONNX quantisers give the numbers of their definition: (round(clip(x / scale + zero, low, high)) - zero) * scale."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bsc.ir.graph import Graph
from bsc.replay.engine import Replayer
from bsc.testing import float_outputs, imported, random_weights, tiny_model
from tests.bsc.plans import model_plan

DOMAIN = "qonnx.custom_op.general"
WEIGHT = random_weights(6, 4)
X = np.random.default_rng(3).standard_normal((5, 6)).astype(np.float32)


def numbers(**values: Any) -> dict[str, NDArray[Any]]:
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def model(body: str, constants: dict[str, NDArray[Any]], opset: int = 17) -> onnx.ModelProto:
    return tiny_model(
        f"(float[N,6] x) => (float[] y) {{ {body} y = MatMul(a, k) }}",
        {"w": WEIGHT} | constants,
        opset=opset,
        domains=[DOMAIN],
    )


def quant(
    x: NDArray[Any],
    scale: Any,
    zero: float,
    bits: int,
    *,
    signed: bool = True,
    narrow: bool = False,
    rounding: Any = np.round,
) -> NDArray[Any]:
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    whole = rounding(np.clip(x / np.float32(scale) + np.float32(zero), low, high))
    return np.asarray((whole - zero) * scale)


WEIGHTS = f"k = {DOMAIN}.Quant <narrow = 1> (w, ws, zero, wb)"
FORMAT = numbers(ws=np.linspace(0.02, 0.05, 4), wb=4, zero=0, xs=0.1, xb=6)
CASES: dict[str, tuple[onnx.ModelProto, NDArray[Any]]] = {
    "codes of 6 bits": (model(f"a = {DOMAIN}.Quant(x, xs, zero, xb) {WEIGHTS}", FORMAT), quant(X, 0.1, 0, 6)),
    "codes of 8 bits, unsigned": (
        model(f"a = {DOMAIN}.Quant <signed = 0> (x, xs, xz, xb) {WEIGHTS}", FORMAT | numbers(xz=100, xb=8)),
        quant(X, 0.1, 100, 8, signed=False),
    ),
    "an odd zero point": (
        model(f"a = {DOMAIN}.Quant <signed = 0> (x, xs, xz, xb) {WEIGHTS}", FORMAT | numbers(xz=101, xb=8)),
        quant(X, 0.1, 101, 8, signed=False),
    ),
    "rounded down": (
        model(f'a = {DOMAIN}.Quant <rounding_mode = "FLOOR"> (x, xs, zero, xb) {WEIGHTS}', FORMAT),
        quant(X, 0.1, 0, 6, rounding=np.floor),
    ),
    "rounded to zero": (
        model(f'a = {DOMAIN}.Quant <rounding_mode = "ROUND_TO_ZERO"> (x, xs, zero, xb) {WEIGHTS}', FORMAT),
        quant(X, 0.1, 0, 6, rounding=np.trunc),
    ),
    "two values": (model(f"a = {DOMAIN}.BipolarQuant(x, xs) {WEIGHTS}", FORMAT), np.where(X >= 0, 0.1, -0.1)),
}


@pytest.mark.parametrize("case", CASES)
def test_activations_by_definition(case: str, tmp_path: Path) -> None:
    source, expected = CASES[case]
    graph = imported(source, tmp_path)
    y = float_outputs(graph, {"x": X})["y"]
    np.testing.assert_allclose(y, expected @ quant(WEIGHT, FORMAT["ws"], 0, 4, narrow=True), rtol=1e-5, atol=1e-6)


def the_layer(graph: Graph) -> tuple[NDArray[Any], NDArray[Any], Any]:
    (layer,) = graph.layers()
    assert layer.given_weights is not None
    return graph.array(layer.given_weights.codes), graph.array(layer.given_weights.step), layer.given_input


def test_codes_are_those_of_the_model(tmp_path: Path) -> None:
    codes, step, given = the_layer(imported(CASES["codes of 6 bits"][0], tmp_path))
    np.testing.assert_array_equal(codes, np.round(np.clip(WEIGHT / FORMAT["ws"], -7, 7)))
    np.testing.assert_array_equal(step, FORMAT["ws"].astype(np.float64))
    assert (given.bits, given.signed, given.zero) == (6, True, 0)


def test_bipolar_weights(tmp_path: Path) -> None:
    source = model(f"a = {DOMAIN}.Quant(x, xs, zero, xb) k = {DOMAIN}.BipolarQuant(w, ws)", FORMAT)
    codes, _, _ = the_layer(imported(source, tmp_path))
    np.testing.assert_array_equal(codes, np.where(WEIGHT >= 0, 1, -1))


def test_a_plan_is_exact(tmp_path: Path) -> None:
    plan = model_plan(CASES["codes of 6 bits"][0], tmp_path)
    (layer,) = plan.mapping.layers
    assert (layer.weight_bits, layer.input_bits) == (3, 6)
    assert dict(plan.document.model.opsets) == {"": 17}
    replayer = Replayer(plan.mapping)
    y = replayer.replayed({"x": X})["y"]
    assert replayer.exact
    expected = quant(X, 0.1, 0, 6) @ quant(WEIGHT, FORMAT["ws"], 0, 4, narrow=True)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
