import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.numeric.quantizer import Scale, code_limits, input_cycles, step_for, to_codes

# Of 32 bits, since math.log2 takes a double next to a power of two for that power.
NORMAL = st.floats(2**-16, 2**100, width=32)
POWERS_OF_TWO = st.integers(-16, 100).map(lambda exponent: math.ldexp(1.0, exponent))


def step(maximum: float, bits: int, scale: Scale = "power-of-two") -> float:
    return step_for(np.array([maximum]), bits=bits, scale=scale).item()


def papers_code(value: float, maximum: float, bits: int) -> int:
    """The reference code, one value at a time, but clipped to codes that fit; Python rounds half to even too."""
    exponent = math.ceil(math.log2(max(maximum, 1e-5)))
    magnitude = min(round(abs(value) / 2.0 ** (exponent - bits)), 2**bits - 1)
    return int(math.copysign(magnitude, value))


@pytest.mark.parametrize(
    ("maximum", "bits", "scale", "expected"),
    [
        # S = ceil(log2 0.3) = -1, step 2**(-1 - 8)
        (0.3, 8, "power-of-two", 2**-9),
        # An exact power of two is its own ceiling, the next number up is not.
        (0.5, 8, "power-of-two", 2**-9),
        (math.nextafter(0.5, 1), 8, "power-of-two", 2**-8),
        (math.nextafter(0.5, 0), 8, "power-of-two", 2**-9),
        (1.0, 1, "power-of-two", 0.5),
        # ceil(log2 1e-5) = -16: the floor under zeros and subnormals
        (0.0, 8, "power-of-two", 2**-24),
        (5e-324, 8, "power-of-two", 2**-24),
        (1e308, 8, "power-of-two", 2.0**1016),
        (510.0, 8, "max-abs", 2.0),
        (3.0, 1, "max-abs", 3.0),
        (0.0, 8, "max-abs", 1e-5 / 255),
    ],
)
def test_steps_by_hand(maximum: float, bits: int, scale: Scale, expected: float) -> None:
    assert step(maximum, bits, scale) == expected


def test_codes_by_hand() -> None:
    # Step 1/256. The top, 1 = 2**S exactly, would be code 256 in the reference code.
    values = np.array([1.0, 255 / 256, 0.5, 2.5 / 256, 3.5 / 256, -2.5 / 256, 0.4 / 256, 0.0, -1.0])
    assert to_codes(values, step(1.0, 8), -255, 255).tolist() == [255, 255, 128, 2, 4, -2, 0, 0, -255]


@settings(deadline=None)
@given(NORMAL | POWERS_OF_TWO, st.lists(st.floats(-1, 1), max_size=20), st.integers(1, 15))
def test_codes_are_the_papers(maximum: float, shares: list[float], bits: int) -> None:
    values = np.array([maximum * share for share in (*shares, 1.0, -0.5)])
    top = (1 << bits) - 1
    codes = to_codes(values, step(maximum, bits), -top, top)
    assert codes.tolist() == [papers_code(value, maximum, bits) for value in values.tolist()]


@settings(deadline=None)
@given(NORMAL | POWERS_OF_TWO, st.integers(1, 15))
def test_power_of_two_steps_cover_the_maximum_and_no_more_than_twice_it(maximum: float, bits: int) -> None:
    covered = step(maximum, bits) * 2**bits
    assert maximum <= covered < 2 * maximum


@settings(deadline=None)
@given(st.lists(NORMAL, min_size=1), st.sampled_from(["power-of-two", "max-abs"]))
def test_steps_of_an_array_are_those_of_its_elements(maxima: list[float], scale: Scale) -> None:
    steps = step_for(np.array(maxima), bits=8, scale=scale)
    assert steps.tolist() == [step(maximum, 8, scale) for maximum in maxima]


@settings(deadline=None)
@given(NORMAL, st.floats(-1, 1), st.integers(1, 15), st.sampled_from(["power-of-two", "max-abs"]))
def test_a_code_is_within_half_a_step_unless_clipped(maximum: float, share: float, bits: int, scale: Scale) -> None:
    size, top, value = step(maximum, bits, scale), (1 << bits) - 1, maximum * share
    code = to_codes(np.array([value]), size, -top, top).item()
    tolerance = 1.0 if abs(code) == top else 0.5
    assert abs(value - code * size) <= tolerance * size * (1 + 1e-9)


def test_code_limits() -> None:
    assert code_limits(8, signed=True) == (-128, 127)
    assert code_limits(8, signed=False) == (0, 255)
    assert code_limits(1, signed=False) == (0, 1)


@pytest.mark.parametrize(
    ("bits", "signed", "dac_bits", "cycles"),
    [
        (4, False, 1, ((0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1))),
        (4, False, 3, ((0, 3, 1), (3, 1, 1))),
        (4, True, 2, ((0, 2, 1), (2, 1, 1), (3, 1, -1))),
        (2, True, 8, ((0, 1, 1), (1, 1, -1))),
    ],
)
def test_cycles_by_hand(bits: int, signed: bool, dac_bits: int, cycles: tuple[tuple[int, int, int], ...]) -> None:
    assert input_cycles(bits, signed=signed, dac_bits=dac_bits) == cycles


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("dac_bits", range(1, 9))
@pytest.mark.parametrize("bits", range(2, 9))
def test_cycles_rebuild_every_code(bits: int, dac_bits: int, signed: bool) -> None:
    cycles = input_cycles(bits, signed=signed, dac_bits=dac_bits)
    low, high = code_limits(bits, signed=signed)
    codes = np.arange(low, high + 1)
    rebuilt = sum(sign * (codes >> shift & ((1 << width) - 1)) << shift for shift, width, sign in cycles)
    np.testing.assert_array_equal(rebuilt, codes)
    assert all(1 <= width <= dac_bits for _, width, _ in cycles)
