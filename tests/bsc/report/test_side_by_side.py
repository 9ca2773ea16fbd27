"""Plans side by side, as text and as JSON."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from bsc.report.side_by_side import ComparedPlan, SideBySideReport, side_by_side_json
from bsc.report.text import to_text
from passes.assign_adc import AssignAdc
from passes.calibrate_adc import CalibrateAdc
from tests.bsc.plans import coded, plan_of
from tests.bsc.report.reports import changed, read_back, report_of
from tests.passes.observed import plan_from_data


def text(*plans: ComparedPlan) -> str:
    return to_text(SideBySideReport(plans=plans, paper_law="saberi"))


def two_plans(law: str = "isaac") -> tuple[ComparedPlan, ComparedPlan]:
    same = coded([[7]], name="same", input="y", output="z")
    first = report_of(plan_of(coded([[3, 255], [-1, 255]]), same), law)
    other = report_of(plan_of(coded([[3, 255], [-1, 255]]), same, adc=AssignAdc(granularity="slice")), law)
    return (
        ComparedPlan(name="first", report=first, accuracy=0.75),
        ComparedPlan(name="other", report=changed(other, "plan.pipeline", "made,otherwise"), accuracy=0.5),
    )


def test_two_plans() -> None:
    assert text(*two_plans()) == EXPECTED


EXPECTED = """\
first  tiny.onnx (000000000000) on isaac, a step for each input vector
       made by hand
other  the same model, hardware and input ranges
       - made by hand
       + made
       + otherwise

One inference, ADC law 'isaac'; ratios to first

                                         first         other           ratio
 ───────────────────────────────────────────────────────────────────────────
 crossbars                                  16            16           1.00×
 mean ADC bits of a slice column          0.50          0.71          0.706×
 largest                                     2             3
 slice columns proved                  100.00%       100.00%
 accuracy by replay                     75.00%        50.00%   -25.00 points

 conversions                                64            64           1.00×
 ADC conversions                       17.6 pJ       25.0 pJ          0.705×
 DAC row drives                        75.0 pJ       75.0 pJ           1.00×
 crossbar reads                        3.84 nJ       3.84 nJ           1.00×
 sample and hold                        188 fJ        188 fJ           1.00×
 shift and add                         1.25 pJ       1.25 pJ           1.00×
 input register                        23.3 pJ       23.3 pJ           1.00×
 output register                       1.44 pJ       1.44 pJ           1.00×
 eDRAM buffer                          3.83 pJ       3.83 pJ           1.00×
 bus                                   2.59 pJ       2.59 pJ           1.00×
 energy                                3.97 nJ       3.97 nJ          0.998×
 latency                               1.60 µs       1.60 µs           1.00×
 area                                0.223 mm²     0.223 mm²          0.999×

 inferences                           1.25 M/s      1.25 M/s           1.00×
 latency on the chip                    800 ns        800 ns           1.00×
 interval                               800 ns        800 ns           1.00×
 16 inferences                         12.8 µs       12.8 µs           1.00×
 dynamic power                         4.96 mW       4.97 mW          0.998×
 energy x delay                       3.17 fJs      3.18 fJs          0.998×
 operations/s                        12.5 MOPS     12.5 MOPS           1.00×
 operations/s/W                    2.52 GOPS/W   2.52 GOPS/W          0.998×
 operations/s/mm²                    56.1 MOPS     56.0 MOPS          0.999×
 area, all copies                    0.223 mm²     0.223 mm²          0.999×
 chips                                       1             1
 tiles                                       1             1

 ADC conversions, law 'saberi'         4.10 pJ       5.27 pJ          0.778×
 energy, law 'saberi'                  3.95 nJ       3.95 nJ           1.00×

 ADC saving over 8 bit, 'isaac'          17.0×         12.0×
 total saving, 'isaac'                   1.07×         1.07×
 ADC saving over 8 bit, 'saberi'         73.1×         56.9×
 total saving, 'saberi'                  1.08×         1.08×


Layers that differ; alike in every plan: 1

 layer   plan    crossbars   mean, max bits   proved   conversions   ADC energy    energy    ratio   latency
 ───────────────────────────────────────────────────────────────────────────────────────────────────────────
 fc      first           8          0.62, 2   100.0%            48      14.7 pJ   2.01 nJ             800 ns
         other           8          0.94, 3   100.0%            48      22.0 pJ   2.01 nJ   0.996×    800 ns

