"""A model of 2.7 GB in external data: does compiling it fit into little memory, and reading its plan?

    python -m tests.benchmarks.large_model                     # the table of README.md; exits 1 if a bar is missed
    python -m tests.benchmarks.large_model --layers 4          # a smaller one, to try
    python -m tests.benchmarks.large_model write FOLDER        # only the model

40 square MatMul layers of 4096 x 4096 float32 weights with a Relu behind each. Every command is a process of its own
on a plan folder in `TMPDIR`; 10 GB of disk are needed. Memory is the largest resident set of the process, which counts
pages of mapped files too, and the largest part of it that is no file's.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

SIZE = 4096
LAYERS = 40
MAX_SECONDS = 60
MAX_BYTES = 1.5e9
COMMANDS = {
    "compile": ["compile", "{folder}/large.onnx", "-o", "{folder}/large.bsc"],
    "inspect": ["inspect", "{folder}/large.bsc"],
    "cost": ["cost", "{folder}/large.bsc"],
    "verify": ["verify", "{folder}/large.bsc", "--limit", "4"],
    "check": ["check", "{folder}/large.onnx"],
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One command.

    Attributes:
        seconds: wall-clock time.
        cpu_s: user and system time of all its threads.
        resident_bytes: largest resident set.
        anonymous_bytes: largest part of it that is not of a file, sampled.
    """

    seconds: float
    cpu_s: float
    resident_bytes: int
    anonymous_bytes: int


def write_model(folder: Path, layers: int, size: int = SIZE) -> None:
    """Write large.onnx and weights.bin, layer by layer."""
    random = np.random.default_rng(0)
    nodes, constants = [], []
    with (folder / "weights.bin").open("wb") as stream:
        for index in range(layers):
            weights = random.standard_normal((size, size), np.float32)
            weights *= np.float32((2 / size) ** 0.5)
            tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=(size, size))
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "weights.bin"), ("offset", stream.tell()), ("length", weights.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            weights.tofile(stream)
            constants.append(tensor)
            x = "x" if index == 0 else f"a{index}"
            nodes.append(helper.make_node("MatMul", [x, f"w{index}"], [f"h{index}"], name=f"fc{index}"))
            nodes.append(helper.make_node("Relu", [f"h{index}"], [f"a{index + 1}"], name=f"relu{index}"))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", size))],
        [helper.make_tensor_value_info(f"a{layers}", TensorProto.FLOAT, ("N", size))],
        constants,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
    (folder / "large.onnx").write_bytes(model.SerializeToString())


def measure(arguments: list[str]) -> Measured:
    """Run `bsc` with arguments to its end; its output goes nowhere."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [sys.executable, "-m", "bsc", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    resident = anonymous = 0
    while process.poll() is None:
        try:
            fields = dict(
                line.split(":", 1)
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
                if ":" in line
            )
        except OSError:
            break
        if "VmHWM" in fields:
            resident = max(resident, int(fields["VmHWM"].split()[0]) * 1024)
            anonymous = max(anonymous, int(fields["RssAnon"].split()[0]) * 1024)
        time.sleep(0.01)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"bsc {' '.join(arguments)} failed\n{errors.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(
        seconds=time.perf_counter() - start,
        cpu_s=after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime,
        resident_bytes=resident,
        anonymous_bytes=anonymous,
    )


def main() -> None:
    """Write the model, run the commands, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("write", nargs="*", help="write FOLDER")
    parser.add_argument("--layers", type=int, default=LAYERS)
    options = parser.parse_args()
    if options.write:
        write_model(Path(options.write[-1]), options.layers)
        return
    missed = False
    with tempfile.TemporaryDirectory() as name:
        write_model(Path(name), options.layers)
        size = (Path(name) / "weights.bin").stat().st_size
        print(f"{size / 1e9:.2f} GB of weights, {shutil.disk_usage(name).free / 1e9:.0f} GB of disk free\n")
        print("| command | wall s | CPU s | peak resident GB | of which no file's |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for command, arguments in COMMANDS.items():
            found = measure([each.format(folder=name) for each in arguments])
            print(
                f"| {command} | {found.seconds:.1f} | {found.cpu_s:.1f} | {found.resident_bytes / 1e9:.2f} "
                f"| {found.anonymous_bytes / 1e9:.2f} |",
                flush=True,
            )
            missed |= found.resident_bytes > MAX_BYTES or (command == "compile" and found.seconds > MAX_SECONDS)
    sys.exit(missed)


if __name__ == "__main__":
    main()
