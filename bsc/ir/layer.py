"""What is known of one crossbar layer, filled in stage by stage.

The records of the stages are those of `bsc.mapping.layer`. Arrays never sit in a record: those of the model have keys
in the graph's side table, and those that passes compute lie there under `bsc.mapping.arrays.array_key`.
"""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bsc.ir.formats import GivenWeights, InputFormat
from bsc.mapping.layer import AdcAssignment, LineSelection, Observed, Quantised, Slicing, Tiling
from bsc.mapping.placement import Placed
from bsc.numeric.im2col import ConvGeometry
from bsc.numeric.tiles import column_tiles
from bsc.printable import visible


@dataclass(frozen=True, slots=True, kw_only=True)
class InputMoments:
    """What calibration data showed of a layer's input vectors, in floating point.

    Attributes:
        vectors: how many were looked at.
        mean: key of their mean, float64 (G, K).
        covariance: key of their covariance, float32 (G, K, K); of their variances alone, (G, K), in layers of more rows
            than `bsc.compiler.input_moments.MOST_ROWS`.
    """

    vectors: int
    mean: str
    covariance: str

    def __str__(self) -> str:
        return f"moments of {self.vectors} input vectors"


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
        vectors: V, input vectors of one inference, those of every `LayerUse` included.
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
        placed: set by `place`.
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
    kept: LineSelection | None = None
    tiling: Tiling | None = None
    observed: Observed | None = None
    adc: AdcAssignment | None = None
    placed: Placed | None = None

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
        return (self.rows, self.columns) if self.kept is None else (self.kept.mapped_rows, self.kept.mapped_columns)

    def matrix(self, weight: NDArray[Any]) -> NDArray[Any]:
        """View the stored weights as (K, N), without a copy."""
        if self.transposed:
            return weight.reshape(self.columns, self.rows).T
        return weight.reshape(self.rows, self.columns)

    def __str__(self) -> str:
        size = f"{self.rows}x{self.columns}" + (f"/{self.groups} groups" if self.groups > 1 else "")
        head = f"crossbar  {self.name}  {self.op_type}  {self.input} -> {self.output}  {size}  {self.vectors} vectors"
        given = None if self.given_input is None else f"given {self.given_input}"
        quant = None if self.quant is None else _quant_text(self.quant)
        tiling = None if self.tiling is None else self._tiling_text(self.tiling)
        mapped = (self.moments, quant, self.slicing, self.kept, tiling, self.observed, self.adc, self.placed)
        stages = (self.conv, self.given_weights, given, *mapped)
        lines = [head, *(f"          {stage}" for stage in stages if stage is not None)]
        return "\n".join(map(visible, lines))

    def _tiling_text(self, tiling: Tiling) -> str:
        rows, columns = self.mapped_shape
        size = (tiling.tile_rows, tiling.tile_cols)
        packed, starts = column_tiles(rows, columns, self.groups, tiling.active_rows, tiling.tile_cols)
        text = f"{-(-rows // size[0])} row tiles x {len(starts)} column tiles of {size[0]}x{size[1]}"
        if tiling.groups_per_tile > 1:
            text += f", {tiling.active_rows} rows at a time"
        return text if packed == 1 else f"{text}, {packed} groups each"


def _quant_text(quant: Quantised) -> str:
    inputs = InputFormat(
        bits=quant.input_bits, signed=quant.input_signed, step=quant.input_scale, zero=quant.input_zero_point
    )
    return f"weights {quant.weight_bits} bit + sign, {inputs}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUse:
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
        return visible(f"crossbar  {self.name}  again {self.layer}  {self.input} -> {self.output}")
