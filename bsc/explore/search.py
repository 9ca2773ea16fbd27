"""Multi-objective search (optuna): what to try next, given what came out so far.

A study lives no longer than one question. It is told all that is known in the order in which it was asked for, and its
sampler is seeded from the seed and the number of designs known; a search that was killed therefore goes on as if
nothing had happened.
"""

import random
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial

from bsc.explore.space import Grid

MOST_ASKED = 10
"""Designs that are asked for, times those that are wanted, before the rest is drawn at random."""


def ask(grid: Grid, known: Sequence[int], values: NDArray[np.float64], *, seed: int, wanted: int) -> list[int]:
    """Choose designs that were not tried yet.

    Args:
        grid: all designs.
        known: numbers of the designs that were tried, in the order they were asked for.
        values: their objectives, less is better; shape (known, objectives), NaN in designs that cannot exist.
        seed: of the search.
        wanted: how many.

    Returns:
        So many numbers, or fewer if the grid has no more.
    """
    wanted = min(wanted, len(grid) - len(known))
    tried, chosen = set(known), []
    generator = random.Random(f"{seed}/{len(known)}")
    if known and not np.isnan(values).all():
        for number in _asked(grid, known, values, generator.randrange(1 << 32), MOST_ASKED * wanted):
            if number not in tried:
                tried.add(number)
                chosen.append(number)
            if len(chosen) == wanted:
                return chosen
    while len(chosen) < wanted:
        number = generator.randrange(len(grid))
        if len(grid) <= 2 * len(tried):  # few are left: draw among these
            number = generator.choice([each for each in range(len(grid)) if each not in tried])
        if number not in tried:
            tried.add(number)
            chosen.append(number)
    return chosen


def _asked(grid: Grid, known: Sequence[int], values: NDArray[np.float64], seed: int, most: int) -> Iterator[int]:
    """What optuna would try next, with repetitions."""
    axes: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(range(len(each))) for name, each in grid.axes.items() if len(each) > 1
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that are new
        sampler = optuna.samplers.TPESampler(n_startup_trials=0, multivariate=True, seed=seed)
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
            trial = study.ask(axes)
            yield grid.number(trial.params)
            study.tell(trial, state=TrialState.FAIL)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each objective by its place among the others, 0 to 1: joules are too small for what optuna adds to them."""
    ranks = np.full(values.shape, np.nan)
    for column, objective in enumerate(values.T):
        known = ~np.isnan(objective)
        levels, place = np.unique(objective[known], return_inverse=True)
        ranks[known, column] = place / max(1, len(levels) - 1)
    return ranks
