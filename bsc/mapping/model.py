"""A whole mapped model: its layers, their arrays, and the program that runs layers and digital operators."""

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bsc.errors import UsageError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.toml_record import Record

DigitalFile = Annotated[str, Field(pattern=r"^digital/[0-9]{4,9}\.onnx$")]


class TensorRecord(Record):
    """A model input or output."""

    name: str
    shape: tuple[NonNegativeInt, ...] | None = Field(description="null where it is not known before a run")
    dtype: str
    batch_axis: NonNegativeInt | None = Field(
        description="the axis that samples lie along; null where there is none, or none that is known"
    )
    values: tuple[float, float] | None = Field(description="lowest and highest value of an input, as far as is known")

    @model_validator(mode="after")
    def _has_its_batch_axis(self) -> Self:
        if self.batch_axis is not None and self.shape is not None and self.batch_axis >= len(self.shape):
            raise ValueError("the batch axis is none of the tensor's")
        return self


class StepRecord(Record):
    """One step of the program: a crossbar layer, or a file of digital operators."""

    layer: str | None = Field(default=None, description="name of the crossbar layer")
    digital: DigitalFile | None = Field(default=None, description="ONNX file of the digital operators")
    operators: dict[str, PositiveInt] = Field(default={}, description="digital operators by ONNX type")
    inputs: tuple[str, ...] = Field(description="tensors it reads")
    outputs: tuple[str, ...] = Field(min_length=1, description="tensors it writes")

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.layer is None) == (self.digital is None):
            raise ValueError("a step is either a layer or a file of digital operators")
        if self.layer is not None and (len(self.inputs), len(self.outputs)) != (1, 1):
            raise ValueError("a layer reads one tensor and writes one")
        return self


class MappingRecord(Record):
    """Everything of a mapping but its arrays and its digital operators."""

    inputs: tuple[TensorRecord, ...] = Field(min_length=1)
    outputs: tuple[TensorRecord, ...] = Field(min_length=1)
    steps: tuple[StepRecord, ...] = Field(description="in the order they run")
    layers: tuple[MappedLayer, ...] = Field(
        description="in the order they run; arrays of the first are in layers/0000.safetensors, and so on"
    )
    free_batch: bool = Field(description="any number of samples may run at once; counts are for a batch of one")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names) or set(names) != {step.layer for step in self.steps if step.layer}:
            raise ValueError("layers and steps do not name the same layers")
        made = {tensor.name for tensor in self.inputs}
        for step in self.steps:
            if not made.issuperset(step.inputs):
                raise ValueError("a step reads a tensor before any step has written it")
            made.update(step.outputs)
        if not made.issuperset(tensor.name for tensor in self.outputs):
            raise ValueError("no step writes an output of the model")
        return self

    @model_validator(mode="after")
    def _is_placed_without_overlap(self) -> Self:
        placed = [layer.placed for layer in self.layers if layer.placed is not None]
        if not placed:
            return self
        if len(placed) < len(self.layers) or any(each.rules != placed[0].rules for each in placed):
            raise ValueError("layers are not placed together")
        segments = [each.segment for each in placed]
        if segments[0] or any(after - before not in (0, 1) for before, after in pairwise(segments)):
            raise ValueError("segments are not runs of layers, counted from 0")
        if segments[-1] and placed[0].rules.reload is None:
            raise ValueError("segments are reloaded that nobody asked for")
        taken = sorted({(each.segment, each.first_slot, each.end_slot) for each in placed if each.crossbars_per_copy})
        if any(one == other and end > start for (one, _, end), (other, start, _) in pairwise(taken)):
            raise ValueError("two layers have crossbars in one place")
        sharing: dict[tuple[int, int], list[MappedLayer]] = {}
        for layer in self.layers:
            if layer.placed is not None and layer.placed.crossbars_per_copy:
                sharing.setdefault((layer.placed.segment, layer.placed.first_slot), []).append(layer)
        if not all(map(_lie_apart, sharing.values())):
            raise ValueError("two layers have rows or columns of a crossbar in one place")
        if any(end > placed[0].rules.slots for _, _, end in taken):
            raise ValueError("crossbars lie beyond the places at hand")
        return self


def _lie_apart(layers: list[MappedLayer]) -> bool:
    """Whether layers on the same crossbars have rows and columns of their own, all of them on the crossbars."""
    spans = [
        (layer.placed.row, layer.mapped_rows, layer.placed.column, layer.mapped_columns, layer)
        for layer in layers
        if layer.placed is not None
    ]
    if len(layers) == 1:
        return spans[0][0] == spans[0][2] == 0
    rows = sorted((row, row + more) for row, more, _, _, _ in spans)
    columns = sorted((column, column + more) for _, _, column, more, _ in spans)
    apart = all(end <= start for each in (rows, columns) for (_, end), (start, _) in pairwise(each))
    lines = {(layer.tile_rows, layer.tile_cols) for layer in layers}
    return apart and len(lines) == 1 and rows[-1][1] <= layers[0].tile_rows and columns[-1][1] <= layers[0].tile_cols


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Digital operators that run together.

    Attributes:
        model: serialised ONNX model.
        inputs: tensors it reads.
        outputs: tensors that later steps or the user read.
        operators: number of operators by ONNX type.
    """

    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class LayerStep:
    """One crossbar layer.

    Attributes:
        layer: its name.
        inputs: the activation it reads.
        outputs: the tensor it writes.
    """

    layer: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


Step = Segment | LayerStep


@dataclass(frozen=True, eq=False, kw_only=True)
class MappedModel:
    """A mapping, in memory or in a folder: all that replays, prices, exports and searches need of a model.

    It does not know who made it from what: that is a plan's.

    Attributes:
        record: its inputs, outputs, layers and program.
        arrays: fetches the arrays of one layer.
        digital: fetches digital operators by the name that a step has for them, as an ONNX model.
    """

    record: MappingRecord
    arrays: Callable[[MappedLayer], LayerArrays]
    digital: Callable[[str], bytes]

    @property
    def inputs(self) -> tuple[TensorRecord, ...]:
        """The inputs of the model."""
        return self.record.inputs

    @property
    def outputs(self) -> tuple[TensorRecord, ...]:
        """The outputs of the model."""
        return self.record.outputs

    @property
    def free_batch(self) -> bool:
        """Whether any number of samples may run at once; sizes and counts are for a batch of one."""
        return self.record.free_batch

    @property
    def layers(self) -> tuple[MappedLayer, ...]:
        """The crossbar layers in the order they run."""
        return self.record.layers

    def layer(self, name: str) -> MappedLayer:
        """The layer of that name.

        Raises:
            UsageError: BSC201 for an unknown name.
        """
        if name not in self._by_name:
            close = difflib.get_close_matches(name, self._by_name, n=1)
            raise UsageError(
                "BSC201",
                f"the plan has no layer '{name}'",
                seen=f"layers {', '.join(self._by_name)}",
                fix=f"did you mean '{close[0]}'?" if close else "use one of these names",
            )
        return self._by_name[name]

    @functools.cached_property
    def _by_name(self) -> Mapping[str, MappedLayer]:
        return {layer.name: layer for layer in self.layers}

    def program(self) -> tuple[Step, ...]:
        """The steps, ready to run."""
        return tuple(self._step(record) for record in self.record.steps)

    def _step(self, record: StepRecord) -> Step:
        if record.digital is None:
            assert record.layer is not None
            return LayerStep(layer=record.layer, inputs=record.inputs, outputs=record.outputs)
        return Segment(
            model=self.digital(record.digital),
            inputs=record.inputs,
            outputs=record.outputs,
            operators=record.operators,
        )
