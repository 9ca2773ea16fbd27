"""From a fully passed graph to the mapping that its layers have become."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bsc.errors import ModelError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, Observed
from bsc.ir.passbase import required
from bsc.ir.schedule import schedule
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import ConvRecord, MappedLayer, ObservedRecord
from bsc.mapping.model import LayerStep, MappedModel, MappingRecord, StepRecord, TensorRecord


def mapping_of(graph: Graph) -> MappedModel:
    """The mapping; its arrays stay in the graph until they are asked for.

    Args:
        graph: every layer quantised, sliced, tiled and assigned.

    Raises:
        ModelError: BSC309 for a layer that a pass has left out, BSC305 for one beyond the limits of a mapping or for a
            tensor of unknown type before digital operators.
        DoesNotFitError: BSC402 when constants of digital operators do not fit into an ONNX file.
    """
    layers = {layer.name: layer for layer in graph.layers()}
    records = tuple(_checked_record(layer, index) for index, layer in enumerate(layers.values()))
    segments = SideTable()
    steps: list[StepRecord] = []
    for step in schedule(graph):
        if isinstance(step, LayerStep):
            steps.append(StepRecord(layer=step.layer, inputs=step.inputs, outputs=step.outputs))
        else:
            file = f"digital/{len(segments):04}.onnx"
            segments[file] = np.frombuffer(step.model, np.uint8)
            steps.append(
                StepRecord(digital=file, operators=dict(step.operators), inputs=step.inputs, outputs=step.outputs)
            )
    record = MappingRecord(
        inputs=tuple(_tensor_record(graph, name) for name in graph.inputs),
        outputs=tuple(_tensor_record(graph, name) for name in graph.outputs),
        steps=tuple(steps),
        layers=records,
    )
    return MappedModel(
        record=record,
        arrays=lambda layer: _layer_arrays(graph, layers[layer.name]),
        digital=lambda name: np.asarray(segments[name]).tobytes(),
    )


def _tensor_record(graph: Graph, name: str) -> TensorRecord:
    tensor = graph.tensors[name]
    return TensorRecord(**asdict(tensor))


def _checked_record(layer: CrossbarLayer, index: int) -> MappedLayer:
    try:
        return _layer_record(layer, index)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(
            "BSC305",
            f"layer '{layer.name}' ({layer.op_type}): its sizes are beyond what a plan can hold",
            seen=f"{place} {first['input']}: {first['msg']}" if place else first["msg"],
            fix="check the layer's attributes and the --input-shape given",
        ) from None


def _layer_record(layer: CrossbarLayer, index: int) -> MappedLayer:
    quant = required(layer.quant, layer.name, "plan", "quantize")
    slicing = required(layer.slicing, layer.name, "plan", "slice-bits")
    tiling = required(layer.tiling, layer.name, "plan", "tile")
    adc = required(layer.adc, layer.name, "plan", "assign-adc")
    mapped_rows, mapped_columns = layer.mapped_shape
    return MappedLayer(
        name=layer.name,
        op_type=layer.op_type,
        rows=layer.rows,
        columns=layer.columns,
        groups=layer.groups,
        vectors=layer.vectors,
        conv=None if layer.conv is None else ConvRecord(**asdict(layer.conv)),
        weight_bits=quant.weight_bits,
        input_bits=quant.input_bits,
        input_signed=quant.input_signed,
        input_step=quant.input_step,
        input_zero=quant.input_zero,
        slice_bits=slicing.cells.slice_bits,
        encoding=slicing.cells.encoding,
        subtraction=slicing.cells.subtraction,
        flip=slicing.cells.flip,
        dac_bits=slicing.dac_bits,
        tile_rows=tiling.rows,
        tile_cols=tiling.cols,
        active_rows=tiling.active_rows,
        mapped_rows=mapped_rows,
        mapped_columns=mapped_columns,
        adc_policy=adc.policy,
        adc_granularity=adc.granularity,
        observed=_observed_record(layer.observed),
        arrays=f"layers/{index:04}.safetensors",
    )


def _observed_record(observed: Observed | None) -> ObservedRecord | None:
    if observed is None:
        return None
    return ObservedRecord(samples=observed.samples, vectors=observed.vectors, conversions=observed.conversions)


def _layer_arrays(graph: Graph, layer: CrossbarLayer) -> LayerArrays:
    assert layer.quant is not None
    assert layer.tiling is not None
    assert layer.adc is not None

    def optional(key: str | None) -> NDArray[Any] | None:
        return None if key is None else graph.array(key)

    bias = optional(layer.bias)
    return LayerArrays(
        codes=graph.array(layer.quant.codes),
        weight_step=graph.array(layer.quant.weight_step),
        bias=None if bias is None else bias.ravel(),
        kept_rows=optional(layer.kept.rows if layer.kept else None),
        kept_columns=optional(layer.kept.columns if layer.kept else None),
        centres=optional(layer.tiling.centres),
        flipped=optional(layer.tiling.flipped),
        sums=graph.array(layer.tiling.sums),
        gcds=graph.array(layer.tiling.gcds),
        nonzeros=graph.array(layer.tiling.nonzeros),
        adc_bits=graph.array(layer.adc.bits),
        adc_step=graph.array(layer.adc.step),
        adc_low=optional(layer.adc.low),
        allocated=graph.array(layer.tiling.allocated),
        observed_sums=optional(layer.observed.highest if layer.observed else None),
        observed_lows=optional(layer.observed.lowest if layer.observed else None),
        correction=optional(layer.adc.correction),
    )
