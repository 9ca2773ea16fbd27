"""What a mapped layer is: its matrix, its number formats, how it is cut and tiled, who chose its ADCs."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bsc.numeric.encoding import MAX_ANALOG_BITS, CellFormat, Encoding, Subtraction
from bsc.numeric.im2col import ConvGeometry
from bsc.numeric.quantizer import STEP_RANGE, code_limits, max_digit
from bsc.numeric.sharing import Granularity
from bsc.numeric.tiles import MAX_LINES, column_tiles
from bsc.record import Record

AdcPolicy = Literal["lossless", "isaac", "fixed", "calibrated", "budgeted"]
AdcGranularity = Granularity
UNIFORM_POLICIES: frozenset[AdcPolicy] = frozenset({"isaac", "fixed"})
"""Policies with one resolution for all columns, whatever the granularity."""

FileName = Annotated[str, Field(pattern=r"^(target\.json|(layers|digital)/[0-9]{4,9}\.(safetensors|onnx))$")]

# Far above what can be compiled: they keep a plan that was tampered with from filling the memory.
Rows = Annotated[int, Field(ge=1, le=1 << 30)]
Columns = Annotated[int, Field(ge=1, le=1 << 22)]
Lines = Annotated[int, Field(ge=1, le=MAX_LINES)]
Extent = Annotated[int, Field(ge=1, le=1 << 16)]
Pad = Annotated[int, Field(ge=0, le=1 << 16)]
MAX_PRODUCTS = 1 << 53

InputStep = Annotated[float, Field(ge=STEP_RANGE[0], le=STEP_RANGE[1])]


class ObservedRecord(Record):
    """The calibration data behind ADC resolutions that are not proved."""

    samples: PositiveInt
    vectors: PositiveInt = Field(description="input vectors of the layer whose column sums were read")
    conversions: PositiveInt = Field(description="of every slice column, or pair: vectors times input cycles")


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


class MappedLayer(Record):
    """One crossbar layer. K, N, S, P, Q, T, R, C, V as in `bsc.mapping`."""

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
        return column_tiles(self.mapped_rows, self.mapped_columns, self.groups, self.active_rows, self.tile_cols)
