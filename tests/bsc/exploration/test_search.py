"""What a search asks for: nothing twice, nothing that cannot exist, and the same whenever it is asked."""

import numpy as np
import pytest

pytest.importorskip("optuna")

from bsc.exploration.pareto import pareto_front
from bsc.exploration.search import ask
from bsc.exploration.space import Grid, Space

GRID = Grid(
    Space.from_toml("[axes]\nweight-bits = [1, 2, 3, 4, 5, 6, 7, 8]\ncell-bits = [1, 2, 3, 4]\n", "s.toml"), "m.onnx"
)


def values(numbers: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Tiny numbers, like joules: weight bits are good for one and bad for the other, cell bits bad for both."""
    places = [GRID.places(number) for number in numbers]
    bits = [(1 + each["weight-bits"], 1 + each["cell-bits"]) for each in places]
    table = [(1e-9 * weight * cell, 1e-13 * (9 - weight) * cell) for weight, cell in bits]
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
    """Asked for again and again, it finds more of a front than chance does."""

    def found(seed: int) -> int:
        known: list[int] = []
        while len(known) < 12:
            known += ask(GRID, known, values(known), seed=seed, wanted=4)
        return len(set(known) & best)

    best = set(np.flatnonzero(pareto_front(values(list(range(32))))).tolist())
    assert len(best) == 8
    assert np.mean([found(seed) for seed in range(8)]) > 1.2 * len(best) * 12 / 32
