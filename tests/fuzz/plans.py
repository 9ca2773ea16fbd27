"""Mutations of plan folders, whose hashes are then recorded anew so that what was changed is really read."""

import json
import struct
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tests.bsc.plans import document_of, rehash, write_document
from tests.fuzz.models import SIZES, damaged, mutated
from tests.fuzz.seeds import seed_models

VALUES: tuple[Any, ...] = (None, True, -1, 0, 1, 2, 3, 8, 16, 1.5, -0.5, 1e-300, 1e300, 1 << 14, 1 << 16, 1 << 22)
VALUES += (1 << 30, 1 << 53, 1 << 64, 1 << 80, "", "x", "fc0", "stem", "../x", "\ud800", [], {}, [[]], [1], [0, 0])
VALUES += ("offset", "centre", "differential", "isaac", "fixed", "column", "tile", "layers/0001.safetensors")


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a document is."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([at] if at else []) + [place for key, inner in items for place in places(inner, (*at, key))]


def change_json(random: Random, document: Any) -> None:
    """One to three values become others, vanish, or move by a little."""
    for _ in range(random.choice([1, 1, 2, 3])):
        *way, key = random.choice(places(document))
        inner = document
        for step in way:
            inner = inner[step]
        old = inner[key]
        if random.random() < 0.1:
            del inner[key]
        elif isinstance(old, int) and not isinstance(old, bool) and random.random() < 0.5:
            inner[key] = old + random.choice([-1, 1, 2, 7])
        elif isinstance(old, float) and random.random() < 0.5:
            inner[key] = old * random.choice([2.0, 0.5, 1e10, 1e-10, -1.0])
        else:
            inner[key] = random.choice(VALUES)


def change_document(random: Random, folder: Path) -> None:
    document = document_of(folder)
    change_json(random, document)
    write_document(folder, document)


def change_target(random: Random, folder: Path) -> None:
    target = json.loads((folder / "target.json").read_text())
    change_json(random, target)
    (folder / "target.json").write_text(json.dumps(target))
    rehash(folder, "target.json")


def change_arrays(random: Random, folder: Path) -> None:
    file = random.choice(sorted((folder / "layers").iterdir()))
    arrays = dict(load_file(file))
    name = random.choice(sorted(arrays))
    array = arrays[name].copy()
    match random.randrange(6):
        case 0 if array.size:
            flat = array.reshape(-1)
            flat[random.randrange(len(flat))] ^= True if array.dtype == bool else 0
            flat[random.randrange(len(flat))] = random.choice([0, 1, 3, 100]) if array.dtype.kind != "b" else False
        case 1:
            kinds = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint64, np.float16, np.float32]
            array = array.astype(random.choice([*kinds, np.float64, np.bool_]))
        case 2 if array.ndim:
            array = np.concatenate([array, array[:1]])
        case 3 if array.ndim:
            array = array[:-1]
        case 4:
            array = array.reshape(array.shape[::-1])
        case _:
            del arrays[name]
            if random.random() < 0.5:
                arrays[random.choice(["more", "centres", "kept_rows", "bias"])] = array
    if name in arrays:
        arrays[name] = array
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, file)
    rehash(folder, f"layers/{file.name}")


def change_header(random: Random, folder: Path) -> None:
    """The JSON at the start of a safetensors file: sizes, types and offsets, and its own length."""
    file = random.choice(sorted((folder / "layers").iterdir()))
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    entry = header[random.choice(sorted(header))]
    match random.randrange(4):
        case 0 if entry["shape"]:
            entry["shape"][random.randrange(len(entry["shape"]))] = random.choice(SIZES)
        case 1:
            entry["dtype"] = random.choice(["F64", "BF16", "F8_E4M3", "I64", "BOOL", "X", "", 3])
        case 2:
            entry["data_offsets"] = random.choice([[0, 0], [0, 1 << 60], [-1, 4], [8, 4], [0], "x"])
        case _:
            length = random.choice([0, 1, 1 << 20, 1 << 40, (1 << 64) - 1])
    text = json.dumps(header).encode()
    start = struct.pack("<Q", len(text) if length < 1 << 16 else length)
    file.write_bytes(start + text + content[8 + length :])
    rehash(folder, f"layers/{file.name}")


def change_digital(random: Random, folder: Path) -> None:
    """A file of digital operators becomes a changed one, or a model of another kind."""
    files = sorted((folder / "digital").iterdir()) if (folder / "digital").is_dir() else []
    if not files:
        return
    file = random.choice(files)
    own = onnx.load_from_string(file.read_bytes())
    model = own if random.random() < 0.7 else random.choice(sorted(seed_models().items()))[1]
    file.write_bytes(mutated(random, model))
    rehash(folder, f"digital/{file.name}")


def change_bytes(random: Random, folder: Path) -> None:
    """Any file, its hash mostly recorded anew."""
    file = random.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    file.write_bytes(damaged(random, file.read_bytes()))
    name = str(file.relative_to(folder))
    if name in document_of_or_none(folder) and random.random() < 0.9:
        rehash(folder, name)


def document_of_or_none(folder: Path) -> dict[str, Any]:
    """The files that plan.json names; none if it cannot be read."""
    try:
        files: dict[str, Any] = document_of(folder)["files"]
    except (ValueError, KeyError):
        return {}
    return files


def change_files(random: Random, folder: Path) -> None:
    """A file becomes a link, a pipe, a folder, or another of the files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file, other = random.choice(files), random.choice(files)
    content = other.read_bytes()
    file.unlink()
    match random.randrange(4):
        case 0:
            file.symlink_to("/dev/zero")
        case 1:
            file.mkdir()
        case 2:
            file.symlink_to(other)
        case _:
            file.write_bytes(content)
            name = str(file.relative_to(folder))
            if name in document_of_or_none(folder):
                rehash(folder, name)


MUTATIONS = (
    (change_document, 8),
    (change_target, 3),
    (change_arrays, 5),
    (change_header, 3),
    (change_digital, 6),
    (change_bytes, 2),
    (change_files, 1),
)


def mutate_plan(random: Random, folder: Path) -> None:
    """Change a plan folder in place."""
    kinds, weights = zip(*MUTATIONS, strict=True)
    for mutation in random.choices(kinds, weights, k=random.choice([1, 1, 1, 2])):
        try:
            mutation(random, folder)
            if mutation is change_files:  # a link to an endless file is not for us to read
                return
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            struct.error,
            SafetensorError,
            DecodeError,
        ):
            # what an earlier mutation broke
            return
