import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.units import format_ratio, format_si, ratio, rounded_up

TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.5625e-12, "J", "1.56 pJ"),
        (3.72e-7, "m²", "0.372 mm²"),
        (1.2e-9, "m²", "1200 µm²"),
        (1.312e-8, "m²", "0.0131 mm²"),
        (8.54e-5, "m²", "85.4 mm²"),
        (2.0, "m²", "2.00 m²"),
        (100e-9, "s", "100 ns"),
        (65.8, "W", "65.8 W"),
        (-3.3e-3, "W", "-3.30 mW"),
        (41.3e12, "op/s", "41.3 Top/s"),
        (0.0, "J", "0 J"),
        (None, "J", "n/a"),
    ],
)
def test_by_hand(value: float | None, unit: str, text: str) -> None:
    assert format_si(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9994e-9, "J", "999 pJ"),
        (0.9996e-9, "J", "1.00 nJ"),
        (0.009994e-6, "m²", "9994 µm²"),
        (0.009996e-6, "m²", "0.0100 mm²"),
        (1e-21, "J", "0.00100 aJ"),
        (5e15, "W", "5000 TW"),
        (9.99e19, "W", "99900000 TW"),
        (1e20, "W", "1.00e+08 TW"),
        (1e-25, "J", "0.000000100 aJ"),
        (1e-26, "J", "1.00e-08 aJ"),
        (1.5e300, "m²", "1.50e+300 m²"),
    ],
)
def test_prefix_changes_where_the_rounded_number_does(value: float, unit: str, text: str) -> None:
    assert format_si(value, unit) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1.23456e-9, 4, "1.235 nJ"), (0.99996e-9, 4, "1.000 nJ"), (0.9996e-9, 4, "0.9996 nJ"), (0.0, 9, "0 J")],
)
def test_more_digits(value: float, digits: int, text: str) -> None:
    assert format_si(value, "J", digits=digits) == text


@pytest.mark.parametrize(("ratio", "text"), [(2.3913, "2.39"), (28.44, "28.4"), (9592.0, "9592"), (0.29, "0.290")])
def test_ratio(ratio: float, text: str) -> None:
    assert format_ratio(ratio) == text + TIMES


def test_unknown_ratio() -> None:
    assert format_ratio(None) == "n/a"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2, "0.2"), (0.2 + 1e-16, "0.2"), (0.3721, "0.373"), (0.999501, "1"), (1234.0, "1240"), (1e-7, "0.0000001")],
)
def test_rounded_up(value: float, text: str) -> None:
    assert rounded_up(value) == text
    assert float(text) >= value * (1 - 1e-9)


@given(st.floats(1e-18, 1e12))
def test_text_is_the_value_to_three_digits(value: float) -> None:
    number, _, unit = format_si(value, "J").partition(" ")
    scales = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
    scale = (scales | {"a": 1e-18})[unit.removesuffix("J")]
    assert float(number) * scale == pytest.approx(value, rel=5.1e-3)
    assert 3 <= len(number.replace(".", "")) <= 4


@pytest.mark.parametrize(
    ("baseline", "value", "expected"),
    [(6, 3, 2), (0, 3, 0), (6, 0, None), (None, 3, None), (6, None, None), (1e308, 1e-10, None), (1e300, 1e-8, 1e308)],
)
def test_how_many_times_smaller(baseline: float | None, value: float | None, expected: float | None) -> None:
    assert ratio(baseline, value) == expected
