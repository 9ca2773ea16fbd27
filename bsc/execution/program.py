"""Runs a schedule: digital segments in onnxruntime, crossbar layers by whoever calls it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.execution.session import quiet_session, run_session
from bsc.ir.schedule import LayerStep, Segment, Step
from bsc.limits import bounded_memory

GROWTH = 1000
"""Bytes that a run may take for each byte of its inputs."""

RunLayer = Callable[[str, NDArray[Any]], NDArray[Any]]


class Program:
    """Runs steps on inputs; the layers are computed by whoever calls it.

    Args:
        steps: in order.
        outputs: tensors to return.
    """

    def __init__(self, steps: Iterable[Step], outputs: tuple[str, ...]) -> None:
        self._steps = tuple(steps)
        self._outputs = outputs
        self._sessions: dict[int, Any] = {}

    def run(
        self,
        feeds: Mapping[str, NDArray[Any]],
        run_layer: RunLayer,
        keep: Collection[str] = (),
        *,
        layer_bytes: int = 0,
    ) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Args:
            feeds: every model input.
            run_layer: given a layer's name and its activation, returns its result.
            keep: further tensors that steps read or write, to return as well.
            layer_bytes: memory that it may take beside what the inputs account for.

        Returns:
            The outputs by name, and what was to be kept.

        Raises:
            ModelError: BSC304 when onnxruntime cannot run a digital operator; BSC312 when the batch takes far more
                memory than it has values.
        """
        size = sum(np.asarray(value).nbytes for value in feeds.values())
        try:
            with bounded_memory(GROWTH * size + layer_bytes):
                return self._run(feeds, run_layer, keep)
        except MemoryError:
            raise ModelError(
                "BSC312",
                "running the model takes more memory than its inputs account for",
                seen=f"inputs of {size} bytes",
                fix="check the model's shapes, such as pads, and run fewer samples at a time",
            ) from None

    def _run(
        self, feeds: Mapping[str, NDArray[Any]], run_layer: RunLayer, keep: Collection[str]
    ) -> dict[str, NDArray[Any]]:
        last_use = {name: index for index, step in enumerate(self._steps) for name in step.inputs}
        wanted = {*self._outputs, *keep}
        tensors = dict(feeds)
        for index, step in enumerate(self._steps):
            if isinstance(step, LayerStep):
                tensors[step.outputs[0]] = run_layer(step.layer, _tensor(tensors[step.inputs[0]], step.layer))
            else:
                tensors |= self._run_segment(index, step, tensors)
            for name in [name for name in step.inputs if last_use[name] == index and name not in wanted]:
                tensors.pop(name, None)
        return {name: tensors[name] for name in (*self._outputs, *keep)}

    def _run_segment(
        self, index: int, segment: Segment, tensors: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        try:
            if index not in self._sessions:
                self._sessions[index] = quiet_session(segment.model)
            feeds = {name: tensors[name] for name in segment.inputs}
            results = run_session(self._sessions[index], list(segment.outputs), feeds)
        except Exception as error:  # onnxruntime raises a kind of its own for each failure
            raise ModelError(
                "BSC304",
                f"digital operators before tensor '{segment.outputs[-1]}' cannot be run",
                seen=str(error).strip().splitlines()[0][:200],
                fix="check the model in onnxruntime and that the data has the model's input shape",
            ) from None
        return dict(zip(segment.outputs, results, strict=True))


def _tensor(value: Any, layer: str) -> NDArray[Any]:
    """What onnxruntime gave, if it is an array: digital operators can make sequences and maps too."""
    if not isinstance(value, np.ndarray):
        raise ModelError(
            "BSC304",
            f"layer '{layer}': its input is no tensor",
            seen=f"a {type(value).__name__}",
            fix="check the model with onnx.checker.check_model(full_check=True)",
        )
    return value
