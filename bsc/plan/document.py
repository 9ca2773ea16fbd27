"""The plan artefact: a folder that says which weight bit goes into which cell and what every column's ADC resolves.

    plan.json             this module's `PlanDocument`; schema in plan.schema.json
    target.json           the hardware description it was compiled for
    layers/0000.safetensors   arrays of the first layer, and so on
    digital/0000.onnx     digital operators between the layers, as ONNX models

The folder alone is enough to program crossbars, replay inference, price it and render reports. Every file is
named in plan.json with its SHA-256 and checked when it is read; nothing in it is executed or unpickled.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bsc.errors import UsageError
from bsc.hardware.target import Target
from bsc.ir.layer import AdcGranularity, AdcPolicy
from bsc.ir.schedule import LayerStep, Segment, Step
from bsc.numeric.encoding import MAX_ANALOG_BITS, CellFormat, Encoding, Subtraction
from bsc.numeric.im2col import ConvGeometry
from bsc.numeric.quantizer import STEP_RANGE, code_limits, max_digit
from bsc.numeric.tiles import MAX_LINES, column_tiles
from bsc.record import Record

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^(target\.json|(layers|digital)/[0-9]{4,9}\.(safetensors|onnx))$")]

# Far above what can be compiled: they keep a plan that was tampered with from filling the memory.
Rows = Annotated[int, Field(ge=1, le=1 << 30)]
Columns = Annotated[int, Field(ge=1, le=1 << 22)]
Lines = Annotated[int, Field(ge=1, le=MAX_LINES)]
Extent = Annotated[int, Field(ge=1, le=1 << 16)]
Pad = Annotated[int, Field(ge=0, le=1 << 16)]
MAX_PRODUCTS = 1 << 53

InputStep = Annotated[float, Field(ge=STEP_RANGE[0], le=STEP_RANGE[1])]


class ModelRecord(Record):
    """The model a plan was made from."""

    file: str = Field(description="file name without folders")
    sha256: Sha256 = Field(description="of the file's digest followed by those of its external data files")
    opsets: dict[str, int] = Field(description="ONNX domain to version")
    dynamic_batch: bool = Field(description="the first axis of the inputs is free; counts are for a batch of one")


class CalibrationRecord(Record):
    """The data that input ranges were taken from."""

    sha256: Sha256 = Field(description="of the data file")
    samples: PositiveInt


class ObservedRecord(Record):
    """The calibration data behind ADC resolutions that are not proved."""

    samples: PositiveInt
    vectors: PositiveInt = Field(description="input vectors of the layer whose column sums were read")
    conversions: PositiveInt = Field(description="of every slice column, or pair: vectors times input cycles")


class BudgetRecord(Record):
    """What a budgeted plan was found to lose, on data that no choice but the last was made with."""

    max_drop: Annotated[float, Field(ge=0, le=1)] | None = Field(
        description="accuracy it may lose, a share of samples; null if it was only measured"
    )
    held_out_sha256: Sha256 = Field(description="of the data file")
    split: bool = Field(description="held-out and calibration data are halves of one file")
    samples: PositiveInt
    lost: NonNegativeInt = Field(description="samples that only the quantised model is right on")
    gained: NonNegativeInt = Field(description="samples that only the plan is right on")
    drop: float = Field(description="(lost - gained) / samples")
    drop_bound: float = Field(description="the true drop is below it with this confidence, one-sided")
    confidence: float
    adc_law: str = Field(description="that conversions were priced by")


class TensorRecord(Record):
    """A model input or output."""

    name: str
    shape: tuple[NonNegativeInt, ...] | None = Field(description="null where it is not known before a run")
    dtype: str


class StepRecord(Record):
    """One step of the program: a crossbar layer, or a file of digital operators."""

    layer: str | None = Field(default=None, description="name of the crossbar layer")
    digital: FileName | None = Field(default=None, description="ONNX file of the digital operators")
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


class ConvRecord(Record):
    """How a convolution's input becomes rows; one entry per spatial axis."""

    kernel: tuple[Extent, ...] = Field(min_length=1)
    strides: tuple[Extent, ...]
    dilations: tuple[Extent, ...]
    pads: tuple[tuple[Pad, Pad], ...]

    @model_validator(mode="after")
    def _has_one_entry_an_axis(self) -> Self:
        if len({len(entries) for entries in (self.kernel, self.strides, self.dilations, self.pads)}) != 1:
            raise ValueError("kernel, strides, dilations and pads need one entry each per axis")
        return self

    def geometry(self) -> ConvGeometry:
        """The record as the compiler uses it."""
        return ConvGeometry(**dict(self))


