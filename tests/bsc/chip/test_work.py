"""Digital work: by hand, as a law over every operator of ONNX, and against products that are counted elsewhere."""

import math
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from bsc.chip.dataflow import dataflow_of
from bsc.chip.windows import _RULES as WINDOWS
from bsc.chip.work import MOVES, NOTHING, RULES, UNCOUNTED, Operator, Work, layer_work, work_of
from bsc.ir.macs import PRODUCTS
from tests.bsc.chip.networks import attention, chain, residual
from tests.bsc.plans import model_plan

OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})


def operator(
    op_type: str,
    *inputs: Any,
    out: tuple[int, ...] | None,
    constants: tuple[int, ...] = (),
    domain: str = "",
    opset: int = 20,
    **attributes: Any,
) -> Operator:
    """An operator with inputs of these shapes."""
    names = [f"i{at}" for at in range(len(inputs))]
    return Operator(
        node=helper.make_node(op_type, names, ["o"], domain=domain, **attributes),
        inputs=inputs,
        outputs=(out,),
        constants={at: np.zeros(1) for at in constants},
        opset=opset,
    )


@pytest.mark.parametrize("name", OPERATORS)
def test_no_operator_is_uncounted_without_a_reason(name: str) -> None:
    """Every operator of ONNX is counted, moves values alone, or says why it cannot be counted."""
    kinds = [name in RULES, name in MOVES, name in UNCOUNTED]
    assert kinds.count(True) == 1, name
    assert name not in UNCOUNTED or len(UNCOUNTED[name]) > 10


def test_whatever_is_streamed_or_multiplies_is_counted() -> None:
    known = {*RULES, *MOVES, *UNCOUNTED}
    assert set(WINDOWS) <= known
    assert {*PRODUCTS[""], *PRODUCTS["com.microsoft"]} <= known


@pytest.mark.parametrize(
    ("found", "work"),
    [
        (operator("Relu", (2, 3), out=(2, 3)), Work(interpolations=6)),
        (operator("Add", (2, 3), (3,), out=(2, 3)), Work(additions=6)),
        (operator("Sum", (4,), (4,), (4,), out=(4,)), Work(additions=8)),
        (operator("Mul", (2, 3), (2, 3), out=(2, 3)), Work(products=6)),
        (operator("Mul", (2, 3), (3,), out=(2, 3), constants=(1,)), Work(interpolations=6)),
        (operator("Div", (2, 3), (2, 1), out=(2, 3)), Work(products=6, interpolations=2)),
        (operator("Div", (2, 3), (1,), out=(2, 3), constants=(1,)), Work(interpolations=6)),
        (operator("Pow", (5,), (1,), out=(5,), constants=(1,)), Work(interpolations=5)),
        (operator("MaxPool", (1, 2, 4, 4), out=(1, 2, 2, 2), kernel_shape=[2, 2]), Work(comparisons=8 * 3)),
        (
            operator("AveragePool", (1, 2, 4, 4), out=(1, 2, 2, 2), kernel_shape=[2, 2]),
            Work(additions=8 * 3, interpolations=8),
        ),
        (operator("GlobalAveragePool", (1, 3, 7, 7), out=(1, 3, 1, 1)), Work(additions=3 * 48, interpolations=3)),
        (operator("ReduceMax", (4, 5), out=(4, 1)), Work(comparisons=16)),
        # Two rows of four: maxima, differences and sums, exponentials and two inverses, quotients.
        (
            operator("Softmax", (2, 4), out=(2, 4)),
            Work(products=8, additions=8 + 6, comparisons=6, interpolations=8 + 2),
        ),
        (
            operator("Softmax", (2, 3, 4), out=(2, 3, 4), opset=11, axis=1),
            Work(products=24, additions=24 + 22, comparisons=22, interpolations=24 + 2),
        ),
        (operator("MatMul", (2, 6, 4), (2, 4, 6), out=(2, 6, 6)), Work(products=288, additions=288)),
        (
            operator("LayerNormalization", (2, 5), (5,), out=(2, 5), constants=(1,)),
            Work(products=20, additions=30, interpolations=10 + 2 * 2),
        ),
        (
            operator("BatchNormalization", (1, 2, 3), (2,), (2,), (2,), (2,), out=(1, 2, 3), constants=(1, 2, 3, 4)),
            Work(interpolations=6),
        ),
        (operator("Resize", (1, 1, 2, 2), out=(1, 1, 4, 4), mode="nearest"), NOTHING),
        (
            operator("Resize", (1, 1, 2, 2), out=(1, 1, 4, 4), mode="linear"),
            Work(additions=16 * 3, interpolations=16 * 4),
        ),
        (operator("TopK", (3, 8), (1,), out=(3, 2)), Work(comparisons=3 * 8 * 3)),
        (operator("Concat", (3, 8), (3, 2), out=(3, 10), axis=1), NOTHING),
        (operator("FastGelu", (7,), out=(7,), domain="com.microsoft"), Work(interpolations=7)),
        (operator("Where", (4,), (4,), (4,), out=(4,)), Work(comparisons=4)),
    ],
)
def test_by_hand(found: Operator, work: Work) -> None:
    assert work_of(found).work == work


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (operator("NonMaxSuppression", (1, 2, 4), (1, 1, 2), out=None), "how much it computes depends on values"),
        (operator("Relu", None, out=None), "its shapes are not known before a run"),
        (operator("Sigmund", (2,), out=(2,)), "no rule counts its work"),
        (operator("Relu", (2,), out=(2,), domain="mine"), "no rule counts its work"),
        (operator("MaxPool", (1, 1, 2), out=(1, 1, 1), kernel_shape="two"), "it is not as ONNX says"),
    ],
)
def test_what_is_not_counted_says_why(found: Operator, reason: str) -> None:
    counted = work_of(found)
    assert (counted.work, counted.reason) == (None, reason)


def test_around_a_layer() -> None:
    assert layer_work(columns=3, rows=5, vectors=7, dynamic=False) == Work(interpolations=21)
    # The largest of five inputs of each vector, and a scale of each.
    assert layer_work(columns=3, rows=5, vectors=7, dynamic=True) == Work(comparisons=35, interpolations=21 + 35)


@pytest.mark.parametrize(("model", "missing"), [(chain, []), (residual, []), (attention, [])])
def test_every_operator_of_a_plan_is_counted(model: Any, missing: list[str], tmp_path: Any) -> None:
    plan = model_plan(model(), tmp_path)
    flow = dataflow_of(plan.mapping)
    operators = [
        name for step in plan.mapping.record.steps for name, times in step.operators.items() for _ in range(times)
    ]
    constants = operators.count("Constant")
    assert len(flow.work) == len(operators) - constants
    assert [each.op_type for each in flow.work if each.work is None] == missing


def test_the_products_of_attention(tmp_path: Any) -> None:
    """Six tokens of four values: scores, and their products with values."""
    flow = dataflow_of(model_plan(attention(), tmp_path).mapping)
    products = sum(each.work.products for each in flow.work if each.op_type == "MatMul" and each.work)
    assert products == 2 * math.prod((6, 6, 4))
