"""`bsc check` refuses what `bsc compile` refuses, in the same words, and lets through what it lets through."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

import bsc.ir.schedule
import hw_models
from bsc.cli import main
from bsc.compiler.driver import check_model, compile_model
from bsc.compiler.layout import LayoutSearch
from bsc.compiler.options import CompileOptions, MappingOptions, Placing, resolve
from bsc.errors import CODES, BscError
from bsc.frontend import rewrite
from bsc.hardware.target import AdcFlexibility, Offer, Target
from bsc.testing import mlp_model, random_weights, tiny_model
from tests.bsc.plans import ISAAC
from tests.bsc.targets import without_price

LAW = hw_models.load_law("isaac")
MLP = mlp_model(12, 8, 3).SerializeToString()
UNLABELLED, LABELLED = "unlabelled.npz", "labelled.npz"
SAMPLES = 40


def small(body: str, *, x: str = "N,4", w: Any = None, **options: Any) -> bytes:
    """A model from x to y with weights w."""
    weights = random_weights(4, 2) if w is None else w
    model = tiny_model(f"(float[{x}] x) => (float[] y) {{ {body} }}", {"w": weights}, **options)
    return bytes(model.SerializeToString())


def with_adcs(offer: AdcFlexibility, bits: int = 8) -> Target:
    """The target with converters of that kind."""
    value = Offer(value=offer, kind="assumed", source="a test")
    return ISAAC.model_copy(update={"adc": ISAAC.adc.model_copy(update={"granularity": value, "bits": bits})})


def with_tiles(arrays: int, tiles: int) -> Target:
    """The target with so many arrays in a tile, and tiles on a chip."""
    array, unit, tile, chip = ISAAC.level
    counts = ((array, arrays), (unit, 1), (tile, tiles))
    return ISAAC.model_copy(
        update={"level": (*(level.model_copy(update={"count": count}) for level, count in counts), chip)}
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data files for `MLP`, random inputs with and without random labels, in the folder that tests run in."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    inputs = random.standard_normal((SAMPLES, 12)).astype(np.float32)
    np.savez(UNLABELLED, x=inputs)
    np.savez(LABELLED, x=inputs, label=random.integers(0, 3, SAMPLES))
    return tmp_path


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A compilation. `words` is the plan in words, `pipeline` what to write in place of it."""

    model: bytes | None = MLP
    target: Target = ISAAC
    words: Mapping[str, Any] = field(default_factory=dict)
    pipeline: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def compilation(self) -> tuple[Path, Target, CompileOptions]:
        """Arguments of `compile_model` and `check_model`; writes the model."""
        path = Path("model.onnx")
        if self.model is not None:
            path.write_bytes(self.model)
        found = resolve(MappingOptions(xbar="16x16", **self.words), self.target, LAW)
        settings: dict[str, Any] = {
            "search": found.search,
            "adaptive_cut": found.adaptive_cut,
            "pipeline": found.pipeline,
        }
        if self.pipeline is not None:
            settings |= {"search": None, "pipeline": self.pipeline}
        options = CompileOptions(**settings | dict(self.options))
        return path, self.target, options


def agreed(case: Case) -> BscError | None:
    """The error of a compilation, on which both must agree; None if it succeeds."""
    arguments, raised = case.compilation(), None
    try:
        compile_model(*arguments)
    except BscError as error:
        raised = error
    refusals = check_model(*arguments).refusals
    assert [str(error) for error in refusals[:1]] == ([] if raised is None else [str(raised)])
    return raised


def without_external_data() -> bytes:
    model = onnx.ModelProto.FromString(small("y = MatMul(x, w)"))
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "w.bin", length=32)
    model.graph.initializer[0].ClearField("raw_data")
    return bytes(model.SerializeToString())


HOLES = replace(LAW, name="holes", energy=(0.0, *[float("nan")] * 7, *LAW.energy[8:]))
SEARCH = LayoutSearch(law=HOLES, orders=("as-is",), active_rows=False)

