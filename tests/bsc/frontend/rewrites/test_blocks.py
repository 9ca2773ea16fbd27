from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bsc.ir.graph import DigitalOp
from bsc.testing import assert_same_as_onnxruntime, imported, random_weights, save, tiny_model


def model(head: str, rows: int, block: int, *, zero: bool = False, left: bool = False) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    blocks = -(-rows // block)
    constants: dict[str, NDArray[Any]] = {
        "w": rng.integers(0, 255, (rows, 5)).astype(np.uint8 if zero else np.int8),
        "s": rng.uniform(0.01, 0.03, (blocks, 5)).astype(np.float32),
        "z": rng.integers(0, 255, (blocks, 5)).astype(np.uint8),
    }
    reads = "w, s, z" if zero else "w, s"
    product = "t = Transpose(k) y = MatMul(t, x)" if left else "y = MatMul(x, k)"
    used = constants if zero else {name: constants[name] for name in "ws"}
    body = f"k = DequantizeLinear <axis = 0, block_size = {block}> ({reads}) {product}"
    return tiny_model(f"(float[{head}] x) => (float[] y) {{ {body} }}", used, opset=21)


CASES = {
    "matrix": model("N,12", 12, 4),
    "the last block is shorter": model("N,10", 10, 4),
    "zero points": model("N,12", 12, 4, zero=True),
    "three axes": model("N,3,12", 12, 4),
    "four axes": model("N,2,3,12", 12, 6, zero=True),
    "a vector": model("12", 12, 4),
    "constant left": model("N,12,3", 12, 4, left=True),
}


@pytest.mark.parametrize("case", CASES)
def test_blocks_are_groups(case: str, tmp_path: Path) -> None:
    graph = imported(CASES[case], tmp_path)
    (layer,) = graph.layers()
    assert layer.given_weights is not None
    assert layer.groups == (2 if case == "four axes" else 3)
    for batch in (1, 3) if graph.info.dynamic_batch else (1,):
        assert_same_as_onnxruntime(CASES[case], graph, batch=batch)


def test_a_scale_for_every_row_has_no_columns(tmp_path: Path) -> None:
    source = tiny_model(
        "(float[N,4] x) => (float[] y) { k = DequantizeLinear <axis = 0> (w, s) a = MatMul(x, k) y = MatMul(a, v) }",
        {
            "w": np.arange(16, dtype=np.int8).reshape(4, 4),
            "s": np.array([1, 2, 3, 4], np.float32),
            "v": random_weights(4, 2),
        },
    )
    graph = imported(source, tmp_path)
    assert [op.why for op in graph.ops() if isinstance(op, DigitalOp)] == ["its weights have a scale for every row"]


@pytest.mark.parametrize(("bits", "symmetric"), [(4, True), (4, False), (8, True), (8, False)])
def test_packed_codes_of_onnxruntime(bits: int, tmp_path: Path, *, symmetric: bool) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    source = tiny_model(
        "(float[N,3,80] x) => (float[N,3,5] y) { y = MatMul(x, w) }", {"w": random_weights(80, 5)}, opset=21
    )
    save(source, tmp_path / "float.onnx")
    quantizer = MatMulNBitsQuantizer(
        onnx.load(tmp_path / "float.onnx"), bits=bits, block_size=32, is_symmetric=symmetric
    )
    quantizer.process()
    packed = quantizer.model.model
    assert [node.op_type for node in packed.graph.node] == ["MatMulNBits"]
    graph = imported(packed, tmp_path)
    (layer,) = graph.layers()
    assert (layer.groups, layer.rows, layer.columns, layer.op_type) == (3, 32, 15, "MatMulNBits")
    assert_same_as_onnxruntime(packed, graph, batch=2, tolerance=1e-3)


def convolution(channels: int, block: int, *, kernel: int = 1, bias: str = "", attributes: str = "") -> onnx.ModelProto:
    """Conv of 5 filters whose weights have a scale for each block of channels."""
    rng = np.random.default_rng(0)
    blocks = -(-channels // block)
    constants: dict[str, NDArray[Any]] = {
        "w": rng.integers(-128, 127, (5, channels, kernel, kernel)).astype(np.int8),
        "s": np.tile(rng.uniform(0.01, 0.03, (5, blocks, 1, 1)), (1, 1, kernel, kernel)).astype(np.float32),
    }
    if bias == "constant":
        constants["b"] = random_weights(5)
    body = f"""k = DequantizeLinear <axis = 1, block_size = {block}> (w, s)
               y = Conv <{attributes or f"kernel_shape = [{kernel}, {kernel}]"}> (x, k{", b" if bias else ""})"""
    return tiny_model(f"(float[N,{channels},6,7] x) => (float[] y) {{ {body} }}", constants, opset=21)


@pytest.mark.parametrize(
    ("channels", "block", "options"),
    [
        (12, 4, {}),
        (10, 4, {}),
        (12, 4, {"kernel": 3, "attributes": "pads = [1, 1, 1, 1], strides = [2, 1]"}),
        (10, 4, {"kernel": 3, "bias": "constant"}),
    ],
)
def test_blocks_of_channels_are_groups(channels: int, block: int, options: dict[str, Any], tmp_path: Path) -> None:
    source = convolution(channels, block, **options)
    graph = imported(source, tmp_path)
    (layer,) = graph.layers()
    assert layer.given_weights is not None
    assert layer.groups == 3
    for batch in (1, 3):
        assert_same_as_onnxruntime(source, graph, batch=batch)


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("bias", ["", ", b", ", m"])
def test_gemm_with_blocks(trans_b: int, bias: str, tmp_path: Path) -> None:
    """Blocks along the rows of a Gemm, transposed or not, with a row, a matrix or no bias."""
    rng = np.random.default_rng(0)
    codes, scale = rng.integers(-8, 7, (12, 5)).astype(np.int8), rng.uniform(0.1, 0.3, (3, 5)).astype(np.float32)
    constants: dict[str, NDArray[Any]] = {"w": codes.T if trans_b else codes, "s": scale.T if trans_b else scale}
    if bias:
        constants[bias[-1]] = random_weights(5) if "b" in bias else random_weights(2, 5)
    text = f"""(float[2,12] x) => (float[] y) {{ k = DequantizeLinear <axis = {trans_b}, block_size = 4> (w, s)
               y = Gemm <transB = {trans_b}, alpha = 0.5, beta = 2.0> (x, k{bias}) }}"""
    source = tiny_model(text, constants, opset=21)
    graph = imported(source, tmp_path)
    (layer,) = graph.layers()
    assert layer.given_weights is not None
    assert layer.groups == 3
    assert_same_as_onnxruntime(source, graph)


def test_a_scale_for_every_channel_has_no_columns(tmp_path: Path) -> None:
    source = convolution(4, 1)
    source.graph.output.add(name="z")
    source.graph.node.append(onnx.helper.make_node("MatMul", ["x", "v"], ["z"]))
    source.graph.initializer.append(onnx.numpy_helper.from_array(random_weights(7, 2), "v"))
    graph = imported(source, tmp_path)
    assert [op.why for op in graph.ops() if isinstance(op, DigitalOp)] == ["its weights have a scale for every channel"]
