"""ADC laws: what a conversion at one resolution costs, relative to 8 bits.

The law decides the headline number: a 1-bit ADC is 8 to 128 times cheaper than an 8-bit one depending on it.
Keys in brackets are in hw_models/SOURCES.md; there is also why the survey of built converters [murmann]
gives 4 to 10 bits as the range for formulas whose source states none.
"""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from bsc.errors import UsageError
from bsc.hardware.adc_law import ANCHOR_ADC_BITS, MAX_ADC_BITS, AdcLaw
from bsc.hardware.target import MAX_AMOUNT, MIN_DIVISOR
from bsc.toml_record import Kind, Record, Text, read_record


def _relative(cost: Callable[[int], float]) -> tuple[float, ...]:
    """Tabulate a formula over its value at 8 bits; 0 bits is no conversion, whatever the formula says."""
    return (0.0, *(cost(bits) / cost(ANCHOR_ADC_BITS) for bits in range(1, MAX_ADC_BITS + 1)))


_ISAAC: Final = AdcLaw(
    name="isaac",
    formula="0.194878·N + 4.2005e-4·2^N pJ",
    source="[accelergy-isaac] isaac_adc.csv, closed form through its seven points, each within rounding",
    kind="derived",
    valid_bits=(4, 10),
    energy=_relative(lambda n: 0.194878 * n + 4.2005e-4 * 2**n),
    area=_relative(lambda n: 81.73 * n + 2.1335 * 2**n),
)

_SABERI: Final = AdcLaw(
    name="saberi",
    formula="2^N / (N + 1)",
    source="[seed19] from [saberi11]: switching of the capacitive DAC alone; recalled, reproduces 28.4x and 14.2x",
    kind="paper",
    valid_bits=(4, 10),
    energy=_relative(lambda n: 2**n / (n + 1)),
)

_LINEAR: Final = AdcLaw(
    name="linear",
    formula="N / 8",
    source="[newton18] as quoted in [accelergy-newton]: a 9-bit converter spends X/9 on an X-bit conversion",
    kind="survey",
    valid_bits=(1, 9),
    energy=_relative(lambda n: n),
)

_PUMA: Final = AdcLaw(
    name="puma",
    formula="N²",
    source="[puma-sim] constants.py: adc_pow_dyn_dict, adc_lat_dict, adc_area_dict",
    kind="survey",
    valid_bits=(1, 9),
    energy=_relative(lambda n: n**2),
    area=_relative(lambda _: 1.0),
)

_NEUROSIM: Final = AdcLaw(
    name="neurosim",
    formula="(1.1294·N + 8.8998)·(N + 1) fJ",
    source="[neurosim] SarADC.cpp, 32 nm LP, without the column-resistance term; area: n-transistor term alone",
    kind="survey",
    valid_bits=(4, 10),
    energy=_relative(lambda n: (1.1294 * n + 8.8998) * (n + 1)),
    area=_relative(lambda n: 269 + 109 * (n - 1)),
)

_EXPONENTIAL: Final = AdcLaw(
    name="exponential",
    formula="2^(N - 8)",
    source="[hwcomponents] IsaacADC: one price at 8 bits, doubled for each bit",
    kind="survey",
    valid_bits=(4, 10),
    energy=_relative(lambda n: 2.0**n),
    area=_relative(lambda n: 2.0**n),
)

LAWS: Final[Mapping[str, AdcLaw]] = {
    law.name: law for law in (_ISAAC, _SABERI, _LINEAR, _PUMA, _NEUROSIM, _EXPONENTIAL)
}


def law_from_toml(text: str, where: str) -> AdcLaw:
    """Read a user's table of costs by resolution.

    The file has one table, `[adc_law]`, with name, source, kind, `valid_bits = [lowest, highest]`,
    `energy_j = { "8" = …, … }` and, if known, `area_m2` in the same form. Resolutions between the given ones
    stay unknown rather than guessed.

    Args:
        text: the TOML text.
        where: file name for messages.

    Raises:
        UsageError: BSC207, for the first thing that is wrong with the text, and for the name of a shipped law.
    """
    law = read_record(_LawFile, text, where=where, code="BSC207").adc_law
    if law.name in LAWS:
        raise UsageError(
            "BSC207",
            f"{where}: key 'adc_law.name' is the name of a shipped law",
            seen=f"'{law.name}', whose costs would stand under the same name",
            fix="choose another name",
        )
    return AdcLaw(
        name=law.name,
        formula=f"table in {where}",
        source=law.source,
        kind=law.kind,
        valid_bits=law.valid_bits,
        energy=_relative(_entry(law.energy_j)),
        area=None if law.area_m2 is None else _relative(_entry(law.area_m2)),
    )


def _entry(costs: Mapping[int, float]) -> Callable[[int], float]:
    return lambda bits: costs.get(bits, math.nan)


def _with_anchor(costs: Mapping[int, float]) -> Mapping[int, float]:
    if ANCHOR_ADC_BITS not in costs:
        raise ValueError(f"add an entry for {ANCHOR_ADC_BITS} bits, which all others are compared with")
    return costs


def _ascending(bits: tuple[int, int]) -> tuple[int, int]:
    if bits[0] > bits[1]:
        raise ValueError("give the lower resolution first")
    return bits


# TOML keys are text and its arrays are lists: the two places where strict types would refuse a correct file.
_Bits = Annotated[int, Field(strict=False, ge=1, le=MAX_ADC_BITS)]
_Cost = Annotated[float, Field(ge=MIN_DIVISOR, le=MAX_AMOUNT)]
_Costs = Annotated[Mapping[_Bits, _Cost], AfterValidator(_with_anchor)]


class _LawTable(Record):
    name: Text
    source: Text
    kind: Kind
    valid_bits: Annotated[tuple[_Bits, _Bits], Field(strict=False), AfterValidator(_ascending)]
    energy_j: _Costs
    area_m2: _Costs | None = None


class _LawFile(Record):
    adc_law: _LawTable
