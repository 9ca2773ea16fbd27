"""Models of old opsets, brought to the oldest one that the rest of bsc reads.

`CHANGED` lists every operator whose meaning or form differs between the opsets of `CONVERTED` and `TARGET`; all others
are written in opset 11 as they were in opset 6. Nodes in bodies of If, Loop and Scan are converted like all others.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, DTypeLike, NDArray

from bsc.errors import ModelError
from bsc.frontend.attributes import integer, integers, real, reals, text
from bsc.frontend.builder import Names, rank_of
from bsc.frontend.constants import is_constant, sizes_of, tensor_of
from bsc.frontend.inference import Inference
from bsc.frontend.model_file import cause, quiet

CONVERTED = range(6, 11)
TARGET = 11


def upgraded(model: ir.Model, path: Path) -> ir.Model:
    """The model, converted in place if its opset is in `CONVERTED`.

    Raises:
        ModelError: BSC304 if it cannot be converted.
    """
    domain = "" if "" in model.opset_imports else "ai.onnx"
    version = model.opset_imports.get(domain)
    if version is None or version not in CONVERTED:
        return model
    names = Names(model.graph)
    try:
        if version < 7:  # broadcasting by axis numbers needs the number of axes
            with quiet(), contextlib.suppress(Exception):  # what is not told stays unknown
                Inference(model).run()
        for node in list(model.graph.all_nodes()):
            below, convert = CHANGED.get(node.op_type, (0, None)) if node.domain in ("", "ai.onnx") else (0, None)
            if convert is not None and version < below:
                convert(Old(node=node, version=version, names=names))
    except ModelError:
        raise
    except Exception as error:  # nobody has checked the graph: anything may be missing or of another kind
        raise ModelError(
            "BSC304",
            f"model '{path.name}': opset {version} cannot be converted to opset {TARGET}",
            seen=str(error) if isinstance(error, Unconvertible) else cause(error),
            fix="export the model again with an opset of 11 to 25",
        ) from None
    model.opset_imports[domain] = TARGET
    return model


class Unconvertible(Exception):  # noqa: N818
    """Why a node has no equal in opset 11."""


@dataclass(frozen=True, kw_only=True)
class Old:
    """A node of an old opset.

    Attributes:
        node: the node.
        version: its opset.
        names: in use.
    """

    node: ir.Node
    version: int
    names: Names

    def refuse(self, why: str) -> Unconvertible:
        """The error for a node of which the new opset has no equal."""
        return Unconvertible(f"{self.node.op_type} {self.node.name or ''}: {why}".replace(" :", ":"))

    def constant(self, values: ArrayLike, dtype: DTypeLike) -> ir.Value:
        """A new constant in front of the node."""
        return self.before("Constant", [], value=ir.tensor(np.array(values, dtype)))

    def before(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """A new operator in front of the node; its result."""
        node = self._made(op_type, inputs, attributes, 1)
        node.outputs[0].name = self.names.value(f"{self.node.name}/{op_type}")
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, node)
        return node.outputs[0]

    def become(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> None:
        """Put another operator in the node's place, with its name and outputs."""
        new = self._made(op_type, inputs, attributes, len(self.node.outputs))
        new.name = self.node.name
        assert self.node.graph is not None
        ir.convenience.replace_nodes_and_values(
            self.node.graph, self.node, [self.node], [new], self.node.outputs, new.outputs
        )

    def drop(self, *attributes: str) -> None:
        """Take attributes away that the new opset does not have."""
        for name in attributes:
            self.node.attributes.pop(name, None)

    def _made(
        self, op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any], outputs: int
    ) -> ir.Node:
        name = self.names.node(f"{self.node.name or self.node.op_type}/{op_type}")
        return ir.node(op_type, inputs, attributes, num_outputs=outputs, name=name)


def _elementwise(old: Old) -> None:
    """The second operand was spread over the first from an axis on; now it is from the last axis backwards."""
    left, right = old.node.inputs
    axis = integer(old.node, "axis", -1)
    if integer(old.node, "broadcast", 0) and "axis" in old.node.attributes:
        _spread(old, left, right, axis)
    old.drop("axis", "broadcast", "consumed_inputs")


def _spread(old: Old, left: ir.Value | None, right: ir.Value | None, axis: int) -> None:
    """Give the second input as many axes of size 1 behind its own as put its first on `axis` of the first."""
    ranks = rank_of(left), rank_of(right)
    if ranks[0] is None or ranks[1] is None:
        raise old.refuse("it is spread from an axis on, and the number of axes is unknown")
    behind = ranks[0] - axis % ranks[0] - ranks[1]
    if behind > 0:
        axes = list(range(ranks[1], ranks[1] + behind))
        old.node.replace_input_with(1, old.before("Unsqueeze", [right], axes=axes))


def _gemm(old: Old) -> None:
    """The bias is spread without being asked to."""
    old.drop("broadcast")


def _batch_normalization(old: Old) -> None:
    """Only statistics of channels that are given are left."""
    if integer(old.node, "spatial", 1) == 0:
        raise old.refuse("it has statistics for every place (spatial=0)")
    if old.version < 7 and integer(old.node, "is_test", 0) == 0:
        raise old.refuse("it normalises by the batch (is_test=0)")
    old.drop("spatial", "is_test", "consumed_inputs")


