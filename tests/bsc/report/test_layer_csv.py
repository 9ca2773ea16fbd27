"""The layers of a report as CSV."""

import csv
import io

import numpy as np
import pytest

from bsc.report.layer_csv import layer_csv
from tests.bsc.plans import coded, plan_of
from tests.bsc.report.reports import changed, report_of


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_by_hand() -> None:
    """Codes 2, 1 and -1: slice 0 has the sums 3 (+, 2 bits) and 1 (-, 1 bit), every other column is all zero."""
    report = report_of(plan_of(coded([[2], [1], [-1]])))
    (row,) = rows(layer_csv(report))
    shown = {name: row[name] for name in ("layer", "operator", "rows", "columns", "crossbars", "conversions")}
    assert shown == {
        "layer": "fc",
        "operator": "MatMul",
        "rows": "3",
        "columns": "1",
        "crossbars": "8",
        "conversions": "16",
    }
    assert (row["mean_adc_bits"], row["largest_adc_bits"], row["proved_share"]) == ("0.375", "2", "1.0")
    assert (row["density_slice_0"], row["density_slice_1"]) == ("1.0", "0.0")
    assert (row["largest_sum_slice_0"], row["mean_adc_bits_slice_0"], row["largest_adc_bits_slice_3"]) == (
        "3",
        "1.5",
        "0",
    )
    assert float(row["energy_j"]) == report.cost.plan.energy_j
    assert float(row["adc_energy_j"]) == report.cost.plan.adc_energy_j
    assert float(row["area_m2"]) == report.cost.plan.area_m2
    assert float(row["uniform_8_bit_energy_j"]) == report.cost.uniform_8_bit.energy_j


def test_columns_add_up() -> None:
    report = report_of(plan_of(coded([[1, -2]], name="a"), coded([[7]], name="b", input="y", output="z")))
    found = rows(layer_csv(report))
    for row in found:
        parts = [float(value) for name, value in row.items() if name.endswith("_energy_j") and "8_bit" not in name]
        assert sum(parts) == pytest.approx(float(row["energy_j"]))
    assert sum(float(row["area_m2"]) for row in found) == pytest.approx(report.cost.plan.area_m2)


def test_rows_are_in_the_order_of_the_plan_and_lines_end_in_a_newline() -> None:
    report = report_of(plan_of(coded([[1]], name="z"), coded([[1]], name="a", input="y", output="z")))
    text = layer_csv(report)
    assert [row["layer"] for row in rows(text)] == ["z", "a"]
    assert "\r" not in text
    assert text.count("\n") == 3


@pytest.mark.parametrize("name", ['quo"te', "com,ma", "größe", "a=1+1", "中文"])
def test_names_are_kept(name: str) -> None:
    (row,) = rows(layer_csv(report_of(plan_of(coded([[1]], name=name)))))
    assert row["layer"] == name


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("@a", "'@a"),
        ("\N{FULLWIDTH EQUALS SIGN}a", "'\N{FULLWIDTH EQUALS SIGN}a"),
        ("new\nline", "new\\nline"),
        ("carriage\rreturn", "carriage\\rreturn"),
        ("\t=1", "\\t=1"),
        ("\x1b[2J", "\\x1b[2J"),
    ],
)
def test_names_are_neither_formulas_nor_control_characters(name: str, cell: str) -> None:
    text = layer_csv(report_of(plan_of(coded([[1]], name=name))))
    (row,) = rows(text)
    assert row["layer"] == cell
    assert len(text.splitlines()) == 2


def test_unknown_figures_are_empty() -> None:
    report = report_of(plan_of(coded([[1]])))
    for path, value in (("energy_j", None), ("adc_energy_j", None), ("energy_by_action_j", {})):
        report = changed(report, f"cost.plan.layers.fc.{path}", value)
    (row,) = rows(layer_csv(report))
    assert (row["energy_j"], row["adc_energy_j"], row["bus_bit_energy_j"]) == ("", "", "")


def test_layers_of_fewer_slices_have_empty_cells() -> None:
    one = report_of(plan_of(coded([[1]], name="a", weight_bits=4), coded([[1]], name="b", input="y", output="z")))
    (short, long) = rows(layer_csv(one))
    assert [short[f"density_slice_{index}"] for index in range(4)] == ["1.0", "0.0", "", ""]
    assert "" not in [long[f"density_slice_{index}"] for index in range(4)]


def test_layers_that_are_all_zero_have_no_mean() -> None:
    (row,) = rows(layer_csv(report_of(plan_of(coded(np.zeros((2, 2))), eliminate=True))))
    assert (row["mean_adc_bits"], row["proved_share"], row["largest_adc_bits"]) == ("", "", "0")


def test_names_of_columns_are_unique() -> None:
    names = layer_csv(report_of(plan_of(coded([[1]])))).splitlines()[0].split(",")
    assert len(set(names)) == len(names)
