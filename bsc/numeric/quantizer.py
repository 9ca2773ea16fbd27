"""The number formats of weights and activations: what one code is worth and which code a value gets.

Default is the dynamic fixed point of [bslice19] (arXiv 1909.08496, reference code): S = ceil(log2 max|x|),
step 2**(S - bits), code round(|x| / step) to even. The reference code lets the code 2**bits through, which
does not fit its cells; here codes are clipped to 2**bits - 1.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scale = Literal["power-of-two", "max-abs"]

# The reference code's floor for max|x|; it keeps the step of an all-zero tensor finite.
SMALLEST_MAXIMUM = 1e-5

STEP_RANGE = (2.0**-100, 2.0**100)
"""Values that one input code may have: those of float32 with room for products with codes and weight steps."""


def step_for(maximum: NDArray[np.float64], *, bits: int, scale: Scale) -> NDArray[np.float64]:
    """Value of one code so that `maximum` is the top of `bits` magnitude bits.

    Args:
        maximum: largest magnitudes, any shape, finite.
        bits: magnitude bits, 1 or more.
        scale: "power-of-two" rounds the range up to a power of two, "max-abs" uses it as it is.

    Returns:
        Steps, same shape.
    """
    bounded = np.maximum(maximum, SMALLEST_MAXIMUM)
    if scale == "max-abs":
        return bounded / ((1 << bits) - 1)
    fraction, exponent = np.frexp(bounded)  # bounded == fraction * 2**exponent, 0.5 <= fraction < 1
    ceiling = np.where(fraction == 0.5, exponent - 1, exponent)
    return np.asarray(np.ldexp(1.0, ceiling - bits))


def to_codes(
    values: NDArray[np.floating], step: NDArray[np.floating] | float, low: int, high: int
) -> NDArray[np.floating]:
    """Nearest code of each value, ties to even, clipped to [low, high]; integers in the dtype of `values`.

    Args:
        values: any shape.
        step: value of one code; a number, or an array that is spread over `values`.
        low: lowest code.
        high: highest code.
    """
    codes: NDArray[np.floating] = np.rint(np.divide(values, step))
    return np.clip(codes, low, high, out=codes)


def code_limits(bits: int, *, signed: bool) -> tuple[int, int]:
    """Lowest and highest input code of `bits` bits, two's complement when signed."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def input_cycles(bits: int, *, signed: bool, dac_bits: int) -> tuple[tuple[int, int, int], ...]:
    """The bit-serial drive of an input code.

    A signed code is two's complement: its low bits go out as an unsigned number and its sign bit in a cycle
    of its own that is subtracted.

    Returns:
        One (shift, width, sign) a cycle: code == sum of sign * 2**shift * digit, where the digit is `width`
        bits of the two's complement code from bit `shift` on.
    """
    unsigned_bits = bits - 1 if signed else bits
    cycles = [(shift, min(dac_bits, unsigned_bits - shift), 1) for shift in range(0, unsigned_bits, dac_bits)]
    if signed:
        cycles.append((bits - 1, 1, -1))
    return tuple(cycles)


def max_digit(bits: int, *, signed: bool, dac_bits: int) -> int:
    """Highest input digit of any cycle: a DAC is never driven higher than the input codes have bits."""
    return max((1 << width) - 1 for _, width, _ in input_cycles(bits, signed=signed, dac_bits=dac_bits))
