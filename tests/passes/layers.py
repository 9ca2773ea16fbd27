"""Tiny graphs straight from NumPy arrays, and shorthands that the tests of passes and pipeline share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from bsc.ir.graph import Attribute, DigitalOp, Graph, ModelInfo, Op, TensorType
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import Pass
from bsc.ir.pipeline import run_pipeline
from bsc.mapping.arrays import SPECS, array_key
from bsc.mapping.layer import Quantised

FC_WEIGHT = "fc.weight"


def fc(rows: int, columns: int, **fields: Any) -> CrossbarLayer:
    """A MatMul layer 'fc' from 'x' to 'y' whose weights are the array `FC_WEIGHT`; `fields` differ from that."""
    plain: dict[str, Any] = {"name": "fc", "op_type": "MatMul", "input": "x", "output": "y", "vectors": 1}
    plain |= {"weight": FC_WEIGHT, "transposed": False, "bias": None}
    return CrossbarLayer(rows=rows, columns=columns, **plain | fields)


def digital(op_type: str, inputs: str, outputs: str, domain: str = "", **attributes: Attribute) -> DigitalOp:
    """An operator named after its kind and first output; tensors are given as "a b c", "-" for an omitted one."""
    reads, writes = (tuple("" if name == "-" else name for name in names.split()) for names in (inputs, outputs))
    return DigitalOp(
        name=f"{op_type}:{writes[0]}",
        op_type=op_type,
        domain=domain,
        inputs=reads,
        outputs=writes,
        attributes=attributes,
        node=b"",
    )


def network(
    *ops: Op,
    arrays: Mapping[str, ArrayLike],
    outputs: tuple[str, ...] = ("y",),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Graph:
    """A graph with the model input 'x'; shapes not given are unknown. A pass that writes to `arrays` fails.

    Of these, arrays of layers count as computed by a pass, and those of a layer that is quantised have its bias too.
    """
    names = {name for op in ops for name in (*op.inputs, *op.outputs)} | {"x"}
    layers = [op for op in ops if isinstance(op, CrossbarLayer)]
    computed = {array_key(layer.name, name) for layer in layers for name in SPECS}
    frozen = {key: _frozen(values) for key, values in arrays.items()}
    for layer in layers:
        if layer.quant is not None and layer.bias is not None:
            frozen[array_key(layer.name, "bias")] = frozen[layer.bias].ravel()
    return Graph(
        info=ModelInfo(name="tiny.onnx", sha256="0" * 64, opsets={"": 17}, dynamic_batch=False),
        ops=ops,
        tensors={name: TensorType(name=name, shape=(shapes or {}).get(name), dtype="float32") for name in names},
        inputs=("x",),
        outputs=outputs,
        arrays={key: values for key, values in frozen.items() if key not in computed},
        own={key: values for key, values in frozen.items() if key in computed},
        ranges=ranges,
    )


def _frozen(values: ArrayLike) -> NDArray[Any]:
    copy = np.array(values)
    copy.flags.writeable = False
    return copy


def float_layer(weight: ArrayLike, *, ranges: Mapping[str, tuple[float, float]] | None = None) -> Graph:
    """One layer with these float32 weights (K, N), not quantised."""
    matrix = np.asarray(weight, np.float32)
    return network(fc(*matrix.shape), arrays={FC_WEIGHT: matrix}, ranges=ranges)


def coded_layer(codes: ArrayLike, *, weight_bits: int = 8, groups: int = 1) -> Graph:
    """One layer with these codes (K, N), as if `quantize` had made them, each worth 1."""
    matrix = np.asarray(codes, np.int16)
    quant = Quantised(weight_bits=weight_bits, input_bits=8, input_signed=False, input_scale=None, input_zero_point=0)
    layer = fc(*matrix.shape, groups=groups, quant=quant)
    arrays: dict[str, ArrayLike] = {array_key("fc", "codes"): matrix, array_key("fc", "weight_scale"): [1.0]}
    return network(layer, arrays={FC_WEIGHT: matrix, **arrays})


def compiled(graph: Graph, *passes: Pass) -> Graph:
    """The graph after these passes, each checked by the driver."""
    return run_pipeline(graph, passes)[0]


def the_layer(graph: Graph) -> CrossbarLayer:
    """The only crossbar layer."""
    (layer,) = graph.layers()
    return layer


def array(graph: Graph, name: str, layer: str = "fc") -> NDArray[Any]:
    """An array of a layer that must be there."""
    return graph.arrays_of(layer)[name]


def assert_runs_once(step: Pass, graph: Graph) -> None:
    """The pass changes 'fc', leaves the given graph as it was, and the second time returns the very same graph."""
    before = str(graph)
    first = step.run(graph)
    assert first.changed == ("fc",)
    assert str(graph) == before
    again = step.run(first.graph)
    assert again.graph is first.graph
    assert again.changed == ()


@st.composite
def sparse_codes(draw: st.DrawFn) -> NDArray[np.int16]:
    """8-bit codes (K, N) of up to 40 x 12, most of them zero, with some rows and columns of zeros."""
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = random.integers(-255, 255, shape, np.int16, endpoint=True)
    for share, size in ((0.6, shape), (0.3, (shape[0], 1)), (0.3, (1, shape[1]))):
        codes[np.broadcast_to(random.random(size) < share, shape)] = 0
    return codes
