from pathlib import Path

import numpy as np
import pytest

from bsc.errors import ModelError
from bsc.ir.mapped import mapping_of
from bsc.ir.passbase import Pass
from bsc.mapping.model import TensorRecord
from bsc.plan.document import CalibrationRecord, ImportRecord, ModelRecord
from bsc.plan.planner import make_plan
from bsc.replay.calibrate import calibrate
from bsc.replay.dataset import random_dataset
from bsc.testing import conv_model, imported, mlp_model
from passes.assign_adc import AssignAdc
from passes.quantize import Quantize
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import CNN, ISAAC, model_plan, only_layer
from tests.passes.layers import FC_WEIGHT, compiled, fc, network

PASSES: tuple[Pass, ...] = (Quantize(), SliceBits(), Tile(), AssignAdc())


def test_what_a_plan_records_of_its_model(tmp_path: Path) -> None:
    document = model_plan(CNN, tmp_path).document
    assert document.inputs == (
        TensorRecord(name="image", shape=(1, 3, 8, 8), dtype="float32", batch_axis=0, values=None),
    )
    assert document.outputs == (TensorRecord(name="scores", shape=(1, 5), dtype="float32", batch_axis=0, values=None),)
    assert document.model == ModelRecord(
        file="model.onnx",
        sha256=document.model.sha256,
        opsets={"": 17},
        constants=(),
        check=ImportRecord(inputs="made-up", samples=2, reason=""),
        notes=(),
    )
    assert (document.target, document.calibration) == ("isaac", None)
    steps = [
        f"{step.layer or step.digital}: {' '.join(step.inputs)} -> {' '.join(step.outputs)}" for step in document.steps
    ]
    assert steps == [
        "stem: image -> b",
        "digital/0000.onnx: b -> c",
        "depthwise: c -> d",
        "digital/0001.onnx: c d -> g",
        "head: g -> scores",
    ]
    assert [document.layer_file(layer.name) for layer in document.layers] == [
        f"layers/{index:04}.safetensors" for index in range(3)
    ]
    head = document.layers[2]
    assert (head.rows, head.mapped_rows, head.columns, head.mapped_columns) == (16, 13, 5, 4)


def test_calibration_data_is_named(tmp_path: Path) -> None:
    graph = imported(mlp_model(4, 3), tmp_path)
    data = random_dataset([graph.tensors["x"]], dynamic_batch=True, samples=5, seed=0)
    record = CalibrationRecord(sha256="0" * 64, samples=data.samples)
    plan = make_plan(compiled(calibrate(graph, data), *PASSES), ISAAC, "text", record)
    layer, _ = only_layer(plan.mapping)
    assert plan.document.calibration == record
    assert plan.document.pipeline == "text"
    assert layer.input_scale == 2 ** (np.ceil(np.log2(np.abs(data.inputs["x"]).max())) - 7)


def test_a_bias_is_flat() -> None:
    arrays = {FC_WEIGHT: np.array([[1.0, 2.0]], np.float32), "b": np.array([[3.0, 4.0]], np.float32)}
    _, made = only_layer(mapping_of(compiled(network(fc(1, 2, bias="b"), arrays=arrays), *PASSES)))
    assert made.bias is not None
    assert made.bias.tolist() == [3, 4]


@pytest.mark.parametrize("done", range(4))
def test_words_for_a_layer_that_a_pass_left_out(done: int, tmp_path: Path) -> None:
    graph = compiled(imported(mlp_model(4, 3), tmp_path), *PASSES[:done])
    with pytest.raises(ModelError) as caught:
        make_plan(graph, ISAAC, "", None)
    missing = PASSES[done].name
    assert str(caught.value) == (
        f"[BSC309] layer 'fc0': pass 'plan' needs what '{missing}' computes\n"
        f"  seen: no result of '{missing}' in the graph\n"
        f"  fix:  put '{missing}' before 'plan' in --passes"
    )


@pytest.mark.parametrize("pad", [1 << 16, (1 << 16) + 1])
def test_words_for_a_layer_beyond_what_a_plan_can_hold(pad: int, tmp_path: Path) -> None:
    model = conv_model(spatial=[8], kernel=[3], attributes=[f"pads = [0, {pad}]"])
    if pad == 1 << 16:
        assert model_plan(model, tmp_path).mapping.layers[0].vectors == 8 + pad - 2
        return
    with pytest.raises(ModelError) as caught:
        model_plan(model, tmp_path)
    assert str(caught.value) == (
        "[BSC305] layer 'conv' (Conv): its sizes are beyond what a plan can hold\n"
        "  seen: pads.0.1 65537: Input should be less than or equal to 65536\n"
        "  fix:  check the layer's attributes and the --input-shape given"
    )