as recorded  the pipeline: nothing in a plan can show that they are true
"""


def test_reports_that_were_read_back_are_shown_alike() -> None:
    plans = two_plans()
    again = [ComparedPlan(name=each.name, report=read_back(each.report), accuracy=each.accuracy) for each in plans]
    assert text(*again) == text(*plans)
    assert side_by_side_json(again, "saberi") == side_by_side_json(plans, "saberi")


def test_equal_plans_have_no_layer_that_differs() -> None:
    report = report_of(plan_of(coded([[3]])))
    shown = text(ComparedPlan(name="one", report=report), ComparedPlan(name="two", report=report))
    assert "two  the same model, hardware and input ranges\n     the same pipeline\n" in shown
    assert "Layers that differ" not in shown
    assert "accuracy" not in shown


def test_another_model_and_hardware_are_said() -> None:
    one = report_of(plan_of(coded([[3]])))
    two = report_of(plan_of(coded([[3]], name="elsewhere")))
    for path, value in (
        ("plan.model.file", "b.onnx"),
        ("plan.model.sha256", "1" * 64),
        ("cost.target", "mine"),
        ("cost.target_sha256", "2" * 64),
    ):
        two = changed(two, path, value)
    shown = text(ComparedPlan(name="one", report=one), ComparedPlan(name="two", report=two))
    assert (
        "two  ANOTHER MODEL, b.onnx (111111111111): layers are matched by name alone; other hardware, mine\n" in shown
    )
    lines = [line.split() for line in shown.splitlines()]
    (where,) = [position for position, cells in enumerate(lines) if cells[:2] == ["fc", "one"]]
    assert lines[where + 1] == ["two", *"--------"]


def test_other_hardware_of_the_same_name_is_said() -> None:
    one = report_of(plan_of(coded([[3]])))
    two = changed(one, "cost.target_sha256", "2" * 64)
    assert "two  other hardware, isaac\n" in text(
        ComparedPlan(name="one", report=one), ComparedPlan(name="two", report=two)
    )


def test_a_law_that_a_report_does_not_have() -> None:
    first, other = two_plans()
    laws = {name: law for name, law in other.report.cost.adc_laws.items() if name != "saberi"}
    cost = other.report.cost.model_copy(update={"adc_laws": laws})
    without = ComparedPlan(name="other", report=other.report.model_copy(update={"cost": cost}))
    (line,) = [line for line in text(first, without).splitlines() if line.startswith(" energy, law 'saberi'")]
    assert line.split()[3:] == ["3.95", "nJ", "n/a", "n/a"]


def test_the_paper_law_is_not_shown_twice() -> None:
    shown = text(*two_plans("saberi"))
    assert "law 'saberi'\n" not in shown
    assert shown.count("ADC saving over 8 bit") == 1


def test_json() -> None:
    first, other = two_plans()
    found = json.loads(json.dumps(side_by_side_json([first, other], "saberi"), allow_nan=False))
    assert (found["adc_law"], found["paper_adc_law"]) == ("isaac", "saberi")
    reference, against = found["plans"]
    assert set(reference["ratios"].values()) == {1.0}
    assert against["ratios"]["conversions"] == 1.0
    assert against["ratios"]["adc_energy"] < 1
    assert against["same_model"]
    assert (against["pipeline_added"], against["pipeline_removed"]) == (["made", "otherwise"], ["made by hand"])
    assert list(against["layers"]) == ["fc", "same"]
    assert against["accuracy"] == 0.5


def test_pairs_are_called_so_and_shares_add_up() -> None:
    """Both columns of a pair have one conversion: shares are of those."""
    codes = np.random.default_rng(0).integers(-255, 256, (40, 9))
    inputs = np.random.default_rng(1).integers(0, 256, (3, 40))
    plan = plan_from_data(codes, inputs, CalibrateAdc(), subtraction="analog")
    pairs = ComparedPlan(name="pairs", report=report_of(plan))
    lines = text(two_plans()[0], pairs).splitlines()
    assert any(line.startswith(" mean ADC bits of a slice column or pair ") for line in lines)
    shares = [line.split()[-1] for line in lines if line.startswith(" slice columns or pairs ")]
    assert len(shares) == 2
    assert sum(float(share.removesuffix("%")) for share in shares) == pytest.approx(100, abs=0.02)
    with pytest.raises(ValidationError, match=r"rests_on\.calibrated\n  Input should be less than or equal to 1"):
        changed(pairs.report, "totals.rests_on.calibrated", 1.68)
