"""onnxruntime sessions as bsc uses them everywhere: quiet, on the CPU, operators as they are written."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


def quiet_session(model: bytes | Path, *, weights: Path | None = None) -> Any:
    """An onnxruntime session on the CPU that leaves the terminal alone; raises what onnxruntime raises.

    Quantised operators are run as they are written: onnxruntime would move and fuse QuantizeLinear and
    DequantizeLinear, which rounds in other places.

    Args:
        model: serialised, or its path.
        weights: folder of the external data of a serialised model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if weights is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_session(session: Any, outputs: list[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Run an onnxruntime session so that an interrupt stops it, in the middle of an endless `Loop` too.

    Raises:
        Exception: what onnxruntime raises.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()
    with ThreadPoolExecutor(1) as pool:  # Python does not handle signals while its main thread is in native code
        try:
            results: list[Any] = pool.submit(session.run, outputs, dict(feeds), options).result()
        finally:
            options.terminate = True
    return results
