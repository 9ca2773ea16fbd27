from typing import Any

import numpy as np
import pytest

from bsc.errors import ModelError, UsageError
from bsc.ir.layer import Slicing
from bsc.numeric.encoding import CellFormat, Encoding
from passes.slice_bits import SliceBits
from tests.passes.layers import assert_runs_once, coded_layer, compiled, float_layer, the_layer


@pytest.mark.parametrize(
    ("weight_bits", "bits_per_cell", "slices"),
    [(8, 2, 4), (8, 3, 3), (8, 8, 1), (8, 1, 8), (1, 8, 1), (9, 8, 2), (15, 2, 8)],
)
def test_by_hand(weight_bits: int, bits_per_cell: int, slices: int) -> None:
    graph = coded_layer([[1]], weight_bits=weight_bits)
    slicing = the_layer(compiled(graph, SliceBits(bits_per_cell=bits_per_cell, dac_bits=3))).slicing
    assert slicing == Slicing(cells=CellFormat(weight_bits=weight_bits, bits_per_cell=bits_per_cell), dac_bits=3)
    assert (slicing.cells.slices, slicing.cells.polarities) == (slices, 2)


@pytest.mark.parametrize(
    ("encoding", "slices", "polarities"), [("differential", 4, 2), ("centre", 4, 2), ("offset", 5, 1)]
)
def test_encodings_by_hand(encoding: Encoding, slices: int, polarities: int) -> None:
    """The offset makes every code positive: one bit more, and no second column."""
    slicing = the_layer(compiled(coded_layer([[1]]), SliceBits(encoding=encoding))).slicing
    assert slicing is not None
    assert (slicing.cells.slices, slicing.cells.polarities) == (slices, polarities)


@pytest.mark.parametrize("bits_per_cell", range(1, 9))
@pytest.mark.parametrize("weight_bits", range(1, 16))
def test_the_slices_keep_every_code(weight_bits: int, bits_per_cell: int) -> None:
    """Enough slices for the top code, and none that every code leaves empty."""
    graph = coded_layer([[1]], weight_bits=weight_bits)
    slicing = the_layer(compiled(graph, SliceBits(bits_per_cell=bits_per_cell))).slicing
    assert slicing is not None
    magnitudes = np.arange(1 << weight_bits)
    levels = [magnitudes >> bits_per_cell * slice_ & slicing.cells.max_level for slice_ in range(slicing.cells.slices)]
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
            f"  fix:  choose slice-bits{{{written}=2}}"
        )


def test_words_before_quantize() -> None:
    with pytest.raises(ModelError) as caught:
        SliceBits().run(float_layer([[1.0]]))
    assert str(caught.value) == (
        "[BSC309] layer 'fc': pass 'slice-bits' needs what 'quantize' computes\n"
        "  seen: no result of 'quantize' in the graph\n"
        "  fix:  put 'quantize' before 'slice-bits' in --passes"
    )
