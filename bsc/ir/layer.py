"""What is known of one crossbar layer, filled in stage by stage.

Arrays never sit in a record: it holds the key of an array in the graph's side table.

Letters used everywhere: K rows and N columns of a weight matrix, S slices (least significant first),
P polarities (0 positive, 1 negative), Q conversions of a slice (P, or 1 for a pair that is subtracted before), T row
tiles, R row groups (rows that are driven together), C column tiles, V input vectors.
"""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bsc.ir.formats import GivenWeights, InputFormat
from bsc.mapping.layer import AdcGranularity, AdcPolicy
from bsc.numeric.encoding import CellFormat
from bsc.numeric.im2col import ConvGeometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """What `quantize` decided for one layer.

    Attributes:
        weight_bits: magnitude bits of a weight code; the sign is kept apart.
        codes: key of the signed codes, integer (K, N), |code| < 2**weight_bits.
        weight_step: key of the value of one code, float64 (1,) or (N,).
        input_bits: bits of an input code, its sign included.
        input_signed: two's complement inputs; otherwise inputs are 0 or more.
        input_step: value of one input code; None when every input vector gets its own power of two at run time.
        input_zero: code of the value 0; 0 unless the model brings another.
    """

    weight_bits: int
    codes: str
    weight_step: str
    input_bits: int
    input_signed: bool
    input_step: float | None
    input_zero: int = 0

    def __str__(self) -> str:
        inputs = InputFormat(bits=self.input_bits, signed=self.input_signed, step=self.input_step, zero=self.input_zero)
        return f"weights {self.weight_bits} bit + sign, {inputs}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputMoments:
    """What calibration data showed of a layer's input vectors, in floating point.

    Attributes:
        vectors: how many were looked at.
        mean: key of their mean, float64 (G, K).
        covariance: key of their covariance, float32 (G, K, K); of their variances alone, (G, K), in layers of more rows
            than `bsc.compile.input_moments.MOST_ROWS`.
    """

    vectors: int
    mean: str
    covariance: str

    def __str__(self) -> str:
        return f"moments of {self.vectors} input vectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicing:
    """How weight codes and input codes are cut.

    Attributes:
        cells: how a weight code becomes cell levels.
        dac_bits: input bits one DAC drives at a time.
    """

    cells: CellFormat
    dac_bits: int

    def __str__(self) -> str:
        cells = self.cells
        text = "" if cells.encoding == "differential" else f"{cells.encoding} encoding, "
        text += "flipped columns, " if cells.flip else ""
        text += "pairs subtracted before the ADC, " if cells.subtraction == "analog" else ""
        bits = "+".join(map(str, reversed(cells.cut))) if cells.cut else str(cells.bits_per_cell)
        return f"{text}{cells.slices} slices of {bits} bit, {self.dac_bits}-bit DAC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Rows and columns that are left after `eliminate`, in the order they are mapped in.

    Attributes:
        rows: key of the kept row numbers, int32, each once; None when all are kept in their order.
        columns: key of the kept column numbers, likewise.
        shape: (K, N) of what is left.
        permuted: `permute` has chosen the order; otherwise it is ascending.
    """

    rows: str | None
    columns: str | None
    shape: tuple[int, int]
    permuted: bool = False

    def __str__(self) -> str:
        return f"kept {self.shape[0]} rows, {self.shape[1]} columns" + (", permuted" if self.permuted else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How a layer's slice matrices are laid on crossbars.

    One crossbar holds one slice and one polarity of one row tile and one column tile. Crossbars that would
    hold only zeros are not allocated.

    Attributes:
        rows: wordlines of a crossbar.
        cols: bitlines of a crossbar.
        active_rows: wordlines that are driven together; divides `rows`.
        row_tiles: T.
        row_groups: R.
        column_starts: first column of each column tile, ascending from 0.
        groups_per_crossbar: convolution groups packed block-diagonally on one crossbar, else 1.
        sums: key of the column sums of cell levels, unsigned (R, S, P, N).
        gcds: key of the greatest common divisor of a column's cell levels, uint8 (R, S, P, N), 0 if all zero.
        nonzeros: key of the number of non-zero cells of a column, uint16 or wider (R, S, P, N).
        allocated: key of the crossbars that exist, bool (T, C, S, P).
        centres: key of the centre of each column, int16 (T, N); None unless the encoding is `centre`.
        flipped: key of the columns that hold top - level, bool (R, S, P, N); None where none may.
    """

    rows: int
    cols: int
    active_rows: int
    row_tiles: int
    row_groups: int
    column_starts: tuple[int, ...]
    groups_per_crossbar: int
    sums: str
    gcds: str
    nonzeros: str
    allocated: str
    centres: str | None = None
    flipped: str | None = None

    @property
    def groups_per_tile(self) -> int:
        """Row groups of a full row tile."""
        return self.rows // self.active_rows

    def __str__(self) -> str:
        text = f"{self.row_tiles} row tiles x {len(self.column_starts)} column tiles of {self.rows}x{self.cols}"
        if self.groups_per_tile > 1:
            text += f", {self.active_rows} rows at a time"
        return text if self.groups_per_crossbar == 1 else f"{text}, {self.groups_per_crossbar} groups each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What calibration data made of a tiled layer. B counts resolutions from 0 bits on.

    Attributes:
        samples: calibration samples.
        vectors: input vectors that were read.
        conversions: of every slice column, or pair of them that is subtracted before its conversion.
        lowest: key of the lowest sum or 0, int32 (R, S, Q, N); None where it is 0, for all but pairs.
        highest: key of the highest sum or 0, unsigned (R, S, Q, N).
        step: key of the best step, uint8 (R, S, Q, N, B); this and what follows None if no pass asked for it.
        low: key of the lowest code that goes with it, int32 (R, S, Q, N, B); None where it is 0, for all but pairs.
        beyond: key of the conversions that clip, uint32 (R, S, Q, N, B).
        damage: key of the expected squared error of a result in squares of cell units, float32 (R, S, Q, N, B).
        mean: key of the expected error of a result in cell units, float32 (R, S, Q, N, B).
        sensitivity: for each slice, noise-to-signal ratio of the model's outputs for a damage of one weight code
            squared in a result.
    """

    samples: int
    vectors: int
    conversions: int
    lowest: str | None
    highest: str
    step: str | None
    low: str | None
    beyond: str | None
    damage: str | None
    mean: str | None
    sensitivity: tuple[float, ...] | None

    def __str__(self) -> str:
        return f"observed {self.conversions} conversions of each column"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdcAssignment:
    """The resolution of every conversion.

    A sum y is read as step * code, code = round(y / step) but no less than `low` and no more than low + 2**bits - 1;
    0 bits means no conversion at all.

    Attributes:
        policy: who chose.
        granularity: "column", "tile" or "slice": what shares one resolution and step.
        bits: key, uint8 (R, S, Q, N).
        step: key, cell units of one ADC code, uint8 (R, S, Q, N).
        low: key, lowest code, int32 (R, S, Q, N), 0 or less; None where it is 0, in all but analog pairs.
        correction: key of whole numbers that are added to the results of each column, int64 (N,), or None.
    """

    policy: AdcPolicy
    granularity: AdcGranularity
    bits: str
    step: str
    low: str | None = None
    correction: str | None = None

    @classmethod
    def of(
        cls, layer: str, policy: AdcPolicy, granularity: AdcGranularity, *, low: bool, correction: bool = False
    ) -> "AdcAssignment":
        """The record of a layer under the keys that all passes use; `low` and `correction`: whether there are any."""
        return cls(
            policy=policy,
            granularity=granularity,
            bits=f"{layer}/adc-bits",
            step=f"{layer}/adc-step",
            low=f"{layer}/adc-low" if low else None,
            correction=f"{layer}/adc-correction" if correction else None,
        )

    def __str__(self) -> str:
        return f"adc {self.policy} per {self.granularity}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossbarLayer:
    """An operator whose static weight matrix goes onto crossbars.

    Attributes:
        name: unique node name.
        op_type: ONNX operator it came from.
        input: name of the activation tensor.
        output: name of the result tensor.
        rows: K, rows of one group's weight matrix.
        columns: N, columns of all groups together.
        groups: convolution groups; column n belongs to group n // (N / groups).
        vectors: V, input vectors of one inference, those of every `Reuse` included.
        weight: key of the float weights.
        transposed: the weights lie as (N, K), as in Conv; otherwise as (K, N).
        bias: key of the bias, float (N,), or None.
        conv: how the input becomes rows; None when its last axis already is the rows.
        given_weights: the codes, if the model stores them.
        given_input: the format of the input codes, if the model says it.
        moments: set before the passes, when one asks for them.
        quant: set by `quantize`.
        slicing: set by `slice-bits`.
        kept: set by `eliminate`, and anew by `permute`.
        tiling: set by `tile`.
        observed: set between passes, when a pass asks for calibration data.
        adc: set by `assign-adc`.
    """

    name: str
    op_type: str
    input: str
    output: str
    rows: int
    columns: int
    groups: int = 1
    vectors: int
    weight: str
    transposed: bool
    bias: str | None
    conv: ConvGeometry | None = None
    given_weights: GivenWeights | None = None
    given_input: InputFormat | None = None
    moments: InputMoments | None = None
    quant: Quantised | None = None
    slicing: Slicing | None = None
    kept: Kept | None = None
    tiling: Tiling | None = None
    observed: Observed | None = None
    adc: AdcAssignment | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The activation tensors it reads."""
        return (self.input,)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tensors it writes."""
        return (self.output,)

    @property
    def input_values(self) -> int:
        """Values that the input vectors of one inference hold."""
        return self.vectors * self.groups * self.rows

    @property
    def mapped_shape(self) -> tuple[int, int]:
        """(K, N) of the matrix that goes onto crossbars."""
        return (self.rows, self.columns) if self.kept is None else self.kept.shape

    def matrix(self, weight: NDArray[Any]) -> NDArray[Any]:
        """View the stored weights as (K, N), without a copy."""
        if self.transposed:
            return weight.reshape(self.columns, self.rows).T
        return weight.reshape(self.rows, self.columns)

    def __str__(self) -> str:
        size = f"{self.rows}x{self.columns}" + (f"/{self.groups} groups" if self.groups > 1 else "")
        head = f"crossbar  {self.name}  {self.op_type}  {self.input} -> {self.output}  {size}  {self.vectors} vectors"
        given = None if self.given_input is None else f"given {self.given_input}"
        mapped = (self.moments, self.quant, self.slicing, self.kept, self.tiling, self.observed, self.adc)
        stages = (self.conv, self.given_weights, given, *mapped)
        return "\n".join([head, *(f"          {stage}" for stage in stages if stage is not None)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """A further operator that drives the crossbars of a layer: a model may read one weight several times.

    Attributes:
        name: unique node name.
        layer: name of the layer, whose matrix, bias and number formats hold here too.
        input: name of the activation tensor.
        output: name of the result tensor.
    """

    name: str
    layer: str
    input: str
    output: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """The activation tensors it reads."""
        return (self.input,)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tensors it writes."""
        return (self.output,)

    def __str__(self) -> str:
        return f"crossbar  {self.name}  again {self.layer}  {self.input} -> {self.output}"
