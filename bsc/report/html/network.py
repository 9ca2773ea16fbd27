"""The network as a list of steps with lines beside it, as version-control tools draw their history.

A list reads the same on a phone, on paper and aloud, however many steps there are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from bsc.mapping.layer import MappedLayer
from bsc.plan.document import PlanDocument
from bsc.report.network import operators_text

ROW, LANE, MARGIN = 30, 14, 12
"""Pixels of a row, between lines, and beside them."""

MOST_LANES = 12
"""Further lines share the last one."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the list.

    Attributes:
        kind: `input`, `layer`, `digital` or `output`.
        name: of the layer or the tensor; what a digital step does.
        layer: its record, for a crossbar layer.
        repeated: the layer was there before: the same crossbars are used once more.
    """

    kind: str
    name: str
    layer: MappedLayer | None = None
    repeated: bool = False


@dataclass(frozen=True, kw_only=True)
class Network:
    """The list and its lines.

    Attributes:
        rows: in the order they run.
        links: (from row, to row, lane); lane 0 joins neighbours.
    """

    rows: tuple[Row, ...]
    links: tuple[tuple[int, int, int], ...]

    @cached_property
    def width(self) -> int:
        """Pixels that the lines take."""
        return 2 * MARGIN + LANE * max((lane for *_, lane in self.links), default=0)

    def drawing(self) -> Markup:
        """The lines and a mark for each row, as SVG."""
        right, height = self.width - MARGIN, ROW * len(self.rows)
        paths = "".join(self._path(right, *link) for link in self.links)
        marks = "".join(_mark(right, position, row.kind) for position, row in enumerate(self.rows))
        return Markup(  # numbers and marks of our own alone
            f'<svg class="links" width="{self.width}" height="{height}" viewBox="0 0 {self.width} {height}" '
            f'aria-hidden="true">{paths}{marks}</svg>'
        )

    def _path(self, right: int, start: int, end: int, lane: int) -> str:
        x, top, bottom = right - LANE * lane, _middle(start), _middle(end)
        if lane == 0:
            return f'<path d="M{right} {top}V{bottom}"/>'
        curve = min(LANE, (bottom - top) // 2)
        return (
            f'<path class="skip" d="M{right} {top}C{x} {top} {x} {top} {x} {top + curve}V{bottom - curve}'
            f'C{x} {bottom} {x} {bottom} {right} {bottom}"/>'
        )


def network(document: PlanDocument) -> Network:
    """The network of a plan."""
    layers = {layer.name: layer for layer in document.layers}
    rows = [Row(kind="input", name=tensor.name) for tensor in document.inputs]
    made = {tensor.name: position for position, tensor in enumerate(document.inputs)}
    reads: list[tuple[int, int]] = []
    used: set[str] = set()
    for step in document.steps:
        reads += [(made[name], len(rows)) for name in dict.fromkeys(step.inputs)]
        made |= dict.fromkeys(step.outputs, len(rows))
        if step.layer is None:
            rows.append(Row(kind="digital", name=operators_text(step.operators) or "copy"))
        else:
            rows.append(Row(kind="layer", name=step.layer, layer=layers[step.layer], repeated=step.layer in used))
            used.add(step.layer)
    for tensor in document.outputs:
        reads.append((made[tensor.name], len(rows)))
        rows.append(Row(kind="output", name=tensor.name))
    return Network(rows=tuple(rows), links=tuple(_links(dict.fromkeys(reads))))


def _links(reads: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Give each link that passes other rows the first lane that is free all along it."""
    links, busy = [], [0] * MOST_LANES  # the row up to which each lane is taken
    for start, end in sorted(reads):
        if end == start + 1:
            links.append((start, end, 0))
            continue
        lane = next((lane for lane, until in enumerate(busy) if until <= start), MOST_LANES - 1)
        busy[lane] = max(busy[lane], end)
        links.append((start, end, lane + 1))
    return links


def _middle(row: int) -> int:
    return ROW * row + ROW // 2


def _mark(x: int, row: int, kind: str) -> str:
    y = _middle(row)
    if kind == "layer":
        return f'<rect class="layer" x="{x - 6}" y="{y - 6}" width="12" height="12" rx="2"/>'
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{5 if kind == "digital" else 4}"/>'
