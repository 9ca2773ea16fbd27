"""onnxruntime sessions as bsc uses them everywhere: quiet, on the CPU, operators as they are written."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "can't start new thread")
"""What onnxruntime and Python say when the kernel gives them no more memory."""

WRONG_OPTIMISERS = ("Pad_Fusion", "TransposeOptimizer", "TransposeOptimizer_CPUExecutionProvider")
"""The first takes a Pad away that makes the weights of a Conv, and with it the weights. The others turn Transpose and
QuantizeLinear around, and then give rounded values to all who read the tensor."""

RunSession = Callable[[Any, list[str], Mapping[str, NDArray[Any]]], list[Any]]
"""From a session, names of outputs and feeds to the outputs; raises what onnxruntime raises."""


def quiet_session(
    model: bytes | Path,
    *,
    weights: Path | None = None,
    as_written: bool = False,
    once: bool = False,
    arena: bool = True,
) -> Any:
    """An onnxruntime session on the CPU that leaves the terminal alone; raises what onnxruntime raises.

    QuantizeLinear and DequantizeLinear are never fused or moved, which rounds in other places. On processors without
    VNNI, onnxruntime adds products of 8-bit integers in pairs that saturate; products with constants do not, unless
    `as_written` or `once`.

    Args:
        model: serialised, or its path.
        weights: folder of the external data of a serialised model.
        as_written: for digital segments, of which there may be hundreds. Operators run one by one and none is fused, so
            that results have the same bits whatever surrounds them, in their caller's thread and without memory that
            is kept between runs; a session otherwise has a thread for each core, 8 MB each, and an arena of its own.
        once: for a model that is run once or twice: nothing is fused, weights are read where they lie and not packed,
            and threads do not spin. Opening VGG-19 takes 0.01 s in place of 3, one run of it a tenth longer.
        arena: keep the memory of a run for the next, which is then 5 % faster, unless `as_written` or `once`.
    """
    import onnxruntime

    def options() -> Any:
        chosen = onnxruntime.SessionOptions()
        chosen.log_severity_level = 4
        chosen.add_session_config_entry("session.disable_quant_qdq", "1")
        if as_written or once:
            chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        chosen.enable_cpu_mem_arena = arena and not (as_written or once)
        if as_written:
            chosen.intra_op_num_threads = 1
        if once:
            chosen.add_session_config_entry("session.disable_prepacking", "1")
            chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if weights is not None:
            chosen.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
        return chosen

    return with_whole_sums(
        options,
        lambda chosen: onnxruntime.InferenceSession(
            model, chosen, providers=["CPUExecutionProvider"], disabled_optimizers=WRONG_OPTIMISERS
        ),
    )


def with_whole_sums(options: Callable[[], Any], open_session: Callable[[Any], Any]) -> Any:
    """A session whose sums of 8-bit products do not saturate, as far as its optimisers see to that.

    Args:
        options: makes options of a session.
        open_session: opens one with them; raises what onnxruntime raises.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state

    exact = options()
    exact.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return open_session(exact)
    except onnxruntime_pybind11_state.NotImplemented:  # it makes weights unsigned, which not every operator takes
        return open_session(options())


@contextlib.contextmanager
def interruptible() -> Iterator[RunSession]:
    """Something that runs sessions so that an interrupt stops them, in the middle of an endless `Loop` too."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    with ThreadPoolExecutor(1) as thread:  # Python does not handle signals while its main thread is in native code

        def run(session: Any, outputs: list[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
            results: list[Any] = thread.submit(session.run, outputs, dict(feeds), options).result()
            return results

        try:
            yield run
        finally:
            options.terminate = True


def run_session(session: Any, outputs: list[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Run one session once, as `interruptible` does. Raises what onnxruntime raises."""
    with interruptible() as run:
        return run(session, outputs, feeds)


def out_of_memory(error: Exception) -> bool:
    """Whether onnxruntime got no memory: it has no error of its own for that."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
