"""How often a Loop runs that counts by itself: what its condition needs is run alone, by onnxruntime.

Loops of TensorFlow have no number of runs but a condition on a counter, which is a state like any other.
"""

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from bsc.execution.session import quiet_session
from bsc.frontend.constants import is_constant, serialised, tensor_of
from bsc.frontend.folding import RANDOM


def trip_count(node: ir.Node, constants: Mapping[str, ir.Value], opset: int, most: int) -> int | None:
    """The runs of a Loop, at most `most`; None if they depend on anything but constants.

    Args:
        node: the Loop.
        constants: of the graph around it, by name.
        opset: of the model.
        most: where counting ends.
    """
    count, condition, *states = node.inputs
    given = [value for value in (count, condition) if value is not None]
    if not all(map(is_constant, given)) or (condition is not None and not tensor_of(condition).numpy().all()):
        return None
    body = next(attr.g for attr in ir.serde.serialize_node(node).attribute if attr.name == "body")
    needed = _needed(body)
    if needed is None:
        return None
    nodes, kept, outer = needed
    begins = [states[at] for at in kept]
    if not all(map(is_constant, begins)) or not outer <= constants.keys():
        return None
    read = {value.name: value for value in begins if value is not None} | {name: constants[name] for name in outer}
    limit = most if count is None else min(most, int(tensor_of(count).numpy().ravel()[0]))
    taken = read.keys() | {name for each in nodes for name in (*each.input, *each.output)}
    mine = "bsc"
    while any(name and name.startswith(mine) for name in taken):
        mine += "'"
    results = [body.output[0], *(body.output[1 + at] for at in kept)]
    inner = helper.make_graph(
        [*nodes, helper.make_node("Identity", [body.input[0].name], [f"{mine}/run"])],
        "count",
        [*body.input[:2], *(body.input[2 + at] for at in kept)],
        [*results, helper.make_tensor_value_info(f"{mine}/run", onnx.TensorProto.INT64, [])],
        list(body.initializer),
    )
    names = [value.name or "" for value in begins if value is not None]
    outputs = [*(f"{mine}/state{at}" for at in kept), f"{mine}/runs"]
    loop = helper.make_node("Loop", [f"{mine}/most", "", *names], outputs, body=inner)
    tensors = [numpy_helper.from_array(np.array(limit), f"{mine}/most"), *map(serialised, read.values())]
    graph = helper.make_graph([loop], "runs", [], [onnx.ValueInfoProto(name=outputs[-1])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    try:
        (runs,) = quiet_session(model.SerializeToString(), as_written=True).run(outputs[-1:], {})
    except Exception:  # whatever is wrong with it: it then runs with the model, where onnxruntime says so
        return None
    return len(runs)


def _needed(body: onnx.GraphProto) -> tuple[list[onnx.NodeProto], list[int], set[str]] | None:
    """What a condition follows from: operators, numbers of states and names from outside; None if it is not simple."""
    makers = {name: node for node in body.node for name in node.output}
    states = {value.name: at for at, value in enumerate(body.input[2:])}
    own = {tensor.name for tensor in body.initializer} | {value.name for value in body.input[:2]}
    seen, waiting, outer = set(own), [body.output[0].name], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or not name:
            continue
        seen.add(name)
        if name in makers:
            node = makers[name]
            if node.op_type in RANDOM or any(attr.HasField("g") or attr.graphs for attr in node.attribute):
                return None
            waiting += node.input
        elif name in states:
            waiting.append(body.output[1 + states[name]].name)
        else:
            outer.add(name)
    nodes = [node for node in body.node if any(name in seen for name in node.output)]
    return nodes, sorted(states[name] for name in seen & states.keys()), outer
