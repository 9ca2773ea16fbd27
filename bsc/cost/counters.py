"""What hardware actions are counted by: the table from the name of a counter to how it is counted.

A target's action names a counter, and its energy is that count times its price. The first line of a counter's
docstring says what it counts; reports and FIGURES.md print it. Counters of `COUNTERS` follow from the arrays of one
layer; those of `CHIP_COUNTERS` from the whole model and its places on chips, and `bsc.chip` counts them. What no
counter knows of is in `MISSING`, and no report leaves that out.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.hardware.target import Action, Target
from bsc.mapping.layer import MappedLayer
from bsc.numeric.quantizer import input_cycles

WRITING_CELLS: Final = "programming of cells"
"""What no target says, but a device."""

MISSING: Final = (WRITING_CELLS,)
"""What the model has no counter for, whatever the target."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Activity:
    """What all crossbars of a layer together do in one input cycle of one vector.

    Attributes:
        rows: rows of one group that are mapped.
        groups: row groups of a tile, read one after another in the cycle.
        conversions: by resolution, in all row groups together, int64 (17,).
        crossbars: by their largest resolution, int64 (17,).
        rows_driven: wordlines, in all row groups together.
        columns_sampled: bitlines held, in all row groups together.
        conversions_per_read: most that one crossbar needs.
        bits_per_read: most bits that these have together.
        index_bits: bits of the line numbers that are read for every vector.
    """

    rows: int
    groups: int
    conversions: NDArray[np.int64]
    crossbars: NDArray[np.int64]
    rows_driven: int
    columns_sampled: int
    conversions_per_read: int
    bits_per_read: int
    index_bits: int = 0

    def cycles(self, layer: MappedLayer) -> int:
        """Input cycles of one inference, over all vectors."""
        return layer.vectors * len(input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits))


Count = Callable[[MappedLayer, Activity], int]
"""Number of a layer in one inference."""


def conversions(layer: MappedLayer, activity: Activity) -> int:
    """Conversions of the ADCs, each priced by its resolution as the ADC law says."""
    return int(activity.conversions.sum()) * activity.cycles(layer)


def rows_driven(layer: MappedLayer, activity: Activity) -> int:
    """Rows driven, each once for every input cycle; priced for DACs of the target's own bits only."""
    return activity.rows_driven * activity.cycles(layer)


def cells_read(layer: MappedLayer, activity: Activity) -> int:
    """Cells of crossbars that are read, used or not, each once for every input cycle."""
    return int(activity.crossbars.sum()) * layer.tile_rows * layer.tile_cols * activity.cycles(layer)


def columns_sampled(layer: MappedLayer, activity: Activity) -> int:
    """Columns held for their conversion, each once for every input cycle and row group."""
    return activity.columns_sampled * activity.cycles(layer)


def partial_results(layer: MappedLayer, activity: Activity) -> int:
    """Results of conversions, each shifted, added and stored once."""
    return conversions(layer, activity)


def driver_bits(layer: MappedLayer, activity: Activity) -> int:
    """Input bits that row drivers take in."""
    return rows_driven(layer, activity) * layer.dac_bits


def buffer_bits(layer: MappedLayer, activity: Activity) -> int:
    """Bits read from and written to the buffer: inputs, outputs and line numbers of every vector."""
    return moved_bits(layer, activity) + layer.vectors * activity.index_bits


def moved_bits(layer: MappedLayer, activity: Activity) -> int:
    """Bits of inputs and outputs carried between the buffer and the arrays."""
    return layer.vectors * layer.input_bits * (layer.groups * activity.rows + layer.columns)


COUNTERS: Final[dict[str, Count]] = {
    count.__name__: count
    for count in (
        conversions,
        rows_driven,
        cells_read,
        columns_sampled,
        partial_results,
        driver_bits,
        buffer_bits,
        moved_bits,
    )
}
"""Counters by the names that targets give."""

