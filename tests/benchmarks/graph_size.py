"""Processor time of every command on models of many nodes, constants or layers, at three sizes each: is it linear?

    python -m tests.benchmarks.graph_size                      # the tables of README.md
    python -m tests.benchmarks.graph_size --only layers --sizes 100 200 400 --commands compile report

Commands run in one process, one behind another, so that imports are not in what is measured.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bsc.cli import main as bsc

SIDE = 32
"""Rows and columns of a layer's weights."""


def relus(size: int) -> onnx.ModelProto:
    """One layer and a chain of digital nodes."""
    nodes = [helper.make_node("Relu", [f"t{index}"], [f"t{index + 1}"]) for index in range(size)]
    return _model([helper.make_node("MatMul", ["x", "w"], ["t0"]), *nodes], f"t{size}", {"w": _weights(0)})


def adds(size: int) -> onnx.ModelProto:
    """One layer, and a chain of Relu and Add, each of these with a constant of its own."""
    nodes, arrays = [helper.make_node("MatMul", ["x", "w"], ["t0"])], {"w": _weights(0)}
    for index in range(size):
        if index % 2:
            arrays[f"c{index}"] = np.full(SIDE, 0.5, np.float32)
            nodes.append(helper.make_node("Add", [f"t{index}", f"c{index}"], [f"t{index + 1}"]))
        else:
            nodes.append(helper.make_node("Relu", [f"t{index}"], [f"t{index + 1}"]))
    return _model(nodes, f"t{size}", arrays)


def shapes(size: int) -> onnx.ModelProto:
    """One layer, and a chain of what exporters write for a Reshape to a computed shape: seven nodes each."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t0"])]
    for index in range(size // 7):
        zero, rest = (numpy_helper.from_array(np.array([value])) for value in (0, -1))
        nodes += [
            helper.make_node("Shape", [f"t{index}"], [f"shape{index}"]),
            helper.make_node("Constant", [], [f"zero{index}"], value=zero),
            helper.make_node("Gather", [f"shape{index}", f"zero{index}"], [f"batch{index}"]),
            helper.make_node("Constant", [], [f"rest{index}"], value=rest),
            helper.make_node("Concat", [f"batch{index}", f"rest{index}"], [f"sizes{index}"], axis=0),
            helper.make_node("Reshape", [f"t{index}", f"sizes{index}"], [f"same{index}"]),
            helper.make_node("Identity", [f"same{index}"], [f"t{index + 1}"]),
        ]
    return _model(nodes, f"t{size // 7}", {"w": _weights(0)})


def folds(size: int) -> onnx.ModelProto:
    """One layer, and a chain of operators on a constant."""
    nodes = [helper.make_node("Neg" if index % 2 else "Abs", [f"c{index}"], [f"c{index + 1}"]) for index in range(size)]
    ends = [helper.make_node("MatMul", ["x", "w"], ["t0"]), helper.make_node("Add", ["t0", f"c{size}"], ["y"])]
    return _model([*nodes, *ends], "y", {"w": _weights(0), "c0": np.full(SIDE, 0.5, np.float32)})


def constants(size: int) -> onnx.ModelProto:
    """One layer, and constants that nobody reads."""
    unused = {f"c{index}": np.full(SIDE, 0.5, np.float32) for index in range(size)}
    return _model([helper.make_node("MatMul", ["x", "w"], ["t0"])], "t0", {"w": _weights(0), **unused})


def layers(size: int) -> onnx.ModelProto:
    """A chain of layers, a digital node behind each."""
    nodes: list[onnx.NodeProto] = []
    weights = {f"w{index}": _weights(index) for index in range(size)}
    for index in range(size):
        nodes.append(helper.make_node("MatMul", [f"t{index}" if index else "x", f"w{index}"], [f"h{index}"]))
        nodes.append(helper.make_node("Relu", [f"h{index}"], [f"t{index + 1}"]))
    return _model(nodes, f"t{size}", weights)


def steps(size: int) -> onnx.ModelProto:
    """One layer that is used again and again, a digital node behind each: two steps each."""
    nodes: list[onnx.NodeProto] = []
    for index in range(size // 2):
        nodes.append(helper.make_node("MatMul", [f"t{index}" if index else "x", "w"], [f"h{index}"]))
        nodes.append(helper.make_node("Relu", [f"h{index}"], [f"t{index + 1}"]))
    return _model(nodes, f"t{size // 2}", {"w": _weights(0)})


KINDS: Mapping[str, Callable[[int], onnx.ModelProto]] = {
    "relus": relus,
    "adds": adds,
    "shapes": shapes,
    "folds": folds,
    "constants": constants,
    "layers": layers,
    "steps": steps,
}
SIZES: Mapping[str, tuple[int, ...]] = {
    "relus": (10_000, 20_000, 40_000),
    "adds": (10_000, 20_000, 40_000),
    "shapes": (10_000, 20_000, 40_000),
    "folds": (2_000, 4_000, 8_000),
    "constants": (20_000, 40_000, 80_000),
    "layers": (250, 500, 1000),
    "steps": (5_000, 10_000, 20_000),
}
COMMANDS: Mapping[str, Sequence[str]] = {
    "check": ("check", "MODEL", "--no-import-check"),
    "compile": ("compile", "MODEL", "-o", "PLAN", "--force", "--no-import-check"),
    "verify": ("verify", "PLAN", "--limit", "1"),
    "report": ("report", "PLAN"),
    "report --html": ("report", "PLAN", "--html", "PLAN.html"),
    "inspect": ("inspect", "PLAN"),
    "cost": ("cost", "PLAN"),
    "compare": ("compare", "PLAN", "PLAN"),
    "diff": ("diff", "PLAN", "PLAN"),
    "export --to onnx": ("export", "PLAN", "--to", "onnx", "--force", "-o", "PLAN.onnx"),
    "export --to cells": ("export", "PLAN", "--to", "cells", "--force", "-o", "PLAN.cells"),
}


def _weights(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((SIDE, SIDE), np.float32) * np.float32(0.2)


def _model(nodes: Sequence[onnx.NodeProto], output: str, arrays: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", SIDE))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ("N", SIDE))],
        [numpy_helper.from_array(values, name) for name, values in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))


def cpu_s(command: Sequence[str], model: Path) -> float:
    """Seconds of processor time that a command takes; a plan lies beside its model."""
    plan = model.with_suffix(".bsc")
    arguments = [each.replace("MODEL", str(model)).replace("PLAN", str(plan)) for each in command]
    begun = time.process_time()
    result = CliRunner().invoke(bsc, arguments)
    if result.exit_code:
        raise SystemExit(f"bsc {' '.join(arguments)}: {result.output} {result.exception!r}")
    return time.process_time() - begun


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--sizes", nargs="*", type=int)
    parser.add_argument("--commands", nargs="*", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    for kind in options.only:
        with tempfile.TemporaryDirectory() as name:
            sizes = options.sizes or SIZES[kind]
            models = [Path(name) / f"{size}.onnx" for size in (min(sizes) // 10, *sizes)]
            for model in models:
                model.write_bytes(KINDS[kind](int(model.stem)).SerializeToString())
            print(f"\n| {kind}, CPU s | {' | '.join(map(str, sizes))} |\n| --- |{' ---: |' * len(sizes)}", flush=True)
            for title in options.commands:
                _, *seconds = (cpu_s(COMMANDS[title], model) for model in models)  # the first one imports what it needs
                print(f"| {title} | {' | '.join(f'{each:.2f}' for each in seconds)} |", flush=True)


if __name__ == "__main__":
    main()
