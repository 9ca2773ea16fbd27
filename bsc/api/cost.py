"""What a plan costs on some hardware, under some ADC law: `Plan.cost`."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bsc.api.data import StrPath
from bsc.api.shown import Shown, table_html
from bsc.api.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.plan.document import Plan
    from bsc.report.document import ReportDocument


class Cost(Shown):
    """The report of a plan at one hardware and ADC law. SI units; an unknown figure is None.

    Args:
        plan: the plan.
        document: its report.

    Attributes:
        document: the whole report, every figure with unit, content and source (FIGURES.md).
    """

    def __init__(self, plan: "Plan", document: "ReportDocument") -> None:
        self.document = document
        self._plan = plan

    @property
    def hw(self) -> str:
        """Name of the hardware description."""
        return self.document.cost.target

    @property
    def law(self) -> str:
        """Name of the ADC law."""
        return self.document.cost.adc_law

    @property
    def energy_j(self) -> float | None:
        """Of one inference, all modelled actions, in joules."""
        return self.document.cost.plan.energy_j

    @property
    def adc_energy_j(self) -> float | None:
        """Of one inference, conversions alone, in joules."""
        return self.document.cost.plan.adc_energy_j

    @property
    def latency_s(self) -> float:
        """Of one inference on an empty chip, in seconds."""
        return self.document.chip.plan.latency_s

    @property
    def inferences_per_s(self) -> float | None:
        """Inferences a second of a chip that is kept busy."""
        return self.document.chip.plan.inferences_per_s

    @property
    def power_w(self) -> float | None:
        """Modelled energy of these inferences a second, in watts."""
        return self.document.chip.plan.power_w

    @property
    def area_m2(self) -> float | None:
        """Whole units that all copies fill, in square metres."""
        return self.document.chip.plan.area_m2

    @property
    def saving(self) -> float | None:
        """Energy of the uniform 8-bit baseline over that of the plan; below 1 is a loss."""
        from bsc.units import ratio

        return ratio(self.document.cost.uniform_8_bit.energy_j, self.energy_j)

    @property
    def saving_over_isaac(self) -> float | None:
        """Energy in ISAAC's offset encoding at 8 bits over that of the plan; below 1 is a loss."""
        from bsc.units import ratio

        return ratio(self.document.cost.isaac_offset_8_bit.energy_j, self.energy_j)

    @cached_property
    def layers(self) -> Table:
        """A row for each layer, the columns of `bsc report --csv`."""
        from bsc.report.layer_csv import layer_columns

        columns = layer_columns(self.document)
        return Table(
            {column.name: column.cells for column in columns},
            {column.name: column.unit for column in columns if column.unit},
        )

    def to_json(self) -> str:
        """The report as `bsc report --json` prints it."""
        from bsc.plan.folder import to_json

        return to_json(self.document)

    def write_html(self, path: StrPath, *, max_bytes: int | None = None) -> None:
        """Write the report as a page that needs no network.

        Args:
            path: the file, replaced if it is there.
            max_bytes: about how large it may be; cells of as many crossbars as fit are in it. None for 1 MB.

        Raises:
            UsageError: BSC204 if it cannot be written.
        """
        from bsc.output_files import write_file

        write_file(Path(path), self.page(max_bytes).encode())

    def page(self, max_bytes: int | None = None) -> str:
        """The page of `write_html`."""
        from bsc.report.html.plan_page import MAX_BYTES, plan_page

        return plan_page(self._plan, self.document, max_bytes=max_bytes or MAX_BYTES)

    def write_csv(self, path: StrPath) -> None:
        """Write `layers` as comma-separated values.

        Raises:
            UsageError: BSC204 if it cannot be written.
        """
        from bsc.output_files import write_file

        write_file(Path(path), self.layers.to_csv().encode())

    def __rich__(self) -> "RenderableType":
        from bsc.report.plan import PlanReport

        return PlanReport(report=self.document)

    def _line(self) -> str:
        from bsc.units import format_si

        return (
            f"of {self.document.plan.model.file} on {self.hw}, ADC law {self.law}: {format_si(self.energy_j, 'J')} "
            f"an inference, {_gain(self.saving)} uniform 8 bit, {_gain(self.saving_over_isaac)} ISAAC offset 8 bit; "
            f"{format_si(self.latency_s, 's')}, {format_si(self.area_m2, 'm²')}"
        )

    def _repr_html_(self) -> str:
        from bsc.report.chip import chip_table
        from bsc.report.costs import cost_table

        return "".join(map(table_html, (cost_table(self.document.cost), chip_table(self.document))))


def _gain(saving: float | None) -> str:
    from bsc.units import format_ratio

    if saving is None:
        return "unknown beside"
    return f"{format_ratio(saving)} less than" if saving >= 1 else f"{format_ratio(1 / saving)} more than"
