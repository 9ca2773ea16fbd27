"""What a search asks for: nothing twice, nothing that cannot exist, and the same whenever it is asked."""

import numpy as np
import pytest

pytest.importorskip("optuna")

from bsc.explore.search import ask
from bsc.explore.space import Grid, Space

GRID = Grid(
    Space.from_toml("[axes]\nweight-bits = [1, 2, 3, 4, 5, 6, 7, 8]\ncell-bits = [1, 2, 3, 4]\n", "s.toml"), "m.onnx"
)


def values(numbers: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Tiny numbers, like joules: few weight bits are good in one, few cell bits in the other; 1 bit cannot exist."""
    places = [GRID.places(number) for number in numbers]
    table = [(1e-9 * each["weight-bits"], 1e-13 * each["cell-bits"]) for each in places]
    return np.array(table or np.empty((0, 2)), np.float64).reshape(-1, 2)


def test_nothing_is_asked_for_twice_until_all_is() -> None:
    known: list[int] = []
    while more := ask(GRID, known, values(known), seed=0, wanted=5):
        assert not set(more) & set(known)
        known += more
    assert sorted(known) == list(range(32))


def test_the_same_question_has_the_same_answer() -> None:
    known = [3, 17, 8, 30, 25]
    first = ask(GRID, known, values(known), seed=1, wanted=4)
    assert first == ask(GRID, known, values(known), seed=1, wanted=4)
    assert len(first) == 4
    others = [ask(GRID, known, values(known), seed=seed, wanted=4) for seed in range(2, 6)]
    assert any(other != first for other in others)


def test_what_cannot_exist_is_not_asked_for() -> None:
    even = ask(GRID, [], values([]), seed=0, wanted=40, may_exist=lambda number: number % 2 == 0)
    assert sorted(even) == list(range(0, 32, 2))
    unknown = np.full((2, 2), np.nan)
    assert len(ask(GRID, [1, 2], unknown, seed=0, wanted=3)) == 3


def test_it_learns() -> None:
    """After half of the grid, it asks for what is better than the mean of what is left."""
    rng = np.random.default_rng(0)
    known = rng.permutation(32)[:16].tolist()
    asked = ask(GRID, known, values(known), seed=0, wanted=4)
    left = sorted(set(range(32)) - set(known))
    assert values(asked).sum(axis=1).mean() < values(left).sum(axis=1).mean()
