"""The page of a sweep and its pictures: what is drawn where, and what is told."""

import csv
import io
import re
from dataclasses import replace

import pytest

from bsc.exploration.designs import CHIP_FIGURES, FIGURES, NOISE_FIGURES, Design, Exploration
from bsc.exploration.files import exploration_csv
from bsc.exploration.page import explore_page, explore_picture
from bsc.exploration.report import ExplorationReport, summary_lines
from bsc.report.html.scatter import Axis, Dot, scatter
from bsc.report.text import to_text

JOULES = Axis(label="energy", unit="J", more_is_better=False)
ACCURACIES = ("accuracy", *NOISE_FIGURES)
SHARE = Axis(label="accuracy", unit="%", more_is_better=True)


def dot(x: float, y: float, *, on_front: bool = True, group: str = "") -> Dot:
    return Dot(x=x, y=y, name="7", tooltip="<all>", on_front=on_front, group=group)


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_ticks_are_round_and_have_one_unit() -> None:
    svg = scatter(JOULES, SHARE, [dot(20e-9, 0.9), dot(70e-9, 0.98)])
    assert texts(svg)[:-4] == ["90", "92.5", "95", "97.5", "20", "30", "40", "50", "60", "70"]
    assert texts(svg)[-4:-2] == ["energy (nJ)", "accuracy (%)"]


def test_wide_ranges_are_logarithmic() -> None:
    svg = scatter(JOULES, SHARE, [dot(1e-9, 0.9), dot(1e-6, 0.98)])
    assert [text for text in texts(svg) if re.fullmatch(r"0\.0*1|1", text)] == ["0.001", "0.01", "0.1", "1"]


def test_the_front_is_a_line_of_steps() -> None:
    """Less energy and more accuracy are better: from the cheapest to the most accurate, over what is on the front."""
    dots = [dot(30e-9, 0.97), dot(20e-9, 0.9), dot(25e-9, 0.96), dot(40e-9, 0.96, on_front=False)]
    svg = scatter(JOULES, SHARE, dots)
    ((across, up),) = re.findall(r'class="front" d="M([\d.]+) ([\d.]+)H', svg)
    steps = re.findall(r"H([\d.]+)V([\d.]+)", svg)
    assert len(steps) == 2
    xs, ys = [float(across), *(float(x) for x, _ in steps)], [float(up), *(float(y) for _, y in steps)]
    assert xs == sorted(xs)
    assert ys == sorted(ys, reverse=True)  # up the picture
    assert svg.count('class="dot"') == 1
    assert "&lt;all&gt;" in svg


def test_equal_values_are_drawn() -> None:
    svg = scatter(JOULES, SHARE, [dot(0.0, 0.5), dot(0.0, 0.5)])
    assert "nan" not in svg
    assert svg.count("<circle") == 2


def exploration(**changes: object) -> Exploration:
    def design(number: int, energy: float | None, area: float | None) -> Design:
        figures = dict.fromkeys(FIGURES, 1.0) | dict.fromkeys((*ACCURACIES, *CHIP_FIGURES))
        figures |= {"energy": energy, "area": area}
        choices = {"model": "m.onnx", "xbar": f"{number}x1"}
        command = "bsc compile m.onnx --passes 'a{b=<1>}'"
        return Design(number=number, choices=choices, pipeline="a{b=<1>}", command=command, figures=figures)

    refused = Design(number=3, choices={"model": "m.onnx", "xbar": "3x1"}, figures={}, code="BSC205", problem="<no>")
    settings = {
        "model": "m.onnx",
        "space": "s.toml",
        "method": "grid",
        "grid": 4,
        "axes": {"model": ["m.onnx"], "xbar": ["0x1", "1x1", "2x1", "3x1"]},
        "objectives": ("energy", "area"),
        "designs": [design(0, 2e-9, 1e-6), design(1, 1e-9, 2e-6), design(2, 1e-9, None), refused],
        "front": frozenset({0, 1}),
    }
    return Exploration(**settings | changes)  # type: ignore[arg-type]


def test_the_page_needs_nothing_else_and_escapes_everything() -> None:
    page = explore_page(exploration())
    assert re.findall(r"""(?:src|href)=["']([^"']*)|url\(|@import|https?://""", page) == ["data:,"]
    assert "[BSC205] &lt;no&gt;" in page
    assert "bsc compile m.onnx --passes &#39;a{b=&lt;1&gt;}&#39;" in page
    assert page.count("<svg") == 1
    front = re.findall(r'<tr class="on"><td data-value="(\d+)">', page)
    assert front == ["1", "0", "0", "1"]  # the front by energy, then all in their order


