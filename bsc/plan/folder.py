"""Plan folders: written whole or not at all, and trusted only as far as their hashes and shapes hold."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import BaseModel, StrictInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bsc.atomic import new_folder, output_errors, require_free
from bsc.errors import ModelError, UsageError
from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.hardware.target import Target
from bsc.ir.onnx_walk import tensors
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel, MappingRecord
from bsc.plan.document import SCHEMA_VERSION, Plan, PlanDocument, Provenance
from bsc.record import Record, first_mistake

DOCUMENT = "plan.json"
TARGET = "target.json"
MAX_JSON_BYTES = 256 << 20
MAX_CORRECTION = 1 << 53

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
    with output_errors(folder), new_folder(folder) as temporary:
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
            raise _unopened(folder, "no such folder")
        document = _read_document(folder)
        try:
            target = Target.model_validate_json(_checked(folder, TARGET, document).read_bytes())
        except ValidationError as error:
            raise _altered(folder, f"{TARGET}: {first_mistake(error)}") from None
        if target.name != document.target:
            raise _altered(folder, f"{TARGET} describes '{target.name}', {DOCUMENT} names '{document.target}'")

    def arrays(layer: MappedLayer) -> LayerArrays:
        with _input_errors(folder):
            return _read_arrays(_checked(folder, layer.arrays, document), layer)

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
    return json.dumps(value, indent=2, sort_keys=sort_keys, allow_nan=False) + "\n"


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
    for layer in plan.mapping.layers:
        arrays = {name: np.ascontiguousarray(array) for name, array in plan.mapping.arrays(layer).by_name().items()}
        save_file(arrays, folder / layer.arrays)
        shutil.copymode(folder / TARGET, folder / layer.arrays)  # safetensors lets only the owner read it
        names.append(layer.arrays)
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
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors(model)):
        raise _altered(path.parent.parent, f"file '{name}' refers to other files")
    return content


def _read_arrays(path: Path, layer: MappedLayer) -> LayerArrays:
    try:
        with safe_open(path, framework="numpy") as file:
            arrays: dict[str, NDArray[Any]] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:  # types that NumPy lacks
        raise _altered(path.parent.parent, f"layer '{layer.name}': {error}") from None
    expected = {field.name: field.default for field in fields(LayerArrays)}
    wrong = [name for name, default in expected.items() if default is MISSING and name not in arrays]
    wrong += sorted(arrays.keys() - expected)
    if wrong:
        raise _altered(path.parent.parent, f"layer '{layer.name}': array '{wrong[0]}' is missing or unknown")
    loaded = LayerArrays(**arrays)
    if (unfit := _first_wrong(layer, loaded)) is not None:
        raise _altered(path.parent.parent, f"layer '{layer.name}': array '{unfit}' does not fit {DOCUMENT}")
    return loaded


def _first_wrong(layer: MappedLayer, arrays: LayerArrays) -> str | None:
    """The first array whose type, shape or values contradict the document; None when all is well."""
    rows, columns = layer.mapped_rows, layer.mapped_columns
    planes = (layer.slices, layer.cells.polarities)
    per_column = (layer.row_groups, *planes, columns)
    per_conversion = (layer.row_groups, layer.slices, layer.cells.conversions, columns)
    per_crossbar = (layer.row_tiles, len(layer.column_tiles()[1]), *planes)
    top = (1 << layer.weight_bits) - 1
    largest_sum = layer.active_rows * ((1 << layer.bits_per_cell) - 1)
    largest_read = largest_sum * layer.max_drive
    observed, paired = layer.observed is not None, layer.subtraction == "analog"
    steps = (1,) if arrays.weight_step.size == 1 else (layer.columns,)
    largest = float(np.finfo(np.float64).max)

    def lines(kept: NDArray[Any] | None, mapped: int, of: int) -> bool:
        if kept is None:
            return mapped == of
        return _is(kept, "i", (mapped,), 0, of - 1) and len(np.unique(kept)) == mapped

    def centres_fit() -> bool:
        if layer.encoding != "centre" or arrays.centres is None:
            return layer.encoding != "centre" and arrays.centres is None
        sizes = _is(arrays.codes, "i", (rows, columns), -top, top)
        if not sizes or not _is(arrays.centres, "i", (layer.row_tiles, columns), -top, top):
            return False
        stored = layer.cells.stored(arrays.codes, arrays.centres, layer.tile_rows)
        return _is(stored, "i", (rows, columns), -top, top)

    checks = {
        "codes": _is(arrays.codes, "i", (rows, columns), -top, top),
        "weight_step": _is(arrays.weight_step, "f", steps, 0, largest),
        "bias": arrays.bias is None or _is(arrays.bias, "f", (layer.columns,), -largest, largest),
        "kept_rows": lines(arrays.kept_rows, rows, layer.rows),
        "kept_columns": lines(arrays.kept_columns, columns, layer.columns),
        "centres": centres_fit(),
        "flipped": _optional(arrays.flipped, layer.flip, "b", per_column, 0, 1),
        "sums": _is(arrays.sums, "u", per_column, 0, largest_sum),
        "gcds": _is(arrays.gcds, "u", per_column, 0, (1 << layer.bits_per_cell) - 1),
        "nonzeros": _is(arrays.nonzeros, "u", per_column, 0, layer.active_rows),
        "adc_bits": _is(arrays.adc_bits, "u", per_conversion, 0, MAX_ADC_BITS),
        "adc_step": _is(arrays.adc_step, "u", per_conversion, 1, 255),
        "adc_low": _optional(arrays.adc_low, paired, "i", per_conversion, -(1 << MAX_ADC_BITS), 0),
        "allocated": _is(arrays.allocated, "b", per_crossbar, 0, 1),
        "observed_sums": _optional(arrays.observed_sums, observed, "u", per_conversion, 0, largest_read),
        "observed_lows": _optional(arrays.observed_lows, observed and paired, "i", per_conversion, -largest_read, 0),
        "correction": arrays.correction is None
        or _is(arrays.correction, "i", (columns,), -MAX_CORRECTION, MAX_CORRECTION),
    }
    return next((name for name, fits in checks.items() if not fits), None)


def _optional(  # noqa: PLR0917
    array: NDArray[Any] | None, wanted: bool, kind: str, shape: tuple[int, ...], low: float, high: float
) -> bool:
    """Whether an array is there exactly if it is wanted, and fits."""
    return not wanted if array is None else wanted and _is(array, kind, shape, low, high)


def _is(array: NDArray[Any], kind: str, shape: tuple[int, ...], low: float, high: float) -> bool:
    if array.dtype.kind != kind or array.shape != shape:
        return False
    return array.size == 0 or bool(low <= array.min().item() and array.max().item() <= high)