TRAFFIC: Final = {
    "repeated_bits": "Bits of inputs that a copy reads from more buffers than one, those of the first left out",
    "partial_bits": "Bits of partial sums carried to where they are added up",
    "merges": "Additions of partial sums",
    "arriving_bits": "Bits from elsewhere that are written into buffers",
    "router_bits": "Bits through routers, once for each router on their way",
    "chip_link_bits": "Bits over links of chips, once for each link on their way",
}
"""Counters of what is carried between places of a chip, and what each counts."""

WORK: Final = {
    "products": "Multiplications of two values that are both computed at run time, in digital operators",
    "additions": "Additions, subtractions and shifts of digital operators",
    "comparisons": "Comparisons of two values, maxima and logic, in digital operators",
    "interpolations": "Functions of one value, products with constants included, in digital operators",
}
"""Counters of what digital operators compute, and what each counts; scales of results and dynamic steps included."""

CHIP_COUNTERS: Final = {**TRAFFIC, **WORK}
"""Counters of the whole model, and what each counts."""

ALL_COUNTERS: Final = (*COUNTERS, *CHIP_COUNTERS)
"""Every name that a target may give."""

CONVERSIONS: Final = conversions.__name__
"""The one counter whose price follows the ADC law."""

OF_OWN_DAC: Final = frozenset({rows_driven.__name__})
"""Counters whose price holds for the DAC of the target only."""

OF_CELLS: Final = frozenset({cells_read.__name__})
"""Counters whose price holds for cells of the target's bits or fewer, and for more only where it says so."""


def counted(name: str) -> str:
    """What a counter counts, in one line."""
    return CHIP_COUNTERS.get(name) or (COUNTERS[name].__doc__ or "").splitlines()[0].rstrip(".")


def require_counters(target: Target) -> None:
    """Refuse a target whose actions cannot be counted, or that prices no conversions.

    Raises:
        UsageError: BSC206.
    """
    for name, action in target.actions().items():
        if action.counter not in ALL_COUNTERS:
            nearest = difflib.get_close_matches(action.counter, ALL_COUNTERS, n=1)
            suggestion = f"did you mean '{nearest[0]}'? " if nearest else ""
            raise UsageError(
                "BSC206",
                f"target '{target.name}': action '{name}' names a counter that there is none of",
                seen=repr(action.counter),
                fix=f"{suggestion}counters: {', '.join(ALL_COUNTERS)}",
            )
    if not conversion_actions(target):
        raise UsageError(
            "BSC206",
            f"target '{target.name}' has no action that counts conversions",
            seen=f"counters {', '.join(sorted({action.counter for action in target.actions().values()})) or 'none'}",
            fix=f"add an action with counter = '{CONVERSIONS}', without energy_j if nobody published it",
        )


def conversion_actions(target: Target) -> tuple[str, ...]:
    """Actions that count conversions: what ADC energy is made of."""
    return tuple(name for name, action in target.actions().items() if action.counter == CONVERSIONS)


def layer_actions(target: Target) -> dict[str, Action]:
    """Actions of crossbars and their tiles, which every layer has energies for."""
    return {name: action for name, action in target.actions().items() if action.counter in COUNTERS}


def chip_actions(target: Target) -> dict[str, Action]:
    """Actions of the whole model: what is carried between places, and digital work."""
    return {name: action for name, action in target.actions().items() if action.counter in CHIP_COUNTERS}


def not_modelled(target: Target) -> tuple[str, ...]:
    """What the costs of a target leave out: all that has no counter, no action, or no price."""
    actions = target.actions().values()
    priced = {action.component for action in actions if action.energy_j is not None}
    priced |= {name for name, row in target.components().items() if row.static_w is not None}
    used = {action.counter for action in actions}
    without = [
        f"the {level.name}'s {_listed([name.replace('_', ' ') for name in rows])}"
        for level in target.level
        if (rows := [name for name in level.component if f"{level.name}.{name}" not in priced])
    ]
    return (
        *MISSING,
        *without,
        *(counted(name)[0].lower() + counted(name)[1:] for name in ALL_COUNTERS if name not in used),
    )


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