REFUSED: dict[str, list[Case]] = {
    "BSC201": [
        Case(words={"cut": "adaptive"}),
        Case(words={"adc": "raella"}),
        Case(words={"adc": "calibrated"}),
        Case(words={"adc": "budgeted"}, options={"max_accuracy_drop": 0.1, "test_accuracy": True}),
        Case(options={"max_accuracy_drop": 0.1, "test_accuracy": True, "calibration": Path(LABELLED)}),
        Case(options={"input_shapes": {"z": (1, 12)}}),
    ],
    "BSC202": [Case(model=None), Case(options={"calibration": Path("none.npz")})],
    "BSC205": [
        Case(pipeline="quantise"),
        Case(pipeline="quantize,slice-bits{cut=4-2},tile,assign-adc"),
        Case(pipeline="quantize,slice-bits,tile{only=fc9},assign-adc"),
    ],
    "BSC206": [
        Case(target=without_price(ISAAC, "bus_bit"), words={"granularity": "tile"}),
        Case(
            target=without_price(ISAAC, "adc_conversion"),
            words={"adc": "budgeted"},
            options={"calibration": Path(UNLABELLED)},
        ),
    ],
    "BSC207": [Case(options={"search": SEARCH}, pipeline="quantize,slice-bits,eliminate,tile,assign-adc")],
    "BSC301": [Case(model=b"junk")],
    "BSC302": [Case(model=without_external_data())],
    "BSC303": [Case(model=small("y = MatMul(x, w)", w=np.full((4, 2), np.nan, np.float32)))],
    "BSC304": [
        Case(model=small("h = MatMul(x, w)  y = acme.Magic(h)", domains=["acme"])),
        Case(model=small("h = acme.Magic(x)  i = MatMul(h, w)  y = acme.More(i)", domains=["acme"])),
        Case(model=small("y = MatMul(x, w)", opset=5)),
    ],
    "BSC305": [Case(model=small("y = MatMul(x, w)", x="N,M,4"))],
    "BSC306": [Case(model=small("y = Relu(x)"))],
    "BSC308": [
        Case(model=mlp_model(11, 3).SerializeToString(), options={"calibration": Path(UNLABELLED)}),
        Case(options={"calibration": Path(UNLABELLED), "test_accuracy": True}),
        Case(options={"held_out": Path(UNLABELLED), "test_accuracy": True}),
    ],
    "BSC309": [
        Case(pipeline="quantize,tile,slice-bits,assign-adc"),
        Case(pipeline="quantize,slice-bits,assign-adc,tile"),
        Case(pipeline="quantize,slice-bits,tile"),
        Case(pipeline="assign-adc"),
        Case(pipeline="quantize,slice-bits,calibrate-adc", options={"calibration": Path(UNLABELLED)}),
    ],
    "BSC312": [Case(model=small(f"h = Sum({', '.join('x' * 9000)})  y = MatMul(h, w)"))],
    "BSC315": [Case(model=small("h = MatMul(x, w)  y = Tanh(h)"))],
    "BSC401": [Case(words={"cell_bits": 8, "dac_bits": 8})],
    "BSC402": [Case(model=small("h = MatMul(x, w)  y = Relu(h)"))],
    "BSC403": [
        Case(target=with_adcs("fixed"), words={"adc": "lossless"}),
        Case(target=with_adcs("fixed"), words={"adc": "fixed=7"}),
        Case(target=with_adcs("slice"), words={"granularity": "tile"}),
        Case(target=with_adcs("tile"), words={"granularity": "column"}),
    ],
    "BSC404": [
        Case(words={"placing": Placing(chips=1)}, target=with_tiles(1, 1)),
        Case(words={"placing": Placing(tiles=1)}, target=with_tiles(1, 100)),
        Case(words={"placing": Placing(area_mm2=0.01)}),
        Case(words={"placing": Placing(power_w=1e-6)}),
    ],
    "BSC505": [
        Case(
            words={"adc": "budgeted"},
            options={"calibration": Path(LABELLED), "test_accuracy": True, "max_accuracy_drop": 0.0},
        )
    ],
}
"""Compilations that are refused, by the code of the error."""

ELSEWHERE = {
    "BSC203": "the output folder; check writes nothing",
    "BSC204": "the output folder and --dump-ir; check writes nothing",
    "BSC208": "finetune, explore and --device: no stage of a compilation is optional",
    "BSC209": "explore",
    "BSC210": "explore",
    "BSC211": "explore",
    "BSC212": "what prices a plan on other hardware",
    "BSC307": "what reads a plan folder",
    "BSC310": "finetune",
    "BSC311": "finetune",
    "BSC313": "what reads a report",
    "BSC314": "explore",
    "BSC316": "hw fit",
    "BSC317": "fault maps, which `bsc compile` alone reads, and simulate",
    "BSC501": "verify",
    "BSC502": "hw check",
    "BSC503": "finetune",
    "BSC504": "verify --proofs",
}
"""Codes that no stage raises, with who does."""


def test_every_code_is_here_or_belongs_elsewhere() -> None:
    assert sorted([*REFUSED, *ELSEWHERE]) == sorted(CODES)


