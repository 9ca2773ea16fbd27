"""What the layers of a mapping ask of a chip, and what places for crossbars a chip has."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bsc.chip.budget import tile_area_m2
from bsc.cost.counts import LayerCounts
from bsc.cost.price import add, energy_by_action, read_s
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.mapping.layer import UNIFORM_POLICIES, MappedLayer
from bsc.mapping.model import MappingRecord
from bsc.mapping.placement import ChipDemand, Floor, LayerDemand, Part
from bsc.numeric.encoding import Encoding


def chip_demand(
    mapping: MappingRecord,
    counts: Sequence[LayerCounts],
    target: Target,
    law: AdcLaw,
    baseline: Encoding | None = None,
) -> ChipDemand:
    """What a mapping, or a baseline of it, asks of chips.

    Inputs and outputs are carried in as many bits a value as the codes of layer inputs have.

    Args:
        mapping: the mapping.
        counts: of its layers, or of the same layers in a baseline.
        target: the hardware.
        law: how the price of a conversion follows its resolution.
        baseline: encoding of the baseline that is counted; None for the mapping itself.
    """

    def demand(layer: MappedLayer, each: LayerCounts) -> LayerDemand:
        crossbars = int(each.crossbars.sum())
        return LayerDemand(
            name=layer.name,
            crossbars=crossbars,
            vectors=layer.vectors,
            vector_s=each.reads * read_s(each, target) / layer.vectors if crossbars else 0.0,
            energy_j=add(energy_by_action(each, target, law).values()),
            part=_part(layer, each, target, baseline) if crossbars else None,
            weight_bits=layer.rows * layer.columns * (layer.weight_bits + 1),
        )

    carried = sum(math.prod(tensor.shape) for tensor in (*mapping.inputs, *mapping.outputs) if tensor.shape is not None)
    value_bits = max((layer.input_bits for layer in mapping.layers), default=0)
    tile = target.level[-2]
    links = [link.count * link.bandwidth_bit_per_s.value / link.shared_by for link in target.level[-1].link.values()]
    return ChipDemand(
        floor=floor_of(target),
        layers=tuple(demand(layer, each) for layer, each in zip(mapping.layers, counts, strict=True)),
        io_bits=carried * value_bits,
        value_bits=value_bits,
        link_bits_per_s=math.fsum(links) or None,
        tile=(tile.name, tile.several),
        tile_m2=tile_area_m2(target),
        crossbar_cells=max((layer.tile_rows * layer.tile_cols for layer in mapping.layers), default=0),
    )


def _part(layer: MappedLayer, counts: LayerCounts, target: Target, baseline: Encoding | None) -> Part | None:
    """What a layer takes of crossbars that it may share.

    Such a layer has one row tile and one column tile, and converters whose resolution follows the column or is the same
    for all; and its crossbars are read no later if all of their columns are converted.
    """
    rows, columns, encoding = layer.mapped_rows, layer.mapped_columns, layer.encoding
    planes, alike = layer.slices * layer.cells.polarities, layer.adc_policy in UNIFORM_POLICIES
    if baseline is not None:  # nothing is left out
        rows, columns, encoding = layer.rows, layer.columns, baseline
        planes, alike = int(counts.crossbars.sum()), True
    columns += int(encoding != "differential")
    full = replace(
        counts,
        conversions_per_read=layer.tile_cols,
        bits_per_read=layer.tile_cols * int(np.flatnonzero(counts.conversions).max(initial=0)),
    )
    small = rows <= layer.tile_rows and columns <= layer.tile_cols and layer.groups == 1
    own_resolutions = alike or layer.adc_granularity == "column"
    if not small or not own_resolutions or read_s(full, target) > target.timing.read_s.value:
        return None
    return Part(rows=rows, columns=columns, of_rows=layer.tile_rows, of_columns=layer.tile_cols, planes=planes)


def floor_of(target: Target) -> Floor:
    """The places for crossbars of a design.

    Where there is a level between arrays and chip, the smallest units of it take crossbars of one layer only.
    """
    counts = tuple(level.count for level in target.level if level.count is not None)
    return Floor(levels=counts, shared=counts[0] if len(counts) > 1 else 1)
