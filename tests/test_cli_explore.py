"""`bsc explore` as a user meets it: figures that `bsc compile` gives too, sweeps that are killed, clear errors."""

import contextlib
import csv
import functools
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from markupsafe import escape

import bsc.compiler.driver
from bsc.cli import main
from bsc.testing import mlp_model, save

ROOT = Path(__file__).parent.parent
SPACE = """
[axes]
xbar = ["16x16", "8x32"]
cell-bits = [1, 2]
encoding = ["differential", "offset"]
flip = [false, true]
adc = ["lossless", "fixed=3"]
adc-law = ["isaac", "saberi"]
"""
MANY = """
[axes]
xbar = ["8x8", "16x8", "16x16", "32x8", "32x32"]
weight-bits = [3, 4, 5, 6, 7, 8]
cell-bits = [1, 2, 3, 4]
adc = ["lossless", "fixed=2"]
"""
ENDLESS = MANY + 'encoding = ["differential", "centre"]\nactive-rows = ["all", 2, 4, 8]\n'
"""For sweeps that must not end before they are stopped, however busy the machine is: 1,920 designs."""
PATIENCE_S = 180
"""How long a command may take on a machine that is busy with other things; none takes more than seconds of its own."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def designs(path: Path | str) -> list[Any]:
    """What has landed, by number; writable, since whoever opens the file of a killed sweep rolls its journal back."""
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
    with contextlib.closing(connection):
        return connection.execute("SELECT * FROM designs ORDER BY number").fetchall()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a model, two spaces and labelled data."""
    monkeypatch.chdir(tmp_path)
    save(mlp_model(12, 8, 3), tmp_path / "mlp.onnx")
    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    (tmp_path / "many.toml").write_text(MANY, encoding="utf-8")
    (tmp_path / "endless.toml").write_text(ENDLESS, encoding="utf-8")
    inputs = np.random.default_rng(0).standard_normal((20, 12)).astype(np.float32)
    np.savez("data.npz", x=inputs, label=np.arange(20) % 3)
    return tmp_path


def write_space(text: str) -> None:
    Path("space.toml").write_text(text, encoding="utf-8")


def found(*options: object) -> dict[str, Any]:
    result = run("explore", "mlp.onnx", "space.toml", "--jobs", 1, "--json", *options)
    assert result.exit_code == 0, result.output
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def test_designs_are_priced_as_compile_prices_them() -> None:
    sweep = found("--data", "data.npz", "--csv", "all.csv")
    assert [design["number"] for design in sweep["designs"]] == list(range(64))
    possible = [design for design in sweep["designs"] if design["error"] is None]
    assert len(possible) == 48  # all but the differential ones that are flipped
    for design in possible[::7]:
        law = design["choices"]["adc-law"]
        arguments = ("compile", "mlp.onnx", "--passes", design["pipeline"], "--adc-law", law)
        cost = json.loads(run(*arguments, "--json", "--force").stdout)["cost"]["plan"]
        figures = design["figures"]
        assert {name: figures[name] for name in ("energy_j", "latency_s", "area_m2", "crossbars")} == {
            name: cost[name] for name in ("energy_j", "latency_s", "area_m2", "crossbars")
        }
        assert figures["adc_energy_j"] == cost["energy_by_action_j"]["adc_conversion"]
        verified = json.loads(run("verify", "mlp.bsc", "--data", "data.npz", "--json").stdout)
        assert figures["accuracy"] == verified["accuracy"]["replayed"]
    rows = list(csv.DictReader(Path("all.csv").read_text(encoding="utf-8").splitlines()))
    assert [int(row["number"]) for row in rows if row["on_front"] == "yes"] == sorted(sweep["front"])
    assert {row["problem"] for row in rows if row["error"]} == {
        "pass 'slice-bits': the differential encoding has no flipped columns"
    }
    assert float(rows[0]["energy_j"]) == sweep["designs"][0]["figures"]["energy_j"]


NOISE = """
noise = ["reram-wan22", "mine.toml"]
trials = 3
read_at = 100
[axes]
adc = ["lossless", "fixed=3"]
adc-law = ["isaac", "saberi"]
"""
MINE = """
name = "mine"
description = "made up"
citation = "none"
[programming_error]
independent = { value = 0.4, kind = "assumed", source = "made up" }
[drift]
nu = { value = 0.1, kind = "assumed", source = "made up" }
start_s = { value = 1, kind = "assumed", source = "made up" }
"""


