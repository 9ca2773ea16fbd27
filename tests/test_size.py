"""Work grows with the size of a model and no faster: counted in calls of functions, not in seconds."""

import cProfile
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from bsc.chip.mesh import Loads
from bsc.cli import main
from bsc.frontend.onnx_import import NODE_BYTES
from bsc.mapping.arrays import misfits
from bsc.report.html.network import Network, Row
from tests.benchmarks.graph_size import COMMANDS, KINDS

SMALLEST = {"relus": 200, "layers": 8, "steps": 50}
"""Of three sizes, each twice the one before."""


def calls(arguments: list[str]) -> int:
    """How many functions a command calls."""
    profile = cProfile.Profile()
    result = profile.runcall(CliRunner().invoke, main, arguments)
    assert result.exit_code == 0, result.output
    profile.create_stats()
    return sum(each[1] for each in profile.stats.values())


def arguments_of(command: str, model: Path) -> list[str]:
    plan = str(model.with_suffix(".bsc"))
    return [each.replace("MODEL", str(model)).replace("PLAN", plan) for each in COMMANDS[command]]


@pytest.mark.parametrize("kind", SMALLEST)
def test_work_grows_with_the_model(kind: str, tmp_path: Path) -> None:
    sizes = [SMALLEST[kind] * factor for factor in (1, 1, 2, 4)]  # the first one imports, opens and caches
    counted: dict[str, list[int]] = {}
    for size in sizes:
        model = tmp_path / f"{size}.onnx"
        model.write_bytes(KINDS[kind](size).SerializeToString())
        for command in ("check", "compile", "report --html", "compare"):
            counted.setdefault(command, []).append(calls(arguments_of(command, model)))
    for command, (_, small, middle, large) in counted.items():
        assert large - middle < 2.5 * (middle - small), command


CHECK = """
import functools, sys
from bsc.cli import main
from bsc.frontend import onnx_import
from bsc.limits import bounded_memory
onnx_import.NODE_BYTES = int(sys.argv.pop(1))
onnx_import.bounded_memory = functools.partial(bounded_memory, base=0)
main()
"""


def test_memory_follows_the_operators(tmp_path: Path) -> None:
    """What the import may take for each operator is enough without what it may take for any model."""
    model = tmp_path / "m.onnx"
    model.write_bytes(KINDS["adds"](20_000).SerializeToString())
    command = [sys.executable, "-c", CHECK, str(NODE_BYTES), *arguments_of("check", model)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_ways_between_tiles_are_followed_once_for_all_uses_of_a_layer(tmp_path: Path) -> None:
    """What a chip full of copies would do is in every report, and such a layer lies on a hundred tiles or more."""
    followed = []
    for size in (32, 64):
        model = tmp_path / f"{size}.onnx"
        model.write_bytes(KINDS["steps"](size).SerializeToString())
        with patch.object(Loads, "_on_chip", autospec=True, side_effect=Loads._on_chip) as on_chip:
            result = CliRunner().invoke(main, arguments_of("compile", model))
        assert result.exit_code == 0, result.output
        followed.append(on_chip.call_count)
    assert followed[0] == followed[1] > 1000


class Counted(tuple[tuple[int, int, int], ...]):
    """Links that count how often someone goes through them."""

    times = 0

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        Counted.times += 1
        return super().__iter__()


def test_a_page_goes_through_the_links_once_and_not_for_every_row() -> None:
    rows = tuple(Row(kind="digital", name=str(number)) for number in range(100))
    drawn = Network(rows=rows, links=Counted((number, number + 1, 0) for number in range(99)))
    assert [drawn.width for _ in rows] == [24] * 100
    assert drawn.drawing().count("<path") == 99
    assert Counted.times == 2


def test_layers_are_looked_at_when_a_pass_has_changed_them_and_once_when_a_plan_is_read(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(KINDS["layers"](5).SerializeToString())
    with patch("bsc.ir.invariants.misfits", wraps=misfits) as checked:
        result = CliRunner().invoke(main, arguments_of("compile", model))
    assert result.exit_code == 0, result.output
    assert checked.call_count == 5 * 6  # quantize, slice-bits, eliminate, tile, assign-adc, place
    with patch("bsc.plan.folder.misfits", wraps=misfits) as read:
        result = CliRunner().invoke(main, arguments_of("report --html", model))
    assert result.exit_code == 0, result.output
    assert read.call_count == 5
