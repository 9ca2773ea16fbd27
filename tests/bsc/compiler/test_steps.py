import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.compiler.steps import Steps
from bsc.errors import UsageError
from passes import PASSES

ADC = ("assign-adc", "calibrate-adc", "budget-adc")


def steps(text: str) -> Steps:
    return Steps.of([PASSES[name]() for name in text.split()])


def names(steps: Steps) -> tuple[str, str, str]:
    prepare, layout, assign = (
        " ".join(step.name for step in part) for part in (steps.prepare, steps.layout, steps.assign)
    )
    return prepare, layout, assign


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("quantize slice-bits eliminate tile assign-adc", ("quantize slice-bits eliminate", "tile", "assign-adc")),
        ("quantize permute tile tile budget-adc", ("quantize permute", "tile tile", "budget-adc")),
        ("tile eliminate calibrate-adc quantize", ("", "tile eliminate", "calibrate-adc quantize")),
        ("quantize assign-adc tile", ("quantize", "", "assign-adc tile")),
        ("quantize", ("quantize", "", "")),
    ],
)
def test_by_hand(text: str, parts: tuple[str, str, str]) -> None:
    assert names(steps(text)) == parts


@given(st.lists(st.sampled_from(sorted(PASSES)), min_size=1), st.data())
def test_parts_are_the_pipeline_in_order(passes: list[str], data: st.DataObject) -> None:
    found = steps(" ".join(passes))
    assert [step.name for step in found.all] == passes
    assert not {"tile", *ADC} & {step.name for step in found.prepare}
    assert not set(ADC) & {step.name for step in found.layout}
    assert found.until(None) == found
    last = data.draw(st.sampled_from(passes))
    some = [step.name for step in found.until(last).all]
    assert some == passes[: len(some)]
    assert some[-1] == last
    assert last not in passes[len(some) :]


def test_words_for_a_pass_that_is_not_there() -> None:
    with pytest.raises(UsageError) as caught:
        steps("quantize tile").until("permute")
    assert str(caught.value) == (
        "[BSC205] --stop-after names no pass of the pipeline: 'permute'\n"
        "  seen: passes quantize, tile\n"
        "  fix:  use one of these names"
    )
