"""ADC policies by the words that ask for them, on the command line and in design spaces. The passes say which.

`PRESETS` are words that stand for a policy and for further options with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bsc.errors import UsageError
from bsc.ir.adc_pass import AdcPass, PolicyWord
from bsc.ir.pipeline import parse_pipeline
from passes import PASSES


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a word stands for; options that are given count more.

    Attributes:
        meaning: a few words for `--help`.
        adc: the policy.
        options: further options, by their names in `MappingOptions`.
    """

    meaning: str
    adc: str
    options: Mapping[str, str]


PRESETS: Final[Mapping[str, Preset]] = {
    "raella": Preset(
        meaning="7 bits for pairs around centres, slices cut by measured error",
        adc="fixed=7",
        options={"encoding": "centre", "subtract": "analog", "cut": "adaptive"},
    )
}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy that was asked for.

    Attributes:
        name: of the pass.
        word: that asked for it.
        number: that came with the word.
    """

    name: str
    word: PolicyWord
    number: int | None

    def text(self, granularity: str) -> str:
        """The pass as a pipeline has it."""
        options = {**self.word.options, "granularity": granularity}
        if self.word.number is not None:
            options[self.word.number] = str(self.number)
        return f"{self.name}{{{' '.join(f'{option}={value}' for option, value in options.items())}}}"

    @property
    def step(self) -> AdcPass:
        """The pass, for its finest granularity."""
        (step,) = parse_pipeline(self.text("column"), PASSES)
        assert isinstance(step, AdcPass)
        return step

    @property
    def needs_data(self) -> bool:
        """Whether it rests on calibration data."""
        return self.step.observes() is not None


def adc_passes() -> dict[str, type[AdcPass]]:
    """The passes that assign ADC resolutions, by name, in the order of the table."""
    return {name: cls for name, cls in PASSES.items() if issubclass(cls, AdcPass)}


def parse_policy(text: str) -> Policy:
    """The policy that a text asks for; of a preset, its own.

    Raises:
        UsageError: BSC201 for a text that asks for none.
    """
    name, equals, number = (PRESETS[text].adc if text in PRESETS else text).partition("=")
    given = number.isascii() and number.isdecimal() and int(number) > 0
    for passname, cls in adc_passes().items():
        for word in cls.words:
            if word.name == name and (given if word.number else not equals):
                return Policy(name=passname, word=word, number=int(number) if word.number else None)
    *others, last = [*(word.usage for cls in adc_passes().values() for word in cls.words), *PRESETS]
    raise UsageError(
        "BSC201",
        "--adc cannot be read",
        seen=repr(text),
        fix=f"write {', '.join(others)} or {last}; N is 1 or more",
    )


def budget_words() -> tuple[str, ...]:
    """Words of policies that an accuracy budget can be kept with."""
    return tuple(word.name for cls in adc_passes().values() if cls.has_noise_price for word in cls.words)


def policy_help() -> str:
    """What `--adc` may say, for `--help`."""
    words = [f"{word.usage} ({word.meaning})" for cls in adc_passes().values() for word in cls.words]
    *others, last = [*words, *(f"{name} ({preset.meaning})" for name, preset in PRESETS.items())]
    return (
        f"ADC resolution: {', '.join(others)}, or {last}.  [default: lossless, or what the target's ADCs are fixed at]"
    )
