from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bsc.compiler import slice_widths as cuts
from bsc.compiler.slice_widths import choose_cuts, compositions, cut_error
from bsc.replay.dataset import random_dataset
from bsc.replay.reference import reference_results
from bsc.replay.tally import LayerTally
from bsc.testing import conv_model, mlp_model
from tests.bsc.plans import coded, mapped, model_plan, only_layer


def test_compositions_by_hand() -> None:
    assert list(compositions(5)) == [(1, 4), (2, 3), (3, 2), (4, 1), *[c for c in compositions(5) if len(c) > 2]]
    found = list(compositions(8))
    assert len(found) == len(set(found)) == 108  # [raella23]
    assert found[0] == (4, 4)
    assert {sum(cut) for cut in found} == {8}
    assert [len(cut) for cut in found] == sorted(map(len, found))


def test_an_error_by_hand() -> None:
    """Two codes 255 around a centre of 255 are nothing; 255 and -255 around 0 are 15 and 15 in two slices of 4 bits.

    All 64 rows of one sign driven at once give 64 * 15 = 960 in each slice, which is read as 63: the result is
    17 * 63 * 255 in place of 17 * 960 * 255, and 8 bits of it have steps of 2**22 / 2**8.
    """
    same, arrays = only_layer(mapped(coded(np.full((128, 1), 255))))
    inputs = np.full((1, 1, 128), 255.0)
    assert cut_error(same, arrays, (4, 4), inputs) == 0
    codes = np.repeat([[255], [-255]], 64, axis=0)
    layer, arrays = only_layer(mapped(coded(codes)))
    inputs[:, :, 64:] = 0
    step = 2.0 ** (22 - 8)
    expected = round(17 * 960 * 255 / step) - round(17 * 63 * 255 / step)
    assert cut_error(layer, arrays, (4, 4), inputs) == expected
    assert cut_error(layer, arrays, (1,) * 8, inputs) == round(255 * 255 * 64 / step) - round(255 * 255 * 63 / step)


@pytest.mark.parametrize("cut", [(4, 4), (2, 2, 4), (3, 2, 3), (1,) * 8])
def test_errors_are_those_of_the_reference(cut: tuple[int, ...]) -> None:
    random = np.random.default_rng(sum(cut) + len(cut))
    layer, arrays = only_layer(mapped(coded(random.integers(-255, 256, (200, 5)))))
    inputs = random.integers(0, 256, (7, 1, 200))
    tried, cut_arrays = cuts._recut(layer, arrays, cut)
    read = reference_results(tried, cut_arrays, inputs, LayerTally())
    exact = inputs[:, 0] @ arrays.codes.astype(np.int64)
    step = 2.0 ** (np.ceil(np.log2(abs(exact).max())) - 7)
    difference = abs(np.rint(read / step) - np.rint(exact / step))
    assert cut_error(layer, arrays, cut, inputs.astype(np.float64)) == difference[np.rint(exact / step) != 0].mean()


def test_the_first_number_of_slices_that_is_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {(4, 4): 0.5, (4, 3, 1): 0.08, (3, 1, 4): 0.05, (2, 2, 2, 2): 0.0}
    monkeypatch.setattr(cuts, "cut_error", lambda _layer, _arrays, cut, _codes: errors.get(cut, 1.0))
    layer, arrays = only_layer(mapped(coded([[1]])))
    assert cuts._choose(layer, arrays, np.zeros((1, 1, 1))) == (3, 1, 4)
    monkeypatch.setattr(cuts, "cut_error", lambda _layer, _arrays, cut, _codes: float(cut != (2, 2, 4)) + 0.09)
    assert cuts._choose(layer, arrays, np.zeros((1, 1, 1))) == (2, 2, 4)  # none is: the best of all


def test_the_last_layer_has_slices_of_one_bit(tmp_path: Path) -> None:
    plan = model_plan(mlp_model(20, 9, 5), tmp_path, rows=128).mapping
    data = random_dataset(plan.inputs, dynamic_batch=True, samples=20, seed=0)
    found = choose_cuts(plan, data)
    assert list(found) == ["fc0", "fc1"]
    assert (found["fc0"], found["fc1"]) == ((4, 4), (1,) * 8)  # 20 rows never fill 7 bits
    assert choose_cuts(plan, data) == found
    assert choose_cuts(plan, replace(data, free_batch=False)) == found


def test_convolutions_are_tried_on_a_part_of_their_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = model_plan(conv_model(channels=3, filters=4), tmp_path).mapping
    data = random_dataset(plan.inputs, dynamic_batch=True, samples=3, seed=0)
    monkeypatch.setattr(cuts, "MAX_VECTORS", 5)
    (vectors,) = cuts._input_vectors(plan, data).values()
    assert len(vectors) == 5