def test_a_sweep_without_anything_is_told_too() -> None:
    nothing = exploration(front=frozenset(), designs=[exploration().designs[3]])
    assert "<svg" not in explore_page(nothing)
    assert explore_picture(nothing) == ""
    assert to_text(ExplorationReport(found=nothing)) == (
        "model    m.onnx\n"
        "space    s.toml, 4 designs, grid\n"
        "tried    1, 0 of which can exist\n"
        "front    0 that no other design beats in energy and area\n"
        "refused  1 with [BSC205] <no>\n"
    )


def test_the_picture_is_a_file_of_its_own() -> None:
    picture = explore_picture(exploration())
    assert picture.startswith("<svg ")
    assert 'xmlns="http://www.w3.org/2000/svg"' in picture
    assert picture.endswith("</svg>\n")
    assert "--adc" in picture


def test_text() -> None:
    assert to_text(ExplorationReport(found=exploration())) == (
        "model    m.onnx\n"
        "space    s.toml, 4 designs, grid\n"
        "tried    4, 3 of which can exist\n"
        "front    2 that no other design beats in energy and area\n"
        "unknown  1 design has no known area\n"
        "refused  1 with [BSC205] <no>\n"
        "\n"
        "Front in energy and area\n"
        "\n"
        " design   xbar    energy       area   ADC energy   latency   crossbars\n"
        " ─────────────────────────────────────────────────────────────────────\n"
        " 1        1x1    1.00 nJ   2.00 mm²       1.00 J    1.00 s           1\n"
        " 0        0x1    2.00 nJ   1.00 mm²       1.00 J    1.00 s           1\n"
        "\n"
    )


def test_csv() -> None:
    lines = exploration_csv(exploration()).splitlines()
    assert lines[0] == (
        "number,model,xbar,adc_energy_j,energy_j,latency_s,area_m2,crossbars,accuracy,on_front,error,problem,pipeline,"
        "command"
    )
    assert lines[1] == "0,m.onnx,0x1,1.0,2e-09,1.0,1e-06,1.0,,yes,,,a{b=<1>},bsc compile m.onnx --passes 'a{b=<1>}'"
    assert lines[4] == "3,m.onnx,3x1,,,,,,,no,BSC205,<no>,,"


def test_each_objective_that_designs_lack_has_a_line() -> None:
    def lacking(number: int, *names: str) -> Design:
        figures = dict.fromkeys(FIGURES, 1.0) | dict.fromkeys((*names, *NOISE_FIGURES))
        return Design(number=number, choices={"xbar": f"{number}x1"}, pipeline="a", figures=figures)

    designs = [lacking(0, "area"), lacking(1, "energy"), lacking(2, "energy"), lacking(3), exploration().designs[3]]
    lines = summary_lines(exploration(designs=designs, objectives=("energy", "area")))
    assert [text for name, text in lines if name == "unknown"] == [
        "2 designs have no known energy",
        "1 design has no known area",
    ]
    assert ("space", "s.toml, 1 design, grid") in summary_lines(exploration(grid=1))


def test_a_front_that_is_empty_is_told_and_no_table() -> None:
    first, *_, refused = exploration().designs
    page = explore_page(exploration(front=frozenset(), designs=[refused]))
    assert "The front is empty: none of the designs that were tried can exist." in page
    assert page.count("<table") == 1  # of the refused one
    assert "1 design that cannot exist" in page
    page = explore_page(exploration(front=frozenset(), designs=[replace(first, figures=dict.fromkeys(FIGURES))]))
    assert "The front is empty: no design has a known value in energy and area." in page
    assert "The one design that can exist" in page
    assert page.count("<table") == 1


def test_csv_shows_carriage_returns() -> None:
    first = exploration().designs[0]
    text = exploration_csv(exploration(designs=[replace(first, choices={"model": "m\r.onnx", "xbar": "0x1"})]))
    assert list(csv.reader(io.StringIO(text, newline="")))[1][1] == "m\\r.onnx"


@pytest.mark.parametrize("laws", [1, 2])
def test_fronts_of_several_laws_are_named(laws: int) -> None:
    names = ["isaac", "saberi"][:laws]
    found = exploration()
    designs = [
        Design(
            number=each.number,
            choices={**each.choices, "adc-law": names[each.number % laws]},
            pipeline=each.pipeline,
            figures=each.figures,
        )
        for each in found.designs[:2]
    ]
    several = exploration(axes={**found.axes, "adc-law": names}, designs=designs)
    page = explore_page(several)
    assert page.count('class="front"') == laws
    assert ("under the same ADC law" in page) == (laws == 2)
    text = to_text(ExplorationReport(found=several))
    condition = ", under the same ADC law" if laws == 2 else ""
    assert f"  2 that no other design beats in energy and area{condition}\n" in text
    assert f"Front in energy and area{condition}\n" in text
