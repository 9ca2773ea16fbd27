"""Puts an ONNX graph together: names that are unique, constants, and a limit on their size."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import helper, numpy_helper

from bsc.errors import DoesNotFitError

MAX_MODEL_BYTES = (1 << 31) - (1 << 24)
"""Protobuf ends at 2 GiB; the rest is for names and sizes of constants."""


class GraphBuilder:
    """Nodes and constants in the order they are made.

    Args:
        opset: version of the standard domain, 11 or more.
        taken: names of values that are in use already.

    Attributes:
        opset: as given.
        nodes: so far.
        constants: so far.
    """

    def __init__(self, opset: int, taken: Iterable[str]) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._values = set(taken)
        self._names: set[str] = set()  # of operators, which are apart from those of values
        self._bytes = 0

    def constant(self, name: str, values: ArrayLike, dtype: DTypeLike | None = None) -> str:
        """Name of a constant of these values; `name` itself if it is free."""
        array = np.ascontiguousarray(values, dtype).reshape(np.shape(values))
        self.require_room(array.nbytes)
        tensor = numpy_helper.from_array(array, self._unique(name))
        self.constants.append(tensor)
        return tensor.name

    def add(self, op_type: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append an operator with one output; returns the name of that, `name` itself if it is free."""
        output = self._unique(name)
        self.write(op_type, inputs, output, **attributes)
        return output

    def write(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        """Append an operator that writes a value whose name is settled."""
        node = helper.make_node(op_type, inputs, [output], name=_free(output, self._names), **attributes)
        self.require_room(node.ByteSize())
        self.nodes.append(node)

    def take_over(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Append operators of another model, under names that no other operator has.

        A Transpose before a QuantizeLinear reads a copy of its own: onnxruntime turns the two around, and gives what
        comes of it to everything else that reads the tensor too.
        """
        quantised = {node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
        for node in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            if node.op_type == "Transpose" and node.output[0] in quantised:
                copy.input[0] = self.add("Max", [node.input[0]], f"{node.output[0]}/copy")
            if node.name:
                copy.name = _free(node.name, self._names)
            self.nodes.append(copy)

    def cast(self, value: str, dtype: DTypeLike, name: str) -> str:
        """The value in another element type."""
        return self.add("Cast", [value], name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, value: str, shape: Sequence[int], name: str) -> str:
        """The value in another shape; -1 is whatever is left."""
        return self.add("Reshape", [value, self.constant(f"{name}/shape", shape, np.int64)], name)

    def slice(self, value: str, start: int, stop: int, axis: int, name: str) -> str:
        """[start, stop) of one axis."""
        bounds = {"start": start, "stop": stop, "axis": axis}
        limits = [self.constant(f"{name}/{key}", [bound], np.int64) for key, bound in bounds.items()]
        return self.add("Slice", [value, *limits], name)

    def largest(self, value: str, axis: int, name: str) -> str:
        """Maximum over one axis, which stays with size 1."""
        if self.opset < 18:
            return self.add("ReduceMax", [value], name, axes=[axis], keepdims=1)
        return self.add("ReduceMax", [value, self.constant(f"{name}/axis", [axis], np.int64)], name, keepdims=1)

    def total(self, values: Sequence[str], name: str) -> str:
        """Sum of one or more values."""
        result = values[0]
        for value in values[1:]:
            result = self.add("Add", [result, value], name)
        return result

    def power_of_two(self, value: str, powers: NDArray[Any], worth: NDArray[Any], least: float, name: str) -> str:
        """The largest of `worth` whose power of two lies below the value, or `least`; exact, without a logarithm.

        Args:
            value: shape (..., 1), of the type of `powers`.
            powers: ascending powers of two (M,).
            worth: ascending results, float64 (M,).
            least: result where no power lies below the value.
            name: of the result, float64 (..., 1).
        """
        below = self.add("Less", [self.constant(f"{name}/powers", powers), value], f"{name}/below")
        steps = [self.constant(f"{name}/worth", worth), self.constant(f"{name}/least", np.array([least]))]
        return self.largest(self.add("Where", [below, *steps], f"{name}/choice"), -1, name)

    def require_room(self, added: int) -> None:
        """Count bytes that the model will hold.

        Raises:
            DoesNotFitError: BSC402 if they are more than an ONNX file can hold.
        """
        self._bytes += added
        if self._bytes > MAX_MODEL_BYTES:
            raise DoesNotFitError(
                "BSC402",
                "the plan is too large for one ONNX file",
                seen=f"more than {MAX_MODEL_BYTES} bytes of cell levels, other constants and operators",
                fix="export a part of the model; --to cells has no such limit, and 'bsc verify' replays any plan",
            )

    def _unique(self, name: str) -> str:
        return _free(name, self._values)


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of `name_2`, `name_3`, ... that is not taken; it is from now on."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate
