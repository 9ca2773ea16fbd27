"""Attributes of an ONNX operator, of the type that ONNX says."""

from collections.abc import Iterable, Iterator, Sequence

import onnx
import onnx_ir as ir

from bsc.errors import ModelError


def integer(node: ir.Node, name: str, default: int) -> int:
    """An INT. Raises `ModelError` BSC301, as the others do, for one of another type."""
    attr = _attribute(node, name, ir.AttributeType.INT)
    return default if attr is None else attr.as_int()


def real(node: ir.Node, name: str, default: float) -> float:
    """A FLOAT."""
    attr = _attribute(node, name, ir.AttributeType.FLOAT)
    return default if attr is None else attr.as_float()


def text(node: ir.Node, name: str, default: str) -> str:
    """A STRING."""
    attr = _attribute(node, name, ir.AttributeType.STRING)
    return default if attr is None else attr.as_string()


def integers(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """INTS."""
    attr = _attribute(node, name, ir.AttributeType.INTS)
    return default if attr is None else tuple(attr.as_ints())


def reals(node: ir.Node, name: str) -> tuple[float, ...]:
    """FLOATS; none if there is no such attribute."""
    attr = _attribute(node, name, ir.AttributeType.FLOATS)
    return () if attr is None else tuple(attr.as_floats())


def texts(node: ir.Node, name: str) -> tuple[str, ...]:
    """STRINGS; none if there is no such attribute."""
    attr = _attribute(node, name, ir.AttributeType.STRINGS)
    return () if attr is None else tuple(attr.as_strings())


def bodies(node: ir.Node) -> Sequence[ir.Graph]:
    """The graphs that an operator holds, such as the branches of an If; not those in them."""
    if not node.attributes.data:
        return ()
    held: list[ir.Graph] = []
    for attr in node.attributes.values():
        if attr.type == ir.AttributeType.GRAPH and attr.value is not None:
            held.append(attr.value)
        elif attr.type == ir.AttributeType.GRAPHS:
            held += attr.value or ()
    return held


def inner_graphs(graph: ir.Graph | ir.Function) -> Iterator[ir.Graph]:
    """The bodies of all operators of a graph, and of those in them."""
    return _with_inner([node for node in graph if node.attributes.data])


def _with_inner(holders: Iterable[ir.Node]) -> Iterator[ir.Graph]:
    """The bodies of nodes, and those in them."""
    waiting = [body for node in holders for body in bodies(node)]
    while waiting:
        body = waiting.pop()
        yield body
        waiting += [inner for node in body for inner in bodies(node)]


def all_nodes(graph: ir.Graph | ir.Function) -> Iterator[ir.Node]:
    """The nodes of a graph, and of the bodies in it; onnx-ir's own iterator takes several times as long."""
    holders = []
    for node in graph:
        if node.attributes.data:  # which takes a tenth of the time of asking the attributes themselves
            holders.append(node)
        yield node
    for body in _with_inner(holders):
        yield from body


def write_node(node: ir.Node, proto: onnx.NodeProto) -> None:
    """Fill in a node as ONNX writes it; onnx-ir's own function takes twice as long for one of nothing but names."""
    more = node.attributes.data or node.overload or node.doc_string or node.metadata_props
    outputs = [value.name for value in node.outputs]
    if more or not all(outputs):
        ir.serde.serialize_node_into(proto, node)
        return
    proto.op_type = node.op_type
    if node.domain:
        proto.domain = node.domain
    if node.name:
        proto.name = node.name
    proto.input.extend([value.name if value is not None else "" for value in node.inputs])
    proto.output.extend(outputs)


def _attribute(node: ir.Node, name: str, kind: ir.AttributeType) -> ir.Attr | None:
    attr = node.attributes.get(name)
    if attr is not None and (attr.type != kind or attr.value is None):
        raise ModelError(
            "BSC301",
            f"layer '{node.name}' ({node.op_type}): attribute '{name}' has the wrong type",
            seen=attr.type.name if attr.value is not None else "a reference to an attribute outside a function",
            fix=f"export the model again; ONNX wants {kind.name}",
        )
    return attr
