"""The cheap cases of `tests.coverage.run`; it runs all of them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.coverage.cases import Case, exported, light_cases, node_cases, quantised, stored_cases
from tests.coverage.outcome import Outcome, outcome

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


@pytest.mark.parametrize("name", ["squeezenet"])
def test_networks_of_full_size(name: str) -> None:
    (case,) = light_cases([name])
    assert_exact(outcome(case), 0.05)


def test_cases_of_the_onnx_package() -> None:
    """Everything but what has no constant weights goes onto crossbars."""
    found = [outcome(case) for case in (*node_cases(), *stored_cases())]
    broken = [(each.name, each.why) for each in found if each.status == "broken" or (each.difference or 0) > 0.1]
    assert not broken
    digital = {each.name for each in found if each.status != "exact"}
    assert digital == DIGITAL


# Products of activations, sums without a product, stacks that are broadcast on both sides, and bfloat16 before a
# product, which onnxruntime does not run.
DIGITAL = {
    "node test_einsum_transpose",
    "node test_einsum_sum",
    "node test_einsum_batch_diagonal",
    "node test_einsum_batch_matmul_bfloat16",
    "node test_einsum_batch_matmul_bfloat16, constant left",
    "node test_einsum_sum_bfloat16",
    "node test_einsum_transpose_bfloat16",
    "node test_einsum_scalar",
    "node test_matmul_bcast",
    "node test_matmul_bcast, constant left",
    "pytorch-operator test_operator_addmm",
    "pytorch-operator test_operator_mm",
}


def test_the_recorded_table_is_that_of_the_recorded_outcomes() -> None:
    """README.md beside this file holds what `results.json` adds up to."""
    import json

    from tests.coverage.run import table

    here = Path(__file__).parent
    recorded = json.loads((here / "results.json").read_text(encoding="utf-8"))
    found = {
        group: [Outcome(**each | {"left": tuple(each["left"])}) for each in cases] for group, cases in recorded.items()
    }
    written = re.search(r"\| group \| cases.*?\n\n", (here / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert written is not None
    assert written[0].strip() == table(found)
