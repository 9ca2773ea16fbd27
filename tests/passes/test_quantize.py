from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from bsc.errors import ModelError, UsageError
from bsc.ir.graph import DigitalOp, Graph
from bsc.mapping.layer import Quantised
from passes.quantize import BLOCK_ROWS, Quantize
from tests.passes.layers import (
    FC_WEIGHT,
    array,
    assert_runs_once,
    compiled,
    digital,
    fc,
    float_layer,
    network,
    the_layer,
)

NAN, INF = float("nan"), float("inf")


def quantised(graph: Graph, **options: Any) -> tuple[Quantised, list[Any], list[float]]:
    """The record, the codes and the steps that the pass makes."""
    graph = compiled(graph, Quantize(**options))
    quant = the_layer(graph).quant
    assert quant is not None
    return quant, array(graph, "codes").tolist(), array(graph, "weight_scale").tolist()


WEIGHT = [[0.5, 0.25], [-0.375, 1 / 1024], [0.0, 3 / 1024]]


@pytest.mark.parametrize(
    ("options", "codes", "steps"),
    [
        # max|w| = 0.5 = 2**-1: step 2**-9, so 0.5 is the clipped code 256 and 1/1024 half a step, even is 0.
        ({}, [[255, 128], [-192, 0], [0, 2]], [2**-9]),
        ({"bits": 2}, [[3, 2], [-3, 0], [0, 0]], [2**-3]),
        # Column 1 has max|w| = 2**-2.
        ({"per": "channel"}, [[255, 255], [-192, 1], [0, 3]], [2**-9, 2**-10]),
        ({"bits": 1, "scale": "max-abs"}, [[1, 0], [-1, 0], [0, 0]], [0.5]),
        # 0.375 / 0.5 * 3 = 2.25
        ({"bits": 2, "scale": "max-abs", "per": "channel"}, [[3, 3], [-2, 0], [0, 0]], [0.5 / 3, 0.25 / 3]),
    ],
)
def test_by_hand(options: dict[str, Any], codes: list[list[int]], steps: list[float]) -> None:
    quant, actual_codes, actual_steps = quantised(float_layer(WEIGHT), **options)
    assert actual_codes == codes
    assert actual_steps == pytest.approx(steps, rel=1e-7)
    assert quant.weight_bits == options.get("bits", 8)


def test_transposed_weights() -> None:
    layer = fc(3, 2, transposed=True)
    graph = network(layer, arrays={FC_WEIGHT: np.float32(np.transpose(WEIGHT)).reshape(2, 3, 1, 1)})
    assert quantised(graph) == quantised(float_layer(WEIGHT))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bits", [7, 8])
def test_code_arrays_are_no_wider_than_the_codes(dtype: type[np.floating[Any]], bits: int) -> None:
    graph = compiled(network(fc(3, 2), arrays={FC_WEIGHT: np.array(WEIGHT, dtype)}), Quantize(bits=bits))
    assert array(graph, "codes").dtype == (np.int8 if bits < 8 else np.int16)
    assert array(graph, "codes").min() == -192 >> 8 - bits


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_empty_matrix(shape: tuple[int, int], per: Any) -> None:
    """No mapping holds one, so that the driver would refuse it behind the pass."""
    graph = Quantize(per=per).run(float_layer(np.zeros(shape))).graph
    assert array(graph, "codes").shape == shape
    assert len(array(graph, "weight_scale")) == (1 if per == "tensor" else shape[1])


