"""Plan folders: written whole or not at all, and trusted only as far as their hashes and shapes hold."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import BaseModel, StrictInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bsc.errors import ModelError, UsageError
from bsc.file_kinds import refuse_mistaken
from bsc.hardware.target import Target
from bsc.ir.onnx_walk import names, tensors
from bsc.mapping.arrays import SAVED, LayerArrays, misfits
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel, MappingRecord
from bsc.output_files import new_folder, output_errors, require_free
from bsc.plan.document import SCHEMA_VERSION, Plan, PlanDocument, Provenance, layer_file
from bsc.printable import json_text
from bsc.toml_record import Record, first_mistake

DOCUMENT = "plan.json"
TARGET = "target.json"
MAX_JSON_BYTES = 256 << 20

R = TypeVar("R", bound=Record)


class _Version(BaseModel):
    """What is looked at first of a plan.json: everything else may be otherwise in another version."""

    schema_version: StrictInt


def write_plan(
    plan: Plan,
    folder: Path,
    *,
    views: Callable[[PlanDocument], Mapping[str, str]] = lambda _: {},
    force: bool = False,
) -> PlanDocument:
    """Write a plan folder; a run that is stopped leaves nothing behind.

    Args:
        plan: what to write.
        folder: the folder to make.
        views: makes further text files of the document as written, such as a report; not part of the plan's hashes.
        force: replace a plan folder that is there.

    Returns:
        The document as written, with the hash of every file.

    Raises:
        UsageError: BSC203 if the folder exists and may not be replaced; BSC204 if it cannot be written.
    """
    check_free(folder, force=force)
    with output_errors(folder), new_folder(folder, force=force) as temporary:
        document = _fill(plan, temporary)
        for name, text in views(document).items():
            (temporary / name).write_text(text, encoding="utf-8")
    return document


def check_free(folder: Path, *, force: bool) -> None:
    """Whether a plan may be written to `folder`.

    Raises:
        UsageError: BSC203 if something is there that may not be replaced; BSC204 if that cannot be told.
    """
    require_free(folder, force=force, kind="a plan folder", is_one=lambda path: (path / DOCUMENT).is_file())


def read_plan(folder: Path) -> Plan:
    """Open a plan folder.

    Raises:
        UsageError: BSC202 if it cannot be opened; raised late for the files of layers and digital operators.
        ModelError: BSC307 if it is not a plan or was altered; raised late likewise.
    """
    with _input_errors(folder):
        if not folder.is_dir():
            refuse_mistaken(folder, "plan")
            raise _unopened(folder, "no such folder")
        document = _read_document(folder)
        try:
            target = Target.model_validate_json(_checked(folder, TARGET, document).read_bytes())
        except ValidationError as error:
            raise _altered(folder, f"{TARGET}: {first_mistake(error)}") from None
        if target.name != document.target:
            raise _altered(folder, f"{TARGET} describes '{target.name}', {DOCUMENT} names '{document.target}'")

    files = {layer.name: layer_file(position) for position, layer in enumerate(document.layers)}

    sound: set[str] = set()  # layers whose arrays were found to fit; what has the same hash need not be looked at twice

    def arrays(layer: MappedLayer) -> LayerArrays:
        with _input_errors(folder):
            found = _read_arrays(_checked(folder, files[layer.name], document), layer, check=layer.name not in sound)
        sound.add(layer.name)
        return found

    def digital(name: str) -> bytes:
        with _input_errors(folder):
            return _read_digital(_checked(folder, name, document), name)

    return Plan(
        mapping=MappedModel(record=_part(MappingRecord, document), arrays=arrays, digital=digital),
        target=target,
        provenance=_part(Provenance, document),
        files=document.files,
    )


def _part(record: type[R], document: PlanDocument) -> R:
    """What a document has of one of the records that it is made of."""
    return record(**{name: getattr(document, name) for name in record.model_fields})


def to_json(value: Any, *, sort_keys: bool = True) -> str:
    """The one JSON form of every file: sorted keys, two spaces, a newline at the end; also of records."""
    if isinstance(value, Record):
        value = value.model_dump(mode="json")
    return json_text(json.dumps(value, indent=2, sort_keys=sort_keys, allow_nan=False)) + "\n"


def target_json(target: Target) -> str:
    """A hardware description as plan folders hold it: in its own order, which is that of the rows of reports."""
    return to_json(target.model_dump(mode="json", exclude_none=True), sort_keys=False)


@contextlib.contextmanager
def _input_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unopened(folder, error.strerror or str(error)) from None


def _unopened(folder: Path, seen: str) -> UsageError:
    return UsageError(
        "BSC202",
        f"plan '{folder.name}' cannot be opened",
        seen=seen,
        fix="give the folder that 'bsc compile' wrote, such as model.bsc",
    )


def _fill(plan: Plan, folder: Path) -> PlanDocument:
    """Write every file of the plan into an empty folder."""
    names = [TARGET]
    (folder / TARGET).write_text(target_json(plan.target), encoding="utf-8")
    (folder / "layers").mkdir()
    for position, layer in enumerate(plan.mapping.layers):
        arrays = {name: np.ascontiguousarray(array) for name, array in plan.mapping.arrays(layer).by_name().items()}
        names.append(layer_file(position))
        save_file(arrays, folder / names[-1])
        shutil.copymode(folder / TARGET, folder / names[-1])  # safetensors lets only the owner read it
    digital = [step.digital for step in plan.mapping.record.steps if step.digital]
    if digital:
        (folder / "digital").mkdir()
    for name in digital:
        (folder / name).write_bytes(plan.mapping.digital(name))
    hashes = {name: _sha256(folder / name) for name in sorted([*names, *digital])}
    document = replace(plan, files=hashes).document
    (folder / DOCUMENT).write_text(to_json(document.model_dump(mode="json")), encoding="utf-8")
    return document


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _altered(folder: Path, seen: str) -> ModelError:
    return ModelError(
        "BSC307",
        f"plan '{folder.name}' is malformed or was altered",
        seen=seen,
        fix="compile the model again",
    )


def _read_document(folder: Path) -> PlanDocument:
    path = folder / DOCUMENT
    if not path.is_file():
        refuse_mistaken(folder, "plan")
        raise _altered(folder, f"no {DOCUMENT} in the folder")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise _altered(folder, f"{DOCUMENT} has {path.stat().st_size} bytes, more than {MAX_JSON_BYTES}")
    content = path.read_bytes()
    try:
        version = _Version.model_validate_json(content).schema_version
        if version == SCHEMA_VERSION:
            return PlanDocument.model_validate_json(content)
    except ValidationError as error:
        raise _altered(folder, f"{DOCUMENT}: {first_mistake(error)}") from None
    raise ModelError(
        "BSC307",
        f"plan '{folder.name}' was written by another version of bsc",
        seen=f"schema version {version}, where this one reads {SCHEMA_VERSION}",
        fix="compile the model again with this version",
    )


def _checked(folder: Path, name: str, document: PlanDocument) -> Path:
    """The path of a file of the plan, its hash checked."""
    path = folder / name
    if name not in document.files or not path.is_file() or path.is_symlink():
        raise _altered(folder, f"file '{name}' is missing")
    if _sha256(path) != document.files[name]:
        raise _altered(folder, f"file '{name}' does not have the SHA-256 that {DOCUMENT} records")
    return path


def _read_digital(path: Path, name: str) -> bytes:
    """An ONNX model that is whole in itself: onnxruntime would read whatever file it names."""
    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf raises a kind of its own
        raise _altered(path.parent.parent, f"file '{name}': {error}") from None
    if model.functions:
        raise _altered(path.parent.parent, f"file '{name}' has functions, which the compiler inlines")
    if not all(isinstance(each, str) for each in names(model)):
        raise _altered(path.parent.parent, f"file '{name}' has a name that is not UTF-8 text")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors(model)):
        raise _altered(path.parent.parent, f"file '{name}' refers to other files")
    return content


def _read_arrays(path: Path, layer: MappedLayer, *, check: bool) -> LayerArrays:
    try:
        with safe_open(path, framework="numpy") as file:
            arrays: dict[str, NDArray[Any]] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:  # types that NumPy lacks
        raise _altered(path.parent.parent, f"layer '{layer.name}': {error}") from None
    for name in sorted(arrays.keys() - SAVED):
        raise _altered(path.parent.parent, f"layer '{layer.name}': array '{name}' is unknown")
    for name, problem in misfits(layer, arrays) if check else ():
        raise _altered(path.parent.parent, f"layer '{layer.name}': array '{name}' {problem}")
    return LayerArrays(**arrays)
