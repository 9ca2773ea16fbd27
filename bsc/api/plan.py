"""A deployment plan in Python: compiled, opened, replayed, verified, priced, looked at, saved."""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import ArrayLike, NDArray

from bsc.api.crossbar import Crossbar
from bsc.api.data import Inputs, Progress, StrPath, as_file, open_data, quiet, replay_options
from bsc.api.shown import Shown
from bsc.api.verified import Verified
from bsc.plan.folder import check_free, read_plan, to_json, write_plan

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.api.cost import Cost
    from bsc.api.exporting import Form
    from bsc.api.table import Table
    from bsc.ir.input_values import Values
    from bsc.mapping.model import TensorRecord
    from bsc.mapping.placement import CopiesPolicy
    from bsc.numeric.encoding import Encoding, Subtraction
    from bsc.numeric.quantizer import Scale
    from bsc.plan.document import Plan as PlanRecord
    from bsc.plan.document import PlanDocument

REPORT = "report.json"
TEXT = "report.txt"
PAGE = "report.html"


class Plan(Shown):
    """A model on crossbars: which weight bit goes into which cell, and what every column's ADC resolves.

    `bsc.compile` and `bsc.open` make it; `print(plan)` shows its report.

    Args:
        record: the plan as the rest of bsc knows it.

    Attributes:
        record: all of it: `record.mapping`, `record.target`, `record.provenance`.
    """

    def __init__(self, record: "PlanRecord") -> None:
        self.record = record

    @property
    def model(self) -> str:
        """File name of the model."""
        return self.record.provenance.model.file

    @property
    def pipeline(self) -> str:
        """Text of the passes that made it, every option spelled out; `bsc.compile(passes=...)` takes it."""
        return self.record.provenance.pipeline

    @property
    def inputs(self) -> "tuple[TensorRecord, ...]":
        """Name, shape and type of each input of the model."""
        return self.record.mapping.inputs

    @property
    def outputs(self) -> "tuple[TensorRecord, ...]":
        """Name, shape and type of each output of the model."""
        return self.record.mapping.outputs

    @property
    def layers(self) -> "Table":
        """A row for each crossbar layer: sizes, crossbars, ADC bits, energy in J, latency in s, area in m²."""
        return self._cost.layers

    def cost(
        self,
        *,
        hw: StrPath | None = None,
        law: StrPath | None = None,
        cells: StrPath | None = None,
        x: Inputs | None = None,
        limit: int | None = None,
        updates_per_day: float | None = None,
        input_values: "Mapping[str, Values] | None" = None,
        progress: Progress = quiet,
    ) -> "Cost":
        """What the plan costs, beside its baselines.

        Args:
            hw: hardware description to price it on, a name or file; None for the plan's own.
            law: ADC energy model, a name or file; None for the hardware's.
            cells: device that the cells are made of, a name or file: reads by Ohm's law, and what writing takes, beside
                the hardware's averages.
            x: inputs as for `run`, whose digits drive the rows of these reads; None for rows that are all driven.
            limit: use only the first samples.
            updates_per_day: times that the cells are written anew, for their lifetime; None for 1.
            input_values: value of inputs that `x` lacks, (v, v), by name.
            progress: as for `run`.

        Raises:
            UsageError: BSC206 for hardware or a device, BSC207 for a law that cannot be used, BSC212 for hardware whose
                crossbars are of another size; BSC201 for options that mean nothing without `cells`.
            ModelError: BSC308 for data.
        """
        import hw_models
        from bsc.api.cost import Cost
        from bsc.api.pricing import CellQuestion, plan_report

        _require_cells(cells, x, limit, updates_per_day, input_values)
        question = None
        if cells is not None:
            given = input_values or {}
            question = CellQuestion(
                device=hw_models.load_device(os.fspath(cells)),
                data=None if x is None else open_data(self.record, x, limit=limit, given=given)[0],
                updates_per_day=1.0 if updates_per_day is None else updates_per_day,
                progress=progress,
            )
        target = self.record.target if hw is None else hw_models.load(os.fspath(hw))
        law = None if law is None else os.fspath(law)
        return Cost(self.record, plan_report(self.record, target, law, question))

    def run(
        self,
        x: Inputs,
        *,
        batch: int | None = None,
        limit: int | None = None,
        device: str = "cpu",
        input_values: "Mapping[str, Values] | None" = None,
        progress: Progress = quiet,
    ) -> dict[str, NDArray[Any]]:
        """Replay the plan: what its crossbars give, ADCs with their steps and saturation included.

        Args:
            x: a .npz file, the array of the only input, or arrays by input; samples along the batch axis.
            batch: samples to run together; None for 256, or as many as the model fixes.
            limit: use only the first samples.
            device: "cpu", or "cuda" to read columns through PyTorch.
            input_values: value of inputs that `x` lacks, (v, v), by name.
            progress: makes a context of a title and a number of samples, which gives what is called with samples done.

        Returns:
            Outputs by name, samples along the axis that they have in the model.

        Raises:
            ModelError: BSC308 for data that do not fit the model.
        """
        from bsc.replay.outputs import replayed_outputs

        data, _ = open_data(self.record, x, limit=limit, batch=batch, given=input_values)
        how = replay_options(device, every_conversion=False, statistics=False)
        with progress("replaying", data.samples) as advance:
            return replayed_outputs(self.record.mapping, data, options=how, advance=advance)

    def verify(
        self,
        x: Inputs | None = None,
        y: ArrayLike | None = None,
        *,
        model: StrPath | None = None,
        per_layer: bool = False,
        proofs: bool = False,
        every_conversion: bool = False,
        batch: int | None = None,
        limit: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        input_values: "Mapping[str, Values] | None" = None,
        check: bool = True,
        progress: Progress = quiet,
    ) -> Verified:
        """Replay the plan and compare it with the quantised integer model, and with the float model if given.

        Args:
            x: inputs as for `run`, which a .npz file may have labels beside; None for random ones.
            y: class of each sample, integers (samples,), for accuracies.
            model: the ONNX file that was compiled, to compare with.
            per_layer: with `model`, compare the results of every layer too.
            proofs: first derive every bound again from the cells alone, and attack it.
            every_conversion: carry out conversions that are proved lossless too.
            batch: as for `run`.
            limit: as for `run`.
            seed: of random inputs.
            device: as for `run`.
            input_values: lowest and highest value of inputs that are made up, by name.
            check: refuse a plan that claims to be lossless and is not.
            progress: as for `run`.

        Raises:
            ModelError: BSC308 for data, BSC307 for a model that is not the plan's; BSC307 if recorded sums are not
                those of the cells.
            GateError: BSC501 with `check` for a lossless plan whose replay is not exact; BSC504 for a bound that is
                not proved by the cells.
        """
        from bsc.errors import UsageError
        from bsc.replay.proofs import check_proofs, check_records, check_vectors
        from bsc.replay.verification import verify

        if per_layer and model is None:
            raise UsageError(
                "BSC201",
                "--per-layer has nothing to compare layers with",
                seen="no --model",
                fix="add --model with the ONNX file that was compiled",
            )
        proved = check_proofs(self.record.mapping, seed) if proofs else None
        data, source = open_data(self.record, x, y, limit=limit, batch=batch, seed=seed, given=input_values)
        if proofs:
            check_records(self.record)
            check_vectors(self.record.mapping, next(data.first(1).batches()))
        how = replay_options(device, every_conversion=every_conversion, statistics=False)
        with progress("replaying", data.samples) as advance:
            found = verify(
                self.record,
                data,
                source,
                None if model is None else Path(model),
                per_layer=per_layer,
                options=how,
                advance=advance,
            )
        if check:
            found.require_lossless(self.record)
        return Verified(self.record, found, proved)

    def crossbar(
        self, layer: str, row_tile: int, column_tile: int, slice: int, sign: Literal["+", "-"] = "+"
    ) -> Crossbar:
        """One crossbar: `plan.crossbar("fc1", 0, 0, 3, "+").levels` are its cells.

        Args:
            layer: name of the layer.
            row_tile: from 0.
            column_tile: from 0.
            slice: from 0, the least significant.
            sign: "+", or "-" where pairs have a second column.

        Raises:
            UsageError: BSC201 for a layer or crossbar that the plan does not have.
        """
        from bsc.plan.cells import CrossbarIndex
        from bsc.report.places import Places

        record = self.record.mapping.layer(layer)
        arrays = self.record.mapping.arrays(record)
        index = CrossbarIndex.parse(f"{row_tile},{column_tile},{slice},{sign}", record, arrays)
        return Crossbar(record, arrays, index, Places(levels=self.record.target.level))

    def save(self, path: StrPath, *, force: bool = False, html: bool = False) -> "PlanDocument":
        """Write the plan folder, its report beside it.

        Args:
            path: the folder to make.
            force: replace a plan folder that is there.
            html: write the report as a page too.

        Returns:
            plan.json as written, with the hash of every file.

        Raises:
            UsageError: BSC203 for a folder that exists, BSC204 for one that cannot be written.
        """
        return save(self.record, self._cost, Path(path), force=force, html=html)

    def export(self, to: "Form", path: StrPath | None = None, *, force: bool = False) -> Path:
        """Write the plan for other tools, as `bsc export` does.

        Args:
            to: "onnx", "cells", "model-explorer", "csv" or "parquet".
            path: the file or folder; None for one in this folder, called like the model.
            force: replace an earlier export.

        Returns:
            Where it was written.

        Raises:
            UsageError: BSC203 for what exists, BSC204 for what cannot be written, BSC208 for a package that is missing.
        """
        from bsc.api.exporting import default_path, export_plan

        place = default_path(Path(self.model).stem, to) if path is None else Path(path)
        export_plan(self.record, lambda: self._cost.document, to, place, force=force)
        return place

    @cached_property
    def _cost(self) -> "Cost":
        return self.cost()

    def __rich__(self) -> "RenderableType":
        return self._cost.__rich__()

    def _line(self) -> str:
        layers = self.record.mapping.layers
        crossbars = sum(int(self.record.mapping.arrays(layer).allocated.sum()) for layer in layers)
        counted = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
        policies = ", ".join(sorted({layer.adc_policy for layer in layers}))
        return f"of {self.model} on {self.record.target.name}: {counted}, {crossbars} crossbars, ADC {policies}"

    def _repr_html_(self) -> str:
        return self._cost._repr_html_()


