"""Names are data: one hostile model through every command that prints.

Whatever a name in a model, plan, data set or description holds, no control character, escape sequence or override of
the direction of writing gets out, no name begins a line of its own, and none is taken for markup or a formula.
"""

import csv
import io
import json
import re
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from bsc.api.pricing import plan_report
from bsc.cli import main
from bsc.plan.folder import read_plan
from bsc.printable import INVISIBLE, csv_text, json_text, visible, visible_lines
from bsc.report.csv_line import csv_line
from bsc.report.plan import PlanReport
from bsc.report.text import new_table, plain_text, print_to_terminal, to_text
from bsc.testing import random_weights, save, tiny_model

CLAIM = "exact: yes"
HOSTILE = f"\x1b[2J\x1b]0;owned\x07\n{CLAIM}\r\x9b31m\x7f\u202egnp\u2028[bold red]x[/bold red]:smile:<b>&\"'"
"""Clears the screen, sets a title, claims, colours, turns the direction of writing, and is markup of three kinds."""
LONG = f"=cmd|' /C calc'!A0 {'w ' * 200}{CLAIM}"
"""A formula, and so long that its claim would begin a line."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def hostile_model() -> onnx.ModelProto:
    """Two layers with an activation and an operator between; every name is hostile, and no two are the same."""
    model = tiny_model(
        """(float[N,6] x) => (float[N,3] y) {
            [fc0] a = MatMul (x, w0)
            [relu] b = Relu (a)
            [soft] c = Softmax (b)
            [fc1] y = MatMul (c, w1)
        }""",
        {"w0": random_weights(6, 5), "w1": random_weights(5, 3, seed=1)},
    )
    graph = model.graph

    def renamed(name: str) -> str:
        return f"{LONG if name == 'fc1' else HOSTILE}{name}"

    for node in graph.node:
        node.name = renamed(node.name)
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = renamed(value.name)
    return model


HARDWARE = files("hw_models").joinpath("isaac.toml").read_text(encoding="utf-8")
DEVICE = files("hw_models").joinpath("devices", "generic.toml").read_text(encoding="utf-8")


def toml_text(text: str) -> str:
    """A text in double quotes."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def with_hostile(toml: str, *keys: str) -> str:
    """A description in which every text of these keys is followed by a hostile one."""
    for key in keys:
        toml, count = re.subn(
            rf'(\b{key} = )"([^"\n]*)"', lambda found: f"{found[1]}{toml_text(found[2] + HOSTILE)}", toml
        )
        assert count, key
    return toml


LAW = f"""[adc_law]
name = {toml_text(HOSTILE)}
source = {toml_text(HOSTILE)}
kind = "assumed"
valid_bits = [1, 8]
energy_j = {{ {", ".join(f'"{bits}" = {bits}.0' for bits in range(1, 17))} }}
"""

FILE = HOSTILE.replace("/", "|")
SPACE = f"""method = "grid"
objectives = ["energy", "area"]
[axes]
xbar = ["64x64", "8x8"]
adc-law = ["isaac", {toml_text(f"{FILE}.toml")}]
"""


