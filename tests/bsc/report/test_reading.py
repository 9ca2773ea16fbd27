"""Report files that are read again: what fits is read, all else is one clear error."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bsc.report.reading
from bsc.errors import BscError
from bsc.plan.folder import to_json
from bsc.report.reading import read_report
from tests.bsc.plans import coded, plan_of
from tests.bsc.report.reports import report_of

REPORT = report_of(plan_of(coded([[3]])))


def read(path: Path, change: Callable[[Any], None]) -> str:
    """The error that a changed report gives."""
    parsed = json.loads(to_json(REPORT))
    change(parsed)
    path.write_text(json.dumps(parsed), encoding="utf-8")
    with pytest.raises(BscError) as caught:
        read_report(path)
    return str(caught.value)


def test_a_report_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(to_json(REPORT), encoding="utf-8")
    assert read_report(path) == REPORT


def put(value: object, *keys: str | int) -> Callable[[Any], None]:
    def change(part: Any) -> None:
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (put(1, "schema_version"), "schema_version: Input should be 2"),
        (put(3, "schema_version"), "schema_version: Input should be 2"),
        (put(1, "more"), "more: Extra inputs are not permitted"),
        (put({}, "layers"), "Value error, layers and slices are not those of the plan"),
        (put([], "layers", "fc", "slices"), "Value error, layers and slices are not those of the plan"),
        (put([], "totals", "slices"), "Value error, slices of all layers together are not those of the plan"),
        (put([], "cost", "adc_law_names"), "cost: Value error, ADC laws and their names do not fit together"),
        (put({}, "cost", "adc_laws"), "cost: Value error, ADC laws and their names do not fit together"),
        (put("mine", "cost", "adc_law"), "cost: Value error, ADC laws and their names do not fit together"),
        (
            put(-0.5, "layers", "fc", "mean_adc_bits"),
            "layers.fc.mean_adc_bits: Input should be greater than or equal to 0",
        ),
        (put({}, "cost", "conversions"), "Value error, costs are not those of the plan's layers"),
        (put({}, "cost", "isaac_offset_8_bit", "layers"), "Value error, costs are not those of the plan's layers"),
        (put({}, "cost", "plan", "units"), "cost: Value error, areas or units are not those of the target"),
        (
            put({"x": 1.0}, "cost", "plan", "area_by_part_m2"),
            "cost: Value error, areas or units are not those of the target",
        ),
        (
            put({"x": 1.0}, "cost", "uniform_8_bit", "layers", "fc", "energy_by_action_j"),
            "cost: Value error, energies are not those of the target's actions",
        ),
        (put(float("nan"), "cost", "plan", "energy_j"), "cost.plan.energy_j: Input should be a finite number"),
        (put(float("inf"), "cost", "plan", "latency_s"), "cost.plan.latency_s: Input should be a finite number"),
        (put(-1, "cost", "plan", "units", "tile"), "cost.plan.units.tile: Input should be greater than or equal to 0"),
        (
            put(1 << 63, "cost", "plan", "units", "tile"),
            "cost.plan.units.tile: Input should be less than or equal to 9223372036854775807",
        ),
        (
            put({"17": 1}, "cost", "conversions", "fc"),
            "cost.conversions.fc.17.[key]: String should match pattern '^([0-9]|1[0-6])$'",
        ),
        (put("x", "plan", "model", "sha256"), "plan.model.sha256: String should match pattern '^[0-9a-f]{64}$'"),
    ],
)
def test_what_does_not_fit(change: Callable[[Any], None], seen: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert read(path, change) == (
        f"[BSC313] '{path}' is not a report of this version of bsc\n"
        f"  seen: {seen}\n"
        "  fix:  write it again with 'bsc report PLAN --json'"
    )


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"schema_version":' + b"9" * 5000 + b"}"]
)
def test_what_is_no_report(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(BscError) as caught:
        read_report(tmp_path / "report.json")
    assert caught.value.code == "BSC313"
    assert "\n" not in caught.value.seen


def test_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    path.write_text(to_json(REPORT), encoding="utf-8")
    size = path.stat().st_size
    monkeypatch.setattr(bsc.report.reading, "MAX_REPORT_BYTES", size)
    assert read_report(path) == REPORT
    monkeypatch.setattr(bsc.report.reading, "MAX_REPORT_BYTES", size - 1)
    with pytest.raises(BscError, match=rf"seen: more than {size - 1} bytes"):
        read_report(path)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(BscError) as caught:
        read_report(tmp_path / "none.json")
    assert str(caught.value) == (
        f"[BSC202] '{tmp_path / 'none.json'}' cannot be opened\n"
        "  seen: No such file or directory\n"
        "  fix:  give a plan folder that 'bsc compile' wrote, or its report.json"
    )
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BscError, match="seen: no regular file"):
        read_report(tmp_path / "pipe")
