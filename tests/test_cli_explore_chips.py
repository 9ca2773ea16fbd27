"""`bsc explore` on chips: figures that `bsc compile` gives too, one compilation for all chips, clear errors."""

import csv
import json
import re
import shlex
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

import bsc
import bsc.compiler.driver
from bsc.api.exploring import run_sweep
from bsc.cli import main
from bsc.compiler.options import ModelOptions
from bsc.errors import BscError
from bsc.exploration.report import show
from bsc.exploration.scheduler import Answer, Work, lost_over
from bsc.exploration.store import open_store
from bsc.exploration.sweep import Inputs, Sweep
from bsc.report.text import to_text
from bsc.testing import mlp_model, random_weights, save, tiny_model

ROOT = Path(__file__).parent.parent
SPACE = """
objectives = ["throughput", "chip-energy", "chip-area"]
[axes]
xbar = ["16x16", "8x32"]
copies = ["none", "isaac", "throughput", "latency"]
tiles = [1, 3]
pack = [false, true]
"""
MAPPINGS = 2
DESIGNS = 32


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save(mlp_model(12, 8, 3), tmp_path / "mlp.onnx")
    inputs = np.random.default_rng(0).standard_normal((20, 12)).astype(np.float32)
    np.savez("data.npz", x=inputs, label=np.arange(20) % 3)
    write_space(SPACE)
    return tmp_path


def write_space(text: str) -> None:
    Path("space.toml").write_text(text, encoding="utf-8")


