"""The page of a sweep: what was tried, pictures of the front, and tables that sort. One file that needs no network."""

import itertools
from dataclasses import dataclass

from markupsafe import Markup

from bsc.exploration.designs import FIGURES, Design, Exploration
from bsc.exploration.report import axis_label, chosen, enumerated, show, shown_figures, summary_lines
from bsc.printable import visible
from bsc.report.html.page import render, template_text
from bsc.report.html.scatter import HEIGHT, WIDTH, Axis, Dot, scatter
from bsc.report.text import counted

MOST_DOTS = 5000
MOST_ROWS = 2000
MOST_PLOTS = 3
NAMESPACE = "http://www.w3.org/2000/svg"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        value: what it sorts by; None sorts last.
        number: whether it is one.
    """

    text: str
    value: float | str | None
    number: bool


def explore_page(found: Exploration) -> str:
    """The HTML of the page."""
    figures = shown_figures(found)
    possible = [design for design in found.designs if design.code is None]
    refused = [design for design in found.designs if design.code is not None]
    best = found.best
    return render(
        "explore.html.j2",
        {
            "found": found,
            "summary": summary_lines(found),
            "objectives": enumerated(found.objectives),
            "plots": _plots(found),
            "heads": ["design", *map(axis_label, found.varying), *(FIGURES[name].label for name in figures)],
            "text_columns": 1 + len(found.varying),
            "front": [_cells(found, design, figures) for design in best[:MOST_ROWS]],
            "designs": [
                (_cells(found, design, figures), design.number in found.front, design.command)
                for design in possible[:MOST_ROWS]
            ],
            "refused": [
                (_cells(found, design, []), f"[{design.code}] {design.problem}") for design in refused[:MOST_ROWS]
            ],
            "counts": {
                "front": len(best),
                "possible": len(possible),
                "all_possible": f"All {counted(len(possible), 'design')}" if len(possible) > 1 else "The one design",
                "refused": len(refused),
                "all_refused": counted(len(refused), "design"),
                "shown": MOST_ROWS,
            },
            "refused_heads": ["design", *map(axis_label, found.varying)],
        },
    )


def explore_picture(found: Exploration) -> str:
    """The first picture of the page as an SVG file of its own; "" where nothing can be drawn."""
    plots = _plots(found)
    if not plots:
        return ""
    style = template_text("picture.css") + template_text("plot.css")
    opening, rest = str(plots[0][1]).split(">", 1)
    return f'{opening} xmlns="{NAMESPACE}" width="{WIDTH}" height="{HEIGHT}"><style>{style}</style>{rest}\n'


def _plots(found: Exploration) -> list[tuple[str, Markup]]:
    """Pictures of pairs of objectives, each with what it shows; of one objective beside any other figure."""
    names = [name for name in shown_figures(found) if any(each.figures.get(name) is not None for each in found.designs)]
    objectives = [name for name in found.objectives if name in names]
    pairs = list(itertools.combinations(objectives, 2)) or [(name, names[1]) for name in names[:1] if len(names) > 1]
    plots = []
    for x, y in pairs[:MOST_PLOTS]:
        dots = _dots(found, x, y)
        if dots:
            plots.append((f"{FIGURES[y].label} over {FIGURES[x].label}", scatter(_axis(x), _axis(y), dots)))
    return plots


def _axis(name: str) -> Axis:
    figure = FIGURES[name]
    return Axis(label=figure.label, unit=figure.unit, more_is_better=figure.better == "more")


def _dots(found: Exploration, x: str, y: str) -> list[Dot]:
    """Designs that have both figures: the front, and of the others as many as a picture can show."""
    dots = []
    for design in found.designs:
        across, up = design.figures.get(x), design.figures.get(y)
        if across is not None and up is not None:
            dots.append(
                Dot(
                    x=across,
                    y=up,
                    name=str(design.number),
                    tooltip=_tooltip(found, design),
                    on_front=design.number in found.front,
                    group=visible(design.choices["adc-law"]) if found.several_laws else "",
                )
            )
    others = [dot for dot in dots if not dot.on_front]
    return [*others[:: -(-len(others) // MOST_DOTS) or 1], *(dot for dot in dots if dot.on_front)]


def _tooltip(found: Exploration, design: Design) -> str:
    figures = [f"{FIGURES[name].label} {show(name, design.figures[name])}" for name in shown_figures(found)]
    return "\n".join(map(visible, (f"design {design.number}: {chosen(found, design)}", ", ".join(figures))))


def _cells(found: Exploration, design: Design, figures: list[str]) -> list[Cell]:
    cells = [Cell(text=str(design.number), value=design.number, number=True)]
    for axis in found.varying:
        # Values in the order of the space file: 64x64 before 128x128.
        place = list(found.axes[axis]).index(design.choices[axis])
        cells.append(Cell(text=design.choices[axis], value=place, number=False))
    values = [(name, design.figures[name]) for name in figures]
    return [*cells, *(Cell(text=show(name, value), value=value, number=True) for name, value in values)]