def compile(
    model: StrPath,
    *,
    calib: Inputs | None = None,
    held_out: Inputs | None = None,
    hw: StrPath = "isaac",
    law: StrPath | None = None,
    xbar: str | tuple[int, int] | None = None,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    scale: "Scale | None" = None,
    per_channel: bool | None = None,
    cell_bits: int | None = None,
    dac_bits: int | None = None,
    adc: str | None = None,
    granularity: Literal["column", "tile", "slice"] | None = None,
    encoding: "Encoding | None" = None,
    subtract: "Subtraction | None" = None,
    flip: bool | None = None,
    cut: str | Sequence[int] | None = None,
    active_rows: int | str | None = None,
    permute: Literal["auto", "none", "sorted", "balanced"] | None = None,
    cap: int | None = None,
    copies: "CopiesPolicy | None" = None,
    chips: int | None = None,
    tiles: int | None = None,
    area_mm2: float | None = None,
    power_w: float | None = None,
    pack: bool | None = None,
    reload: bool | None = None,
    reload_batch: int | None = None,
    cells: StrPath | None = None,
    max_accuracy_drop: float | None = None,
    noise: StrPath | None = None,
    read_at: float | None = None,
    faults: StrPath | None = None,
    input_shape: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, float | Sequence[float]] | None = None,
    input_values: "Mapping[str, Values] | None" = None,
    keep_digital: Sequence[str] = (),
    import_check: bool = True,
    passes: str | None = None,
) -> Plan:
    """Compile an ONNX model into a plan, as `bsc compile` does; nothing is written.

    What is left out is as on the command line, whose options have the same names.

    Args:
        model: the ONNX file; it is only read.
        calib: inputs that set input scales, and resolutions that rest on data: a .npz file, an array, or arrays by
            input, labels among them as "labels". None lets every input vector have its own scale.
        held_out: labelled data to test an accuracy drop on, likewise; None for every other sample of `calib`.
        hw: hardware description, a name such as "isaac" or a .toml file.
        law: ADC energy model that choices go by, a name or file; None for the hardware's.
        xbar: rows and columns of a crossbar, (128, 128) or "128x128".
        weight_bits: bits of a weight code beside its sign, 1 to 15.
        activation_bits: bits of an input code with its sign, 2 to 16.
        scale: of codes, "power-of-two" or "max-abs".
        per_channel: a weight scale for each output channel.
        cell_bits: bits one cell stores, 1 to 8.
        dac_bits: input bits a DAC drives at a time, 1 to 8.
        adc: ADC policy: "lossless", "calibrated", "fixed=6", "raella" and so on.
        granularity: what shares one resolution: "column", "tile" or "slice".
        encoding: how cells hold a weight's sign: "differential", "offset" or "centre".
        subtract: where the two columns of a weight are subtracted, "digital" or "analog".
        flip: store top - level in columns where that is less.
        cut: bits of each slice, (4, 2, 2) or "4-2-2", "even" or "adaptive".
        active_rows: rows driven together, a number or "search".
        permute: order of rows: "auto", "none", "sorted" or "balanced".
        cap: ADC bits that no conversion may need; weight codes are changed to that end.
        copies: who chooses copies of layers: "none", "isaac", "throughput" or "latency".
        chips: chips at hand.
        tiles: tiles that may be filled.
        area_mm2: area of the tiles that may be filled, in mm².
        power_w: power that copies must not exceed, as modelled, in W.
        pack: small layers may share crossbars.
        reload: load layers in segments, one after another, where that is needed or faster.
        reload_batch: with reload, inferences between two writings; None for 16.
        cells: with reload, device of the cells, whose writing takes time and energy; a name or a .toml file.
        max_accuracy_drop: points of accuracy, 0 to 100, that ADC resolutions may cost, with 95 % confidence.
        noise: device on whose chips that is tested, one drawn anew for each sample; a name or a .toml file.
        read_at: with noise, time of the read after programming, in s.
        faults: .csv file of stuck cells; rows and columns are moved to where these do least harm.
        input_shape: sizes of inputs that the model leaves open, by name; None for a batch, which stays free.
        constants: inputs that are made constants, by name.
        input_values: (lowest, highest) of inputs that are made up, by name.
        keep_digital: names of layers that stay off the crossbars.
        import_check: compare the imported model with the file in onnxruntime.
        passes: the pipeline as text, in place of what says how to map and place.

    Raises:
        BscError: with a code, what was seen and what to do; the same as the command's.
    """
    from bsc.api.request import Request
    from bsc.compiler.driver import compile_model

    with as_file(calib, "calib") as data, as_file(held_out, "held_out") as judged:
        request = Request(
            hw=os.fspath(hw),
            law=None if law is None else os.fspath(law),
            xbar=xbar,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            scale=scale,
            per_channel=per_channel,
            cell_bits=cell_bits,
            dac_bits=dac_bits,
            adc=adc,
            granularity=granularity,
            encoding=encoding,
            subtract=subtract,
            flip=flip,
            cut=cut,
            active_rows=active_rows,
            permute=permute,
            cap=cap,
            copies=copies,
            chips=chips,
            tiles=tiles,
            area_mm2=area_mm2,
            power_w=power_w,
            pack=pack,
            reload=reload,
            reload_batch=reload_batch,
            cells=None if cells is None else os.fspath(cells),
            calib=data,
            max_accuracy_drop=max_accuracy_drop,
            held_out=judged,
            noise=None if noise is None else os.fspath(noise),
            read_at=read_at,
            faults=None if faults is None else Path(faults),
            import_check=import_check,
            passes=passes,
            **model_words(input_shape, constants, input_values, keep_digital),
        )
        compiled = compile_model(Path(model), *request.resolve())
    assert compiled.plan is not None
    return Plan(compiled.plan)


