"""The passes of a pipeline, by the stage of the compilation that runs them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from bsc.errors import UsageError
from bsc.ir.adc_pass import AdcPass
from bsc.ir.passbase import Pass


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A pipeline in three parts, each in order.

    Attributes:
        prepare: everything in front of the first `tile`.
        layout: `tile` and what follows it, up to the ADC passes.
        assign: the first pass that assigns ADC resolutions, and everything behind it.
    """

    prepare: tuple[Pass, ...]
    layout: tuple[Pass, ...]
    assign: tuple[Pass, ...]

    @classmethod
    def of(cls, passes: Sequence[Pass]) -> "Steps":
        """Divide a pipeline: the first pass of a later stage ends the one before."""
        prepare = tuple(takewhile(lambda step: step.stage == "prepare", passes))
        rest = passes[len(prepare) :]
        layout = tuple(takewhile(lambda step: step.stage != "assign", rest))
        return cls(prepare=prepare, layout=layout, assign=tuple(rest[len(layout) :]))

    @property
    def adc(self) -> tuple[AdcPass, ...]:
        """The passes that assign ADC resolutions."""
        return tuple(step for step in self.assign if isinstance(step, AdcPass))

    @property
    def lossless(self) -> "Steps":
        """The same with passes that need no data in place of those that do."""
        return replace(
            self, assign=tuple(step.lossless() if isinstance(step, AdcPass) else step for step in self.assign)
        )

    @property
    def all(self) -> tuple[Pass, ...]:
        """The whole pipeline, in order."""
        return (*self.prepare, *self.layout, *self.assign)

    def until(self, name: str | None) -> "Steps":
        """Without the passes behind the last one of that name; None leaves out none.

        Raises:
            UsageError: BSC205 if there is no such pass.
        """
        if name is None:
            return self
        names = [step.name for step in self.all]
        if name not in names:
            raise UsageError(
                "BSC205",
                f"--stop-after names no pass of the pipeline: '{name}'",
                seen=f"passes {', '.join(names)}",
                fix="use one of these names",
            )
        behind = names[::-1].index(name)
        return Steps.of(self.all[: len(names) - behind])
