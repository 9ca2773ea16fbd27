from typing import Any

import pytest
from pydantic import ValidationError

from bsc.errors import UsageError
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import LayerStep
from bsc.plan.document import PlanDocument
from tests.bsc.plans import coded, plan_of

PLAN = plan_of(coded([[1, 2]], name="first", output="h"), coded([[3], [4]], name="second", input="h"), rows=1, cols=1)
UNKNOWN = {"shape": None, "dtype": "float32", "batch_axis": None, "values": None}
FIRST, SECOND = PLAN.mapping.layers


def test_sizes_that_follow_by_hand() -> None:
    assert (SECOND.slices, SECOND.row_tiles, SECOND.max_digit, SECOND.column_tiles()) == (4, 2, 1, (1, (0,)))
    wider = SECOND.model_copy(update={"slice_bits": (3, 3, 2), "dac_bits": 2, "tile_rows": 2})
    assert (wider.slices, wider.row_tiles, wider.max_digit) == (3, 1, 3)


def test_steps_are_the_program() -> None:
    assert PLAN.mapping.program() == (
        LayerStep(layer="first", inputs=("x",), outputs=("h",)),
        LayerStep(layer="second", inputs=("h",), outputs=("y",)),
    )


@pytest.mark.parametrize(("name", "fix"), [("secnd", "did you mean 'second'?"), ("zzz", "use one of these names")])
def test_words_for_an_unknown_layer(name: str, fix: str) -> None:
    assert PLAN.mapping.layer("second") is SECOND
    with pytest.raises(UsageError) as caught:
        PLAN.mapping.layer(name)
    assert str(caught.value) == (
        f"[BSC201] the plan has no layer '{name}'\n  seen: layers first, second\n  fix:  {fix}"
    )


LIMITS = {
    "rows": (1, 1 << 30),
    "columns": (1, 1 << 22),
    "weight_bits": (1, 15),
    "input_bits": (2, 16),
    "dac_bits": (1, 8),
    "tile_rows": (1, 1 << 14),
    "tile_cols": (1, 1 << 14),
    "mapped_rows": (1, 1),
    "mapped_columns": (1, 2),
}


@pytest.mark.parametrize(("field", "limits"), LIMITS.items())
def test_both_sides_of_every_limit(field: str, limits: tuple[int, int]) -> None:
    def checked(value: int) -> MappedLayer:
        small = {"mapped_rows": 0, "mapped_columns": 0} if field in ("rows", "columns") else {}
        cut = {"slice_bits": (8, value - 8) if value > 8 else (value,)} if field == "weight_bits" else {}
        return MappedLayer.model_validate(dict(FIRST) | small | cut | {field: value})

    for value in limits:
        assert getattr(checked(value), field) == value
    for value in (limits[0] - 1, limits[1] + 1):
        with pytest.raises(ValidationError):
            checked(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 3}, "rows, columns and groups do not fit together"),
        ({"mapped_rows": 0}, "a layer without rows has no columns either"),
        ({"groups": 2, "mapped_columns": 1}, "a grouped layer keeps all its rows and columns"),
        ({"vectors": 1 << 53}, "rows, columns and vectors are too many to count"),
        ({"input_scale": 0.0}, "Input should be greater than or equal to"),
        ({"input_scale": float("inf")}, "Input should be less than or equal to 12676"),
        (
            {"conv": {"kernel": (2,), "strides": (1, 1), "dilations": (1,), "pads": ((0, 0),)}},
            "kernel, strides, dilations and pads need one entry each per axis",
        ),
    ],
)
def test_layers_that_contradict_themselves(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MappedLayer.model_validate(dict(FIRST) | change)


STEPS = [step.model_dump() for step in PLAN.document.steps]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (FIRST, FIRST)}, "layers and steps do not name the same layers"),
        ({"layers": (FIRST,)}, "layers and steps do not name the same layers"),
        ({"steps": (STEPS[1], STEPS[0])}, "a step reads a tensor before any step has written it"),
        ({"outputs": (UNKNOWN | {"name": "z"},)}, "no step writes an output of the model"),
        ({"outputs": ()}, "at least 1 item"),
        (
            {"inputs": (UNKNOWN | {"name": "x", "shape": (1, 2), "batch_axis": 2},)},
            "the batch axis is none of the tensor's",
        ),
        ({"steps": (STEPS[0] | {"layer": None}, STEPS[1])}, "either a layer or a file of digital operators"),
        ({"steps": (STEPS[0] | {"digital": "digital/0000.onnx"}, STEPS[1])}, "either a layer or a file"),
        ({"steps": (STEPS[0] | {"outputs": ("h", "k")}, STEPS[1])}, "a layer reads one tensor and writes one"),
    ],
)
def test_documents_that_contradict_themselves(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PlanDocument.model_validate(dict(PLAN.document) | change)