def open(path: StrPath) -> Plan:
    """Open a plan folder; its arrays are read, and their hashes checked, when they are needed.

    Raises:
        UsageError: BSC202 for a folder that cannot be opened.
        ModelError: BSC307 for one that is no plan or was altered.
    """
    return Plan(read_plan(Path(path)))


def save(record: "PlanRecord", cost: "Cost", folder: Path, *, force: bool, html: bool) -> "PlanDocument":
    """Write a plan folder with a report beside it: text, JSON and, if asked for, a page.

    Raises:
        UsageError: BSC203 for a folder that exists, BSC204 for one that cannot be written.
    """
    from bsc.api.cost import Cost
    from bsc.report.text import to_text

    check_free(folder, force=force)  # before the report is made, and once more when writing
    text = to_text(cost)

    def views(document: "PlanDocument") -> dict[str, str]:
        """Files beside the plan; `document` is the one that names all other files."""
        whole = cost.document.model_copy(update={"plan": document})
        texts = {TEXT: text, REPORT: to_json(whole)}
        return texts | {PAGE: Cost(record, whole).page()} if html else texts

    return write_plan(record, folder, views=views, force=force)


def model_words(
    input_shape: Mapping[str, Sequence[int | None]] | None,
    constants: Mapping[str, float | Sequence[float]] | None,
    input_values: "Mapping[str, Values] | None",
    keep_digital: Sequence[str],
) -> dict[str, Any]:
    """What is said of a model's inputs and layers, as `Request` and `ModelOptions` take it."""
    from bsc.frontend.shapes import FREE

    shapes = {
        name: tuple(FREE if size is None else size for size in sizes) for name, sizes in (input_shape or {}).items()
    }
    values = {name: tuple(each) if isinstance(each, Sequence) else (each,) for name, each in (constants or {}).items()}
    return {
        "input_shape": shapes,
        "constants": values,
        "input_values": {name: (float(low), float(high)) for name, (low, high) in (input_values or {}).items()},
        "keep_digital": (keep_digital,) if isinstance(keep_digital, str) else tuple(keep_digital),
    }


def _require_cells(
    cells: StrPath | None,
    x: Inputs | None,
    limit: int | None,
    updates_per_day: float | None,
    input_values: "Mapping[str, Values] | None",
) -> None:
    """Refuse options of `Plan.cost` that have no effect, or a rate that is none.

    Raises:
        UsageError: BSC201.
    """
    from bsc.errors import UsageError

    for option, given, needed, other in (
        ("--data", x is not None, "--cells", cells),
        ("--updates-per-day", updates_per_day is not None, "--cells", cells),
        ("--limit", limit is not None, "--data", x),
        ("--input", bool(input_values), "--data", x),
    ):
        if given and other is None:
            raise UsageError(
                "BSC201",
                f"{option} means nothing without {needed}",
                seen=f"{option} alone",
                fix=f"add {needed}, or leave {option} out",
            )
    if updates_per_day is not None and not 1e-6 <= updates_per_day <= 1e9:
        raise UsageError(
            "BSC201",
            "--updates-per-day is out of range",
            seen=f"{updates_per_day:g}",
            fix="give a rate from 1e-6 to 1e9",
        )
