import subprocess
import sys

import numpy as np
import pytest

from bsc.execution.session import out_of_memory, quiet_session
from bsc.testing import tiny_model


@pytest.mark.parametrize("as_written", [True, False])
def test_what_reads_a_tensor_that_is_transposed_and_quantised_is_not_rounded(*, as_written: bool) -> None:
    model = tiny_model(
        """(float[1,4,1,1] x) => (float[] t, uint8[] q) {
            r = Reshape(x, phases)  i = Transpose <perm = [0, 1, 4, 2, 5, 3]> (r)  w = Reshape(i, whole)
            t = Slice(w, zero, one, axis)  u = Transpose <perm = [0, 2, 3, 1]> (t)  q = QuantizeLinear(u, s, z)
        }""",
        {
            "phases": np.array([1, 1, 2, 2, 1, 1]),
            "whole": np.array([1, 1, 2, 2]),
            "zero": np.array([0]),
            "one": np.array([1]),
            "axis": np.array([2]),
            "s": np.array(0.05, np.float32),
            "z": np.array(100, np.uint8),
        },
    )
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 4, 1, 1) / 100
    (t,) = quiet_session(model.SerializeToString(), as_written=as_written).run(["t"], {"x": x})
    assert t.ravel().tolist() == x.ravel()[:2].tolist()


@pytest.mark.parametrize("as_written", [True, False])
def test_a_pad_may_make_the_weights_of_a_convolution(*, as_written: bool) -> None:
    model = tiny_model(
        "(float[1,1,3,3] x) => (float[] y) { w = Pad (v, pads) y = Conv (x, w) }",
        {"v": np.ones((1, 1, 1, 1), np.float32), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
    )
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    (y,) = quiet_session(model.SerializeToString(), as_written=as_written).run(["y"], {"x": x})
    assert y.ravel().tolist() == [4]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (
            RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer"),
            True,
        ),
        (RuntimeError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, *, expected: bool) -> None:
    assert out_of_memory(error) == expected


def test_an_interrupt_ends_an_endless_loop() -> None:
    """In a process of its own, where signals go to the main thread."""
    code = """
import os, signal, threading
import numpy as np
from bsc.execution.session import quiet_session, run_session
from bsc.testing import tiny_model

model = tiny_model(
    "(float[4] x) => (float[] y) { y = Loop (n, , x) <body = g (int64 i, bool k, float[4] s) => (bool k2, float[4] t) "
    "{ k2 = Identity(k)  t = Relu(s) }> }",
    {"n": np.array(1 << 62)},
)
session = quiet_session(model.SerializeToString())
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    run_session(session, ["y"], {"x": np.ones(4, np.float32)})
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "interrupted\n"


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_sums_of_8_bit_products_are_not_saturated(domain: str) -> None:
    """255 * 127 * 4 is more than the 16 bits that some processors add two products in."""
    codes, scale = np.full((4, 8), 127, np.int8), np.array(1, np.float32)
    if domain:
        text = "(uint8[1,4] x) => (float[1,8] y) { y = com.microsoft.MatMulIntegerToFloat(x, w, s, s) }"
        model = tiny_model(text, {"w": codes, "s": scale}, domains=[domain])
    else:
        model = tiny_model("(uint8[1,4] x) => (int32[1,8] y) { y = MatMulInteger(x, w) }", {"w": codes})
    (y,) = quiet_session(model.SerializeToString()).run(None, {"x": np.full((1, 4), 255, np.uint8)})
    assert y.tolist() == [[255 * 127 * 4] * 8]