def cells_text() -> str:
    """Readings of cells on two chips, whose names are hostile."""
    random, lines = np.random.default_rng(0), [["level", "conductance_us", "cell", "chip"]]
    for cell in range(400):
        level = cell % 4
        chip = f"{HOSTILE}{cell // 4 % 2}"
        lines += [[str(level), f"{5 + 10 * level + random.normal():.3f}", f"{HOSTILE}{cell}", chip] for _ in range(2)]
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its plan and data; the names of model and plan are hostile too."""
    folder = tmp_path_factory.mktemp("hostile")
    save(hostile_model(), folder / f"{FILE}.onnx")
    inputs = {f"{HOSTILE}x": np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)}
    labelled = inputs | {"labels": np.arange(8) % 3}
    np.savez(folder / f"{FILE}.npz", allow_pickle=False, **labelled)
    (folder / "hw.toml").write_text(
        with_hostile(HARDWARE, "description", "citation", "source", "spec"), encoding="utf-8"
    )
    (folder / "device.toml").write_text(
        with_hostile(DEVICE, "name", "description", "citation", "source"), encoding="utf-8"
    )
    (folder / f"{FILE}.toml").write_text(LAW, encoding="utf-8")
    (folder / "space.toml").write_text(SPACE, encoding="utf-8")
    (folder / f"{FILE}.csv").write_text("crossbar,row,column,stuck\n0,1,1,on\n1,2,0,off\n", encoding="utf-8")
    (folder / "bad.csv").write_text(f'crossbar,row,column,"{HOSTILE}"\n"{HOSTILE}",1,1,on\n', encoding="utf-8")
    (folder / f"{FILE}-cells.csv").write_text(cells_text(), encoding="utf-8")
    return folder


def unwanted(text: str) -> set[str]:
    """Invisible characters but line ends."""
    return {each for each in text if each != "\n" and unicodedata.category(each) in INVISIBLE}


def texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*map(str, value), *(text for each in value.values() for text in texts_of(each))]
    if isinstance(value, list):
        return [text for each in value for text in texts_of(each)]
    return [value] if isinstance(value, str) else []


def require_clean(what: str, text: str, *, own: int = 0) -> None:
    """Nothing invisible, and no claims at the start of a line but `own` ones."""
    assert unwanted(text) == set(), what
    assert sum(line.startswith(CLAIM) for line in text.splitlines()) == own, what


def commands(name: str) -> list[tuple[str, ...]]:
    """What is run, in order; `name` is that of the model's file without its suffix."""
    model, data, plan = f"{name}.onnx", f"{name}.npz", f"{name}.bsc"
    sweep = ("explore", model, "space.toml", "--jobs", "1")
    layers = [f"{HOSTILE}fc0", f"{LONG}fc1"]
    return [
        ("check", model),
        ("check", model, "--json"),
        ("check", model, "--keep-digital", HOSTILE),
        ("compile", model, "--calib", data, "--html", "--time-passes"),
        ("compile", model, "--calib", data),
        ("compile", model, "--stop-after", "tile"),
        ("compile", model, "--calib", data, "--adc", "calibrated", "--hw", "hw.toml", "-o", "other.bsc", "--json"),
        ("compile", model, "--permute", "search", "--active-rows", "search", "--xbar", "8x8", "-o", "third.bsc"),
        ("compile", model, "--input-shape", f"{HOSTILE}:1"),
        ("compile", model, "--set", f"{HOSTILE}=1"),
        ("inspect", plan),
        ("inspect", plan, "--json"),
        *(("inspect", plan, "--layer", layer) for layer in layers),
        ("inspect", plan, "--layer", layers[0], "--json"),
        ("inspect", plan, "--layer", layers[0], "--crossbar", "0,0,0,+"),
        ("inspect", plan, "--layer", HOSTILE),
        ("inspect", plan, "--layer", layers[0], "--crossbar", HOSTILE),
        ("inspect", *layers),
        ("inspect", f"{HOSTILE}.bsc"),
        ("run", plan, "--data", data, "-o", "outputs.npz"),
        ("passes",),
        ("report", plan),
        ("report", plan, "--csv", "-"),
        ("report", plan, "--html", "-"),
        ("report", plan, "--json", "--csv", "layers.csv", "--html", "page.html"),
        ("report", plan, "--hw", "hw.toml", "--html", "-"),
        ("cost", plan, "--adc-law", f"{FILE}.toml", "--hw", "hw.toml"),
        ("cost", plan, "--adc-law", f"{FILE}.toml", "--json"),
        ("cost", plan, "--adc-law", HOSTILE),
        ("compare", plan, "other.bsc", "third.bsc"),
        ("compare", plan, "other.bsc", "--data", data, "--json"),
        ("compare", plan, "other.bsc", "--html", "-"),
        ("diff", plan, "other.bsc"),
        ("diff", plan, "third.bsc", "--json"),
        ("diff", plan, HOSTILE),
        ("verify", plan, "--data", data, "--model", model, "--per-layer", "--proofs"),
        ("verify", plan, "--input", f"{HOSTILE}x=0..1", "--json"),
        ("verify", plan, "--input", f"{HOSTILE}=0..1"),
        ("verify", plan, "--data", model),
        ("simulate", plan, "--data", data, "--stats", "--noise", "device.toml", "--trials", "2"),
        ("simulate", plan, "--data", data, "--json"),
        ("simulate", plan, "--noise", "generic", "--only", HOSTILE),
        ("export", plan, "--to", "onnx"),
        ("export", plan, "--to", "cells"),
        ("export", plan, "--to", "csv", "-o", "export.csv"),
        ("export", plan, "--to", "model-explorer", "-o", "explorer"),
        ("export", plan, "--to", HOSTILE),
        ("compile", model, "--faults", f"{FILE}.csv", "-o", "moved.bsc"),
        ("compile", model, "--faults", f"{HOSTILE}.csv", "-o", "none.bsc"),
        ("compile", model, "--faults", "bad.csv", "-o", "none.bsc"),
        ("inspect", "moved.bsc"),
        ("report", "moved.bsc", "--cells", "device.toml"),
        ("report", "moved.bsc", "--html", "moved.html"),
        ("simulate", "moved.bsc", "--data", data, "--faults", f"{FILE}.csv", "--noise", "device.toml", "--trials", "2"),
        ("simulate", plan, "--faults", "bad.csv"),
        ("cost", plan, "--cells", "device.toml"),
        ("cost", plan, "--cells", HOSTILE),
        (*sweep, "--csv", "-"),
        (*sweep, "--html", "sweep.html", "--svg", "sweep.svg", "--csv", "sweep.csv"),
        (*sweep, "--json"),
        ("hw", "show", "hw.toml"),
        ("hw", "show", "hw.toml", "--json"),
        ("hw", "check", "hw.toml"),
        ("hw", "devices", "device.toml"),
        ("hw", "devices", "device.toml", "--json"),
        ("hw", "fit", f"{FILE}-cells.csv", "--svg", "fit.svg"),
        ("hw", "fit", f"{FILE}-cells.csv", "--name", HOSTILE, "-o", "fit.toml"),
        ("hw", "fit", f"{FILE}-cells.csv", "--json"),
        ("hw", "fit", "bad.csv"),
        ("hw", "devices", "fit.toml"),
        ("simulate", plan, "--data", data, "--noise", "fit.toml", "--trials", "2"),
        ("hw", HOSTILE),
        ("--" + HOSTILE,),
        (HOSTILE,),
    ]


