"""Bringing a model into the form the import reads: functions inlined, constants folded, no inner `Identity`.

A weight is then an initialiser, however the exporter wrapped it.
"""

import contextlib

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from bsc.errors import ModelError
from bsc.frontend.attributes import all_nodes, bodies, inner_graphs
from bsc.frontend.bounds import check_edges, check_functions, drop_uncalled_functions, is_narrow, may_fold
from bsc.frontend.model_file import cause, quiet

# Folding these never makes a constant larger, so weights of any size may pass through them.
LAYOUT_OPS = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Identity"})
NO_SIZE_LIMIT = 1 << 40
FOLDED_FROM = "pkg.onnxscript.optimizer.folded_from"
"""Key under which the optimiser notes of a constant all that it was made of, which grows from step to step."""
AS_ATTRIBUTE = {"Split": "split", "Squeeze": "axes", "Unsqueeze": "axes"}
"""What is an attribute of these before opset 13, and an input from then on."""


def simplify(model: ir.Model) -> None:
    """Inline functions, fold constants, drop inner `Identity` and what nothing reads."""
    for index, node in enumerate(model.graph):  # now, as the passes below would name what they touch "node_1"
        node.name = node.name or f"{node.op_type}_{index}"
    check_functions(model)
    check_edges(model)
    drop_uncalled_functions(model)
    with quiet():
        try:
            if model.functions:
                common.InlinePass()(model)
            if not _is_ordered(model.graph):
                common.TopologicalSortPass()(model)
        except Exception as error:
            raise inconsistent(cause(error)) from None
        _check_connected(model)
        _drop_identities(model)
        _clean(model)
        # A fold that fails leaves its operator digital, where onnxruntime judges it.
        with contextlib.suppress(Exception):
            optimizer.fold_constants(model, output_size_limit=NO_SIZE_LIMIT, should_fold=_should_fold)
        _in_own_opset(model)
        _drop_identities(model)
        _clean(model)
    _separate_constant_outputs(model)


def _should_fold(node: ir.Node) -> bool | None:
    """Whether to fold an operator on constants; None to leave it to the optimiser's limit on what is read."""
    for value in node.inputs:
        if value is not None:
            value.meta.pop(FOLDED_FROM, None)
    return True if node.op_type in LAYOUT_OPS and not is_narrow(node) else may_fold(node)


def _is_ordered(graph: ir.Graph) -> bool:
    """Whether every operator comes after those it reads from; of operators with bodies that is not known."""
    made: set[int] = set()
    for node in graph:
        for value in node.inputs:
            if value is not None and value.producer() is not None and id(value) not in made:
                return False
        if bodies(node):
            return False
        made.update(map(id, node.outputs))
    return True


def _clean(model: ir.Model) -> None:
    """Make initialisers of constants, and drop what nothing reads."""
    try:
        drop_constant_inputs(model)
        if any(node.op_type == "Constant" for node in all_nodes(model.graph)):
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        if _has_unused(model):
            common.RemoveUnusedNodesPass()(model)
    except Exception as error:
        raise inconsistent(cause(error)) from None


def drop_constant_inputs(model: ir.Model) -> None:
    """Let no input have a value of its own: onnx-ir's pass goes through everything even where none has."""
    if any(value.is_initializer() for graph in (model.graph, *inner_graphs(model.graph)) for value in graph.inputs):
        common.RemoveInitializersFromInputsPass()(model)


def _has_unused(model: ir.Model) -> bool:
    """Whether nobody reads some constant or result, or the last input of some node is none."""
    for node in all_nodes(model.graph):
        for value in node.outputs:
            if not (value.uses() or value.is_graph_output()):
                return True
        if node.inputs and node.inputs[-1] is None:
            return True
    return not all(value.uses() or value.is_graph_output() for value in model.graph.initializers.values())


def inconsistent(seen: str) -> ModelError:
    """The error for a graph that contradicts itself."""
    return ModelError(
        "BSC301",
        "the model's graph is inconsistent",
        seen=seen,
        fix="check the file with onnx.checker.check_model and export it again",
    )


def _check_connected(model: ir.Model) -> None:
    """Every tensor that is read, by an operator or by the user, must come from somewhere."""
    for node in all_nodes(model.graph):
        for value in node.inputs:
            if value is not None and _from_nowhere(value):
                raise inconsistent(f"nothing makes tensor '{value.name}', which node '{node.name}' reads")
    for graph in (model.graph, *inner_graphs(model.graph)):
        for value in graph.outputs:
            if _from_nowhere(value):
                raise inconsistent(f"nothing makes tensor '{value.name}', an output of graph '{graph.name}'")


def _from_nowhere(value: ir.Value) -> bool:
    return value.producer() is None and not value.is_graph_input() and not value.is_initializer()


def _in_own_opset(model: ir.Model) -> None:
    """Bring what the optimiser writes for operators on sequences, as of opset 18, into the form of the model's own."""
    opset = model.opset_imports.get("") or model.opset_imports.get("ai.onnx", 0)
    for node in all_nodes(model.graph) if opset < 18 else ():
        if node.op_type == "Split":
            node.attributes.pop("num_outputs", None)  # all pieces are as long
        name = AS_ATTRIBUTE.get(node.op_type) if opset < 13 and len(node.inputs) == 2 else None
        value = None if name is None else node.inputs[1]
        tensor = None if value is None else ir.convenience.get_const_tensor(value)
        if name is not None and tensor is not None:
            node.attributes[name] = ir.AttrInt64s(name, tensor.numpy().ravel().tolist())
            node.resize_inputs(1)


def _drop_identities(model: ir.Model) -> None:
    """Remove `Identity` operators; those that make an output stay, as outputs keep their names."""
    for node in list(model.graph):
        if node.op_type != "Identity" or node.domain not in ("", "ai.onnx"):
            continue
        if len(node.inputs) != 1 or len(node.outputs) != 1 or node.outputs[0].is_graph_output():
            continue
        source = node.inputs[0]
        if source is not None:
            node.outputs[0].replace_all_uses_with(source)
            model.graph.remove(node, safe=True)


def _separate_constant_outputs(model: ir.Model) -> None:
    """Let an `Identity` make each output that is a constant: only operators make tensors when a plan runs."""
    for position, value in enumerate(model.graph.outputs):
        if value.is_initializer():
            name = value.name
            value.name = f"{name}/constant"
            node = ir.node("Identity", [value], name=f"{name}/output")
            node.outputs[0].name = name
            model.graph.append(node)
            model.graph.outputs[position] = node.outputs[0]
