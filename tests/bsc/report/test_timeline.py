"""Timelines as text, by hand and by law."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.report.text import to_text
from bsc.report.timeline import WIDTH, Timeline, shortened, timeline, timeline_text
from tests.bsc.plans import coded, plan_of
from tests.bsc.report.reports import changed, report_of

PLAN = plan_of(coded([[3, 255], [-1, 80]], name="first"), coded([[7, 9], [1, 2]], name="second", input="y", output="z"))
REPORT = report_of(PLAN)


def lines_of(*times: tuple[float, float, float, float], latency_s: float = 8e-6) -> list[str]:
    """Of two layers with start, end, work and what they add."""
    report = changed(REPORT, "chip.plan.latency_s", latency_s)
    for name, values in zip(("first", "second"), times, strict=True):
        for field, value in zip(("start_s", "end_s", "busy_s", "critical_s"), values, strict=True):
            report = changed(report, f"chip.layers.{name}.{field}", value)
    return to_text(timeline_text(changed(report, "chip.plan.bottleneck", "first"))).splitlines()


def test_a_timeline_by_hand() -> None:
    """69 characters of room: the first layer has half of them, the second works a quarter of the last half."""
    assert lines_of((0, 4e-6, 4e-6, 4e-6), (4e-6, 8e-6, 1e-6, 4e-6)) == [
        "Timeline, one inference: 8.00 µs",
        "",
        " > first   " + "█" * 34 + "▌",
        " * second  " + " " * 34 + "░" * 35,
        " " * 11 + "└" + "─" * 20 + "┴" + "─" * 21 + "┴" + "─" * 20 + "┴" + "─" * 4,
        " " * 11 + "0 µs                 2.5 µs                5 µs",
        "",
        " > sets the interval, * is on the chain of rows that sets the latency",
        " █▓▒░ works up to all, three quarters, half, a quarter of the time",
        "",
    ]


@pytest.mark.parametrize(
    ("busy", "shade"), [(0, "░"), (1, "░"), (1.01, "▒"), (2, "▒"), (2.01, "▓"), (3, "▓"), (3.01, "█")]
)
def test_shades_say_how_much_of_the_time_a_layer_works(busy: float, shade: str) -> None:
    bar = lines_of((0, 4e-6, busy * 1e-6, 0), (0, 8e-6, 0, 0))[2]
    assert bar[11] == shade


def test_what_adds_nothing_has_no_mark() -> None:
    assert lines_of((0, 4e-6, 4e-6, 4e-6), (0, 1e-6, 1e-6, 0))[3].startswith("   second  █")


times = st.floats(0, 1e-3, allow_subnormal=False)


@given(st.lists(st.tuples(times, times, times, times), min_size=2, max_size=2))
def test_every_layer_has_a_bar_within_the_lines(drawn: list[tuple[float, float, float, float]]) -> None:
    ordered = [(min(start, end), max(start, end), busy, adds) for start, end, busy, adds in drawn]
    lines = lines_of(*ordered, latency_s=1e-3)
    assert all(len(line) <= WIDTH for line in lines)
    assert all(line[11:].strip() for line in lines[2:4])


def test_layers_of_zeros_take_no_time() -> None:
    text = timeline_text(report_of(plan_of(coded(np.zeros((2, 2), int)), eliminate=True)))
    assert to_text(text) == "Timeline, one inference: 0 s\n\n no layer takes time\n\n"


@pytest.mark.parametrize(
    ("span_s", "labels"),
    [
        (8e-6, ["0 µs", "2.5 µs", "5 µs", "7.5 µs"]),
        (10e-6, ["0 µs", "2.5 µs", "5 µs", "7.5 µs", "10 µs"]),
        (193e-6, ["0 µs", "50 µs", "100 µs", "150 µs"]),
        (0.9e-3, ["0 µs", "250 µs", "500 µs", "750 µs"]),
        (0.0, []),
    ],
)
def test_ticks_are_round(span_s: float, labels: list[str]) -> None:
    ticks = Timeline(bars=(), span_s=span_s).ticks()
    assert [label for _, label in ticks] == labels
    assert all(0 <= share <= 1 + 1e-9 for share, _ in ticks)


def test_bars_are_in_the_order_of_the_plan() -> None:
    shown = timeline(REPORT)
    assert [bar.name for bar in shown.bars] == ["first", "second"]
    assert [bar.slowest for bar in shown.bars].count(True) == 1
    assert sum(bar.adds_s for bar in shown.bars) == pytest.approx(REPORT.chip.plan.latency_s)


@pytest.mark.parametrize(("most", "text"), [(13, "features.conv"), (12, "featur….conv"), (4, "fe…v")])
def test_names_lose_their_middle(most: int, text: str) -> None:
    assert shortened("features.conv", most) == text
