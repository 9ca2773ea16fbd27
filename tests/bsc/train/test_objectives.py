from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bsc.train.objectives import column_excess, digit_sum, penalty, slice_weights
from bsc.train.options import FinetuneOptions
from bsc.train.quantised import Codes

STEP = 2.0**-8


def layer(values: list[list[float]]) -> Codes:
    codes = torch.tensor(values, dtype=torch.float32)
    return Codes(codes, torch.tensor([STEP]), (codes * STEP).requires_grad_())


def number(value: Tensor) -> float:
    return float(value.detach())


def gradient(value: Tensor, of: Codes) -> list[list[float]]:
    torch.autograd.backward(value)
    assert of.matrix.grad is not None
    return (of.matrix.grad * STEP).tolist()


def reference_bl1(weight: Tensor) -> Tensor:
    """calc_l1_and_zero_ratio of the reference code: its Round and Floor are straight-through, cut slices detached."""

    def through(function: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
        return value + (function(value) - value).detach()

    x = through(torch.round, weight.abs() / STEP)
    b1 = through(torch.floor, x / 64)
    b2 = through(torch.floor, (x - 64 * b1.detach()) / 16)
    b3 = through(torch.floor, (x - 64 * b1.detach() - 16 * b2.detach()) / 4)
    b4 = x - 64 * b1.detach() - 16 * b2.detach() - 4 * b3.detach()
    return torch.stack([part.abs().sum() for part in (b1, b2, b3, b4)]).sum()


def test_bl1_by_hand() -> None:
    """85 = 1111 in base 4, -7 = -13: 1 + 1 + 1 + 1 + 1 + 3 = 8 over 2 weights and 4 slices, halved by alpha."""
    options = FinetuneOptions(objective="bl1", alpha=0.5)
    assert number(penalty({"fc": layer([[85.0, -7.0]])}, [], options)) == pytest.approx(0.5 * 8 / (4 * 2))


def test_bl1_is_the_reference_code() -> None:
    """Value and gradient for every code of a weight."""
    every = layer([[float(code) for code in range(-255, 256)]])
    found = digit_sum(every, (1.0,) * 4, 2)
    again = every.matrix.detach().clone().requires_grad_()
    wanted = reference_bl1(again)
    assert number(found) == number(wanted)
    torch.autograd.backward(wanted)
    assert again.grad is not None
    np.testing.assert_allclose(gradient(found, every), (again.grad * STEP).tolist(), rtol=1e-6)


@pytest.mark.parametrize(
    ("code", "slope"), [(255, 1.328125), (1, 1.0), (4, 0.25), (16, 0.0625), (64, 0.015625), (0, 0)]
)
def test_bl1_pushes_the_top_slice_64_times_more_weakly(code: float, slope: float) -> None:
    one = layer([[code]])
    assert gradient(digit_sum(one, (1.0,) * 4, 2), one) == [[slope]]


def test_biases_count_in_l1_and_bl1() -> None:
    weights, bias = layer([[0.0, 64.0]]), torch.tensor([0.5])
    assert number(penalty({"fc": weights}, [bias], FinetuneOptions(objective="l1", alpha=3.0))) == pytest.approx(0.75)
    # 0.5 is code 255 of its own step, four digits of 3; 64 has one digit of 1.
    found = penalty({"fc": weights}, [bias], FinetuneOptions(objective="bl1", alpha=12.0))
    assert number(found) == pytest.approx(12.0 * (12 + 1) / (4 * 3))


def test_slice_weights_add_up_to_the_slices() -> None:
    assert slice_weights(FinetuneOptions()) == pytest.approx([4 * part / 85 for part in (1, 4, 16, 64)])
    assert slice_weights(FinetuneOptions(slice_weights=(3, 1, 0, 0))) == pytest.approx([0, 0, 1, 3])


def test_weighted_bl1_pushes_every_slice_alike() -> None:
    codes = layer([[1.0, 4.0, 16.0, 64.0]])
    found = gradient(digit_sum(codes, slice_weights(FinetuneOptions()), 2), codes)
    assert found[0] == pytest.approx([4 / 85] * 4)


def test_adc_counts_only_what_exceeds_the_budget() -> None:
    """Caps 7, 7, 7 and 1: the low slice of column 0 holds 9, two too many; -3 is in another column."""
    options = FinetuneOptions(objective="adc", alpha=1.0, slice_weights=(1, 1, 1, 1))
    codes = layer([[3.0, 3.0], [3.0, 3.0], [3.0, -3.0], [0.0, 64.0]])
    found = column_excess(codes, options.caps("fc"), slice_weights(options), options)
    assert number(found) == 2
    assert gradient(found, codes) == [[1, 0], [1, 0], [1, 0], [0, 0]]


def test_adc_budgets_of_single_layers() -> None:
    tight, loose = layer([[1.0], [1.0]]), layer([[1.0], [1.0]])
    options = FinetuneOptions(objective="adc", alpha=1.0, budget=(1, 1, 1, 1), layer_budgets={"b": (2, 2, 2, 2)})
    both = number(penalty({"a": tight, "b": loose}, [], options))
    assert both == pytest.approx(4 / 85 / 4)
    assert options.caps("b") == (3, 3, 3, 3)


def test_no_objective_is_nothing() -> None:
    assert number(penalty({"fc": layer([[9.0]])}, [], FinetuneOptions(objective="none"))) == 0
