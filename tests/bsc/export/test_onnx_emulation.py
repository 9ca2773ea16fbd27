"""onnxruntime on an exported model gives what the replay gives, bit for bit."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import bsc
from bsc.errors import DoesNotFitError, ModelError, UsageError
from bsc.export import onnx_builder
from bsc.export.onnx_emulation import emulation_model, write_emulation
from bsc.numeric.im2col import ConvGeometry
from bsc.numeric.quantizer import code_limits
from bsc.plan.document import Plan
from bsc.replay.engine import Replayer
from bsc.testing import conv_model, mlp_model, random_weights, tiny_model
from passes.assign_adc import AssignAdc
from passes.permute import Permute
from tests.bsc.plans import CNN, coded, model_plan, plan_of, slicings, with_adc

EXAMPLE = Path(__file__).parents[3] / "examples" / "mnist"
Feeds = Mapping[str, NDArray[Any]]


def emulated(model: onnx.ModelProto, feeds: Feeds, *, optimised: bool = True) -> dict[str, NDArray[Any]]:
    """By onnxruntime alone, which in no case may round codes of the model in other places."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def assert_same(plan: Plan, feeds: Feeds, model: onnx.ModelProto | None = None, *, optimised: bool = True) -> None:
    """Values, types, shapes and even the signs of zeros are those of the replay."""
    replayed = Replayer(plan.mapping).replayed(feeds)
    results = emulated(model or emulation_model(plan), feeds, optimised=optimised)
    assert list(results) == list(replayed)
    for name, expected in replayed.items():
        assert (results[name].dtype, results[name].shape) == (expected.dtype, expected.shape)
        assert results[name].tobytes() == np.ascontiguousarray(expected).tobytes(), name


def normal(*shape: int, seed: int = 9, dtype: str = "float32") -> NDArray[Any]:
    return np.asarray(3 * np.random.default_rng(seed).standard_normal(shape), dtype)


def with_converters(plan: Plan, bits: NDArray[Any], step: NDArray[Any]) -> Plan:
    """The plan with other converters; the arrays given are (2,) and larger, and repeat over all columns."""

    def arrays(layer: Any) -> Any:
        made = plan.mapping.arrays(layer)
        shape = made.adc_bits.shape
        return with_adc(made, np.resize(bits, shape), np.resize(step, shape))

    return replace(plan, mapping=replace(plan.mapping, arrays=arrays))


def corrected(plan: Plan) -> Plan:
    """The plan with whole numbers added to its results."""

    def arrays(layer: Any) -> Any:
        return replace(plan.mapping.arrays(layer), correction=np.arange(layer.mapped_columns) * 1000 - 1500)

    return replace(plan, mapping=replace(plan.mapping, arrays=arrays))


def typed(plan: Plan, dtype: str, opset: int) -> Plan:
    """The plan for a model of another element type and opset; sizes are left open."""
    record = plan.mapping.record
    tensors = {
        key: tuple(
            tensor.model_copy(update={"dtype": dtype, "shape": shape, "batch_axis": 0})
            for tensor, shape in zip(getattr(record, key), [(1, *plan_shape(plan, key))], strict=True)
        )
        for key in ("inputs", "outputs")
    }
    mapping = replace(plan.mapping, record=record.model_copy(update={**tensors, "free_batch": True}))
    return replace(with_model(plan, opsets={"": opset}), mapping=mapping)


def with_model(plan: Plan, **changed: Any) -> Plan:
    """The plan with another record of its model."""
    provenance = plan.provenance
    model = provenance.model.model_copy(update=changed)
    return replace(plan, provenance=provenance.model_copy(update={"model": model}))


