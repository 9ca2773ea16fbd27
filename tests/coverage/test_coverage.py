"""The cheap cases of `tests.coverage.run`; it runs all of them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.coverage.cases import Case, exported, light_cases, quantised, stored_cases
from tests.coverage.inputs import input_cases
from tests.coverage.outcome import Outcome, outcome
from tests.coverage.weights import normalised_cases, scikit_cases, weight_cases

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporters

PRODUCTS_OF_ACTIVATIONS = ("MatMul: both operands are activations", "QLinearMatMul: both operands are activations")
TORCH: Mapping[str, Callable[[], Case]] = {
    "u-net, script": lambda: exported("u-net", opset=11, dynamo=False),
    "gru tagger, script": lambda: exported("gru tagger", opset=17, dynamo=False),
    "vit, QDQ": lambda: quantised(exported("vit", opset=17, dynamo=False), "QDQ per channel"),
    "mobilenet, QOperator": lambda: quantised(exported("mobilenet", opset=13, dynamo=False), "QOperator"),
    "gpt-2, dynamic": lambda: quantised(exported("gpt-2", opset=17, dynamo=False), "dynamic"),
    "lstm tagger, dynamic": lambda: quantised(exported("lstm tagger", opset=13, dynamo=False), "dynamic"),
}


def assert_exact(found: Outcome, tolerance: float) -> None:
    """Compiled, replayed exactly, near the expected outputs, and no product with weights is left."""
    assert (found.status, found.why) == ("exact", "")
    assert found.difference is not None
    assert found.difference <= tolerance
    assert set(found.left) <= set(PRODUCTS_OF_ACTIVATIONS)


@pytest.mark.parametrize("name", TORCH)
def test_exported_networks(name: str) -> None:
    pytest.importorskip("torch")
    assert_exact(outcome(TORCH[name]()), 0.05)


LEFT_IN_INPUTS = {*PRODUCTS_OF_ACTIVATIONS, "MatMul: the number of axes of its input is unknown"}


@pytest.mark.parametrize("case", list(input_cases()), ids=lambda case: case.name)
def test_inputs_of_all_kinds(case: Case) -> None:
    found = outcome(case)
    assert (found.status, found.why) == ("exact", "")
    assert found.layers > 0
    assert found.difference is not None
    assert found.difference < 0.05
    assert set(found.left) <= LEFT_IN_INPUTS


@pytest.mark.parametrize("case", [*weight_cases(), *scikit_cases()], ids=lambda case: case.name)
def test_weights_of_all_kinds(case: Case) -> None:
    assert_exact(outcome(case), 0.08)


def test_parametrised_weights_of_pytorch() -> None:
    pytest.importorskip("torch")
    for case in normalised_cases():
        assert_exact(outcome(case), 0.05)


@pytest.mark.parametrize("name", ["squeezenet"])
def test_networks_of_full_size(name: str) -> None:
    (case,) = light_cases([name])
    assert_exact(outcome(case), 0.05)


def test_models_that_the_onnx_package_stores() -> None:
    """Everything but products of activations goes onto crossbars."""
    found = {case.name: outcome(case) for case in stored_cases()}
    digital = {"pytorch-operator test_operator_addmm", "pytorch-operator test_operator_mm"}
    assert {name for name, each in found.items() if each.status == "digital only"} == digital
    for name in found.keys() - digital:
        assert_exact(found[name], 0.05)


def test_the_recorded_table_is_that_of_the_recorded_outcomes() -> None:
    """README.md beside this file holds what `results.json` adds up to, and nothing in it is broken."""
    import json

    from tests.coverage.run import table

    here = Path(__file__).parent
    recorded = json.loads((here / "results.json").read_text(encoding="utf-8"))
    found = {
        group: [Outcome(**each | {"left": tuple(each["left"])}) for each in cases] for group, cases in recorded.items()
    }
    assert not [each.name for outcomes in found.values() for each in outcomes if each.status == "broken"]
    written = re.search(r"\| group \| cases.*?\n\n", (here / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert written is not None
    assert written[0].strip() == table(found)
