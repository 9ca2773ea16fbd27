import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.ir.einsum import letters


@pytest.mark.parametrize(
    ("equation", "ranks", "expected"),
    [
        ("ij,jk->ik", (2, 2), (["ij", "jk"], "ik")),
        ("...i,ij->...j", (3, 2), (["abi", "ij"], "abj")),
        ("...i,ij->...j", (1, 2), (["i", "ij"], "j")),
        ("b...i, ...j", (4, 2), (["baci", "cj"], "acbij")),
        ("ba", (2,), (["ba"], "ab")),
        ("ii->i", (2,), (["ii"], "i")),
    ],
)
def test_by_hand(equation: str, ranks: tuple[int, ...], expected: tuple[list[str], str]) -> None:
    assert letters(equation, ranks) == expected


@pytest.mark.parametrize(
    ("equation", "ranks"),
    [("ij,jk->ik", (2,)), ("ij->i", (3,)), ("ij->i", (1,)), ("...ij->i", (1,)), ("i1->i", (2,)), ("...->...", (60,))],
)
def test_what_does_not_fit(equation: str, ranks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the equation has"):
        letters(equation, ranks)


@given(left=st.integers(0, 3), right=st.integers(0, 3), named=st.booleans())
def test_written_out_they_compute_the_same(left: int, right: int, *, named: bool) -> None:
    rng = np.random.default_rng(0)
    shape = (2, 3, 4)
    a, b = rng.standard_normal((*shape[3 - left :], 5)), rng.standard_normal((5, *shape[3 - right :], 6))
    equation = "...i,i...j" + ("->...j" if named else "")
    (ours, theirs), result = letters(equation, (a.ndim, b.ndim))
    np.testing.assert_allclose(np.einsum(f"{ours},{theirs}->{result}", a, b), np.einsum(equation, a, b))
