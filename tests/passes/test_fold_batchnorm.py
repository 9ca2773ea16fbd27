from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from bsc.errors import ModelError
from bsc.ir.graph import Graph, Op
from bsc.ir.layer import CrossbarLayer
from bsc.numeric.im2col import ConvGeometry
from passes.fold_batchnorm import FoldBatchNorm
from passes.quantize import Quantize
from tests.passes.layers import FC_WEIGHT, assert_runs_once, compiled, digital, fc, network, the_layer

GEOMETRY = ConvGeometry(kernel=(1, 1), strides=(1, 1), dilations=(1, 1), pads=((0, 0), (0, 0)))
STATISTICS: dict[str, ArrayLike] = {"g": [2.0, 1.0], "b": [0.5, 0.0], "m": [1.0, 0.0], "v": [4.0, 1.0]}
NORM = digital("BatchNormalization", "a g b m v", "y", epsilon=0.0)
LAYER = fc(2, 2, output="a")


def behind(
    *ops: Op, layer: CrossbarLayer = LAYER, arrays: Mapping[str, ArrayLike] | None = None, **fields: Any
) -> Graph:
    """`layer`, which writes 'a' of shape (1, 2), then `ops`."""
    known = {FC_WEIGHT: np.array([[1, 2], [3, 4]], np.float32), **STATISTICS, **(arrays or {})}
    return network(layer, *ops, arrays=known, **{"shapes": {"a": (1, 2), "y": (1, 2)}, **fields})


