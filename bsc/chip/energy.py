"""What one inference takes in all: crossbars and their tiles, traffic, digital work, power that never stops, writing.

Power that a component draws whatever it does is charged for the interval between inferences, for every unit in use:
chips and tiles without a crossbar are off. Where nobody published how much of a component's power that is, it is within
the prices of its actions, which hold for full activity. `at_rest` then says what more it would be if a share of that
power went on while nothing is done. Cells are written once and then for nothing, but for those of models that are
loaded in segments: an inference has its share of a batch's writing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bsc.cost.counters import TRAFFIC, WORK, chip_actions
from bsc.cost.price import add
from bsc.hardware.target import Component, Level, Target


@dataclass(frozen=True, eq=False, kw_only=True)
class ChipEnergy:
    """Energy of one inference, by what takes it; None is unknown.

    What a target has no action for at all is left out of totals, and reports name it.

    Attributes:
        layers_j: of the actions of crossbars and their tiles.
        by_action_j: of the actions of the whole model.
        traffic_j: of those that carry bits; None as well where there is none.
        work_j: of those that compute; likewise.
        static_w: power that is drawn all the time, as published; None where nobody did.
        static_j: what that comes to.
        at_rest_j: what more it would be if all power without a published static part went on at rest.
        writing_j: of segments that are written anew for every batch; None where nothing is.
    """

    layers_j: float | None
    by_action_j: Mapping[str, float | None]
    traffic_j: float | None
    work_j: float | None
    static_w: float | None
    static_j: float | None
    at_rest_j: float | None
    writing_j: float | None = None

    @property
    def active_j(self) -> float | None:
        """What is done, without what is drawn all the time."""
        return add((self.layers_j, *self.by_action_j.values()))

    @property
    def total_j(self) -> float | None:
        """All of it."""
        return add((self.active_j, self.static_j or 0.0, self.writing_j or 0.0))

    def at_rest(self, share: float) -> float | None:
        """All of it, if a share of the power without a published static part went on at rest."""
        return None if self.at_rest_j is None else add((self.total_j, share * self.at_rest_j))


def chip_energy(
    target: Target,
    *,
    layers_j: float | None,
    counters: Mapping[str, int | None],
    interval_s: float,
    tiles: int,
    chips: int,
    idle_share: float,
    writing_j: float | None = None,
) -> ChipEnergy:
    """Price an inference.

    Args:
        target: the hardware.
        layers_j: of the actions of crossbars and their tiles.
        counters: of the whole model, every one of `CHIP_COUNTERS`; None is unknown.
        interval_s: between inferences.
        tiles: in use.
        chips: in use.
        idle_share: of the places for crossbars in these tiles, on average over the interval.
        writing_j: of cells that are written again and again; None where none is.
    """
    actions = chip_actions(target)
    by_action = {
        name: _energy_j(counters[action.counter], None if action.energy_j is None else action.energy_j.value)
        for name, action in actions.items()
    }
    resting_w = _tile_w(target, lambda row: 0.0 if row.static_w is not None else row.power_w.value)
    kinds = static_w_by_kind(target, tiles=tiles, chips=chips)
    drawn_w = math.fsum(kinds.values()) if kinds else None
    return ChipEnergy(
        layers_j=layers_j,
        by_action_j=by_action,
        traffic_j=_part([energy for name, energy in by_action.items() if actions[name].counter in TRAFFIC]),
        work_j=_part([energy for name, energy in by_action.items() if actions[name].counter in WORK]),
        static_w=drawn_w,
        static_j=None if drawn_w is None else drawn_w * interval_s,
        at_rest_j=resting_w * tiles * idle_share * interval_s if target.components() else None,
        writing_j=writing_j,
    )


def static_w_by_kind(target: Target, *, tiles: int, chips: int) -> dict[str, float]:
    """Power that so many tiles and chips draw whatever they do, as published, by how far that can be trusted."""
    kinds = {row.static_w.kind for row in target.components().values() if row.static_w is not None}

    def of_kind(kind: str) -> float:
        def power_w(row: Component) -> float:
            return row.static_w.value if row.static_w is not None and row.static_w.kind == kind else 0.0

        return _tile_w(target, power_w) * tiles + _own_w(target.level[-1], power_w) * chips

    return {kind: of_kind(kind) for kind in sorted(kinds)}


def _tile_w(target: Target, power: Callable[[Component], float]) -> float:
    """Some power of the components of one tile, and of all that is within it."""
    within = 0.0
    for level in target.level[:-1]:
        tile = within + _own_w(level, power)
        within = (level.count or 1) * tile
    return tile


def _own_w(level: Level, power: Callable[[Component], float]) -> float:
    """Of one of a level without the level within it."""
    return math.fsum(power(row) / row.shared_by for row in level.component.values())


def _part(energies: Sequence[float | None]) -> float | None:
    return add(energies) if energies else None


def _energy_j(count: int | None, price_j: float | None) -> float | None:
    """Count times price; what never happens costs nothing, whatever its price."""
    if count == 0:
        return 0.0
    return None if count is None or price_j is None else count * price_j
