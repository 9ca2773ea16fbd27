"""reload: place a model that is larger than the chips, in segments of layers that are loaded one after another.

    before   as for `place`
    after    segment of every layer, its copies, and the slot of the first crossbar within the segment

A segment is written over the one before it, computes `batch` inferences, and gives way to the next. Where to cut, and
how many copies of each layer its segment has by `copies`, is what makes a batch take the shortest time; see
`bsc.chip.segments`. A cell takes `cell-s` seconds, after the others of its crossbar, and `cell-j` joules to write, and
endures `updates` of that, or an unknown number if that is 0. `bsc compile --reload` takes all three from a device,
whose name is recorded.
"""

from dataclasses import dataclass

from bsc.ir.passbase import Clash, check_options
from bsc.mapping.placement import Reloading
from passes.place import MOST, Place


@dataclass(frozen=True)
class Reload(Place):
    """Place all layers in segments; a model that is placed already is left alone.

    Attributes:
        batch: inferences between two writings.
        cell_s: seconds of writing a cell.
        cell_j: joules of it.
        updates: times that a cell endures it; 0 is unknown.
        device: name of the device that says so, or none.
    """

    name = "reload"

    batch: int = 16
    cell_s: float = 0.0
    cell_j: float = 0.0
    updates: float = 0.0
    device: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        infinite = float("inf")
        check_options(
            self,
            ("batch", 1 <= self.batch <= MOST, f"1 to {MOST}"),
            ("cell-s", 0 <= self.cell_s < infinite, "0 or more"),
            ("cell-j", 0 <= self.cell_j < infinite, "0 or more"),
            ("updates", 0 <= self.updates < infinite, "0 or more"),
            ("device", len(self.device) <= 1, "one name"),
            clashes=[
                Clash(
                    there=bool(self.power),
                    problem="a power budget says nothing of writing",
                    seen=f"power={self.power:g}",
                    fix="leave power out, or use the pass 'place'",
                )
            ],
        )

    def reloading(self) -> Reloading:
        """What writing takes."""
        return Reloading(
            batch=self.batch,
            cell_s=self.cell_s,
            cell_j=self.cell_j,
            updates=self.updates or None,
            device=next(iter(self.device), None),
        )
