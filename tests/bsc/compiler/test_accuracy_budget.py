import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.compiler import accuracy_budget as budget
from bsc.compiler.accuracy_budget import AHEAD, LADDER, keep_budget
from bsc.errors import GateError
from bsc.plan.folder import read_plan
from bsc.replay.dataset import Dataset
from bsc.replay.loaded import PlanRunner
from bsc.replay.paired import PairedAccuracy
from bsc.testing import mlp_model, save
from passes.budget_adc import BudgetAdc
from passes.tile import Tile
from tests.passes.layers import float_layer

DATA = Dataset(
    inputs={"x": np.zeros((10000, 1))}, labels=np.zeros(10000, np.int64), batch=8, sha256="0" * 64, free_batch=True
)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[float, PairedAccuracy, list[float]]]:
    """Runs a search in which what each noise price loses is made up, and lists those tried on held-out data."""

    def run(rough: Callable[[float], int], final: Callable[[float], int]) -> tuple[float, PairedAccuracy, list[float]]:
        tried: list[float] = []

        class Judge:
            def __init__(self, data: Dataset, _device: object) -> None:
                self.rough = data.samples < 10000

            def __call__(self, noise_price: float) -> PairedAccuracy:
                if not self.rough:
                    tried.append(noise_price)
                return PairedAccuracy(samples=10000, lost=(rough if self.rough else final)(noise_price), gained=0)

        def run_pipeline(_graph: Any, passes: Sequence[Any]) -> tuple[float, None]:
            return float(passes[0].noise_price), None

        monkeypatch.setattr(budget, "Judge", Judge)
        monkeypatch.setattr(budget, "run_pipeline", run_pipeline)
        monkeypatch.setattr(budget, "mapping_of", lambda noise_price: noise_price)
        monkeypatch.setattr(budget, "CALIBRATION_SAMPLES", 4)
        graph: Any = float_layer([[1.0]])
        steps = (BudgetAdc(), Tile())
        passes, counts = keep_budget(graph, steps, calibration=DATA, held_out=DATA, max_drop=0.01)
        assert passes[1] == steps[1]
        (chosen,) = (step.noise_price for step in passes if isinstance(step, BudgetAdc))
        return chosen, counts, tried

    return run


def test_the_ladder_descends() -> None:
    assert (np.diff(LADDER) < 0).all()
    assert (LADDER[0], LADDER[-1]) == (1e6, 1e-3)


def test_candidates_are_tested_in_a_fixed_order_until_one_fails(judged: Any) -> None:
    """75 of 10000 lost are 0.9 % with 95 % confidence, 90 are 1.07 %."""
    edge = LADDER.index(10.0)
    chosen, counts, tried = judged(
        lambda noise_price: 0 if noise_price >= 10 else 500, lambda noise_price: 75 if noise_price >= 5.62 else 90
    )
    assert tried == [LADDER[0], *(LADDER[edge - ahead] for ahead in AHEAD), *LADDER[edge : edge + 4]]
    assert tried[-1] < chosen == tried[-2] == 5.62
    assert counts.lost == 75


def test_a_failure_ends_the_search_even_if_later_ones_would_pass(judged: Any) -> None:
    edge = LADDER.index(10.0)
    bad = LADDER[edge - 4]
    chosen, _, tried = judged(
        lambda noise_price: 0 if noise_price >= 10 else 500, lambda noise_price: 500 if noise_price == bad else 0
    )
    assert (chosen, tried[-1]) == (LADDER[edge - 6], bad)


@pytest.mark.parametrize(("rough", "last"), [(lambda _: 500, 0), (lambda _: 0, len(LADDER) - 1)])
def test_both_ends_of_the_ladder(judged: Any, rough: Callable[[float], int], last: int) -> None:
    """Calibration data only say where to look: the held-out data have the last word."""
    chosen, _, tried = judged(rough, lambda _: 0)
    assert chosen == tried[-1] == LADDER[-1]
    assert tried == sorted(set(tried), reverse=True)
    assert last in (0, len(LADDER) - 1)


