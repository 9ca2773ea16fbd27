"""The cell levels of every crossbar of a plan, packed, for whoever programs the hardware.

    cells.json                this module's `CellsIndex`; schema in cells.schema.json
    layers/0000.safetensors   levels and converters of the first layer's crossbars, and so on

Crossbars are numbered through the whole plan in the order of layer, row tile, column tile, slice and polarity; the
pass `eliminate` leaves out those without a cell above 0. A layer's file holds these arrays for each crossbar, NUMBER
its number in decimal:

    NUMBER.levels     uint8 (rows, bytes of a row)    packed levels of the cells in use
    NUMBER.adc_bits   uint8 (row groups, columns)     resolution of every column's ADC; 0 is no conversion
    NUMBER.adc_lsb   uint8 (row groups, columns)     cell units of one ADC code
    NUMBER.adc_low    int32 (row groups, columns)     lowest ADC code
    NUMBER.flipped    uint8 (row groups, columns)     1 where cells hold the top level of the slice less their own

A byte holds n = 8 // bits_per_cell cells: the cell of row r and column c is in byte c // n of row r, from bit
(c % n) * bits_per_cell on, counted from the least significant. Bits that are left over are 0. Cells that are not in
use have level 0. Where the pairs of a layer are subtracted before the ADC, "+" and "-" of the same place share their
converters, and both say what those resolve.
"""

import hashlib
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bsc.errors import ModelError, UsageError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import Lines, MappedLayer
from bsc.numeric.encoding import Subtraction
from bsc.output_files import new_folder, output_errors, require_free
from bsc.plan.cells import POLARITIES, CrossbarIndex, crossbar_cells, crossbar_columns, crossbar_part
from bsc.plan.document import Plan, Sha256
from bsc.plan.folder import to_json
from bsc.toml_record import Record

INDEX = "cells.json"
KIND = "a cells folder"
PACKING = "least significant bits first, 8 // bits_per_cell cells a byte, each row from a byte of its own"


class CrossbarRecord(Record):
    """One crossbar."""

    number: NonNegativeInt = Field(description="unique in the plan, from 0; names its arrays in the layer's file")
    row_tile: NonNegativeInt
    column_tile: NonNegativeInt
    slice: NonNegativeInt = Field(description="0 is least significant")
    polarity: Literal["+", "-"]
    rows: Lines = Field(description="wordlines in use, from 0")
    columns: Lines = Field(description="bitlines in use, from 0")


class LayerCells(Record):
    """The crossbars of one layer."""

    name: str
    file: Annotated[str, Field(pattern=r"^layers/[0-9]{4,9}\.safetensors$")]
    sha256: Sha256 = Field(description="of the file")
    bits_per_cell: Annotated[int, Field(ge=1, le=8)]
    subtraction: Subtraction = Field(description="where the columns of a pair are subtracted: analog, before the ADC")
    tile_rows: Lines = Field(description="wordlines of a crossbar")
    tile_cols: Lines = Field(description="bitlines of a crossbar")
    active_rows: Lines = Field(description="wordlines that are driven together: the rows of a row group")
    crossbars: tuple[CrossbarRecord, ...]


