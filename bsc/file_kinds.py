"""What a file or folder is: told where it was given for something else, as a model for a plan."""

import contextlib
import json
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from bsc.errors import UsageError

Kind = Literal["model", "plan", "document", "report", "data", "torch", "cells", "sweep", "toml"]
Wanted = Literal["model", "plan", "data", "report", "space"]

WORDS: Final[Mapping[Kind, str]] = {
    "model": "an ONNX model",
    "plan": "a plan folder",
    "document": "the plan.json of a plan folder",
    "report": "a report.json",
    "data": "arrays, as numpy.savez writes them",
    "torch": "a file of PyTorch's",
    "cells": "the cells of a plan, as 'bsc export --to cells' writes them",
    "sweep": "the results of a sweep, as 'bsc explore' writes them",
    "toml": "a TOML file",
}
WANTED: Final[Mapping[Wanted, str]] = {
    "model": "an ONNX model",
    "plan": "a plan folder",
    "data": "a .npz file",
    "report": "a plan folder or report.json",
    "space": "a TOML file",
}
FIXES: Final[Mapping[tuple[Kind, Wanted], str]] = {
    ("model", "plan"): "compile it first: bsc compile {path}",
    ("model", "report"): "compile it first: bsc compile {path}",
    ("model", "data"): "give inputs of the model in a .npz file, as numpy.savez writes it",
    ("torch", "model"): "export it first, with torch.onnx.export",
    ("plan", "model"): "give the ONNX file that it was compiled from",
    ("report", "plan"): "give the folder of its plan; only 'bsc compare' and 'bsc diff' take a report",
    ("document", "plan"): "give its folder: {parent}",
    ("document", "report"): "give its folder: {parent}",
}
OTHERWISE: Final[Mapping[Wanted, str]] = {
    "model": "give the path of an ONNX file",
    "plan": "give the folder that 'bsc compile' wrote, such as model.bsc",
    "data": "give the path of a .npz file",
    "report": "give a plan folder that 'bsc compile' wrote, or its report.json",
    "space": "give the path of a TOML file",
}
IR_VERSION: Final = 0x08
"""The first byte of a model, before its IR version: the tag of protobuf's field 1."""
MAX_IR_VERSION: Final = 32
MAX_JSON: Final = 64 << 20


def refuse_mistaken(path: Path, wanted: Wanted) -> None:
    """Refuse a path that is plainly something else than what is wanted; called where reading it has failed.

    Raises:
        UsageError: BSC202, which says what it is and what to do with it.
    """
    kind = kind_of(path)
    if kind is None or kind == wanted or (wanted == "report" and kind == "plan"):
        return
    fix = FIXES.get((kind, wanted), OTHERWISE[wanted])
    quoted, parent = (shlex.quote(str(each)) for each in (path, path.parent))
    raise UsageError(
        "BSC202",
        f"'{path}' is not {WANTED[wanted]}",
        seen=WORDS[kind],
        fix=fix.format(path=quoted, parent=parent),
    ) from None


def kind_of(path: Path) -> Kind | None:
    """What a path leads to, by what is in it; None where that does not tell."""
    with contextlib.suppress(OSError, ValueError, RecursionError, zipfile.BadZipFile):
        if path.is_dir():
            return _folder(path)
        if path.is_file():  # opening a pipe would wait for someone to write
            return _file(path)
    return None


def _folder(path: Path) -> Kind | None:
    if (path / "plan.json").is_file():
        return "plan"
    return "cells" if (path / "cells.json").is_file() else None


def _file(path: Path) -> Kind | None:
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(b"PK\x03\x04"):
        names = zipfile.ZipFile(path).namelist()
        if all(name.endswith(".npy") for name in names):
            return "data"
        return "torch" if any(name.endswith("/data.pkl") for name in names) else None
    if head.startswith(b"SQLite format 3"):
        return "sweep"
    if head.startswith(b"{") and path.stat().st_size <= MAX_JSON:
        return _json(json.loads(path.read_bytes()))
    if len(head) > 1 and head[0] == IR_VERSION and 0 < head[1] <= MAX_IR_VERSION:
        return "model"
    return "toml" if path.suffix == ".toml" else None


def _json(content: Mapping[str, object]) -> Kind | None:
    if content.keys() >= {"plan", "totals", "cost"}:
        return "report"
    return "document" if content.keys() >= {"schema_version", "layers", "steps"} else None
