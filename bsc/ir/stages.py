"""A layer of the graph as the record that its stages add up to."""

from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import ValidationError

from bsc.errors import ModelError
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import required
from bsc.mapping.layer import ConvRecord, LayerShape, LineSelection, MappedLayer, QuantisedLayer, TiledLayer
from bsc.toml_record import first_mistake

L = TypeVar("L", bound=QuantisedLayer)

STAGES = {"quant": "quantize", "slicing": "slice-bits", "tiling": "tile", "adc": "assign-adc"}
"""Records of a layer that are set by a pass, and by which; those that a layer can do without are left out."""

_NEEDED: dict[type[QuantisedLayer], tuple[str, ...]] = {
    QuantisedLayer: ("quant",),
    TiledLayer: ("quant", "slicing", "tiling"),
    MappedLayer: ("quant", "slicing", "tiling", "adc"),
}


def layer_record(kind: type[L], layer: CrossbarLayer, consumer: str) -> L:
    """The stages of a layer up to one of them, in one record.

    Args:
        kind: `QuantisedLayer`, `TiledLayer` or `MappedLayer`.
        layer: the layer.
        consumer: the pass that needs it, for messages.

    Raises:
        ModelError: BSC309 for a stage that is missing, BSC305 for sizes beyond the limits of a mapping.
    """
    rows, columns = layer.mapped_shape
    stages: list[Any] = [layer.kept or LineSelection(mapped_rows=rows, mapped_columns=columns, permuted=False)]
    stages += [required(getattr(layer, name), layer.name, consumer, STAGES[name]) for name in _NEEDED[kind]]
    values = {name: value for stage in stages for name, value in stage}
    values |= {name: getattr(layer, name) for name in LayerShape.model_fields if name != "conv"}
    if issubclass(kind, TiledLayer):
        values["observed"] = layer.observed
    if issubclass(kind, MappedLayer):
        values["placed"] = layer.placed
    try:
        return kind(conv=None if layer.conv is None else ConvRecord(**asdict(layer.conv)), **values)
    except ValidationError as error:
        first = error.errors()[0]
        seen = first_mistake(error)
        if first["loc"]:
            seen = f"{'.'.join(map(str, first['loc']))} {first['input']}: {first['msg']}"
        raise ModelError(
            "BSC305",
            f"layer '{layer.name}' ({layer.op_type}): its sizes are beyond what a plan can hold",
            seen=seen,
            fix="check the layer's attributes and the --input-shape given",
        ) from None