class CellsIndex(Record):
    """What cells.json says."""

    schema_version: Literal[2]
    bsc_version: str = Field(description="of the plan")
    model_sha256: Sha256 = Field(description="of the plan's model")
    pipeline: str = Field(description="the passes that made the plan")
    packing: str = Field(description="how levels lie in bytes")
    crossbars: NonNegativeInt = Field(description="in all layers")
    layers: tuple[LayerCells, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Crossbar:
    """One crossbar as it is to be programmed.

    Attributes:
        layer: name of its layer.
        record: where it belongs.
        levels: levels of the cells in use, uint8 (rows, columns).
        adc_bits: resolution of every column's ADC for each row group, uint8 (row groups, columns).
        adc_lsb: cell units of one ADC code, likewise.
        adc_low: lowest ADC code, int32, likewise.
        flipped: columns whose cells hold the top level less their own, likewise.
    """

    layer: str
    record: CrossbarRecord
    levels: NDArray[np.uint8]
    adc_bits: NDArray[np.uint8]
    adc_lsb: NDArray[np.uint8]
    adc_low: NDArray[np.int32]
    flipped: NDArray[np.uint8]


def write_cells(plan: Plan, folder: Path, *, force: bool = False) -> CellsIndex:
    """Write the cells of a plan; a run that is stopped leaves nothing behind, the same plan gives the same bytes.

    Args:
        plan: what to export.
        folder: the folder to make; only one that an export wrote is ever replaced.
        force: replace it.

    Returns:
        What cells.json says.

    Raises:
        UsageError: BSC203 if the folder exists and may not be replaced; BSC204 if it cannot be written.
    """
    check_free(folder, force=force)
    with output_errors(folder), new_folder(folder, force=force) as temporary:
        (temporary / "layers").mkdir()
        layers: list[LayerCells] = []
        count = 0
        for index, layer in enumerate(plan.mapping.layers):
            file = f"layers/{index:04}.safetensors"
            layers.append(_write_layer(layer, plan.mapping.arrays(layer), temporary, file, count))
            count += len(layers[-1].crossbars)
        document = plan.document
        cells = CellsIndex(
            schema_version=2,
            bsc_version=document.bsc_version,
            model_sha256=document.model.sha256,
            pipeline=document.pipeline,
            packing=PACKING,
            crossbars=count,
            layers=tuple(layers),
        )
        (temporary / INDEX).write_text(to_json(cells.model_dump(mode="json")), encoding="utf-8")
        for part in layers:
            shutil.copymode(temporary / INDEX, temporary / part.file)  # safetensors lets only the owner read it
    return cells


def check_free(folder: Path, *, force: bool) -> None:
    """Whether cells may be written to `folder`. Raises as `write_cells`."""
    require_free(folder, force=force, kind=KIND, is_one=lambda path: (path / INDEX).is_file())


def read_index(folder: Path) -> CellsIndex:
    """Read cells.json of a folder that `write_cells` made.

    Raises:
        UsageError: BSC202 if it cannot be opened.
        ModelError: BSC307 if it is malformed.
    """
    try:
        return CellsIndex.model_validate_json((folder / INDEX).read_bytes())
    except OSError as error:
        raise UsageError(
            "BSC202",
            f"cells '{folder.name}' cannot be opened",
            seen=error.strerror or str(error),
            fix="give the folder that 'bsc export --to cells' wrote",
        ) from None
    except ValidationError as error:
        raise _altered(folder, f"{INDEX}: {error.errors()[0]['msg']}") from None


def read_cells(folder: Path) -> Iterator[Crossbar]:
    """Unpack the crossbars of a folder that `write_cells` made, in order of their numbers.

    Raises:
        UsageError: BSC202 if it cannot be opened.
        ModelError: BSC307 if it is malformed or was altered.
    """
    for layer in read_index(folder).layers:
        path = folder / layer.file
        if not path.is_file() or _sha256(path) != layer.sha256:
            raise _altered(folder, f"file '{layer.file}' is missing or does not have the SHA-256 of {INDEX}")
        try:
            with safe_open(path, framework="numpy") as file:
                for record in layer.crossbars:
                    arrays = {name: file.get_tensor(f"{record.number}.{name}") for name in _ARRAYS}
                    arrays["levels"] = unpack_levels(arrays["levels"], record.columns, layer.bits_per_cell)
                    yield Crossbar(layer=layer.name, record=record, **arrays)
        except (SafetensorError, ValueError) as error:
            raise _altered(folder, f"file '{layer.file}': {error}") from None


def pack_levels(levels: NDArray[np.uint8], bits_per_cell: int) -> NDArray[np.uint8]:
    """Pack levels (rows, columns) into bytes (rows, ceil(columns / n)), n = 8 // bits_per_cell cells a byte."""
    per_byte = 8 // bits_per_cell
    rows, columns = levels.shape
    padded = np.zeros((rows, -(-columns // per_byte), per_byte), np.uint8)
    padded.reshape(rows, -1)[:, :columns] = levels
    return np.asarray(np.bitwise_or.reduce(padded << _shifts(bits_per_cell), axis=2), np.uint8)


def unpack_levels(packed: NDArray[np.uint8], columns: int, bits_per_cell: int) -> NDArray[np.uint8]:
    """Levels (rows, columns) of bytes that `pack_levels` made."""
    levels = (packed[:, :, None] >> _shifts(bits_per_cell)) & np.uint8((1 << bits_per_cell) - 1)
    return np.asarray(levels.reshape(len(packed), -1)[:, :columns], np.uint8)


_ARRAYS = ("levels", "adc_bits", "adc_lsb", "adc_low", "flipped")


def _shifts(bits_per_cell: int) -> NDArray[np.uint8]:
    return np.arange(8 // bits_per_cell, dtype=np.uint8) * np.uint8(bits_per_cell)


def _write_layer(layer: MappedLayer, arrays: LayerArrays, folder: Path, file: str, first: int) -> LayerCells:
    records: list[CrossbarRecord] = []
    tensors: dict[str, NDArray[Any]] = {}
    flipped = np.zeros(arrays.adc_bits.shape, np.uint8) if arrays.flipped is None else arrays.flipped.astype(np.uint8)
    per_conversion = (arrays.adc_bits, arrays.adc_lsb, arrays.lowest_codes, flipped)
    for place in itertools.product(*map(range, arrays.allocated.shape)):
        if not arrays.allocated[place]:
            continue
        tile, column_tile, slice_, polarity = place
        where = CrossbarIndex(row_tile=tile, column_tile=column_tile, slice=slice_, polarity=polarity)
        levels = crossbar_cells(layer, arrays, where)
        columns = crossbar_columns(layer, column_tile)
        number = first + len(records)
        parts = (crossbar_part(layer, array, where) for array in per_conversion)
        values = (pack_levels(levels, layer.bits_per_cell), *parts)
        tensors |= {f"{number}.{name}": np.ascontiguousarray(v) for name, v in zip(_ARRAYS, values, strict=True)}
        records.append(
            CrossbarRecord(
                number=number,
                row_tile=tile,
                column_tile=column_tile,
                slice=slice_,
                polarity="+" if POLARITIES[polarity] == "+" else "-",
                rows=len(levels),
                columns=len(columns),
            )
        )
    metadata = {"layer": layer.name, "bits_per_cell": str(layer.bits_per_cell), "packing": PACKING}
    save_file(tensors, folder / file, {"about": to_json(metadata)})  # one entry: safetensors shuffles several
    return LayerCells(
        name=layer.name,
        file=file,
        sha256=_sha256(folder / file),
        bits_per_cell=layer.bits_per_cell,
        subtraction=layer.subtraction,
        tile_rows=layer.tile_rows,
        tile_cols=layer.tile_cols,
        active_rows=layer.active_rows,
        crossbars=tuple(records),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _altered(folder: Path, seen: str) -> ModelError:
    return ModelError(
        "BSC307", f"cells '{folder.name}' are malformed or were altered", seen=seen, fix="export the plan again"
    )
