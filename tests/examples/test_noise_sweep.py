"""examples/noise: the sweep on a few images, and the files it shipped."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bsc.plan.folder import write_plan
from examples.noise import sweep

SHIPPED = Path(__file__).parents[2] / "examples" / "noise"


@pytest.mark.parametrize(
    "point",
    [
        sweep.Point(device="generic", effect="drift", factor=4, adc="fixed=8"),
        sweep.Point(device="ideal", effect=None, factor=1, adc="fixed=8"),
    ],
    ids=["drift", "ideal"],
)
def test_a_point(point: sweep.Point, tmp_path: Path) -> None:
    write_plan(sweep.compiled("fixed=8"), tmp_path / "fixed=8.bsc")
    found = sweep.measure(tmp_path, point, trials=2, samples=20)
    assert 0 <= found["mean"] <= found["exact"] <= 1
    assert point.device != "ideal" or (found["mean"], found["half_width"]) == (found["exact"], 0)


def test_the_shipped_table_is_that_of_the_shipped_results() -> None:
    record = json.loads((SHIPPED / "results.json").read_text(encoding="utf-8"))
    assert len(record["points"]) == len(list(sweep.points()))
    lines = list(sweep.table(record["points"]))
    assert lines == (SHIPPED / "table.md").read_text(encoding="utf-8").splitlines()
    readme = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert all(line in readme for line in lines[1:])


def test_options_are_checked() -> None:
    result = CliRunner().invoke(sweep.main, ["--trials", "1"])
    assert (result.exit_code, "1 is not in the range" in result.output) == (2, True)
