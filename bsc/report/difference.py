"""What two reports do not have in common: what was chosen, cells and converters, digital operators, and figures.

A relative difference up to 1e-9 is none, and neither is another version of bsc or another file name of the model.
Everything else is seen: values of the documents that no section compares are compared one by one.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import StepRecord, TensorRecord
from bsc.plan.difference import SAME, ArrayDifference
from bsc.plan.document import BudgetRecord, PlanDocument
from bsc.report.document import LayerSpend, ReportDocument, SlicedTotals, Spend, TargetAction
from bsc.report.network import operators_text
from bsc.report.pipelines import pipeline_difference
from bsc.toml_record import Record
from bsc.units import UNKNOWN

HASH_DIGITS = 12
NOT_COMPARED = {"name", "arrays"}
"""Of a layer's record: what it is found by, and the name of a file whose hash is compared."""
CHIP: Final = {
    "inferences_per_s": ("inferences", "/s"),
    "inferences_per_s_bound": ("bound of inferences", "/s"),
    "latency_s": ("latency on the chip", "s"),
    "interval_s": ("interval", "s"),
    "stall_s": ("stall by links", "s"),
    "batch_s": ("16 inferences", "s"),
    "power_w": ("power", "W"),
    "energy_delay_js": ("energy x delay", "Js"),
    "ops_per_s": ("operations/s", "OPS"),
    "ops_per_j": ("operations/s/W", "OPS/W"),
    "ops_per_s_m2": ("operations/s/m²", "OPS"),
    "area_m2": ("area, all copies", "m²"),
    "crossbars": ("crossbars, all copies", "crossbars"),
    "slots_taken": ("places taken", "places"),
    "tiles": ("{tiles} in use", "units"),
    "chips": ("{chips} in use", "units"),
    "busy_share": ("crossbars at work", "1"),
}
"""Figures of the plan on chips by their field: what they are called, and their unit; the target names its levels."""
LAYER_ON_CHIP: Final = {
    "copies": ("copies", "copies"),
    "segment": ("segment", "segments"),
    "crossbars": ("crossbars, all copies", "crossbars"),
    "start_s": ("works from", "s"),
    "end_s": ("works to", "s"),
    "busy_s": ("busy", "s"),
    "critical_s": ("adds to the latency", "s"),
    "held_bits": ("holds in buffers", "bits"),
    "line_bits": ("of its input", "bits"),
    "skip_bits": ("waits for it", "bits"),
    "kept_bits": ("of its result", "bits"),
}
"""The same of layers."""
FREE: Final = ("plan.bsc_version", "plan.model.file")
"""What may be another without a difference."""
SECTIONS: Final = (
    *("plan.model.sha256", "plan.model.opsets.**", "plan.free_batch", "plan.target", "plan.files.**", "plan.pipeline"),
    *("plan.calibration.**", "plan.budget.**", "plan.steps.**", "plan.layers.**"),
    *(f"plan.{side}.*.{key}" for side in ("inputs", "outputs") for key in ("name", "dtype", "shape.**")),
    *("cost.target", "cost.target_sha256", "cost.adc_law"),
    *(f"cost.plan.{key}" for key in ("conversions", "energy_j", "latency_s", "area_m2", "crossbars")),
    *("cost.plan.energy_by_action_j.*", "cost.plan.area_by_part_m2.**"),
    *(f"cost.plan.layers.*.{key}" for key in ("conversions", "energy_j", "adc_energy_j", "latency_s", "area_m2")),
    *(f"chip.plan.{key}" for key in CHIP),
    *(f"chip.layers.*.{key}" for key in LAYER_ON_CHIP),
    *("totals.mean_adc_bits", "totals.proved_share"),
    *(f"layers.*.{key}" for key in ("crossbars", "mean_adc_bits", "proved_share")),
)
"""Paths that the sections compare; `*` is one key of any name, `**` whatever follows."""


