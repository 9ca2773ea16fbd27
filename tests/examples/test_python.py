"""examples/python: the notebook is what its source gives, to the byte; README's five lines run."""

import json
import re
import warnings
from dataclasses import fields
from pathlib import Path

import pytest

from bsc.api.request import OPTIONS, flag
from bsc.exploration.space import Axes
from examples.python.write_notebook import NOTEBOOK, SOURCE, cells_of, notebook
from passes import PASSES

ROOT = Path(__file__).parent.parent.parent


def test_the_notebook_is_fresh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where figures have changed: pytest --update-golden, or the script beside it."""
    monkeypatch.chdir(ROOT)
    text = notebook(SOURCE.read_text(encoding="utf-8"))
    if request.config.getoption("--update-golden"):
        NOTEBOOK.write_text(text, encoding="utf-8")
    shipped = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell, ours in zip(json.loads(text)["cells"], shipped["cells"], strict=True):
        assert cell == ours
    assert NOTEBOOK.read_text(encoding="utf-8") == text


def test_the_notebook_is_one() -> None:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert [cell["cell_type"] == "markdown" for cell in document["cells"]] == [
        markdown for markdown, _ in cells_of(SOURCE.read_text(encoding="utf-8"))
    ]
    pytest.importorskip("nbformat").validate(document)


def test_your_own_model_in_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As README has it, on a small network."""
    torch = pytest.importorskip("torch")
    (code,) = re.findall(r"^```python\nimport torch\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert sum(line != "" for line in code.splitlines()) == 5
    monkeypatch.chdir(tmp_path)
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    model = torch.nn.Sequential(linear(12, 8), relu(), linear(8, 3)).eval()
    names = {"torch": torch, "model": model, "x": torch.randn(64, 12)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's exporter
        exec(code, names)
    assert (tmp_path / "mine.bsc" / "plan.json").is_file()


def test_the_table_of_names_is_whole() -> None:
    """Every option of a compilation and every axis of a space has its row, under the names that code has."""
    text = (ROOT / "examples" / "python" / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2:6] for line in text.splitlines() if line.startswith("| ") and "`--" in line]
    named = [" ".join(re.findall(r"`([^`]+)`", " ".join(column))) for column in zip(*rows, strict=True)]
    flags, functions, axes, passes = (f" {names} " for names in named)
    for field in set(OPTIONS) - {"dump_ir", "stop_after"}:
        assert re.search(rf" {flag(field)}[ =]", flags), field
        assert re.search(rf" {field}[ =]", functions), field
    for axis in Axes.model_fields:
        assert axis == "variants" or re.search(rf" {axis.replace('_', '-')}[ =]", axes), axis
    for step, options in re.findall(r" ([a-z-]+)(?:{([^}]*)})?(?= )", passes):
        known = {each.name.replace("_", "-") for each in fields(PASSES[step])}
        assert {option.partition("=")[0] for option in options.split()} <= known, step
