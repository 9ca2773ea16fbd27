"""The imported graph in PyTorch: evaluates it with gradients; its parameters are ONNX initialisers by name."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor

from bsc.errors import ModelError
from bsc.ir.graph import DigitalOp, Graph, Op
from bsc.ir.layer import CrossbarLayer
from bsc.numeric.im2col import ConvGeometry, output_sizes
from bsc.train.operators import OPERATORS, Operator, unsupported

Prepare = Callable[[CrossbarLayer, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Given a layer, its activation and its stored weight, what it computes with in their place."""

Disturb = Callable[[CrossbarLayer, Tensor], Tensor]
"""Given a layer and its result, channels on axis 1 of a convolution's and on the last one of others, what it gives."""

FEW_PIXELS = 4
"""Output pixels up to which a convolution is one matrix product. On a CPU its own gradient takes two to three times as
long for 2x2 maps and half as long for 8x8 maps; for 4x4 maps it depends on the channels (AVX2 and AMX measured)."""

# Constants that training may change, by operator and input. Others hold sizes, indices, limits or statistics.
_TRAINED_INPUTS: Mapping[str, tuple[int, ...]] = {
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3),
    "LayerNormalization": (1, 2),
    "Mul": (0, 1),
    "PRelu": (1,),
}


class Network:
    """A graph as a function of PyTorch tensors.

    Args:
        graph: imported as written, maybe rewritten by passes up to `quantize`.
        device: where it computes, such as "cpu" or "cuda:0".

    Attributes:
        graph: the same graph.
        constants: every initialiser that an operator reads, `parameters` among them.
        parameters: leaf tensors that training changes, by initialiser; shapes are the initialisers' own.

    Raises:
        ModelError: BSC310 for an operator that is not in `OPERATORS`.
    """

    def __init__(self, graph: Graph, device: str = "cpu") -> None:
        self.graph = graph
        self._device = torch.device(device)
        self._ops = [op if isinstance(op, CrossbarLayer) else _with_operator(graph, op) for op in graph.ops()]
        trained = _trained(graph)
        read = {name for op in graph.ops() for name in op.inputs if graph.has_array(name)}
        self.constants = {name: self._tensor(graph.array(name)) for name in read | trained}
        self.parameters = {name: self.constants[name].requires_grad_() for name in sorted(trained)}
        self._last_use = {name: position for position, op in enumerate(graph.ops()) for name in op.inputs}

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array, order="C")).to(self._device)

    def run(
        self, feeds: Mapping[str, Tensor], prepare: Prepare | None = None, disturb: Disturb | None = None
    ) -> dict[str, Tensor]:
        """Evaluate the graph.

        Args:
            feeds: every model input, on the network's device.
            prepare: called for each crossbar layer; None computes in floating point.
            disturb: called with what each of them gives, or None.

        Returns:
            The model's outputs by name.

        Raises:
            ModelError: BSC310 for a use of an operator that is not covered or does not fit its inputs.
        """
        tensors = {**self.constants, **feeds}
        for position, step in enumerate(self._ops):
            op = step if isinstance(step, CrossbarLayer) else step[0]
            if isinstance(step, CrossbarLayer):
                result = self._layer(step, tensors[step.input], prepare)
                tensors[step.output] = result if disturb is None else disturb(step, result)
            else:
                tensors |= self._digital(step[0], step[1], tensors)
            for name in op.inputs:
                if self._last_use[name] == position and name not in self.graph.outputs:
                    tensors.pop(name, None)
        return {name: tensors[name] for name in self.graph.outputs}

    def _layer(self, layer: CrossbarLayer, x: Tensor, prepare: Prepare | None) -> Tensor:
        weight = self.constants[layer.weight]
        if prepare is not None:
            x, weight = prepare(layer, x, weight)
        bias = None if layer.bias is None else self.constants[layer.bias].reshape(-1)
        if layer.conv is None:
            return F.linear(x, weight if layer.transposed else weight.T, bias)
        return convolve(x, weight, bias, layer.conv, layer.groups)

    def _digital(self, op: DigitalOp, operator: Operator, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        inputs = [tensors[name] if name else None for name in op.inputs]
        try:
            results = OPERATORS[op.op_type](operator, inputs)
        except ModelError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise unsupported(operator, str(error).splitlines()[0][:200]) from error
        return dict(zip((name for name in op.outputs), results, strict=False))


def _with_operator(graph: Graph, op: Op) -> tuple[DigitalOp, Operator]:
    assert isinstance(op, DigitalOp), f"'{op.name}' shares crossbars: the graph was not imported as written"
    return op, _operator(graph, op)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, conv: ConvGeometry, groups: int = 1) -> Tensor:
    """A convolution, (B, channels, *spatial) to (B, N, *positions), by whichever way is faster."""
    sizes = output_sizes(conv, tuple(x.shape[2:]))
    before, after = zip(*conv.pads, strict=True)
    if before != after:
        x = F.pad(x, [size for pair in reversed(conv.pads) for size in pair])
        before = (0,) * len(before)
    steps = {"stride": conv.strides, "dilation": conv.dilations, "padding": before}
    if len(sizes) == 2 and groups == 1 and math.prod(sizes) <= FEW_PIXELS:
        patches = F.unfold(x, conv.kernel, **steps).movedim(1, 2)
        return F.linear(patches, weight.flatten(1), bias).movedim(1, 2).reshape(len(x), len(weight), *sizes)
    result: Tensor = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(sizes)](x, weight, bias, groups=groups, **steps)
    return result


def _operator(graph: Graph, op: DigitalOp) -> Operator:
    node = onnx.NodeProto.FromString(op.node)
    operator = Operator(
        name=op.name,
        op_type=op.op_type,
        opset=graph.info.opsets[""],
        outputs=max((position + 1 for position, name in enumerate(op.outputs) if name), default=0),
        attributes={attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
    )
    if op.domain or op.op_type not in OPERATORS:
        raise unsupported(operator, f"no gradient for {op.domain + '.' if op.domain else ''}{op.op_type}")
    return operator


def _trained(graph: Graph) -> set[str]:
    """Initialisers to train: weights and biases of layers, and the digital operators' of `_TRAINED_INPUTS`."""
    names: set[str] = set()
    for op in graph.ops():
        if isinstance(op, CrossbarLayer):
            names |= {op.weight} | ({op.bias} if op.bias else set())
        elif isinstance(op, DigitalOp):
            inputs = [op.inputs[at] for at in _TRAINED_INPUTS.get(op.op_type, ()) if at < len(op.inputs)]
            names |= {name for name in inputs if name and graph.has_array(name) and _is_weight(graph.array(name))}
    return names


def _is_weight(array: NDArray[Any]) -> bool:
    """Single numbers are scales of the architecture, and a mask holds infinities."""
    return array.dtype.kind == "f" and array.size > 1 and bool(np.isfinite(array).all())
