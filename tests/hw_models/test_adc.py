from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hw_models
from bsc.errors import UsageError

TABLE = """
[adc_law]
name = "mine"
source = "my data sheet"
kind = "paper"
valid_bits = [4, 8]
energy_j = { "4" = 0.5e-12, "6" = 1e-12, "8" = 2e-12 }
"""


def ratio(law: str, high: int, low: int) -> float:
    energy = hw_models.load_law(law).relative_energy(np.array([high, low]))
    return float(energy[0] / energy[1])


@pytest.mark.parametrize(
    ("law", "to_3_bits", "to_1_bit"),
    [
        # 2^8/9 over 2^3/4 and 2^1/2.
        ("saberi", 14.22, 28.44),
        ("isaac", 2.83, 8.5),
        ("linear", 2.667, 8.0),
        ("puma", 7.111, 64.0),
        ("neurosim", 3.3, 8.05),
        ("exponential", 32.0, 128.0),
    ],
)
def test_gain_from_8_bits_by_hand(law: str, to_3_bits: float, to_1_bit: float) -> None:
    assert ratio(law, 8, 3) == pytest.approx(to_3_bits, rel=5e-3)
    assert ratio(law, 8, 1) == pytest.approx(to_1_bit, rel=5e-3)


# isaac_adc.csv of [accelergy-isaac]: energy in pJ with half a unit of its last digit, area in µm².
@pytest.mark.parametrize(
    ("bits", "energy_pj", "rounding_pj", "area_um2"),
    [
        (4, 0.79, 0.005, 361.04),
        (5, 0.99, 0.005, 476.91),
        (6, 1.20, 0.005, 626.91),
        (7, 1.42, 0.005, 845.18),
        (8, 1.67, 0.005, 1200.0),
        (9, 1.969, 0.0005, 1827.91),
        (10, 2.379, 0.0005, 3002.01),
    ],
)
def test_isaac_law_meets_the_table_it_was_fitted_to(
    bits: int, energy_pj: float, rounding_pj: float, area_um2: float
) -> None:
    law = hw_models.load_law("isaac")
    at_8_bits_pj = 0.194878 * 8 + 4.2005e-4 * 2**8
    assert abs(law.relative_energy(np.array(bits)) * at_8_bits_pj - energy_pj) <= rounding_pj
    assert law.relative_area(np.array(bits)) * 1200 == pytest.approx(area_um2, abs=0.05)


def test_areas_by_hand() -> None:
    four = np.array(4)
    areas = {name: law.relative_area(four).item() for name, law in hw_models.laws().items() if law.area is not None}
    assert areas == pytest.approx(
        {"isaac": 361.056 / 1200.016, "puma": 1.0, "neurosim": (269 + 327) / (269 + 763), "exponential": 1 / 16}
    )


@given(st.sampled_from(sorted(hw_models.laws())), st.integers(0, 15))
def test_a_further_bit_never_costs_less(name: str, bits: int) -> None:
    law = hw_models.load_law(name)
    fewer, more = law.relative_energy(np.array([bits, bits + 1]))
    assert fewer <= more
    if law.area is not None:
        fewer, more = law.relative_area(np.array([bits, bits + 1]))
        assert fewer <= more


@pytest.mark.parametrize("name", sorted(hw_models.laws()))
def test_0_bits_are_free_and_8_bits_are_the_anchor(name: str) -> None:
    assert hw_models.load_law(name).relative_energy(np.array([0, 8])).tolist() == [0.0, 1.0]


def test_valid_ranges() -> None:
    assert {name: law.valid_bits for name, law in hw_models.laws().items()} == {
        "isaac": (4, 10),
        "saberi": (4, 10),
        "linear": (1, 9),
        "puma": (1, 9),
        "neurosim": (4, 10),
        "exponential": (4, 10),
    }


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_users_table(tmp_path: Path) -> None:
    law = hw_models.load_law(write(tmp_path, TABLE))
    assert law.relative_energy(np.array([0, 4, 6, 8])).tolist() == [0.0, 0.25, 0.5, 1.0]
    assert (law.name, law.source, law.kind, law.valid_bits) == ("mine", "my data sheet", "paper", (4, 8))
    assert law.area is None


def test_a_users_table_with_areas(tmp_path: Path) -> None:
    law = hw_models.load_law(write(tmp_path, TABLE + 'area_m2 = { "4" = 1e-9, "8" = 4e-9 }'))
    assert law.relative_area(np.array([4, 8])).tolist() == [0.25, 1.0]


def test_a_resolution_between_two_entries_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        hw_models.load_law(write(tmp_path, TABLE)).relative_energy(np.array([4, 5]))
    assert str(caught.value) == (
        "[BSC207] ADC law 'mine' has no energy for 5 bits\n"
        "  seen: a law for 0, 4, 6, 8 bits\n"
        "  fix:  use another law, or a table of your own that has this resolution"
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            ', "8" = 2e-12',
            "",
            "key 'adc_law.energy_j' cannot be used\n"
            "  seen: {'4': 5e-13, '6': 1e-12}\n"
            "  fix:  add an entry for 8 bits, which all others are compared with",
        ),
        (
            "[4, 8]",
            "[8, 4]",
            "key 'adc_law.valid_bits' cannot be used\n  seen: [8, 4]\n  fix:  give the lower resolution first",
        ),
        (
            '"4" = 0.5e-12',
            '"4" = 0',
            "key 'adc_law.energy_j.4' cannot be used\n  seen: 0\n"
            f"  fix:  Input should be greater than or equal to {1e-30:.30f}",
        ),
        (
            '"4" = 0.5e-12',
            '"4" = 1e308',
            "key 'adc_law.energy_j.4' cannot be used\n  seen: 1e+308\n"
            f"  fix:  Input should be less than or equal to {10**30}",
        ),
        (
            '"mine"',
            '"saberi"',
            "key 'adc_law.name' is the name of a shipped law\n"
            "  seen: 'saberi', whose costs would stand under the same name\n"
            "  fix:  choose another name",
        ),
        (
            '"4" = 0.5e-12',
            '"17" = 0.5e-12',
            "key 'adc_law.energy_j.17.[key]' cannot be used\n"
            "  seen: '17'\n"
            "  fix:  Input should be less than or equal to 16",
        ),
    ],
)
def test_words_for_a_bad_table(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = write(tmp_path, TABLE.replace(old, new))
    with pytest.raises(UsageError) as caught:
        hw_models.load_law(path)
    assert str(caught.value) == f"[BSC207] {path}: {words}"


def test_words_for_an_unknown_law() -> None:
    with pytest.raises(UsageError) as caught:
        hw_models.load_law("sabery")
    assert str(caught.value) == (
        "[BSC207] no ADC law of that name\n"
        "  seen: 'sabery'\n"
        "  fix:  did you mean 'saberi'? shipped: isaac, saberi, linear, puma, neurosim, exponential; "
        "for your own give a path that ends in .toml"
    )
