"""The search for row orders and active rows: what it writes, and that nothing it tried is cheaper."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import hw_models
from bsc.api.pricing import compare_plan
from bsc.cli import main
from bsc.compiler.driver import Compiled, compile_model
from bsc.compiler.layout import Candidate, LayoutSearch
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.cost.compare import compare
from bsc.errors import UsageError
from bsc.hardware.target import Target
from bsc.plan.document import Plan
from bsc.plan.folder import read_plan
from bsc.replay.engine import Replayer
from bsc.testing import mlp_model, save
from passes.permute import RowOrder
from tests.bsc.plans import ISAAC
from tests.bsc.targets import without_price

LAWS = hw_models.laws()
ORDERS: tuple[RowOrder, ...] = ("as-is", "sorted", "balanced")


def sparse_model(folder: Path) -> Path:
    """Layers of several tiles: rows that are alike, rows of very different sizes, and a small one."""
    model = mlp_model(96, 40, 24, 4)
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("w"):
            weights = np.frombuffer(tensor.raw_data, np.float32).copy().reshape(tensor.dims)
            weights *= random.random(weights.shape) < 0.4
            if tensor.name == "w1":
                weights *= random.lognormal(0, 2, (len(weights), 1))
            tensor.raw_data = weights.astype(np.float32).tobytes()
    return save(model, folder / "sparse.onnx")


def compiled(
    path: Path,
    granularity: str,
    law: str,
    *,
    search: bool = True,
    row_order: RowOrder = "as-is",
    active_rows: int = 16,
    target: Target = ISAAC,
) -> Compiled:
    text = default_pipeline(
        target,
        rows=16,
        cols=16,
        policy="lossless",
        granularity=granularity,
        active_rows=active_rows,
        row_order=row_order,
    )
    what = LayoutSearch(law=LAWS[law], orders=ORDERS, active_rows=True) if search else None
    return compile_model(path, target, CompileOptions(pipeline=text, search=what))


def plan_of(found: Compiled) -> Plan:
    assert found.plan is not None
    return found.plan


def energies(plan: Plan, law: str) -> dict[str, float]:
    cost = compare(plan.mapping, ISAAC, LAWS[law], LAWS).plan
    return {name: cost.layer_energy_j(name) or 0 for name in cost.energy_j}


@pytest.mark.parametrize("granularity", ["column", "tile", "slice"])
@pytest.mark.parametrize("law", ["isaac", "exponential"])
def test_no_candidate_is_cheaper(granularity: str, law: str, tmp_path: Path) -> None:
    path = sparse_model(tmp_path)
    found = compiled(path, granularity, law)
    ours = energies(plan_of(found), law)
    assert {choice.layer: choice.energy_j for choice in found.choices} == ours
    every = [
        energies(plan_of(compiled(path, granularity, law, search=False, row_order=order, active_rows=rows)), law)
        for order, rows in itertools.product(ORDERS, (16, 8, 4, 2, 1))
    ]
    for name, energy in ours.items():
        assert energy == min(each[name] for each in every), name
    before = every[0]
    assert {choice.layer: choice.energy_before_j for choice in found.choices} == before


def test_it_chooses_by_the_law_and_layer_by_layer(tmp_path: Path) -> None:
    path = sparse_model(tmp_path)
    found = {
        law: {choice.layer: choice.chosen for choice in compiled(path, "slice", law).choices}
        for law in ("linear", "exponential")
    }
    assert found["linear"] != found["exponential"]
    assert len(set(found["exponential"].values())) > 1


@pytest.mark.parametrize("law", ["linear", "exponential"])
def test_the_line_is_a_full_recipe(law: str, tmp_path: Path) -> None:
    """The plan's own pipeline line gives the same plan without a search."""
    path = sparse_model(tmp_path)
    plan = plan_of(compiled(path, "slice", law))
    again = plan_of(compile_model(path, ISAAC, CompileOptions(pipeline=plan.document.pipeline)))
    assert again.document == plan.document
    for layer in plan.mapping.layers:
        ours, theirs = plan.mapping.arrays(layer).by_name(), again.mapping.arrays(layer).by_name()
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name])


def test_outputs_stay(tmp_path: Path) -> None:
    path = sparse_model(tmp_path)
    feeds = {"x": np.random.default_rng(1).standard_normal((5, 96)).astype(np.float32)}
    plain = plan_of(compiled(path, "slice", "exponential", search=False))
    found = plan_of(compiled(path, "slice", "exponential"))
    assert found.document.pipeline != plain.document.pipeline
    with_search, without = (Replayer(plan.mapping).replayed(feeds)["y"] for plan in (found, plain))
    np.testing.assert_array_equal(with_search, without)