@pytest.mark.parametrize(
    ("code", "case"),
    [pytest.param(code, case, id=f"{code}-{at}") for code, cases in REFUSED.items() for at, case in enumerate(cases)],
)
@pytest.mark.usefixtures("folder")
def test_both_refuse(code: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if code == "BSC402":
        monkeypatch.setattr(bsc.ir.schedule, "MAX_SEGMENT_BYTES", 10)
    if code == "BSC315":  # were Tanh read as Relu
        monkeypatch.setitem(rewrite.STANDARD, "Tanh", lambda b: [b.op("Relu", b.node.inputs[0])])
    error = agreed(case)
    assert error is not None
    assert error.code == code


BUDGET = {"calibration": Path(LABELLED), "test_accuracy": True, "max_accuracy_drop": 0.5}
OFFERED: dict[str, tuple[Mapping[str, Any], str]] = {
    "default": ({}, "column tile slice fixed"),
    "lossless": ({"adc": "lossless"}, "column tile slice"),
    "lossless per tile": ({"adc": "lossless", "granularity": "tile"}, "column tile"),
    "lossless per slice": ({"adc": "lossless", "granularity": "slice"}, "column tile slice"),
    "isaac": ({"adc": "isaac"}, "column tile slice fixed"),
    "fixed": ({"adc": "fixed=6"}, "column tile slice"),
    "calibrated": ({"adc": "calibrated=3"}, "column tile slice"),
    "budgeted per tile": ({"adc": "budgeted", "granularity": "tile"}, "column tile"),
    "raella": ({"adc": "raella"}, "column tile slice"),
    "adaptive": ({"cut": "adaptive", "adc": "calibrated"}, "column tile slice"),
    "search": ({"active_rows": "search", "permute": "auto", "granularity": "slice"}, "column tile slice fixed"),
}
"""Plans in words, and the converters, of 8 bits where they are fixed, that can have their resolutions."""


@pytest.mark.parametrize("offer", get_args(AdcFlexibility))
@pytest.mark.parametrize("plan", OFFERED)
@pytest.mark.usefixtures("folder")
def test_both_know_what_converters_offer(plan: str, offer: AdcFlexibility) -> None:
    words, offered = OFFERED[plan]
    options = BUDGET if words.get("adc") == "budgeted" else {"calibration": Path(UNLABELLED)}
    error = agreed(Case(target=with_adcs(offer), words=words, options=options))
    assert (error is None) == (offer in offered.split())
    assert error is None or error.code == "BSC403"


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ({"granularity": "tile"}, "one for each tile"),
        ({"granularity": "slice"}, "one for each slice"),
        ({"granularity": "column"}, None),
        ({"granularity": "tile", "adc": "isaac"}, None),
        ({"granularity": "slice", "adc": "fixed=6"}, None),
    ],
)
@pytest.mark.usefixtures("folder")
def test_crossbars_are_shared_where_converters_can_tell_columns_apart(
    words: Mapping[str, Any], seen: str | None
) -> None:
    error = agreed(Case(words={**words, "placing": Placing(pack=True)}))
    assert (error is None) == (seen is None)
    if error is not None:
        assert error.code == "BSC201"
        assert str(seen) in str(error)
    assert agreed(Case(words=words)) is None


@pytest.mark.usefixtures("folder")
def test_all_that_is_known_is_told() -> None:
    """What options and hardware rule out, and every node that is refused; no pass runs then."""
    body = "h = MatMul(x, w)  i = acme.Magic(h)  y = acme.More(i)"
    case = Case(
        model=small(body, domains=["acme"]), target=with_adcs("fixed"), words={"adc": "calibrated", "cut": "adaptive"}
    )
    found = check_model(*case.compilation())
    assert [error.code for error in found.refusals] == ["BSC403", "BSC201", "BSC201", "BSC304", "BSC304"]
    assert [node.place for node in found.nodes] == ["crossbar", "unsupported", "unsupported"]


# --- the command line ---


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize(
    "options",
    [
        ("--adc", "raella", "--calib", UNLABELLED),
        ("--adc", "raella"),
        ("--adc", "calibrated", "--granularity", "slice", "--calib", UNLABELLED),
        ("--max-accuracy-drop", "50", "--calib", LABELLED),
        ("--max-accuracy-drop", "0", "--calib", LABELLED),
        ("--active-rows", "search"),
        ("--passes", "quantize,tile"),
        ("--passes", "quantize", "--xbar", "8x8"),
        ("--adc", "some"),
        ("--adc", "budgeted"),
        ("--input-shape", "x:12"),
        ("--hw", "nowhere"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_both_take_the_same_options(options: tuple[str, ...]) -> None:
    Path("mlp.onnx").write_bytes(MLP)
    compiled = run("compile", "mlp.onnx", *options, "-o", "a.bsc")
    checked = run("check", "mlp.onnx", *options)
    assert checked.exit_code == compiled.exit_code
    assert ("compiles      yes" in checked.stdout) == (compiled.exit_code == 0)
    if compiled.exit_code:
        assert checked.stderr == compiled.stderr != ""
