"""The layout search: row orders and active rows that cost least.

A pass sees one layer and no prices. Here whole pipelines are tried instead, one candidate for all layers at a time;
each layer then takes the candidate under which its own energy is least, all actions together. What comes out are
passes, so that the plan's pipeline line is a full recipe that needs no search.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bsc.compiler.steps import Steps
from bsc.cost.counts import count_mapping
from bsc.cost.price import Cost, price
from bsc.errors import UsageError
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.mapped import mapping_of
from bsc.ir.passbase import Pass
from bsc.ir.pipeline import run_pipeline
from passes.permute import Permute, RowOrder
from passes.tile import Tile

AS_IS: RowOrder = "as-is"
MAX_BALANCED = 1 << 32
"""Rows times groups times columns up to which a layer's rows are balanced: some seconds."""
MOST_GROUPS = 32
"""Row groups of a tile up to which they are tried: per-column arrays grow with their number."""


@dataclass(frozen=True, kw_only=True)
class LayoutSearch:
    """What is tried.

    Attributes:
        law: ADC law that energies are compared under.
        orders: row orders; columns are sorted with any but "as-is". The first of equals wins.
        active_rows: try the divisors of a crossbar's rows, down to one `MOST_GROUPS`th of them.
    """

    law: AdcLaw
    orders: tuple[RowOrder, ...]
    active_rows: bool


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to lay out a layer.

    Attributes:
        rows: order of the rows.
        active_rows: wordlines that are driven together.
    """

    rows: RowOrder
    active_rows: int


@dataclass(frozen=True, kw_only=True)
class LayoutChoice:
    """What was chosen for one layer, beside rows as they are and as many driven as `tile` says.

    Attributes:
        layer: its name.
        chosen: how it is laid out.
        energy_j: its energy in one inference.
        energy_before_j: without the search.
        latency_s: its latency.
        latency_before_s: without the search.
    """

    layer: str
    chosen: Candidate
    energy_j: float
    energy_before_j: float
    latency_s: float
    latency_before_s: float


def choose_layout(
    graph: Graph, steps: Steps, target: Target, what: LayoutSearch
) -> tuple[Steps, tuple[LayoutChoice, ...]]:
    """Choose a layout for every layer.

    Args:
        graph: as it is before `tile`.
        steps: of the pipeline; of resolutions that data will be asked for, the lossless ones are priced.
        target: prices.
        what: what is tried.

    Returns:
        The steps with the choices written into their layout, and the choices.

    Raises:
        UsageError: BSC206 when an action of the target has no price.
    """
    tile, *rest = steps.layout
    assert isinstance(tile, Tile)

    names = [layer.name for layer in graph.layers()]

    def cost_of(candidate: Candidate, tried: list[str]) -> Cost:
        """Of the whole model, with one candidate for all layers that it is tried on."""
        permute = _permute(candidate, () if len(tried) == len(names) else tuple(tried))
        laid = [*permute, replace(tile, active_rows=candidate.active_rows)]
        mapped, _ = run_pipeline(graph, [*laid, *rest, *steps.lossless.assign])
        return price(count_mapping(mapping_of(mapped)), target, what.law, None)

    before = Candidate(rows=AS_IS, active_rows=tile.active_rows)
    reference = cost_of(before, names)
    best: dict[str, tuple[Candidate, float, float]] = {}
    for active_rows in _active_rows(tile) if what.active_rows else (tile.active_rows,):
        for rows in what.orders:
            candidate = Candidate(rows=rows, active_rows=active_rows)
            tried = names if len(what.orders) == 1 else _within_reach(graph, candidate)
            if not tried:
                continue
            cost = reference if candidate == before else cost_of(candidate, tried)
            for name in tried:
                energy = _energy(cost, name, target)
                if name not in best or energy < best[name][1]:
                    best[name] = candidate, energy, cost.latency_s[name]
    choices = tuple(
        LayoutChoice(
            layer=name,
            chosen=candidate,
            energy_j=energy,
            energy_before_j=_energy(reference, name, target),
            latency_s=latency,
            latency_before_s=reference.latency_s[name],
        )
        for name in names
        for candidate, energy, latency in [best[name]]
    )
    return replace(steps, layout=(*_passes(tile, choices), *rest)), choices


def _active_rows(tile: Tile) -> list[int]:
    """Divisors of a crossbar's rows, from as many as `tile` drives downwards."""
    fewest = max(1, tile.rows // MOST_GROUPS)
    return [rows for rows in range(tile.active_rows, fewest - 1, -1) if tile.rows % rows == 0]


def _within_reach(graph: Graph, candidate: Candidate) -> list[str]:
    """Layers that a candidate is tried on beside others."""

    def products(layer: CrossbarLayer) -> int:
        rows, columns = layer.mapped_shape
        return rows * -(-rows // candidate.active_rows) * columns

    layers = graph.layers()
    return [layer.name for layer in layers if candidate.rows != "balanced" or products(layer) <= MAX_BALANCED]


def _permute(candidate: Candidate, only: tuple[str, ...]) -> Iterator[Permute]:
    if candidate.rows != AS_IS:
        group = candidate.active_rows if candidate.rows == "balanced" else Permute.group_rows
        yield Permute(rows=candidate.rows, columns="sorted", group_rows=group, only=only)


def _energy(cost: Cost, layer: str, target: Target) -> float:
    energy = cost.layer_energy_j(layer)
    if energy is None:
        unknown = next(action for action, price_ in cost.energy_j[layer].items() if price_ is None)
        raise UsageError(
            "BSC206",
            f"target '{target.name}': a search needs the price of every action",
            seen=f"no price of '{unknown}' for this plan",
            fix="add it to the hardware description, or choose without a search: --permute none, --active-rows N",
        )
    return energy


def _passes(tile: Tile, choices: Sequence[LayoutChoice]) -> Iterator[Pass]:
    """The passes that lay out every layer as it was chosen."""
    by_candidate: dict[Candidate, list[str]] = {}
    by_rows: dict[int, list[str]] = {}
    for choice in choices:
        by_candidate.setdefault(choice.chosen, []).append(choice.layer)
        by_rows.setdefault(choice.chosen.active_rows, []).append(choice.layer)

    def only(names: list[str]) -> tuple[str, ...]:
        return () if len(names) == len(choices) else tuple(names)

    yield from itertools.chain.from_iterable(_permute(each, only(names)) for each, names in by_candidate.items())
    common = max(by_rows, key=lambda rows: len(by_rows[rows]), default=tile.active_rows)
    for rows, names in by_rows.items():
        if rows != common:
            yield replace(tile, active_rows=rows, only=tuple(names))
    yield replace(tile, active_rows=common)
