"""Multi-objective search (optuna): what to try next, given what came out so far.

A study lives no longer than one question. It is told all that is known in the order in which it was asked for, and its
sampler is seeded from the seed and the number of designs known; a search that was killed therefore goes on as if
nothing had happened.
"""

import itertools
import random
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from bsc.exploration.space import Grid, Value

MOST_ASKED = 4
"""Designs that are asked for, times those that are wanted, before the rest is drawn at random."""


def ask(
    grid: Grid,
    known: Sequence[int],
    values: NDArray[np.float64],
    *,
    seed: int,
    wanted: int,
    may_exist: Callable[[int], bool] = lambda _: True,
) -> list[int]:
    """Choose designs that were not tried yet.

    Args:
        grid: all designs.
        known: numbers of the designs that were tried, in the order they were asked for.
        values: their objectives, less is better; shape (known, objectives), NaN in designs that cannot exist.
        seed: of the search.
        wanted: how many.
        may_exist: whether a design is worth a try; asked once for each.

    Returns:
        So many numbers, or fewer if the grid has no more.
    """
    generator = random.Random(f"{seed}/{len(known)}")
    seen, chosen = set(known), list[int]()
    promising: Iterator[int] = iter(())
    if not np.isnan(values).any(axis=1).all():
        promising = _asked(grid, known, values, generator.randrange(1 << 32), MOST_ASKED * wanted)
    for number in itertools.chain(promising, _drawn(grid, seen, generator)):
        if len(chosen) == wanted:
            break
        if number not in seen:
            seen.add(number)
            if may_exist(number):
                chosen.append(number)
    return chosen


def _drawn(grid: Grid, seen: set[int], generator: random.Random) -> Iterator[int]:
    """Designs at random, with repetitions until few are left, then all of these."""
    while 2 * len(seen) < len(grid):
        yield generator.randrange(len(grid))
    left = [number for number in range(len(grid)) if number not in seen]
    generator.shuffle(left)
    yield from left


def _asked(grid: Grid, known: Sequence[int], values: NDArray[np.float64], seed: int, most: int) -> Iterator[int]:
    """What optuna would try next, with repetitions."""
    axes = {name: _distribution(name, each) for name, each in grid.axes.items() if len(each) > 1}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that are new
        # A liar takes what was asked for and has no answer yet for bad, and so does not ask for it again and again.
        sampler = optuna.samplers.TPESampler(n_startup_trials=0, multivariate=True, constant_liar=True, seed=seed)
        study = optuna.create_study(directions=["minimize"] * values.shape[1], sampler=sampler)
        for number, ranks in zip(known, _ranks(values), strict=True):
            places = {name: place for name, place in grid.places(number).items() if name in axes}
            failed = bool(np.isnan(ranks).any())
            study.add_trial(
                create_trial(
                    state=TrialState.FAIL if failed else TrialState.COMPLETE,
                    values=None if failed else ranks.tolist(),
                    params=places,
                    distributions=axes,
                )
            )
        for _ in range(most):
            yield grid.number(study.ask(axes).params)


def _distribution(name: str, values: Sequence[Value | None]) -> BaseDistribution:
    """Places on an axis: near ones are alike where values are sizes."""
    if name == "xbar" or all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return IntDistribution(0, len(values) - 1)
    return CategoricalDistribution(range(len(values)))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each objective by its place among the others, 0 to 1: joules are too small for what optuna adds to them."""
    ranks = np.full(values.shape, np.nan)
    for column, objective in enumerate(values.T):
        known = ~np.isnan(objective)
        levels, place = np.unique(objective[known], return_inverse=True)
        ranks[known, column] = place / max(1, len(levels) - 1)
    return ranks
