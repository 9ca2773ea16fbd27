"""The passes of a pipeline, by the stage of the compilation that runs them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from bsc.errors import UsageError
from bsc.ir.adc_pass import AdcPass
from bsc.ir.passbase import Pass


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A pipeline in four parts, each in order.

    Attributes:
        prepare: everything in front of the first `tile`.
        layout: `tile` and what follows it, up to the ADC passes.
        assign: the first pass that assigns ADC resolutions, and what follows it.
        place: the first pass that places crossbars, and everything behind it.
    """

    prepare: tuple[Pass, ...]
    layout: tuple[Pass, ...]
    assign: tuple[Pass, ...]
    place: tuple[Pass, ...]

    @classmethod
    def of(cls, passes: Sequence[Pass]) -> "Steps":
        """Divide a pipeline: the first pass of a later stage ends the one before."""
        prepare = tuple(takewhile(lambda step: step.stage == "prepare", passes))
        rest = passes[len(prepare) :]
        layout = tuple(takewhile(lambda step: step.stage not in ("assign", "place"), rest))
        rest = rest[len(layout) :]
        assign = tuple(takewhile(lambda step: step.stage != "place", rest))
        return cls(prepare=prepare, layout=layout, assign=assign, place=tuple(rest[len(assign) :]))

    @property
    def adc(self) -> tuple[AdcPass, ...]:
        """The passes that assign ADC resolutions."""
        return tuple(step for step in self.assign if isinstance(step, AdcPass))

    @property
    def lossless(self) -> "Steps":
        """The same up to the ADC passes, with passes that need no data in place of those that do."""
        assign = tuple(step.lossless() if isinstance(step, AdcPass) else step for step in self.assign)
        return replace(self, assign=assign, place=())

    @property
    def all(self) -> tuple[Pass, ...]:
        """The whole pipeline, in order."""
        return (*self.prepare, *self.layout, *self.assign, *self.place)

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
