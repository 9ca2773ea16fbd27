from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from bsc.errors import ModelError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import ConvRecord, MappedLayer
from bsc.mapping.model import MappedModel
from bsc.numeric.quantizer import code_limits, input_cycles, to_codes
from bsc.numeric.sharing import AdcSharing
from bsc.replay import columns, loaded
from bsc.replay import engine as engine_module
from bsc.replay.activations import input_codes
from bsc.replay.columns import Reader, best_reader, read_numpy
from bsc.replay.engine import LayerEngine, Replayer, ReplayOptions
from bsc.replay.kernel import kernel
from bsc.replay.reference import reference_results
from bsc.replay.tally import LayerTally
from bsc.testing import conv_model, mlp_model, random_weights, tiny_model
from passes.assign_adc import AssignAdc
from tests.bsc.plans import CNN, coded, mapped, model_plan, only_layer, slicings, with_adc

FIXED = AssignAdc(policy="fixed", bits=16)


@dataclass(frozen=True, eq=False)
class Case:
    """A layer and input codes (V, G, K) for it."""

    layer: MappedLayer
    arrays: LayerArrays
    inputs: NDArray[np.int64]

    @property
    def driven(self) -> NDArray[np.int64]:
        """Input codes of the mapped rows, (V, G, K)."""
        return self.inputs if self.arrays.kept_rows is None else self.inputs[:, :, self.arrays.kept_rows]

    def integers(self) -> NDArray[np.int64]:
        """The plain product of input codes and weight codes, (V, N)."""
        mapped = self.driven
        codes = self.arrays.codes.astype(np.int64)
        width = max(1, codes.shape[1] // self.layer.groups)
        columns = [mapped[:, n // width] @ codes[:, n] for n in range(codes.shape[1])]
        return np.stack(columns, axis=1) if columns else np.zeros((len(mapped), 0), np.int64)


@st.composite
def cases(draw: st.DrawFn, *, adc: AssignAdc) -> Case:
    """Any format, encoding and tiling: ragged and one-row tiles, row groups, groups, slices and lines of zeros."""
    weight_bits, input_bits, signed = draw(st.integers(1, 15)), draw(st.integers(2, 16)), draw(st.booleans())
    groups, width, height = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 8))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = height, groups * width
    top = (1 << draw(st.integers(1, weight_bits))) - 1
    codes = random.integers(-top, top, shape, endpoint=True) << draw(st.integers(0, weight_bits - top.bit_length()))
    for share, lines in ((draw(st.sampled_from([0, 0.6, 1])), shape), (0.2, (height, 1)), (0.2, (1, shape[1]))):
        codes[np.broadcast_to(random.random(lines) < share, shape)] = 0
    active_rows = draw(st.integers(1, 9))
    plan = mapped(
        coded(codes, weight_bits=weight_bits, input_bits=input_bits, input_signed=signed, groups=groups),
        **draw(slicings(weight_bits, most=13)),  # 8 rows then need 16 ADC bits at most
        rows=active_rows * draw(st.integers(1, 3)),
        active_rows=active_rows,
        cols=draw(st.integers(1, 5)),
        eliminate=draw(st.booleans()),
        adc=adc,
    )
    low, high = (-(1 << input_bits - 1), (1 << input_bits - 1) - 1) if signed else (0, (1 << input_bits) - 1)
    inputs = random.integers(low, high, (draw(st.integers(1, 2)), groups, height), endpoint=True)
    inputs[random.random(inputs.shape) < 0.1] = low
    inputs[random.random(inputs.shape) < 0.1] = high
    layer, arrays = only_layer(plan)
    return Case(layer, arrays, inputs)


@st.composite
def lossless_cases(draw: st.DrawFn) -> Case:
    granularities: list[AdcSharing] = ["column", "tile", "slice"]
    return draw(cases(adc=AssignAdc(granularity=draw(st.sampled_from(granularities)))))


@st.composite
def lossy_cases(draw: st.DrawFn) -> Case:
    """Every column has a resolution and step of its own; most of them clip or round. Some results are corrected.

    The codes of a pair are any that have 0 among them.
    """
    case = draw(cases(adc=FIXED))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = case.arrays.adc_bits.shape
    bits = random.integers(0, draw(st.sampled_from([4, 9, 16])), shape, endpoint=True)
    step = random.integers(1, draw(st.sampled_from([1, 4, 255])), shape, endpoint=True)
    arrays = with_adc(case.arrays, bits, step)
    if arrays.adc_low is not None and draw(st.booleans()):
        low = np.where(bits > 0, -random.integers(0, 2**bits), 0)
        arrays = replace(arrays, adc_low=low.astype(np.int32))
    if draw(st.booleans()):
        arrays = replace(arrays, correction=np.asarray(random.integers(-1000, 1000, shape[3])))
    return replace(case, arrays=arrays)


def drives(code: int, layer: MappedLayer) -> Iterator[tuple[int, int]]:
    """(what one digit is worth, digit) of every input cycle."""
    plain_bits = layer.input_bits - layer.input_signed
    for shift in range(0, plain_bits, layer.dac_bits):
        yield 2**shift, code % 2**plain_bits // 2**shift % 2**layer.dac_bits
    if layer.input_signed:
        yield -(2**plain_bits), int(code < 0)


def by_conversion(case: Case) -> tuple[list[list[int]], LayerTally]:
    """What the crossbars give, one conversion at a time in Python integers."""
    layer, arrays = case.layer, case.arrays
    tally = LayerTally()
    inputs = [[[list(drives(code, layer)) for code in group] for group in vector] for vector in case.driven.tolist()]

    def result(vector: int, column: int) -> int:
        group = inputs[vector][column // (layer.mapped_columns // layer.groups)]
        codes = case.driven[vector, column // (layer.mapped_columns // layer.groups)].tolist()
        total = 0 if arrays.correction is None else int(arrays.correction[column])
        for row_group, first in enumerate(range(0, layer.mapped_rows, layer.active_rows)):
            rows = range(first, min(first + layer.active_rows, layer.mapped_rows))
            centre = {"differential": 0, "offset": -(2**layer.weight_bits)}.get(layer.encoding)
            if centre is None:
                assert arrays.centres is not None
                centre = int(arrays.centres[first // layer.tile_rows, column])
            total += centre * sum(codes[row] for row in rows)
            stored = [int(arrays.codes[row, column]) - centre for row in rows]
            for index, width in enumerate(layer.slice_bits):
                shift, top = sum(layer.slice_bits[:index]), 2**width - 1
                for conversion, polarity in enumerate((1,) if layer.encoding == "offset" else (1, -1)):
                    sign = polarity
                    cells = [max(sign * code, 0) >> shift & top for code in stored]
                    if layer.cells.analog_pairs:
                        if conversion == 1:
                            break
                        cells = [
                            cell - (max(-code, 0) >> shift & top) for cell, code in zip(cells, stored, strict=True)
                        ]
                    here = row_group, index, conversion, column
                    if arrays.flipped is not None and arrays.flipped[here]:
                        total += sign * 2**shift * top * sum(codes[row] for row in rows)
                        cells, sign = [top - cell for cell in cells], -sign
                    low = 0 if arrays.adc_low is None else int(arrays.adc_low[here])
                    bits, step = int(arrays.adc_bits[here]), int(arrays.adc_lsb[here])
                    for cycle, (place_values, _) in enumerate(group[0]):
                        current = sum(cell * group[row][cycle][1] for cell, row in zip(cells, rows, strict=True))
                        level = round(Fraction(current, step))  # half to even
                        read = max(low, min(level, low + 2**bits - 1))
                        tally.conversions += bits > 0
                        tally.clipped += bits > 0 and read != level
                        total += sign * place_values * 2**shift * step * read
        return total

    results = [[result(v, column) for column in range(layer.mapped_columns)] for v in range(len(inputs))]
    return results, tally


def plainly(case: Case) -> tuple[NDArray[np.int64], LayerTally]:
    tally = LayerTally()
    return reference_results(case.layer, case.arrays, case.driven, tally), tally


def replayed(case: Case, **options: Any) -> tuple[NDArray[np.float64], LayerTally]:
    engine = LayerEngine(case.layer, case.arrays, ReplayOptions(**options))
    return engine.results(case.inputs.astype(np.float64)), engine.tally


@settings(deadline=None, max_examples=150)
@given(lossy_cases())
def test_the_reference_converts_one_by_one(case: Case) -> None:
    expected, counted = by_conversion(case)
    results, tally = plainly(case)
    assert results.tolist() == expected
    assert tally == counted


READERS = pytest.mark.parametrize("reader", [best_reader(), read_numpy], ids=["best", "numpy"])


@READERS
@settings(deadline=None, max_examples=300)
@given(case=st.one_of(lossy_cases(), lossless_cases()), every=st.booleans(), statistics=st.booleans())
def test_the_engine_equals_the_reference(reader: Reader, case: Case, *, every: bool, statistics: bool) -> None:
    """Results and counts, whatever is folded away and whoever reads the rest."""
    expected, counted = plainly(case)
    results, tally = replayed(case, reader=reader, every_conversion=every, statistics=statistics)
    np.testing.assert_array_equal(results, expected)
    assert (tally.conversions, tally.clipped) == (counted.conversions, counted.clipped)
    assert tally.results == results.size
    assert tally.differing == np.count_nonzero(results != case.integers())


@settings(deadline=None, max_examples=300)
@given(case=lossless_cases(), every=st.booleans())
def test_lossless_crossbars_equal_the_integer_product(case: Case, *, every: bool) -> None:
    results, tally = replayed(case, every_conversion=every)
    np.testing.assert_array_equal(results, case.integers())
    engine = LayerEngine(case.layer, case.arrays, ReplayOptions())
    np.testing.assert_array_equal(engine.integers(case.inputs), case.integers())
    assert (tally.clipped, tally.differing) == (0, 0)
    assert tally.proved == (0 if every else tally.conversions)


@READERS
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "slicing",
    [
        {},
        {"encoding": "offset"},
        {"encoding": "offset", "flip": "yes"},
        {"encoding": "centre"},
        {"subtraction": "analog"},
        {"encoding": "centre", "subtraction": "analog", "cut": "4-2-2"},
    ],
    ids=lambda slicing: "-".join(slicing.values()) or "differential",
)
def test_large_layers_equal_the_reference(reader: Reader, slicing: dict[str, Any], seed: int) -> None:
    """Enough rows, columns and vectors for every path of the kernel: full registers, several chunks, ragged ends."""
    random = np.random.default_rng(seed)
    codes = random.integers(-255, 256, (150, 70)) * (random.random((150, 70)) < 0.6)
    plan = mapped(coded(codes, input_signed=bool(seed % 2)), rows=64, adc=FIXED, **slicing)
    layer, arrays = only_layer(plan)
    shape = arrays.adc_bits.shape
    step = random.integers(1, 4, shape) if seed > 1 else 1
    low, high = (-128, 127) if layer.input_signed else (0, 255)
    case = Case(
        layer, with_adc(arrays, random.integers(0, 9, shape), step), random.integers(low, high + 1, (300, 1, 150))
    )
    expected, counted = plainly(case)
    results, tally = replayed(case, reader=reader)
    np.testing.assert_array_equal(results, expected)
    assert (tally.conversions, tally.clipped) == (counted.conversions, counted.clipped)


@READERS
def test_column_sums_are_counted(reader: Reader) -> None:
    random = np.random.default_rng(0)
    layer, arrays = only_layer(
        mapped(coded(random.integers(-255, 256, (40, 9)), input_signed=True), rows=16, dac_bits=2)
    )
    inputs = random.integers(-128, 128, (30, 1, 40))
    engine = LayerEngine(layer, arrays, ReplayOptions(statistics=True, reader=reader))
    for part in (inputs[:11], inputs[11:]):  # counts of batches add up
        engine.results(part.astype(np.float32))
    assert engine.columns is not None
    levels = layer.cells.levels()[arrays.codes].astype(np.int64)
    cycles = input_cycles(layer.input_bits, signed=True, dac_bits=2)
    histogram, highest = np.zeros_like(engine.columns.histogram), np.zeros_like(engine.columns.highest)
    for row_group, first in enumerate(range(0, 40, 16)):
        rows = np.s_[first : first + 16]
        for cycle, (shift, width, _) in enumerate(cycles):
            digits = (inputs[:, 0, rows] >> shift) & ((1 << width) - 1)
            for here in np.ndindex(layer.slices, 2, 9):
                sums = digits @ levels[rows, here[2], here[0], here[1]]
                highest[(row_group, *here)] = max(highest[(row_group, *here)], sums.max())
                if arrays.sums[(row_group, *here)]:  # columns of zeros are never converted
                    np.add.at(histogram[here[0], here[1], cycle], sums, 1)
    assert engine.columns.bin_width == 1
    np.testing.assert_array_equal(engine.columns.histogram, histogram)
    np.testing.assert_array_equal(engine.columns.highest, highest)
    assert engine.columns.histogram.sum() == engine.tally.conversions


@READERS
def test_bins_are_wider_where_sums_are_large(reader: Reader) -> None:
    """16 cells of level 255 reach 4080, which is 4081 bins of one; 17 reach 4335, which is 2168 bins of two."""
    for rows, width, bins in ((16, 1, 4081), (17, 2, 2168)):
        layer, arrays = only_layer(mapped(coded(np.full((rows, 1), 255)), bits_per_cell=8))
        engine = LayerEngine(layer, arrays, ReplayOptions(statistics=True, reader=reader))
        engine.results(np.ones((1, 1, rows), np.float32))
        assert engine.columns is not None
        assert (engine.columns.bin_width, engine.columns.histogram.shape) == (width, (1, 2, 8, bins))
        assert np.flatnonzero(engine.columns.histogram[0, 0, 0]).tolist() == [rows * 255 // width]


def test_clipped_conversions_are_counted_by_column() -> None:
    """Four cells of level 3 under 1, 1, 0, 0 and under 1, 1, 1, 1: the second is above what 3 bits read."""
    layer, arrays = only_layer(mapped(coded(np.full((4, 2), 3), weight_bits=2), adc=FIXED))
    case = Case(layer, with_adc(arrays, [[[[3, 4], [0, 0]]]]), np.array([[[1, 1, 0, 0]], [[1, 1, 1, 1]]]))
    engine = LayerEngine(case.layer, case.arrays, ReplayOptions(statistics=True))
    assert engine.results(case.inputs).tolist() == [[6, 6], [7, 12]]
    assert engine.columns is not None
    assert engine.columns.clipped[0, 0].tolist() == [[1, 0], [0, 0]]
    assert engine.tally.clipped == 1


def test_crossbars_by_hand() -> None:
    # Two cells of level 3 and 2 under the inputs 3 = 11 and 1 = 01 give 5, then 3; a 2-bit ADC reads 3 and 3.
    layer, arrays = only_layer(mapped(coded([[3], [2]], weight_bits=2, input_bits=2), adc=FIXED))
    case = Case(layer, with_adc(arrays, [[[2], [0]]]), np.array([[[3, 1]]]))
    for results, tally in (plainly(case), replayed(case)):
        assert results.tolist() == [[3 * 1 + 3 * 2]]
        assert (tally.conversions, tally.clipped) == (2, 1)
    # With step 2 the sums 5 and 3 are 2.5 and 1.5 steps, both read as 2: 4 cell units each.
    coarse = replace(case, arrays=with_adc(arrays, [[[2], [0]]], 2))
    for results, tally in (plainly(coarse), replayed(coarse)):
        assert results.tolist() == [[4 * 1 + 4 * 2]]
        assert (tally.conversions, tally.clipped) == (2, 0)


@pytest.mark.parametrize("every", [False, True])
def test_no_input_vectors_give_no_results(*, every: bool) -> None:
    layer, arrays = only_layer(mapped(coded([[3, -1], [2, 5]])))
    engine = LayerEngine(layer, arrays, ReplayOptions(every_conversion=every))
    for compute in (engine.results, engine.integers):
        assert compute(np.zeros((0, 1, 2), np.int64)).shape == (0, 2)
    assert (engine.tally.conversions, engine.tally.results) == (0, 0)


def test_a_column_without_conversion_reads_nothing() -> None:
    layer, arrays = only_layer(mapped(coded([[3], [2]], weight_bits=2, input_bits=2), adc=FIXED))
    case = Case(layer, with_adc(arrays, 0), np.array([[[3, 1]]]))
    for results, tally in (plainly(case), replayed(case)):
        assert results.tolist() == [[0]]
        assert (tally.conversions, tally.clipped) == (0, 0)


def test_row_groups_by_hand() -> None:
    """Three cells of level 3 are 9 together and clip at 7; driven two and one at a time they are 6 and 3."""
    layer, arrays = only_layer(mapped(coded(np.full((3, 1), 3), weight_bits=2), rows=4, active_rows=2, adc=FIXED))
    case = Case(layer, with_adc(arrays, 3), np.ones((1, 1, 3), np.int64))
    whole, whole_arrays = only_layer(mapped(coded(np.full((3, 1), 3), weight_bits=2), rows=4, adc=FIXED))
    assert (layer.row_tiles, layer.row_groups, arrays.sums[:, 0, 0, 0].tolist()) == (1, 2, [6, 3])
    assert replayed(case)[0].tolist() == [[9]]
    assert replayed(Case(whole, with_adc(whole_arrays, 3), case.inputs))[0].tolist() == [[7]]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("rows", "bits_per_cell", "dac_bits"), [(128, 2, 1), (64, 8, 2), (512, 8, 8), (16384, 1, 8)])
def test_full_tiles_of_extreme_codes(rows: int, bits_per_cell: int, dac_bits: int, *, signed: bool) -> None:
    """The largest sums that fit; step 255 keeps what is beyond 16 bits in range, rounded."""
    layer, arrays = only_layer(
        mapped(
            coded(np.full((rows, 1), -255), input_bits=16, input_signed=signed),
            bits_per_cell=bits_per_cell,
            dac_bits=dac_bits,
            rows=rows,
            adc=FIXED,
        )
    )
    lowest = -(1 << 15) if signed else (1 << 16) - 1
    case = Case(layer, arrays, np.full((1, 1, rows), lowest))
    assert LayerEngine(layer, arrays, ReplayOptions()).integers(case.inputs).item() == rows * -255 * lowest
    wide = replace(case, arrays=with_adc(arrays, 16, 255))
    digits = [(place_values, digit) for place_values, digit in drives(lowest, layer)]
    expected = 0
    for index in range(layer.slices):
        level = 255 >> index * bits_per_cell & (1 << bits_per_cell) - 1
        for place_values, digit in digits:
            code = min(round(Fraction(rows * level * digit, 255)), 65535)
            expected -= place_values * 2 ** (index * bits_per_cell) * 255 * code
    for reader in (best_reader(), read_numpy):
        assert replayed(wide, reader=reader)[0].item() == expected


def test_the_widest_integers_stay_exact() -> None:
    layer, arrays = only_layer(mapped(coded(np.full((3000, 1), 32767), weight_bits=15, input_bits=16)))
    engine = LayerEngine(layer, arrays, ReplayOptions())
    assert engine.integers(np.full((1, 1, 3000), 65535.0)).item() == 3000 * 32767 * 65535


def test_chunks_of_vectors_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    layer, arrays = only_layer(mapped(coded(random.integers(-255, 256, (9, 3))), rows=4))
    case = Case(layer, with_adc(arrays, 3), random.integers(0, 256, (7, 1, 9)))
    whole = replayed(case, reader=read_numpy)
    monkeypatch.setattr(columns, "CHUNK_VALUES", 2 * arrays.adc_bits[0].size)
    parts = replayed(case, reader=read_numpy)
    np.testing.assert_array_equal(parts[0], whole[0])
    assert parts[1] == whole[1]


def test_lanes_that_are_not_kept_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    layer, arrays = only_layer(mapped(coded(random.integers(-255, 256, (9, 3))), rows=4))
    case = Case(layer, with_adc(arrays, 3), random.integers(0, 256, (7, 1, 9)))
    kept = replayed(case)
    monkeypatch.setattr(engine_module, "MAX_KEPT_CELLS", 0)
    np.testing.assert_array_equal(replayed(case)[0], kept[0])


@pytest.mark.skipif(best_reader() is read_numpy, reason="bsc was installed without a C compiler")
def test_the_kernel_refuses_arrays_that_do_not_fit() -> None:
    assert kernel is not None
    read_lanes = kernel.read_lanes
    ints = np.zeros(1, np.int32)
    longs = np.zeros(1, np.int64)
    cycles = np.array([[0, 1, 1]], np.int32)

    def read(sizes: tuple[int, ...], column: NDArray[np.int32] = ints, lane_bits: int = 8) -> None:
        cells = np.ones((1, 1), np.uint8)
        lanes = (ints, ints, None, longs, column, ints)
        read_lanes(lane_bits, sizes, (0, 0, 0), ints, cells, *lanes, cycles, longs, longs.copy(), None, None, None)

    for lane_bits in (8, 16, -8, -16):
        read((1, 1, 1, 1, 1), lane_bits=lane_bits)
    wrong = [(2, 1, 1, 1, 1), (1, 2, 1, 1, 1), (1, 1, 2, 1, 1), (1, 1, 1, 2, 1)]
    for sizes in [*wrong, (1, 1, 1, 1, 0), (1, 1, 1, 1, 17), (-1, -1, 1, 1, 1)]:
        with pytest.raises(ValueError, match="the arrays do not fit together"):
            read(sizes)
    for column in (-1, 1):
        with pytest.raises(ValueError, match="the arrays do not fit together"):
            read((1, 1, 1, 1, 1), np.array([column], np.int32))
    with pytest.raises(ValueError, match="the arrays do not fit together"):
        read((1, 1, 1, 1, 1), lane_bits=32)


def layer_with(rows: int, **fields: Any) -> MappedLayer:
    return only_layer(mapped(coded(np.ones((rows, 1)), **fields)))[0]


@pytest.mark.parametrize(
    ("fields", "x", "codes", "step"),
    [
        # Halves go to the even code, and what is out of range to the last one.
        ({"input_bits": 4, "input_scale": 0.5}, [-1, 0.25, 0.75, 100], [0, 0, 2, 15], [0.5]),
        ({"input_bits": 4, "input_signed": True, "input_scale": 0.5}, [-100, -0.75, 0.25, 100], [-8, -2, 0, 7], [0.5]),
        # Every vector has the range of its largest value, rounded up to a power of two.
        ({"input_scale": None}, [[0.5, 0.25], [3, 1]], [[255, 128], [192, 64]], [2**-9, 2**-6]),
        (
            {"input_scale": None, "input_signed": True},
            [[1, -0.5], [-8, 3]],
            [[127, -64], [-128, 48]],
            [2**-7, 2**-4],
        ),
        # The range of a vector of zeros is not zero: max|x| counts as 1e-5, just below 2**-16.
        ({"input_scale": None}, [[0, 0]], [[0, 0]], [2**-24]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_input_codes_by_hand(
    fields: dict[str, Any], x: ArrayLike, codes: ArrayLike, step: list[float], dtype: type[np.floating[Any]]
) -> None:
    values = np.atleast_2d(np.array(x, dtype))
    actual, actual_step = input_codes(layer_with(values.shape[1], **fields), values)
    np.testing.assert_array_equal(actual[:, 0], np.atleast_2d(codes))
    assert actual_step.ravel().tolist() == step


def test_a_code_of_zero_by_hand() -> None:
    plan = mapped(coded([[3, 0], [-5, 7]], input_scale=0.5, input_zero_point=10))
    x = np.array([[1.0, -2.0], [-5.0, 200.0], [-99.0, 0.24]], np.float32)
    codes = np.array([[12, 6], [0, 255], [0, 10]])  # what lies outside 0 to 255 is clipped
    replayer = Replayer(plan)
    y = replayer.replayed({"x": x})["y"]
    assert replayer.exact
    np.testing.assert_array_equal(y, (codes - 10) @ np.array([[3, 0], [-5, 7]]) * 0.5)


def test_half_precision_has_no_number_for_the_largest_codes_and_smallest_steps() -> None:
    codes, _ = input_codes(layer_with(1, input_bits=16, input_scale=2**-16), np.ones((1, 1), np.float16))
    assert codes.item() == 65535
    codes, step = input_codes(layer_with(1, input_bits=16, input_scale=None), np.zeros((1, 1), np.float16))
    assert (codes.item(), step.item()) == (0, 2**-32)


CONV = ConvRecord(kernel=(2, 2), strides=(1, 1), dilations=(1, 1), pads=((0, 0), (0, 0)))


@pytest.mark.parametrize(
    ("layer", "shape", "seen"),
    [
        (layer_with(3), (2, 4), "(2, 4) for 1 x 3 rows and 1 vectors"),
        (layer_with(3), (), "() for 1 x 3 rows and 1 vectors"),
        (layer_with(4), (1, 1, 1, 2), "(1, 1, 1, 2) for 1 x 4 rows and 1 vectors"),  # smaller than the window
        (layer_with(4), (1, 1, 9, 9), "(1, 1, 9, 9) for 1 x 4 rows and 1 vectors"),  # more positions than recorded
        (layer_with(4), (1, 2, 2, 2), "(1, 2, 2, 2) for 1 x 4 rows and 1 vectors"),
        (layer_with(4), (1, 4), "(1, 4) for 1 x 4 rows and 1 vectors"),
    ],
)
def test_words_for_an_activation_of_another_shape(layer: MappedLayer, shape: tuple[int, ...], seen: str) -> None:
    record = layer.model_copy(update={"conv": CONV}) if layer.rows == 4 else layer
    with pytest.raises(ModelError) as caught:
        input_codes(record, np.zeros(shape, np.float32))
    assert str(caught.value) == (
        "[BSC307] layer 'fc': the activation is not of the shape that the plan records\n"
        f"  seen: shape {seen}\n"
        "  fix:  compile the model again, with --input-shape if its sizes vary"
    )


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)), st.floats(2**-20, 2**20, width=32))
def test_the_kernel_quantises_as_numpy_does(values: list[float], step: float) -> None:
    x = np.array([[*values, -step, 0.5 * step, 2.5 * step, 300 * step]], np.float32)
    for signed in (False, True):
        record = layer_with(x.shape[1], input_scale=step, input_signed=signed)
        codes, _ = input_codes(record, x)
        with np.errstate(over="ignore"):
            expected = to_codes(x, np.array(step, np.float32), *code_limits(8, signed=signed))
        np.testing.assert_array_equal(codes[:, 0], expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_words_for_an_activation_that_is_not_finite(value: float) -> None:
    with pytest.raises(ModelError) as caught:
        input_codes(layer_with(1, input_scale=None), np.array([[value]]))
    assert str(caught.value) == (
        "[BSC308] the input of layer 'fc' is not finite\n"
        "  seen: NaN or infinity from the operators before it\n"
        "  fix:  leave out samples on which the model itself does not give finite results"
    )


def normal(*shape: int, seed: int = 9) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


SEQUENCE = tiny_model(
    "(float[N,5,6] x) => (float[N,5,3] y) { [up] h = MatMul (x, w0)  a = Relu (h)  [down] y = MatMul (a, w1) }",
    {"w0": random_weights(6, 9), "w1": random_weights(9, 3, seed=1)},
)
TWO_INPUTS = tiny_model(
    """(float[N,4] x, float[N,3] u) => (float[N,2] y) {
        [left] a = MatMul (x, w0)
        [right] b = MatMul (u, w1)
        y = Sub (a, b)
    }""",
    {"w0": random_weights(4, 2), "w1": random_weights(3, 2, seed=1)},
)
EDGES = {
    "no digital operator": ("{ [fc] y = MatMul (x, w) }", random_weights(4, 3)),
    "two outputs": ("{ [fc] h = MatMul (x, w)  y = Relu (h) }", random_weights(4, 3)),
    "weights of zero": ("{ [fc] y = Gemm (x, w, b) }", np.zeros((4, 3), np.float32)),
    "one column": ("{ [fc] y = MatMul (x, w) }", random_weights(4, 1)),
    "one row left": ("{ [fc] y = MatMul (x, w) }", np.array([[0], [0], [1], [0]], np.float32)),
}


def edge_model(name: str) -> onnx.ModelProto:
    body, w = EDGES[name]
    outputs = "float[] h, float[] y" if name == "two outputs" else "float[] y"
    return tiny_model(f"(float[N,4] x) => ({outputs}) {body}", {"w": w, "b": random_weights(3, seed=1)})


MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, NDArray[Any]]]] = {
    "mlp": (lambda: mlp_model(20, 9, 5, 3), {"x": normal(6, 20)}),
    "cnn": (lambda: CNN, {"image": normal(6, 3, 8, 8)}),
    "conv1d": (
        lambda: conv_model(channels=4, spatial=(9,), kernel=(3,), groups=2, attributes=["dilations = [2]"]),
        {"x": normal(6, 4, 9)},
    ),
    "sequence": (lambda: SEQUENCE, {"x": normal(6, 5, 6)}),
    "two inputs": (lambda: TWO_INPUTS, {"x": normal(6, 4), "u": normal(6, 3)}),
} | {name: (lambda name=name: edge_model(name), {"x": normal(6, 4)}) for name in EDGES}
WHOLE_MODELS = pytest.mark.parametrize(("model", "feeds"), MODELS.values(), ids=MODELS)


def dequantised(layer: MappedLayer, arrays: LayerArrays) -> NDArray[np.float64]:
    """Codes times step over all rows and columns of the model, (K, N)."""
    matrix = np.zeros((layer.rows, layer.columns))
    rows = np.arange(layer.rows) if arrays.kept_rows is None else arrays.kept_rows
    columns = np.arange(layer.columns) if arrays.kept_columns is None else arrays.kept_columns
    matrix[np.ix_(rows, columns)] = arrays.codes
    return np.asarray(matrix * arrays.weight_scale)


def quantised_twin(model: onnx.ModelProto, mapping: MappedModel) -> onnx.ModelProto:
    """The ONNX model of a mapping: floats that are code * step, around plain float operators.

    Every layer reads Clip(Round(x / step)) * step. Batch normalisation is in the weights and biases already.
    """
    layers = {layer.name: layer for layer in mapping.layers}
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, NDArray[Any]] = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            nodes.append(helper.make_node("Identity", node.input[:1], node.output))
            continue
        if node.name not in layers:
            nodes.append(node)
            continue
        layer = layers[node.name]
        arrays = mapping.arrays(layer)
        weight, name = constants[node.input[1]], node.name
        assert layer.input_scale is not None
        signed = layer.input_signed
        low, high = (-(1 << layer.input_bits - 1), (1 << layer.input_bits - 1) - 1) if signed else (0, 255)
        matrix = dequantised(layer, arrays)
        constants |= {
            f"{name}.step": np.array(layer.input_scale),
            f"{name}.low": np.array(low),
            f"{name}.high": np.array(high),
            f"{name}.weight": matrix.T.reshape(weight.shape) if layer.op_type == "Conv" else matrix,
        }
        steps = (("Div", "step"), ("Round", ""), ("Clip", "low high"), ("Mul", "step"))
        value = node.input[0]
        for op_type, operands in steps:
            result = f"{name}.{op_type}"
            inputs = [value, *(f"{name}.{operand}" for operand in operands.split())]
            nodes.append(helper.make_node(op_type, inputs, [result]))
            value = result
        twin = onnx.NodeProto()
        twin.CopyFrom(node)
        del twin.input[:]
        twin.input.extend([value, f"{name}.weight"])
        if arrays.bias is not None:
            constants[f"{name}.bias"] = arrays.bias
            twin.input.append(f"{name}.bias")
        nodes.append(twin)
    graph = helper.make_graph(
        nodes,
        "twin",
        model.graph.input,
        model.graph.output,
        [numpy_helper.from_array(np.asarray(values, np.float32), key) for key, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


@WHOLE_MODELS
def test_a_plan_computes_what_its_quantised_model_does_in_onnxruntime(
    model: Callable[[], onnx.ModelProto], feeds: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    import onnxruntime

    plan = model_plan(model(), tmp_path, calibration=feeds).mapping
    twin = quantised_twin(model(), plan)
    session = onnxruntime.InferenceSession(twin.SerializeToString(), providers=["CPUExecutionProvider"])
    results = Replayer(plan).replayed(feeds)
    for name, expected in zip(results, session.run(None, feeds), strict=True):
        assert results[name].dtype == expected.dtype
        np.testing.assert_allclose(results[name], expected, rtol=1e-5, atol=1e-6)


@WHOLE_MODELS
@pytest.mark.parametrize("calibrated", [False, True])
def test_a_lossless_plan_is_exact_and_its_samples_do_not_meet(
    model: Callable[[], onnx.ModelProto], feeds: dict[str, NDArray[Any]], tmp_path: Path, *, calibrated: bool
) -> None:
    """Bit for bit: quantised equals replayed, and a sample gives the same alone and in a batch."""
    plan = model_plan(model(), tmp_path, calibration=feeds if calibrated else None).mapping
    replayer = Replayer(plan)
    batch = replayer.replayed(feeds)
    quantised = replayer.quantised(feeds)
    assert replayer.exact
    assert all(tally.clipped == 0 for tally in replayer.tallies.values())
    for name, values in batch.items():
        np.testing.assert_array_equal(values, quantised[name])
    for sample in range(len(next(iter(feeds.values())))):
        alone = replayer.replayed({name: values[sample : sample + 1] for name, values in feeds.items()})
        for name, values in batch.items():
            np.testing.assert_array_equal(alone[name], values[sample : sample + 1])


def test_a_lossy_plan_is_not_exact_and_says_by_how_much(tmp_path: Path) -> None:
    plan = model_plan(mlp_model(20, 9, 5), tmp_path, policy="fixed=2").mapping
    replayer = Replayer(plan)
    outputs = replayer.replayed({"x": normal(6, 20)})["y"]
    assert not replayer.exact
    tally = replayer.tallies["fc0"]
    assert tally.results == 6 * 9
    assert 0 < tally.differing <= tally.results
    assert 0 < tally.clipped < tally.conversions
    quantised = replayer.quantised({"x": normal(6, 20)})["y"]
    assert (outputs != quantised).any()


def test_columns_of_zeros_are_their_bias(tmp_path: Path) -> None:
    plan = model_plan(edge_model("weights of zero"), tmp_path).mapping
    y = Replayer(plan).replayed({"x": normal(2, 4)})["y"]
    np.testing.assert_array_equal(y, np.broadcast_to(random_weights(3, seed=1), (2, 3)))


@pytest.mark.parametrize("room", [0, 1000])
def test_layers_that_do_not_stay_in_memory_change_nothing(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No layer fits into no room; of 20 x 9 and 9 x 5 weights the second fits into 1000 bytes."""
    plan = model_plan(mlp_model(20, 9, 5), tmp_path, policy="fixed=2").mapping
    options, feeds = ReplayOptions(statistics=True), [{"x": normal(6, 20)}, {"x": normal(3, 20)}]
    kept = Replayer(plan, options)
    expected = [kept.replayed(feed)["y"] for feed in feeds]
    monkeypatch.setattr(loaded, "MAX_KEPT_BYTES", room)
    replayer = Replayer(plan, options)
    assert [name for name in ("fc0", "fc1") if replayer.loaded.layers.keeps(name)] == ["fc1"] * bool(room)
    for feed, values in zip(feeds, expected, strict=True):
        np.testing.assert_array_equal(replayer.replayed(feed)["y"], values)
    assert replayer.tallies == kept.tallies
    for name, counted in kept.columns.items():
        np.testing.assert_array_equal(replayer.columns[name].histogram, counted.histogram)
        np.testing.assert_array_equal(replayer.columns[name].clipped, counted.clipped)
