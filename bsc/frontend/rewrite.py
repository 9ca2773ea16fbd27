"""Rewrites a model until every operator that a crossbar can compute is a Conv, Gemm or MatMul with constant weights."""

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from bsc.errors import BscError
from bsc.frontend.attributes import inner_graphs
from bsc.frontend.builder import Builder, Names
from bsc.frontend.constants import check_bytes
from bsc.frontend.folding import Folder, may_be_known
from bsc.frontend.rewrites import (
    blocks,
    control_flow,
    conv_transpose,
    einsum,
    fused,
    integers,
    literals,
    matmul,
    qonnx,
    recurrent,
)
from bsc.frontend.rewrites.recurrent_node import RECURRENT
from bsc.frontend.shapes import infer_shapes

Rule = Callable[[Builder], Sequence[ir.Value] | str | None]

STANDARD: Mapping[str, Rule] = {
    "Conv": fused.conv,
    "ConstantOfShape": literals.constant_of_shape,
    "ConvInteger": integers.conv_integer,
    "ConvTranspose": conv_transpose.conv_transpose,
    "DequantizeLinear": literals.dequantize,
    "Einsum": einsum.einsum,
    "GRU": recurrent.gru,
    "Gemm": matmul.gemm,
    "If": control_flow.branch,
    "LSTM": recurrent.lstm,
    "Loop": control_flow.loop,
    "MatMul": matmul.matmul,
    "MatMulInteger": integers.matmul_integer,
    "QLinearConv": integers.qlinear_conv,
    "QLinearMatMul": integers.qlinear_matmul,
    "RNN": recurrent.rnn,
    "Scan": control_flow.scan,
    **dict.fromkeys(literals.LAYOUT, literals.layout),
}
MICROSOFT: Mapping[str, Rule] = {
    "Attention": fused.attention,
    "DequantizeLinear": literals.dequantize,
    "DynamicQuantizeMatMul": integers.dynamic_quantize_matmul,
    "DynamicQuantizeLSTM": recurrent.dynamic_lstm,
    "FusedConv": fused.fused_conv,
    "FusedGemm": fused.fused_gemm,
    "FusedMatMul": matmul.fused_matmul,
    "MatMulNBits": blocks.matmul_nbits,
    "MatMulIntegerToFloat": integers.matmul_integer_to_float,
    "QAttention": fused.quantised_attention,
    "QGemm": integers.qgemm,
    "QLinearConv": integers.microsoft_qlinear_conv,
    "TransposeMatMul": matmul.fused_matmul,
}
QONNX: Mapping[str, Rule] = {"BipolarQuant": qonnx.bipolar_quant, "Quant": qonnx.quant}
RULES: Mapping[str, Mapping[str, Rule]] = {
    "": STANDARD,
    "ai.onnx": STANDARD,
    "com.microsoft": MICROSOFT,
    **dict.fromkeys(qonnx.DOMAINS, QONNX),
}

STEPWISE = RECURRENT | {"Scan"}
"""Operators that go along an axis, which must not be the batch."""
WHY = "bsc.why"
"""Key of a node's metadata: why a rule left it digital."""
CONTRADICTION = "its inputs and attributes contradict each other"
"""Why a node stays digital whose sizes a rule cannot put together; onnxruntime judges it when it runs."""
MAX_ROUNDS = 8
"""A rule's result may be rewritten again, as a fused operator is; no chain of rules is longer."""


def rewrite(model: ir.Model) -> None:
    """Apply the rules of `RULES` to every operator of the main graph; shapes are inferred before and after."""
    opset = model.opset_imports.get("", 0) or model.opset_imports.get("ai.onnx", 0)
    if any(True for _ in inner_graphs(model.graph)):
        common.LiftSubgraphInitializersToMainGraphPass()(model)
    names, folder = Names(model.graph), Folder(model.opset_imports)
    for _ in range(MAX_ROUNDS):
        changed = [_apply(model.graph, node, opset, names, folder) for node in list(model.graph)]
        if not any(changed):
            return
        common.RemoveUnusedNodesPass()(model)
        infer_shapes(model)


def _apply(graph: ir.Graph, node: ir.Node, opset: int, names: Names, folder: Folder) -> bool:
    """Rewrite one node; whether anything came of it."""
    if not _concerns(node):
        return False
    builder = Builder(graph, node, opset, names)
    results = _rewritten(builder)
    if results is None or isinstance(results, str):
        folded = folder.fold(node)
        if not isinstance(folded, str):
            results = [builder.keep(tensor, "constant") for tensor in folded]
        elif folded:
            results = folded
    left = [] if results is None or isinstance(results, str) else node.outputs[len(results) :]
    if any(old.uses() or old.is_graph_output() for old in left):  # a body that gives too few
        results = CONTRADICTION
    node.meta[WHY] = results if isinstance(results, str) else ""
    if results is None or isinstance(results, str):
        return False
    made = {id(value) for fresh in builder.made for value in fresh.outputs}
    values: list[ir.Value] = []
    for old, new in zip(node.outputs, results, strict=False):
        taken_over = id(new) in made and all(new is not value for value in values)
        values.append(new if taken_over or not old.is_graph_output() else builder.op("Identity", new, label="output"))
    graph.insert_before(node, builder.made)
    for old, new in zip(node.outputs, values, strict=False):
        _replace(old, new, rename=id(new) in made or old.is_graph_output())
    graph.remove(node, safe=True)
    return True


def _concerns(node: ir.Node) -> bool:
    """Whether a rule may do something about an operator, or folding: most read no constant."""
    if node.op_type in RULES.get(node.domain, {}):
        return True
    return any(value is not None and may_be_known(value) for value in node.inputs)


def _rewritten(builder: Builder) -> Sequence[ir.Value] | str | None:
    """What the rule for a node makes of it: values in place of its outputs, why there are none, or None."""
    rule = RULES.get(builder.node.domain, {}).get(builder.node.op_type)
    try:
        for value in builder.node.inputs:
            check_bytes(value)
        return None if rule is None else rule(builder)
    except BscError:
        raise
    except Exception:  # nobody has checked the graph: anything may be missing or of another kind
        return CONTRADICTION


def _replace(old: ir.Value, new: ir.Value, *, rename: bool) -> None:
    """Let `new` take the place of `old`, under its name if it is a value made for that."""
    if rename:
        name, new.type, new.shape = old.name, old.type, old.shape
        old.name = f"{name}/replaced"
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name = name
    else:
        old.replace_all_uses_with(new)
