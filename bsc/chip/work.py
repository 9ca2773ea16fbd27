"""How much digital operators have to compute, in four kinds of elementary work.

    products         multiplications of two values that are both computed at run time
    additions        additions, subtractions and shifts
    comparisons      of two values, maxima and logic included
    interpolations   functions of one value: activations, exponentials, roots, and products with constants

The last kind is what a unit does that interpolates y = a*x + b between tabulated points, as the sigmoid unit of
DaDianNao does, which [isaac16] uses. What only moves or renames values takes none; the traffic of its operands is
counted elsewhere. An operator that cannot be counted is listed with the reason, and makes what depends on it unknown
and never 0.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import onnx
from numpy.typing import NDArray
from onnx import helper

from bsc.chip.windows import Shape
from bsc.ir.macs import PRODUCTS, macs_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Elementary operations of one inference; the module says what each is."""

    products: int = 0
    additions: int = 0
    comparisons: int = 0
    interpolations: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(**{name: getattr(self, name) + getattr(other, name) for name in KINDS})

    def __mul__(self, times: int) -> "Work":
        return Work(**{name: getattr(self, name) * times for name in KINDS})


KINDS: Final = ("products", "additions", "comparisons", "interpolations")
NOTHING: Final = Work()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorWork:
    """What an operator has to compute.

    Attributes:
        op_type: of ONNX.
        work: None where it cannot be counted.
        reason: why not, or why there is none; "" where there is some.
    """

    op_type: str
    work: Work | None
    reason: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Operator:
    """A digital operator with the shapes around it, None where unknown.

    Attributes:
        node: the operator.
        inputs: shapes of its inputs.
        outputs: of its outputs.
        constants: values of inputs that are constants, by position.
        opset: of ONNX's own operators.
    """

    node: onnx.NodeProto
    inputs: Sequence[Shape | None]
    outputs: Sequence[Shape | None]
    constants: Mapping[int, NDArray[Any]]
    opset: int

    @property
    def read(self) -> int:
        """Values of the first input."""
        return math.prod(self.shape(0))

    @property
    def written(self) -> int:
        """Values of the first output."""
        return math.prod(_known(self.outputs[0]))

    def shape(self, position: int) -> Shape:
        """Shape of an input."""
        return _known(self.inputs[position])

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the operator."""
        found = next((each for each in self.node.attribute if each.name == name), None)
        if found is None:
            return default
        value = helper.get_attribute_value(found)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, position: int) -> bool:
        """Whether there is such an input."""
        return position < len(self.node.input) and bool(self.node.input[position])

    def computed(self, position: int) -> bool:
        """Whether an input is there and no constant."""
        return self.has(position) and position not in self.constants


class _ShapeUnknownError(Exception):
    """A count needs a shape that nobody knows before a run."""


def _known(shape: Shape | None) -> Shape:
    if shape is None:
        raise _ShapeUnknownError
    return shape


def work_of(operator: Operator) -> OperatorWork:
    """What an operator has to compute."""
    op_type, domain = operator.node.op_type, operator.node.domain
    name = op_type if domain in ("", "ai.onnx", "com.microsoft") else f"{domain}.{op_type}"
    if name in MOVES:
        return OperatorWork(op_type=name, work=NOTHING, reason="moves values and computes none")
    if name in UNCOUNTED:
        return OperatorWork(op_type=name, work=None, reason=UNCOUNTED[name])
    rule = RULES.get(name)
    if rule is None:
        return OperatorWork(op_type=name, work=None, reason="no rule counts its work")
    try:
        return OperatorWork(op_type=name, work=rule(operator))
    except _ShapeUnknownError:
        return OperatorWork(op_type=name, work=None, reason="its shapes are not known before a run")
    except Exception:  # attributes or inputs of another kind than ONNX says: whoever runs the operator will say so
        return OperatorWork(op_type=name, work=None, reason="it is not as ONNX says")


def layer_work(columns: int, rows: int, vectors: int, *, dynamic: bool) -> Work:
    """What is computed around the crossbars of a layer, beside adding up their results.

    Every result is scaled and has its bias added. Where input vectors get a step each at run time, the largest
    magnitude of each is found, and every input is scaled by the step.

    Args:
        columns: results of a vector.
        rows: inputs of a vector.
        vectors: of one inference.
        dynamic: steps of inputs are chosen at run time.
    """
    inputs = vectors * rows if dynamic else 0
    return Work(comparisons=inputs, interpolations=vectors * columns + inputs)


def _function(operator: Operator) -> Work:
    return Work(interpolations=operator.written)


def _function_of_sum(operator: Operator) -> Work:
    return Work(additions=operator.written, interpolations=operator.written)


def _sums(operator: Operator) -> Work:
    return Work(additions=operator.written * max(len(operator.node.input) - 1, 1))


def _mean(operator: Operator) -> Work:
    return _sums(operator) + _function(operator)


def _comparisons(operator: Operator) -> Work:
    return Work(comparisons=operator.written * max(len(operator.node.input) - 1, 1))


def _select(operator: Operator) -> Work:
    return Work(comparisons=operator.written)


def _each_read(operator: Operator) -> Work:
    return Work(comparisons=operator.read)


def _product(operator: Operator) -> Work:
    both = operator.computed(0) and operator.computed(1)
    return Work(products=operator.written) if both else _function(operator)


def _quotient(operator: Operator) -> Work:
    """Of two values that are computed: a product with the inverse of the second."""
    if not operator.computed(1):
        return _function(operator)
    inverses = Work(interpolations=math.prod(operator.shape(1)))
    return inverses + (Work(products=operator.written) if operator.computed(0) else _function(operator))


def _power(operator: Operator) -> Work:
    """With an exponent that is computed: the exponential of a product with a logarithm."""
    if not (operator.computed(0) and operator.computed(1)):
        return _function(operator)
    return Work(products=operator.written, interpolations=2 * operator.written)


def _scaled_where_negative(operator: Operator) -> Work:
    return Work(comparisons=operator.written) + _product(operator)


def _gated(operator: Operator) -> Work:
    """A function of one half of the values times the other half."""
    return Work(products=operator.written, interpolations=operator.written)


def _window(operator: Operator) -> int:
    return math.prod(operator.attribute("kernel_shape", ()))


def _max_pool(operator: Operator) -> Work:
    return Work(comparisons=operator.written * (_window(operator) - 1))


def _average_pool(operator: Operator) -> Work:
    return Work(additions=operator.written * (_window(operator) - 1), interpolations=operator.written)


def _lp_pool(operator: Operator) -> Work:
    taps = operator.written * _window(operator)
    return Work(additions=taps - operator.written, interpolations=taps + operator.written)


def _less(operator: Operator) -> int:
    """By how many an operator makes values fewer: as many pairs are taken together."""
    return max(operator.read - operator.written, 0)


def _largest(operator: Operator) -> Work:
    return Work(comparisons=_less(operator))


def _sum(operator: Operator) -> Work:
    return Work(additions=_less(operator))


def _average(operator: Operator) -> Work:
    return _sum(operator) + _function(operator)


def _product_of_all(operator: Operator) -> Work:
    return Work(products=_less(operator))


def _sum_of_functions(operator: Operator) -> Work:
    """A function of each value, and one of the sum."""
    return _sum(operator) + Work(interpolations=operator.read + operator.written)


def _log_sum_exp(operator: Operator) -> Work:
    """The largest value is subtracted first."""
    return _largest(operator) + Work(additions=operator.read) + _sum_of_functions(operator)


def _softmax_of(values: int, sums: int, *, log: bool = False) -> Work:
    """The largest value is subtracted, exponentials are added up, and each is divided by the sum."""
    exponentials = Work(comparisons=values - sums, additions=2 * values - sums, interpolations=values + sums)
    return exponentials + (Work(additions=values) if log else Work(products=values))


def _sums_along(operator: Operator) -> int:
    """How many groups of values a softmax normalises."""
    shape, before = operator.shape(0), operator.opset < 13
    axis = operator.attribute("axis", 1 if before else -1) % len(shape)
    together = math.prod(shape[axis:]) if before else shape[axis]
    return math.prod(shape) // max(together, 1)


def _softmax(operator: Operator) -> Work:
    return _softmax_of(operator.written, _sums_along(operator))


def _log_softmax(operator: Operator) -> Work:
    return _softmax_of(operator.written, _sums_along(operator), log=True)


def _hardmax(operator: Operator) -> Work:
    return Work(comparisons=2 * operator.written - _sums_along(operator))


def _normalised(values: int, groups: int, *, mean: bool = True) -> Work:
    """Mean and differences, squares and their sum, a root for each group, and scale and bias of every value."""
    centred = Work(additions=2 * values, interpolations=groups) if mean else NOTHING
    return centred + Work(products=2 * values, additions=values, interpolations=values + groups)


def _batch_norm(operator: Operator) -> Work:
    constant = not any(operator.computed(at) for at in range(1, 5))
    return _function(operator) if constant else Work(products=operator.written, additions=operator.written)


def _layer_norm(operator: Operator) -> Work:
    """The mean is left out where only squares count."""
    shape = operator.shape(0)
    axis = operator.attribute("axis", -1) % len(shape)
    groups = math.prod(shape[:axis])
    work = _normalised(
        operator.written, groups, mean="RMS" not in _name(operator) and "Simplified" not in _name(operator)
    )
    return work + Work(additions=operator.written) if _name(operator).startswith("Skip") else work


def _name(operator: Operator) -> str:
    return str(operator.node.op_type)


def _instance_norm(operator: Operator) -> Work:
    return _normalised(operator.written, math.prod(operator.shape(0)[:2]))


def _group_norm(operator: Operator) -> Work:
    return _normalised(operator.written, operator.shape(0)[0] * operator.attribute("num_groups", 1))


def _mean_variance(operator: Operator) -> Work:
    shape = operator.shape(0)
    axes = {axis % len(shape) for axis in operator.attribute("axes", (0, 2, 3))}
    return _normalised(operator.written, math.prod(size for at, size in enumerate(shape) if at not in axes))


def _lp_norm(operator: Operator) -> Work:
    shape = operator.shape(0)
    groups = operator.read // max(shape[operator.attribute("axis", -1) % len(shape)], 1)
    return Work(
        products=operator.written, additions=operator.written - groups, interpolations=operator.written + groups
    )


def _local_response(operator: Operator) -> Work:
    """Squares of neighbouring channels are added up; a power of the sum divides."""
    values, size = operator.written, operator.attribute("size", 1)
    return Work(products=values, additions=values * (size - 1), interpolations=2 * values)


def _multiply_accumulates(operator: Operator) -> Work:
    attributes = {each.name: helper.get_attribute_value(each) for each in operator.node.attribute}
    domain = "" if operator.node.domain == "ai.onnx" else operator.node.domain
    macs = macs_of(_name(operator), attributes, operator.inputs, operator.outputs, domain=domain)
    if macs is None:
        raise _ShapeUnknownError
    return Work(products=macs, additions=macs)


def _products_then_function(operator: Operator) -> Work:
    """Products of codes and the scale of each result, or products and an activation."""
    return _multiply_accumulates(operator) + _function(operator)


def _attention(operator: Operator) -> Work:
    """Products, and a softmax of the scores of every head."""
    query, key = operator.shape(0), operator.shape(1)
    heads = query[1] if len(query) == 4 else operator.attribute("num_heads", operator.attribute("q_num_heads", 1))
    rows = query[0] * heads * query[-2]
    return _multiply_accumulates(operator) + _softmax_of(rows * key[-2], rows)


def _resize(operator: Operator) -> Work:
    """Between neighbours in every direction that is scaled; the coefficients are constants."""
    mode = operator.attribute("mode", "nearest")
    if mode == "nearest":
        return NOTHING
    directions = sum(a != b for a, b in zip(operator.shape(0), _known(operator.outputs[0]), strict=True))
    taps = {"linear": 2, "bilinear": 2, "cubic": 4}[mode] ** directions
    return Work(additions=operator.written * (taps - 1), interpolations=operator.written * taps)


def _grid_sample(operator: Operator) -> Work:
    """Between neighbours at places that are computed."""
    places = operator.shape(1)
    directions, mode = places[-1], operator.attribute("mode", "linear")
    taps = {"nearest": 1, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}[mode] ** directions
    products = operator.written * taps if taps > 1 else 0
    coordinates = math.prod(places)
    return Work(
        products=products + coordinates,
        additions=operator.written * (taps - 1) + coordinates,
        interpolations=coordinates * (0 if taps == 1 else 2),
    )


def _running(operator: Operator) -> Work:
    return Work(products=operator.written) if _name(operator) == "CumProd" else Work(additions=operator.written)


def _sort(operator: Operator) -> Work:
    """As many comparisons as sorting all values takes, n log n."""
    shape = operator.shape(0)
    axis = operator.attribute("axis", -1)
    size = math.prod(shape) if axis is None else shape[axis % len(shape)]
    return Work(comparisons=math.prod(shape) * max(size - 1, 1).bit_length())


def _scale_of_all(operator: Operator) -> Work:
    """The lowest and the highest value, and the code of each."""
    return Work(comparisons=2 * operator.read, interpolations=operator.read)


def _overlapping(operator: Operator) -> Work:
    return Work(additions=operator.read)


def _scattered(operator: Operator) -> Work:
    """Values are put in their places, or combined with what is there."""
    how = operator.attribute("reduction", "none")
    values = math.prod(operator.shape(2))
    kinds = {"none": NOTHING, "add": Work(additions=values), "mul": Work(products=values)}
    return kinds.get(how, Work(comparisons=values))


def _rotated(operator: Operator) -> Work:
    """Two products and a sum for every value."""
    return Work(products=2 * operator.read, additions=operator.read)


_FUNCTIONS = """
    Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh DequantizeLinear Elu Erf Exp FastGelu Floor Gelu
    HardSigmoid HardSwish IsInf IsNaN LeakyRelu Log Mish Neg Not QuantizeLinear QuickGelu Reciprocal Relu Round Selu
    Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu BitwiseNot
