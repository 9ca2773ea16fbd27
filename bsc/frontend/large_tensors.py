"""Large initialisers stay where they lie in the ONNX file and are mapped when they are read, as external data are.

protobuf holds a file twice while it parses it, and copies a tensor whenever someone looks at its bytes. What is cut
out here is wholly plain: the raw bytes of an initialiser of the outermost graph, as many as its type and shape need.
"""

import math
import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import onnx
import onnx_ir as ir

LARGE_BYTES = 1 << 20
"""Of an initialiser; smaller ones are parsed with the rest."""

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Numbers of the fields in onnx.proto: of a model, a graph and a tensor."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Kinds of fields in the encoding of protobuf."""


class _NotPlainError(Exception):
    """The bytes are not a model as onnx writes it; protobuf may read it all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the file the values of a tensor lie, in bytes."""

    offset: int
    length: int


class OpenFile:
    """The model file, open for as long as anyone reads its tensors: another may take its name meanwhile."""

    def __init__(self, path: Path) -> None:
        self.stream: IO[bytes] = path.open("rb")

    def __del__(self) -> None:
        if hasattr(self, "stream"):
            self.stream.close()


class InFileTensor(ir.ExternalTensor):
    """A tensor that lies in the model file itself.

    Args:
        tensor: its type, shape and name.
        place: of its values.
        path: of the model file.
        file: the same, open.
    """

    def __init__(self, tensor: ir.TensorProtocol, place: Place, path: Path, file: OpenFile) -> None:
        super().__init__(
            path.name,
            place.offset,
            place.length,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=tensor.name or "",
            base_dir=path.parent,
        )
        self.file = file


def read_without_large(path: Path) -> tuple[onnx.ModelProto, Mapping[str, Place]]:
    """The model without the bytes of its large initialisers, and where these lie, by name.

    Raises whatever onnx and protobuf raise for a file that they cannot read.
    """
    if path.suffix == ".onnx" and path.stat().st_size >= LARGE_BYTES:
        try:
            with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                places: dict[str, Place] = {}
                model = onnx.ModelProto.FromString(_model(data, places))
            names = Counter(tensor.name for tensor in model.graph.initializer)
            if all(names[name] == 1 for name in places):
                return model, places
        except _NotPlainError:
            pass
    return onnx.load(path, load_external_data=False), {}


def as_external(model: onnx.ModelProto, places: Mapping[str, Place], path: Path) -> None:
    """Let a model that was read without its large initialisers refer to them as external data in its own file."""
    for tensor in model.graph.initializer:
        place = places.get(tensor.name)
        if place is not None:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", path.name), ("offset", place.offset), ("length", place.length)):
                tensor.external_data.add(key=key, value=str(value))


def put_in_place(model: ir.Model, places: Mapping[str, Place], path: Path) -> None:
    """Give a model that was read without its large initialisers tensors that lie in its file."""
    file = OpenFile(path) if places else None
    for name, place in places.items():
        value = model.graph.initializers[name]
        assert file is not None
        assert value.const_value is not None
        value.const_value = InFileTensor(value.const_value, place, path, file)


def _model(data: Any, places: dict[str, Place]) -> bytes:
    """A serialised model without what is large. Raises `_NotPlainError`."""
    parts, graphs = [], 0
    for number, kind, start, inner, stop in _fields(data, 0, len(data)):
        if number == GRAPH and kind == BYTES:
            graphs += 1
            parts.append(_field(GRAPH, _graph(data, inner, stop, places)))
        else:
            parts.append(data[start:stop])
    if graphs != 1:  # protobuf merges several
        raise _NotPlainError
    return b"".join(parts)


def _graph(data: Any, start: int, end: int, places: dict[str, Place]) -> bytes:
    parts = []
    for number, kind, begin, inner, stop in _fields(data, start, end):
        part = data[begin:stop] if stop - inner < LARGE_BYTES or (number, kind) != (INITIALIZER, BYTES) else None
        if part is None:
            tensor, place = _tensor(data, inner, stop)
            if place is not None:
                places[tensor.name] = place
            part = _field(INITIALIZER, tensor.SerializeToString())
        parts.append(part)
    return b"".join(parts)


def _tensor(data: Any, start: int, end: int) -> tuple[onnx.TensorProto, Place | None]:
    """A tensor without its raw bytes and where these are; whole, and None, if there is more to it."""
    rest, raw = [], []
    for number, kind, begin, inner, stop in _fields(data, start, end):
        if number == RAW_DATA and kind == BYTES:
            raw.append(Place(offset=inner, length=stop - inner))
        else:
            rest.append(data[begin:stop])
    try:
        tensor = onnx.TensorProto.FromString(b"".join(rest))
        bits = ir.DataType(tensor.data_type).bitwidth
    except Exception:  # protobuf's errors have no common base; ValueError or TypeError of a type without a width
        raise _NotPlainError from None
    plain = {field.name for field, _ in tensor.ListFields()} <= {"dims", "data_type", "name", "doc_string"}
    values = math.prod(tensor.dims) if min(tensor.dims, default=1) > 0 else 0
    if plain and tensor.name and len(raw) == 1 and bits % 8 == 0 and raw[0].length == values * bits // 8:
        return tensor, raw[0]
    return onnx.TensorProto.FromString(data[start:end]), None


def _field(number: int, value: bytes) -> bytes:
    """A field of bytes, encoded."""
    size, digits = len(value), bytearray([number << 3 | BYTES])
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    return bytes([*digits, size]) + value


def _fields(data: Any, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Every field: number, kind, and where it, its value and the next one start. Raises `_NotPlainError`."""
    at = start
    while at < end:
        key, inner = _varint(data, at, end)
        kind = key & 7
        if kind == VARINT:
            _, stop = _varint(data, inner, end)
        elif kind == BYTES:
            size, inner = _varint(data, inner, end)
            stop = inner + size
        elif kind in (FIXED32, FIXED64):
            stop = inner + (4 if kind == FIXED32 else 8)
        else:
            raise _NotPlainError
        if stop > end:
            raise _NotPlainError
        yield key >> 3, kind, at, inner, stop
        at = stop


def _varint(data: Any, at: int, end: int) -> tuple[int, int]:
    """A number and where the next byte is. Raises `_NotPlainError`."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _NotPlainError
