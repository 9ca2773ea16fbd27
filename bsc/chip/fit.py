"""Whether a model fits the chips, the area and the power at hand, and what would make it fit."""

from math import isfinite

from bsc.chip.budget import tiles_within
from bsc.chip.copies import ROUNDING, single
from bsc.chip.timing import interval_with
from bsc.errors import DoesNotFitError, UsageError
from bsc.mapping.placement import ChipDemand
from bsc.units import format_si, ratio, rounded_up


def slots_needed(demand: ChipDemand) -> int:
    """Places that one copy of each layer takes."""
    return demand.slots(single(demand.layers))


def power_needed_w(demand: ChipDemand) -> float | None:
    """Modelled power of one copy of each layer, as busy as can be; None where it is unknown or takes no time."""
    copies = single(demand.layers)
    slots = demand.slots(copies)
    active_w = ratio(demand.active_j, max(interval_with(demand.layers, copies), demand.io_s(demand.chips(slots))))
    return None if active_w is None else active_w + demand.static_w(slots)


def slots_at_hand(
    demand: ChipDemand, *, chips: int = 0, tiles: int = 0, area_m2: float = 0.0, to_load: int | None = None
) -> int:
    """Places that may be filled.

    Args:
        demand: of the model.
        chips: how many there are; 0 for as many as one copy of each layer needs.
        tiles: how many of their tiles may be filled; 0 for all.
        area_m2: of those tiles; 0 for any.
        to_load: places that the largest layer takes, where layers may be reloaded; None where all must be there.

    Raises:
        DoesNotFitError: BSC404 if one copy of each layer, or of the largest one, does not find room.
        UsageError: BSC206 for an area where the target gives none.
    """
    floor, need = demand.floor, slots_needed(demand) if to_load is None else to_load
    tiles_needed = -(-need // floor.slots_per_tile)
    limits: dict[str, int] = {}
    if chips:
        limits[f"--chips {demand.chips(need)}"] = chips * floor.slots_per_chip
    if tiles:
        limits[f"--tiles {tiles_needed}"] = tiles * floor.slots_per_tile
    if area_m2:
        within = tiles_within(area_m2, demand.tile_m2) * floor.slots_per_tile
        limits[f"--area {rounded_up(tiles_needed * (demand.tile_m2 or 0.0) * 1e6)}"] = within
    slots = min(limits.values(), default=demand.chips(need) * floor.slots_per_chip)
    if need > slots:
        options = " ".join(option for option, limit in limits.items() if limit < need)
        largest = max(demand.layers, key=lambda layer: layer.crossbars)
        words = f"the largest layer is '{largest.name}' with {largest.crossbars} crossbars"
        if to_load is not None:
            raise DoesNotFitError(
                "BSC404",
                "a layer needs more crossbars than there are, and reloading does not divide layers",
                seen=f"{_places(need, demand)} for layers that must be there together, and {_places(slots, demand)} "
                f"are at hand; {words}",
                fix=f"give it {options}, or map fewer weight bits or --encoding offset",
            )
        raise DoesNotFitError(
            "BSC404",
            "the model needs more crossbars than there are",
            seen=f"one copy of each layer takes {_places(need, demand)}, and {_places(slots, demand)} are at hand; "
            f"{words}",
            fix=f"give it {options}, or load its layers one after another with --reload, or map fewer weight bits or "
            "--encoding offset",
        )
    return slots or floor.slots_per_tile


def require_power(demand: ChipDemand, power_w: float) -> None:
    """Refuse a power budget that one copy of each layer exceeds.

    Raises:
        DoesNotFitError: BSC404.
        UsageError: BSC206 where the target does not give all energies.
    """
    if demand.active_j is None:
        raise UsageError(
            "BSC206",
            "a power budget needs the energy of an inference",
            seen="a target that does not price every action, or traffic that cannot be counted",
            fix="leave --power out, or add the missing energy_j to the hardware description",
        )
    need = power_needed_w(demand)
    if need is not None and need > power_w * (1 + ROUNDING):
        slots = slots_needed(demand)
        static_w, slowest_s = demand.static_w(slots), demand.shortest_s(power_w, slots)
        always = f", {format_si(static_w, 'W')} of it whatever it does" if static_w else ""
        rarely = ""
        if isfinite(slowest_s):
            rarely = f", or leave --power out and run an inference every {format_si(slowest_s, 's')} or less often"
        raise DoesNotFitError(
            "BSC404",
            "the model needs more power than there is",
            seen=f"one copy of each layer takes {format_si(need, 'W')} at an inference every "
            f"{format_si(demand.shortest_s(need, slots), 's')}{always}, and {format_si(power_w, 'W')} are at hand",
            fix=f"give it --power {rounded_up(need)}{rarely}",
        )


def _places(slots: int, demand: ChipDemand) -> str:
    tiles = -(-slots // demand.floor.slots_per_tile)
    return f"{slots} crossbars in {tiles} {demand.tile[tiles != 1]}"