def weights(graph: Graph) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights (K, N) and bias."""
    layer = the_layer(graph)
    return layer.matrix(graph.array(layer.weight)), graph.array(layer.bias or "")


@pytest.mark.parametrize(
    ("bias", "folded_bias"),
    # g = (2 / 2, 1 / 1); b' = (b - (1, 0)) * g + (0.5, 0)
    [(None, [-0.5, 0.0]), ([3.0, 5.0], [2.5, 5.0]), ([3.0], [2.5, 3.0]), ([[3.0, 5.0]], [2.5, 5.0])],
)
def test_by_hand(bias: ArrayLike | None, folded_bias: list[float]) -> None:
    layer = LAYER if bias is None else replace(LAYER, bias="bias")
    graph = compiled(behind(NORM, layer=layer, arrays={"bias": [] if bias is None else bias}), FoldBatchNorm())
    weight, new_bias = weights(graph)
    assert weight.tolist() == [[1, 2], [3, 4]]
    assert new_bias.tolist() == folded_bias
    assert list(graph.ops()) == [the_layer(graph)]
    assert (the_layer(graph).input, the_layer(graph).output) == ("x", "y")


def test_a_norm_behind_a_norm() -> None:
    arrays = {name + "2": values for name, values in STATISTICS.items()} | {"v2": [1.0, 4.0]}
    first = digital("BatchNormalization", "a g b m v", "t", epsilon=0.0)
    second = digital("BatchNormalization", "t g2 b2 m2 v2", "y", epsilon=0.0)
    graph = behind(first, second, arrays=arrays, shapes={"a": (1, 2), "t": (1, 2)})
    weight, bias = weights(compiled(graph, FoldBatchNorm()))
    # The second has g = (2, 1 / 2).
    assert weight.tolist() == [[2, 1], [6, 2]]
    assert bias.tolist() == [(-0.5 - 1) * 2 + 0.5, 0.0]


@pytest.mark.parametrize("transposed", [False, True])
@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    epsilon=st.sampled_from([None, 0.0, 1e-3]),
    with_bias=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_result_is_that_of_the_two_operators(
    transposed: bool, shape: tuple[int, int], epsilon: float | None, with_bias: bool, seed: int
) -> None:
    rows, columns = shape
    random = np.random.default_rng(seed)
    x, weight, bias = random.normal(size=(3, rows)), random.normal(size=shape), random.normal(size=columns)
    gamma, beta, mean = random.normal(size=(3, columns))
    var = random.uniform(0.1, 3, columns)
    # As of a 1x1 convolution.
    stored = weight.T.reshape(columns, rows, 1, 1) if transposed else weight
    attributes: dict[str, Any] = {} if epsilon is None else {"epsilon": epsilon}
    graph = network(
        fc(rows, columns, output="a", transposed=transposed, bias="bias" if with_bias else None),
        digital("BatchNormalization", "a g b m v", "y", **attributes),
        arrays={FC_WEIGHT: stored, "bias": bias, "g": gamma, "b": beta, "m": mean, "v": var},
        shapes={"a": (3, columns)},
    )
    folded_weight, folded_bias = weights(compiled(graph, FoldBatchNorm()))
    result = x @ weight + (bias if with_bias else 0)
    expected = (result - mean) / np.sqrt(var + (1e-5 if epsilon is None else epsilon)) * gamma + beta
    np.testing.assert_allclose(x @ folded_weight + folded_bias, expected, rtol=1e-4, atol=1e-4)
    assert folded_weight.dtype == folded_bias.dtype == np.float32


def test_a_convolution_of_any_rank() -> None:
    layer = replace(LAYER, op_type="Conv", conv=GEOMETRY)
    graph = behind(NORM, layer=layer, shapes={"a": (1, 2, 5, 5)})
    assert FoldBatchNorm().run(graph).changed == ("fc",)


# Graphs where folding would change a result or cannot be computed here.
UNFOLDABLE = {
    "no norm": behind(digital("Relu", "a", "y")),
    "a norm of the model input": behind(digital("BatchNormalization", "x g b m v", "y"), outputs=("a", "y")),
    "two readers": behind(NORM, digital("Relu", "a", "z"), outputs=("y", "z")),
    "the result is a model output": behind(NORM, outputs=("a", "y")),
    "training": behind(digital("BatchNormalization", "a g b m v", "y", training_mode=1)),
    "training before opset 14": behind(digital("BatchNormalization", "a g b m v", "y mean var")),
    "statistics that are computed": behind(
        digital("ReduceMean", "x", "mean"), digital("BatchNormalization", "a g b mean v", "y")
    ),
    "statistics of another size": behind(NORM, arrays={"m": [1.0]}),
    "channels that are not the columns": behind(NORM, shapes={"a": (1, 2, 2)}),
    "a result of unknown shape": behind(NORM, shapes={}),
    "a norm of another domain": behind(digital("BatchNormalization", "a g b m v", "y", domain="com.microsoft")),
}


@pytest.mark.parametrize("graph", UNFOLDABLE.values(), ids=UNFOLDABLE)
def test_left_alone(graph: Graph) -> None:
    result = FoldBatchNorm().run(graph)
    assert result.graph is graph
    assert result.changed == ()


def test_runs_once() -> None:
    assert_runs_once(FoldBatchNorm(), behind(NORM))


@pytest.mark.parametrize(
    ("variances", "seen"), [([1.0, -1.0], "-1 to 1"), ([0.0, 1.0], "0 to 1"), ([float("nan"), 1.0], "nan to nan")]
)
def test_words_for_a_variance_without_a_scale(variances: list[float], seen: str) -> None:
    with pytest.raises(ModelError) as caught:
        FoldBatchNorm().run(behind(NORM, arrays={"v": variances}))
    assert str(caught.value) == (
        "[BSC303] node 'BatchNormalization:y' (BatchNormalization): its scale is not a finite number\n"
        f"  seen: variance {seen}, epsilon 0\n"
        "  fix:  train again or repair the normalisation's statistics"
    )


def test_weights_too_large_for_float32_are_refused_by_quantize() -> None:
    graph = compiled(behind(NORM, arrays={"g": [3e38, 1.0]}), FoldBatchNorm())
    with pytest.raises(ModelError, match="layer 'fc': a weight is not a finite number"):
        Quantize().run(graph)


def test_words_after_quantize() -> None:
    with pytest.raises(ModelError) as caught:
        FoldBatchNorm().run(compiled(behind(NORM), Quantize()))
    assert str(caught.value) == (
        "[BSC309] layer 'fc': pass 'fold-batchnorm' comes too late\n"
        "  seen: the result of 'quantize' in the graph\n"
        "  fix:  put 'fold-batchnorm' before 'quantize' in --passes"
    )
