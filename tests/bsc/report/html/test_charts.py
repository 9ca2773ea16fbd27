import re

import pytest

from bsc.report.html.charts import BOTTOM, HEIGHT, TOP, RatioAxis, bit_histogram


def test_bars_are_as_tall_as_their_counts() -> None:
    picture = bit_histogram("two & three", {"0": 5, "2": 10}, {"3": 20}, 3)
    full = HEIGHT - TOP - BOTTOM
    found = re.findall(r'<rect class="([a-z ]+)"[^>]* height="([0-9.]+)"><title>([^<]+)<', picture)
    assert [(kind, float(tall), title) for kind, tall, title in found] == [
        ("assigned unread", full / 4, "5 assigned, 0 bit"),
        ("assigned", full / 2, "10 assigned, 2 bit"),
        ("proved", full, "20 proved, 3 bit"),
    ]
    assert 'role="img" aria-label="two &amp; three"' in picture
    assert re.findall(r'class="tick"[^>]*>([^<]+)<', picture) == ["0", "1", "2", "3", "ADC bits"]


def test_a_histogram_of_nothing_is_empty() -> None:
    assert "<rect" not in bit_histogram("nothing", {}, {}, 0)


@pytest.mark.parametrize(
    ("ratios", "low", "high"),
    [
        ([], 1, 10),
        ([None, 1.0], 1, 10),
        ([0.5], 0.1, 10),
        ([9.99], 1, 10),
        ([10.0], 1, 100),
        ([0.01, 250.0], 0.01, 1000),
    ],
)
def test_axis_ends_at_powers_of_ten_around_all_ratios(ratios: list[float | None], low: float, high: float) -> None:
    axis = RatioAxis.over(ratios)
    assert [axis.low, axis.high] == pytest.approx([low, high])


def test_dots_lie_on_a_logarithmic_axis() -> None:
    picture = RatioAxis(low=1, high=100).dots(10.0, 1.0)
    assert 'cx="130.0"' in picture  # the middle
    assert '<rect class="total" x="-4.0"' in picture  # around the left end
    assert 'aria-label="ADC only 10.0×, total 1.00×"' in picture


def test_unknown_ratios_have_no_dots() -> None:
    picture = RatioAxis(low=1, high=10).dots(None, None)
    assert "<circle" not in picture
    assert "<rect" not in picture
    assert "n/a" in picture
