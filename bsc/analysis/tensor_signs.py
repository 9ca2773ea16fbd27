"""Signs of whole tensors: which are never negative, because of the operators that make them.

More operators keep the sign of a whole tensor than keep the channels of one apart, which is what
`bsc.analysis.channel_signs` needs.
"""

from collections.abc import Callable

from bsc.ir.graph import DigitalOp, Graph

# fmt: off
NON_NEGATIVE_OPS = frozenset({
    "Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt",
})
# Never negative when their first input is not ...
SIGN_KEEPING_OPS = frozenset({
    "AveragePool", "DepthToSpace", "Dropout", "Expand", "Flatten", "GlobalAveragePool", "GlobalMaxPool",
    "Identity", "MaxPool", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})
# ... and when none of their inputs is.
SIGN_KEEPING_OF_ALL = frozenset({"Add", "Concat", "Div", "Max", "Min", "Mul"})
# fmt: on


def non_negative_tensors(graph: Graph) -> set[str]:
    """The tensors that the operators before them prove never negative."""
    known: set[str] = set()

    def proved(tensor: str) -> bool:
        return tensor in known or (graph.has_array(tensor) and bool((graph.constant(tensor) >= 0).all()))

    for op in graph.ops():
        if isinstance(op, DigitalOp) and not op.domain and _keeps_non_negative(op, proved):
            known |= {name for name in op.outputs if name}
    return known


def _keeps_non_negative(op: DigitalOp, proved: Callable[[str], bool]) -> bool:
    if op.op_type in NON_NEGATIVE_OPS:
        return True
    if op.op_type == "Clip":
        lowest, highest = (*op.inputs[1:], "", "")[:2]
        return (proved(op.inputs[0]) or proved(lowest)) and (not highest or proved(highest))
    if op.op_type in SIGN_KEEPING_OPS:
        return proved(op.inputs[0])
    return op.op_type in SIGN_KEEPING_OF_ALL and all(proved(name) for name in op.inputs)
