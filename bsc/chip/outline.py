"""What of a mapping its places, times and traffic follow from, beside its counts: enough to put it onto many chips.

It has no weights, so that it is small, and a mapping is compiled once for however many chips it is tried on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bsc.chip.dataflow import Dataflow, dataflow_of
from bsc.cost.layouts import CopyLayout, plan_layout
from bsc.mapping.model import MappedModel, MappingRecord


@dataclass(frozen=True, eq=False, kw_only=True)
class Outline:
    """The outline of a mapping, or of a baseline of it.

    Attributes:
        record: sizes of its layers, inputs and outputs.
        dataflow: which rows of which layers wait for each other, and the digital work between them.
        layouts: which part of a layer each crossbar of a copy holds, by layer; None where there are too many to follow.
    """

    record: MappingRecord
    dataflow: Dataflow
    layouts: Sequence[CopyLayout] | None


def outline_of(mapping: MappedModel) -> Outline:
    """The outline of a mapping, whose arrays are read once."""
    return Outline(
        record=mapping.record,
        dataflow=dataflow_of(mapping),
        layouts=tuple(plan_layout(layer, mapping.arrays(layer)) for layer in mapping.layers),
    )
