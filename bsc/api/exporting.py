"""A plan for other tools: what `bsc export` and `Plan.export` write."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from bsc.errors import UsageError
from bsc.export import cells, onnx_emulation
from bsc.optional import require
from bsc.output_files import new_folder, output_errors, require_free, write_file
from bsc.plan.folder import to_json
from bsc.report.csv_line import csv_table
from bsc.report.layer_csv import layer_columns
from bsc.report.model_explorer import FIGURES, node_data

if TYPE_CHECKING:
    from bsc.plan.document import Plan
    from bsc.report.document import ReportDocument

Form = Literal["onnx", "cells", "model-explorer", "csv", "parquet"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A form that a plan can be written in.

    Attributes:
        suffix: of the file or folder, behind the name of the plan.
        folder: it is a folder.
        write: of a plan and its report; `force` replaces what an export wrote.
    """

    suffix: str
    folder: bool
    write: "Callable[[Plan, ReportDocument, Path, bool], None]"


def export_plan(plan: "Plan", report: "Callable[[], ReportDocument]", form: Form, path: Path, *, force: bool) -> None:
    """Write a plan in one of `FORMS`.

    Args:
        plan: the plan.
        report: makes its report, for forms that have figures.
        form: name of the form.
        path: the file or folder.
        force: replace an earlier export.

    Raises:
        UsageError: BSC203 for what exists, BSC204 for what cannot be written, BSC208 for a package that is missing.
    """
    FORMS[form].write(plan, report(), path, force)


def default_path(name: str, form: Form) -> Path:
    """Where a form is written to unless another place is said: in this folder, called like the plan."""
    return Path(f"{name}{FORMS[form].suffix}")


def _write_onnx(plan: "Plan", report: "ReportDocument", path: Path, force: bool) -> None:
    onnx_emulation.write_emulation(plan, path, force=force, figures=_as_texts(report))


def _write_cells(plan: "Plan", _report: "ReportDocument", path: Path, force: bool) -> None:
    cells.write_cells(plan, path, force=force)


def _write_node_data(_plan: "Plan", report: "ReportDocument", path: Path, force: bool) -> None:
    kind, first = "node data for Model Explorer", f"{FIGURES[0]}.json"
    require_free(path, force=force, kind=kind, is_one=lambda there: (there / first).is_file())
    with output_errors(path), new_folder(path, force=force) as temporary:
        for name, data in node_data(report).items():
            (temporary / f"{name}.json").write_text(to_json(data), encoding="utf-8")


def _write_csv(_plan: "Plan", report: "ReportDocument", path: Path, force: bool) -> None:
    require_free(path, force=force, kind="a table", is_one=lambda there: there.suffix == ".csv" and there.is_file())
    table = csv_table({column.name: column.cells for column in layer_columns(report)})
    write_file(path, table.encode(), force=force)


def _write_parquet(_plan: "Plan", report: "ReportDocument", path: Path, force: bool) -> None:
    require("pyarrow", "--to parquet needs pyarrow", "parquet")
    import pyarrow
    import pyarrow.parquet

    require_free(path, force=force, kind="a table", is_one=lambda there: there.suffix == ".parquet" and there.is_file())
    columns = layer_columns(report)
    arrays = [pyarrow.array(column.cells) for column in columns]
    units = [{"unit": column.unit} if column.unit else None for column in columns]
    fields = [
        pyarrow.field(column.name, array.type, metadata=unit)
        for column, array, unit in zip(columns, arrays, units, strict=True)
    ]
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields)), sink)
    write_file(path, sink.getvalue().to_pybytes(), force=force)


def _as_texts(report: "ReportDocument") -> dict[str, str]:
    """Figures of layers as metadata of a model: what viewers such as Netron show beside it."""
    columns = {column.name: column.cells for column in layer_columns(report)}
    return {
        f"layer {layer.name}: {name}": f"{value:.6g}"
        for name in FIGURES
        for layer, value in zip(report.plan.layers, columns[name], strict=True)
        if isinstance(value, int | float)
    }


FORMS: Final[dict[Form, Target]] = {
    "onnx": Target(suffix=".crossbars.onnx", folder=False, write=_write_onnx),
    "cells": Target(suffix=".cells", folder=True, write=_write_cells),
    "model-explorer": Target(suffix=".model-explorer", folder=True, write=_write_node_data),
    "csv": Target(suffix=".layers.csv", folder=False, write=_write_csv),
    "parquet": Target(suffix=".layers.parquet", folder=False, write=_write_parquet),
}


def require_outside(path: Path, plan: Path) -> None:
    """Refuse to write into a plan folder.

    Raises:
        UsageError: BSC204.
    """
    if path.resolve().is_relative_to(plan.resolve()):
        raise UsageError(
            "BSC204",
            f"output '{path}' cannot be written",
            seen="it lies in the plan folder, which is never changed",
            fix="choose another --output",
        )
