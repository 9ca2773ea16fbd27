"""One crossbar layer in standard ONNX operators: quantise, drive, sum columns, convert, shift and add, scale.

Nothing is folded: every slice, polarity and input cycle of every row group has its column sums and conversions, other
than slices and polarities without a cell above 0. Axes are convolution group G, input vector V, input cycle C, row K,
slice and polarity together P, column of a group W. All values between input codes and results are whole numbers
in a float type that holds them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.export.onnx_builder import GraphBuilder
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.numeric.quantizer import SMALLEST_MAXIMUM, code_limits, input_cycles
from bsc.plan.cells import cell_levels
from bsc.plan.correction import corrections

EXACT_QUOTIENTS = 1 << 23
"""Below it a float32 quotient of whole numbers is a half only if the true one is, and rounds to the same code."""

HALF = np.finfo(np.float16)


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """An activation cut into input vectors.

    Attributes:
        rows: the vectors (V, G, K) over the model's rows.
        shape: sizes of the layer's output but with the columns last, int64 (rank,).
        dtype: element type of `rows`, float32 or float64.
    """

    rows: str
    shape: str
    dtype: np.dtype[Any]


def emulate(
    graph: GraphBuilder, layer: MappedLayer, arrays: LayerArrays, *, x: str, dtype: np.dtype[Any], output: str
) -> None:
    """Append the operators of a layer.

    Args:
        graph: to append to.
        layer: the layer.
        arrays: its arrays.
        x: the activation it reads.
        dtype: element type of the activation and of the output.
        output: name of the tensor to write.

    Raises:
        DoesNotFitError: BSC402 if the constants are too large for an ONNX file.
    """
    vectors = _vectors(graph, layer, x, dtype)
    codes, step = _input_codes(graph, layer, vectors)
    results = _results(graph, layer, arrays, codes)
    y = _activation(graph, layer, arrays, results, step)
    if dtype == np.float16:
        y = _to_half_precision(graph, y, f"{layer.name}/half")
    _restore(graph, layer, graph.cast(y, dtype, f"{layer.name}/cast"), vectors.shape, output)


def _vectors(graph: GraphBuilder, layer: MappedLayer, x: str, dtype: np.dtype[Any]) -> Vectors:
    """im2col by one Gather per spatial axis, whatever the sizes of the axes are."""
    name = layer.name
    wide = np.result_type(dtype, np.float32)
    if wide != dtype:
        x = graph.cast(x, wide, f"{name}/widened")
    if layer.conv is None:
        rows = graph.reshape(x, [-1, 1, layer.rows], f"{name}/vectors")
        leading = graph.slice(graph.add("Shape", [x], f"{name}/sizes"), 0, -1, 0, f"{name}/leading")
    else:
        axes = range(len(layer.conv.kernel))
        pads = [0, 0, *(pad[0] for pad in layer.conv.pads), 0, 0, *(pad[1] for pad in layer.conv.pads)]
        x = graph.add("Pad", [x, graph.constant(f"{name}/pads", pads, np.int64)], f"{name}/padded")
        sizes = graph.add("Shape", [x], f"{name}/sizes")
        for axis in axes:  # every spatial axis before it is now two, of positions and of taps
            x = _windows(graph, layer, x, sizes, axis)
        order = [0, *(2 + 2 * axis for axis in axes), 1, *(3 + 2 * axis for axis in axes)]
        x = graph.add("Transpose", [x], f"{name}/windows", perm=order)
        leading = graph.slice(graph.add("Shape", [x], f"{name}/shape"), 0, 1 + len(axes), 0, f"{name}/leading")
        rows = graph.reshape(x, [-1, layer.groups, layer.rows], f"{name}/vectors")
    columns = graph.constant(f"{name}/columns", [layer.columns], np.int64)
    shape = graph.add("Concat", [leading, columns], f"{name}/output-shape", axis=0)
    return Vectors(rows=rows, shape=shape, dtype=np.dtype(wide))


def _windows(graph: GraphBuilder, layer: MappedLayer, x: str, sizes: str, axis: int) -> str:
    """Turn a spatial axis into two: where a window lies, and the taps of the window."""
    assert layer.conv is not None
    name = f"{layer.name}/axis{axis}"
    kernel, dilation = layer.conv.kernel[axis], layer.conv.dilations[axis]

    def whole(key: str, values: Any) -> str:
        return graph.constant(f"{name}/{key}", values, np.int64)

    size = graph.add("Gather", [sizes, whole("index", 2 + axis)], f"{name}/size", axis=0)
    stop = graph.add("Sub", [size, whole("reach", (kernel - 1) * dilation)], f"{name}/stop")
    stride = whole("stride", layer.conv.strides[axis])
    starts = graph.add("Range", [whole("zero", 0), stop, stride], f"{name}/starts")
    taps = whole("taps", np.arange(kernel) * dilation)
    places = graph.add("Add", [graph.reshape(starts, [-1, 1], f"{name}/column"), taps], f"{name}/places")
    return graph.add("Gather", [x, places], f"{name}/gathered", axis=2 + 2 * axis)


def _input_codes(graph: GraphBuilder, layer: MappedLayer, vectors: Vectors) -> tuple[str, str]:
    """Input codes (V, G, K) in the type of the vectors, and the value of one code, float64 (V, 1) or (1, 1)."""
    name, dtype = layer.name, vectors.dtype
    if layer.input_scale is not None:
        exact = graph.constant(f"{name}/exact-step", [[layer.input_scale]], np.float64)
    else:
        exact = _dynamic_step(graph, layer, vectors)
    step = graph.reshape(graph.cast(exact, dtype, f"{name}/step-cast"), [-1, 1, 1], f"{name}/step")
    low, high = code_limits(layer.input_bits, signed=layer.input_signed)
    quotient = graph.add("Div", [vectors.rows, step], f"{name}/quotient")
    codes = graph.add("Round", [quotient], f"{name}/rounded")
    if layer.input_zero_point:
        codes = graph.add(
            "Add", [codes, graph.constant(f"{name}/zero-code", [layer.input_zero_point], dtype)], f"{name}/moved"
        )
    bounded = graph.add("Max", [codes, graph.constant(f"{name}/low", [low], dtype)], f"{name}/bounded")
    return graph.add("Min", [bounded, graph.constant(f"{name}/high", [high], dtype)], f"{name}/codes"), exact


def _dynamic_step(graph: GraphBuilder, layer: MappedLayer, vectors: Vectors) -> str:
    """2**(ceil(log2 max|x|) - magnitude bits) of every vector, float64 (V, 1)."""
    name = layer.name
    bits = layer.input_bits - layer.input_signed
    flat = graph.reshape(vectors.rows, [-1, layer.groups * layer.rows], f"{name}/flat")
    maximum = graph.largest(graph.add("Abs", [flat], f"{name}/magnitudes"), -1, f"{name}/maximum")
    least = int(np.frexp(SMALLEST_MAXIMUM)[1])
    exponents = np.arange(least, np.finfo(vectors.dtype).maxexp)
    powers, place_values = np.ldexp(1.0, exponents).astype(vectors.dtype), np.ldexp(1.0, exponents + 1 - bits)
    return graph.power_of_two(maximum, powers, place_values, 2.0 ** (least - bits), f"{name}/dynamic-step")


def _results(graph: GraphBuilder, layer: MappedLayer, arrays: LayerArrays, codes: str) -> str:
    """What the crossbars give: whole numbers, float64 (V, N) over the mapped columns; (V, 1) zeros if there are none.

    The way through int64 leaves no negative zero.
    """
    name, groups, rows = layer.name, layer.groups, layer.mapped_rows or layer.rows
    if arrays.kept_rows is not None and layer.mapped_rows:
        kept = graph.constant(f"{name}/kept-rows", arrays.kept_rows, np.int64)
        codes = graph.add("Gather", [codes, kept], f"{name}/kept", axis=2)
    codes = graph.cast(codes, np.float32, f"{name}/whole")
    by_group = graph.add("Transpose", [codes], f"{name}/by-group", perm=[1, 0, 2])
    driven = graph.reshape(by_group, [groups, -1, 1, rows], f"{name}/driven")
    terms = [*_reads(graph, layer, arrays, driven), *_centres(graph, layer, arrays, driven)]
    if not terms:
        nothing = graph.constant(
            f"{name}/nothing", np.zeros((1, rows, layer.mapped_columns // groups or 1)), np.float32
        )
        terms = [graph.add("MatMul", [driven, nothing], f"{name}/unread")]
    total = graph.cast(graph.total(terms, f"{name}/sum"), np.int64, f"{name}/integers")
    if arrays.correction is not None and layer.mapped_columns:
        by_column = graph.constant(f"{name}/correction", arrays.correction.reshape(groups, 1, 1, -1), np.int64)
        total = graph.add("Add", [total, by_column], f"{name}/corrected")
    wide = graph.cast(total, np.float64, f"{name}/integers-wide")
    by_vector = graph.add("Transpose", [wide], f"{name}/by-vector", perm=[1, 2, 0, 3])
    return graph.reshape(by_vector, [-1, layer.mapped_columns or 1], f"{name}/results")


def _reads(graph: GraphBuilder, layer: MappedLayer, arrays: LayerArrays, driven: str) -> Iterator[str]:
    """What shift-and-add makes of the conversions of each row group, float64 (G, V, 1, W)."""
    name, width = layer.name, layer.mapped_columns // layer.groups
    cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
    place_values = layer.cells.read_place_values().ravel()
    paired = layer.cells.analog_pairs
    digits = None
    for row_group in range(layer.row_groups):
        first = row_group * layer.active_rows
        last = min(first + layer.active_rows, layer.mapped_rows)
        levels = cell_levels(layer, arrays, row_group, np.s_[:]).astype(np.int16)  # (rows, N, S, P)
        levels = levels[..., 0] - levels[..., 1] if paired else levels.reshape(*levels.shape[:2], -1)
        planes = np.flatnonzero(levels.any(axis=(0, 1)))
        if not len(planes):
            continue
        digits = digits or _digits(graph, layer, driven, cycles)
        cells = levels.reshape(last - first, layer.groups, width, -1)[..., planes].transpose(1, 0, 3, 2)
        bound = int(np.abs(cells).sum(axis=1, dtype=np.int64).max()) * layer.max_digit
        dtype = np.float32 if bound < EXACT_QUOTIENTS else np.float64
        here = f"{name}/rows{first}-{last - 1}"
        steps, bits, lowest = (
            _by_lane(layer, values[row_group], planes)
            for values in (arrays.adc_lsb, arrays.adc_bits, arrays.lowest_codes)
        )
        step = graph.constant(f"{here}/adc-lsb", steps, dtype)
        top = graph.constant(f"{here}/adc-top", lowest + (1 << bits) - 1, dtype)
        cells = cells.astype(np.int8 if paired else np.uint8)
        matrix = graph.constant(f"{here}/cells", cells.reshape(layer.groups, last - first, -1))
        inputs = graph.slice(digits, first, last, 3, f"{here}/driven")
        inputs = graph.reshape(inputs, [layer.groups, -1, last - first], f"{here}/inputs")
        if dtype is not np.float32:
            inputs = graph.cast(inputs, dtype, f"{here}/inputs-wide")
        sums = graph.add("MatMul", [inputs, graph.cast(matrix, dtype, f"{here}/levels")], f"{here}/sums")
        quotient = graph.add("Div", [sums, step], f"{here}/quotient")
        code = graph.add("Min", [graph.add("Round", [quotient], f"{here}/rounded"), top], f"{here}/adc-codes")
        if paired:
            low = graph.constant(f"{here}/adc-low", lowest, dtype)
            code = graph.add("Max", [code, low], f"{here}/adc-codes-above-low")
        read = graph.cast(graph.add("Mul", [code, step], f"{here}/read"), np.float64, f"{here}/read-wide")
        shape = [layer.groups, -1, len(cycles) * len(planes), width]
        shifts = [sign * (1 << shift) for shift, _, sign in cycles]
        weights = graph.constant(f"{here}/worth", np.outer(shifts, place_values[planes]).reshape(1, -1), np.float64)
        if arrays.flipped is not None:
            flips = _by_lane(layer, arrays.signs[row_group], planes)
            read = graph.add("Mul", [read, graph.constant(f"{here}/signs", flips, np.float64)], f"{here}/signed")
        yield graph.add("MatMul", [weights, graph.reshape(read, shape, f"{here}/by-plane")], f"{here}/results")


def _by_lane(layer: MappedLayer, values: NDArray[Any], planes: NDArray[np.intp]) -> NDArray[np.int64]:
    """Numbers of one row group (S, P, N) in the order of its column sums, (G, 1, planes * W)."""
    by_plane = values.reshape(-1, layer.groups, layer.mapped_columns // layer.groups)[planes].astype(np.int64)
    return by_plane.transpose(1, 0, 2).reshape(layer.groups, 1, -1)


def _digits(graph: GraphBuilder, layer: MappedLayer, driven: str, cycles: tuple[tuple[int, int, int], ...]) -> str:
    """Input digits of every cycle, float32 (G, V, C, K): bits of the two's complement codes (G, V, 1, K)."""
    name = f"{layer.name}/cycles"
    shifts, widths, _ = np.array(cycles).T.reshape(3, -1, 1)

    def shifted(key: str, by: NDArray[Any]) -> str:
        scale = graph.constant(f"{name}/{key}-scale", np.ldexp(1.0, -by), np.float32)
        return graph.add("Floor", [graph.add("Mul", [driven, scale], f"{name}/{key}-scaled")], f"{name}/{key}")

    span = graph.constant(f"{name}/span", np.ldexp(1.0, widths), np.float32)
    above = graph.add("Mul", [shifted("above", shifts + widths), span], f"{name}/above-bits")
    return graph.add("Sub", [shifted("from", shifts), above], f"{name}/digits")


