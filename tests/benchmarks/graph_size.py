"""CPU time of every command on models of many nodes, layers or constants, at three sizes each: is it linear?

    python -m tests.benchmarks.graph_size                      # the table of README.md
    python -m tests.benchmarks.graph_size --only layers --sizes 100 200 400 --commands compile report
    python -m tests.benchmarks.graph_size write KIND SIZE FILE # only a model

Every command is a process of its own; its time is that of all its threads less that of `bsc --version`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
"""Rows and columns of a layer's weights."""


def relus(size: int) -> onnx.ModelProto:
    """One layer and a chain of digital nodes."""
    nodes = [helper.make_node("Relu", [f"t{index}"], [f"t{index + 1}"]) for index in range(size)]
    return _model([helper.make_node("MatMul", ["x", "w"], ["t0"]), *nodes], f"t{size}", {"w": _weights(0)})


def adds(size: int) -> onnx.ModelProto:
    """One layer and a chain of digital nodes with a constant and a skip connection each."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t0"])]
    constants = {"w": _weights(0)}
    for index in range(0, size, 2):
        constants[f"c{index}"] = np.full(SIDE, 0.5, np.float32)
        nodes.append(helper.make_node("Mul", [f"t{index}", f"c{index}"], [f"t{index + 1}"]))
        nodes.append(helper.make_node("Add", [f"t{index + 1}", f"t{index}"], [f"t{index + 2}"]))
    return _model(nodes, f"t{index + 2}", constants)


def constants(size: int) -> onnx.ModelProto:
    """One layer, and constants that nobody reads."""
    unused = {f"c{index}": np.full(SIDE, 0.5, np.float32) for index in range(size)}
    return _model([helper.make_node("MatMul", ["x", "w"], ["t0"])], "t0", {"w": _weights(0), **unused})


def layers(size: int) -> onnx.ModelProto:
    """A chain of layers, a digital node behind each."""
    nodes, weights = [], {}
    for index in range(size):
        weights[f"w{index}"] = _weights(index)
        nodes.append(helper.make_node("MatMul", [f"t{index}", f"w{index}"], [f"h{index}"]))
        nodes.append(helper.make_node("Relu", [f"h{index}"], [f"t{index + 1}"]))
    return _model(nodes, f"t{size}", weights, "t0")


KINDS: Mapping[str, Callable[[int], onnx.ModelProto]] = {
    "relus": relus,
    "adds": adds,
    "constants": constants,
    "layers": layers,
}
SIZES = {"relus": (10_000, 20_000, 40_000), "adds": (10_000, 20_000, 40_000), "constants": (20_000, 40_000, 80_000)}
SIZES["layers"] = (250, 500, 1000)
COMMANDS = {
    "check": ["check", "{model}", "--no-import-check"],
    "compile": ["compile", "{model}", "-o", "{folder}/m.bsc", "--force", "--no-import-check"],
    "verify": ["verify", "{folder}/m.bsc", "--limit", "1"],
    "report": ["report", "{folder}/m.bsc"],
    "report --json": ["report", "{folder}/m.bsc", "--json"],
    "report --html": ["report", "{folder}/m.bsc", "--html", "{folder}/m.html"],
    "inspect": ["inspect", "{folder}/m.bsc"],
    "cost": ["cost", "{folder}/m.bsc"],
    "compare": ["compare", "{folder}/m.bsc", "{folder}/m.bsc"],
    "diff": ["diff", "{folder}/m.bsc", "{folder}/m.bsc"],
    "export --onnx": ["export", "{folder}/m.bsc", "--to", "onnx", "--force"],
    "export --cells": ["export", "{folder}/m.bsc", "--to", "cells", "--force"],
}


def _weights(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((SIDE, SIDE), np.float32) * np.float32(0.2)


def _model(nodes, output, arrays, source="x") -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ("N", SIDE))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ("N", SIDE))],
        [numpy_helper.from_array(values, name) for name, values in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))


def cpu_s(arguments: list[str], timeout: float) -> float | str:
    """Run `bsc` to its end; seconds of processor time, or what went wrong."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bsc", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: __import__("resource").setrlimit(0, (int(timeout), int(timeout) + 5)),
    )
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        return "time" if os.WIFSIGNALED(status) else errors.decode().strip()[:150]
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=list(KINDS))
    parser.add_argument("--sizes", nargs="*", type=int)
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--timeout", type=float, default=120)
    o = parser.parse_args()
    for kind in o.only:
        sizes = o.sizes or SIZES[kind]
        print(f"\n| {kind} | " + " | ".join(map(str, sizes)) + " |", flush=True)
        with tempfile.TemporaryDirectory() as name:
            for size in sizes:
                os.makedirs(f"{name}/{size}", exist_ok=True)
                Path(f"{name}/{size}/m.onnx").write_bytes(KINDS[kind](size).SerializeToString())
            for command in o.commands:
                row = []
                for size in sizes:
                    found = cpu_s(
                        [a.format(model=f"{name}/{size}/m.onnx", folder=f"{name}/{size}") for a in COMMANDS[command]],
                        o.timeout,
                    )
                    row.append(f"{found:.2f}" if isinstance(found, float) else found)
                    if isinstance(found, str):
                        break
                print(f"| {command} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
