"""Plans to test with: of single layers straight from weight codes, and of tiny ONNX models."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load_file, save_file

import hw_models
from bsc import __version__
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.hardware.target import Target
from bsc.ir.layer import CrossbarLayer
from bsc.ir.mapped import mapping_of
from bsc.ir.passbase import Pass
from bsc.mapping.arrays import LayerArrays, array_key
from bsc.mapping.layer import MappedLayer, Quantised
from bsc.mapping.model import MappedModel
from bsc.numeric.encoding import MAX_ANALOG_BITS, Encoding, Subtraction
from bsc.plan.document import ModelRecord, Plan, Provenance
from bsc.testing import random_weights, save, tiny_model
from passes.assign_adc import AssignAdc
from passes.eliminate import Eliminate
from passes.permute import Permute
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.passes.layers import compiled, fc, network

ISAAC = hw_models.load("isaac")


@dataclass(frozen=True, eq=False)
class Coded:
    """A layer as if `quantize` had just run, and its arrays."""

    layer: CrossbarLayer
    arrays: Mapping[str, ArrayLike]


def coded(
    codes: ArrayLike,
    *,
    name: str = "fc",
    weight_bits: int = 8,
    weight_scale: ArrayLike = (1.0,),
    input_bits: int = 8,
    input_signed: bool = False,
    input_scale: float | None = 1.0,
    input_zero_point: int = 0,
    **fields: Any,
) -> Coded:
    """A layer with these codes (K, N); `fields` are further ones of `CrossbarLayer`."""
    matrix = np.asarray(codes, np.int16)
    quant = Quantised(
        weight_bits=weight_bits,
        input_bits=input_bits,
        input_signed=input_signed,
        input_scale=input_scale,
        input_zero_point=input_zero_point,
    )
    layer = fc(*matrix.shape, name=name, quant=quant, **fields)
    arrays: dict[str, ArrayLike] = {"codes": matrix, "weight_scale": np.asarray(weight_scale, np.float64)}
    return Coded(layer, {array_key(name, each): values for each, values in arrays.items()})


def mapped(
    *layers: Coded,
    bits_per_cell: int = 2,
    dac_bits: int = 1,
    rows: int = 128,
    cols: int = 128,
    active_rows: int = 0,
    encoding: Encoding = "differential",
    subtraction: Subtraction = "digital",
    flip: Literal["no", "yes"] = "no",
    cut: str = "even",
    eliminate: bool = False,
    permute: Permute | None = None,
    adc: AssignAdc | None = None,
    before: Sequence[Pass] = (),
    arrays: Mapping[str, ArrayLike] | None = None,
) -> MappedModel:
    """The mapping of layers that lead from 'x' to 'y', with no digital operator; `arrays` holds their biases.

    Passes of `before` run ahead of the others. To `permute` is to `eliminate` first.
    """
    tables: dict[str, ArrayLike] = dict(arrays or {})
    for each in layers:
        tables |= each.arrays
    graph = network(*(each.layer for each in layers), arrays=tables)
    steps: list[Pass] = [
        SliceBits(
            bits_per_cell=bits_per_cell,
            dac_bits=dac_bits,
            encoding=encoding,
            subtraction=subtraction,
            flip=flip,
            cut=cut,
        ),
        Tile(rows=rows, cols=cols, active_rows=active_rows),
    ]
    if permute is not None:
        steps.insert(1, permute)
    if eliminate or permute is not None:
        steps.insert(1, Eliminate())
    return mapping_of(compiled(graph, *before, *steps, adc or AssignAdc()))


def plan_of(*layers: Coded, target: Target = ISAAC, **how: Any) -> Plan:
    """A plan around what `mapped` makes of the layers."""
    return plan_around(mapped(*layers, **how), target)


def plan_around(mapping: MappedModel, target: Target = ISAAC) -> Plan:
    """A plan of a mapping that no compiler made."""
    model = ModelRecord(file="tiny.onnx", sha256="0" * 64, opsets={"": 17}, constants=(), check=None, notes=())
    provenance = Provenance(
        bsc_version=__version__, model=model, calibration=None, budget=None, pipeline="made by hand"
    )
    return Plan(mapping=mapping, target=target, provenance=provenance)


@st.composite
def slicings(draw: st.DrawFn, weight_bits: int, *, most: int) -> dict[str, Any]:
    """Arguments of `mapped` for any way to cut codes and inputs; bits of a cell and of a DAC add up to `most`."""
    encoding: Encoding = draw(st.sampled_from(["differential", "offset", "centre"]))
    ways = (
        ["plain", "cut"] + (["flip"] if encoding != "differential" else []) + (["pair"] if encoding != "offset" else [])
    )
    way = draw(st.sampled_from(ways))
    widest = MAX_ANALOG_BITS if way == "pair" else 8
    bits = draw(st.integers(1, widest))
    found: dict[str, Any] = {"encoding": encoding, "bits_per_cell": bits}
    if way == "flip":
        found["flip"] = "yes"
    if way == "pair":
        found["subtraction"] = "analog"
    if way == "cut" or draw(st.booleans()):
        rest, cut = weight_bits + (encoding == "offset"), []
        while rest:
            cut.append(draw(st.integers(1, min(widest, rest))))
            rest -= cut[-1]
        found["cut"], bits = "-".join(map(str, cut)), max(cut)
    return found | {"dac_bits": draw(st.integers(1, min(8, most - bits - (way == "pair"))))}


def only_layer(mapping: MappedModel) -> tuple[MappedLayer, LayerArrays]:
    """The only layer of a mapping."""
    (layer,) = mapping.layers
    return layer, mapping.arrays(layer)


def with_adc(arrays: LayerArrays, bits: ArrayLike, step: ArrayLike = 1) -> LayerArrays:
    """The arrays with other converters, pairs half below 0; what is given is spread over all columns."""
    shape = arrays.adc_bits.shape
    wide = np.broadcast_to(np.asarray(bits, np.int32), shape)
    return replace(
        arrays,
        adc_bits=wide.astype(np.uint8),
        adc_lsb=np.broadcast_to(np.asarray(step, np.uint8), shape),
        adc_low=None
        if arrays.adc_low is None
        else np.where(wide > 0, -(1 << np.maximum(wide - 1, 0)), 0).astype(np.int32),
    )


def model_plan(
    model: onnx.ModelProto,
    folder: Path,
    *,
    rows: int = 16,
    cols: int = 8,
    policy: str = "lossless",
    granularity: str = "column",
    calibration: Mapping[str, NDArray[Any]] | None = None,
    **others: Any,
) -> Plan:
    """The plan of a model, compiled by the default pipeline; the files it needs are written to `folder`.

    `others` are further options of `CompileOptions`.
    """
    data = None
    if calibration is not None:
        data = folder / "calibration.npz"
        np.savez(data, allow_pickle=False, **calibration)
    pipeline = default_pipeline(ISAAC, rows=rows, cols=cols, policy=policy, granularity=granularity)
    options = CompileOptions(pipeline=pipeline, calibration=data, **others)
    plan = compile_model(save(model, folder / "model.onnx"), ISAAC, options).plan
    assert plan is not None
    return plan


def pruned(weights: NDArray[Any], *, rows: int = 0, columns: int = 0) -> NDArray[Any]:
    """The matrix with its first rows and columns set to zero."""
    weights[:rows] = 0
    weights[:, :columns] = 0
    return weights


CNN = tiny_model(
    """(float[N,3,8,8] image) => (float[N,5] scores) {
        [stem] a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (image, w0, b0)
        [norm] b = BatchNormalization (a, gamma, beta, mean, var)
        c = Relu (b)
        [depthwise] d = Conv <group = 4, pads = [1, 1, 1, 1]> (c, w1)
        e = Add (c, d)
        f = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (e)
        g = Flatten (f)
        [head] scores = Gemm (g, w2, b2)
    }""",
    {
        "w0": random_weights(4, 3, 3, 3),
        "b0": random_weights(4, seed=1),
        "gamma": np.array([0.5, 1, 2, 1], np.float32),
        "beta": np.array([0.25, 0, -0.25, 1], np.float32),
        "mean": np.array([0, 0.5, 0, -0.5], np.float32),
        "var": np.array([1, 0.25, 4, 1], np.float32),
        "w1": random_weights(4, 1, 3, 3, seed=2),
        "w2": pruned(random_weights(16, 5, seed=3), rows=3, columns=1),
        "b2": random_weights(5, seed=4),
    },
)
"""A residual block over a depthwise layer, batch normalisation, pooling, and a head with rows and a column pruned."""


def document_of(folder: Path) -> dict[str, Any]:
    """What plan.json of a folder says."""
    parsed: dict[str, Any] = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    return parsed


def write_document(folder: Path, document: object) -> None:
    """Write plan.json as it is."""
    (folder / "plan.json").write_text(json.dumps(document), encoding="utf-8")


def rehash(folder: Path, name: str) -> None:
    """Record the hash of a file that was changed, as someone would who wants the change to go unnoticed."""
    document = document_of(folder)
    document["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    write_document(folder, document)


def replace_arrays(folder: Path, name: str, **arrays: NDArray[Any] | None) -> None:
    """Replace arrays in a layer's file, or remove those that are None, and record the new hash."""
    tables = load_file(folder / name) | arrays
    save_file(
        {key: np.ascontiguousarray(values) for key, values in tables.items() if values is not None}, folder / name
    )
    rehash(folder, name)