def test_a_single_order_is_obeyed(tmp_path: Path) -> None:
    text = default_pipeline(ISAAC, rows=16, cols=16, policy="lossless", granularity="column")
    what = LayoutSearch(law=LAWS["isaac"], orders=("balanced",), active_rows=False)
    found = compile_model(sparse_model(tmp_path), ISAAC, CompileOptions(pipeline=text, search=what))
    assert {choice.chosen for choice in found.choices} == {Candidate(rows="balanced", active_rows=16)}


def test_words_for_an_unknown_price(tmp_path: Path) -> None:
    target = without_price(ISAAC, "bus_bit")
    with pytest.raises(UsageError) as caught:
        compiled(sparse_model(tmp_path), "tile", "isaac", target=target)
    assert str(caught.value) == (
        "[BSC206] target 'isaac': a search needs the price of every action\n"
        "  seen: no price of 'bus_bit' for this plan\n"
        "  fix:  add it to the hardware description, or choose without a search: --permute none, --active-rows N"
    )


# --- the command line ---


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return sparse_model(tmp_path)


def pipeline(folder: str = "a.bsc") -> str:
    parsed = json.loads((Path(folder) / "plan.json").read_text(encoding="utf-8"))
    return str(parsed["pipeline"])


@pytest.mark.parametrize(
    ("options", "step"),
    [
        (
            ("--permute", "sorted"),
            "permute{rows=sorted columns=sorted group-rows=16},tile{rows=16 cols=16 active-rows=16}",
        ),
        (
            ("--permute", "balanced", "--active-rows", "4"),
            "permute{rows=balanced columns=sorted group-rows=4},tile{rows=16 cols=16 active-rows=4}",
        ),
        ((), "eliminate{rows=16 dead=same-bits},tile{rows=16 cols=16 active-rows=16}"),
        (
            ("--granularity", "tile", "--permute", "none"),
            "eliminate{rows=16 dead=same-bits},tile{rows=16 cols=16 active-rows=16}",
        ),
    ],
)
def test_without_a_search(options: tuple[str, ...], step: str, model: Path) -> None:
    result = run("compile", model.name, "--xbar", "16x16", "-o", "a.bsc", *options)
    written = f"\nwrote a.bsc/\nnext  bsc verify a.bsc --data FILE.npz --model {model.name}\n"
    assert (result.exit_code, result.stderr) == (0, written)
    assert step in pipeline()


def test_shared_resolutions_are_searched_by_default(model: Path) -> None:
    """Under the law that is asked for."""
    options = ("--xbar", "16x16", "--granularity", "slice", "--adc-law", "exponential", "-o", "a.bsc")
    result = run("compile", model.name, *options)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["layer fc0", "layer fc1", "layer fc2"]
    assert "permute{rows=balanced columns=sorted group-rows=16 only=fc0" in pipeline()
    assert run("compile", model.name, *options[:-1], "b.bsc", "--permute", "none").exit_code == 0
    ours, plain = (
        compare_plan(plan, plan.target, "exponential").plan.total_energy_j
        for plan in map(read_plan, (Path("a.bsc"), Path("b.bsc")))
    )
    assert ours is not None
    assert plain is not None
    assert ours < plain


def test_active_rows_are_searched(model: Path) -> None:
    result = run(
        "compile", model.name, "--xbar", "16x16", "--adc-law", "exponential", "--active-rows", "search", "-o", "a.bsc"
    )
    assert result.exit_code == 0
    assert "permute" not in pipeline()
    assert "active-rows=" in pipeline()
    assert result.stderr.startswith("layer fc0: rows as-is, ")


def test_a_search_sees_what_comes_behind_the_last_pass_to_run(model: Path) -> None:
    options = ("--xbar", "16x16", "--granularity", "slice", "--adc-law", "exponential", "--active-rows", "search")
    shown = run("compile", model.name, *options, "--stop-after", "tile").stdout
    assert run("compile", model.name, *options, "-o", "a.bsc").exit_code == 0
    assert pipeline().count("tile{") == 2
    assert shown.count(" row tiles x ") == 3
    assert " rows at a time" in shown
    assert "adc lossless" not in shown


@pytest.mark.parametrize("value", ["0", "-1", "some"])
def test_words_for_active_rows(value: str, model: Path) -> None:
    result = run("compile", model.name, "--active-rows", value)
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC201] --active-rows cannot be read\n"
        f"  seen: '{value}'\n"
        "  fix:  write how many rows to drive at a time, 1 or more, or search\n",
    )
