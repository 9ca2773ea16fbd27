from typing import Any

import numpy as np
import pytest

from bsc.errors import ModelError, UsageError
from bsc.mapping.layer import Slicing
from bsc.numeric.encoding import CellFormat, Encoding
from passes.slice_bits import SliceBits
from tests.bsc.plans import coded, plan_of
from tests.passes.layers import assert_runs_once, coded_layer, compiled, float_layer, the_layer


@pytest.mark.parametrize(
    ("weight_bits", "bits_per_cell", "slices"),
    [(8, 2, 4), (8, 3, 3), (8, 8, 1), (8, 1, 8), (1, 8, 1), (9, 8, 2), (15, 2, 8)],
)
def test_by_hand(weight_bits: int, bits_per_cell: int, slices: int) -> None:
    graph = coded_layer([[1]], weight_bits=weight_bits)
    slicing = the_layer(compiled(graph, SliceBits(bits_per_cell=bits_per_cell, dac_bits=3))).slicing
    even = CellFormat(weight_bits=weight_bits, bits_per_cell=bits_per_cell)
    assert slicing == Slicing(
        slice_bits=even.slice_bits, encoding="differential", subtraction="digital", flip=False, dac_bits=3
    )
    assert (len(slicing.slice_bits), slicing.format_of(weight_bits).polarities) == (slices, 2)


@pytest.mark.parametrize(
    ("encoding", "slices", "polarities"), [("differential", 4, 2), ("centre", 4, 2), ("offset", 5, 1)]
)
def test_encodings_by_hand(encoding: Encoding, slices: int, polarities: int) -> None:
    """The offset makes every code positive: one bit more, and no second column."""
    slicing = the_layer(compiled(coded_layer([[1]]), SliceBits(encoding=encoding))).slicing
    assert slicing is not None
    assert (len(slicing.slice_bits), slicing.format_of(8).polarities) == (slices, polarities)


@pytest.mark.parametrize("bits_per_cell", range(1, 9))
@pytest.mark.parametrize("weight_bits", range(1, 16))
def test_the_slices_keep_every_code(weight_bits: int, bits_per_cell: int) -> None:
    """Enough slices for the top code, and none that every code leaves empty."""
    graph = coded_layer([[1]], weight_bits=weight_bits)
    slicing = the_layer(compiled(graph, SliceBits(bits_per_cell=bits_per_cell))).slicing
    assert slicing is not None
    magnitudes = np.arange(1 << weight_bits)
    top = slicing.format_of(weight_bits).max_level
    levels = [magnitudes >> bits_per_cell * slice_ & top for slice_ in range(len(slicing.slice_bits))]
    rebuilt = sum(level << bits_per_cell * slice_ for slice_, level in enumerate(levels))
    np.testing.assert_array_equal(rebuilt, magnitudes)
    assert levels[-1].any()


def test_runs_once() -> None:
    assert_runs_once(SliceBits(), coded_layer([[1]]))


def with_option(option: str, value: int) -> SliceBits:
    options: dict[str, Any] = {option: value}
    return SliceBits(**options)


@pytest.mark.parametrize("option", ["bits_per_cell", "dac_bits"])
def test_option_limits(option: str) -> None:
    for value in (1, 8):
        assert with_option(option, value).run(coded_layer([[1]])).changed == ("fc",)
    written = option.replace("_", "-")
    for value in (0, 9):
        with pytest.raises(UsageError) as caught:
            with_option(option, value)
        assert str(caught.value) == (
            f"[BSC205] pass 'slice-bits': {written} must be 1 to 8\n"
            f"  seen: {value}\n"
            f"  fix:  choose slice-bits{{{written}={getattr(SliceBits(), option)}}}"
        )