def test_accuracy_with_noise_is_that_of_simulate_and_judged_by_its_lower_end() -> None:
    Path("mine.toml").write_text(MINE, encoding="utf-8")
    write_space(NOISE)
    sweep = found("--data", "data.npz", "--csv", "all.csv", "--output", "one.sqlite")
    assert (sweep["noise"], sweep["trials"], sweep["objectives"]) == (
        ["reram-wan22", "mine"],
        3,
        ["energy", "accuracy"],
    )
    for design in sweep["designs"][::2]:
        assert run("compile", "mlp.onnx", "--passes", design["pipeline"], "--force").exit_code == 0
        worst = []
        for device in ("reram-wan22", "mine.toml"):
            arguments = ("simulate", "mlp.bsc", "--data", "data.npz", "--noise", device, "--trials", 3, "--json")
            simulated = json.loads(run(*arguments, "--read-at", 100).stdout)
            assert design["figures"]["exact_accuracy"] == simulated["accuracy"]
            worst.append(simulated["trials"]["accuracy"]["mean"])
        figures = design["figures"]
        assert min(abs(figures["mean_accuracy"] - mean) for mean in worst) < 1e-12
        assert 0 <= figures["accuracy"] < figures["mean_accuracy"]
    rows = list(csv.DictReader(Path("all.csv").read_text(encoding="utf-8").splitlines()))
    assert float(rows[0]["mean_accuracy"]) == sweep["designs"][0]["figures"]["mean_accuracy"]
    side_by_side = ("--jobs", 2, "--json", "--data", "data.npz", "--output", "two.sqlite")
    parallel = subprocess.run(command("space.toml", *side_by_side), capture_output=True, check=True, text=True)
    assert json.loads(parallel.stdout) == sweep
    assert designs("one.sqlite") == designs("two.sqlite")
    text = run("explore", "mlp.onnx", "space.toml", "--data", "data.npz", "--output", "one.sqlite").stdout
    assert "the lower end of its interval on 3 chips of the worst of reram-wan22, mine" in " ".join(text.split())
    # Another device is another sweep, though its file has the same name.
    Path("mine.toml").write_text(MINE.replace("0.4", "0.3"), encoding="utf-8")
    refused = run("explore", "mlp.onnx", "space.toml", "--data", "data.npz", "--output", "one.sqlite")
    assert "[BSC314] results file 'one.sqlite' is of another sweep\n  seen: device 'mine': " in refused.stderr


