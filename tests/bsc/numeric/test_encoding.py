import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.numeric.encoding import CellFormat, Encoding, choose_centres

ENCODINGS: list[Encoding] = ["differential", "offset", "centre"]


def test_by_hand() -> None:
    """-3 is 3 = 11 on the negative column; 8 - 3 = 5 = 01 01 with the offset; 2 - 3 = -1 around the centre 2."""
    codes = np.array([[-3]])
    cells = {name: CellFormat(weight_bits=3, bits_per_cell=2, encoding=name) for name in ENCODINGS}
    assert {name: (each.slices, each.polarities) for name, each in cells.items()} == {
        "differential": (2, 2),
        "offset": (2, 1),
        "centre": (2, 2),
    }
    levels = {
        name: each.levels()[each.stored(codes, np.array([[-2]]), 128)][0, 0].tolist() for name, each in cells.items()
    }
    assert levels == {"differential": [[0, 3], [0, 0]], "offset": [[1], [1]], "centre": [[0, 1], [0, 0]]}


@settings(deadline=None)
@given(
    encoding=st.sampled_from(ENCODINGS),
    weight_bits=st.integers(1, 15),
    bits_per_cell=st.integers(1, 8),
    rows=st.integers(1, 12),
    tile_rows=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_cells_and_centre_rebuild_every_code(  # noqa: PLR0917
    encoding: Encoding, weight_bits: int, bits_per_cell: int, rows: int, tile_rows: int, seed: int
) -> None:
    cells = CellFormat(weight_bits=weight_bits, bits_per_cell=bits_per_cell, encoding=encoding)
    top = (1 << weight_bits) - 1
    random = np.random.default_rng(seed)
    low = random.integers(-top, top, endpoint=True)
    codes = random.integers(low, top, (rows, 3), endpoint=True)
    centres = choose_centres(codes, cells, tile_rows) if encoding == "centre" else None
    stored = cells.stored(codes, centres, tile_rows)
    assert abs(stored).max() < 1 << cells.stored_bits
    assert encoding != "offset" or stored.min() >= 0
    levels = cells.levels()[stored].astype(np.int64)
    assert levels.max() <= cells.max_level
    rebuilt = (levels * cells.place_values()).sum(axis=(2, 3)) + cells.centres_by_row(centres, rows, tile_rows)
    np.testing.assert_array_equal(rebuilt, codes)


def test_the_best_centre_by_hand() -> None:
    """Codes 1, 2, 3 in one slice: around 2 the column sums are -1 + 0 + 1 = 0; no other centre balances them."""
    cells = CellFormat(weight_bits=8, bits_per_cell=8, encoding="centre")
    assert choose_centres(np.array([[1], [2], [3], [7], [7]]), cells, 3).tolist() == [[2], [7]]


@pytest.mark.parametrize(("codes", "centre"), [([0, 0, 9], 3), ([-9, 0, 0], -3), ([0, 0, 0], 0)])
def test_centres_of_one_slice_are_means(codes: list[int], centre: int) -> None:
    cells = CellFormat(weight_bits=8, bits_per_cell=8, encoding="centre")
    assert choose_centres(np.array(codes)[:, None], cells, 128).item() == centre


@settings(deadline=None, max_examples=30)
@given(weight_bits=st.integers(1, 6), bits_per_cell=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_no_centre_that_fits_is_better(weight_bits: int, bits_per_cell: int, seed: int) -> None:
    """[raella23], equation of the centre: sum over slices of 2**shift * (signed column sum)**4."""
    cells = CellFormat(weight_bits=weight_bits, bits_per_cell=bits_per_cell, encoding="centre")
    top = (1 << weight_bits) - 1
    column = np.random.default_rng(seed).integers(-top, top, (9, 1), endpoint=True)

    def cost(centre: int) -> int:
        total = 0
        for index in range(cells.slices):
            offsets = (column - centre).ravel().tolist()
            digits = [(abs(x) >> index * bits_per_cell & cells.max_level) * (1 if x > 0 else -1) for x in offsets]
            total += 2 ** (index * bits_per_cell) * sum(digits) ** 4
        return total

    chosen = choose_centres(column, cells, 9).item()
    fits = [c for c in range(-2 * top, 2 * top + 1) if abs(column - c).max() <= top]
    assert chosen in fits
    assert cost(chosen) == min(map(cost, fits))


@pytest.mark.parametrize("bits_per_cell", [1, 2, 8])
@pytest.mark.parametrize("weight_bits", range(6, 16))
def test_centres_of_constant_columns_stay_within_the_codes(weight_bits: int, bits_per_cell: int) -> None:
    """Candidates are spaced above 8 bits, and the next one beyond the largest code must not be taken."""
    cells = CellFormat(weight_bits=weight_bits, bits_per_cell=bits_per_cell, encoding="centre")
    top = (1 << weight_bits) - 1
    codes = np.tile(np.array([top, -top, top - 1, 0]), (5, 1))
    centres = choose_centres(codes, cells, 5)
    assert abs(centres.astype(int)).max() <= top
    assert abs(cells.stored(codes, centres, 5)).max() <= top