def _dropout(old: Old) -> None:
    """The mask had the type of the input."""
    if old.version < 7 and integer(old.node, "is_test", 0) == 0:
        raise old.refuse("it drops values (is_test=0)")
    if any(value.uses() or value.is_graph_output() for value in old.node.outputs[1:]):
        raise old.refuse("its mask is read")
    old.drop("is_test", "consumed_inputs")


def _prelu(old: Old) -> None:
    """One slope for each channel lay along axis 1."""
    x, slope = old.node.inputs
    if rank_of(slope) != 1 or not is_constant(slope) or sizes_of(slope) != (1,):
        _spread(old, x, slope, 1)
    old.drop("consumed_inputs")


def _recurrent(old: Old) -> None:
    """Whether there is a sequence of outputs follows from who reads it."""
    old.drop("output_sequence")


def _resize(old: Old) -> None:
    """Outputs lie on inputs from the first one on, and the nearest one is the one before; downwards, the one behind."""
    x, *rest = old.node.inputs
    if rest:
        scales = rest[0]
    elif "scales" in old.node.attributes:
        scales = old.constant(reals(old.node, "scales"), np.float32)
    else:  # before opset 7
        height, width = (real(old.node, f"{side}_scale", 1.0) for side in ("height", "width"))
        scales = old.constant([1.0, 1.0, height, width], np.float32)
    mode = text(old.node, "mode", "nearest")
    if mode == "nearest":
        values = _constant(scales)
        if values is None and old.node.op_type != "Upsample":  # which never makes an axis shorter
            raise old.refuse("its scales are computed at run time")
        shrinks, grows = (False, True) if values is None else (bool((values < 1).any()), bool((values > 1).any()))
        if values is not None and shrinks and grows:
            x = _resized(old, x, old.constant(np.minimum(values, 1), np.float32), mode="nearest", nearest_mode="ceil")
            scales, shrinks = old.constant(np.maximum(values, 1), np.float32), False
        how = {"mode": "nearest", "nearest_mode": "ceil" if shrinks else "floor"}
    elif mode in ("linear", "bilinear"):
        how = {"mode": "linear"}
    else:
        raise old.refuse(f"mode {mode}")
    old.become("Resize", [x, old.constant([], np.float32), scales], coordinate_transformation_mode="asymmetric", **how)


def _resized(old: Old, x: ir.Value | None, scales: ir.Value, **how: str) -> ir.Value:
    inputs = [x, old.constant([], np.float32), scales]
    return old.before("Resize", inputs, coordinate_transformation_mode="asymmetric", **how)


def _constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The values of a constant, if it is one."""
    source = None if value is None else value.producer()
    if is_constant(value):
        return tensor_of(value).numpy()
    return source.attributes["value"].as_tensor().numpy() if source and source.op_type == "Constant" else None


def _slice(old: Old) -> None:
    """Bounds become inputs."""
    starts, ends = integers(old.node, "starts", ()), integers(old.node, "ends", ())
    axes = integers(old.node, "axes", tuple(range(len(starts))))
    old.become("Slice", [old.node.inputs[0], *(old.constant(values, np.int64) for values in (starts, ends, axes))])


def _top_k(old: Old) -> None:
    """The number becomes an input."""
    count = old.constant([integer(old.node, "k", 1)], np.int64)
    old.become("TopK", [old.node.inputs[0], count], axis=integer(old.node, "axis", -1))


def _clip(old: Old) -> None:
    """Bounds become inputs. Without one, values are still bounded by the largest float32."""
    x = old.node.inputs[0]
    kind = np.dtype(np.float32) if x is None or x.dtype is None else x.dtype.numpy()
    largest = float(np.finfo(np.float32).max)
    with np.errstate(over="ignore"):  # of a half-precision number
        bounds = [old.constant(real(old.node, *each), kind) for each in (("min", -largest), ("max", largest))]
    old.become("Clip", [x, *bounds])


def _pad(old: Old) -> None:
    """Pads and value become inputs."""
    x = old.node.inputs[0]
    kind = np.dtype(np.float32) if x is None or x.dtype is None else x.dtype.numpy()
    pads, value = integers(old.node, "pads", ()), real(old.node, "value", 0.0)
    inputs = [x, old.constant(pads, np.int64), *([old.constant(value, kind)] if value else [])]
    old.become("Pad", inputs, mode=text(old.node, "mode", "constant"))


def _scatter(old: Old) -> None:
    """Has another name."""
    old.become("ScatterElements", old.node.inputs, axis=integer(old.node, "axis", 0))


def _scan(old: Old) -> None:
    """Every input had a batch, each sample its own length."""
    raise old.refuse("it runs along axis 1 of a batch")


ELEMENTWISE = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")
CHANGED: Mapping[str, tuple[int, Callable[[Old], None]]] = {
    **dict.fromkeys(ELEMENTWISE, (7, _elementwise)),
    "BatchNormalization": (9, _batch_normalization),
    "Clip": (11, _clip),
    "Dropout": (10, _dropout),
    "GRU": (7, _recurrent),
    "Gemm": (7, _gemm),
    "LSTM": (7, _recurrent),
    "PRelu": (7, _prelu),
    "Pad": (11, _pad),
    "RNN": (7, _recurrent),
    "Resize": (11, _resize),
    "Scan": (9, _scan),
    "Scatter": (11, _scatter),
    "Slice": (10, _slice),
    "TopK": (10, _top_k),
    "Upsample": (10, _resize),
}
"""Operator: the first opset in which it is as in opset 11, and what brings older ones there."""