@dataclass(frozen=True)
class Hashed:
    """Something told apart by a SHA-256, of which the first digits are shown.

    Attributes:
        text: what it is called; "" for the hash alone.
        sha256: of it; None where it is unknown.
    """

    text: str
    sha256: str | None

    def __str__(self) -> str:
        short = UNKNOWN if self.sha256 is None else self.sha256[:HASH_DIGITS]
        return f"{self.text} ({short})" if self.text else short


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that is not the same in words; None where one side lacks it.

    Attributes:
        name: what it is.
        old: on the old side.
        new: on the new side.
    """

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, kw_only=True)
class FigureChange:
    """A figure that is not the same.

    Attributes:
        layer: its name; None for the whole plan.
        figure: its key, such as `energy_j`.
        label: what it is called.
        unit: SI, or what is counted; "1" for a share.
        old: on the old side; None is unknown.
        new: on the new side.
    """

    layer: str | None
    figure: str
    label: str
    unit: str
    old: float | None
    new: float | None

    @property
    def relative(self) -> float | None:
        """By what part of the old value it grew; None where that is unknown or 0, or past all floats."""
        if self.old is None or self.new is None or self.old == 0:
            return None
        grown = (self.new - self.old) / abs(self.old)
        return grown if math.isfinite(grown) else None

    def beyond(self, tolerance: float) -> bool:
        """Whether it changed by more than a part of the old value; what became known or unknown always did."""
        if self.old is None or self.new is None:
            return True
        return abs(self.new - self.old) > (tolerance + SAME) * abs(self.old)


@dataclass(frozen=True, kw_only=True)
class LayerDifference:
    """A layer that both sides have.

    Attributes:
        name: of the layer.
        settings: what its record says of it.
        hashes: of its file of cells and ADC settings, if they differ.
        arrays: how far these differ; None unless both sides are plan folders.
    """

    name: str
    settings: tuple[Change, ...]
    hashes: Change | None
    arrays: ArrayDifference | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """All that differs between two reports.

    Attributes:
        old: what the old side is called.
        new: what the new side is called.
        facts: model, hardware, ADC law, input ranges and the like.
        removed_steps: steps that only the old pipeline has.
        added_steps: steps that only the new pipeline has.
        removed: layers that only the old side has, in words.
        added: layers that only the new side has, in words.
        layers: layers of both sides that differ.
        steps: steps of the network, by what they write: operators, what they read, and hashes.
        figures: totals, then layer by layer.
        others: further values of the two documents, by their path.
    """

    old: str
    new: str
    facts: tuple[Change, ...]
    removed_steps: tuple[str, ...]
    added_steps: tuple[str, ...]
    removed: tuple[Change, ...]
    added: tuple[Change, ...]
    layers: tuple[LayerDifference, ...]
    steps: tuple[Change, ...]
    figures: tuple[FigureChange, ...]
    others: tuple[Change, ...]

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        chosen = (self.facts, self.removed_steps, self.added_steps, self.removed, self.added, self.layers, self.steps)
        return not any(chosen) and not self.figures and not self.others

    def differs(self, tolerance: float) -> bool:
        """Whether it is more than is tolerated: anything at all if that is 0, else figures, and layers of one side."""
        if tolerance == 0:
            return not self.empty
        return bool(self.removed or self.added) or any(each.beyond(tolerance) for each in self.figures)


def difference(
    old: ReportDocument,
    new: ReportDocument,
    *,
    names: tuple[str, str],
    arrays: Mapping[str, ArrayDifference] | None = None,
) -> Difference:
    """Compare two reports; layers are matched by name.

    Args:
        old: the reference.
        new: the other.
        names: what to call them.
        arrays: by layer, how far the arrays of plans differ, for those whose files do; None if they are not at hand.
    """
    before = {layer.name: layer for layer in old.plan.layers}
    after = {layer.name: layer for layer in new.plan.layers}
    both = [name for name in before if name in after]
    added_steps, removed_steps = pipeline_difference(old.plan.pipeline, new.plan.pipeline)
    layers = (_layer(old.plan, before[name], new.plan, after[name], (arrays or {}).get(name)) for name in both)
    figures = _figures(None, _totals(old), _totals(new))
    for name in both:
        figures += _figures(name, _of_layer(old, name), _of_layer(new, name))
    return Difference(
        old=names[0],
        new=names[1],
        facts=tuple(_changes(_facts(old), _facts(new))),
        removed_steps=tuple(removed_steps),
        added_steps=tuple(added_steps),
        removed=tuple(Change(name=name, old=_size(before[name]), new=None) for name in before if name not in after),
        added=tuple(Change(name=name, old=None, new=_size(after[name])) for name in after if name not in before),
        layers=tuple(layer for layer in layers if layer.settings or layer.hashes),
        steps=tuple(_changes(_steps(old.plan, both), _steps(new.plan, both))),
        figures=tuple(figures),
        others=tuple(_others(old, new, both)),
    )


def difference_json(found: Difference, tolerance: float) -> dict[str, Any]:
    """What `bsc diff --json` prints."""
    figures = [
        {**asdict(each), "relative": each.relative, "beyond_tolerance": each.beyond(tolerance)}
        for each in found.figures
    ]
    return {**asdict(found), "figures": figures, "tolerance": tolerance, "differs": found.differs(tolerance)}


def alike(old: Any, new: Any) -> bool:
    """Whether two values of a record are the same but for last bits of numbers."""
    if isinstance(old, float) and isinstance(new, float):
        return abs(old - new) <= SAME * max(abs(old), abs(new))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return old.keys() == new.keys() and all(alike(value, new[key]) for key, value in old.items())
    return bool(old == new)


def in_words(value: Any) -> str:
    """A value of a record as short text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {in_words(inner)}" for key, inner in value.items())
    if isinstance(value, tuple | list):
        return "-".join(map(in_words, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _in_full(value: Any) -> str:
    """As `in_words`, for values that differ in what that leaves out."""
    if isinstance(value, Hashed):
        return f"{value.text} {value.sha256}".strip()
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_in_full(inner)}" for key, inner in value.items())
    return repr(value) if isinstance(value, float) else in_words(value)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Of values by name, those that only one side has or that are not alike."""
    found = []
    for name in dict.fromkeys((*old, *new)):
        if name not in old or name not in new or not alike(old[name], new[name]):
            words = [in_words(side[name]) if name in side else None for side in (old, new)]
            if words[0] == words[1]:
                words = [_in_full(side[name]) if name in side else None for side in (old, new)]
            found.append(Change(name=name, old=words[0], new=words[1]))
    return found


def _facts(report: ReportDocument) -> dict[str, Any]:
    """What a plan was made of and priced on, by what it is called."""
    plan = report.plan
    same = plan.files.get("target.json", report.cost.target_sha256) == report.cost.target_sha256
    own = same and report.cost.target == plan.target
    facts: dict[str, Any] = {
        "model": Hashed("", plan.model.sha256),
        "opsets": plan.model.opsets,
        "free batch": plan.free_batch,
        "hardware": Hashed(plan.target, plan.files.get("target.json")),
        "priced on": "its own hardware" if own else Hashed(report.cost.target, report.cost.target_sha256),
        "ADC law": report.cost.adc_law,
        "input ranges": "a step for each input vector",
        "accuracy test": None if plan.budget is None else _budget(plan.budget),
        "inputs": _tensors(plan.inputs),
        "outputs": _tensors(plan.outputs),
    }
    if plan.calibration is not None:
        facts["input ranges"] = Hashed(f"steps from {plan.calibration.samples} samples", plan.calibration.sha256)
    return facts


def _budget(budget: BudgetRecord) -> dict[str, Any]:
    return {**budget.model_dump(exclude={"held_out_sha256"}), "held-out data": Hashed("", budget.held_out_sha256)}


def _tensors(tensors: Iterable[TensorRecord]) -> str:
    return ", ".join(f"{each.name} {each.dtype} {_shape(each)}" for each in tensors)


def _shape(tensor: TensorRecord) -> str:
    return "?" if tensor.shape is None else "x".join(map(str, tensor.shape))


def _size(layer: MappedLayer) -> str:
    return f"{layer.op_type} {layer.rows}×{layer.columns}"


def _layer(
    old_plan: PlanDocument, old: MappedLayer, new_plan: PlanDocument, new: MappedLayer, arrays: ArrayDifference | None
) -> LayerDifference:
    settings = _changes(
        *({name: value for name, value in each.model_dump().items() if name not in NOT_COMPARED} for each in (old, new))
    )
    hashes = [plan.files.get(plan.layer_file(layer.name)) for plan, layer in ((old_plan, old), (new_plan, new))]
    return LayerDifference(
        name=old.name,
        settings=tuple(settings),
        hashes=next(iter(_changes(*({"cells and ADCs": Hashed("", each)} for each in hashes))), None),
        arrays=arrays,
    )


def _steps(plan: PlanDocument, both: Iterable[str]) -> dict[str, Hashed | str]:
    """Steps in words by what they write; those of layers that only one side has are left out."""
    known = set(both)
    return {_written(step): _step(plan, step) for step in plan.steps if step.layer is None or step.layer in known}


def _written(step: StepRecord) -> str:
    more = f" and {len(step.outputs) - 1} more" if len(step.outputs) > 1 else ""
    return f"tensor {step.outputs[0]}{more}"


def _step(plan: PlanDocument, step: StepRecord) -> Hashed | str:
    reads = f"of {', '.join(step.inputs)}" if step.inputs else "of constants"
    reads += f", also writes {', '.join(step.outputs[1:])}" if step.outputs[1:] else ""
    if step.digital is None:
        return f"{step.layer} {reads}"
    return Hashed(f"{operators_text(step.operators)} {reads}", plan.files.get(step.digital))


_NOTHING: Final = object()
"""Where a side has no such key."""


def _others(old: ReportDocument, new: ReportDocument, both: Iterable[str]) -> list[Change]:
    """Values that no section compares, of all but layers that only one side has."""
    if old == new:
        return []
    known, levels = set(both), {level.name for level in old.cost.levels[1:-1]}
    shown = (*FREE, *SECTIONS, *(f"cost.plan.units.{name}" for name in levels))
    patterns = [tuple(pattern.split(".")) for pattern in shown]
    changes = []
    for path, *sides in _differing(old, new, known):
        if not any(_matches(path, pattern) for pattern in patterns):
            changes += _changes(*({".".join(path): side} if side is not _NOTHING else {} for side in sides))
    return changes


def _differing(old: Any, new: Any, both: set[str], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of what is not equal, as deep as both sides have tables or lists, and the two values there."""
    if old == new:
        return
    before, after = (_items(side) for side in (old, new))
    if before is None or after is None:
        yield path, old, new
        return
    keys = sorted({*before, *after})  # those of JSON objects have no order
    if path and (path[-1] == "layers" or path == ("cost", "conversions")):
        keys = [key for key in keys if key in both]
    for key in keys:
        yield from _differing(before.get(key, _NOTHING), after.get(key, _NOTHING), both, (*path, key))


def _items(value: Any) -> Mapping[str, Any] | None:
    """Of a table, or a list by name or number; None of anything else."""
    if isinstance(value, Record):
        return dict(value)
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, tuple | list):
        return None
    return {each.name if isinstance(each, MappedLayer) else str(index): each for index, each in enumerate(value)}


