"""The tables of the chip: networks have their published numbers of weights, and rows say what reports say."""

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from examples.chip.savings import main as savings_main
from examples.chip.savings import savings
from examples.chip.savings import table as savings_table
from examples.chip.shapes import NETWORKS
from examples.chip.tables import HEAD, POLICIES, main

SHIPPED = Path(__file__).parent.parent.parent / "examples" / "chip"


@pytest.mark.parametrize(
    ("name", "weights"),
    # Parameters of the published networks without biases and batch normalisation.
    [("ResNet-18", 11_678_912), ("ResNet-50", 25_502_912), ("MobileNet-v2", 3_469_760)],
)
def test_networks_have_their_weights(name: str, weights: int) -> None:
    model = NETWORKS[name]()
    sizes = [math.prod(tensor.dims) for tensor in model.graph.initializer if len(tensor.dims) > 1]
    assert sum(sizes) == weights


def test_rows(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--out", str(tmp_path), "--only", "MNIST example"])
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [(row["network"], row["copies"]) for row in rows] == [("MNIST example", policy) for policy in POLICIES]
    plan = {row["copies"]: row["plan"] for row in rows}
    assert plan["none"]["inferences_per_s"] == pytest.approx(1.25e6)
    assert plan["throughput"]["inferences_per_s"] == pytest.approx(1 / plan["throughput"]["links_s"]["chip links"])
    head, _, first, *_ = (tmp_path / "table.md").read_text().splitlines()
    assert head == f"| {' | '.join(HEAD)} |"
    assert first.startswith(
        "| MNIST example | none | 1 | 62 | 1.25 M/s | 32.2 M/s | 1.60 µs | 1.60 µs | fc1 | 10.5 W |"
    )


def test_the_shipped_table_is_of_the_shipped_results() -> None:
    rows = json.loads((SHIPPED / "results.json").read_text())
    table = (SHIPPED / "table.md").read_text().splitlines()
    assert len(table) == 2 + len(rows) == 2 + len(POLICIES) * (1 + len(NETWORKS))
    for line, row in zip(table[2:], rows, strict=True):
        assert line.startswith(f"| {row['network']} | {row['copies']} | {row['plan']['chips']} | ")
    mnist = next(line for line in table if "MNIST example | none" in line)
    assert mnist in (SHIPPED / "README.md").read_text()


def test_savings_of_the_example(tmp_path: Path) -> None:
    """One copy of each layer saves nothing of the full total, since the links of the chip draw power all the time."""
    arguments = ["--out", str(tmp_path), "--only", "MNIST example", "--kind", "lossless"]
    result = CliRunner().invoke(savings_main, arguments)
    assert result.exit_code == 0, result.output
    one, many = json.loads((tmp_path / "savings.json").read_text())
    assert [f"{each:.2f}" for each in savings(one, "uniform_8_bit")] == ["1.36", "1.34", "1.34", "1.00", "1.00", "1.00"]
    assert [f"{each:.2f}" for each in savings(many, "uniform_8_bit")][3] == "1.07"
    assert (list(savings(many, "isaac_offset_8_bit"))[3] or 0) < 1
    shipped = (SHIPPED / "savings.md").read_text().splitlines()
    assert (tmp_path / "savings.md").read_text().splitlines() == shipped[:8]  # two plans over three baselines


def test_the_shipped_savings_are_of_the_shipped_results() -> None:
    rows = json.loads((SHIPPED / "savings.json").read_text())
    assert savings_table(rows) == (SHIPPED / "savings.md").read_text()
    assert savings_table(rows) in (SHIPPED / "README.md").read_text()
