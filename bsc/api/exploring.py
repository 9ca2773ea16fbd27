"""Sweeps over design spaces in Python: what `bsc explore` runs too."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bsc.api.data import Inputs, Progress, StrPath, as_file, quiet
from bsc.api.plan import model_words
from bsc.api.shown import Shown
from bsc.api.table import Table
from bsc.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.compiler.options import ModelOptions
    from bsc.exploration.designs import Exploration
    from bsc.exploration.scheduler import Scheduler
    from bsc.ir.input_values import Values


class Explored(Shown):
    """The designs of a space, and which of them no other one beats.

    Args:
        found: the sweep.

    Attributes:
        found: all of it.
    """

    def __init__(self, found: "Exploration") -> None:
        self.found = found

    @cached_property
    def designs(self) -> Table:
        """A row for each design, the columns of `bsc explore --csv`: choices, figures in SI units, errors."""
        return self._table(front=False)

    @cached_property
    def front(self) -> Table:
        """Those that no other design beats, best in the first objective first."""
        return self._table(front=True)

    def to_json(self) -> str:
        """The sweep as `bsc explore --json` prints it."""
        from bsc.exploration.files import exploration_json
        from bsc.plan.folder import to_json

        return to_json(exploration_json(self.found))

    def page(self) -> str:
        """A page with pictures and tables, which needs no network."""
        from bsc.exploration.page import explore_page

        return explore_page(self.found)

    def write_html(self, path: StrPath) -> None:
        """Write `page`.

        Raises:
            UsageError: BSC204 if it cannot be written.
        """
        from bsc.output_files import write_file

        write_file(Path(path), self.page().encode())

    def __rich__(self) -> "RenderableType":
        from bsc.exploration.report import ExplorationReport

        return ExplorationReport(found=self.found)

    def _line(self) -> str:
        found = self.found
        exist = sum(design.code is None for design in found.designs)
        return f"of {found.model}: {len(found.designs)} designs, {exist} can exist, {len(found.front)} on the front"

    def _table(self, *, front: bool) -> Table:
        from bsc.exploration.designs import FIGURES
        from bsc.exploration.files import column, design_columns

        units = {column(name): figure.unit.replace("%", "1") for name, figure in FIGURES.items() if figure.unit}
        return Table(design_columns(self.found, self.found.best if front else self.found.designs), units)


def explore(
    model: StrPath,
    space: StrPath | Mapping[str, Any],
    *,
    data: Inputs | None = None,
    limit: int | None = None,
    calib: Inputs | None = None,
    input_shape: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, float | Sequence[float]] | None = None,
    input_values: "Mapping[str, Values] | None" = None,
    keep_digital: Sequence[str] = (),
    import_check: bool = True,
    jobs: int = 1,
    scheduler: str | None = None,
    results: StrPath | None = None,
    force: bool = False,
    progress: Progress = quiet,
) -> Explored:
    """Try many ways to map a model, as `bsc explore` does.

    Args:
        model: the ONNX file.
        space: the design space: a TOML file, or a table like that of a file, such as
            `{"axes": {"xbar": ["64x64", "128x128"], "adc": ["lossless", "fixed=6"]}}`.
        data: labelled inputs, which add accuracies: a .npz file, or arrays by input and "labels".
        limit: replay only the first samples of `data`.
        calib: inputs that set input scales, and resolutions that rest on data.
        input_shape: as for `compile`.
        constants: as for `compile`.
        input_values: as for `compile`.
        keep_digital: as for `compile`.
        import_check: as for `compile`.
        jobs: processes; more than one need a main module that may be imported again, as `multiprocessing` says.
        scheduler: address of a Dask cluster, tcp://HOST:PORT, in place of `jobs`.
        results: SQLite file that designs land in one by one, and that a sweep goes on from; None keeps none.
        force: begin anew where `results` are of another sweep.
        progress: as for `Plan.run`, of designs.

    Raises:
        UsageError: BSC209 for a space that cannot be used; BSC210 for workers that are lost.
        BscError: for a model or data that cannot be used.
    """
    from bsc.compiler.options import ModelOptions

    words = model_words(input_shape, constants, input_values, keep_digital)
    given = ModelOptions(input_shapes=words.pop("input_shape"), import_check=import_check, **words)
    with (
        as_file(data, "data") as judged,
        as_file(calib, "calib") as calibration,
        tempfile.TemporaryDirectory() as folder,
    ):
        explored = run_sweep(
            Path(model),
            space if isinstance(space, Mapping) else Path(space),
            Path(folder) / "results.sqlite" if results is None else Path(results),
            data=judged,
            limit=limit,
            calib=calibration,
            given=given,
            jobs=jobs,
            scheduler=scheduler,
            force=force,
            progress=progress,
        )
    return explored if calib is None or isinstance(calib, str | os.PathLike) else _naming(explored, str(calibration))


def _naming(explored: Explored, file: str) -> Explored:
    """Commands that name a file which `numpy.savez` makes of the arrays, in place of one that is gone."""
    designs = [
        replace(each, command=each.command and each.command.replace(file, "calib.npz"))
        for each in explored.found.designs
    ]
    return Explored(replace(explored.found, designs=designs))


def run_sweep(
    model: Path,
    space: Path | Mapping[str, Any],
    results: Path,
    *,
    data: Path | None,
    limit: int | None,
    calib: Path | None,
    given: "ModelOptions",
    jobs: int,
    scheduler: str | None,
    force: bool,
    progress: Progress,
    stopped: Callable[[int, int], None] = lambda _done, _total: None,
) -> Explored:
    """Try the designs that a results file lacks, and say what came of all of them.

    Args:
        model: the ONNX file.
        space: the design space.
        results: the SQLite file.
        data: labelled inputs, or None.
        limit: samples of these, None for all.
        calib: inputs that set ranges, or None.
        given: what is said of inputs and layers.
        jobs: processes on this machine.
        scheduler: address of a cluster in their place, or None.
        force: begin anew where results are of another sweep.
        progress: of designs.
        stopped: told of designs done, and of all of them, where the sweep is interrupted.
    """
    from bsc.exploration.store import open_store
    from bsc.exploration.sweep import Inputs as SweepInputs
    from bsc.exploration.sweep import Sweep

    sweep = Sweep(SweepInputs(model=model, space=space, data=data, limit=limit, calibration=calib, given=given))
    with open_store(results, sweep.identity, force=force) as store:
        done = len(store.designs())
        what = "trying designs" if not done else f"trying designs, {done} were done"
        try:
            with (
                _working(min(jobs, sweep.total - done), scheduler) as workers,
                progress(what, sweep.total - done) as advance,
            ):
                sweep.run(store, workers, advance)
        except (KeyboardInterrupt, SystemExit):
            stopped(len(store.designs()), sweep.total)
            raise
        return Explored(sweep.explored(store))


def require_results(path: Path) -> None:
    """Refuse a results file that can be none.

    Raises:
        UsageError: BSC204.
    """
    if path.exists() and not path.is_file():
        raise UsageError(
            "BSC204", f"results cannot be kept in '{path}'", seen="no regular file", fix="choose another --output"
        )


@contextlib.contextmanager
def _working(jobs: int, address: str | None) -> "Iterator[Scheduler]":
    """Where the work is done."""
    from bsc.exploration.extra import require
    from bsc.exploration.local import Processes
    from bsc.exploration.scheduler import InProcess

    if address is not None:
        require("distributed", "--scheduler")
        from bsc.exploration.cluster import Cluster

        with Cluster(address) as cluster:
            yield cluster
    elif jobs > 1:
        with Processes(jobs) as processes:
            yield processes
    else:
        yield InProcess()