@pytest.mark.parametrize(
    ("lost", "seen", "fix"),
    [
        (90, "90 and gains 0 of 10000 held-out samples: at most 1.07", "give about 23333 held-out samples, or raise"),
        (200, "200 and gains 0 of 10000 held-out samples: at most 2.25", "raise"),
    ],
)
def test_words_if_even_the_safest_loses_too_much(judged: Any, lost: int, seen: str, fix: str) -> None:
    with pytest.raises(GateError) as caught:
        judged(lambda _: 0, lambda _: lost)
    needed = "" if lost == 200 else caught.value.fix.split()[2]
    assert str(caught.value) == (
        "[BSC505] no ADC assignment keeps accuracy within 1 points of the quantised model\n"
        f"  seen: the safest loses {seen} points with 95% confidence\n"
        f"  fix:  {fix.replace('23333', needed)} --max-accuracy-drop"
    )
    assert caught.value.exit_code == 5


# On real plans.


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """mlp.onnx and labelled data that the model itself labels, calib.npz and held.npz; unlabelled in plain.npz."""
    monkeypatch.chdir(tmp_path)
    save(mlp_model(30, 20, 4), tmp_path / "mlp.onnx")
    random = np.random.default_rng(0)
    np.savez("plain.npz", x=random.standard_normal((100, 30)).astype(np.float32))
    assert run("compile", "mlp.onnx", "--calib", "plain.npz", "-o", "lossless.bsc").exit_code == 0
    loaded = PlanRunner(read_plan(Path("lossless.bsc")).mapping)
    for name, count in (("calib", 300), ("held", 900)):
        x = random.standard_normal((count, 30)).astype(np.float32)
        scores = loaded.run({"x": x}, lambda key, codes: codes[:, 0] @ loaded.layers[key][1].codes.astype(float))["y"]
        np.savez(f"{name}.npz", x=x, label=scores.argmax(axis=1))
    return tmp_path


BUDGETED = ("compile", "mlp.onnx", "--calib", "calib.npz", "--max-accuracy-drop", "5")


PAIRS = ("--subtract", "analog", "--encoding", "centre", "--cut", "4-2-2")


@pytest.mark.parametrize(
    ("options", "most"),
    [((), 0.5), (PAIRS, 0.5), (("--encoding", "offset", "--flip"), 0.6)],  # unit columns keep their resolution
)
def test_a_budget_is_kept_and_recorded(options: tuple[str, ...], most: float, files: Path) -> None:
    assert run("compile", "mlp.onnx", "--calib", "plain.npz", "-o", "lossless.bsc", "--force", *options).exit_code == 0
    result = run(*BUDGETED, *options, "--held-out", "held.npz", "-o", "plan.bsc")
    assert result.exit_code == 0, result.output
    document = json.loads((files / "plan.bsc" / "plan.json").read_text())
    record = document["budget"]
    assert record["drop_bound"] <= record["max_drop"] == 0.05
    assert (record["samples"], record["split"], record["adc_law"]) == (900, False, "isaac")
    verified = json.loads(run("verify", "plan.bsc", "--data", "held.npz", "--json").stdout)
    for key in ("lost", "gained", "samples", "drop"):
        assert verified["accuracy_drop"][key] == record[key]
    assert verified["accuracy_drop"]["drop_bound_95"] == record["drop_bound"]

    def adc_energy(plan: str) -> float:
        priced = json.loads(run("cost", plan, "--json").stdout)
        return float(priced["plan"]["energy_by_action_j"]["adc_conversion"])

    assert adc_energy("plan.bsc") < most * adc_energy("lossless.bsc")


@pytest.mark.parametrize("options", [(), PAIRS])
def test_the_recorded_pipeline_makes_the_same_plan_without_a_search(options: tuple[str, ...], files: Path) -> None:
    assert run(*BUDGETED, *options, "--held-out", "held.npz", "-o", "plan.bsc").exit_code == 0
    document = json.loads((files / "plan.bsc" / "plan.json").read_text())
    again = ("compile", "mlp.onnx", "--passes", document["pipeline"], "--calib", "calib.npz")
    assert run(*again, "-o", "again.bsc").exit_code == 0
    rebuilt = json.loads((files / "again.bsc" / "plan.json").read_text())
    assert rebuilt == document | {"budget": None}
    for name in document["files"]:
        assert (files / "plan.bsc" / name).read_bytes() == (files / "again.bsc" / name).read_bytes()
    measured = run(*again, "--held-out", "held.npz", "-o", "measured.bsc")
    assert measured.exit_code == 0
    record = json.loads((files / "measured.bsc" / "plan.json").read_text())["budget"]
    assert record == document["budget"] | {"max_drop": None}


