"""What `bsc verify` finds out: is the replay exact, how far is it from the float model, and how accurate."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import GateError, ModelError
from bsc.execution.program import GROWTH
from bsc.execution.session import quiet_session, run_session
from bsc.limits import bounded_memory
from bsc.plan.document import Plan
from bsc.replay.dataset import Dataset
from bsc.replay.engine import Replayer, ReplayOptions
from bsc.replay.paired import PairedAccuracy, paired_accuracy
from bsc.replay.per_layer import LayerComparison, LayerDifference
from bsc.replay.scores import accuracy, difference, require_scores
from bsc.replay.tally import LayerTally

RANDOM_SAMPLES = 64
SESSION_BYTES = 1 << 28
"""What onnxruntime may take to open the float model, beside `SESSION_GROWTH` times its file."""
SESSION_GROWTH = 4


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of samples whose largest output is their label, 0 to 1.

    Attributes:
        float_model: of the model itself in onnxruntime, None if it was not given.
        quantised: of the quantised integer model.
        replayed: of the crossbars.
    """

    float_model: float | None
    quantised: float
    replayed: float


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Findings over all samples.

    Attributes:
        samples: how many.
        source: where they came from.
        tallies: counts by layer.
        difference_max: largest difference of an output from the float model, None if that was not given.
        difference_rms: root mean square of the same, over the root mean square of the float outputs.
        accuracy: None without labels.
        paired: the replayed beside the quantised model, None without labels.
        layers: difference of every layer's results from the float model's, by name; None unless asked for.
    """

    samples: int
    source: str
    tallies: dict[str, LayerTally]
    difference_max: float | None
    difference_rms: float | None
    accuracy: Accuracy | None
    paired: PairedAccuracy | None
    layers: dict[str, LayerDifference] | None = None

    @property
    def exact(self) -> bool:
        """Whether every layer result equals the quantised integer model's on the same inputs."""
        return all(tally.differing == 0 for tally in self.tallies.values())

    def require_lossless(self, plan: Plan) -> None:
        """Refuse a plan that claims to be lossless and is not.

        Raises:
            GateError: BSC501 naming the first layer.
        """
        for layer in plan.layers:
            tally = self.tallies[layer.name]
            if layer.adc_policy == "lossless" and tally.differing:
                raise GateError(
                    "BSC501",
                    f"layer '{layer.name}': the replay of a lossless plan is not exact",
                    seen=f"{tally.differing} of {tally.results} results differ, {tally.clipped} conversions clipped",
                    fix="the plan was altered or a pass is wrong; compile again, and report it if it stays",
                )


def verify(
    plan: Plan,
    data: Dataset,
    source: str,
    model: Path | None,
    *,
    per_layer: bool = False,
    options: ReplayOptions | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Replay a plan and hold it against the quantised integer model and, if given, the float model.

    Args:
        plan: from its folder.
        data: inputs.
        source: what to call them.
        model: the ONNX file the plan was made from.
        per_layer: compare the results of every layer too; needs the model.
        options: how the plan is replayed.
        advance: called with the number of samples whenever some are done.

    Raises:
        ModelError: BSC308 if a label is no output; BSC307 if `model` is not the plan's model, or if column sums
            are not those of the cells.
    """
    replayer = Replayer(plan, options)
    session = None if model is None else _float_session(plan, model)
    comparison = _compared_layers(plan, model) if per_layer and model is not None else None
    name = plan.document.outputs[0].name
    outputs: dict[str, list[NDArray[Any]]] = {"quantised": [], "replayed": [], "float": []}

    def replayed(batch: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """The named output; no other result of a batch is kept until the next."""
        results = replayer.replayed(batch, () if comparison is None else comparison.tensors)
        if comparison is not None:
            _add(comparison, results, batch)
        return results[name]

    for batch in data.batches(max((layer.input_values for layer in plan.layers), default=1)):
        outputs["replayed"].append(replayed(batch))
        # Equal layer results mean equal outputs, so the second run is needed only for lossy plans.
        outputs["quantised"].append(outputs["replayed"][-1] if replayer.exact else replayer.quantised(batch)[name])
        if session is not None:
            outputs["float"].append(_run_float(session, name, batch))
        require_scores(outputs["replayed"][-1], data.labels)
        advance(data.rows(batch))
    accuracies = paired = None
    if data.labels is not None:
        accuracies = _accuracies(outputs, data.labels)
        paired = paired_accuracy(np.concatenate(outputs["quantised"]), np.concatenate(outputs["replayed"]), data.labels)
    largest, relative = difference(outputs["replayed"], outputs["float"])
    return Verification(
        samples=data.samples,
        source=source,
        tallies=replayer.tallies,
        difference_max=largest,
        difference_rms=relative,
        accuracy=accuracies,
        paired=paired,
        layers=None if comparison is None else comparison.found(),
    )


def _float_session(plan: Plan, model: Path) -> Any:
    from bsc.frontend.model_file import model_digest

    digest = model_digest(model)
    if digest != plan.document.model.sha256:
        raise ModelError(
            "BSC307",
            f"model '{model.name}' is not the one the plan was made from",
            seen=f"SHA-256 {digest[:12]}..., the plan records {plan.document.model.sha256[:12]}...",
            fix=f"give the '{plan.document.model.file}' that was compiled, or compile again",
        )
    try:
        with bounded_memory(SESSION_GROWTH * model.stat().st_size, SESSION_BYTES):
            return quiet_session(model)
    except Exception as error:  # as above
        raise _unrunnable(error) from None


def _run_float(session: Any, output: str, batch: dict[str, NDArray[Any]]) -> NDArray[Any]:
    try:
        with bounded_memory(GROWTH * sum(values.nbytes for values in batch.values())):
            result: NDArray[Any] = run_session(session, [output], batch)[0]
    except Exception as error:  # onnxruntime raises a kind of its own for each failure
        raise _unrunnable(error) from None
    return result


def _compared_layers(plan: Plan, model: Path) -> LayerComparison:
    try:
        return LayerComparison(plan, model)
    except Exception as error:  # as above
        raise _unrunnable(error) from None


def _add(comparison: LayerComparison, replayed: dict[str, NDArray[Any]], batch: dict[str, NDArray[Any]]) -> None:
    try:
        comparison.add(replayed, batch)
    except Exception as error:  # as above
        raise _unrunnable(error) from None


def _unrunnable(error: Exception) -> ModelError:
    return ModelError(
        "BSC304",
        "onnxruntime cannot run the float model",
        seen=str(error).strip().splitlines()[0][:200],
        fix="leave --model out: the replay does not need it",
    )


def _accuracies(outputs: dict[str, list[NDArray[Any]]], labels: NDArray[np.int64]) -> Accuracy:
    return Accuracy(
        float_model=accuracy(outputs["float"], labels) if outputs["float"] else None,
        quantised=accuracy(outputs["quantised"], labels),
        replayed=accuracy(outputs["replayed"], labels),
    )
