"""A few of the plans of tests/oracle/run.py, and that the oracle notices what it is there for."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.oracle.bounds import bounds
from tests.oracle.cases import MODELS, Model, mlp
from tests.oracle.costs import baseline, energies, spent
from tests.oracle.plan import Layer, column_tiles, read_folder
from tests.oracle.report import differences, figures
from tests.oracle.run import recorded, run_bsc, run_case
from tests.oracle.values import input_codes, run_layer, vectors

PLANS = 25
ORACLE = ("plan", "values", "bounds", "costs", "report")


@pytest.mark.filterwarnings("ignore")
def test_bsc_and_the_oracle_agree(tmp_path: Path) -> None:
    kinds, compiled, compared = set(), 0, 0
    for number in range(PLANS):
        (tmp_path / str(number)).mkdir()
        outcome = run_case(0, number, tmp_path / str(number))
        assert outcome.problems == [], f"python -m tests.oracle.run --only {number}"
        kinds.add(outcome.case.kind)
        compiled += outcome.code == "ok"
        compared += outcome.compared.total()
    assert kinds == set(MODELS)
    assert compiled > PLANS // 2
    assert compared > 100_000


def test_the_oracle_shares_nothing_with_bsc() -> None:
    """Imported by itself it brings none of the compiler with it."""
    command = f"import sys, {', '.join(f'tests.oracle.{name}' for name in ORACLE)}; print(*sys.modules)"
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=root)
    assert not re.findall(r"\b(?:bsc|passes|hw_models)(?:\.\w+)*\b", done.stdout)


def hand_made(**changes: Any) -> Layer:
    """Codes 3 and -2 in one column, on 2-bit cells of differential pairs, inputs of 2 bits, a DAC of 1."""
    record = {
        "name": "fc", "op_type": "MatMul", "rows": 2, "columns": 1, "groups": 1, "vectors": 1, "conv": None,
        "weight_bits": 2, "input_bits": 2, "input_signed": False, "input_scale": 0.5, "input_zero_point": 0,
        "mapped_rows": 2, "mapped_columns": 1, "permuted": False, "slice_bits": [2], "encoding": "differential",
        "subtraction": "digital", "flip": False, "dac_bits": 1, "tile_rows": 4, "tile_cols": 4, "active_rows": 4,
    }  # fmt: skip
    arrays: dict[str, Any] = {
        "codes": np.array([[3], [-2]]),
        "adc_bits": np.array([[[[1], [1]]]]),
        "adc_lsb": np.array([[[[3], [2]]]]),
        "allocated": np.ones((1, 1, 1, 2), bool),
    }
    wanted = record | {"adc_policy": "lossless", "adc_granularity": "column"}
    return Layer(
        wanted | {k: v for k, v in changes.items() if k in wanted},
        arrays | {k: v for k, v in changes.items() if k not in wanted},
    )


def test_bounds_by_hand() -> None:
    found = bounds(hand_made())
    assert found.sums.ravel().tolist() == [3, 2]
    assert found.gcds.ravel().tolist() == [3, 2]
    assert found.bits.ravel().tolist() == [1, 1]
    assert found.lossless.all()
    assert not bounds(hand_made(adc_lsb=np.array([[[[2], [2]]]]))).lossless.all()
    assert not bounds(hand_made(adc_bits=np.array([[[[0], [1]]]]))).lossless.all()


def test_bounds_of_pairs_by_hand() -> None:
    pair = {"subtraction": "analog", "adc_bits": np.array([[[[3]]]]), "adc_lsb": np.ones((1, 1, 1, 1), int)}
    found = bounds(hand_made(**pair, adc_low=np.array([[[[-2]]]])))
    assert (found.low.item(), found.high.item(), found.divisor.item(), found.bits.item()) == (-2, 3, 1, 3)
    assert found.lossless.all()
    assert not bounds(hand_made(**pair, adc_low=np.array([[[[-5]]]]))).lossless.all()


def test_replay_by_hand() -> None:
    codes = np.array([[[3, 1]], [[0, 2]]])
    run = run_layer(hand_made(), codes)
    assert run.integers.ravel().tolist() == [7, -4]
    assert run.results.ravel().tolist() == [7, -4]
    assert (run.conversions, run.clipped) == (2 * 2 * 2, 0)
    clipped = run_layer(hand_made(adc_lsb=np.array([[[[1], [2]]]])), codes)
    assert clipped.results.ravel().tolist() == [1 * 3 - 2, -4]
    assert clipped.clipped == 2
    flipped = hand_made(encoding="offset", flip=True, weight_bits=1, codes=np.array([[1], [0]]),
                        flipped=np.ones((1, 1, 1, 1), bool), adc_bits=np.array([[[[2]]]]),
                        adc_lsb=np.ones((1, 1, 1, 1), int))  # fmt: skip
    assert flipped.levels().ravel().tolist() == [0, 1]
    assert run_layer(flipped, codes).results.ravel().tolist() == [3, 0]


def test_codes_by_hand() -> None:
    codes, worth = input_codes(hand_made(), np.array([[0.25, 9.0], [0.75, -1.0]], np.float32))
    assert codes.tolist() == [[[0, 3]], [[2, 0]]]  # halves to even
    assert worth.tolist() == [[0.5], [0.5]]
    codes, worth = input_codes(hand_made(input_scale=None, input_signed=True), np.array([[0.5, -3.0]], np.float32))
    assert (codes.tolist(), worth.tolist()) == ([[[0, -2]]], [[2.0]])


def test_windows_by_hand() -> None:
    conv = {"kernel": [2], "strides": [2], "dilations": [2], "pads": [[1, 0]]}
    found = vectors(hand_made(conv=conv, groups=2), np.arange(1, 9).reshape(1, 2, 4), pad=-1)
    assert found.tolist() == [[[-1, 2], [-1, 6]], [[2, 4], [6, 8]]]


def test_column_tiles_by_hand() -> None:
    assert column_tiles(9, 6, 1, 16, 4) == [range(4), range(4, 6)]
    assert column_tiles(4, 6, 3, 16, 4) == [range(4), range(4, 6)]
    assert column_tiles(9, 6, 3, 16, 4) == [range(2), range(2, 4), range(4, 6)]


def test_counts_by_hand() -> None:
    target = {
        "crossbar": {"bits_per_cell": 8},
        "dac": {"bits": 1},
        "adc": {"bits": 8},
        "level": [
            {"action": {
                "adc": {"counter": "conversions", "energy_j": {"value": 2.0}},
                "dac": {"counter": "rows_driven", "energy_j": {"value": 3.0}},
                "unknown": {"counter": "cells_read"},
            }}
        ],
    }  # fmt: skip
    counts = spent(hand_made())
    assert dict(counts.conversions) == {1: 2 * 2}
    assert counts.counters == {
        "conversions": 4, "rows_driven": 2 * 2 * 2, "cells_read": 2 * 16 * 2, "columns_sampled": 4,
        "partial_results": 4, "driver_bits": 8, "buffer_bits": 6, "moved_bits": 2 * 2 + 2 * 1,
    }  # fmt: skip
    assert energies(target, hand_made(), counts, "linear") == {"adc": 4 * 2.0 / 8, "dac": 24.0, "unknown": None}
    offset = baseline(hand_made(), "offset", 2)
    assert dict(offset.conversions) == {8: 2 * 2 * 2}  # two slices of three bits, each with a unit column


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oracle")
    model, _ = mlp(Model(Random(0)))
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    assert run_bsc("compile", str(folder / "m.onnx"), "--xbar", "8x8", "-o", str(folder / "m.bsc"))[0] == 0
    return folder / "m.bsc"


@pytest.mark.parametrize("name", ["sums", "gcds", "nonzeros", "adc_bits", "allocated"])
def test_an_array_that_is_wrong_is_noticed(plan: Path, name: str) -> None:
    layer = next(iter(read_folder(plan).layers.values()))
    assert recorded(layer, Counter()) == []
    array = layer.arrays[name].copy()
    array.flat[0] = not array.flat[0] if array.dtype == bool else array.flat[0] + 1
    assert recorded(Layer(layer.record, layer.arrays | {name: array}), Counter()) != []


def test_every_figure_that_is_wrong_is_noticed(plan: Path) -> None:
    """All that is added to a report, once each."""
    report = json.loads((plan / "report.json").read_text(encoding="utf-8"))
    expected = figures(read_folder(plan), "isaac")
    assert differences(expected, report) == []
    paths = list(_leaves(expected))
    assert len(paths) > 300
    for path in paths:
        altered = json.loads(json.dumps(report))
        place = altered
        for key in path[:-1]:
            place = place[key]
        value = place[path[-1]]
        place[path[-1]] = 1 if value is None else not value if isinstance(value, bool) else value * (1 + 1e-8) + 1e-300
        if place[path[-1]] == value:
            place[path[-1]] = 1
        assert differences(expected, altered), path


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path
        return
    for key, each in items:
        yield from _leaves(each, (*path, key))