def _matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if pattern[-1] == "**":
        pattern = pattern[:-1]
        path = path[: len(pattern)]
    return len(path) == len(pattern) and all(wanted in ("*", key) for wanted, key in zip(pattern, path, strict=True))


def _figures(layer: str | None, old: Sequence["_Figure"], new: Sequence["_Figure"]) -> list[FigureChange]:
    """Those that are not alike, matched by key."""
    before, after = ({each.key: each for each in side} for side in (old, new))
    found = []
    for key, each in (before | after).items():
        values = [side[key].value if key in side else None for side in (before, after)]
        if not alike(*values):
            found.append(
                FigureChange(layer=layer, figure=key, label=each.label, unit=each.unit, old=values[0], new=values[1])
            )
    return found


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """What is compared: as `FigureChange`."""

    key: str
    label: str
    unit: str
    value: float | None


def _totals(report: ReportDocument) -> list[_Figure]:
    spent, cost = report.cost.plan, report.cost
    actions = sorted(cost.actions, key=lambda action: action.name)
    areas = sorted(cost.areas, key=lambda part: part.name) if spent.area_by_part_m2 is not None else []
    return [
        _Figure(key="energy_j", label="energy", unit="J", value=spent.energy_j),
        *(_action(spent, action) for action in actions),
        _Figure(key="latency_s", label="latency", unit="s", value=spent.latency_s),
        _Figure(key="area_m2", label="area", unit="m²", value=spent.area_m2),
        *(
            _Figure(
                key=f"area_by_part_m2.{part.name}",
                label=part.label,
                unit="m²",
                value=(spent.area_by_part_m2 or {}).get(part.name),
            )
            for part in areas
        ),
        _Figure(key="crossbars", label="crossbars", unit="crossbars", value=spent.crossbars),
        *(
            _Figure(key=f"units.{level.name}", label=level.plural, unit=level.plural, value=spent.units[level.name])
            for level in cost.levels[1:-1]
        ),
        *_resolutions(report.totals, spent),
        *_on_chip(report, "chip", report.chip.plan, CHIP),
    ]


