"""Targets to test with: what is changed in one that is there."""

from collections.abc import Callable

from bsc.hardware.target import Action, Level, Target


def with_levels(target: Target, change: Callable[[Level], Level]) -> Target:
    """A target with every level changed, read anew so that nothing is believed."""
    changed = target.model_copy(update={"level": tuple(map(change, target.level))})
    return Target.model_validate_json(changed.model_dump_json())


def with_action(target: Target, name: str, change: Callable[[Action], Action | None]) -> Target:
    """A target with one action changed, or left out where the change gives None."""

    def changed(level: Level) -> Level:
        actions = {key: change(action) if key == name else action for key, action in level.action.items()}
        return level.model_copy(update={"action": {key: each for key, each in actions.items() if each is not None}})

    assert name in target.actions()
    return with_levels(target, changed)


def without_price(target: Target, action: str) -> Target:
    """A target that does not know what an action costs."""
    return with_action(target, action, lambda each: each.model_copy(update={"energy_j": None}))


def without_areas(target: Target) -> Target:
    """A target that gives no area."""
    return with_levels(target, lambda level: level.model_copy(update={"area": {}}))
