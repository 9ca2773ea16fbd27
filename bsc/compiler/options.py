"""What can be said about a plan in words, as the options of `bsc compile` and the axes of `bsc explore` do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bsc.chip.budget import tile_area_m2, tiles_within
from bsc.compiler.layout import LayoutSearch
from bsc.compiler.policies import PRESETS, parse_policy
from bsc.compiler.steps import Steps
from bsc.errors import UsageError
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.device import Device
from bsc.hardware.target import Target
from bsc.ir.input_values import Values
from bsc.ir.passbase import Pass
from bsc.ir.pipeline import format_pipeline, parse_pipeline
from bsc.mapping.placement import CopiesPolicy, Reloading
from bsc.numeric.encoding import Encoding, Subtraction
from bsc.numeric.quantizer import Scale
from passes import PASSES
from passes.permute import RowOrder
from passes.place import Place
from passes.reload import Reload

SEARCH = "search"
ADAPTIVE = "adaptive"


DEFAULT_WEIGHT_BITS = 8
"""The paper's."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What is said of a model's inputs and layers; `CompileOptions` has the same.

    Attributes:
        input_shapes: sizes of inputs that the model leaves open, by name.
        constants: inputs that are made constants: all their values in order, or one for all, by name.
        input_values: lowest and highest value of inputs that are made up, by name.
        keep_digital: names of layers that stay digital operators.
        import_check: whether the imported graph is checked against the file.
    """

    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, tuple[int | float, ...]] = field(default_factory=dict)
    input_values: Mapping[str, Values] = field(default_factory=dict)
    keep_digital: tuple[str, ...] = ()
    import_check: bool = True


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """What a compilation may be told.

    Attributes:
        pipeline: text of the passes.
        input_shapes: sizes of inputs that the model leaves open, by name.
        constants: inputs that are made constants: all their values in order, or one for all, by name.
        input_values: lowest and highest value of inputs that are made up, by name.
        keep_digital: names of layers that stay digital operators.
        import_check: whether the imported graph is checked against the file.
        calibration: .npz file that input ranges are taken from, or None.
        dump_ir: folder that gets the graph as text after import and after every pass, or None.
        stop_after: name of the last pass to run, or None for all; a search still looks at the whole pipeline.
        registry: the passes that the pipeline may name.
        search: what to choose by its cost before `tile`, or None for the pipeline as it is.
        test_accuracy: test the accuracy of the plan on held-out data; these and calibration data then need labels.
        held_out: .npz file of those; None for every other sample of the calibration data, which then has no other use.
        max_accuracy_drop: accuracy below the quantised model that `budget-adc` may lose, a share of samples; None for
            the noise price that the pipeline says. Needs `test_accuracy`.
        adc_law: by which conversions are priced; None for the target's own.
        adaptive_cut: cut every layer into slices by measured error [raella23]; needs calibration data.
        faults: file of stuck cells that rows and columns are moved around, or None.
        noise: device on whose chips accuracy is tested; None for exact replays. Needs `test_accuracy`.
    """

    pipeline: str
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, tuple[int | float, ...]] = field(default_factory=dict)
    input_values: Mapping[str, Values] = field(default_factory=dict)
    keep_digital: tuple[str, ...] = ()
    import_check: bool = True
    calibration: Path | None = None
    dump_ir: Path | None = None
    stop_after: str | None = None
    registry: Mapping[str, type[Pass]] = field(default_factory=lambda: PASSES)
    search: LayoutSearch | None = None
    test_accuracy: bool = False
    held_out: Path | None = None
    max_accuracy_drop: float | None = None
    adc_law: AdcLaw | None = None
    adaptive_cut: bool = False
    faults: Path | None = None
    noise: Device | None = None


@dataclass(frozen=True, kw_only=True)
class Placing:
    """Options of the pass `place`, as on the command line.

    Attributes:
        copies: who chooses the copies of layers.
        chips: how many there are; None for as many as are needed.
        tiles: how many tiles may be filled; None for all.
        area_mm2: area of the tiles that may be filled; None for any.
        power_w: all in all, that copies must not exceed; None for any.
        pack: small layers may share crossbars.
        reload: layers may be loaded in segments, one after another; None for no.
    """

    copies: CopiesPolicy = "none"
    chips: int | None = None
    tiles: int | None = None
    area_mm2: float | None = None
    power_w: float | None = None
    pack: bool = False
    reload: Reloading | None = None

    def step(self, target: Target) -> Place:
        """The pass.

        Raises:
            UsageError: BSC201 for an area that is not a finite number; BSC206 if the target gives no areas.
        """
        if self.area_mm2 is not None:
            tiles_within(self.area_mm2 * 1e-6, tile_area_m2(target))  # refused before any work is done
        place = Place(
            copies=self.copies,
            chips=self.chips or 0,
            tiles=self.tiles or 0,
            area=self.area_mm2 or 0.0,
            power=self.power_w or 0.0,
            pack="yes" if self.pack else "no",
        )
        if self.reload is None:
            return place
        words = self.reload
        return Reload(
            **asdict(place),
            batch=words.batch,
            cell_s=words.cell_s,
            cell_j=words.cell_j,
            updates=words.updates or 0.0,
            device=() if words.device is None else (words.device,),
        )


@dataclass(frozen=True, kw_only=True)
class MappingOptions:
    """A plan in words; None leaves a choice to the target, to the ADC policy or to the defaults of `bsc compile`.

    Attributes:
        xbar: ROWSxCOLS.
        weight_bits: bits of a weight code, beside its sign.
        activation_bits: bits of an input code with its sign.
        scale: how scales of codes are chosen, as in the pass `quantize`.
        per_channel: a scale for each output channel of the weights.
        cell_bits: bits one cell stores.
        dac_bits: input bits a DAC drives at a time.
        encoding: how cells hold the sign of a weight.
        subtract: where the columns of a pair are subtracted.
        flip: let columns hold top - level where that adds up to less.
        cut: `even`, the bits of each slice, or `adaptive`.
        active_rows: how many rows are driven together, or `search`.
        permute: `auto`, `none`, `sorted` or `balanced`.
        adc: ADC policy, as on the command line.
        granularity: what shares one resolution.
        cap: bits that no conversion may need; codes are changed to that end.
        placing: how crossbars are placed; None leaves that out.
    """

    xbar: str | None = None
    weight_bits: int | None = None
    activation_bits: int | None = None
    scale: Scale | None = None
    per_channel: bool = False
    cell_bits: int | None = None
    dac_bits: int | None = None
    encoding: Encoding | None = None
    subtract: Subtraction | None = None
    flip: bool = False
    cut: str | None = None
    active_rows: str | None = None
    permute: str | None = None
    adc: str | None = None
    granularity: str | None = None
    cap: int | None = None
    placing: Placing | None = None


@dataclass(frozen=True, kw_only=True)
class ResolvedOptions:
    """What `compile_model` must be told.

    Attributes:
        pipeline: text of the passes.
        search: what is left to be chosen by its cost, or None.
        adaptive_cut: every layer is cut by measured error.
    """

    pipeline: str
    search: LayoutSearch | None
    adaptive_cut: bool

    @property
    def needs_prices(self) -> bool:
        """Whether the plan follows from prices and the ADC law too, not from the pipeline alone."""
        wishes = (step.observes() for step in Steps.of(parse_pipeline(self.pipeline, PASSES)).adc)
        return self.search is not None or any(wish is not None and wish.prices for wish in wishes)


def resolve(choices: MappingOptions, target: Target, law: AdcLaw) -> ResolvedOptions:
    """What a plan in words comes to on a target.

    Args:
        choices: the plan.
        target: gives whatever is left open.
        law: the ADC law that searches go by.

    Raises:
        UsageError: BSC201 for words that cannot be read.
    """
    if (preset := PRESETS.get(choices.adc or "")) is not None:
        free = {name: value for name, value in preset.options.items() if getattr(choices, name) is None}
        choices = replace(choices, adc=preset.adc, **free)  # type: ignore[arg-type]
    cut = choices.cut or "even"
    granularity = choices.granularity or _finest(target)
    permute = choices.permute or ("none" if granularity == "column" or choices.cap else "auto")
    if choices.cap and permute == "auto":
        raise _moves_rows()
    searched = choices.active_rows == SEARCH
    search = None
    if searched or permute == "auto":
        search = LayoutSearch(law=law, orders=_row_orders(permute), active_rows=searched)
    rows, cols = parse_xbar(choices.xbar) if choices.xbar else (target.crossbar.rows, target.crossbar.cols)
    pipeline = default_pipeline(
        target,
        rows=rows,
        cols=cols,
        policy=choices.adc or _default_policy(target),
        granularity=granularity,
        encoding=choices.encoding or "differential",
        subtraction=choices.subtract or "digital",
        flip=choices.flip,
        cut="even" if cut == ADAPTIVE else cut,
        active_rows=None if searched else parse_active_rows(choices.active_rows),
        row_order=_row_orders(permute)[0] if search is None else "as-is",
        weight_bits=choices.weight_bits,
        activation_bits=choices.activation_bits,
        scale=choices.scale,
        per_channel=choices.per_channel,
        cell_bits=choices.cell_bits,
        dac_bits=choices.dac_bits,
        cap=choices.cap,
    )
    if choices.placing is not None:
        pipeline = f"{pipeline},{format_pipeline([choices.placing.step(target)])}"
    return ResolvedOptions(pipeline=pipeline, search=search, adaptive_cut=cut == ADAPTIVE)


def default_pipeline(
    target: Target,
    *,
    rows: int,
    cols: int,
    policy: str,
    granularity: str,
    encoding: Encoding = "differential",
    subtraction: Subtraction = "digital",
    flip: bool = False,
    cut: str = "even",
    active_rows: int | None = None,
    row_order: RowOrder = "as-is",
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    scale: Scale | None = None,
    per_channel: bool = False,
    cell_bits: int | None = None,
    dac_bits: int | None = None,
    cap: int | None = None,
) -> str:
    """The pipeline text for a target.

    Args:
        target: gives bits per cell and per DAC.
        rows: wordlines of a crossbar.
        cols: bitlines of a crossbar.
        policy: ADC policy as on the command line.
        granularity: column, tile or slice.
        encoding: how cells hold the sign of a weight.
        subtraction: where the columns of a pair are subtracted.
        flip: let columns hold top - level where that adds up to less.
        cut: "even" or the bits of each slice, as in the pass `slice-bits`.
        active_rows: wordlines that are driven together; None for all.
        row_order: what `permute` does, if anything; columns are sorted then.
        weight_bits: bits of a weight code beside its sign; None for 8.
        activation_bits: bits of an input code with its sign; None for 8.
        scale: "power-of-two" or "max-abs", as in the pass `quantize`; None for the former.
        per_channel: a weight scale for each output channel, not one for all.
        cell_bits: bits one cell stores; None for the target's.
        dac_bits: input bits a DAC drives at a time; None for the target's.
        cap: bits that no conversion may need, as in the pass `cap-columns`; None to leave codes as they are.

    Raises:
        UsageError: BSC201 for a policy that is none.
    """
    adc = parse_policy(policy).text(granularity)
    cell_bits, dac_bits = cell_bits or target.crossbar.bits_per_cell, dac_bits or target.dac.bits
    quantised = f"bits={weight_bits or DEFAULT_WEIGHT_BITS}"
    quantised += f" activation-bits={activation_bits}" if activation_bits else ""
    quantised += f" scale={scale}" if scale else ""
    quantised += " per=channel" if per_channel else ""
    driven = active_rows or rows
    permute = f"permute{{rows={row_order} columns=sorted group-rows={driven}}}," if row_order != "as-is" else ""
    capped = f"cap-columns{{bits={cap} group-rows={driven}}}," if cap else ""
    return (
        f"fold-batchnorm,quantize{{{quantised}}},"
        f"slice-bits{{bits-per-cell={cell_bits} dac-bits={dac_bits} "
        f"encoding={encoding} subtraction={subtraction} flip={'yes' if flip else 'no'} cut={cut}}},"
        f"eliminate{{rows={rows}}},{permute}{capped}tile{{rows={rows} cols={cols} active-rows={driven}}},"
        f"{adc}"
    )


def parse_xbar(text: str) -> tuple[int, int]:
    """Rows and columns of a crossbar.

    Raises:
        UsageError: BSC201.
    """
    rows, _, cols = text.partition("x")
    decimal = text.isascii() and rows.isdecimal() and cols.isdecimal()
    if not (decimal and int(rows) >= 1 and int(cols) >= 1):
        raise UsageError(
            "BSC201",
            "--xbar cannot be read",
            seen=repr(text),
            fix="write ROWSxCOLS, each 1 or more, as 128x128",
        )
    return int(rows), int(cols)


def parse_active_rows(text: str | None) -> int | None:
    """How many rows are driven together; None for all.

    Raises:
        UsageError: BSC201.
    """
    if text is None or (text.isascii() and text.isdecimal() and int(text) >= 1):
        return None if text is None else int(text)
    raise UsageError(
        "BSC201",
        "--active-rows cannot be read",
        seen=repr(text),
        fix=f"write how many rows to drive at a time, 1 or more, or {SEARCH}",
    )


def _moves_rows() -> UsageError:
    return UsageError(
        "BSC201",
        "--cap and --permute auto cannot be used together",
        seen="rows that are put in order after their columns were capped",
        fix="choose --permute none, sorted or balanced",
    )


def _row_orders(permute: str) -> tuple[RowOrder, ...]:
    """What `permute` leaves to choose from."""
    orders: dict[str, tuple[RowOrder, ...]] = {
        "auto": ("as-is", "sorted", "balanced"),
        "none": ("as-is",),
        "sorted": ("sorted",),
        "balanced": ("balanced",),
    }
    if permute not in orders:
        raise UsageError(
            "BSC201", "--permute cannot be read", seen=repr(permute), fix="write auto, none, sorted or balanced"
        )
    return orders[permute]


def _default_policy(target: Target) -> str:
    return f"fixed={target.adc.bits}" if target.adc.granularity.value == "fixed" else "lossless"


def _finest(target: Target) -> str:
    """The finest granularity that the target offers; where it has none, it does not matter."""
    offered = target.adc.granularity.value
    return "column" if offered == "fixed" else offered
