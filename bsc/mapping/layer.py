"""What a layer is on its way to crossbars: a record of each stage, and what they add up to.

A pass sets the record of a stage on a layer of the graph. `QuantisedLayer`, `TiledLayer` and `MappedLayer` are all
stages up to one of them together, with the sizes that follow; a mapping and plan.json hold the last.
"""

from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bsc.mapping.placement import Placed
from bsc.numeric.encoding import MAX_ANALOG_BITS, CellFormat, Encoding, Subtraction
from bsc.numeric.im2col import ConvGeometry
from bsc.numeric.quantizer import STEP_RANGE, code_limits, max_digit
from bsc.numeric.sharing import AdcSharing
from bsc.numeric.tiles import MAX_LINES, column_tiles
from bsc.toml_record import Record

AdcPolicy = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""Who chose the resolutions; "lossless" is a claim that is checked, others are names."""
UNIFORM_POLICIES: frozenset[AdcPolicy] = frozenset({"isaac", "fixed"})
"""Policies with one resolution for all columns, whatever the granularity."""

# Far above what can be compiled: they keep a plan that was tampered with from filling the memory.
Rows = Annotated[int, Field(ge=1, le=1 << 30)]
Columns = Annotated[int, Field(ge=1, le=1 << 22)]
Lines = Annotated[int, Field(ge=1, le=MAX_LINES)]
Extent = Annotated[int, Field(ge=1, le=1 << 16)]
Pad = Annotated[int, Field(ge=0, le=1 << 16)]
MAX_PRODUCTS = 1 << 53

InputScale = Annotated[float, Field(ge=STEP_RANGE[0], le=STEP_RANGE[1])]


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


class LayerShape(Record):
    """What an operator brings along: its matrix in the model, and how often that is used."""

    name: str
    op_type: str
    rows: Rows = Field(description="K of one group's weight matrix in the model")
    columns: Columns = Field(description="N of all groups together in the model")
    groups: PositiveInt
    vectors: PositiveInt = Field(description="V, input vectors of one inference")
    conv: ConvRecord | None = Field(description="null when the input's last axis already is the rows")

    @property
    def input_values(self) -> int:
        """Values that the input vectors of one inference hold."""
        return self.vectors * self.groups * self.rows


class Quantised(Record):
    """Number formats of weights and inputs, set by `quantize`."""

    weight_bits: Annotated[int, Field(ge=1, le=15)] = Field(description="magnitude bits; the sign is kept apart")
    input_bits: Annotated[int, Field(ge=2, le=16)] = Field(description="bits of an input code with its sign")
    input_signed: bool = Field(description="two's complement inputs; otherwise 0 or more")
    input_scale: InputScale | None = Field(description="value of one input code; null: set per vector at run time")
    input_zero_point: int = Field(description="input code of the value 0; 0 unless the model brings another")

    @model_validator(mode="after")
    def _has_a_code_of_zero(self) -> Self:
        low, high = code_limits(self.input_bits, signed=self.input_signed)
        if not low <= self.input_zero_point <= high or (self.input_zero_point and self.input_scale is None):
            raise ValueError("the code of zero is not an input code, or the step is not fixed")
        return self

    @property
    def max_code(self) -> int:
        """Largest magnitude of a weight code."""
        return (1 << self.weight_bits) - 1


class LineSelection(Record):
    """Rows and columns that are left after `eliminate`, in the order that `permute` may have chosen."""

    mapped_rows: NonNegativeInt = Field(description="K that is left after elimination")
    mapped_columns: NonNegativeInt = Field(description="N that is left after elimination")
    permuted: bool = Field(description="their order was chosen; otherwise it is ascending")

    def __str__(self) -> str:
        text = f"kept {self.mapped_rows} rows, {self.mapped_columns} columns"
        return f"{text}, permuted" if self.permuted else text


class Slicing(Record):
    """How weight codes and input codes are cut, set by `slice-bits`."""

    slice_bits: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(
        min_length=1, max_length=16, description="bits of every slice, least significant first"
    )
    encoding: Encoding = Field(description="how cells hold the sign of a weight code")
    subtraction: Subtraction = Field(description="where the columns of a pair are subtracted: analog, before the ADC")
    flip: bool = Field(description="slice columns may hold top - level")
    dac_bits: Annotated[int, Field(ge=1, le=8)] = Field(description="input bits one DAC drives at a time")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.subtraction == "analog" and (self.encoding == "offset" or self.bits_per_cell > MAX_ANALOG_BITS):
            raise ValueError("there are no such pairs to subtract before the ADC")
        if self.flip and (self.encoding == "differential" or self.subtraction == "analog"):
            raise ValueError("neither the differential encoding nor pairs subtracted in analog have flipped columns")
        return self

    @property
    def bits_per_cell(self) -> int:
        """Most bits that a cell stores."""
        return max(self.slice_bits)

    def format_of(self, weight_bits: int) -> CellFormat:
        """How a weight code of so many bits becomes cell levels."""
        return CellFormat(
            weight_bits=weight_bits,
            bits_per_cell=self.bits_per_cell,
            encoding=self.encoding,
            subtraction=self.subtraction,
            flip=self.flip,
            cut=self.slice_bits,
        )

    def __str__(self) -> str:
        text = "" if self.encoding == "differential" else f"{self.encoding} encoding, "
        text += "flipped columns, " if self.flip else ""
        text += "pairs subtracted before the ADC, " if self.subtraction == "analog" else ""
        first, *rest = self.slice_bits
        even = len({first, *rest[:-1]}) == 1 and self.slice_bits[-1] <= first
        bits = str(first) if even else "+".join(map(str, reversed(self.slice_bits)))
        return f"{text}{len(self.slice_bits)} slices of {bits} bit, {self.dac_bits}-bit DAC"


class Tiling(Record):
    """The crossbars that slice matrices are laid on, set by `tile`.

    One crossbar holds one slice and one polarity of one row tile and one column tile. Crossbars that would hold only
    zeros are not allocated.
    """

    tile_rows: Lines = Field(description="wordlines of a crossbar")
    tile_cols: Lines = Field(description="bitlines of a crossbar")
    active_rows: Lines = Field(description="wordlines that are driven together; divides tile_rows")

    @model_validator(mode="after")
    def _is_driven_evenly(self) -> Self:
        if self.tile_rows % self.active_rows:
            raise ValueError("the active rows do not divide the rows of a crossbar")
        return self

    @property
    def groups_per_tile(self) -> int:
        """Row groups of a full row tile."""
        return self.tile_rows // self.active_rows


class Observed(Record):
    """The calibration data behind ADC resolutions that are not proved."""

    samples: PositiveInt
    vectors: PositiveInt = Field(description="input vectors of the layer whose column sums were read")
    conversions: PositiveInt = Field(description="of every slice column, or pair: vectors times input cycles")

    def __str__(self) -> str:
        return f"observed {self.conversions} conversions of each column"


class AdcAssignment(Record):
    """Who chose the resolutions of the conversions.

    A sum y is read as step * code, code = round(y / step) but no less than `low` and no more than low + 2**bits - 1;
    0 bits means no conversion at all. These numbers are arrays.
    """

    adc_policy: AdcPolicy
    adc_granularity: AdcSharing = Field(description="column, tile or slice: what shares one resolution and step")

    def __str__(self) -> str:
        return f"adc {self.adc_policy} per {self.adc_granularity}"


# Of the bases the last comes first in plan.json and wherever else fields are listed.
class QuantisedLayer(LineSelection, Quantised, LayerShape):
    """A layer of weight codes."""

    @model_validator(mode="after")
    def _has_a_matrix(self) -> Self:
        if self.columns % self.groups or self.mapped_rows > self.rows or self.mapped_columns > self.columns:
            raise ValueError("rows, columns and groups do not fit together")
        if bool(self.mapped_rows) != bool(self.mapped_columns):
            raise ValueError("a layer without rows has no columns either")
        if self.groups > 1 and (self.mapped_rows, self.mapped_columns) != (self.rows, self.columns):
            raise ValueError("a grouped layer keeps all its rows and columns")
        if self.rows * self.columns * self.vectors > MAX_PRODUCTS:
            raise ValueError("rows, columns and vectors are too many to count")
        return self


class TiledLayer(Tiling, Slicing, QuantisedLayer):
    """A layer that is cut into slices and laid on crossbars; its ADCs may be anything."""

    observed: Observed | None = Field(description="null where column sums were not observed")

    @model_validator(mode="after")
    def _fills_its_slices(self) -> Self:
        if sum(self.slice_bits) != self.cells.stored_bits:
            raise ValueError("the slices do not hold the bits of a stored code")
        return self

    @property
    def cells(self) -> CellFormat:
        """How a weight code becomes cell levels."""
        return self.format_of(self.weight_bits)

    @property
    def slices(self) -> int:
        """S, number of weight slices."""
        return len(self.slice_bits)

    @property
    def row_tiles(self) -> int:
        """T, row tiles."""
        return -(-self.mapped_rows // self.tile_rows)

    @property
    def row_groups(self) -> int:
        """R, groups of rows that are driven together."""
        return -(-self.mapped_rows // self.active_rows)

    @property
    def max_digit(self) -> int:
        """Highest input digit."""
        return max_digit(self.input_bits, signed=self.input_signed, dac_bits=self.dac_bits)

    @property
    def max_sum(self) -> int:
        """Largest sum of cell levels that a column can have."""
        return self.active_rows * ((1 << self.bits_per_cell) - 1)

    def column_tiles(self) -> tuple[int, tuple[int, ...]]:
        """Groups on one crossbar, and the first column of each column tile."""
        return column_tiles(self.mapped_rows, self.mapped_columns, self.groups, self.active_rows, self.tile_cols)


class MappedLayer(AdcAssignment, TiledLayer):
    """A layer that is ready to be programmed and run."""

    placed: Placed | None = Field(description="null where the pipeline does not place crossbars")
