import subprocess
import sys


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