def found(*options: object, model: str = "mlp.onnx") -> dict[str, Any]:
    result = run("explore", model, "space.toml", "--jobs", 1, "--json", *options)
    assert result.exit_code == 0, result.output
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def compiled(command: str) -> dict[str, Any]:
    """Figures that the report of a printed command has, under the names of a sweep."""
    program, *arguments = shlex.split(command)
    assert program == "bsc"
    result = run(*arguments, "--force", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    chip, cost = report["chip"]["plan"], report["cost"]["plan"]
    return {
        "throughput_per_s": chip["inferences_per_s"],
        "chip_latency_s": chip["latency_s"],
        "average_power_w": chip["power_w"],
        "chip_energy_j": chip["energy"]["total_j"],
        "efficiency_ops_per_w": chip["ops_per_j"],
        "energy_delay_js": chip["energy_delay_js"],
        "chip_area_m2": chip["area_m2"],
        "tiles_in_use": chip["tiles"],
        "chips_in_use": chip["chips"],
        "energy_j": cost["energy_j"],
        "latency_s": cost["latency_s"],
        "area_m2": cost["area_m2"],
        "crossbars": cost["crossbars"],
        "adc_energy_j": cost["adc_energy_j"],
    }


def figures(design: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in design["figures"].items() if name != "accuracy"}


def residual_model() -> onnx.ModelProto:
    """Three convolutions, two of them beside a skip, and a matrix: layers that wait for rows of each other."""
    weights = {
        "a": random_weights(6, 2, 3, 3),
        "b": random_weights(6, 6, 3, 3, seed=1),
        "c": random_weights(6, 6, 3, 3, seed=2),
        "d": random_weights(6, 5, seed=3),
    }
    conv = "Conv <pads = [1, 1, 1, 1]>"
    return tiny_model(
        f"""(float[N,2,9,9] x) => (float[] y) {{
            [a] p = {conv} (x, a)  q = Relu (p)  [b] r = {conv} (q, b)  s = Relu (r)  [c] t = {conv} (s, c)
            u = Add (t, q)  v = GlobalAveragePool (u)  w = Flatten (v)  [d] y = MatMul (w, d) }}""",
        weights,
    )


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pipelines that have been compiled by sweeps in this process."""
    pipelines: list[str] = []

    def counting(path: Path, target: Any, options: Any, imported: Any = None) -> Any:
        pipelines.append(options.pipeline)
        return bsc.compiler.driver.compile_model(path, target, options, imported)

    monkeypatch.setattr("bsc.exploration.mapping.compile_model", counting)
    return pipelines


def test_pasted_commands_give_the_same_figures_to_the_last_bit() -> None:
    sweep = found("--csv", "all.csv")
    assert len(sweep["designs"]) == DESIGNS
    for design in sweep["designs"][::3]:
        assert figures(design) == compiled(design["command"]), design["choices"]
        copies = design["choices"]["copies"]
        assert f"copies={copies}" in design["command"]
    for row in csv.DictReader(Path("all.csv").read_text(encoding="utf-8").splitlines()):
        design = sweep["designs"][int(row["number"])]
        assert (row["copies"], row["tiles"], row["pack"]) == tuple(
            design["choices"][axis] for axis in ("copies", "tiles", "pack")
        )
        assert float(row["throughput_per_s"]) == design["figures"]["throughput_per_s"]
        assert row["command"] == design["command"]


def test_other_hardware_laws_and_budgets_give_the_same_figures_too() -> None:
    save(residual_model(), Path("conv.onnx"))
    write_space(
        'objectives = ["throughput", "average-power"]\n[axes]\nhw = ["isaac", "puma"]\nadc-law = ["isaac", "saberi"]\n'
        'copies = ["throughput", "latency"]\nchips = [1, 2]\narea = [3, 30.5]\npower = [0.5, 20]\n'
    )
    sweep = found(model="conv.onnx")
    possible = [design for design in sweep["designs"] if design["error"] is None]
    assert len(possible) > len(sweep["designs"]) / 2
    for design in possible[::9]:
        assert figures(design) == compiled(design["command"]), design["choices"]


def test_a_case_by_hand() -> None:
    """12 inputs, 8 hidden units and 3 outputs on 16x16 crossbars: two IMAs of an ISAAC, 8 cycles of 100 ns each."""
    write_space(
        'objectives = ["throughput"]\n[axes]\nxbar = ["16x16"]\ncopies = ["none", "throughput"]\ntiles = [1, 2]\n'
    )
    none, also_none, one_tile, two_tiles = (design["figures"] for design in found()["designs"])
    assert none == also_none
    assert none["crossbars"] == 16  # 4 slices, 2 polarities, 2 layers: one IMA each
    assert none["throughput_per_s"] == pytest.approx(1 / 0.8e-6)
    assert none["chip_latency_s"] == pytest.approx(1.6e-6)  # the second layer needs all of the first
    assert (none["tiles_in_use"], none["chips_in_use"]) == (1, 1)
    # A tile has 12 IMAs, so that each layer has 6 copies on one tile and 12 on two; one inference takes as long.
    for each, copies in ((one_tile, 6), (two_tiles, 12)):
        assert each["throughput_per_s"] == pytest.approx(copies / 0.8e-6)
        assert each["chip_latency_s"] == pytest.approx(1.6e-6)
        assert each["tiles_in_use"] == copies / 6
        assert each["average_power_w"] == pytest.approx(each["chip_energy_j"] * each["throughput_per_s"])
        assert each["energy_delay_js"] == pytest.approx(each["chip_energy_j"] * 1.6e-6)
        assert each["efficiency_ops_per_w"] == pytest.approx(2 * (12 * 8 + 8 * 3) / each["chip_energy_j"])
        assert each["energy_j"] == none["energy_j"]


def test_a_mapping_is_compiled_once_for_all_chips(compilations: list[str]) -> None:
    first = found()
    assert len(compilations) == len(set(compilations)) == MAPPINGS
    assert not any("place" in pipeline for pipeline in compilations)
    write_space(SPACE.replace("tiles = [1, 3]", "chips = [1, 2, 3]"))
    other = found("--force")
    assert len(compilations) == MAPPINGS  # other chips need no more
    assert len(other["designs"]) == 3 * DESIGNS / 2
    write_space(SPACE)
    assert found("--force") == first
    write_space('[axes]\nxbar = ["16x16", "8x32"]\n')
    plain = found("--force")
    assert len(compilations) == MAPPINGS
    assert "throughput_per_s" not in plain["designs"][0]["figures"]
    assert "place" not in plain["designs"][0]["pipeline"]


def test_objectives_alone_ask_for_chips() -> None:
    write_space('objectives = ["energy"]\n')
    found()
    write_space('objectives = ["throughput"]\n')
    result = run("explore", "mlp.onnx", "space.toml", "--jobs", 1)
    assert result.exit_code == 3
    assert result.stderr == (
        "error [BSC314] results file 'mlp.explore.sqlite' is of another sweep\n"
        "  seen: figures of chips: none there, yes now\n"
        "  fix:  choose another --output, or begin anew with --force, which keeps the counts that still hold\n"
    )
    (design,) = found("--force")["designs"]
    assert figures(design) == compiled(design["command"])
    assert design["figures"]["chips_in_use"] == 1


def test_any_number_of_workers_gives_the_same() -> None:
    outputs = []
    for jobs in (1, 3):
        options = ("--csv", f"{jobs}.csv", "--html", f"{jobs}.html", "-o", f"{jobs}.sqlite", "--json")
        result = run("explore", "mlp.onnx", "space.toml", "--jobs", jobs, *options)
        assert result.exit_code == 0, result.output
        with closing(sqlite3.connect(f"{jobs}.sqlite")) as connection:
            rows = [connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in TABLES]
        outputs.append((result.stdout, Path(f"{jobs}.csv").read_bytes(), Path(f"{jobs}.html").read_bytes(), rows))
    assert outputs[0] == outputs[1]


TABLES = ("designs", "mappings", "sweep")


@pytest.mark.parametrize("after", [1, 9, 20])
def test_a_sweep_that_was_stopped_goes_on(after: int, compilations: list[str]) -> None:
    whole = found("-o", "whole.sqlite")
    del compilations[:]

    @contextmanager
    def stopping(_what: str, _total: int) -> Iterator[Callable[[int], None]]:
        done = 0

        def advance(number: int) -> None:
            nonlocal done
            done += number
            if done >= after:
                raise KeyboardInterrupt

        yield advance

    def sweep(**changes: Any) -> Any:
        settings: dict[str, Any] = {"data": None, "limit": None, "calib": None, "given": ModelOptions(), "jobs": 1}
        settings |= {"scheduler": None, "force": False, **changes}
        return run_sweep(Path("mlp.onnx"), Path("space.toml"), Path("r.sqlite"), **settings)

    with pytest.raises(KeyboardInterrupt):
        sweep(progress=stopping)
    with closing(sqlite3.connect("r.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM designs").fetchone() == (after,)
    assert found("-o", "r.sqlite") == whole
    assert len(compilations) == MAPPINGS  # none of them twice


class Dying:
    """A scheduler whose workers die over one design, once its mapping is counted."""

    def __init__(self, number: int) -> None:
        self.end = f"/{number}"

    def run(self, works: Iterable[Work]) -> Iterator[Answer]:
        for work in works:
            yield lost_over(work.key, "signal SIGKILL") if work.key.endswith(self.end) else work.done()


def test_a_design_that_kills_its_workers_is_given_up(compilations: list[str]) -> None:
    sweep = Sweep(Inputs(model=Path("mlp.onnx"), space=Path("space.toml")))
    with open_store(Path("r.sqlite"), sweep.identity, force=False) as store:
        with pytest.raises(BscError) as caught:
            sweep.run(store, Dying(5))
        assert str(caught.value) == (
            "[BSC210] a worker was lost over design 5 (xbar 16x16, copies isaac, tiles 1, pack yes)\n"
            "  seen: signal SIGKILL\n"
            "  fix:  run the same command again: what was done is kept, and a design over which 2 workers are lost is "
            "left out"
        )
        sweep.run(store, Dying(5))
        explored = sweep.explored(store)
    assert len(explored.designs) == DESIGNS
    assert [design.number for design in explored.designs if design.code == "BSC211"] == [5]
    assert len(compilations) == MAPPINGS


def test_what_does_not_fit_is_told_as_compile_tells_it() -> None:
    write_space(
        'objectives = ["throughput"]\n[axes]\nxbar = ["16x16", "2x2"]\ntiles = [1]\narea = [0.001, 5]\n'
        "power = [1e-6, 100]\n"
    )
    result = run("explore", "mlp.onnx", "space.toml", "--jobs", 1, "--html", "page.html")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "tried    8, 1 of which can exist" in lines
    assert "refused  4 with [BSC404] the model needs more power than there is" in lines
    assert "refused  3 with [BSC404] the model needs more crossbars than there are" in lines
    for design in found()["designs"]:
        choices = design["choices"]
        words = ("--xbar", choices["xbar"], "--tiles", 1, "--area", choices["area"], "--power", choices["power"])
        plain = run("compile", "mlp.onnx", *words, "--force", "-o", "one.bsc")
        if design["error"] is None:
            assert plain.exit_code == 0
            continue
        assert (plain.exit_code, design["error"]["code"], design["command"]) == (4, "BSC404", None)
        assert plain.stderr.splitlines()[-3] == f"error [BSC404] {design['error']['problem']}"
    assert "[BSC404] the model needs more crossbars than there are" in Path("page.html").read_text(encoding="utf-8")


def test_hardware_without_areas_has_no_budget_of_area() -> None:
    isaac = (ROOT / "hw_models" / "isaac.toml").read_text(encoding="utf-8")
    bare = re.sub(r"(?ms)^\[level\.area.*?(?=^\[|\Z)", "", isaac)
    Path("bare.toml").write_text(bare.replace('name = "isaac"', 'name = "bare"'), encoding="utf-8")
    write_space('objectives = ["throughput"]\n[axes]\nhw = ["bare.toml"]\narea = [5]\n')
    (design,) = found()["designs"]
    assert design["error"] == {"code": "BSC206", "problem": "--area needs a target that gives areas"}


@pytest.mark.parametrize(
    ("text", "key", "seen"),
    [
        ('[axes]\ncopies = ["fast"]', "axes.copies.0", "'fast'"),
        ("[axes]\ntiles = [0]", "axes.tiles.0", "0"),
        ("[axes]\nchips = [1.5]", "axes.chips.0", "1.5"),
        ("[axes]\nchips = [1000001]", "axes.chips.0", "1000001"),
        ("[axes]\narea = [-1]", "axes.area.0", "-1"),
        ("[axes]\narea = [inf]", "axes.area.0", "inf"),
        ("[axes]\npower = [nan]", "axes.power.0", "nan"),
        ("[axes]\npower = [0]", "axes.power.0", "0"),
        ("[axes]\npower = [4, 4.0]", "axes.power", "[4, 4.0]"),
        ("[axes]\npack = [1]", "axes.pack.0", "1"),
        ('objectives = ["speed"]', "objectives.0", "'speed'"),
    ],
)
def test_values_that_cannot_be(text: str, key: str, seen: str) -> None:
    write_space(text)
    result = run("explore", "mlp.onnx", "space.toml", "--jobs", 1)
    assert (result.exit_code, result.stdout) == (2, "")
    first, second, third = result.stderr.splitlines()
    assert first == f"error [BSC209] space.toml: key '{key}' cannot be used"
    assert second == f"  seen: {seen}"
    assert third.startswith("  fix:  ")
    assert not Path("mlp.explore.sqlite").exists()


def test_accuracy_on_noisy_devices_stands_beside_throughput() -> None:
    write_space(
        'objectives = ["accuracy", "throughput"]\nnoise = ["reram-wan22"]\ntrials = 2\n[axes]\n'
        'adc = ["lossless", "fixed=3"]\ncopies = ["none", "throughput"]\n'
    )
    sweep = found("--data", "data.npz")
    lossless, copied, fixed, _ = (design["figures"] for design in sweep["designs"])
    assert lossless["accuracy"] == copied["accuracy"] <= lossless["mean_accuracy"]
    assert lossless["exact_accuracy"] >= fixed["exact_accuracy"]
    assert copied["throughput_per_s"] > lossless["throughput_per_s"]


def test_a_search_tries_chips() -> None:
    pytest.importorskip("optuna")
    write_space('method = "search"\npoints = 12\n' + SPACE)
    sweep = found()
    assert len(sweep["designs"]) == 12
    assert found() == sweep


@pytest.mark.parametrize("width", [110, 80, 60, 50])
def test_narrow_terminals_break_no_number(width: int) -> None:
    explored = bsc.explore("mlp.onnx", "space.toml")
    lines = to_text(explored, width).splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for design in {tuple(each.figures.values()): each for each in reversed(explored.found.best)}.values():
        assert re.search(rf"(?m)^( |design ){design.number} ", text)
        for name in explored.found.objectives:
            assert show(name, design.figures[name]) in text


def test_designs_alike_are_told_once_in_text_and_all_of_them_elsewhere() -> None:
    write_space('objectives = ["throughput"]\n[axes]\nxbar = ["16x16"]\nchips = [1, 2, 3]\n')
    result = run("explore", "mlp.onnx", "space.toml", "--jobs", 1, "--csv", "all.csv")
    assert "and 2 designs with the figures of one of these, which --csv and --html list" in result.stdout
    rows = list(csv.DictReader(Path("all.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["on_front"] for row in rows] == ["yes"] * 3


def test_from_python() -> None:
    space = {"objectives": ["throughput"], "axes": {"copies": ["none", "throughput"], "tiles": [1], "power": [20.5]}}
    explored = bsc.explore("mlp.onnx", space)
    assert list(explored.designs["power"]) == ["20.5", "20.5"]
    one, more = explored.designs["throughput_per_s"]
    assert more > one
    assert explored.front["number"][0] == 1
