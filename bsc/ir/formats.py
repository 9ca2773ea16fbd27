"""Number formats of weights and inputs; those that a model brings along are taken as they are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenWeights:
    """Weights that the model stores as integers.

    Attributes:
        codes: key of the codes less their zero point, integer (K, N).
        step: key of the value of one code, float64 (1,) or (N,).
    """

    codes: str
    step: str

    def __str__(self) -> str:
        return "weight codes given"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFormat:
    """How an activation becomes codes: value == step * (code - zero).

    Attributes:
        bits: of a code, its sign included.
        signed: codes are two's complement; otherwise 0 or more.
        step: value of one code; None when every input vector gets its own power of two at run time.
        zero: code of the value 0.
    """

    bits: int
    signed: bool
    step: float | None
    zero: int = 0

    def __str__(self) -> str:
        sign = "signed" if self.signed else "unsigned"
        step = "dynamic step" if self.step is None else f"step {self.step!r}"
        return f"inputs {self.bits} bit {sign} {step}" + (f" zero {self.zero}" if self.zero else "")
