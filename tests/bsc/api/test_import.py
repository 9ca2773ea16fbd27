"""`import bsc`: what it offers, that it is light, and that commands and functions take the same options."""

import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import assert_type

import pytest
from click.testing import CliRunner

import bsc
from bsc.api.request import Request, flag
from bsc.cli import main
from bsc.commands.check import check
from bsc.commands.compile import compile_command

FILES_ALONE = {"dump_ir", "stop_after"}
"""Of `bsc compile`: what they write or print is no plan."""
LIGHT = """
import sys, bsc
heavy = {"click", "numpy", "onnx", "onnxruntime", "pydantic", "rich", "torch"} & set(sys.modules)
print(sorted(heavy), sorted(name for name in sys.modules if name.startswith("bsc")))
"""


def test_importing_takes_no_time() -> None:
    """Nothing is imported with it; what that takes on the machine at hand says less."""
    found = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert found.stdout == "[] ['bsc']\n"


def test_every_name_is_there() -> None:
    assert set(bsc.__all__) <= set(dir(bsc))
    for name in bsc.__all__:
        assert getattr(bsc, name) is getattr(bsc, name)
        assert getattr(bsc, name).__doc__


def test_type_checkers_read_the_same_names() -> None:
    """Of the imports that only they see: each is a name of `__all__`, from where it is found at run time."""
    text = Path(str(bsc.__file__)).read_text(encoding="utf-8")
    pairs = {name: place for place, name in re.findall(r"from ([\w.]+) import (\w+) as \2", text)}
    assert {*pairs, "__version__"} == set(bsc.__all__)
    for name, place in pairs.items():
        assert getattr(importlib.import_module(place), name) is getattr(bsc, name)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'bsc' has no attribute 'complie'"):
        bsc.complie  # type: ignore[attr-defined]  # noqa: B018


def test_submodules_do_not_hide_functions() -> None:
    """Whatever has been imported: a package called like a function would take its place."""
    packages = {path.stem for path in Path(str(bsc.__file__)).parent.iterdir() if path.suffix in ("", ".py")}
    assert packages & set(bsc.__all__) == set()


def test_the_function_takes_what_the_command_takes() -> None:
    options = {name for parameter in compile_command.params for name in parameter.opts if name.startswith("--")}
    others = {"--output", "--force", "--html", "--time-passes", "--json"}
    assert {flag(each.name) for each in fields(Request)} == options - others
    arguments = set(inspect.signature(bsc.compile).parameters) - {"model"}
    assert arguments == {each.name for each in fields(Request)} - FILES_ALONE
    checked = {name for parameter in check.params for name in parameter.opts if name.startswith("--")}
    assert checked == options - others - {flag(name) for name in FILES_ALONE} | {"--json"}


def test_every_option_is_described_where_it_is_taken() -> None:
    for text in (inspect.getdoc(Request), inspect.getdoc(bsc.compile)):
        described = set(re.findall(r"^    (\w+):", str(text), re.MULTILINE))
        assert described >= {each.name for each in fields(Request)} - FILES_ALONE


def test_types(tmp_path: Path) -> None:
    """For mypy, which reads this file; a wrong option is an error of Python's own."""
    with pytest.raises(bsc.BscError) as caught:
        assert_type(bsc.open(tmp_path / "none.bsc"), bsc.Plan)
    assert caught.value.code == "BSC202"
    with pytest.raises(TypeError, match="xbars"):
        bsc.compile("model.onnx", xbars=(128, 128))  # type: ignore[call-arg]


def test_the_same_error_everywhere(tmp_path: Path) -> None:
    """The function raises what the command prints."""
    with pytest.raises(bsc.BscError) as caught:
        bsc.compile(tmp_path / "m.onnx", passes="quantize", xbar=(8, 8))
    result = CliRunner().invoke(main, ["compile", str(tmp_path / "m.onnx"), "--passes", "quantize", "--xbar", "8x8"])
    assert result.stderr == f"error {caught.value}\n"
    assert result.exit_code == caught.value.exit_code
