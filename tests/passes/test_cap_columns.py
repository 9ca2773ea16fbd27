from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from bsc.cli import main
from bsc.errors import ModelError, UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import InputMoments
from bsc.plan.folder import read_plan
from bsc.testing import conv_model, mlp_model, save
from passes.assign_adc import AssignAdc
from passes.cap_columns import CapColumns
from passes.eliminate import Eliminate
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.passes.layers import array, assert_runs_once, coded_layer, compiled, sparse_codes, the_layer

FIRST = (SliceBits(), Eliminate())


def with_moments(graph: Graph, mean: ArrayLike | None = None, covariance: ArrayLike | None = None) -> Graph:
    """The layer's inputs as if data had been seen; by default each is alone, with mean 0 and variance 1."""
    layer = the_layer(graph)
    moments = InputMoments(vectors=9, mean="fc/input-mean", covariance="fc/input-covariance")
    shape = (layer.groups, layer.rows)
    eye = np.broadcast_to(np.eye(layer.rows), (layer.groups, layer.rows, layer.rows))
    arrays: dict[str, NDArray[Any]] = {
        moments.mean: np.zeros(shape) if mean is None else np.asarray(mean, np.float64),
        moments.covariance: np.asarray(eye if covariance is None else covariance, np.float32),
    }
    return graph.with_layers({layer.name: replace(layer, moments=moments)}, arrays)


def sliced(codes: ArrayLike, groups: int = 1, **moments: Any) -> Graph:
    return compiled(with_moments(coded_layer(codes, groups=groups), **moments), *FIRST)


def codes_of(graph: Graph) -> NDArray[Any]:
    return array(graph, "codes")


def steps_of(graph: Graph) -> list[float]:
    steps: list[float] = array(graph, "weight_scale").tolist()
    return steps


def proved_bits(graph: Graph, rows: int = 128) -> NDArray[Any]:
    adc = the_layer(mapped := compiled(graph, Tile(rows=rows, cols=16, active_rows=rows), AssignAdc())).adc
    assert adc is not None
    return array(mapped, "adc_bits")


def test_by_hand() -> None:
    """3 and 2 add up to 5 in slice 0, and 1 bit allows 1: 4 and 1 hold theirs in slices of their own."""
    graph = compiled(sliced([[3], [2]]), CapColumns(bits=1))
    assert (codes_of(graph).tolist(), steps_of(graph)) == ([[4], [1]], [1])
    assert proved_bits(graph).max() == 1


def test_a_coarser_step_where_that_misses_less() -> None:
    """2 and 2 within 1 bit: 1 and 4 miss 1 and 2; in steps of 2 one of the two is right and the other 0."""
    graph = compiled(sliced([[2], [2]]), CapColumns(bits=1))
    assert (sorted(codes_of(graph).ravel()), steps_of(graph)) == ([0, 1], [2])


def test_columns_that_need_no_more_bits_stay_as_they_are() -> None:
    graph = sliced([[3, 1], [2, 2], [3, 0]])
    capped = compiled(graph, CapColumns(bits=2))
    assert codes_of(capped)[:, 1].tolist() == [1, 2, 0]
    assert codes_of(capped)[:, 0].tolist() != [3, 2, 3]
    assert steps_of(capped)[1] == 1
    bias = array(capped, "bias")
    assert bias.dtype == np.float32
    assert bias[1] == 0


def test_the_mean_of_what_is_left_goes_into_the_bias() -> None:
    """Inputs that never change: no weight is needed, the bias does it all."""
    graph = compiled(sliced([[3], [3]], mean=[[2.0, 5.0]], covariance=np.zeros((1, 2, 2))), CapColumns(bits=1))
    (step,), left = steps_of(graph), codes_of(graph)[:, 0]
    assert array(graph, "bias").tolist() == [3 * 2 + 3 * 5 - step * float(left @ [2, 5])]


def test_rows_and_columns_that_are_not_mapped_keep_their_places() -> None:
    codes = [[0, 0, 0], [0, 3, 1], [0, 2, 2], [0, 3, 0]]
    graph = compiled(sliced(codes, mean=[[9.0, 1.0, 1.0, 1.0]]), CapColumns(bits=2))
    step = steps_of(graph)
    assert (step[0], step[2], len(step)) == (1, 1, 3)
    bias = array(graph, "bias")
    assert bias.tolist() == [0, 8 - step[1] * float(codes_of(graph)[:, 0].sum()), 0]


def test_groups_have_inputs_of_their_own() -> None:
    """Columns 0 and 1 read the inputs of group 0, the others those of group 1, which are always alike."""
    codes = np.array([[13, 1, 13, 1], [2, 1, 2, 1]])
    covariance = [np.eye(2), np.ones((2, 2))]
    graph = compiled(sliced(codes, groups=2, covariance=covariance), CapColumns(bits=2, group_rows=1))
    assert proved_bits(graph, rows=1).max() <= 2
    missed = codes - codes_of(graph) * np.array(steps_of(graph))
    assert abs(missed[:, 2].sum()) <= abs(missed[:, 0].sum())
    assert not missed[:, [1, 3]].any()