def _centres(graph: GraphBuilder, layer: MappedLayer, arrays: LayerArrays, driven: str) -> Iterator[str]:
    """Centres and what flipped columns hold the rest of, times sums of input codes; float64 (G, V, 1, W)."""
    if layer.encoding == "differential" or not layer.mapped_rows:
        return
    width = layer.mapped_columns // layer.groups
    added = corrections(layer, arrays)
    height = layer.active_rows
    if not layer.flip:  # the same for more rows than one group
        height = layer.mapped_rows if layer.encoding == "offset" else layer.tile_rows
    wide = graph.cast(driven, np.float64, f"{layer.name}/driven-wide")
    for first in range(0, layer.mapped_rows, height):
        last = min(first + height, layer.mapped_rows)
        here = f"{layer.name}/centre{first}-{last - 1}"
        values = added[first // layer.active_rows].reshape(layer.groups, 1, 1, width)
        inputs = graph.slice(wide, first, last, 3, f"{here}/driven")
        ones = graph.constant(f"{here}/ones", np.ones((last - first, 1)))
        total = graph.add("MatMul", [inputs, ones], f"{here}/input-sum")
        yield graph.add("Mul", [total, graph.constant(f"{here}/centres", values, np.float64)], f"{here}/results")


def _activation(graph: GraphBuilder, layer: MappedLayer, arrays: LayerArrays, results: str, step: str) -> str:
    """Scale results (V, N), put dropped columns back, add the bias; float64 (V, N) over the model's columns."""
    name = layer.name
    scales = np.broadcast_to(arrays.weight_scale, (layer.columns,)).astype(np.float64)
    scales = (scales if arrays.kept_columns is None else scales[arrays.kept_columns])[None]
    if not layer.mapped_columns:
        scales = np.zeros((1, 1))
    weight_scale = graph.constant(f"{name}/weight-scale", scales)
    scale = graph.add("Mul", [step, weight_scale], f"{name}/scale")
    if layer.input_zero_point and layer.mapped_columns:
        zeros = layer.input_zero_point * arrays.codes.sum(axis=0, dtype=np.int64)
        results = graph.add("Sub", [results, graph.constant(f"{name}/zeros", zeros, np.float64)], f"{name}/from-zero")
    y = graph.add("Mul", [results, scale], f"{name}/scaled")
    if arrays.kept_columns is not None:
        zero = max(layer.mapped_columns, 1)
        where = np.full(layer.columns, zero)
        where[arrays.kept_columns] = np.arange(layer.mapped_columns)
        widened = graph.add("Pad", [y, graph.constant(f"{name}/zero", [0, 0, 0, 1], np.int64)], f"{name}/with-zero")
        y = graph.add("Gather", [widened, graph.constant(f"{name}/kept-columns", where)], f"{name}/spread", axis=1)
    if arrays.bias is not None:
        y = graph.add("Add", [y, graph.constant(f"{name}/bias", arrays.bias, np.float64)], f"{name}/biased")
    return y


def _restore(graph: GraphBuilder, layer: MappedLayer, y: str, shape: str, output: str) -> None:
    """Put the columns (V, N) back into the layer's output tensor.

    The last Reshape changes nothing, but onnxruntime would carry a Transpose at the end on into the digital operators
    behind it, which then add up in another order than in the replay.
    """
    if layer.conv is None:
        graph.write("Reshape", [y, shape], output)
        return
    axes = len(layer.conv.kernel)
    placed = graph.add("Reshape", [y, shape], f"{layer.name}/placed")
    order = [0, 1 + axes, *range(1, 1 + axes)]
    turned = graph.add("Transpose", [placed], f"{layer.name}/turned", perm=order)
    final = graph.add("Gather", [shape, graph.constant(f"{layer.name}/order", order)], f"{layer.name}/turned-shape")
    graph.write("Reshape", [turned, final], output)


def _to_half_precision(graph: GraphBuilder, y: str, name: str) -> str:
    """Round float64 (V, N) to values that half precision holds: a cast may go through float32 and round twice."""
    magnitudes = graph.add("Abs", [y], f"{name}/magnitudes")
    last = graph.reshape(magnitudes, [0, 0, 1], f"{name}/last")
    powers = np.ldexp(1.0, np.arange(HALF.minexp + 1, HALF.maxexp))
    just_below = np.nextafter(powers, 0)  # so that a power of two itself counts as reached
    quantum = graph.power_of_two(last, just_below, powers * HALF.eps, float(HALF.smallest_subnormal), f"{name}/quanta")
    spread = graph.reshape(quantum, [0, -1], f"{name}/quantum")
    whole = graph.add("Round", [graph.add("Div", [y, spread], f"{name}/quotient")], f"{name}/rounded")
    return graph.add("Mul", [whole, spread], f"{name}/value")
