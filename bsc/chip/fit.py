"""Whether a model fits the chips at hand, and what would make it fit."""

from bsc.chip.copies import single
from bsc.errors import DoesNotFitError
from bsc.mapping.placement import ChipDemand


def slots_needed(demand: ChipDemand) -> int:
    """Places that one copy of each layer takes."""
    return demand.slots(single(demand.layers))


def slots_at_hand(demand: ChipDemand, *, chips: int = 0, tiles: int = 0) -> int:
    """Places that may be filled.

    Args:
        demand: of the model.
        chips: how many there are; 0 for as many as one copy of each layer needs.
        tiles: how many of their tiles may be filled; 0 for all.

    Raises:
        DoesNotFitError: BSC404 if one copy of each layer does not find room.
    """
    floor, need = demand.floor, slots_needed(demand)
    limits = [chips * floor.slots_per_chip] if chips else []
    limits += [tiles * floor.slots_per_tile] if tiles else []
    slots = min(limits, default=demand.chips(need) * floor.slots_per_chip)
    if need > slots:
        largest = max(demand.layers, key=lambda layer: layer.crossbars)
        options = [f"--chips {demand.chips(need)}"] if chips else []
        options += [f"--tiles {-(-need // floor.slots_per_tile)}"] if tiles else []
        raise DoesNotFitError(
            "BSC404",
            "the model needs more crossbars than there are",
            seen=f"one copy of each layer takes {_places(need, demand)}, and {_places(slots, demand)} are at hand; "
            f"the largest layer is '{largest.name}' with {largest.crossbars} crossbars",
            fix=f"give it {' '.join(options)}, or map fewer weight bits or --encoding offset",
        )
    return slots


def _places(slots: int, demand: ChipDemand) -> str:
    return f"{slots} crossbars in {_tiles(-(-slots // demand.floor.slots_per_tile))}"


def _tiles(number: int) -> str:
    return "1 tile" if number == 1 else f"{number} tiles"