def _of_layer(report: ReportDocument, name: str) -> list[_Figure]:
    spend, totals = report.cost.plan.layers[name], report.layers[name]
    return [
        _Figure(key="energy_j", label="energy", unit="J", value=spend.energy_j),
        _Figure(key="adc_energy_j", label="ADC conversions", unit="J", value=spend.adc_energy_j),
        _Figure(key="latency_s", label="latency", unit="s", value=spend.latency_s),
        _Figure(key="area_m2", label="area", unit="m²", value=spend.area_m2),
        _Figure(key="crossbars", label="crossbars", unit="crossbars", value=totals.crossbars),
        *_resolutions(totals, spend),
        *_on_chip(report, "on_chip", report.chip.layers[name], LAYER_ON_CHIP),
    ]


def _on_chip(
    report: ReportDocument, prefix: str, record: Record, fields: Mapping[str, tuple[str, str]]
) -> Iterator[_Figure]:
    tiles, chips = (level.plural for level in report.cost.levels[-2:])
    for key, (words, unit) in fields.items():
        label = words.format(tiles=tiles, chips=chips)
        yield _Figure(key=f"{prefix}.{key}", label=label, unit=unit, value=getattr(record, key))


def _action(spend: Spend, action: TargetAction) -> _Figure:
    value = spend.energy_by_action_j.get(action.name)
    return _Figure(key=f"energy_by_action_j.{action.name}", label=action.label, unit="J", value=value)


def _resolutions(totals: SlicedTotals, spend: Spend | LayerSpend) -> list[_Figure]:
    return [
        _Figure(key="conversions", label="conversions", unit="conversions", value=spend.conversions),
        _Figure(key="mean_adc_bits", label="mean ADC bits", unit="bit", value=totals.mean_adc_bits),
        _Figure(key="proved_share", label="proved lossless", unit="1", value=totals.proved_share),
    ]
