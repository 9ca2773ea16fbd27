"""Opening an ONNX file: every way in which its bytes, or the files of its weights, can be wrong."""

import contextlib
import errno
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from bsc.errors import ModelError, UsageError
from bsc.file_kinds import refuse_mistaken
from bsc.frontend.attributes import all_nodes, inner_graphs
from bsc.frontend.constants import bytes_of
from bsc.frontend.large_tensors import InFileTensor, put_in_place, read_without_large
from bsc.frontend.plain import make_plain

MOST_PACKED = 8
"""Bytes of a tensor for one byte of the file: small numbers, each in a field of its own, take one byte."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelFile:
    """An ONNX file that was read.

    Attributes:
        path: of the file.
        model: what is in it; its external data is not touched yet.
        external: every tensor that lies in another file.
    """

    path: Path
    model: ir.Model
    external: tuple[ir.ExternalTensor, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The model file, then its external data files in order of their names."""
        folders = {str(each.location): Path(each.base_dir) for each in self.external}
        return (self.path, *(folders[name] / name for name in sorted(folders)))

    def digest(self) -> str:
        """SHA-256 of the model file, then of its external data files in order of their names."""
        digest = hashlib.sha256()
        for file in self.files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    def size(self) -> int:
        """Bytes of all these files."""
        return sum(file.stat().st_size for file in self.files)


def load_model(path: Path) -> ModelFile:
    """Read an ONNX file and see whether the files of its external data are there.

    Raises:
        UsageError: BSC202 if it cannot be opened.
        ModelError: BSC301 if it is not an ONNX model, BSC302 if its external data is not as it should be.
    """
    try:
        size = path.stat().st_size
        if not path.is_file() and not path.is_dir():  # opening a pipe would wait for someone to write
            raise OSError(errno.ENODEV, "Not a plain file")
        with path.open("rb"):
            pass
    except OSError as error:
        refuse_mistaken(path, "model")
        raise UsageError(
            "BSC202",
            f"model '{path.name}' cannot be opened",
            seen=error.strerror or str(error),
            fix="give the path of an ONNX file",
        ) from None
    if size == 0:
        raise _unreadable(path, "an empty file")
    try:
        with quiet():
            file = _parsed(path)
    except ModelError:
        raise
    except Exception as error:  # protobuf, onnx-ir and NumPy each raise their own kinds on hostile bytes
        refuse_mistaken(path, "model")
        raise _unreadable(path, cause(error)) from None
    if len(file.model.graph) == 0:
        raise _unreadable(path, f"a model without operators in {size} bytes")
    if not all(isinstance(name, str) for name in _names(file.model)):
        raise _unreadable(path, "a name that is not UTF-8 text")
    _check_external_data(file)
    return file


def _parsed(path: Path) -> ModelFile:
    """The model, its external data not read; raises whatever protobuf and onnx-ir raise."""
    proto, places = read_without_large(path)
    make_plain(proto)
    model = ir.serde.deserialize_model(proto)
    put_in_place(model, places, path)
    external = tuple(_external_tensors(model))
    for tensor in external:
        tensor.base_dir = folder_of(path, str(tensor.location))
    return ModelFile(path=path, model=model, external=external)


def folder_of(path: Path, location: str) -> Path:
    """The folder that external data are looked for in: beside the path, or else beside the file it is a link to."""
    try:
        beside = (path.parent / location).exists()
    except (ValueError, OSError):  # a zero byte, a name too long
        beside = True
    return path.parent if beside else path.resolve().parent


def model_digest(path: Path) -> str:
    """The digest that `ModelInfo.sha256` holds for this file. Raises as `load_model`."""
    return load_model(path).digest()


