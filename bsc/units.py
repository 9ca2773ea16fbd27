"""SI values and ratios to text: the only place where prefixes such as pJ or mm² exist."""

import math
from decimal import ROUND_CEILING, Decimal
from typing import Final

UNKNOWN: Final = "n/a"
_TIMES: Final = "\N{MULTIPLICATION SIGN}"

_PREFIXES: Final = (
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
    (1e-15, "f"),
    (1e-18, "a"),
)
_SQUARED_PREFIXES: Final = ((1.0, ""), (1e-6, "m"), (1e-12, "µ"), (1e-18, "n"))

# A number is shown with the largest prefix that leaves it at least this big after rounding to three digits.
# Squared prefixes are a million apart, so areas go down to 0.0100 mm² and up to 9999 µm².
_SMALLEST: Final = 0.9995
_MOST_ZEROS: Final = 7
_SMALLEST_SQUARED: Final = 0.009995


def format_si(value: float | None, unit: str, *, digits: int = 3) -> str:
    """Three significant digits and a prefix, four digits from 1000 on: `1.56 pJ`, `0.372 mm²`, `1200 µm²`.

    Far beyond all prefixes it is `1.00e+12 TJ`.

    Args:
        value: finite, in the SI unit itself; None for an unknown value, which reads `n/a`.
        unit: symbol without prefix; one that ends in `²` takes squared prefixes.
        digits: 3, or more where three do not tell values apart.
    """
    if value is None:
        return UNKNOWN
    if value == 0:
        return f"0 {unit}"
    scale, shown = prefixed(value, unit)
    return f"{_rounded(value / scale, digits)} {shown}"


def prefixed(largest: float, unit: str) -> tuple[float, str]:
    """What to divide values up to `largest` by, and the unit that they have then: 4e-8 J gives 1e-9 and nJ."""
    squared = unit.endswith("²")
    prefixes, smallest = (_SQUARED_PREFIXES, _SMALLEST_SQUARED) if squared else (_PREFIXES, _SMALLEST)
    scale, prefix = next((entry for entry in prefixes if abs(largest) >= smallest * entry[0]), prefixes[-1])
    return scale, f"{prefix}{unit}"


def ratio(baseline: float | None, value: float | None) -> float | None:
    """How many times smaller `value` is; None when either is unknown, `value` is 0, or it is beyond all floats."""
    found = baseline / value if baseline is not None and value else math.inf
    return found if math.isfinite(found) else None


def format_ratio(ratio: float | None) -> str:
    """A factor with three significant digits and a multiplication sign; None reads `n/a`."""
    return UNKNOWN if ratio is None else f"{_rounded(ratio, 3)}{_TIMES}"


def rounded_up(value: float) -> str:
    """Three significant digits, the last one rounded up: a limit that the value keeps, but for rounding of floats.

    Args:
        value: above 0.
    """
    exact = Decimal(value * (1 - 1e-12))  # 0.2 + 1e-17 is 0.2
    return f"{exact.quantize(Decimal(1).scaleb(exact.adjusted() - 2), ROUND_CEILING).normalize():f}"


def _rounded(number: float, digits: int) -> str:
    assert math.isfinite(number), number
    scientific = f"{number:.{digits - 1}e}"
    exponent = int(scientific.partition("e")[2])
    if abs(exponent) > _MOST_ZEROS:
        return scientific
    return f"{number:.{max(0, digits - 1 - exponent)}f}"