"""
_COMPARED = "And BitwiseAnd BitwiseOr BitwiseXor Equal Greater GreaterOrEqual Less LessOrEqual Max Min Or Xor"
_MOVES = """
    BitCast Cast CastLike CenterCropPad Compress Concat ConcatFromSequence Constant ConstantOfShape DepthToSpace Dropout
    Expand EyeLike Flatten Gather GatherElements GatherND Identity MaxUnpool OneHot Optional OptionalGetElement
    OptionalHasElement Pad Range Reshape ReverseSequence SequenceAt SequenceConstruct SequenceEmpty SequenceErase
    SequenceInsert SequenceLength Shape Size Slice SpaceToDepth Split SplitToSequence Squeeze TensorScatter Tile
    Transpose Trilu Unsqueeze BlackmanWindow HammingWindow HannWindow MelWeightMatrix
"""
MOVES: Final = frozenset(_MOVES.split())
"""Operators that compute nothing from values: they move, rename or repeat them, or are constants."""

RECURRENT: Final = ("RNN", "LSTM", "GRU", "DynamicQuantizeLSTM")

RULES: Final[Mapping[str, Callable[[Operator], Work]]] = {
    **dict.fromkeys(
        (name for domain in ("", "com.microsoft") for name in PRODUCTS[domain] if name not in RECURRENT),
        _multiply_accumulates,
    ),
    **dict.fromkeys(_FUNCTIONS.split(), _function),
    **dict.fromkeys(_COMPARED.split(), _comparisons),
    **dict.fromkeys(("Add", "Sub", "Sum", "BitShift"), _sums),
    **dict.fromkeys(
        (
            *("QLinearConv", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
            *("FusedConv", "FusedGemm"),
        ),
        _products_then_function,
    ),
    **dict.fromkeys(("ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "GlobalMaxPool"), _largest),
    **dict.fromkeys(("ReduceMean", "GlobalAveragePool"), _average),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceSumSquare", "GlobalLpPool"),
        _sum_of_functions,
    ),
    **dict.fromkeys(
        (
            "LayerNormalization",
            "RMSNormalization",
            "SimplifiedLayerNormalization",
            "SkipLayerNormalization",
            "SkipSimplifiedLayerNormalization",
        ),
        _layer_norm,
    ),
    **dict.fromkeys(("Attention", "MultiHeadAttention"), _attention),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("CumSum", "CumProd"), _running),
    **dict.fromkeys(("TopK", "Unique"), _sort),
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND"), _scattered),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "BiasGelu": _function_of_sum,
    "Col2Im": _overlapping,
    "Div": _quotient,
    "DynamicQuantizeLinear": _scale_of_all,
    "GridSample": _grid_sample,
    "GroupNormalization": _group_norm,
    "Hardmax": _hardmax,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response,
    "LogSoftmax": _log_softmax,
    "LpNormalization": _lp_norm,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "Mean": _mean,
    "MeanVarianceNormalization": _mean_variance,
    "Mod": _quotient,
    "Mul": _product,
    "NonZero": _each_read,
    "PRelu": _scaled_where_negative,
    "Pow": _power,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceProd": _product_of_all,
    "ReduceSum": _sum,
    "RotaryEmbedding": _rotated,
    "Softmax": _softmax,
    "SwiGLU": _gated,
    "Where": _select,
}
"""How the work of an operator follows from its shapes."""

_RANDOM = "it draws random numbers"
_BODIES = "how often its body runs is decided at run time"
_TEXT = "it works on text"
_BY_VALUES = "how much it computes depends on values"
UNCOUNTED: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), _RANDOM
    ),
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), _BODIES),
    **dict.fromkeys(("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"), _TEXT),
    **dict.fromkeys(("MaxRoiPool", "NonMaxSuppression", "RoiAlign"), _BY_VALUES),
    **dict.fromkeys(RECURRENT, "what its gates compute is not counted; on crossbars it is written out"),
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), "it is part of training"),
    **dict.fromkeys(("CausalConvWithState", "LinearAttention"), "no rule counts its work yet"),
    "ImageDecoder": "it decodes a file",
}
"""Operators whose work is not known from their shapes, and why."""

UNREAD: Final = OperatorWork(op_type="?", work=None, reason="the file of a segment is no model")
"""What stands for the operators of a segment that cannot be read."""