def test_a_budget_holds_on_chips_drawn_anew(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LADDER", (100.0, 10.0, 1.0, 0.1))
    monkeypatch.setattr(budget, "AHEAD_ON_CHIPS", (1,))
    monkeypatch.setattr(budget, "CALIBRATION_SAMPLES_ON_CHIPS", 20)
    with np.load("held.npz") as held:
        np.savez("few.npz", x=held["x"][:100], label=held["label"][:100])
    noise = ("--noise", "reram-wan22")
    budgeted = ("compile", "mlp.onnx", "--calib", "calib.npz", "--max-accuracy-drop", "25", *noise)
    result = run(*budgeted, "--held-out", "few.npz", "-o", "plan.bsc")
    assert result.exit_code == 0, result.output
    document = json.loads((files / "plan.bsc" / "plan.json").read_text())
    record = document["budget"]
    assert record["device"] == "reram-wan22"
    assert record["lost"] > 0
    assert record["drop_bound"] <= record["max_drop"] == 0.25
    assert "each sample ran on a chip of reram-wan22 of its own" in result.stdout
    # Chips that the budget has not seen: the mean drop over them is within the bound.
    simulated = json.loads(run("simulate", "plan.bsc", "--data", "held.npz", *noise, "--trials", 8, "--json").stdout)
    verified = json.loads(run("verify", "plan.bsc", "--data", "held.npz", "--json").stdout)
    drop = verified["accuracy"]["quantised"] - simulated["trials"]["accuracy"]["mean"]
    assert 0 < drop < record["drop_bound"]
    # A plan that is only measured says the same of the same chips.
    passes = ("compile", "mlp.onnx", "--passes", document["pipeline"], "--calib", "calib.npz")
    assert run(*passes, *noise, "--held-out", "few.npz", "-o", "measured.bsc").exit_code == 0
    measured = json.loads((files / "measured.bsc" / "plan.json").read_text())["budget"]
    assert measured == record | {"max_drop": None}


def test_words_for_a_device_that_no_resolution_helps(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "bad.toml").write_text(
        'name = "bad"\ndescription = "made up"\ncitation = "none"\n[stuck_at]\n'
        'on = { value = 0.5, kind = "assumed", source = "made up" }\n'
    )
    monkeypatch.setattr(budget, "LADDER", (100.0, 1.0))
    monkeypatch.setattr(budget, "CALIBRATION_SAMPLES_ON_CHIPS", 20)
    with np.load("held.npz") as held:
        np.savez("few.npz", x=held["x"][:80], label=held["label"][:80])
    result = run(*BUDGETED, "--noise", "bad.toml", "--held-out", "few.npz", "-o", "plan.bsc")
    assert result.exit_code == 5
    assert result.stderr.startswith(
        "error [BSC505] no ADC assignment keeps accuracy within 5 points of the quantised model on chips of bad\n"
        "  seen: the safest loses "
    )
    assert result.stderr.endswith("  fix:  raise --max-accuracy-drop, or choose a device with smaller errors\n")


def test_without_held_out_data_the_calibration_data_are_split(files: Path) -> None:
    texts = []
    for name in ("a.bsc", "b.bsc"):
        result = run(*BUDGETED, "-o", name)
        assert result.exit_code == 0, result.output
        assert "on the half of the calibration data kept for it" in result.stdout
        texts.append((files / name / "plan.json").read_text())
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    assert (document["calibration"]["samples"], document["budget"]["samples"]) == (150, 150)
    assert document["budget"]["split"] is True


def test_any_plan_can_be_tested(files: Path) -> None:
    assert run("compile", "mlp.onnx", "--held-out", "held.npz", "-o", "a.bsc").exit_code == 0
    record = json.loads((files / "a.bsc" / "plan.json").read_text())["budget"]
    assert (record["lost"], record["gained"], record["max_drop"]) == (0, 0, None)


def test_stopping_early_searches_nothing(files: Path) -> None:
    result = run(*BUDGETED, "--stop-after", "tile")
    assert result.exit_code == 0
    assert "row tiles" in result.stdout
    assert not (files / "mlp.bsc").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("--max-accuracy-drop", "1"),
            2,
            "error [BSC201] pass 'budget-adc' needs calibration data\n"
            "  seen: no observations of the column sums\n"
            "  fix:  give typical inputs with --calib FILE.npz\n",
        ),
        (
            ("--adc", "calibrated"),
            2,
            "error [BSC201] pass 'calibrate-adc' needs calibration data\n"
            "  seen: no observations of the column sums\n"
            "  fix:  give typical inputs with --calib FILE.npz\n",
        ),
        (
            ("--noise", "reram-wan22"),
            2,
            "error [BSC201] --noise means nothing without --max-accuracy-drop or --held-out\n"
            "  seen: --noise alone\n"
            "  fix:  add --max-accuracy-drop or --held-out, or leave --noise out\n",
        ),
        (
            ("--read-at", "60", "--held-out", "held.npz"),
            2,
            "error [BSC201] --read-at means nothing without --noise\n"
            "  seen: --read-at alone\n"
            "  fix:  add --noise, or leave --read-at out\n",
        ),
        (
            ("--max-accuracy-drop", "1", "--calib", "plain.npz"),
            3,
            "error [BSC308] the data of --calib have no labels\n"
            "  seen: no integer array called label, labels or y\n"
            "  fix:  add the class of every sample; an accuracy budget is tested with them\n",
        ),
        (
            ("--max-accuracy-drop", "1", "--calib", "calib.npz", "--held-out", "plain.npz"),
            3,
            "error [BSC308] the data of --held-out have no labels\n"
            "  seen: no integer array called label, labels or y\n"
            "  fix:  add the class of every sample; an accuracy budget is tested with them\n",
        ),
        (
            ("--max-accuracy-drop", "0.1", "--calib", "calib.npz", "--held-out", "held.npz"),
            5,
            "error [BSC505] too few held-out samples to show that accuracy stays within 0.1 points\n"
            "  seen: 900 held-out samples: if none is lost, at most 0.33 points with 95% confidence\n"
            "  fix:  give 3015 held-out samples or more, or raise --max-accuracy-drop\n",
        ),
        (
            ("--max-accuracy-drop", "0", "--calib", "calib.npz", "--held-out", "held.npz"),
            5,
            "error [BSC505] too few held-out samples to show that accuracy stays within 0 points\n"
            "  seen: 900 held-out samples: if none is lost, at most 0.33 points with 95% confidence\n"
            "  fix:  raise --max-accuracy-drop\n",
        ),
        (
            ("--max-accuracy-drop", "1", "--calib", "calib.npz"),
            5,
            "error [BSC505] too few held-out samples to show that accuracy stays within 1 points\n"
            "  seen: 150 held-out samples: if none is lost, at most 1.99 points with 95% confidence\n"
            "  fix:  give 301 held-out samples or more, or raise --max-accuracy-drop\n",
        ),
        (
            ("--max-accuracy-drop", "1", "--calib", "held.npz", "--held-out", "held.npz"),
            2,
            "error [BSC201] --held-out and --calib give the same data\n"
            "  seen: SHA-256 HASH... twice\n"
            "  fix:  give other data, or leave --held-out out: then every other sample of --calib is held out\n",
        ),
        (
            ("--passes", "quantize", "--max-accuracy-drop", "1", "--calib", "calib.npz"),
            2,
            "error [BSC201] --max-accuracy-drop needs the pass 'budget-adc'\n"
            "  seen: --passes 'quantize'\n"
            "  fix:  put 'budget-adc' in place of the pass that assigns ADC resolutions, or leave --passes out\n",
        ),
        (
            ("--adc", "budgeted"),
            2,
            "error [BSC201] --adc budgeted and --max-accuracy-drop belong together\n"
            "  seen: --adc budgeted without --max-accuracy-drop\n"
            "  fix:  give the points of accuracy that may be lost, as --max-accuracy-drop 0.5, and no other --adc\n",
        ),
        (
            ("--adc", "fixed=6", "--max-accuracy-drop", "1"),
            2,
            "error [BSC201] --adc budgeted and --max-accuracy-drop belong together\n"
            "  seen: --adc fixed=6 with --max-accuracy-drop\n"
            "  fix:  give the points of accuracy that may be lost, as --max-accuracy-drop 0.5, and no other --adc\n",
        ),
    ],
)
def test_one_clear_error(arguments: tuple[str, ...], code: int, message: str, files: Path) -> None:
    result = run("compile", "mlp.onnx", *arguments, "-o", "plan.bsc")
    message = message.replace("HASH", hashlib.sha256((files / "held.npz").read_bytes()).hexdigest()[:12])
    assert (result.exit_code, result.stderr, result.stdout) == (code, message, "")
    assert not (files / "plan.bsc").exists()