def test_words_before_quantize() -> None:
    with pytest.raises(ModelError) as caught:
        SliceBits().run(float_layer([[1.0]]))
    assert str(caught.value) == (
        "[BSC309] layer 'fc': pass 'slice-bits' needs what 'quantize' computes\n"
        "  seen: no result of 'quantize' in the graph\n"
        "  fix:  put 'quantize' before 'slice-bits' in --passes"
    )


def test_unequal_slices_by_hand() -> None:
    """4-2-2 from the top on: 0b1011_01_10 is 11, 1 and 2, worth 16, 4 and 1."""
    slicing = the_layer(compiled(coded_layer([[1]]), SliceBits(cut="4-2-2"))).slicing
    assert slicing is not None
    cells = slicing.format_of(8)
    assert (cells.slice_bits, cells.bits_per_cell, cells.tops.tolist()) == ((2, 2, 4), 4, [3, 3, 15])
    assert cells.levels()[0b10110110, :, 0].tolist() == [2, 1, 11]
    assert cells.place_values()[:, 0].tolist() == [1, 4, 16]
    assert str(slicing) == "3 slices of 4+2+2 bit, 1-bit DAC"


@pytest.mark.parametrize(
    ("options", "problem", "seen", "fix"),
    [
        (
            {"cut": "4-4-"},
            "cut must be even or the bits of each slice",
            "4-4-",
            "choose slice-bits{cut=even} or, from the top slice on, slice-bits{cut=4-2-2}",
        ),
        (
            {"flip": "yes"},
            "the differential encoding has no flipped columns",
            "flip=yes encoding=differential",
            "choose slice-bits{flip=no}, or encoding=offset or encoding=centre",
        ),
        (
            {"subtraction": "analog", "encoding": "offset"},
            "the offset encoding has no pairs of columns to subtract",
            "subtraction=analog encoding=offset",
            "choose slice-bits{subtraction=digital}, or encoding=differential or encoding=centre",
        ),
        (
            {"subtraction": "analog", "flip": "yes", "encoding": "centre"},
            "a pair that is subtracted before its conversion cannot be flipped",
            "subtraction=analog flip=yes",
            "choose one of them",
        ),
        (
            {"subtraction": "analog", "cut": "8"},
            "pairs are subtracted for cells of up to 7 bits",
            "8 bits",
            "choose slice-bits{subtraction=digital}, or fewer bits a cell",
        ),
    ],
)
def test_words_for_options_that_contradict(options: dict[str, Any], problem: str, seen: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        SliceBits(**options)
    assert str(caught.value) == f"[BSC205] pass 'slice-bits': {problem}\n  seen: {seen}\n  fix:  {fix}"


def test_words_for_slices_that_do_not_hold_the_codes() -> None:
    SliceBits(cut="7-1", subtraction="analog").run(coded_layer([[1]]))
    with pytest.raises(UsageError) as caught:
        SliceBits(cut="4-2-2", encoding="offset").run(coded_layer([[1]]))
    assert str(caught.value) == (
        "[BSC205] pass 'slice-bits': the slices of layer 'fc' do not hold its codes\n"
        "  seen: cut=4-2-2 has 8 bits, a stored code 9\n"
        "  fix:  let the bits of the slices add up to those of a stored code"
    )


def test_layers_that_are_named_are_cut_otherwise() -> None:
    plan = plan_of(
        coded([[1]], name="first", output="h"),
        coded([[1]], name="second", input="h"),
        before=(SliceBits(cut="4-2-2", only=("second",)),),
    )
    assert [layer.slice_bits for layer in plan.mapping.layers] == [(2, 2, 2, 2), (2, 2, 4)]


def test_words_for_a_name_that_no_layer_has() -> None:
    with pytest.raises(UsageError) as caught:
        SliceBits(only=("fc", "fc9")).run(coded_layer([[1]]))
    assert str(caught.value) == (
        "[BSC205] pass 'slice-bits': option only names no layer: 'fc9'\n"
        "  seen: layers fc\n"
        "  fix:  use these names, or leave only out"
    )