def plan_shape(plan: Plan, key: str) -> tuple[int, ...]:
    layer = plan.mapping.layers[0]
    if layer.conv is None:
        return (layer.rows if key == "inputs" else layer.columns,)
    taps = int(np.prod(layer.conv.kernel))
    sizes = tuple(5 + axis for axis in range(len(layer.conv.kernel)))
    if key == "inputs":
        return (layer.groups * layer.rows // taps, *sizes)
    return (layer.columns, *sizes)


@st.composite
def geometries(draw: st.DrawFn) -> ConvGeometry | None:
    axes = draw(st.integers(0, 3))
    if axes == 0:
        return None

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    pads = tuple(zip(each(0, 2), each(0, 2), strict=True))
    return ConvGeometry(kernel=each(1, 2 if axes == 3 else 3), strides=each(1, 3), dilations=each(1, 2), pads=pads)


@st.composite
def layers(draw: st.DrawFn) -> tuple[Plan, Feeds]:
    """A plan of one layer of any format, encoding, tiling, geometry and converters, and inputs for it."""
    conv = draw(geometries())
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups, width = (draw(st.integers(1, 3)) if conv else 1), draw(st.integers(1, 4))
    channels = draw(st.integers(1, 3 if conv else 12))
    height = channels * (int(np.prod(conv.kernel)) if conv else 1)
    weight_bits = draw(st.integers(1, 15))
    input_bits, signed = draw(st.integers(2, 16)), draw(st.booleans())
    top = (1 << weight_bits) - 1
    shape = height, groups * width
    codes = random.integers(-top, top, shape, endpoint=True)
    for share, lines in ((draw(st.sampled_from([0, 0.6, 1])), shape), (0.2, (height, 1)), (0.2, (1, shape[1]))):
        codes[np.broadcast_to(random.random(lines) < share, shape)] = 0
    step = draw(st.sampled_from([None, 1.0, 0.013]))
    zero = 0
    if step is not None:
        zero = draw(st.sampled_from([0, draw(st.integers(*code_limits(input_bits, signed=signed)))]))
    dtype = draw(st.sampled_from(["float32", "float32", "float64", "float16"]))
    layer = coded(
        codes,
        weight_bits=weight_bits,
        input_bits=input_bits,
        input_signed=signed,
        input_scale=step,
        input_zero_point=zero,
        weight_scale=random.random(draw(st.sampled_from([1, shape[1]]))) * 2.0**-input_bits / top / height,
        groups=groups,
        conv=conv,
        vectors=1000,
        bias="bias" if draw(st.booleans()) else None,
    )
    active_rows = draw(st.integers(1, 9))
    plan = plan_of(
        layer,
        **draw(slicings(weight_bits, most=11)),
        rows=active_rows * draw(st.integers(1, 3)),
        active_rows=active_rows,
        cols=draw(st.integers(1, 5)),
        eliminate=draw(st.booleans()),
        adc=AssignAdc(policy="fixed", bits=16),
        arrays={"bias": random.standard_normal(shape[1]).astype(np.float32)},
    )
    plan = typed(plan, dtype, draw(st.sampled_from([11, 13, 18, 21, 25])))
    bits = random.integers(0, draw(st.sampled_from([4, 9, 16])), 50, endpoint=True)
    plan = with_converters(plan, bits, random.integers(1, draw(st.sampled_from([1, 4, 255])), 50, endpoint=True))
    plan = corrected(plan) if draw(st.booleans()) else plan
    batch = draw(st.integers(1, 3))
    scale = (step or 1) * 2.0 ** draw(st.integers(0, input_bits))
    x = random.standard_normal((batch, *plan_shape(plan, "inputs"))) * scale
    x = (np.clip(x, -60000, 60000) if dtype == "float16" else x).astype(dtype)
    return plan, {"x": x * (random.random(x.shape) < 0.9)}


@settings(deadline=None, max_examples=100)
@given(layers())
def test_any_layer_equals_the_replay(case: tuple[Plan, Feeds]) -> None:
    plan, feeds = case
    assert_same(plan, feeds)


SEQUENCE = tiny_model(
    """(float[N,6,16] tokens) => (float[N,6,6] scores) {
        [query] q = MatMul (tokens, wq)
        [key] k = MatMul (tokens, wk)
        [turn] kt = Transpose <perm = [0, 2, 1]> (k)
        [attend] s = MatMul (q, kt)
        [soft] scores = Softmax <axis = -1> (s)
    }""",
    {"wq": random_weights(16, 12), "wk": random_weights(16, 12, seed=1)},
)
POOLED = tiny_model(
    """(float[N,3,8,8] image) => (float[N,8] mean, float[N,5] scores) {
        [stem] a = Conv <pads = [1, 1, 1, 1]> (image, w0)
        [tanh] b = Tanh (a)
        [body] c = Conv <pads = [1, 1, 1, 1]> (b, w1)
        [join] d = Add (b, c)
        [scale] e = Mul (d, half)
        [pool] f = AveragePool <kernel_shape = [3, 3], strides = [2, 2]> (e)
        [mean] mean = ReduceMean <axes = [2, 3], keepdims = 0> (f)
        [half] g = Mul (mean, half)
        [head] scores = MatMul (g, w2)
    }""",
    {
        "w0": random_weights(8, 3, 3, 3),
        "w1": random_weights(8, 8, 3, 3, seed=1),
        "w2": random_weights(8, 5, seed=2),
        "half": np.array(0.3, np.float32),
    },
)
TWO_INPUTS = tiny_model(
    """(float[N,4] x, float[N,3] u) => (float[N,2] y) {
        [left] a = MatMul (x, w0)
        [right] b = MatMul (u, w1)
        y = Sub (a, b)
    }""",
    {"w0": random_weights(4, 2), "w1": random_weights(3, 2, seed=1)},
)


def small_model(body: str, weight: NDArray[Any], outputs: str = "float[] y") -> onnx.ModelProto:
    return tiny_model(f"(float[N,4] x) => ({outputs}) {{ {body} }}", {"w": weight, "b": random_weights(3, seed=1)})


NO_DIGITAL = small_model("[fc] y = MatMul (x, w)", random_weights(4, 3))
MODELS: dict[str, tuple[onnx.ModelProto, Feeds]] = {
    "mlp": (mlp_model(20, 9, 5, 3), {"x": normal(5, 20)}),
    "fixed batch": (mlp_model(20, 9, 3, batch=5, opset=25), {"x": normal(5, 20)}),
    "cnn": (CNN, {"image": normal(5, 3, 8, 8)}),
    "pooled": (POOLED, {"image": normal(5, 3, 8, 8)}),
    "conv1d": (
        conv_model(channels=4, spatial=(9,), kernel=(3,), groups=2, attributes=["dilations = [2]"]),
        {"x": normal(5, 4, 9)},
    ),
    "sequence": (SEQUENCE, {"tokens": normal(5, 6, 16)}),
    "two inputs": (TWO_INPUTS, {"x": normal(5, 4), "u": normal(5, 3)}),
    "codes of the model": (
        tiny_model(
            """(float[N,3,6,6] image) => (float[] y) {
                q = QuantizeLinear(image, s, z)
                d = DequantizeLinear(q, s, z)
                k = DequantizeLinear <axis = 0> (w, ws)
                y = Conv <pads = [1, 0, 1, 1]> (d, k)
            }""",
            {
                "s": np.array(0.02, np.float32),
                "z": np.array(77, np.uint8),
                "w": np.random.default_rng(0).integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
                "ws": np.array([0.1, 0.2, 0.3, 0.1], np.float32),
            },
        ),
        {"image": normal(5, 3, 6, 6)},
    ),
    "shared crossbars": (
        small_model("h = MatMul (x, w)  t = Tanh (h)  y = MatMul (t, w)", random_weights(4, 4)),
        {"x": normal(5, 4)},
    ),
    "no digital operator": (NO_DIGITAL, {"x": normal(5, 4)}),
    "two outputs": (
        small_model("[fc] h = MatMul (x, w)  y = Relu (h)", random_weights(4, 3), "float[] h, float[] y"),
        {"x": normal(5, 4)},
    ),
    "weights of zero": (small_model("[fc] y = Gemm (x, w, b)", np.zeros((4, 3), np.float32)), {"x": normal(5, 4)}),
}


@pytest.mark.parametrize("policy", ["lossless", "fixed=3", "steps"])
@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize(("model", "feeds"), MODELS.values(), ids=MODELS)
def test_whole_models_equal_the_replay(
    model: onnx.ModelProto, feeds: Feeds, policy: str, tmp_path: Path, *, calibrated: bool
) -> None:
    plan = model_plan(
        model, tmp_path, policy="fixed=4" if policy == "steps" else policy, calibration=feeds if calibrated else None
    )
    if policy == "steps":
        plan = with_converters(plan, np.array([4, 3, 16, 0, 2]), np.array([3, 1, 2, 5, 4, 255, 1]))
    exported = emulation_model(plan)
    onnx.checker.check_model(exported, full_check=True)
    assert_same(plan, feeds, exported)
    if plan.document.free_batch:
        assert_same(plan, {name: values[:1] for name, values in feeds.items()}, exported)


@pytest.mark.parametrize("policy", ["lossless", "fixed=3"])
def test_the_example_equals_the_replay(policy: str, tmp_path: Path) -> None:
    with np.load(EXAMPLE / "test_images.npz") as data:
        images = data["image"][:300].astype(np.float32)
    model = onnx.load(EXAMPLE / "model.onnx")
    name = model.graph.input[0].name
    plan = model_plan(model, tmp_path, rows=128, cols=128, policy=policy, calibration={name: images})
    assert_same(plan, {name: images})


def test_digital_operators_add_in_the_order_of_the_replay(tmp_path: Path) -> None:
    """onnxruntime would move the axes of this sum to where the crossbars' results come from."""
    body = "[conv] h = Conv <pads = [1, 1, 1, 1]> (x, w)  y = ReduceL2 <axes = [1, 2]> (h)"
    model = tiny_model(f"(float[N,3,9,9] x) => (float[N,1,1,9] y) {{ {body} }}", {"w": random_weights(16, 3, 3, 3)})
    assert_same(model_plan(model, tmp_path), {"x": normal(7, 3, 9, 9)})


@pytest.mark.parametrize("outputs", ["float[] h, float[] y", "float[] s, float[] y"])
def test_what_else_reads_a_transposed_tensor_is_not_rounded(outputs: str, tmp_path: Path) -> None:
    """onnxruntime would turn Transpose and QuantizeLinear around, and round all that reads `h`."""
    body = """g = Conv <pads = [1, 1, 1, 1]> (x, w)  h = Conv <pads = [1, 1, 1, 1]> (g, w)  s = Neg(h)
        t = Transpose <perm = [0, 2, 3, 1]> (h)  q = QuantizeLinear(t, scale, zero)
        i = MatMulInteger(q, k, zero)  f = Cast <to = 1> (i)  m = Transpose <perm = [0, 3, 1, 2]> (f)
        y = Conv <pads = [1, 1, 1, 1]> (m, w)"""
    weights = {
        "w": random_weights(1, 1, 3, 3),
        "k": np.array([[32]], np.int8),
        "scale": np.array(0.05, np.float32),
        "zero": np.array(100, np.uint8),
    }
    plan = model_plan(tiny_model(f"(float[1,1,1,1] x) => ({outputs}) {{ {body} }}", weights), tmp_path)
    assert_same(plan, {"x": normal(1, 1, 1, 1)})


@pytest.mark.parametrize("adc", [AssignAdc(), AssignAdc(policy="fixed", bits=2)])
def test_a_permuted_layer_equals_the_replay(adc: AssignAdc) -> None:
    codes = np.random.default_rng(0).integers(-255, 256, (20, 9)) * (np.arange(9) != 4)
    plan = plan_of(coded(codes, bias="b"), rows=8, cols=4, permute=Permute(), adc=adc, arrays={"b": np.arange(9.0)})
    kept = plan.mapping.arrays(plan.mapping.layers[0]).kept_columns
    assert kept is not None
    assert (len(kept), bool((np.diff(kept) > 0).all())) == (8, False)
    assert_same(plan, {"x": 9 * np.abs(normal(3, 20))})


def test_crossbars_by_hand() -> None:
    """Cells 3 and 2 under 3 = 11 and 1 = 01: sums 5 and 3, which a 2-bit ADC of step 2 reads as 4 and 4."""
    plan = plan_of(coded([[3], [2]], weight_bits=2, input_bits=2), adc=AssignAdc(policy="fixed", bits=2))
    feeds = {"x": np.array([[3, 1]], np.float32)}
    assert emulated(emulation_model(plan), feeds)["y"].tolist() == [[3 * 1 + 3 * 2]]
    coarse = with_converters(plan, np.array([2]), np.array([2]))
    assert emulated(emulation_model(coarse), feeds)["y"].tolist() == [[4 * 1 + 4 * 2]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [128, 130])
def test_sums_on_both_sides_of_what_single_precision_divides(rows: int, dtype: str) -> None:
    """128 cells of 255 under digits of 255 add up to 8323200, below 2**23 = 8388608; 130 add up to 8453250."""
    matrix = np.full((rows, 4), 255)
    fixed = AssignAdc(policy="fixed", bits=16)
    plan = typed(plan_of(coded(matrix), bits_per_cell=8, dac_bits=8, rows=rows, adc=fixed), dtype, 17)
    plan = with_converters(plan, np.array([16]), np.array([254, 2, 1, 255, 6]))
    x = np.random.default_rng(0).integers(250, 256, (64, rows)).astype(dtype)
    exported = emulation_model(plan)
    assert_same(plan, {"x": x}, exported)
    sums = next(node for node in exported.graph.node if node.op_type == "Cast" and node.name.endswith("/levels"))
    wide = helper.np_dtype_to_tensor_dtype(np.dtype("float32" if rows == 128 else "float64"))
    assert helper.get_attribute_value(sums.attribute[0]) == wide


def test_steps_of_vectors_are_exact_powers_of_two() -> None:
    """Around every power of two, above, below and on it, and below the smallest maximum."""
    plan = typed(plan_of(coded([[3]], weight_scale=[2.0**-8], input_signed=True, input_scale=None)), "float64", 17)
    powers = 2.0 ** np.arange(-20, 1000, 7)
    x = np.concatenate([powers, np.nextafter(powers, 0), np.nextafter(powers, np.inf), [0, 1e-5, -1e-5]])
    assert_same(plan, {"x": x[:, None]})
    single = typed(plan, "float32", 17)
    powers = np.ldexp(np.float32(1), np.arange(-20, 128)).astype(np.float32)
    around = (powers, np.nextafter(powers, np.float32(0)), np.nextafter(powers, np.float32(np.inf)))
    assert_same(single, {"x": np.concatenate(around)[:, None]})


def test_half_precision_is_rounded_once() -> None:
    """Just above the middle of 1 and the next half: by way of float32 it would become the middle, and then 1."""
    step = (1 + 2.0**-11 + 2.0**-40) / 3
    plan = typed(plan_of(coded([[3]], weight_scale=[step])), "float16", 17)
    x = np.array([[1]], np.float16)
    assert emulated(emulation_model(plan), {"x": x})["y"].item() == np.float16(1 + 2**-10)
    assert_same(plan, {"x": np.arange(200, dtype=np.float16)[:, None]})


@pytest.mark.parametrize("kind", ["cells", "adc-top", "adc-lsb", "bias", "worth", "exact-step", "weight-scale"])
def test_a_changed_constant_is_found(kind: str, tmp_path: Path) -> None:
    """One level less in one cell, one code less in one converter, and so on: the outputs differ."""
    feeds = {"x": normal(20, 20)}
    policy = "lossless" if kind == "cells" else "fixed=3"
    plan = model_plan(mlp_model(20, 9), tmp_path, policy=policy, calibration=feeds)
    exported = emulation_model(plan)
    tensor = next(each for each in exported.graph.initializer if each.name.endswith(f"/{kind}"))
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[values.reshape(-1).argmax()] -= 1 if values.dtype == np.uint8 else values.max() / 7
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert (emulated(exported, feeds)["y"] != Replayer(plan.mapping).replayed(feeds)["y"]).any()


def test_columns_of_zeros_are_left_out_and_no_others() -> None:
    """Slice 3 and the negative polarity hold nothing; a column of zeros beside others is converted."""
    plan = plan_of(coded([[63, 0], [1, 0]]))
    constants = {each.name: numpy_helper.to_array(each) for each in emulation_model(plan).graph.initializer}
    assert constants["fc/rows0-1/cells"].tolist() == [[[3, 0, 3, 0, 3, 0], [1, 0, 0, 0, 0, 0]]]


def test_names_that_the_model_has_are_left_to_it(tmp_path: Path) -> None:
    body = "[in] codes = Relu (x)  [fc] step = MatMul (codes, w)  [out] y = Relu (step)"
    model = small_model(body, random_weights(4, 3))
    for node in model.graph.node:
        for names in (node.input, node.output):
            renamed = [f"fc/{name}" if name in ("codes", "step") else name for name in names]
            del names[:]
            names.extend(renamed)
    plan = model_plan(model, tmp_path)
    exported = emulation_model(plan)
    onnx.checker.check_model(exported, full_check=True)
    assert_same(plan, {"x": normal(3, 4)}, exported)


def test_what_the_model_says_of_itself(tmp_path: Path) -> None:
    plan = model_plan(CNN, tmp_path)
    exported = emulation_model(plan)
    assert {entry.key: entry.value for entry in exported.metadata_props} == {
        "bsc_version": bsc.__version__,
        "model": "model.onnx",
        "model_sha256": plan.document.model.sha256,
        "pipeline": plan.document.pipeline,
    }
    assert {(entry.domain, entry.version) for entry in exported.opset_import} == {("", 17)}
    assert {node.domain for node in exported.graph.node} == {""}
    (image,) = exported.graph.input
    assert [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim] == ["N", 3, 8, 8]


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        write_emulation(model_plan(CNN, tmp_path), tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def test_words_for_a_plan_that_is_too_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onnx_builder, "MAX_MODEL_BYTES", 1000)
    with pytest.raises(DoesNotFitError) as caught:
        write_emulation(plan_of(coded([[1] * 300])), tmp_path / "a.onnx")
    assert str(caught.value) == (
        "[BSC402] the plan is too large for one ONNX file\n"
        "  seen: more than 1000 bytes of cell levels, other constants and operators\n"
        "  fix:  export a part of the model; --to cells has no such limit, and 'bsc verify' replays any plan"
    )
    assert list(tmp_path.iterdir()) == []


def test_words_for_segments_that_contradict_the_plan(tmp_path: Path) -> None:
    plan = model_plan(CNN, tmp_path)
    with pytest.raises(ModelError) as caught:
        emulation_model(with_model(plan, opsets={"": 18}))
    assert str(caught.value) == (
        "[BSC307] operator sets of 'digital/0000.onnx' contradict the plan\n"
        "  seen: version 17 of domain '', elsewhere 18\n"
        "  fix:  compile the model again"
    )
    nothing = plan.mapping.record.model_copy(update={"steps": (), "layers": (), "outputs": plan.mapping.inputs})
    none = replace(with_model(plan, opsets={}), mapping=replace(plan.mapping, record=nothing))
    with pytest.raises(ModelError) as caught:
        emulation_model(none)
    assert caught.value.seen == "none of the standard domain"


def test_only_an_export_is_replaced(tmp_path: Path) -> None:
    plan = plan_of(coded([[1, -2]]))
    path = tmp_path / "a.onnx"
    path.write_bytes(NO_DIGITAL.SerializeToString())
    with pytest.raises(UsageError) as caught:
        write_emulation(plan, path, force=True)
    assert str(caught.value) == (
        f"[BSC203] output '{path}' exists already\n"
        "  seen: something that is not an exported model, which is never replaced\n"
        "  fix:  choose another --output"
    )
    path.unlink()
    write_emulation(plan, path)
    write_emulation(plan, path, force=True)
    with pytest.raises(UsageError) as caught:
        write_emulation(plan, path)
    assert caught.value.seen == "an exported model"


def test_an_output_that_is_a_sequence(tmp_path: Path) -> None:
    text = "(float[N,4] x) => (seq(float[]) y) { h = MatMul(x, w)  y = SplitToSequence <axis = 1> (h, two) }"
    plan = model_plan(tiny_model(text, {"w": random_weights(4, 4), "two": np.array(2)}), tmp_path)
    feeds = {"x": normal(3, 4)}
    (replayed,), (result,) = (
        each.values() for each in (Replayer(plan.mapping).replayed(feeds), emulated(emulation_model(plan), feeds))
    )
    assert [part.tobytes() for part in result] == [np.ascontiguousarray(part).tobytes() for part in replayed]
    assert [part.shape for part in result] == [(3, 2), (3, 2)]