def test_no_command_lets_a_name_out_as_it_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    worked = set()
    for arguments in commands(FILE):
        result = run(*arguments)
        what = " ".join(map(visible, arguments))
        assert result.exit_code in (0, 1, 2, 3, 4, 5), what
        assert "internal error" not in result.stderr, what
        proves = arguments[0] == "verify" and "--json" not in arguments and result.exit_code == 0
        require_clean(what, result.stdout, own=int(proves))
        require_clean(what, result.stderr)
        if result.exit_code in (0, 1):
            worked.add(arguments[0])
        if "--json" in arguments and arguments[0] in ("check", "compile", "report"):
            assert any("\x1b" in text for text in texts_of(json.loads(result.stdout))), what  # the names as they are
    assert worked == set(main.commands) - {"finetune"}
    plan = place / f"{FILE}.bsc"
    written = [plan / name for name in ("report.txt", "report.html", "report.json", "plan.json", "target.json")]
    written += [place / name for name in ("layers.csv", "page.html", "sweep.html", "sweep.svg", "sweep.csv")]
    written += [place / name for name in ("export.csv", "moved.html", "fit.svg", "fit.toml")]
    written += (place / "explorer").iterdir()
    for path in written:
        require_clean(path.name, path.read_text(encoding="utf-8"))
    (data,) = re.findall(r'id="floorplan-data">(.*?)</script>', (place / "page.html").read_text(encoding="utf-8"))
    assert [unwanted(text) for text in texts_of(json.loads(data)) if not text.isprintable()] == []  # for scripts


