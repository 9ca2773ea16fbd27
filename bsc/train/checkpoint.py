"""Checkpoints: what a run needs to go on after a kill, in one .safetensors file; nothing is unpickled."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from bsc.errors import ModelError, UsageError
from bsc.output_files import write_file

FORMAT = "bsc-finetune-1"


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """State after an epoch.

    Attributes:
        run: identifies options, model and data; a run goes on only from a checkpoint of its own.
        epoch: epochs done.
        history: JSON records of these epochs.
        arrays: parameters, optimiser state, masks and kept rows, by name.
    """

    run: str
    epoch: int
    history: list[dict[str, Any]]
    arrays: Mapping[str, NDArray[Any]]

    def write(self, path: Path) -> None:
        """Write atomically. Raises `UsageError` BSC204 when it cannot be written."""
        header = json.dumps({"format": FORMAT, "run": self.run, "epoch": self.epoch, "history": self.history})
        content = np.frombuffer(header.encode(), np.uint8)
        write_file(
            path,
            save(
                {**{f"a/{name}": np.ascontiguousarray(value) for name, value in self.arrays.items()}, "header": content}
            ),
        )


def read_checkpoint(path: Path, run: str) -> Checkpoint:
    """Read a checkpoint of the run `run`.

    Raises:
        UsageError: BSC202 if it cannot be opened.
        ModelError: BSC311 for a file that is malformed or of another run.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "BSC202",
            f"checkpoint '{path.name}' cannot be opened",
            seen=error.strerror or str(error),
            fix="start without --resume",
        ) from None
    try:
        tensors = load(content)
        header = json.loads(tensors.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"format {str(header['format'])!r}, this bsc reads {FORMAT!r}")
        checkpoint = Checkpoint(
            run=header["run"],
            epoch=header["epoch"],
            history=header["history"],
            arrays={name.removeprefix("a/"): value for name, value in tensors.items()},
        )
    except Exception as error:  # safetensors and json each raise their own kinds
        raise _unusable(path, str(error).splitlines()[0][:200]) from None
    if checkpoint.run != run:
        raise _unusable(path, "another model, other data or other options")
    return checkpoint


def _unusable(path: Path, seen: str) -> ModelError:
    return ModelError(
        "BSC311",
        f"checkpoint '{path.name}' cannot be gone on from",
        seen=seen,
        fix="give the options of the run that wrote it, or start without --resume",
    )