class PlanLayer(Record):
    """One crossbar layer. K, N, S, P, Q, T, R, C, V as in `bsc.ir.layer`."""

    name: str
    op_type: str
    rows: Rows = Field(description="K of one group's weight matrix in the model")
    columns: Columns = Field(description="N of all groups together in the model")
    groups: PositiveInt
    vectors: PositiveInt = Field(description="V, input vectors of one inference")
    conv: ConvRecord | None = Field(description="null when the input's last axis already is the rows")
    weight_bits: Annotated[int, Field(ge=1, le=15)] = Field(description="magnitude bits; the sign is kept apart")
    input_bits: Annotated[int, Field(ge=2, le=16)] = Field(description="bits of an input code with its sign")
    input_signed: bool = Field(description="two's complement inputs; otherwise 0 or more")
    input_step: InputStep | None = Field(description="value of one input code; null: set per vector at run time")
    input_zero: int = Field(description="input code of the value 0")
    slice_bits: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(
        min_length=1, max_length=16, description="bits of every slice, least significant first"
    )
    encoding: Encoding = Field(description="how cells hold the sign of a weight code")
    subtraction: Subtraction = Field(description="where the columns of a pair are subtracted: analog, before the ADC")
    flip: bool = Field(description="slice columns may hold top - level")
    dac_bits: Annotated[int, Field(ge=1, le=8)]
    tile_rows: Lines = Field(description="wordlines of a crossbar")
    tile_cols: Lines = Field(description="bitlines of a crossbar")
    active_rows: Lines = Field(description="wordlines that are driven together; divides tile_rows")
    mapped_rows: NonNegativeInt = Field(description="K that is left after elimination")
    mapped_columns: NonNegativeInt = Field(description="N that is left after elimination")
    adc_policy: AdcPolicy
    adc_granularity: AdcGranularity
    observed: ObservedRecord | None = Field(description="null where column sums were not observed")
    arrays: FileName = Field(description="safetensors file of the layer")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.columns % self.groups or self.mapped_rows > self.rows or self.mapped_columns > self.columns:
            raise ValueError("rows, columns and groups do not fit together")
        if self.tile_rows % self.active_rows:
            raise ValueError("the active rows do not divide the rows of a crossbar")
        if bool(self.mapped_rows) != bool(self.mapped_columns):
            raise ValueError("a layer without rows has no columns either")
        if self.groups > 1 and (self.mapped_rows, self.mapped_columns) != (self.rows, self.columns):
            raise ValueError("a grouped layer keeps all its rows and columns")
        low, high = code_limits(self.input_bits, signed=self.input_signed)
        if not low <= self.input_zero <= high or (self.input_zero and self.input_step is None):
            raise ValueError("the code of zero is no input code, or the step is not fixed")
        if self.rows * self.columns * self.vectors > MAX_PRODUCTS:
            raise ValueError("rows, columns and vectors are too many to count")
        if sum(self.slice_bits) != self.cells.stored_bits:
            raise ValueError("the slices do not hold the bits of a stored code")
        if self.subtraction == "analog" and (self.encoding == "offset" or max(self.slice_bits) > MAX_ANALOG_BITS):
            raise ValueError("there are no such pairs to subtract before the ADC")
        if self.flip and (self.encoding == "differential" or self.subtraction == "analog"):
            raise ValueError("neither the differential encoding nor pairs subtracted in analog have flipped columns")
        return self

    @property
    def cells(self) -> CellFormat:
        """How a weight code becomes cell levels."""
        return CellFormat(
            weight_bits=self.weight_bits,
            bits_per_cell=self.bits_per_cell,
            encoding=self.encoding,
            subtraction=self.subtraction,
            flip=self.flip,
            cut=self.slice_bits,
        )

    @property
    def bits_per_cell(self) -> int:
        """Most bits that a cell stores."""
        return max(self.slice_bits)

    @property
    def slices(self) -> int:
        """S, number of weight slices."""
        return self.cells.slices

    @property
    def input_values(self) -> int:
        """Values that the input vectors of one inference hold."""
        return self.vectors * self.groups * self.rows

    @property
    def row_tiles(self) -> int:
        """T, row tiles."""
        return -(-self.mapped_rows // self.tile_rows)

    @property
    def groups_per_tile(self) -> int:
        """Row groups of a full row tile."""
        return self.tile_rows // self.active_rows

    @property
    def row_groups(self) -> int:
        """R, groups of rows that are driven together."""
        return -(-self.mapped_rows // self.active_rows)

    @property
    def max_drive(self) -> int:
        """Highest input digit."""
        return max_digit(self.input_bits, signed=self.input_signed, dac_bits=self.dac_bits)

    def column_tiles(self) -> tuple[int, tuple[int, ...]]:
        """Groups on one crossbar, and the first column of each column tile."""
        return column_tiles(self.mapped_rows, self.mapped_columns, self.groups, self.tile_rows, self.tile_cols)


class PlanDocument(Record):
    """Everything of a plan but its arrays."""

    schema_version: Literal[3]
    bsc_version: str
    model: ModelRecord
    target: str = Field(description="name of the hardware description in target.json")
    calibration: CalibrationRecord | None
    budget: BudgetRecord | None = Field(description="null unless accuracy was tested on held-out data")
    pipeline: str = Field(description="the passes that made the plan, every option spelled out")
    inputs: tuple[TensorRecord, ...] = Field(min_length=1)
    outputs: tuple[TensorRecord, ...] = Field(min_length=1)
    steps: tuple[StepRecord, ...] = Field(description="in the order they run")
    layers: tuple[PlanLayer, ...]
    files: dict[FileName, Sha256] = Field(default={}, description="SHA-256 of every other file of the folder")

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


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerArrays:
    """The arrays of one layer.

    Attributes:
        codes: signed weight codes (K, N) after elimination.
        weight_step: value of one weight code, float64 (1,) or (N,) over the model's columns.
        bias: float (N,) over the model's columns, or None.
        kept_rows: model row of each mapped row, int32, each once, or None when all are mapped in their order.
        kept_columns: likewise for columns.
        centres: what is taken from the codes of each column, int16 (T, N); None unless the encoding is `centre`.
        flipped: slice columns that hold top - level, bool (R, S, P, N); None where none may.
        sums: sum of cell levels of every slice column (R, S, P, N).
        gcds: greatest common divisor of the levels of every slice column, uint8 (R, S, P, N); 0 if all are zero.
        nonzeros: non-zero cells of every slice column (R, S, P, N).
        adc_bits: resolution of every conversion, uint8 (R, S, Q, N); 0 is no conversion.
        adc_step: cell units of one ADC code, uint8 (R, S, Q, N).
        adc_low: lowest ADC code, int32 (R, S, Q, N); None where it is 0, for all but pairs that are subtracted before.
        allocated: which crossbars exist, bool (T, C, S, P).
        observed_sums: highest sum or 0 of every conversion on calibration data, unsigned (R, S, Q, N), or None.
        observed_lows: lowest sum or 0, int32 (R, S, Q, N); None where it is 0, for all but pairs.
        correction: whole numbers that are added to the results of each column, int64 (N,), or None.
    """

    codes: NDArray[Any]
    weight_step: NDArray[Any]
    bias: NDArray[Any] | None = None
    kept_rows: NDArray[Any] | None = None
    kept_columns: NDArray[Any] | None = None
    centres: NDArray[Any] | None = None
    flipped: NDArray[Any] | None = None
    sums: NDArray[Any]
    gcds: NDArray[Any]
    nonzeros: NDArray[Any]
    adc_bits: NDArray[Any]
    adc_step: NDArray[Any]
    adc_low: NDArray[Any] | None = None
    allocated: NDArray[Any]
    observed_sums: NDArray[Any] | None = None
    observed_lows: NDArray[Any] | None = None
    correction: NDArray[Any] | None = None

    @property
    def lowest_codes(self) -> NDArray[np.int32]:
        """Lowest ADC code of every conversion (R, S, Q, N)."""
        return np.zeros(self.adc_bits.shape, np.int32) if self.adc_low is None else self.adc_low

    @property
    def signs(self) -> NDArray[np.int8]:
        """Whether what a conversion reads is added or, its column being flipped, taken away: 1 or -1, (R, S, Q, N)."""
        signs = np.ones(self.adc_bits.shape, np.int8)
        return signs if self.flipped is None else np.where(self.flipped, -signs, signs)

    def by_name(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by attribute name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """A plan in memory or in a folder; arrays are fetched layer by layer.

    Attributes:
        document: what plan.json says.
        target: the hardware it was compiled for.
        arrays: fetches the arrays of one layer.
        digital: fetches a file of digital operators, as bytes.
    """

    document: PlanDocument
    target: Target
    arrays: Callable[[PlanLayer], LayerArrays]
    digital: Callable[[str], bytes]

    @property
    def layers(self) -> tuple[PlanLayer, ...]:
        """The crossbar layers in the order they run."""
        return self.document.layers

    def layer(self, name: str) -> PlanLayer:
        """The layer of that name.

        Raises:
            UsageError: BSC201 for an unknown name.
        """
        by_name = {layer.name: layer for layer in self.layers}
        if name not in by_name:
            close = difflib.get_close_matches(name, by_name, n=1)
            raise UsageError(
                "BSC201",
                f"the plan has no layer '{name}'",
                seen=f"layers {', '.join(by_name)}",
                fix=f"did you mean '{close[0]}'?" if close else "use one of these names",
            )
        return by_name[name]

    def steps(self) -> tuple[Step, ...]:
        """The program, ready to run."""
        return tuple(self._step(record) for record in self.document.steps)

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
