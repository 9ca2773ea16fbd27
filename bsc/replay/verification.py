"""What `bsc verify` finds out: is the replay exact, how far is it from the float model, and how accurate."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import GateError, ModelError
from bsc.execution.program import GROWTH
from bsc.execution.session import run_session
from bsc.limits import bounded_memory
from bsc.plan.document import Plan
from bsc.replay.dataset import Dataset
from bsc.replay.engine import Replayer, ReplayOptions
from bsc.replay.original import open_session, read_file
from bsc.replay.paired import PairedAccuracy, paired_accuracy
from bsc.replay.per_layer import LayerComparison, LayerDifference
from bsc.replay.scored import batches_for
from bsc.replay.scores import DifferenceSum, OutputDifference, accuracy, require_scores, scored_output
from bsc.replay.tally import LayerTally

RANDOM_SAMPLES = 64
COMPARED_BYTES = 1 << 28
"""Of an output in one batch, up to which it is compared with the float model beside the one that is scored."""
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
        outputs: difference of every output from the float model, by name; None if that was not given.
        accuracy: None without labels.
        paired: the replayed beside the quantised model, None without labels.
        layers: difference of every layer's results from the float model's, by name; None unless asked for.
    """

    samples: int
    source: str
    tallies: dict[str, LayerTally]
    outputs: dict[str, OutputDifference] | None
    accuracy: Accuracy | None
    paired: PairedAccuracy | None
    layers: dict[str, LayerDifference] | None = None

    @property
    def exact(self) -> bool:
        """Whether every layer result equals the quantised integer model's on the same inputs."""
        return all(tally.differing == 0 for tally in self.tallies.values())

    @property
    def difference_max(self) -> float | None:
        """Largest difference of an output from the float model; None if that was not given, or one is not finite."""
        return _worst(each.largest for each in (self.outputs or {}).values())

    @property
    def difference_rms(self) -> float | None:
        """Largest relative root mean square of the difference of an output, likewise."""
        return _worst(each.relative_rms for each in (self.outputs or {}).values())

    def require_lossless(self, plan: Plan) -> None:
        """Refuse a plan that claims to be lossless and is not.

        Raises:
            GateError: BSC501 naming the first layer.
        """
        for layer in plan.mapping.layers:
            tally = self.tallies[layer.name]
            if layer.adc_policy == "lossless" and tally.differing:
                raise GateError(
                    "BSC501",
                    f"layer '{layer.name}': the replay of a lossless plan is not exact",
                    seen=f"{tally.differing} of {tally.results} results differ, {tally.clipped} conversions clipped",
                    fix="the plan was altered or a pass is wrong; compile again, and report it if it stays",
                )


def _worst(values: Iterable[float | None]) -> float | None:
    """The largest of the values that are there."""
    return max((value for value in values if value is not None), default=None)


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
        ModelError: BSC308 if a label is not an output; BSC307 if `model` is not the plan's model, or if column sums
            are not those of the cells.
    """
    replayer = Replayer(plan.mapping, options)
    session = None if model is None else _float_session(plan, model)
    comparison = _compared_layers(plan, model) if per_layer and model is not None else None
    scored = scored_output(plan.mapping.outputs)
    constants = {each.name: each.array() for each in plan.provenance.model.constants}
    scores: dict[str, list[NDArray[Any]]] = {"quantised": [], "replayed": [], "float": []}
    differences = {tensor.name: DifferenceSum() for tensor in plan.mapping.outputs}

    too_large: set[str] = set()
    """In some batch, so that what was compared of them in others says nothing of the whole."""

    def take_in(batch: dict[str, NDArray[Any]]) -> None:
        """Compare one batch; of its results nothing but scores is kept until the next."""
        replayed = replayer.replayed(batch, () if comparison is None else comparison.tensors)
        if comparison is not None:
            _add(comparison, replayed, batch | constants)
        compared = [name for name in differences if name == scored or _bytes(replayed[name]) <= COMPARED_BYTES]
        too_large.update(differences.keys() - set(compared))
        replayed = {name: replayed[name] for name in compared}  # large ones are gone before the float model runs
        wanted = {} if session is None else _run_float(session, compared, batch | constants)
        for name, value in wanted.items():
            differences[name].add(replayed[name], value)
        if data.labels is None:
            return
        require_scores(replayed[scored], data.labels)
        # Equal layer results mean equal outputs, so the second run is needed only for lossy plans.
        quantised = replayed if replayer.exact else replayer.quantised(batch)
        for kind, results in (("replayed", replayed), ("quantised", quantised), ("float", wanted)):
            if results:
                scores[kind].append(results[scored])

    for batch in batches_for(plan.mapping, data):
        take_in(batch)
        advance(data.rows(batch))
    differences |= {name: DifferenceSum() for name in too_large}
    accuracies = paired = None
    if data.labels is not None:
        accuracies = _accuracies(scores, data.labels)
        paired = paired_accuracy(np.concatenate(scores["quantised"]), np.concatenate(scores["replayed"]), data.labels)
    return Verification(
        samples=data.samples,
        source=source,
        tallies=replayer.tallies,
        outputs=None if session is None else {name: each.found() for name, each in differences.items()},
        accuracy=accuracies,
        paired=paired,
        layers=None if comparison is None else comparison.found(),
    )


def _float_session(plan: Plan, model: Path) -> Any:
    from bsc.frontend.model_file import model_digest

    digest = model_digest(model)
    if digest != plan.provenance.model.sha256:
        raise ModelError(
            "BSC307",
            f"model '{model.name}' is not the one the plan was made from",
            seen=f"SHA-256 {digest[:12]}..., the plan records {plan.provenance.model.sha256[:12]}...",
            fix=f"give the '{plan.provenance.model.file}' that was compiled, or compile again",
        )
    try:
        with bounded_memory(SESSION_GROWTH * model.stat().st_size, SESSION_BYTES):
            return open_session(model, read_file(model))
    except Exception as error:  # as above
        raise _unrunnable(error) from None


def _run_float(session: Any, outputs: list[str], batch: dict[str, NDArray[Any]]) -> dict[str, Any]:
    try:
        with bounded_memory(GROWTH * sum(values.nbytes for values in batch.values())):
            results = run_session(session, outputs, batch)
    except Exception as error:  # onnxruntime raises a kind of its own for each failure
        raise _unrunnable(error) from None
    return dict(zip(outputs, results, strict=True))


def _bytes(value: Any) -> int:
    return getattr(value, "nbytes", 0)  # sequences and maps are small


def _compared_layers(plan: Plan, model: Path) -> LayerComparison:
    try:
        return LayerComparison(plan.mapping, model)
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


def _accuracies(scores: dict[str, list[NDArray[Any]]], labels: NDArray[np.int64]) -> Accuracy:
    return Accuracy(
        float_model=accuracy(scores["float"], labels) if scores["float"] else None,
        quantised=accuracy(scores["quantised"], labels),
        replayed=accuracy(scores["replayed"], labels),
    )
