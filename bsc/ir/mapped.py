"""From a fully passed graph to the mapping that its layers have become."""

from dataclasses import asdict

import numpy as np

from bsc.ir.graph import Graph
from bsc.ir.schedule import DigitalPart, planned
from bsc.ir.sidetable import SideTable
from bsc.ir.stages import layer_record
from bsc.mapping.arrays import SAVED, LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import LayerStep, MappedModel, MappingRecord, StepRecord, TensorRecord


def mapping_of(graph: Graph) -> MappedModel:
    """The mapping; its arrays and digital operators stay in the graph until they are asked for.

    Args:
        graph: every layer quantised, sliced, tiled and assigned.

    Raises:
        ModelError: BSC309 for a layer that a pass has left out, BSC305 for one beyond the limits of a mapping or for a
            tensor of unknown type before digital operators.
        DoesNotFitError: BSC402 when constants of digital operators do not fit into an ONNX file.
    """
    layers = tuple(layer_record(MappedLayer, layer, "plan") for layer in graph.layers())
    parts: dict[str, DigitalPart] = {}
    steps: list[StepRecord] = []
    for step in planned(graph):
        if isinstance(step, LayerStep):
            steps.append(StepRecord(layer=step.layer, inputs=step.inputs, outputs=step.outputs))
        else:
            file = f"digital/{len(parts):04}.onnx"
            parts[file] = step
            steps.append(
                StepRecord(digital=file, operators=dict(step.operators), inputs=step.inputs, outputs=step.outputs)
            )
    record = MappingRecord(
        inputs=tuple(_tensor_record(graph, name) for name in graph.inputs),
        outputs=tuple(_tensor_record(graph, name) for name in graph.outputs),
        steps=tuple(steps),
        layers=layers,
        free_batch=graph.info.dynamic_batch,
    )
    models = SideTable()

    def digital(name: str) -> bytes:
        if name not in models:
            models[name] = np.frombuffer(parts[name].model(), np.uint8)
        return np.asarray(models[name]).tobytes()

    return MappedModel(record=record, arrays=lambda layer: _layer_arrays(graph, layer), digital=digital)


def _tensor_record(graph: Graph, name: str) -> TensorRecord:
    tensor = graph.tensors[name]
    return TensorRecord(**asdict(tensor))


def _layer_arrays(graph: Graph, layer: MappedLayer) -> LayerArrays:
    found = graph.arrays_of(layer.name)
    return LayerArrays(**{name: found[name] for name in SAVED if name in found})
