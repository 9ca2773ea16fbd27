"""The report of a hardware description."""

from dataclasses import dataclass

from rich.console import Group, RenderableType

from bsc.hardware.target import Adc, Target
from bsc.report.text import new_table, plain_text
from bsc.units import format_si

UNITS = {"_bit_per_s": "bit/s", "_bit": "bit", "_j": "J", "_w": "W", "_m2": "m²", "_s": "s", "_hz": "Hz", "_m": "m"}


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetReport:
    """What `bsc hw show` prints.

    Attributes:
        target: the hardware description.
    """

    target: Target

    def __rich__(self) -> RenderableType:
        target = self.target
        sizes = (
            f"{target.crossbar.rows}x{target.crossbar.cols} crossbars of {target.crossbar.bits_per_cell}-bit cells, "
            f"{target.dac.bits}-bit DACs, {target.adc.per_crossbar} ADC of {target.adc.bits} bit {_sharing(target.adc)}"
        )
        *inner, whole = target.level
        levels = f"one {whole.name}" + ", each".join(
            f" of {level.count} {level.name if level.count == 1 else level.several}" for level in reversed(inner)
        )
        offer = target.adc.granularity
        one = "is fixed" if offer.value == "fixed" else f"can be set for each {offer.value}"
        resolution = f"ADC resolution {one} ({offer.kind}: {offer.source})"
        table = new_table("Numbers", ("key", "value", "kind", "source"), 4, numbers={1})
        for key, quantity in target.sources().items():
            unit = next((unit for suffix, unit in UNITS.items() if key.endswith(suffix)), "")
            table.add_row(key, format_si(quantity.value, unit), quantity.kind, quantity.source)
        named = f"{target.name}: {target.description}"
        node = f"{format_si(target.node_m.value, 'm')}: prices hold for this node, and are scaled to no other"
        return Group(plain_text(named, sizes, levels, resolution, node, target.citation, ""), table)


def _sharing(adc: Adc) -> str:
    """What has the converters."""
    if adc.of_pairs:
        return "for each pair of them"
    return "each" if adc.arrays_each == 1 else f"for {adc.arrays_each} of them"
