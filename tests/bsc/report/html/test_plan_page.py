import re
from html.parser import HTMLParser

import numpy as np
import pytest

import hw_models
from bsc.cost.compare import compare
from bsc.hardware.target import Target
from bsc.plan.document import Plan
from bsc.report.html.plan_page import plan_page
from bsc.units import format_ratio, format_si
from passes.assign_adc import AssignAdc
from tests.bsc.plans import ISAAC, coded, plan_of
from tests.bsc.report.reports import report_of
from tests.bsc.targets import without_areas, without_price

LAWS = hw_models.laws()


def page(plan: Plan, target: Target = ISAAC, max_bytes: int = 1_000_000) -> str:
    return plan_page(plan, report_of(plan, target=target), max_bytes=max_bytes)


def small(**options: object) -> Plan:
    return plan_of(coded(np.arange(12).reshape(4, 3)), **options)  # type: ignore[arg-type]


class Checker(HTMLParser):
    """Notes what a page loads, labels that lead nowhere and tags that are not closed."""

    VOID = ("meta", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag not in self.VOID and not tag.startswith(("path", "rect", "circle")):
            self.open.append(tag)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.references += [named[key] or "" for key in ("aria-labelledby", "aria-describedby") if key in named]
        self.references += [(named["href"] or "")[1:] for _ in [0] if tag == "a"]
        self.loads += [
            value or "" for key, value in attrs if key in ("src", "href") and not (value or "").startswith("#")
        ]

    def handle_endtag(self, tag: str) -> None:
        if tag in ("path", "rect", "circle"):
            return
        assert self.open.pop() == tag


def test_page_is_whole_in_itself() -> None:
    text = page(small())
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert set(checker.references) <= set(checker.ids)
    assert checker.loads == ["data:,"]
    assert "default-src 'none'" in text
    assert re.findall(r"https?://|//cdn|@import|url\(", text) == []


def test_figures_are_those_of_the_report() -> None:
    plan = small()
    cost = compare(plan.mapping, ISAAC, LAWS["isaac"], LAWS)
    text = page(plan)
    full_j = report_of(plan).chip.plan.energy.total_j
    assert f"<b>{format_si(full_j, 'J')}</b>energy, full total" in text
    assert f"<b>{format_si(cost.plan.total_energy_j, 'J')}</b>energy, crossbar layers" in text
    isaac = next(each for each in cost.spread if each.law.name == "isaac")
    assert f"<b>{format_ratio(isaac.adc)}</b>less ADC energy" in text
    assert f"uniform 8 bit <i>{format_ratio(isaac.total)} win</i>" in text
    assert "<strong>24</strong> of 24 slice columns proved lossless for any input" in text


def test_what_is_not_proved_is_called_assumed() -> None:
    text = page(small(adc=AssignAdc(policy="fixed", bits=1)))
    proved, assumed = (
        int(re.findall(rf"<strong>(\d+)</strong> {words}", text)[0]) for words in ("of 24 slice", "assumed")
    )
    assert proved + assumed == 24
    assert assumed > 0
    assert "fixed per column" in text


def test_names_are_only_text() -> None:
    name = "</script><img src=x onerror=alert(1)>&'\""
    text = page(plan_of(coded([[1, 2]], name=name)))
    assert "<img" not in text
    checker = Checker()
    checker.feed(text)
    assert checker.loads == ["data:,"]
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in text


def test_more_is_not_called_less() -> None:
    """Sixteen rows at a time: fewer bits a conversion, but far more conversions."""
    plan = plan_of(coded(np.arange(512).reshape(256, 2) % 200), active_rows=8)
    cost = compare(plan.mapping, ISAAC, LAWS["isaac"], LAWS)
    isaac = next(each for each in cost.spread if each.law.name == "isaac")
    assert isaac.adc is not None
    assert isaac.adc < 1
    assert f"<b>{format_ratio(1 / isaac.adc)}</b>more ADC energy" in page(plan)


@pytest.mark.parametrize("options", [{"encoding": "offset"}, {"cut": "4-2-2"}, {}], ids=["offset", "cut", "pairs"])
def test_crossbars_left_out_are_of_the_same_mapping(options: dict[str, object]) -> None:
    plan = plan_of(coded([[0, 0], [0, 3]]), eliminate=True, **options)  # type: ignore[arg-type]
    totals = report_of(plan).totals
    assert totals.crossbars < totals.possible_crossbars
    tile = f"<b>{totals.crossbars}</b>crossbars <span>{totals.possible_crossbars} if none were left out</span>"
    assert tile in page(plan)


def test_unknown_costs_are_not_zero() -> None:
    target = without_areas(without_price(ISAAC, "bus_bit"))
    text = page(small(target=target), target)
    assert "<b>n/a</b>energy, full total" in text
    assert "<b>n/a</b>area" in text
    assert "the hardware description gives no areas" in text
    assert "of the known energy without static power, without bus;" in text


def test_rows_of_actions_say_how_they_are_counted() -> None:
    words = "one bit carried between tile buffer and IMA; Bits of inputs and outputs carried between the buffer and the"
    assert f'title="{words}' in page(small())


def test_cells_are_left_out_where_there_is_no_room() -> None:
    assert '"cells":{}' in page(small(), max_bytes=0)
    assert "This file holds the cells of 0 of 8 crossbars" in page(small(), max_bytes=0)
    assert "This file holds" not in page(small())


@pytest.mark.parametrize(
    "plan",
    [
        small(subtraction="analog", encoding="centre"),
        small(encoding="offset", flip="yes"),
        plan_of(coded([[0, 0]]), eliminate=True),
        plan_of(coded([[1, 1], [1, 1]], groups=2)),
        small(cut="4-2-2"),
    ],
    ids=["pairs", "flipped", "zeros", "groups", "unequal slices"],
)
def test_every_kind_of_plan_has_a_page(plan: Plan) -> None:
    checker = Checker()
    checker.feed(page(plan))
    assert checker.open == []


def test_same_plan_same_page() -> None:
    assert page(small()) == page(small())
