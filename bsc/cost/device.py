"""What a device says of a plan, beside the published averages of the target: reads by Ohm's law, and writing."""

from dataclasses import dataclass
from typing import Final

from bsc.cost.compare import Comparison
from bsc.cost.counters import OF_CELLS
from bsc.cost.crossbars import crossbar_table
from bsc.cost.ohm import CellEnergy, DrivenRows, baseline_j, cell_energy, crossbars_j
from bsc.cost.price import add
from bsc.cost.writing import WritingCost, writing_cost
from bsc.hardware.device import Device
from bsc.mapping.model import MappedModel

CONTRADICTS: Final = 10.0
"""How many times the price of a cell may differ from what the device takes on average before that is said."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OhmCost:
    """Reads of crossbars for one inference by Ohm's law.

    Attributes:
        cell: what a cell takes.
        layers: energy by layer.
        uniform_j: of the uniform baseline, whose pairs are read with the same digits.
        offset_j: of the offset encoding.
        average_j: the plan's by the target's published average; None is unknown.
        cell_price_j: the target's price of one cell and read; None where it has none.
        rest_j: all else that the plan costs; None is unknown.
    """

    cell: CellEnergy
    layers: dict[str, float]
    uniform_j: float
    offset_j: float
    average_j: float | None
    cell_price_j: float | None
    rest_j: float | None

    @property
    def energy_j(self) -> float:
        """Of the plan."""
        return sum(self.layers.values())

    @property
    def over_price(self) -> float | None:
        """A cell at the mean conductance, driven every other time, over the target's price of a cell."""
        return self.cell.mean_j / self.cell_price_j if self.cell_price_j else None

    @property
    def contradicts(self) -> bool:
        """Whether the target's price cannot be that of the device."""
        times = self.over_price
        return times is not None and not 1 / CONTRADICTS <= times <= CONTRADICTS


@dataclass(frozen=True, eq=False, kw_only=True)
class DeviceCost:
    """What a device says of a plan.

    Attributes:
        device: the device.
        samples: of the data whose digits were driven; None where every row is taken to be driven with the highest.
        reads: None where the device does not say how cells are read.
        writing: None where it does not say how they are written.
    """

    device: Device
    samples: int | None
    reads: OhmCost | None
    writing: WritingCost | None


def device_cost(
    mapping: MappedModel, comparison: Comparison, device: Device, driven: DrivenRows | None, samples: int | None
) -> DeviceCost:
    """Energies of a plan's cells on a device.

    Args:
        mapping: of the plan.
        comparison: its cost on the hardware.
        device: the technology.
        driven: how hard data drive the rows; None without data.
        samples: of these data.
    """
    return DeviceCost(
        device=device,
        samples=samples,
        reads=_reads(mapping, comparison, device, driven),
        writing=None if device.writing is None else writing_cost(device.writing, *_cells(mapping)),
    )


def _cells(mapping: MappedModel) -> tuple[int, int]:
    """Cells that hold a slice of a weight, of all copies, and those of the crossbar with most of them."""
    cells = largest = 0
    for layer in mapping.layers:
        weights = crossbar_table(layer, mapping.arrays(layer)).weights
        cells += int(weights.sum()) * (1 if layer.placed is None else layer.placed.copies)
        largest = max(largest, int(weights.max(initial=0)))
    return cells, largest


def _reads(mapping: MappedModel, comparison: Comparison, device: Device, driven: DrivenRows | None) -> OhmCost | None:
    target = comparison.target
    cell = cell_energy(device, target.timing.read_s.value)
    if cell is None:
        return None
    actions = target.actions()
    reading = [name for name, action in actions.items() if action.counter in OF_CELLS]
    prices = [actions[name].energy_j for name in reading]
    plan, cell_bits = comparison.plan, target.crossbar.bits_per_cell
    return OhmCost(
        cell=cell,
        layers=crossbars_j(mapping, cell, driven),
        uniform_j=sum(baseline_j(mapping, cell, driven, "differential", cell_bits).values()),
        offset_j=sum(baseline_j(mapping, cell, driven, "offset", cell_bits).values()),
        average_j=add(map(plan.action_energy_j, reading)) if reading else None,
        cell_price_j=add(None if price is None else price.value for price in prices) if prices else None,
        rest_j=add(plan.action_energy_j(name) for name in plan.actions if name not in reading),
    )