def _check_external_data(model_file: ModelFile) -> None:
    """Every external tensor must lie whole in a file below the model's folder, or below that of the file it links to.

    Hubs lay models out so: links with names in one folder, and the files that they lead to side by side in another.
    """
    path = model_file.path
    allowed = {path.parent.resolve(), path.resolve().parent}
    for tensor in model_file.external:
        location = str(tensor.location)
        problem = f"model '{path.name}': external data of tensor '{tensor.name}'"
        try:
            file = (Path(tensor.base_dir) / location).resolve()
            there = file.is_file()
        except (ValueError, OSError, RuntimeError):  # a zero byte, a name too long, links in a circle
            file, there = path.resolve(), False
        if Path(location).is_absolute() or not any(map(file.is_relative_to, allowed)):
            raise ModelError(
                "BSC302",
                f"{problem} lies outside the model's folder",
                seen=repr(location),
                fix="store the weights beside the model with a relative path",
            )
        if not there:
            raise ModelError(
                "BSC302",
                f"{problem} is missing",
                seen=f"no file '{location[:200]}' beside the model",
                fix="copy the external data file into the model's folder",
            )
        try:
            start, needed, size = tensor.offset or 0, tensor.nbytes, file.stat().st_size
        except TypeError:
            raise ModelError(
                "BSC302",
                f"{problem} has no size",
                seen=f"element type {tensor.dtype.name}",
                fix="export the model again",
            ) from None
        if start < 0 or start + needed > size or (tensor.length is not None and tensor.length < needed):
            raise ModelError(
                "BSC302",
                f"{problem} is truncated",
                seen=f"{needed} bytes needed from offset {start}, file '{location}' has {size}",
                fix="copy the external data file again, whole",
            )


def check_own_data(model: ir.Model) -> None:
    """Tensors must have about as much data as they say: ONNX's inference allocates what they say. Raises BSC301."""
    for tensor in _tensors(model):
        if not isinstance(tensor, ir.serde.TensorProtoTensor) or tensor.dtype == ir.DataType.UNDEFINED:
            continue
        held = tensor.raw.ByteSize()
        if bytes_of(tensor) > MOST_PACKED * held:
            raise ModelError(
                "BSC301",
                f"constant '{tensor.name}' has less data than it says",
                seen=f"sizes {list(tensor.shape.numpy())}, and {held} bytes in the file",
                fix="check the file with onnx.checker.check_model and export it again",
            )


def check_bodies(model: ir.Model) -> None:
    """A body that is said to be an attribute of a function must stand in a function. Raises BSC301."""
    for node in all_nodes(model.graph):
        for attr in node.attributes.values() if node.attributes else ():
            if attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) and attr.is_ref():
                raise ModelError(
                    "BSC301",
                    f"{node.op_type} '{node.name or ''}' has no body",
                    seen=f"attribute '{attr.name}' refers to '{attr.ref_attr_name}' of a function, and stands in none",
                    fix="check the file with onnx.checker.check_model and export it again",
                )


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """External tensors of a model."""
    tensors = _tensors(model)
    return (each for each in tensors if isinstance(each, ir.ExternalTensor) and not isinstance(each, InFileTensor))


def _tensors(model: ir.Model) -> list[object]:
    """Tensors wherever a file can hold them: initialisers and attributes, in functions too, and other attributes."""
    tensors: list[object] = []
    for graph in (model.graph, *inner_graphs(model.graph)):
        tensors += [value.const_value for value in graph.initializers.values()]
    for attr in (attr for node in nodes(model) for attr in node.attributes.data.values()):
        tensors += (attr.value or ()) if attr.type == ir.AttributeType.TENSORS else [attr.value]
    return tensors


def nodes(model: ir.Model) -> Iterator[ir.Node]:
    """The nodes of the graph and of all functions, those in bodies too."""
    yield from all_nodes(model.graph)
    for function in model.functions.values():
        yield from all_nodes(function)


def _unreadable(path: Path, seen: str) -> ModelError:
    return ModelError(
        "BSC301",
        f"model '{path.name}' is not a readable ONNX model",
        seen=seen,
        fix="export the model again; check that the file was copied whole",
    )


def _names(model: ir.Model) -> Iterator[object]:
    """Every name an operator record may take over; protobuf hands out bytes where they are not UTF-8."""
    values = [*model.graph.inputs, *model.graph.outputs]
    yield from model.opset_imports
    for node in nodes(model):
        yield from (node.name or "", node.op_type, node.domain)
        yield from node.attributes.data
        values += node.outputs
        values += [value for value in node.inputs if value is not None]
    yield from (value.name or "" for value in values)


def cause(error: BaseException) -> str:
    """What went wrong first, in one line: the libraries wrap it in the names of their own steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0][:200]}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' warnings off the user's terminal: what matters is reported as an error."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
