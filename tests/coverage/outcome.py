"""What becomes of a model: compiled with lossless ADCs, replayed, and compared with onnxruntime."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.errors import BscError
from bsc.ir.graph import DigitalOp, Graph
from bsc.replay.engine import Replayer
from bsc.testing import reference_session
from tests.coverage.cases import CROSSBAR_OPS, Case

TARGET = hw_models.load("isaac")
PIPELINE = default_pipeline(TARGET, rows=128, cols=128, policy="lossless", granularity="column")
Status = Literal["exact", "digital only", "refused", "broken"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one case.

    Attributes:
        name: of the case.
        status: "exact": compiled, and the replay equals the quantised integer model in every result; "digital only":
            nothing in it can go onto crossbars; "refused": another error with a reason; "broken": anything else.
        layers: crossbar layers.
        given: of these, layers whose weight codes are the model's own.
        left: operators that could hold weights and stayed digital, with the reason.
        difference: largest difference of an output from the expected one, over the largest expected value.
        why: the error.
    """

    name: str
    status: Status
    layers: int = 0
    given: int = 0
    left: tuple[str, ...] = ()
    difference: float | None = None
    why: str = ""


def outcome(case: Case) -> Outcome:
    """Compile and replay."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(case.model, path)
        try:
            compiled = compile_model(path, TARGET, CompileOptions(pipeline=PIPELINE, **case.options))
            assert compiled.plan is not None
            replayer = Replayer(compiled.plan.mapping)
            results = replayer.replayed({name: case.feeds[name] for name in compiled.graph.inputs})
        except BscError as error:
            status: Status = "digital only" if error.code == "BSC306" else "refused"
            return Outcome(name=case.name, status=status, why=f"{error.code} {error.problem}: {error.seen}")
        except Exception as error:
            return Outcome(name=case.name, status="broken", why=f"{type(error).__name__}: {error}")
    layers = list(compiled.graph.layers())
    expected = case.expected if case.expected is not None else _expected(case)
    return Outcome(
        name=case.name,
        status="exact" if replayer.exact else "broken",
        layers=len(layers),
        given=sum(layer.given_weights is not None for layer in layers),
        left=tuple(_left(compiled.graph)),
        difference=_difference([results[name] for name in compiled.graph.outputs], expected),
    )


def _left(graph: Graph) -> list[str]:
    return [
        f"{op.op_type}: {op.why or 'no reason'}"
        for op in graph.ops()
        if isinstance(op, DigitalOp) and (op.why or op.op_type in CROSSBAR_OPS)
    ]


def _expected(case: Case) -> Sequence[NDArray[Any]]:
    outputs: Sequence[NDArray[Any]] = reference_session(case.model).run(None, dict(case.feeds))
    return outputs


def _difference(results: Sequence[Any], expected: Sequence[Any]) -> float:
    worst = 0.0
    for result, wanted in zip(results, expected, strict=True):
        if isinstance(wanted, list):  # a sequence of maps
            worst = max(worst, _difference([_values(result)], [_values(wanted)]))
            continue
        if wanted.dtype == object:
            worst = max(worst, 0.0 if np.array_equal(result, wanted) else float("inf"))
            continue
        if result.shape != wanted.shape:
            return float("inf")
        apart = np.abs(result.astype(np.float64) - wanted.astype(np.float64)).max(initial=0)
        worst = max(worst, float(apart / max(float(np.abs(wanted).max(initial=0)), 1e-9)))
    return worst


def _values(maps: Sequence[Any]) -> NDArray[Any]:
    return np.array([[each[key] for key in sorted(each)] for each in maps])