@given(codes=sparse_codes(), bits=st.integers(1, 8), rows=st.sampled_from([4, 16, 128]))
@settings(max_examples=30, deadline=None)
def test_no_conversion_needs_more_bits(codes: NDArray[np.int16], bits: int, rows: int) -> None:
    graph = compiled(with_moments(coded_layer(codes)), SliceBits(), Eliminate(rows=rows))
    capped = compiled(graph, CapColumns(bits=bits, group_rows=rows))
    assert proved_bits(capped, rows).max(initial=0) <= bits
    kept = (proved_bits(graph, rows) <= bits).all(axis=(0, 1, 2))
    np.testing.assert_array_equal(codes_of(capped)[:, kept], codes_of(graph)[:, kept])


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_pairs_that_are_subtracted_before_keep_to_it_too(bits: int) -> None:
    codes = np.random.default_rng(0).integers(-255, 256, (128, 6))
    graph = compiled(with_moments(coded_layer(codes)), SliceBits(subtraction="analog"), Eliminate())
    capped = compiled(graph, CapColumns(bits=bits))
    assert proved_bits(graph).max() == 8
    assert proved_bits(capped).max() == (bits if bits > 1 else 0)  # half of 1 is none
    assert CapColumns(bits=bits).run(capped).graph is capped


def test_runs_once() -> None:
    assert_runs_once(CapColumns(bits=2), sliced([[3, 1], [2, 2], [3, 0]]))


def test_a_layer_that_needs_no_more_bits_needs_no_data() -> None:
    graph = compiled(coded_layer([[3], [1]]), *FIRST)
    assert CapColumns(bits=3).run(graph).graph is graph


def test_words_without_data() -> None:
    with pytest.raises(UsageError) as caught:
        CapColumns(bits=1).run(compiled(coded_layer([[3], [2]]), *FIRST))
    assert str(caught.value) == (
        "[BSC201] pass 'cap-columns' needs calibration data\n"
        "  seen: no moments of the layers' inputs\n"
        "  fix:  give typical inputs with --calib FILE.npz"
    )


@pytest.mark.parametrize("encoding", ["offset", "centre"])
def test_words_of_cells_that_cannot_be_capped(encoding: Any) -> None:
    graph = compiled(coded_layer([[3]]), SliceBits(encoding=encoding), Eliminate())
    with pytest.raises(UsageError) as caught:
        CapColumns().run(graph)
    assert str(caught.value) == (
        "[BSC205] pass 'cap-columns': layer 'fc' has cells that it cannot cap\n"
        f"  seen: {encoding} encoding\n"
        "  fix:  choose slice-bits{encoding=differential}, or leave the pass out"
    )


def test_its_place_is_before_tile() -> None:
    graph = sliced([[3]])
    with pytest.raises(ModelError, match="pass 'cap-columns' comes too late"):
        CapColumns().run(compiled(graph, Tile()))
    with pytest.raises(ModelError, match="pass 'cap-columns' needs what 'slice-bits' computes"):
        CapColumns().run(coded_layer([[3]]))


@pytest.mark.parametrize(
    ("option", "inside", "outside", "limits", "default"),
    [
        ("bits", (1, 16), (0, 17), "1 to 16", 6),
        ("group_rows", (1,), (0,), "1 or more", 128),
        ("vectors", (1,), (0,), "1 or more", 16384),
    ],
)
def test_limits_of_options(
    option: str, inside: tuple[int, ...], outside: tuple[int, ...], limits: str, default: int
) -> None:
    for value in inside:
        CapColumns(**{option: value})  # type: ignore[arg-type]
    for value in outside:
        with pytest.raises(UsageError) as caught:
            CapColumns(**{option: value})  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"[BSC205] pass 'cap-columns': {option.replace('_', '-')} must be {limits}\n"
            f"  seen: {value}\n"
            f"  fix:  choose cap-columns{{{option.replace('_', '-')}={default}}}"
        )


@pytest.mark.parametrize(
    ("model", "shape"), [(mlp_model(200, 20, 5), (200,)), (conv_model(channels=16, filters=8), (16, 8, 8))]
)
def test_from_model_to_a_plan_within_the_cap(model: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    save(model, tmp_path / "m.onnx")
    inputs = np.random.default_rng(0).uniform(0, 1, (64, *shape)).astype(np.float32)
    np.savez(tmp_path / "c.npz", x=inputs)
    flags = ["--calib", str(tmp_path / "c.npz"), "--cap", "4", "-o", str(tmp_path / "m.bsc")]
    result = CliRunner().invoke(main, ["compile", str(tmp_path / "m.onnx"), *flags])
    assert result.exit_code == 0, result.output
    plan = read_plan(tmp_path / "m.bsc")
    assert "cap-columns{bits=4 group-rows=128 vectors=16384}" in plan.document.pipeline
    bits = [plan.mapping.arrays(layer).adc_bits for layer in plan.mapping.layers]
    assert max(int(each.max()) for each in bits) == 4
    verified = CliRunner().invoke(main, ["verify", str(tmp_path / "m.bsc"), "--data", str(tmp_path / "c.npz")])
    assert verified.exit_code == 0, verified.output
    assert "exact: yes" in verified.output


def test_words_of_the_command(tmp_path: Path) -> None:
    path = str(save(mlp_model(4, 3), tmp_path / "m.onnx"))
    result = CliRunner().invoke(main, ["compile", path, "--cap", "4"])
    assert "[BSC201] pass 'cap-columns' needs calibration data" in result.output
    result = CliRunner().invoke(main, ["compile", path, "--cap", "4", "--permute", "auto"])
    assert (
        "[BSC201] --cap and --permute auto cannot be used together\n"
        "  seen: rows that are put in order after their columns were capped\n"
        "  fix:  choose --permute none, sorted or balanced"
    ) in result.output
    for bits in ("0", "17"):
        assert CliRunner().invoke(main, ["compile", path, "--cap", bits]).exit_code == 2
