"""The batch normalisation behind a crossbar layer: what `fold-batchnorm` folds and fine-tuning sees through."""

from bsc.ir.graph import DigitalOp, Graph
from bsc.ir.layer import CrossbarLayer


def following_norm(graph: Graph, layer: CrossbarLayer, result: str | None = None) -> DigitalOp | None:
    """The batch normalisation that alone reads the layer's result, if its channels are the layer's columns.

    Args:
        graph: that has the layer.
        layer: the layer.
        result: tensor to look behind in place of the layer's result, for a second normalisation behind a first.
    """
    output = result or layer.output
    readers = graph.consumers(output)
    if len(readers) != 1 or output in graph.outputs:
        return None
    if layer.given_weights is not None or len(graph.layer_inputs(layer)) > 1:
        return None  # codes stay as they are, and what shares the layer's crossbars may have no normalisation
    norm, shape = readers[0], graph.tensors[output].shape
    columns_are_axis_1 = layer.conv is not None or (shape is not None and len(shape) == 2)
    if (
        isinstance(norm, DigitalOp)
        and (norm.domain, norm.op_type) == ("", "BatchNormalization")
        and norm.inputs[0] == output
        and all(graph.has_array(key) and graph.constant(key).shape == (layer.columns,) for key in norm.inputs[1:5])
        and not norm.attributes.get("training_mode", 0)
        and not any(norm.outputs[1:])  # before opset 14, further outputs mean training
        and columns_are_axis_1
    ):
        return norm
    return None
