"""Runs a schedule: digital segments in onnxruntime, crossbar layers by whoever calls it."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.execution.session import RunSession, interruptible, out_of_memory, quiet_session
from bsc.limits import bounded_memory
from bsc.mapping.model import LayerStep, Segment, Step
from bsc.numeric.im2col import ConvGeometry, vector_count

GROWTH = 1000
"""Bytes that a step may take for each byte that it reads."""

SESSION_GROWTH = 4
"""Bytes that opening a segment may take for each byte of its model."""

RunLayer = Callable[[str, NDArray[Any]], NDArray[Any]]

VALUE_BYTES = 64
"""Of a layer's input vectors and results while it is computed: eight arrays of float64."""

LayerBytes = Callable[[str, NDArray[Any]], int]
"""From a layer's name and its activation to the memory that running it may take beside `GROWTH`."""


def working_bytes(x_shape: tuple[int, ...], conv: ConvGeometry | None, values: int) -> int:
    """What a layer may take that computes so many `values`, inputs and results, from each of its input vectors."""
    fits = conv is None or len(x_shape) == 2 + len(conv.kernel)  # it is refused otherwise, with words of its own
    return VALUE_BYTES * values * max(0, vector_count(x_shape, conv)) if fits else 0


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
        layer_bytes: LayerBytes = lambda _name, _x: 0,
    ) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Args:
            feeds: every model input.
            run_layer: given a layer's name and its activation, returns its result.
            keep: further tensors that steps read or write, to return as well.
            layer_bytes: what a layer may take beside what its activation accounts for.

        Returns:
            The outputs by name, and what was to be kept.

        Raises:
            ModelError: BSC304 when onnxruntime cannot run a digital operator; BSC312 when a step takes far more
                memory than it reads and its layer says.
        """
        last_use = {name: index for index, step in enumerate(self._steps) for name in step.inputs}
        wanted = {*self._outputs, *keep}
        tensors = dict(feeds)
        with interruptible() as run_session:
            for index, step in enumerate(self._steps):
                if isinstance(step, LayerStep):
                    tensors[step.outputs[0]] = _run_layer(step, tensors[step.inputs[0]], run_layer, layer_bytes)
                else:
                    tensors |= self._run_segment(index, step, tensors, run_session)
                for name in [name for name in step.inputs if last_use[name] == index and name not in wanted]:
                    tensors.pop(name, None)
        return {name: tensors[name] for name in (*self._outputs, *keep)}

    def _run_segment(
        self, index: int, segment: Segment, tensors: Mapping[str, NDArray[Any]], run_session: RunSession
    ) -> dict[str, NDArray[Any]]:
        feeds = {name: tensors[name] for name in segment.inputs}
        with _bounded(segment, feeds.values(), SESSION_GROWTH * len(segment.model)):
            try:
                if index not in self._sessions:
                    self._sessions[index] = quiet_session(segment.model, as_written=True)
                results = run_session(self._sessions[index], list(segment.outputs), feeds)
            except Exception as error:  # onnxruntime raises a kind of its own for each failure
                if out_of_memory(error):
                    raise MemoryError from None
                raise ModelError(
                    "BSC304",
                    f"digital operators before tensor '{segment.outputs[-1]}' cannot be run",
                    seen=str(error).strip().splitlines()[0][:200],
                    fix="check the model in onnxruntime and that the data has the model's input shape",
                ) from None
        return dict(zip(segment.outputs, results, strict=True))


def _run_layer(step: LayerStep, value: Any, run_layer: RunLayer, layer_bytes: LayerBytes) -> NDArray[Any]:
    x = _tensor(value, step.layer)
    with _bounded(step, [x], layer_bytes(step.layer, x)):
        return run_layer(step.layer, x)


@contextlib.contextmanager
def _bounded(step: Step, read: Iterable[NDArray[Any]], more: int) -> Iterator[None]:
    """Bound the memory of one step by what it reads. Raises `ModelError` BSC312 for one that takes more."""
    size = sum(getattr(value, "nbytes", 0) for value in read)  # sequences and maps are small
    try:
        with bounded_memory(GROWTH * size + more):
            yield
    except MemoryError:
        raise ModelError(
            "BSC312",
            "running the model takes more memory than its sizes account for, or than there is",
            seen=f"tensor '{step.outputs[-1]}' is made of {size} bytes",
            fix="check the model's shapes, such as pads, and run fewer samples at a time",
        ) from None


def _tensor(value: Any, layer: str) -> NDArray[Any]:
    """What onnxruntime gave, if it is an array: digital operators can make sequences and maps too."""
    if not isinstance(value, np.ndarray):
        raise ModelError(
            "BSC304",
            f"layer '{layer}': its input is not a tensor",
            seen=f"a {type(value).__name__}",
            fix="check the model with onnx.checker.check_model(full_check=True)",
        )
    if value.dtype.kind in "OSU":
        raise ModelError(
            "BSC304",
            f"layer '{layer}': its input is not of numbers",
            seen="texts",
            fix="check the model with onnx.checker.check_model(full_check=True)",
        )
    return value