@pytest.mark.parametrize(
    ("space", "options", "words"),
    [
        (
            'noise = ["reram-wan22"]',
            (),
            "[BSC201] the space has noise and there are no data to measure accuracy on\n  seen: no --data\n"
            "  fix:  add labelled data with --data FILE.npz, or leave noise out of the space\n",
        ),
        (
            'noise = ["reram-wan22"]',
            ("--data", "data.npz", "--limit", 1),
            "[BSC201] accuracy with noise needs two samples or more\n  seen: 1 of them\n"
            "  fix:  give more samples with --data, or a higher --limit\n",
        ),
        (
            "trials = 5",
            ("--data", "data.npz"),
            "[BSC209] space.toml: key 'trials' cannot be used\n  seen: 5\n"
            '  fix:  say of which devices, as noise = ["reram-wan22"]\n',
        ),
        (
            'noise = ["reram-wan22"]\ntrials = 1',
            ("--data", "data.npz"),
            "[BSC209] space.toml: key 'trials' cannot be used\n  seen: 1\n"
            "  fix:  Input should be greater than or equal to 2\n",
        ),
        (
            'noise = ["pcm-nandakumar19"]\nread_at = 1',
            ("--data", "data.npz"),
            "[BSC206] device 'pcm-nandakumar19' cannot be read before its drift starts\n",
        ),
        (
            'noise = ["mine.toml", "copy.toml"]',
            ("--data", "data.npz"),
            "[BSC209] two devices have the same name\n  seen: mine, mine\n"
            "  fix:  give one of them another name in its file\n",
        ),
    ],
)
def test_words_for_noise_that_cannot_be_measured(space: str, options: tuple[object, ...], words: str) -> None:
    for name in ("mine.toml", "copy.toml"):
        Path(name).write_text(MINE, encoding="utf-8")
    write_space(space)
    result = run("explore", "mlp.onnx", "space.toml", *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_each_mapping_is_compiled_once_and_priced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    original = bsc.compiler.driver.compile_model

    def counting(*arguments: Any) -> object:
        compiled.append(arguments)
        return original(*arguments)

    monkeypatch.setattr("bsc.exploration.mapping.compile_model", counting)
    first = found()
    assert len(compiled) == 24  # 48 designs, two laws
    assert found() == first
    write_space(SPACE.replace('"saberi"', '"saberi", "puma"'))
    assert len(found("--force")["designs"]) == 96
    assert len(compiled) == 24  # nothing was compiled again
    assert found("--data", "data.npz", "--force")["data"] == "data.npz"
    assert len(compiled) == 48  # replays need the plans


def test_fronts_are_held_apart_by_law() -> None:
    """A law is no choice: under another one the same designs stay on the front."""
    both = {design["number"]: design["choices"]["adc-law"] for design in found()["designs"]}
    front = found()["front"]
    assert {both[number] for number in front} == {"isaac", "saberi"}
    for law in ("isaac", "saberi"):
        write_space(SPACE.replace('["isaac", "saberi"]', f'["{law}"]'))
        alone = found("-o", f"{law}.sqlite")["front"]
        assert sorted(2 * number + (law == "saberi") for number in alone) == sorted(
            number for number in front if both[number] == law
        )


def test_what_a_terminal_shows() -> None:
    write_space('[axes]\nxbar = ["16x16"]\nadc = ["lossless", "fixed=3"]\nflip = [false, true]\n')
    result = run("explore", "mlp.onnx", "space.toml", "--jobs", 1)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:7] == [
        "model    mlp.onnx",
        "space    space.toml, 4 designs, grid",
        "tried    4, 2 of which can exist",
        lines[3],
        "refused  2 with [BSC205] pass 'slice-bits': the differential encoding has no flipped columns",
        "",
        "Front in energy and area",
    ]
    assert re.fullmatch(r"front    [12] that no other design beats in energy and area", lines[3])
    assert lines[8].split() == ["design", "flip", "adc", "energy", "area", "ADC", "energy", "latency", "crossbars"]
    assert result.stderr == "\nresults are in mlp.explore.sqlite\n"


def test_objectives_may_change_between_runs() -> None:
    """Of a grid they decide nothing but the front; of a search, everything."""
    first = found()
    write_space('objectives = ["latency"]\n' + SPACE)
    assert found()["objectives"] == ["latency"]
    assert len(found()["designs"]) == len(first["designs"])
    searched = 'method = "search"\npoints = 4\n' + SPACE.replace(', "saberi"', "")
    write_space(searched)
    assert found("-o", "s.sqlite")["objectives"] == ["energy", "area"]
    write_space('objectives = ["latency"]\n' + searched)
    assert run("explore", "mlp.onnx", "space.toml", "-o", "s.sqlite").exit_code == 3


def test_variants_and_hardware_of_ones_own(folder: Path) -> None:
    """Paths are taken from the space file; a target that fixes its ADCs refuses what others offer."""
    (folder / "sub").mkdir()
    save(mlp_model(12, 4, 3), folder / "sub" / "small.onnx")
    isaac = (ROOT / "hw_models" / "isaac.toml").read_text(encoding="utf-8")
    fixed = re.sub(r'granularity = \{ value = "column"', 'granularity = { value = "fixed"', isaac)
    (folder / "sub" / "fixed.toml").write_text(fixed.replace('name = "isaac"', 'name = "mine"'), encoding="utf-8")
    space = folder / "sub" / "space.toml"
    text = '[axes]\nvariants = ["small.onnx"]\nadc = ["lossless", "fixed=8"]\nhw = ["isaac", "fixed.toml"]\n'
    space.write_text(text, encoding="utf-8")
    result = run("explore", "mlp.onnx", "sub/space.toml", "--json", "--jobs", 1)
    assert result.exit_code == 0, result.output
    listed = json.loads(result.stdout)["designs"]
    axes = ("model", "adc", "hw")
    got = [(*map(design["choices"].get, axes), design["error"] and design["error"]["code"]) for design in listed]
    assert got == [
        (model, adc, hw, "BSC403" if (adc, hw) == ("lossless", "fixed.toml") else None)
        for model in ("mlp.onnx", "small.onnx")
        for adc in ("lossless", "fixed=8")
        for hw in ("isaac", "fixed.toml")
    ]
    crossbars = [design["figures"]["crossbars"] for design in listed if design["error"] is None]
    assert crossbars == sorted(crossbars, reverse=True)


