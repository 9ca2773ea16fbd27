"""Names that would move a terminal's cursor, and where they are printed."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bsc.cli import main
from bsc.errors import ModelError
from bsc.report.text import new_table, plain, to_text
from bsc.testing import random_weights, tiny_model
from bsc.visible import visible, visible_lines

HOSTILE = "a\x1b[31m\r\u202eb\n"
SHOWN = "a\\x1b[31m\\r\\u202eb\\n"


@pytest.mark.parametrize(("text", "shown"), [("é 中 µ×²", "é 中 µ×²"), (HOSTILE, SHOWN), ("\x7f\x9b", "\\x7f\\x9b")])
def test_by_hand(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_everything_is_printable_and_lines_are_kept(text: str) -> None:
    assert visible(text).isprintable()
    assert visible_lines(text) == "\n".join(map(visible, text.split("\n")))


def test_errors_and_reports() -> None:
    assert str(ModelError("BSC303", HOSTILE, seen=HOSTILE, fix="")) == f"[BSC303] {SHOWN}\n  seen: {SHOWN}\n  fix:  "
    table = new_table("", [""])
    table.add_row(HOSTILE)
    assert SHOWN in to_text(table)
    assert to_text(plain(f"{HOSTILE}next")) == f"{SHOWN.removesuffix(chr(92) + 'n')}\nnext\n"


def test_commands_print_nothing_else_of_names(tmp_path: Path) -> None:
    model = tiny_model("(float[N,4] x) => (float[] y) { h = MatMul(x, w)  y = Relu(h) }", {"w": random_weights(4, 4)})
    model.graph.input[0].name = model.graph.node[0].input[0] = model.graph.node[0].name = HOSTILE
    model.graph.output[0].name = model.graph.node[1].output[0] = HOSTILE * 2
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    name, plan = str(tmp_path / "m.onnx"), str(tmp_path / "m.bsc")
    for command in (
        ["check", name],
        ["compile", name, "-o", plan],
        ["compile", name, "--stop-after", "quantize"],
        ["verify", plan, "--model", name, "--per-layer"],
        ["report", plan],
        ["inspect", plan, "--layer", HOSTILE],
        ["verify", plan, "--input", "x=1"],
    ):
        result = CliRunner().invoke(main, command, color=True)  # as a terminal that takes colours
        assert SHOWN.removesuffix("\\n") in result.output, command
        assert visible_lines(result.output) == result.output, command