def test_fine_tuning_lets_no_name_out_as_it_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(place)
    for options in ((), ("--json",), ("--objective", HOSTILE)):
        result = run(
            "finetune",
            f"{FILE}.onnx",
            "--data",
            f"{FILE}.npz",
            "--epochs",
            "1",
            "-o",
            "tuned.onnx",
            "--force",
            *options,
        )
        require_clean("finetune", result.stdout)
        require_clean("finetune", result.stderr)
        assert result.exit_code == (2 if HOSTILE in options else 0), result.output


SGR = re.compile(r"\x1b\[[0-9;]*m")
"""Colours and weights of a terminal's text, which rich writes."""


def test_a_terminal_gets_no_code_but_those_of_rich(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a report prints itself, and as one would that forgets about names."""
    monkeypatch.chdir(place)
    assert run("compile", f"{FILE}.onnx", "-o", "terminal.bsc").exit_code == 0
    plan = read_plan(place / "terminal.bsc")
    forgetful = Table(HOSTILE, title=HOSTILE)
    forgetful.add_row(Text(HOSTILE))
    for report in (PlanReport(report=plan_report(plan, plan.target, None), whole=True), forgetful, Text(HOSTILE)):
        shown = io.StringIO()
        console = Console(file=shown, force_terminal=True, color_system="truecolor", width=100, markup=False)
        print_to_terminal(report, console)
        assert unwanted(SGR.sub("", shown.getvalue())) == set()
        assert "owned" in shown.getvalue()


def test_markup_in_names_is_text() -> None:
    table = new_table("[bold]title[/bold]", ["[red]head[/red]"])
    table.add_row("[blink]cell[/blink] :smile:")
    text = to_text(Group(table, plain_text("[u]line[/u]", title="[i]t[/i]")))
    for each in (
        "[bold]title[/bold]",
        "[red]head[/red]",
        "[blink]cell[/blink] :smile:",
        "[u]line[/u]",
        "[i]t[/i]",
    ):
        assert each in text


def test_a_long_line_continues_to_the_right() -> None:
    text = to_text(plain_text(f"name       {'w ' * 60}{CLAIM}", f"{'v ' * 40}{CLAIM}", f"  {'u' * 50} {CLAIM}"), 50)
    assert [line for line in text.splitlines() if not line.startswith((" ", "name ", "v v"))] == []
    assert text.count(CLAIM) == 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe ×2 中文 e\u0301", "größe ×2 中文 e\u0301"),
        ("C:\\temp\\new", "C:\\temp\\new"),
        ("non\u00a0breaking", "non\u00a0breaking"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x00\x1b\x7f\x9b", "\\x00\\x1b\\x7f\\x9b"),
        ("\u202e\u2066\u200b\u2028\u2029\ufeff", "\\u202e\\u2066\\u200b\\u2028\\u2029\\ufeff"),
        ("\U000e0041\udcff", "\\U000e0041\\udcff"),
    ],
)
def test_what_is_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown
    assert visible_lines(f"{text}\nb") == "\n".join([*(visible(line) for line in text.split("\n")), "b"])


def test_formulas_in_cells() -> None:
    """As in OWASP's list; numbers are not texts, and text further in is none."""
    line = csv_line(["=1", "+1", "-1", "@a", "\t=1", "a=1", "", -1.5, None])
    assert next(csv.reader([line])) == ["'=1", "'+1", "'-1", "'@a", "\\t=1", "a=1", "", "-1.5", ""]
    assert csv_text("\N{FULLWIDTH PLUS SIGN}1") == "'\N{FULLWIDTH PLUS SIGN}1"


def test_json_keeps_names() -> None:
    assert json.loads(json_text(json.dumps(HOSTILE))) == HOSTILE
    assert unwanted(json_text(json.dumps(HOSTILE))) == set()
