"""The report of a replay that was compared with its models, and of proofs that were checked; as text and as JSON."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
from rich.console import Group, RenderableType

from bsc.numeric.paired_bound import CONFIDENCE
from bsc.plan.document import ImportRecord, Plan
from bsc.replay.per_layer import LayerDifference
from bsc.replay.proofs import LayerProof
from bsc.replay.scores import MAX_RELATIVE_RMS, OutputDifference
from bsc.replay.verification import Verification
from bsc.report.text import new_table, plain_text
from bsc.units import UNKNOWN


@dataclass(frozen=True, eq=False, kw_only=True)
class VerificationReport:
    """What `bsc verify` prints.

    Attributes:
        plan: the plan that was replayed.
        found: the findings.
        proofs: what was checked of every layer's proofs, or None.
    """

    plan: Plan
    found: Verification
    proofs: Mapping[str, LayerProof] | None = None

    def __rich__(self) -> RenderableType:
        found = self.found
        results = sum(tally.results for tally in found.tallies.values())
        differing = sum(tally.differing for tally in found.tallies.values())
        conversions = sum(tally.conversions for tally in found.tallies.values())
        clipped = sum(tally.clipped for tally in found.tallies.values())
        proved = sum(tally.proved for tally in found.tallies.values())
        skipped = f", {proved} of which are proved lossless and not carried out" if proved else ""
        lines = [
            f"model      {self.plan.document.model.file}",
            f"data       {found.source}, {found.samples} samples",
            f"exact: {'yes' if found.exact else 'no'}",
            f"           {differing} of {results} layer results differ from the quantised integer model",
            f"import     {imported(self.plan.document.model.check)}",
            *(f"note       {note}" for note in self.plan.document.model.notes),
            f"clipped    {clipped} of {conversions} conversions{skipped}",
        ]
        if found.outputs is None:
            lines.append(f"float      {UNKNOWN}: needs the model with --model")
        else:
            lines += _differences(found.outputs)
        if found.accuracy is not None:
            shares = [("quantised", found.accuracy.quantised), ("replayed", found.accuracy.replayed)]
            if found.accuracy.float_model is not None:
                shares.insert(0, ("float", found.accuracy.float_model))
            lines.append("accuracy   " + ", ".join(f"{name} {share:.2%}" for name, share in shares))
        if found.paired is not None and not found.exact:
            paired = found.paired
            lines.append(
                f"drop       {100 * paired.drop:.2f} points: {paired.lost} samples lost, {paired.gained} gained; "
                f"below {100 * paired.drop_bound:.2f} points with {CONFIDENCE:.0%} confidence"
            )
        if self.proofs is not None:
            lines += self._proofs(self.proofs.values())
        text = plain_text(*lines)
        return text if found.layers is None else Group(text, _difference_table(found.layers))

    def _proofs(self, checked: Iterable[LayerProof]) -> Iterator[str]:
        conversions, lossless, vectors, attacked = np.sum([astuple(each) for each in checked], axis=0).tolist()
        pairs = any(layer.cells.analog_pairs for layer in self.plan.mapping.layers)
        yield (
            f"proofs     {conversions} {'pairs' if pairs else 'slice columns'} derived again from the cells, all as "
            f"recorded; {lossless} lossless for any input"
        )
        if vectors:
            yield f"attacks    {attacked} conversions under {vectors} inputs made against them, nothing lost"


def imported(check: ImportRecord | None) -> str:
    """How the imported model, which *exact* is relative to, was checked against its file."""
    if check is None or check.inputs == "none":
        return f"not checked against the file: {check.reason if check is not None else 'not compiled from one'}"
    what = f"{'made-up ' if check.inputs == 'made-up' else ''}sample{'s' if check.samples > 1 else ''}"
    return f"equals the file in onnxruntime on {check.samples} {what}, but for rounding; as recorded"


def _differences(outputs: Mapping[str, OutputDifference]) -> Iterator[str]:
    """A line for every output."""
    for number, (name, each) in enumerate(outputs.items()):
        head = "           " if number else "float      "
        head += f"{name}: " if len(outputs) > 1 else ""
        if each.largest is None:
            found = f"{each.differing} of {each.values} differ; no numbers, or not all of them finite"
            yield head + (found if each.values else f"{UNKNOWN}: empty, or too large to be compared")
        else:
            relative = UNKNOWN if each.relative_rms is None else f"{each.relative_rms:.3g}"
            yield f"{head}largest difference {each.largest:.3g}, relative RMS {relative}"
            if each.relative_rms is not None and each.relative_rms > MAX_RELATIVE_RMS:
                yield f"           above {MAX_RELATIVE_RMS:.0%}: --per-layer shows where; see --keep-digital"


def verification_json(found: Verification, proofs: Mapping[str, LayerProof] | None = None) -> dict[str, Any]:
    """What `bsc verify --json` prints; `proofs` is null unless they were checked."""
    return {
        "samples": found.samples,
        "data": found.source,
        "exact": found.exact,
        "layers": {name: asdict(tally) for name, tally in found.tallies.items()},
        "float_difference_max": found.difference_max,
        "float_difference_relative_rms": found.difference_rms,
        "outputs": None if found.outputs is None else {name: asdict(each) for name, each in found.outputs.items()},
        "accuracy": None if found.accuracy is None else asdict(found.accuracy),
        "proofs": None if proofs is None else {name: asdict(proof) for name, proof in proofs.items()},
        "accuracy_drop": None
        if found.paired is None
        else {**asdict(found.paired), "drop": found.paired.drop, "drop_bound_95": found.paired.drop_bound},
        "layer_differences": None
        if found.layers is None
        else {name: asdict(each) for name, each in found.layers.items()},
    }


def _difference_table(layers: Mapping[str, LayerDifference]) -> RenderableType:
    table = new_table("Difference from the float model", ("layer", "largest", "relative RMS"), 1)
    for name, each in layers.items():
        values = (each.largest, each.relative_rms)
        table.add_row(name, *(UNKNOWN if value is None else f"{value:.3g}" for value in values))
    return table