def test_unknown_prices_are_never_on_the_front() -> None:
    write_space("[axes]\ndac-bits = [1, 2]\n")
    sweep = found()
    assert [design["figures"]["energy_j"] is None for design in sweep["designs"]] == [False, True]
    assert sweep["front"] == [0]
    assert "unknown  1 design has no known energy" in run("explore", "mlp.onnx", "space.toml").stdout


def test_policies_that_rest_on_data() -> None:
    write_space('[axes]\nadc = ["calibrated", "raella", "budgeted=0"]\n')
    listed = found("--calib", "data.npz", "--data", "data.npz")["designs"]
    assert [design["error"] and design["error"]["code"] for design in listed] == [None, None, "BSC505"]
    assert "calibrate-adc" in listed[0]["pipeline"]
    assert "encoding=centre" in listed[1]["pipeline"]


def recompiled(design: dict[str, Any]) -> dict[str, Any]:
    """The figures of a design that its own command compiles, in a shell; accuracy by bsc verify."""
    bsc = f'bsc() {{ "{sys.executable}" -m bsc "$@"; }}\n'
    plan = shlex.split(design["command"])[-1]
    for line in (f"{design['command']} --json", f"bsc verify {shlex.quote(plan)} --data data.npz --json"):
        done = subprocess.run(["sh", "-c", bsc + line], env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        if line.startswith("bsc compile"):
            cost = json.loads(done.stdout)["cost"]["plan"]
    figures = {name: cost[name] for name in ("energy_j", "latency_s", "area_m2", "crossbars")}
    energy = cost["energy_by_action_j"]["adc_conversion"]
    return {**figures, "adc_energy_j": energy, "accuracy": json.loads(done.stdout)["accuracy"]["replayed"]}


def test_each_design_has_the_command_that_compiles_it_again(folder: Path) -> None:
    """Whatever it takes: hardware of one's own, laws, a variant, data, a budget, sizes that models leave open."""
    own = folder / "my own"
    own.mkdir()
    save(mlp_model(12, 6, 3), folder / "mlp.onnx")
    save(mlp_model(12, 4, 3), own / "small 'un.onnx")
    isaac = (ROOT / "hw_models" / "isaac.toml").read_text(encoding="utf-8")
    (own / "hw.toml").write_text(isaac.replace('name = "isaac"', 'name = "mine"', 1), encoding="utf-8")
    (own / "space.toml").write_text(
        """
[axes]
variants = ["small 'un.onnx"]
adc = ["fixed=4", "calibrated=3", "budgeted=90"]
hw = ["isaac", "hw.toml"]
adc-law = ["isaac", "saberi"]
""",
        encoding="utf-8",
    )
    arguments = ("--calib", "data.npz", "--data", "data.npz", "--input-shape", "x:N,12", "--jobs", 1, "--json")
    result = run("explore", "mlp.onnx", "my own/space.toml", *arguments, "--csv", "all.csv", "--html", "page.html")
    assert result.exit_code == 0, result.output
    listed = json.loads(result.stdout)["designs"]
    assert len(listed) == 24
    assert [design["error"] for design in listed] == 24 * [None]
    kinds = {tuple(design["choices"].values()): design for design in listed}
    for design in list(kinds.values())[::5]:  # every model, policy, hardware and law
        assert recompiled(design) == design["figures"], design["command"]
    with Path("all.csv").open(encoding="utf-8", newline="") as file:
        assert [row["command"] for row in csv.DictReader(file)] == [design["command"] for design in listed]
    assert str(escape(listed[-1]["command"])) in Path("page.html").read_text(encoding="utf-8")
    assert listed[-1]["command"].endswith(
        "--hw 'my own/hw.toml' --adc-law saberi --calib data.npz --max-accuracy-drop 90 --input-shape x:N,12 "
        """--output './small '"'"'un-23.bsc'"""
    )


def test_searches_by_cost_follow_the_prices() -> None:
    """What is chosen by its cost is chosen for each law; what is not is compiled once."""
    write_space('[axes]\nxbar = ["8x8"]\npermute = ["auto", "none"]\nadc-law = ["isaac", "saberi"]\n')
    assert len(found()["designs"]) == 4
    with contextlib.closing(sqlite3.connect("mlp.explore.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM mappings").fetchone() == (3,)


ERRORS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no space": (
        SPACE,
        ("none.toml",),
        "error [BSC202] space 'none.toml' cannot be read\n"
        "  seen: No such file or directory\n"
        "  fix:  give the path of a TOML file\n",
    ),
    "hardware": (
        '[axes]\nhw = ["isaak"]\n',
        (),
        "error [BSC206] no hardware description of that name\n"
        "  seen: 'isaak'\n"
        "  fix:  did you mean 'isaac'? shipped: isaac, isaac-se, neurram, puma, raella; "
        "for your own give a path that ends in .toml\n",
    ),
    "data": (
        'objectives = ["accuracy"]\n',
        (),
        "error [BSC201] accuracy is an objective and there are no data to measure it on\n"
        "  seen: no --data\n"
        "  fix:  add labelled data with --data FILE.npz, or leave accuracy out of the objectives\n",
    ),
    "calibration": (
        '[axes]\nadc = ["lossless", "calibrated"]\n',
        (),
        "error [BSC201] 'calibrated' needs calibration data\n"
        "  seen: no --calib\n"
        "  fix:  give typical inputs with --calib FILE.npz, or leave that value out of the space\n",
    ),
    "laws": (
        'method = "search"\npoints = 3\n[axes]\nadc-law = ["isaac", "saberi"]\n',
        (),
        "error [BSC209] a search would choose the most lenient of several ADC laws\n"
        "  seen: adc-law = ['isaac', 'saberi']\n"
        "  fix:  search under one law, or try all designs with another method\n",
    ),
    "variant": (
        '[axes]\nvariants = ["mlp.onnx"]\n',
        (),
        "error [BSC209] 'mlp.onnx' is the model, and one of its variants too\n"
        "  seen: ['mlp.onnx']\n"
        "  fix:  leave it out of the variants: the model is tried beside them\n",
    ),
    "address": (
        SPACE,
        ("space.toml", "--scheduler", "tcp://127.0.0.1:1"),
        "error [BSC210] no Dask scheduler answers at 'tcp://127.0.0.1:1'\n"
        "  seen: Timed out trying to connect to tcp://127.0.0.1:1 after 1 s\n"
        "  fix:  start one with 'dask scheduler' and give the address that it prints, as tcp://HOST:8786\n",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_one_clear_error(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    text, arguments, message = ERRORS[name]
    if name == "address":
        pytest.importorskip("distributed")
        import bsc.exploration.cluster

        monkeypatch.setattr(bsc.exploration.cluster, "CONNECT_S", 1)
    write_space(text)
    result = run("explore", "mlp.onnx", *(arguments or ("space.toml",)))
    assert (result.stderr, result.stdout) == (message, "")
    assert result.exit_code == 2
    if name != "address":
        assert not (folder / "mlp.explore.sqlite").exists()


@pytest.mark.parametrize(("option", "package"), [("--scheduler", "distributed"), ("a search", "optuna")])
def test_extras_that_are_missing(option: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else object())
    arguments = ["--scheduler", "tcp://127.0.0.1:1"]
    if package == "optuna":
        write_space('method = "search"\npoints = 3\n')
        arguments = []
    result = run("explore", "mlp.onnx", "space.toml", *arguments)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error [BSC208] {option} needs the package '{package}'\n"
        f"  seen: no package '{package}'\n"
        "  fix:  install it, in a checkout with: pip install -c constraints.txt -e '.[explore]'\n",
    )


def test_a_file_that_changes_under_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    original = bsc.compiler.driver.import_calibrated

    def replaced(path: Path, *arguments: Any) -> object:
        save(mlp_model(12, 9, 3), Path("mlp.onnx"))
        return original(path, *arguments)

    monkeypatch.setattr("bsc.exploration.mapping.import_calibrated", replaced)
    result = run("explore", "mlp.onnx", "space.toml", "--jobs", 1)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error [BSC210] a worker reads another 'mlp.onnx'\n  seen: SHA-256 ")
    assert all(row[-2] for row in designs("mlp.explore.sqlite"))  # none but the refused ones
    monkeypatch.setattr("bsc.exploration.mapping.import_calibrated", lambda *_: original(Path("none.onnx"), *_[1:]))
    result = run("explore", "mlp.onnx", "space.toml", "--jobs", 1, "-o", "other.sqlite")
    assert result.stderr.startswith("error [BSC202] model 'none.onnx' cannot be opened\n")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bsc", "explore", "mlp.onnx", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def running(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command that runs; it is killed in the end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a shell's background job ignores it
    with subprocess.Popen(list(map(str, arguments)), env=environment(), **(pipes | heard | options)) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(there: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is so, as long as a process runs."""
    until = time.monotonic() + PATIENCE_S
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def landed(path: str, more_than: int) -> bool:
    with contextlib.suppress(sqlite3.OperationalError):  # not there yet, or being begun
        return len(designs(path)) > more_than
    return False


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks up worker processes in /proc")
def test_killed_twice_and_resumed_to_the_identical_result() -> None:
    whole = run("explore", "mlp.onnx", "many.toml", "--jobs", 1, "-o", "whole.sqlite", "--json", "--html", "whole.html")
    assert whole.exit_code == 0
    before = 0
    workers: list[int] = []
    for _ in range(2):
        with running(*command("many.toml", "--jobs", 2, "-o", "killed.sqlite")) as process:
            wait_for(functools.partial(landed, "killed.sqlite", before + 5), process)
            workers += children(process.pid)
            process.kill()
            process.wait()
        rows = designs("killed.sqlite")
        assert before < len(rows) < 240
        assert rows == [row for row in designs("whole.sqlite") if row[0] in {each[0] for each in rows}]
        before = len(rows)
    assert workers
    resumed = run("explore", "mlp.onnx", "many.toml", "--jobs", 1, "-o", "killed.sqlite", "--json", "--html", "r.html")
    assert resumed.stdout == whole.stdout
    assert designs("killed.sqlite") == designs("whole.sqlite")
    assert Path("r.html").read_bytes() == Path("whole.html").read_bytes()
    wait_until = time.monotonic() + PATIENCE_S  # workers see that nobody is there any more
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < wait_until
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_sweeps_say_how_to_go_on(number: signal.Signals, code: int) -> None:
    with running(*command("endless.toml", "--jobs", 2)) as process:
        wait_for(lambda: landed("mlp.explore.sqlite", 3), process)
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (code, "")
    lines = errors.splitlines()
    assert re.fullmatch(r"\d+ of 1920 designs are in mlp.explore.sqlite; the same command goes on from there", lines[0])
    assert lines[1:] == (["interrupted"] if number == signal.SIGINT else [])
    assert len(designs("mlp.explore.sqlite")) == int(lines[0].split()[0])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks up worker processes in /proc")
def test_a_worker_that_dies_is_one_clear_error() -> None:
    with running(*command("endless.toml", "--jobs", 2)) as process:
        wait_for(lambda: landed("mlp.explore.sqlite", 0), process)
        for child in children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (2, "")
    assert re.fullmatch(
        r"error \[BSC210\] a worker was lost over design \d+ \(xbar \d+x\d+, weight-bits \d, cell-bits \d, .*\)"
        r"( and \d+ of the same plan)?\n"
        r"  seen: process \d+ ended with signal SIGKILL, as when memory runs out\n"
        r"  fix:  run the same command again: what was done is kept, and a design over which 2 workers are lost is "
        r"left out\n",
        errors,
    )
    assert designs("mlp.explore.sqlite")


def deadly(connection: Connection) -> None:
    """A worker that does not live through the designs on small crossbars."""
    from bsc.exploration.mapping import count

    with contextlib.suppress(EOFError):
        while True:
            work = connection.recv()
            if "rows=8 " in work.recipe.pipeline:
                os.kill(os.getpid(), signal.SIGKILL)
            connection.send(count(work))


def test_a_design_that_always_loses_its_worker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsc.exploration.local._serve", deadly)
    write_space('[axes]\nxbar = ["16x16", "8x8", "32x32"]\nadc-law = ["isaac", "saberi"]\n')
    arguments = ("explore", "mlp.onnx", "space.toml", "--jobs", 2)
    first = run(*arguments)
    assert (first.exit_code, first.stdout) == (2, "")
    assert "error [BSC210] a worker was lost over design 2 (xbar 8x8, adc-law isaac) and 1 of the same plan\n" in (
        first.stderr
    )
    second = run(*arguments, "--json")
    assert second.exit_code == 0, second.output
    listed = json.loads(second.stdout)["designs"]
    problem = "2 workers were lost over it, as when memory runs out"
    lost = {"code": "BSC211", "problem": problem}
    assert [design["error"] for design in listed] == [None, None, lost, lost, None, None]
    assert run(*arguments, "--json").stdout == second.stdout
    assert f"refused  2 with [BSC211] {problem}\n" in run(*arguments).stdout
    write_space('[axes]\nxbar = ["8x8", "16x16"]\n')
    assert run(*arguments, "--force").exit_code == 2  # a sweep that is begun anew tries it anew


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="limits the size of files with prlimit")
def test_a_full_disk_keeps_what_was_done() -> None:
    """A limit on the size of files stands for the disk."""
    limit = 40 << 10
    arguments = command("many.toml", "--jobs", 1)
    with running("prlimit", f"--fsize={limit}", *arguments) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (2, "")
    assert re.fullmatch(
        r"error \[BSC204\] results file 'mlp.explore.sqlite' cannot be written\n"
        r"  seen: (disk I/O error|database or disk is full)\n"
        r"  fix:  free some space and run the same command again: what was done is kept\n",
        errors,
    )
    kept = designs("mlp.explore.sqlite")
    assert kept
    assert run("explore", "mlp.onnx", "many.toml", "--jobs", 1).exit_code == 0
    assert [row for row in designs("mlp.explore.sqlite") if row[0] in {each[0] for each in kept}] == kept


SEARCH = 'method = "search"\npoints = 30\ngeneration = 6\nseed = 4\n' + MANY


def test_a_killed_search_goes_on_to_the_identical_result() -> None:
    pytest.importorskip("optuna")
    write_space(SEARCH)
    whole = found("-o", "whole.sqlite")
    assert len({design["number"] for design in whole["designs"]}) == 30
    with contextlib.closing(sqlite3.connect("whole.sqlite")) as connection:
        connection.execute("VACUUM INTO 'killed.sqlite'")
    with contextlib.closing(sqlite3.connect("killed.sqlite")) as connection, connection:
        # As if it had been killed in its third generation.
        connection.execute("DELETE FROM asked WHERE place >= 18")
        lost = "SELECT number FROM asked WHERE place < 15"
        connection.execute(f"DELETE FROM designs WHERE number NOT IN ({lost})")
        connection.execute("DELETE FROM mappings")
    assert found("-o", "killed.sqlite") == whole
    write_space(SEARCH.replace("seed = 4", "seed = 5"))
    other = found("-o", "other.sqlite")
    assert [design["number"] for design in other["designs"]] != [design["number"] for design in whole["designs"]]


def test_a_search_finds_what_a_grid_finds() -> None:
    pytest.importorskip("optuna")
    write_space(MANY)
    best = {design["number"] for design in found()["designs"] if design["on_front"]}
    write_space(SEARCH.replace("points = 30", "points = 60").replace("generation = 6", "generation = 12"))
    searched = found("-o", "s.sqlite")
    assert best & set(searched["front"])


def test_a_search_ends_when_nothing_is_left_that_may_exist() -> None:
    pytest.importorskip("optuna")
    write_space('method = "search"\npoints = 50\ngeneration = 3\n' + SPACE.replace(', "saberi"', ""))
    sweep = found()
    assert (sweep["grid"], len(sweep["designs"])) == (32, 24)
    assert all(design["error"] is None for design in sweep["designs"])
    assert found() == sweep


def test_a_sweep_on_dask_workers_one_of_which_is_killed() -> None:
    pytest.importorskip("distributed")
    assert run("explore", "mlp.onnx", "many.toml", "--jobs", 1, "-o", "here.sqlite").exit_code == 0
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = (sys.executable, "-m")
    where = ("--scheduler-file", "scheduler.json", "--no-dashboard")
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(
            running(*dask, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", 0, *where, **quiet)
        )
        wait_for(Path("scheduler.json").exists, scheduler)
        address = json.loads(Path("scheduler.json").read_text(encoding="utf-8"))["address"]
        worker = (*dask, "distributed.cli.dask_worker", "--nthreads", 1, "--no-nanny", *where)
        workers = [stack.enter_context(running(*worker, **quiet)) for _ in range(2)]
        process = stack.enter_context(running(*command("many.toml", "--scheduler", address, "-o", "there.sqlite")))
        wait_for(lambda: landed("there.sqlite", 20), process)
        assert len(designs("there.sqlite")) < 240
        workers[0].kill()
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (errors, process.returncode) == ("\nresults are in there.sqlite\n", 0)
        assert designs("there.sqlite") == designs("here.sqlite")


def test_a_page_escapes_names(folder: Path) -> None:
    model = onnx.load(folder / "mlp.onnx")
    name = "<script>alert(1)</script>.onnx".replace("/", "\N{FRACTION SLASH}")
    save(model, folder / name)
    result = run("explore", name, "space.toml", "--jobs", 1, "--html", "page.html", "-o", "r.sqlite")
    assert result.exit_code == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert re.findall(r"""(?:src|href)=["']([^"']*)|url\(|https?://""", page) == ["data:,"]
    assert page.count("<svg") == 1


def test_outputs_that_cannot_be_written_lose_nothing() -> None:
    result = run("explore", "mlp.onnx", "space.toml", "--jobs", 1, "--csv", "nowhere/all.csv")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC204] output 'nowhere/all.csv' cannot be written\n"
        "  seen: No such file or directory\n"
        "  fix:  choose a folder you may write to\n",
    )
    assert not Path("mlp.explore.sqlite").exists()  # found before any work


KEPT = "an input, which is never replaced"


@pytest.mark.parametrize(
    ("arguments", "code", "problem", "seen"),
    [
        (
            ("--csv", "space.toml"),
            "BSC203",
            "--csv 'space.toml' is what the command reads",
            KEPT,
        ),
        (
            ("--html", "mlp.onnx"),
            "BSC203",
            "--html 'mlp.onnx' is what the command reads",
            KEPT,
        ),
        (
            ("-o", "x.sqlite", "--html", "x.sqlite"),
            "BSC201",
            "--output and --html name the same file",
            "'x.sqlite'",
        ),
        (("--csv", "a", "--svg", "./a"), "BSC201", "--csv and --svg name the same file", "'a'"),
        (("--csv", "-", "--json"), "BSC201", "--json and --csv - cannot both be printed", "--json --csv -"),
        (("-o", "pipe"), "BSC204", "results cannot be kept in 'pipe'", "no regular file"),
        (("--limit", 2), "BSC201", "--limit means nothing without --data", "--limit alone"),
        (
            ("--jobs", 2, "--scheduler", "tcp://127.0.0.1:9"),
            "BSC201",
            "--jobs and --scheduler cannot be used together",
            "--jobs 2",
        ),
    ],
)
def test_outputs_take_nothing_with_them(
    folder: Path, arguments: tuple[object, ...], code: str, problem: str, seen: str
) -> None:
    os.mkfifo(folder / "pipe")
    before = {path.name: path.stat().st_size for path in folder.iterdir()}
    result = run("explore", "mlp.onnx", "space.toml", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error [{code}] {problem}\n  seen: {seen}\n  fix:  ")
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == before


def test_a_file_may_be_called_as_sqlite_calls_memory() -> None:
    assert run("explore", "mlp.onnx", "space.toml", "--jobs", 1, "-o", ":memory:").exit_code == 0
    assert len(designs(Path(":memory:").absolute())) == 64


def test_a_picture_of_nothing_is_not_written() -> None:
    Path("none.toml").write_text("[axes]\nflip = [true]\n", encoding="utf-8")
    result = run("explore", "mlp.onnx", "none.toml", "--jobs", 1, "--svg", "a.svg", "-o", "n.sqlite")
    assert result.exit_code == 0
    assert "a.svg is not written: no design has figures to draw" in result.stderr
    assert not Path("a.svg").exists()
