import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.numeric.capping import DAMPING, cap_columns
from bsc.numeric.encoding import level_table

DIGITS = level_table((2, 2, 2, 2), 1)[:, :, 0].astype(np.int64)


def column_sums(codes: NDArray[np.int64], group_rows: int) -> NDArray[np.int64]:
    """Levels that add up in each group, polarity, column and slice, (R, P, N, S)."""
    groups = range(0, len(codes), group_rows)
    parts = [codes[start : start + group_rows] for start in groups]
    return np.array([[DIGITS[np.maximum(sign * part, 0)].sum(axis=0) for sign in (1, -1)] for part in parts])


def test_without_a_cap_that_binds_codes_are_the_nearest() -> None:
    found = cap_columns(np.array([[3.4, -7.6], [0.2, 255.0]]), np.eye(2), DIGITS, np.full(4, 6), 2)
    assert found.codes.tolist() == [[3, -8], [0, 255]]
    np.testing.assert_allclose(found.errors, [1.01 * (0.4**2 + 0.2**2), 1.01 * 0.4**2])  # 1 % of damping


def test_of_weights_alike_the_larger_keeps_its_level() -> None:
    """Levels of slice 1 may add up to 1: 4 and 3 miss less than 3 and 5."""
    found = cap_columns(np.array([[4.0], [5.0]]), np.eye(2), DIGITS, np.array([9, 1, 9, 9]), 2)
    assert found.codes.ravel().tolist() == [3, 5]


def test_the_rows_behind_make_up_for_what_a_row_misses() -> None:
    """Two inputs that are always the same: 12 and 1 do what 9 and 4 do, if slice 1 adds up to 3 at most in a group."""
    same = np.ones((2, 2))
    found = cap_columns(np.array([[13.0], [2.0]]), same, DIGITS, np.array([0, 3, 3, 3]), 1)
    assert found.codes.ravel().tolist() == [12, 4]
    alone = cap_columns(np.array([[13.0], [2.0]]), np.ones(2), DIGITS, np.array([0, 3, 3, 3]), 1)
    assert alone.codes.ravel().tolist() == [12, 0]


def test_signs_and_groups_have_caps_of_their_own() -> None:
    weights = np.array([[3.0], [-3.0], [3.0], [-3.0]])
    found = cap_columns(weights, np.eye(4), DIGITS, np.array([3, 0, 0, 0]), 2)
    assert found.codes.tolist() == weights.tolist()


def test_nothing_is_left_under_a_cap_of_0() -> None:
    found = cap_columns(np.full((3, 2), 9.0), np.eye(3), DIGITS, np.zeros(4, np.int64), 2)
    assert not found.codes.any()


def test_inputs_that_never_differ_from_their_mean() -> None:
    found = cap_columns(np.full((3, 2), 9.0), np.zeros((3, 3)), DIGITS, np.full(4, 2), 3)
    assert column_sums(found.codes, 3).max() <= 2


@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 4)),
    group_rows=st.integers(1, 12),
    caps=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    seed=st.integers(0, 99),
    spread=st.sampled_from([4, 60, 400]),
)
@settings(max_examples=60, deadline=None)
def test_every_column_keeps_to_its_cap_and_errors_are_what_they_say(
    shape: tuple[int, int], group_rows: int, caps: list[int], seed: int, spread: int
) -> None:
    rows = shape[0]
    random = np.random.default_rng(seed)
    weights = np.clip(random.normal(0, spread, shape), -255, 255)
    vectors = random.normal(0, 1, (20, rows)) @ random.normal(0, 1, (rows, rows))
    moments = vectors.T @ vectors / 20
    found = cap_columns(weights, moments, DIGITS, np.array(caps), group_rows)
    assert (column_sums(found.codes, group_rows) <= caps).all()
    missed = weights - found.codes
    damped = moments + DAMPING * np.diag(moments).mean() * np.eye(rows)
    np.testing.assert_allclose(found.errors, np.einsum("kn,kl,ln->n", missed, damped, missed), rtol=1e-6, atol=1e-9)


@given(seed=st.integers(0, 99), cap=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_variances_alone_are_moments_without_any_in_common(seed: int, cap: int) -> None:
    random = np.random.default_rng(seed)
    weights, variances = random.normal(0, 30, (8, 3)), random.uniform(0.1, 2, 8)
    caps = np.full(4, cap)
    alone = cap_columns(weights, variances, DIGITS, caps, 4)
    full = cap_columns(weights, np.diag(variances), DIGITS, caps, 4)
    np.testing.assert_array_equal(alone.codes, full.codes)


@pytest.mark.parametrize("cap", [15, 31])
def test_feedback_pays_where_inputs_go_together(cap: int) -> None:
    """Less than a tenth of the error, on inputs that have three sources."""
    random = np.random.default_rng(0)
    weights = np.clip(random.normal(0, 40, (128, 8)), -255, 255)
    vectors = random.normal(0, 1, (500, 3)) @ random.normal(0, 1, (3, 128)) + 0.1 * random.normal(0, 1, (500, 128))
    moments = vectors.T @ vectors / 500
    found = cap_columns(weights, moments, DIGITS, np.full(4, cap), 128)
    alone = cap_columns(weights, np.diag(moments), DIGITS, np.full(4, cap), 128)
    missed = weights - alone.codes
    assert found.errors.sum() < 0.1 * np.einsum("kn,kl,ln->", missed, moments, missed)
