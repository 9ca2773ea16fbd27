"""Constants that are derived from those of the file, and made only when somebody asks for their values."""

import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.frontend.large_tensors import InFileTensor
from bsc.ir.sidetable import ArraySource, MappedArray

MAX_MADE_WEIGHTS = 1 << 28
"""Weights that a few numbers of the file may be spread to."""

Rearrange = Callable[[NDArray[Any]], NDArray[Any]]
"""Moves values to other places, drops some or puts zeros between them; knows the shape only."""


class Coded(ir.LazyTensor):
    """A constant that the model stores as integers: value == code * scale.

    Args:
        codes: makes the codes, integers less their zero point.
        scale: value of one code, with as many axes as the codes, each of size 1 or theirs.
        shape: of the codes.
        dtype: of the values.
        bits: of the type that the model stores the codes in.
    """

    __slots__ = ("bits", "codes", "scale")

    def __init__(
        self,
        codes: Callable[[], NDArray[Any]],
        scale: NDArray[Any],
        shape: tuple[int, ...],
        dtype: ir.DataType,
        bits: int,
    ) -> None:
        def values() -> ir.TensorProtocol:
            kind = dtype.numpy()
            return ir.tensor(np.asarray(codes().astype(kind) * scale.astype(kind), kind), dtype=dtype)

        super().__init__(values, dtype, ir.Shape(shape))
        self.codes = codes
        self.scale = scale
        self.bits = bits


def rearranged(tensor: ir.TensorProtocol, how: Rearrange) -> ir.LazyTensor:
    """The tensor with its values in other places; codes stay codes."""
    shape = tuple(tensor.shape.numpy())
    target = how(np.broadcast_to(np.int8(0), shape)).shape
    if not isinstance(tensor, Coded):
        return ir.LazyTensor(
            lambda: ir.tensor(np.ascontiguousarray(how(tensor.numpy()))), tensor.dtype, ir.Shape(target)
        )
    codes, scale = tensor.codes, tensor.scale
    moved = scale.reshape((1,) * len(target)) if scale.size == 1 else how(np.broadcast_to(scale, shape))
    return Coded(lambda: how(codes()), moved, target, tensor.dtype, tensor.bits)


def scaled(tensor: ir.TensorProtocol, factor: float) -> ir.LazyTensor:
    """The tensor times a number; codes stay as they are."""
    shape = tuple(tensor.shape.numpy())
    if isinstance(tensor, Coded):
        return Coded(tensor.codes, tensor.scale * factor, shape, tensor.dtype, tensor.bits)
    wide = np.promote_types(tensor.dtype.numpy(), np.float32)
    return ir.LazyTensor(
        lambda: ir.tensor((tensor.numpy().astype(wide) * factor).astype(tensor.dtype.numpy())),
        tensor.dtype,
        ir.Shape(shape),
    )


class OwnArrays(dict[str, ArraySource]):
    """Arrays that the import makes, under keys that no constant of the model has.

    Args:
        constants: names of the model's constants.
    """

    def __init__(self, constants: Collection[str]) -> None:
        super().__init__()
        self._constants = constants

    def add(self, wanted: str, array: ArraySource) -> str:
        """Keep an array; the key is `wanted`, or that with primes behind it."""
        while wanted in self._constants or wanted in self:
            wanted += "'"
        self[wanted] = array
        return wanted


class Derived:
    """An array that is made each time it is read, for a graph's side table."""

    def __init__(self, make: Callable[[], NDArray[Any]]) -> None:
        self._make = make

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The values."""
        return np.asarray(self._make(), dtype)


def is_constant(value: ir.Value | None) -> bool:
    """Whether the value is known before the model runs."""
    return value is not None and value.is_initializer()


def tensor_of(value: ir.Value | None) -> ir.TensorProtocol:
    """The tensor of a constant."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value


def mapped_array(tensor: ir.TensorProtocol | None) -> MappedArray | None:
    """The tensor as an array that is mapped when it is read; None if it lies in no file, or not in whole bytes."""
    if not isinstance(tensor, ir.ExternalTensor) or not tensor.nbytes or tensor.dtype.bitwidth % 8:
        return None
    file = tensor.file if isinstance(tensor, InFileTensor) else Path(tensor.path)
    return MappedArray(file, tensor.dtype.numpy(), tuple(tensor.shape.numpy()), tensor.offset or 0)


def values_of(tensor: ir.TensorProtocol) -> NDArray[Any]:
    """The values of a tensor; those in a file are mapped for as long as the array is there, texts are `str`."""
    mapped = mapped_array(tensor)
    if mapped is not None:
        return np.asarray(mapped)
    values = tensor.numpy()
    if tensor.dtype != ir.DataType.STRING:
        return values
    texts = [each.decode() if isinstance(each, bytes) else str(each) for each in values.ravel().tolist()]
    return np.array(texts, dtype=object).reshape(values.shape)


def serialised(value: ir.Value) -> onnx.TensorProto:
    """A constant under its name."""
    tensor = tensor_of(value)
    values = values_of(tensor)
    if tensor.dtype == ir.DataType.STRING:  # which onnx-ir does not serialise out of an array
        texts = [text.encode() for text in values.ravel().tolist()]
        return onnx.helper.make_tensor(value.name or "", onnx.TensorProto.STRING, values.shape, texts)
    return ir.serde.serialize_tensor(ir.tensor(values, dtype=tensor.dtype, name=value.name))


def check_bytes(value: ir.Value | None) -> None:
    """Raise an error of any kind for a constant of the file whose bytes do not fit its shape.

    What is made out of it is computed when a pass reads it: too late to find out. External data is checked apart.
    """
    tensor = tensor_of(value) if is_constant(value) else None
    if tensor is not None and not isinstance(tensor, ir.LazyTensor | ir.ExternalTensor):
        tensor.numpy()


def sizes_of(value: ir.Value | None) -> tuple[int, ...]:
    """The shape of a constant."""
    return tensor_sizes(tensor_of(value))


def tensor_sizes(tensor: ir.TensorProtocol) -> tuple[int, ...]:
    """The shape of a tensor; onnx-ir makes a new record of it at every look at one of the file."""
    return tuple(tensor.raw.dims) if type(tensor) is ir.serde.TensorProtoTensor else tuple(tensor.shape.numpy())


def bytes_of(tensor: ir.TensorProtocol) -> int:
    """Bytes that a tensor's values take up."""
    if tensor.dtype == ir.DataType.STRING:
        return sum(map(len, tensor.numpy().ravel().tolist()))
    return math.ceil(math.prod(tensor_sizes(tensor)) * tensor.dtype.itemsize)


def known_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The sizes of a value; None if one of them is unknown."""
    if value is None or value.shape is None:
        return None
    sizes = value.shape.dims
    for size in sizes:
        if not isinstance(size, int):
            return None
    return cast(tuple[int, ...], sizes)
