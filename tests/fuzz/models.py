"""Mutations of ONNX models: each takes a random generator and a model, and changes the model."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

from tests.fuzz.seeds import tensor

Mutation = Callable[[Random, onnx.ModelProto], None]

SIZES = (-1, 0, 1, 2, 3, 7, 64, 1 << 16, 1 << 24, 1 << 31, (1 << 31) - 1, 1 << 40, 1 << 62, (1 << 63) - 1, -(1 << 63))
NAMES = ("", "x", "y", "w", "h", "w0", "own", "a" * 70_000, "../x", "a/b", "\0", "é" * 40, "{}%s", "[b]", "x\ny")
HOSTILE_NAMES = (
    "a\x1b[31mb",
    "\x1b]0;t\x07",
    "c\rd",
    "e\nf",
    "\x7f",
    "\x9b2J",
    "\u202ebca",
    "\u2028",
    "\ufeff",
    "g\th",
    " ",
    "\x01",
)
"""They end lines, move a terminal's cursor, change its colour or title, or turn the direction of writing."""
OWN_NAMES = (
    "MatMul_0",
    "MatMul_1",
    "Gemm_0",
    "0",
    "fc0",
    "crossbars",
    "input",
    "h",
    "N",
    "None",
    "batch",
    "x_0",
    "bsc",
)
"""As the compiler itself, or an exporter, makes them up."""
GROWING = ("ConstantOfShape", "Expand", "Tile", "Range", "Where", "OneHot", "EyeLike", "Resize", "Pad", "HannWindow")


def graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """The graph and all bodies within it."""
    found, waiting = [], [model.graph]
    while waiting:
        graph = waiting.pop()
        found.append(graph)
        for node in graph.node:
            for attr in node.attribute:
                waiting += [attr.g] if attr.HasField("g") else list(attr.graphs)
    return found


def nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of all graphs and functions."""
    return [*(node for graph in graphs(model) for node in graph.node), *(n for f in model.functions for n in f.node)]


def some(random: Random, items: Sequence[Any]) -> Any:
    """One of the items, None if there are none."""
    return random.choice(items) if len(items) else None


def change_initializer(random: Random, model: onnx.ModelProto) -> None:
    target = some(random, model.graph.initializer)
    if target is None:
        return
    match random.randrange(8):
        case 0:
            target.dims[:] = [random.choice(SIZES) for _ in range(random.randrange(5))]
        case 1 if target.dims:
            target.dims[random.randrange(len(target.dims))] = random.choice(SIZES)
        case 2:
            target.data_type = random.choice([*range(-1, 30), 1 << 30])
        case 3:
            target.raw_data = random.randbytes(random.randrange(64))
        case 4:
            target.ClearField("raw_data")
        case 5:
            target.float_data.extend([random.random()] * random.randrange(9))
        case 6:
            values = np.frombuffer(target.raw_data[: len(target.raw_data) // 4 * 4], np.float32).copy()
            values[: random.randrange(3)] = random.choice([np.nan, np.inf, -np.inf, 1e38, 1e-40])
            target.raw_data = values.tobytes()
        case _:
            target.name = random.choice(NAMES)


def drop_or_repeat(random: Random, model: onnx.ModelProto) -> None:
    graph = random.choice(graphs(model))
    field = random.choice(
        [graph.node, graph.initializer, graph.input, graph.output, model.opset_import, model.functions]
    )
    if not len(field):
        return
    index = random.randrange(len(field))
    if random.random() < 0.5:
        field.add().CopyFrom(field[index])
    else:
        del field[index]


def reorder(random: Random, model: onnx.ModelProto) -> None:
    graph = random.choice(graphs(model))
    shuffled = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    random.shuffle(shuffled)
    del graph.node[:]
    graph.node.extend(shuffled)


def rewire(random: Random, model: onnx.ModelProto) -> None:
    everything = nodes(model)
    names = [name for node in everything for name in (*node.input, *node.output)] + list(NAMES)
    node = some(random, everything)
    if node is None:
        return
    field = node.input if random.random() < 0.7 else node.output
    match random.randrange(4):
        case 0 if len(field):
            field[random.randrange(len(field))] = random.choice(names)
        case 1 if len(field):
            del field[random.randrange(len(field))]
        case 2:
            field.append(random.choice(names))
        case _:
            node.name = random.choice(names)


def change_operator(random: Random, model: onnx.ModelProto) -> None:
    node = some(random, nodes(model))
    if node is None:
        return
    if random.random() < 0.3:
        node.domain = random.choice(["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "own", "\0", "ai.onnx.training"])
    schemas = [schema.name for schema in onnx.defs.get_all_schemas()]
    others = [other.op_type for other in nodes(model)]
    node.op_type = random.choice([random.choice(schemas), random.choice(others), random.choice(NAMES)])


def change_attribute(random: Random, model: onnx.ModelProto) -> None:
    every = nodes(model)
    node = some(random, [node for node in every if node.attribute] if random.random() < 0.7 else every)
    if node is None:
        return
    known = ["axis", "axes", "perm", "to", "group", "strides", "dilations", "pads", "kernel_shape", "auto_pad", "alpha"]
    known += [
        "transA",
        "transB",
        "value",
        "body",
        "then_branch",
        "equation",
        "hidden_size",
        "direction",
        "sizes",
        "beta",
    ]
    attr = some(random, node.attribute) if random.random() < 0.7 else None
    name = random.choice(known) if attr is None else attr.name
    if attr is None:
        attr = node.attribute.add(name=name)
    match random.randrange(9):
        case 0:
            attr.CopyFrom(AttributeProto(name=name, type=AttributeProto.INT, i=random.choice(SIZES)))
        case 1:
            values = [random.choice(SIZES) for _ in range(random.randrange(7))]
            attr.CopyFrom(AttributeProto(name=name, type=AttributeProto.INTS, ints=values))
        case 2 if len(attr.ints):
            attr.ints[random.randrange(len(attr.ints))] = random.choice(SIZES)
        case 3:
            value = random.choice([0.0, 1.5, -1.0, float("nan"), float("inf"), 1e38])
            attr.CopyFrom(AttributeProto(name=name, type=AttributeProto.FLOAT, f=value))
        case 4:
            text = random.choice([b"", b"SAME_UPPER", b"\xff\xfe", b"ij,jk->ik", b"x" * 1000])
            attr.CopyFrom(AttributeProto(name=name, type=AttributeProto.STRING, s=text))
        case 5:
            attr.type = random.choice(range(15))
        case 6:
            attr.ref_attr_name = random.choice(NAMES)
        case 7:
            attr.CopyFrom(helper.make_attribute(name, tensor(np.ones(random.randrange(4), np.float32), "")))
        case _:
            attr.name = random.choice([*known, *NAMES])


def change_value(random: Random, model: onnx.ModelProto) -> None:
    graph = random.choice(graphs(model))
    value = some(random, [*graph.input, *graph.output, *graph.value_info])
    if value is None:
        return
    kind = value.type.tensor_type
    match random.randrange(6):
        case 0 if len(kind.shape.dim):
            kind.shape.dim[random.randrange(len(kind.shape.dim))].dim_value = random.choice(SIZES)
        case 1:
            kind.shape.dim.add(dim_value=random.choice(SIZES))
        case 2:
            kind.ClearField("shape")
        case 3:
            kind.elem_type = random.choice([*range(27), -1, 1 << 30])
        case 4:
            value.name = random.choice(NAMES)
        case _:
            value.ClearField("type")
            if random.random() < 0.5:
                value.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


def change_header(random: Random, model: onnx.ModelProto) -> None:
    match random.randrange(4):
        case 0:
            model.ir_version = random.choice([*SIZES, 3, 4, 13])
        case 1 if len(model.opset_import):
            random.choice(model.opset_import).version = random.choice([*SIZES, 8, 10, 11, 13, 18, 21, 25, 26])
        case 2 if len(model.opset_import):
            random.choice(model.opset_import).domain = random.choice(NAMES)
        case _:
            model.opset_import.add(domain=random.choice(NAMES), version=random.choice(SIZES))


def sparse(random: Random, model: onnx.ModelProto) -> None:
    target = some(random, model.graph.initializer)
    if target is None:
        return
    item = model.graph.sparse_initializer.add()
    item.values.CopyFrom(target)
    item.indices.CopyFrom(tensor(np.arange(random.randrange(4)), "indices"))
    item.dims[:] = [random.choice(SIZES) for _ in range(2)]


def external(random: Random, model: onnx.ModelProto) -> None:
    """Point an initialiser, or a tensor in an attribute, at a file."""
    places = [*model.graph.initializer, *(a.t for n in nodes(model) for a in n.attribute if a.HasField("t"))]
    target = some(random, places)
    if target is None:
        return
    target.ClearField("raw_data")
    target.data_location = TensorProto.EXTERNAL
    del target.external_data[:]
    where = ["weights.bin", "../secret.bin", "/etc/passwd", "/dev/zero", "link.bin", "pipe", ".", "", "weights.bin/x"]
    where += ["./weights.bin", "sub/../weights.bin", "\0", "x" * 5000, "/proc/self/mem", "pipe-link"]
    target.external_data.add(key="location", value=random.choice(where))
    if random.random() < 0.7:
        target.external_data.add(key="offset", value=str(random.choice([*SIZES, "x", "1.5", "", "0x10"])))
    if random.random() < 0.7:
        target.external_data.add(key="length", value=str(random.choice([*SIZES, "x", "", "-0"])))


def nest(random: Random, model: onnx.ModelProto) -> None:
    """Bodies within bodies, as deep as protobuf writes them."""
    inner = helper.make_graph([helper.make_node("Neg", ["x"], ["n0"])], "g", [], [onnx.ValueInfoProto(name="n0")])
    for depth in range(1, random.choice([2, 5, 12, 20])):
        bodies = {"then_branch": inner} | ({"else_branch": inner} if depth < 5 else {})
        node = helper.make_node("If", ["cond"], [f"n{depth}"], **bodies)
        inner = helper.make_graph([node], "g", [], [onnx.ValueInfoProto(name=f"n{depth}")])
    model.graph.initializer.append(tensor(np.array(random.random() < 0.5), "cond"))
    model.graph.node.extend(inner.node)
    model.graph.output.extend(inner.output)


def deep_bytes(depth: int) -> bytes:
    """A further node whose bodies are nested deeper than protobuf itself would write or read."""

    def field(number: int, content: bytes) -> bytes:
        length, size = b"", len(content)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = b""
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph)))
    return field(7, graph)


def call_functions(random: Random, model: onnx.ModelProto) -> None:
    """Functions that call each other: in a circle, in a long chain, or each the next one twice."""
    depth, calls = random.choice([(1, 1), (3, 2), (30, 2), (12, 9), (900, 1)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    circle = random.random() < 0.3
    for index in range(depth):
        last = index == depth - 1
        callee = "F0" if last and circle else "Relu" if last else f"F{index + 1}"
        domain = "" if callee == "Relu" else "own"
        body = [helper.make_node(callee, [f"t{n}"], [f"t{n + 1}"], domain=domain) for n in range(calls)]
        model.functions.append(helper.make_function("own", f"F{index}", ["t0"], [f"t{calls}"], body, opsets))
    if not any(opset.domain == "own" for opset in model.opset_import):
        model.opset_import.add(domain="own", version=1)
    source = some(random, model.graph.input)
    model.graph.node.append(helper.make_node("F0", [source.name if source else "x"], ["called"], domain="own"))
    model.graph.output.append(onnx.ValueInfoProto(name="called"))


def grow(random: Random, model: onnx.ModelProto) -> None:
    """Small constants that become huge ones when they are folded or run."""
    kind, size = random.choice(GROWING), random.choice([1 << 10, 1 << 20, 1 << 28, 1 << 31, 1 << 36, 1 << 50])
    constants: dict[str, Any] = {"g0": np.array([size]), "g1": np.ones(1, np.float32)}
    wide = np.ones(8000, np.bool_)
    inputs = {
        "ConstantOfShape": ["g0"],
        "Expand": ["g1", "g0"],
        "Tile": ["g1", "g0"],
        "Range": ["g2", "g3", "g4"],
        "Where": ["g5", "g6", "g7"],
        "OneHot": ["g8", "g3", "g9"],
        "EyeLike": ["g6"],
        "Resize": ["g10", "", "g11"],
        "Pad": ["g1", "g12"],
        "HannWindow": ["g3"],
    }[kind]
    constants |= {"g2": np.array(0), "g3": np.array(size), "g4": np.array(1)}
    constants |= {"g5": wide[:, None, None], "g6": wide[None, :, None].astype(np.float32)}
    constants |= {
        "g7": wide[None, None, :].astype(np.float32),
        "g8": np.arange(9),
        "g9": np.array([0, 1.0], np.float32),
    }
    constants |= {"g10": np.ones((1, 1, 1, 1), np.float32), "g11": np.array([1, 1, size, size], np.float32)}
    constants |= {"g12": np.array([0, size])}
    model.graph.initializer.extend(tensor(constants[name], name) for name in inputs if name)
    for copy in range(random.choice([1, 1, 30])):
        model.graph.node.append(helper.make_node(kind, inputs, [f"grown{copy}"]))
        model.graph.output.append(onnx.ValueInfoProto(name=f"grown{copy}"))


def functions_of_one_name(random: Random, model: onnx.ModelProto) -> None:
    """Functions that share their name with others, in other domains or overloads, or with an operator."""
    name = random.choice(["F", "F", "MatMul", "Relu", "F_1", random.choice(HOSTILE_NAMES)])
    domains = random.sample(["own", "own.more", "more", "own_F", "", "ai.onnx", "com.microsoft"], 2)
    overloads = random.choice([[""], [""], ["", "1"], ["a", "b"]])
    if overloads != [""] or random.random() < 0.5:
        model.ir_version = 10
    source = some(random, model.graph.input)
    reads = source.name if source else "x"
    keys = [(domain, overload) for domain in domains for overload in overloads]
    keys += [keys[0]] if random.random() < 0.1 else []
    for index, (domain, overload) in enumerate(keys):
        body = [helper.make_node(random.choice(["Relu", "Neg", "Abs"]), ["t"], ["u"])]
        if index and random.random() < 0.5:  # one calls another of its name
            other, more = keys[0]
            body += [helper.make_node(name, ["u"], ["v"], domain=other, overload=more)]
        body += [helper.make_node("Identity", [body[-1].output[0]], ["r"])]
        used = dict.fromkeys([domain, keys[0][0]], 1) | dict.fromkeys(["", "ai.onnx"], 17)
        opsets = [helper.make_opsetid(*each) for each in used.items()]
        made = helper.make_function(domain, name, ["t"], ["r"], body, opsets)
        made.overload = overload
        model.functions.append(made)
        written = f"one{index}"
        model.graph.node.append(helper.make_node(name, [reads], [written], domain=domain, overload=overload))
        model.graph.output.append(onnx.ValueInfoProto(name=written))
        reads = written if random.random() < 0.5 else reads
    for domain in domains:
        if domain not in ("", "ai.onnx") and not any(opset.domain == domain for opset in model.opset_import):
            model.opset_import.add(domain=domain, version=1)


def rename(random: Random, model: onnx.ModelProto) -> None:
    """Tensors, nodes, open sizes or functions get hostile names, or one that others have, wherever they are named."""
    every, tops = nodes(model), graphs(model)
    tensors = sorted({name for node in every for name in (*node.input, *node.output) if name})
    chosen = random.sample(tensors, min(len(tensors), random.choice([1, 2, 50])))
    pool = random.choice([HOSTILE_NAMES, HOSTILE_NAMES, OWN_NAMES])
    new = {old: random.choice(pool) + (str(at) if random.random() < 0.9 else "") for at, old in enumerate(chosen)}
    for node in every:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
        node.name = random.choice(pool) if random.random() < 0.3 else node.name
    for graph in tops:
        values = [*graph.input, *graph.output, *graph.value_info]
        for value in (*values, *graph.initializer):
            value.name = new.get(value.name, value.name)
        for dim in (dim for value in values for dim in value.type.tensor_type.shape.dim):
            if dim.dim_param and random.random() < 0.5:
                dim.dim_param = random.choice(pool)
    for function in model.functions:
        function.input[:] = [new.get(name, name) for name in function.input]
        function.output[:] = [new.get(name, name) for name in function.output]


def chain(random: Random, model: onnx.ModelProto) -> None:
    """A long chain of operators, in either order; some of 10^5."""
    source = some(random, model.graph.input)
    length = random.choices([200, 3000, 100_000], [91, 8, 1])[0]
    names = [source.name if source else "x", *(f"c{index}" for index in range(length))]
    links = [helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)]
    model.graph.node.extend(links if random.random() < 0.5 else links[::-1])
    model.graph.output.append(onnx.ValueInfoProto(name=names[-1]))


MUTATIONS: tuple[tuple[Mutation, int], ...] = (
    (change_initializer, 6),
    (drop_or_repeat, 5),
    (reorder, 1),
    (rewire, 6),
    (change_operator, 5),
    (change_attribute, 8),
    (change_value, 5),
    (change_header, 2),
    (sparse, 1),
    (external, 4),
    (nest, 1),
    (call_functions, 1),
    (functions_of_one_name, 2),
    (rename, 4),
    (grow, 3),
    (chain, 1),
)
"""Each with how often it is chosen."""


def mutated(random: Random, model: onnx.ModelProto) -> bytes:
    """The bytes of a changed copy: by one to four mutations, or by squared error to the bytes themselves."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if random.random() < 0.8:
        kinds, weights = zip(*MUTATIONS, strict=True)
        for mutation in random.choices(kinds, weights, k=random.choice([1, 1, 2, 4])):
            mutation(random, changed)
        deep = deep_bytes(random.choice([40, 2000])) if random.random() < 0.01 else b""
        if random.random() < 0.9:
            return bytes(changed.SerializeToString()) + deep
    return damaged(random, changed.SerializeToString())


def damaged(random: Random, content: bytes) -> bytes:
    """Bytes flipped, cut off, inserted or repeated."""
    data = bytearray(content)
    match random.randrange(4):
        case 0:
            for _ in range(random.choice([1, 1, 2, 8, 64])):
                if data:
                    data[random.randrange(len(data))] = random.randrange(256)
        case 1:
            del data[random.randrange(len(data) + 1) :]
        case 2:
            at = random.randrange(len(data) + 1)
            data[at:at] = random.randbytes(random.randrange(1, 20))
        case _:
            start = random.randrange(len(data) + 1)
            data[start:start] = data[start : start + random.randrange(200)]
    return bytes(data)