@settings(deadline=None)
@given(
    shape=st.tuples(st.sampled_from([1, 2, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 1]), st.integers(1, 5)),
    magnitude=st.sampled_from([0.0, 1e-45, 1e-6, 1.0, 0.3, 1e30, 3e38]),
    bits=st.integers(1, 15),
    options=st.fixed_dictionaries(
        {"scale": st.sampled_from(["power-of-two", "max-abs"]), "per": st.sampled_from(["tensor", "channel"])}
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_weights_are_their_codes_within_half_a_step(
    shape: tuple[int, int], magnitude: float, bits: int, options: dict[str, Any], seed: int
) -> None:
    weight = np.float32(np.random.default_rng(seed).uniform(-1, 1, shape) * magnitude)
    graph = compiled(float_layer(weight), Quantize(bits=bits, **options))
    codes, step = array(graph, "codes").astype(np.float64), array(graph, "weight_scale")
    clipped = abs(codes) == (1 << bits) - 1
    error = abs(weight - codes * step) / step
    assert (error <= np.where(clipped, 1, 0.5) + 1e-3).all()


def test_runs_once() -> None:
    assert_runs_once(Quantize(), float_layer(WEIGHT))


CLIP_LIMITS: dict[str, ArrayLike] = {"zero": 0.0, "six": 6.0, "minus-one": -1.0, "not-a-number": NAN}

# What stands between the model input 'x' and the layer's input 'in', and whether 'in' is proved non-negative.
CHAINS = {
    "model input": ([], False),
    "Relu": ([digital("Relu", "x", "in")], True),
    "Sigmoid": ([digital("Sigmoid", "x", "in")], True),
    "Tanh": ([digital("Tanh", "x", "in")], False),
    "Relu of another domain": ([digital("Relu", "x", "in", domain="com.microsoft")], False),
    "Relu, MaxPool, Flatten": (
        [digital("Relu", "x", "a"), digital("MaxPool", "a", "b"), digital("Flatten", "b", "in")],
        True,
    ),
    "Tanh, MaxPool": ([digital("Tanh", "x", "a"), digital("MaxPool", "a", "in")], False),
    "Relu, Neg": ([digital("Relu", "x", "a"), digital("Neg", "a", "in")], False),
    "Clip 0 to 6": ([digital("Clip", "x zero six", "in")], True),
    "Clip -1 to 6": ([digital("Clip", "x minus-one six", "in")], False),
    "Clip 0 to open": ([digital("Clip", "x zero", "in")], True),
    "Clip open to 6": ([digital("Clip", "x - six", "in")], False),
    "Clip to a computed minimum": ([digital("Clip", "x x", "in")], False),
    "Clip to NaN": ([digital("Clip", "x not-a-number", "in")], False),
    "Clip 0 to -1, which gives -1": ([digital("Clip", "x zero minus-one", "in")], False),
    "Relu, Clip open to 6": ([digital("Relu", "x", "a"), digital("Clip", "a - six", "in")], True),
    "Relu, Clip open to -1": ([digital("Relu", "x", "a"), digital("Clip", "a - minus-one", "in")], False),
    # An omitted output of a proved operator proves nothing about an omitted input.
    "Dropout with an omitted mask, Clip open to 6": (
        [digital("Relu", "x", "a"), digital("Dropout", "a", "b -"), digital("Clip", "x - six", "in")],
        False,
    ),
    "Concat of proved": (
        [digital("Relu", "x", "a"), digital("Exp", "x", "b"), digital("Concat", "a b", "in")],
        True,
    ),
    "Concat of proved and unproved": ([digital("Relu", "x", "a"), digital("Concat", "a x", "in")], False),
    "Concat of proved and a constant": ([digital("Relu", "x", "a"), digital("Concat", "a six", "in")], True),
    "Add of a negative constant": ([digital("Relu", "x", "a"), digital("Add", "a minus-one", "in")], False),
    "Mul of proved": ([digital("Relu", "x", "a"), digital("Mul", "a a", "in")], True),
    "Mul of unproved": ([digital("Mul", "x x", "in")], False),
    "Sub of proved": ([digital("Relu", "x", "a"), digital("Sub", "a a", "in")], False),
    "Split, second part": ([digital("Relu", "x", "a"), digital("Split", "a", "b in")], True),
}


def behind(ops: list[DigitalOp], ranges: dict[str, tuple[float, float]] | None = None) -> Graph:
    reads = "in" if ops else "x"
    arrays = {FC_WEIGHT: np.ones((2, 2), np.float32), **CLIP_LIMITS}
    return network(*ops, fc(2, 2, input=reads), arrays=arrays, ranges=ranges)


@pytest.mark.parametrize(("ops", "proved"), CHAINS.values(), ids=CHAINS)
def test_inputs_are_unsigned_where_that_is_proved(ops: list[DigitalOp], proved: bool) -> None:
    quant, *_ = quantised(behind(ops))
    assert quant.input_signed != proved
    assert quant.input_scale is None


def test_a_crossbar_layers_result_is_not_proved() -> None:
    first = fc(2, 2, name="first", output="in")
    graph = compiled(network(first, fc(2, 2, input="in"), arrays={FC_WEIGHT: np.ones((2, 2))}), Quantize())
    assert [layer.quant.input_signed for layer in graph.layers() if layer.quant] == [True, True]


@pytest.mark.parametrize(
    ("op_type", "seen", "signed", "step"),
    [
        # 8 unsigned bits up to 2**ceil(log2 0.9) = 1; 7 and a sign.
        ("Relu", (0.0, 0.9), False, 2**-8),
        ("Tanh", (0.0, 0.9), False, 2**-8),
        ("Tanh", (-1e-9, 0.9), True, 2**-7),
        # The larger magnitude counts, whichever end it is.
        ("Tanh", (-3.0, 0.9), True, 2**-5),
        ("Relu", (0.0, 0.0), False, 2**-24),
    ],
)
def test_calibrated_inputs_by_hand(op_type: str, seen: tuple[float, float], signed: bool, step: float) -> None:
    quant, *_ = quantised(behind([digital(op_type, "x", "in")], {"in": seen}))
    assert (quant.input_signed, quant.input_scale) == (signed, step)


def test_calibrated_inputs_follow_the_options() -> None:
    quant, *_ = quantised(behind([], {"x": (-1.0, 1.4)}), activation_bits=4, scale="max-abs")
    assert (quant.input_bits, quant.input_signed, quant.input_scale) == (4, True, 1.4 / 7)


def test_words_for_a_calibrated_input_that_is_too_large() -> None:
    """A signed code of 7 bits is worth 2**100 at most."""
    quant, *_ = quantised(behind([], {"x": (-1.0, 2.0**107)}))
    assert quant.input_scale == 2.0**100
    with pytest.raises(ModelError) as caught:
        quantised(behind([], {"x": (-1.0, np.nextafter(2.0**107, INF))}))
    assert str(caught.value) == (
        "[BSC303] layer 'fc': its calibrated input is too large to be quantised\n"
        "  seen: values up to 1.62259e+32\n"
        "  fix:  scale the calibration data as the model expects it"
    )


def words_for(what: str, seen: str) -> str:
    return (
        f"[BSC303] layer 'fc': a {what} is not a finite number\n"
        f"  seen: {seen}\n"
        "  fix:  train or export the model again; NaN and infinity have no code"
    )


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize(("value", "seen"), [(NAN, "nan"), (INF, "inf"), (-INF, "-inf")])
def test_words_for_a_weight_that_is_no_number(value: float, seen: str, per: Any) -> None:
    with pytest.raises(ModelError) as caught:
        Quantize(per=per).run(float_layer([[1.0, 2.0], [value, 0.0]]))
    assert str(caught.value) == words_for("weight", seen)


def test_words_for_a_bias_that_is_no_number() -> None:
    graph = network(fc(1, 2, bias="b"), arrays={FC_WEIGHT: np.ones((1, 2)), "b": [0.0, -INF]})
    with pytest.raises(ModelError) as caught:
        Quantize().run(graph)
    assert str(caught.value) == words_for("bias", "-inf")


def test_words_for_a_calibrated_range_that_is_no_number() -> None:
    with pytest.raises(ModelError) as caught:
        Quantize().run(float_layer([[1.0]], ranges={"x": (0.0, INF)}))
    assert str(caught.value) == words_for("calibrated input", "inf")


@pytest.mark.parametrize(
    ("option", "inside", "outside", "limits"),
    [("bits", (1, 15), (0, 16), "1 to 15"), ("activation_bits", (2, 16), (1, 17), "2 to 16")],
)
def test_option_limits(option: str, inside: tuple[int, int], outside: tuple[int, int], limits: str) -> None:
    for value in inside:
        quantised(float_layer(WEIGHT), **{option: value})
    written = option.replace("_", "-")
    for value in outside:
        with pytest.raises(UsageError) as caught:
            quantised(float_layer(WEIGHT), **{option: value})
        assert str(caught.value) == (
            f"[BSC205] pass 'quantize': {written} must be {limits}\n"
            f"  seen: {value}\n"
            f"  fix:  choose quantize{{{written}=8}}"
        )
