"""place: how many copies of each layer there are, and where every crossbar lies.

    before   resolutions of all conversions, and what the model asks of the chip
    after    copies of every layer and the slot of the first crossbar, as in `bsc.mapping.placement`

Layers lie in the order they run. `copies` says who chooses how many of each: `none` has one, `throughput` makes the
interval between inferences as short as the crossbars at hand allow, `latency` shortens the time of a single one, and
`isaac` is the rule of [isaac16] section VI. At hand are the chips that one copy of each layer needs, or `chips` of
them, and no more than `tiles` tiles altogether, or those of `area` mm². Copies are not bought with which all that an
inference takes over the interval comes to more than `power` watts: crossbar layers, traffic, digital work and what
tiles and chips in use draw all the time; nor where the links of the chips cannot carry more inputs and outputs. With
`pack`, small layers lie on the same crossbars, each on rows and columns of its own, so that one converter serves all
of them within a read; energies and areas of arrays are as if each had them to itself.

A tile is one unit of the level below the chip, whatever the target calls it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from bsc.chip.dataflow import Dataflow, dataflow_of
from bsc.chip.fit import require_power, slots_at_hand
from bsc.chip.segments import place_model, slots_to_load
from bsc.ir.graph import Graph
from bsc.ir.mapped import mapping_of
from bsc.ir.passbase import Pass, PassResult, check_options, required
from bsc.mapping.placement import ChipDemand, CopiesPolicy, Placed, Reloading, Rules


@dataclass(frozen=True)
class Place(Pass):
    """Place all layers; a model that is placed already is left alone.

    Attributes:
        copies: who chooses how many copies of each layer there are.
        chips: how many there are; 0 for as many as one copy of each layer needs.
        tiles: how many tiles of them may be filled; 0 for all.
        area: mm² of the tiles that may be filled; 0 for any.
        power: watts that copies may bring all that an inference takes over the interval to; 0 for any.
        pack: layers that follow each other may share crossbars, on other rows and columns.
    """

    name = "place"
    stage = "place"

    copies: CopiesPolicy = "none"
    chips: int = 0
    tiles: int = 0
    area: float = 0.0
    power: float = 0.0
    pack: Literal["no", "yes"] = "no"

    def __post_init__(self) -> None:
        check_options(
            self,
            ("chips", 0 <= self.chips <= MOST, f"0 to {MOST}"),
            ("tiles", 0 <= self.tiles <= MOST, f"0 to {MOST}"),
            ("area", 0 <= self.area < float("inf"), "0 or more"),
            ("power", 0 <= self.power < float("inf"), "0 or more"),
        )

    def reloading(self) -> Reloading | None:
        """How layers are loaded one after another; None where all are there together."""
        return None

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring.

        Raises:
            DoesNotFitError: BSC404 if one copy of each layer needs more crossbars or power than there are.
            UsageError: BSC206 for an area or a power where the target does not give all areas or energies.
            ModelError: BSC309 if a pass before it is missing.
        """
        layers = list(graph.layers())
        if all(layer.placed is not None for layer in layers):
            return PassResult(graph, ())
        demand = required(graph.demand, layers[0].name, self.name, "assign-adc")

        @cache
        def dataflow() -> Dataflow:
            return dataflow_of(mapping_of(graph))

        placed = self.places(demand, dataflow)
        changed = {layer.name: replace(layer, placed=placed[layer.name]) for layer in layers}
        return PassResult(graph.with_layers(changed), tuple(changed))

    def places(self, demand: ChipDemand, dataflow: Callable[[], Dataflow]) -> dict[str, Placed]:
        """The places of all layers.

        Args:
            demand: of the model.
            dataflow: of the mapping, asked for where times decide.

        Raises:
            DoesNotFitError: as of `run`.
            UsageError: likewise.
        """
        demand = replace(demand, pack=self.pack == "yes")
        if self.power:
            require_power(demand, self.power)
        reload = self.reloading()
        to_load = None if reload is None else slots_to_load(demand, reload, dataflow)
        rules = Rules(
            policy=self.copies,
            slots=slots_at_hand(demand, chips=self.chips, tiles=self.tiles, area_m2=self.area * 1e-6, to_load=to_load),
            power_w=self.power or None,
            pack=demand.pack,
            reload=reload,
        )
        return place_model(demand, rules, dataflow)


MOST = 1_000_000_000
