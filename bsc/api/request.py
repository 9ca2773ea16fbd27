"""What a compilation is asked for, by `bsc compile`, `bsc check` and `bsc.compile` alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import hw_models
from bsc.compiler.options import ADAPTIVE, CompileOptions, MappingOptions, Placing, resolve
from bsc.compiler.policies import budget_words
from bsc.cost.writing import cell_writing
from bsc.errors import UsageError
from bsc.hardware.device import Device
from bsc.hardware.target import Target
from bsc.ir.input_values import Values
from bsc.mapping.placement import CopiesPolicy, Reloading
from bsc.numeric.encoding import Encoding, Subtraction
from bsc.numeric.quantizer import Scale

MAPPING = (
    *("xbar", "weight_bits", "activation_bits", "scale", "per_channel", "cell_bits", "dac_bits"),
    *("adc", "granularity", "encoding", "subtract", "flip", "cut", "active_rows", "permute", "cap"),
)
PLACING = (
    *("copies", "chips", "tiles", "area_mm2", "power_w", "pack"),
    *("reload", "reload_batch", "cells"),
)
BATCH = 16
"""Inferences between two writings where nobody says."""
FLAGS = {
    "area_mm2": "--area",
    "power_w": "--power",
    "law": "--adc-law",
    "constants": "--set",
    "input_values": "--input",
}
"""Options of the command line that are not called like the field."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Every option of a compilation; None, or empty, is not said and leaves the choice to bsc.

    Attributes:
        hw: hardware description, a name or file.
        law: ADC energy model, a name or file; None for the target's.
        xbar: rows and columns of a crossbar, "128x128" or (128, 128); None for the target's.
        weight_bits: bits of a weight code beside its sign, 1 to 15.
        activation_bits: bits of an input code with its sign, 2 to 16.
        scale: of codes, "power-of-two" or "max-abs".
        per_channel: a weight scale for each output channel.
        cell_bits: bits one cell stores, 1 to 8; None for the target's.
        dac_bits: input bits a DAC drives at a time, 1 to 8; None for the target's.
        adc: ADC policy, such as "lossless", "calibrated", "fixed=6" or "budgeted".
        granularity: what shares one resolution.
        encoding: how cells hold a weight's sign.
        subtract: where the two columns of a weight are subtracted.
        flip: store top - level in columns where that is less.
        cut: bits of each slice, "4-2-2" or (4, 2, 2), "even" or "adaptive".
        active_rows: rows driven together, a number or "search".
        permute: order of rows.
        cap: bits that no conversion may need; codes are changed to that end.
        copies: who chooses copies of layers.
        chips: chips at hand.
        tiles: tiles that may be filled.
        area_mm2: area of the tiles that may be filled, in mm².
        power_w: power that copies must not exceed, as modelled, in W.
        pack: small layers may share crossbars.
        reload: load layers in segments, one after another, where that is needed or faster.
        reload_batch: with reload, inferences between two writings.
        cells: with reload, device of the cells, whose writing takes time and energy; a name or file.
        calib: .npz file of inputs that set ranges, and resolutions that rest on data.
        max_accuracy_drop: points of accuracy, 0 to 100, that ADC resolutions may cost.
        held_out: .npz file of labelled data to test the drop on.
        noise: device on whose chips the drop is tested, a name or file; None for exact replays.
        read_at: with noise, time of the read after programming in s.
        faults: .csv file of stuck cells that rows and columns are moved around.
        input_shape: sizes of inputs that the model leaves open, by name; -1 for a batch that stays free.
        constants: inputs that are made constants, by name: all their values in order, or one for all.
        input_values: lowest and highest value of inputs that are made up, by name.
        keep_digital: layers that stay off the crossbars.
        import_check: compare the imported model with the file in onnxruntime.
        passes: the pipeline as text, in place of the options that say how to map and place.
        dump_ir: folder that gets the graph as text after every pass.
        stop_after: name of the last pass to run.
    """

    hw: str = "isaac"
    law: str | None = None
    xbar: str | tuple[int, int] | None = None
    weight_bits: int | None = None
    activation_bits: int | None = None
    scale: Scale | None = None
    per_channel: bool | None = None
    cell_bits: int | None = None
    dac_bits: int | None = None
    adc: str | None = None
    granularity: Literal["column", "tile", "slice"] | None = None
    encoding: Encoding | None = None
    subtract: Subtraction | None = None
    flip: bool | None = None
    cut: str | Sequence[int] | None = None
    active_rows: int | str | None = None
    permute: Literal["auto", "none", "sorted", "balanced"] | None = None
    cap: int | None = None
    copies: CopiesPolicy | None = None
    chips: int | None = None
    tiles: int | None = None
    area_mm2: float | None = None
    power_w: float | None = None
    pack: bool | None = None
    reload: bool | None = None
    reload_batch: int | None = None
    cells: str | None = None
    calib: Path | None = None
    max_accuracy_drop: float | None = None
    held_out: Path | None = None
    noise: str | None = None
    read_at: float | None = None
    faults: Path | None = None
    input_shape: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, tuple[int | float, ...]] = field(default_factory=dict)
    input_values: Mapping[str, Values] = field(default_factory=dict)
    keep_digital: tuple[str, ...] = ()
    import_check: bool = True
    passes: str | None = None
    dump_ir: Path | None = None
    stop_after: str | None = None

    def resolve(self) -> tuple[Target, CompileOptions]:
        """The hardware, and what the compiler must be told.

        Raises:
            UsageError: for values that cannot be read or go together; names are those of the command line.
        """
        target = hw_models.load(self.hw)
        law = hw_models.load_law(self.law or target.adc.law)
        text, search, adaptive = self.passes, None, self.cut == ADAPTIVE
        if text is None:
            found = resolve(self._words(), target, law)
            text, search, adaptive = found.pipeline, found.search, found.adaptive_cut
        else:
            self._refuse_beside_passes()
        drop = self.max_accuracy_drop
        return target, CompileOptions(
            pipeline=text,
            input_shapes=self.input_shape,
            constants=self.constants,
            input_values=self.input_values,
            keep_digital=self.keep_digital,
            import_check=self.import_check,
            calibration=self.calib,
            dump_ir=self.dump_ir,
            stop_after=self.stop_after,
            search=search,
            test_accuracy=self.held_out is not None or drop is not None,
            held_out=self.held_out,
            max_accuracy_drop=None if drop is None else drop / 100,
            adc_law=law,
            adaptive_cut=adaptive,
            faults=self.faults,
            noise=self._device(),
        )

    def _device(self) -> Device | None:
        """The device on whose chips accuracy is tested, or None."""
        tests = "--max-accuracy-drop or --held-out"
        tested = self.held_out is not None or self.max_accuracy_drop is not None
        for option, said, needed, there in (
            ("--read-at", self.read_at is not None, "--noise", self.noise is not None),
            ("--noise", self.noise is not None, tests, tested),
        ):
            if said and not there:
                raise _alone(option, needed)
        if self.noise is None:
            return None
        device = hw_models.load_device(self.noise)
        return device if self.read_at is None else device.read_at(self.read_at)

    def _words(self) -> MappingOptions:
        """How to map and place, in words."""
        return MappingOptions(
            xbar=self.xbar if self.xbar is None or isinstance(self.xbar, str) else "x".join(map(str, self.xbar)),
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            scale=self.scale,
            per_channel=bool(self.per_channel),
            cell_bits=self.cell_bits,
            dac_bits=self.dac_bits,
            encoding=self.encoding,
            subtract=self.subtract,
            flip=bool(self.flip),
            cut=self.cut if self.cut is None or isinstance(self.cut, str) else "-".join(map(str, self.cut)),
            active_rows=None if self.active_rows is None else str(self.active_rows),
            permute=self.permute,
            adc=self._policy(),
            granularity=self.granularity,
            cap=self.cap,
            placing=Placing(
                copies=self.copies or "none",
                chips=self.chips,
                tiles=self.tiles,
                area_mm2=self.area_mm2,
                power_w=self.power_w,
                pack=bool(self.pack),
                reload=self._reloading(),
            ),
        )

    def _reloading(self) -> Reloading | None:
        """What writing segments takes, or None where none are."""
        if not self.reload:
            said = next((name for name in ("reload_batch", "cells") if getattr(self, name) is not None), None)
            if said is not None:
                raise _alone(flag(said), "--reload")
            return None
        if self.power_w is not None:
            raise UsageError(
                "BSC201",
                "--power and --reload cannot be used together",
                seen="a power budget, which says nothing of writing",
                fix="leave --power out, or --reload",
            )
        if self.cells is None:
            raise UsageError(
                "BSC201",
                "--reload needs to know what writing a cell takes",
                seen="no --cells",
                fix="name the device of the cells, as --cells reram-isaac-model; bsc hw lists devices",
            )
        device = hw_models.load_device(self.cells)
        cell = None if device.writing is None else cell_writing(device.writing)
        if cell is None or cell.time_s is None:
            raise UsageError(
                "BSC201",
                f"device '{device.name}' does not say how long writing a cell takes",
                seen="no [writing]" if cell is None else "no verify_s in its [writing]",
                fix="choose another device with --cells, or add the figure to its description",
            )
        return Reloading(
            batch=self.reload_batch or BATCH,
            cell_s=cell.time_s,
            cell_j=cell.energy_j,
            updates=cell.updates,
            device=device.name,
        )

    def _policy(self) -> str | None:
        """The ADC policy that was said, which an accuracy budget implies and which needs one."""
        budgeted, words = self.max_accuracy_drop is not None, budget_words()
        if budgeted and self.adc is None:
            return words[0]
        if budgeted == (self.adc in words):
            return self.adc
        raise UsageError(
            "BSC201",
            f"--adc {' or '.join(words)} and --max-accuracy-drop belong together",
            seen=f"--adc {self.adc} {'with' if budgeted else 'without'} --max-accuracy-drop",
            fix="give the points of accuracy that may be lost, as --max-accuracy-drop 0.5, and no other --adc",
        )

    def _refuse_beside_passes(self) -> None:
        replaced = next((name for name in (*MAPPING, *PLACING) if getattr(self, name) is not None), None)
        if replaced is None:
            return
        option = flag(replaced)
        raise UsageError(
            "BSC201",
            f"--passes and {option} cannot be used together",
            seen=f"--passes {self.passes!r}",
            fix=f"write what {option} says into the pipeline text, or leave --passes out",
        )


def _alone(option: str, needed: str) -> UsageError:
    return UsageError(
        "BSC201",
        f"{option} means nothing without {needed}",
        seen=f"{option} alone",
        fix=f"add {needed}, or leave {option} out",
    )


def flag(name: str) -> str:
    """The option of the command line for a field of `Request`."""
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


OPTIONS = tuple(each.name for each in fields(Request))
"""Names of all options, those of the command line by `flag`."""
