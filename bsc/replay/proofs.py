"""Checking what a plan claims to be proved, from its cells alone.

Every bound is derived again from the weight codes, with none of the code that made it: no tables, no packed lanes, one
row group, slice and polarity after another. Then the layers that claim to be lossless are attacked: inputs that drive
exactly the cells of a column, those of the tightest columns first, run through every conversion of the exact engine.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bsc.errors import GateError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel, Segment
from bsc.numeric.paired_bound import CONFIDENCE, drop_bound
from bsc.numeric.quantizer import code_limits, input_cycles
from bsc.plan.document import Plan
from bsc.replay.activations import mapped_codes
from bsc.replay.engine import LayerEngine, ReplayOptions
from bsc.replay.loaded import PlanRunner

ATTACKED = 64
"""Conversions of a layer that inputs are made against."""

RANDOM_VECTORS = 16
SIGNS = "+-"


@dataclass(frozen=True, kw_only=True)
class LayerProof:
    """What was checked of one layer.

    Attributes:
        conversions: conversions of one input digit, over all row groups; each had its bound derived again.
        lossless: those that lose nothing whatever the input.
        vectors: input vectors it was attacked with; 0 if it does not claim to be lossless.
        attacked: conversions carried out under attack, none of which lost anything.
    """

    conversions: int
    lossless: int
    vectors: int
    attacked: int


def check_proofs(mapping: MappedModel, seed: int = 0) -> dict[str, LayerProof]:
    """Derive every bound of a plan again, and attack the layers that claim to be lossless.

    Args:
        mapping: of a plan from its folder.
        seed: of the random vectors among the attacks.

    Returns:
        What was checked, by layer.

    Raises:
        GateError: BSC504 for a recorded bound that is not that of the cells, a resolution that does not cover its
            bound in a layer that claims to be lossless, or an attack that such a layer does not survive.
    """
    return {layer.name: _check_layer(layer, mapping.arrays(layer), seed) for layer in mapping.layers}


def check_records(plan: Plan) -> None:
    """Derive what plan.json says of digital operators, places and data, as far as it follows from others.

    Raises:
        GateError: BSC504 for operators that are not those of their file, crossbars that are not where the copies before
            them end, conversions that are not those of the observed vectors, layers that were observed on more samples
            than there are, a drop that is not that of the samples lost and gained, or one beyond the budget.
    """
    document = plan.document
    _check_operators(plan.mapping)
    _check_first_slots(plan)
    _check_segments(plan.mapping)
    samples = 0 if document.calibration is None else document.calibration.samples
    for layer in document.layers:
        if layer.observed is not None:
            cycles = len(input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits))
            seen, expected = layer.observed, layer.observed.vectors * cycles
            if seen.samples > samples or seen.conversions != expected:
                raise _refused(
                    layer,
                    "what is recorded of calibration data does not fit together",
                    f"{seen.conversions} conversions on {seen.samples} samples, where {seen.vectors} vectors make "
                    f"{expected} and there are {samples} samples",
                )
    budget = document.budget
    if budget is None:
        return
    drop = (budget.lost - budget.gained) / budget.samples
    possible = budget.lost + budget.gained <= budget.samples and budget.confidence == CONFIDENCE
    bound = drop_bound(budget.lost, budget.gained, budget.samples) if possible else None
    if bound is None or not (math.isclose(budget.drop, drop) and math.isclose(budget.drop_bound, bound)):
        raise _altered(
            "the recorded accuracy drop is not that of its samples",
            f"{budget.drop:g}, below {budget.drop_bound:g} with {budget.confidence:.0%} confidence, for {budget.lost} "
            f"of {budget.samples} samples lost and {budget.gained} gained",
        )
    if budget.max_drop is not None and bound > budget.max_drop:
        raise _altered(
            "the recorded accuracy drop is more than the budget allows",
            f"below {bound:g} with {budget.confidence:.0%} confidence, {budget.max_drop:g} allowed",
        )


def _check_operators(mapping: MappedModel) -> None:
    for step in mapping.program():
        if isinstance(step, Segment):
            found = Counter(node.op_type for node in onnx.load_from_string(step.model).graph.node)
            if found != Counter(step.operators):
                raise _altered(
                    f"the recorded digital operators before tensor '{step.outputs[0]}' are not those of their file",
                    f"{dict(step.operators)} recorded, {dict(found)} in the file",
                )


def _check_first_slots(plan: Plan) -> None:
    """Layers lie in their order, each from the next smallest part on, or beside the one before it on its crossbars.

    The first layer of a segment that is loaded over another one begins anew.
    """
    counts = [level.count for level in plan.target.level if level.count is not None]
    part, tile = counts[0] if len(counts) > 1 else 1, math.prod(counts[:-1])
    start = end = row = column = segment = 0
    for layer in plan.document.layers:
        placed = layer.placed
        if placed is None:
            continue
        if placed.rules.slots % tile:
            raise _refused(layer, "the places at hand are not those of whole tiles", f"{placed.rules.slots} places")
        if placed.rules.policy == "none" and placed.copies > 1:
            raise _refused(layer, "it has copies that nobody chose", f"{placed.copies} copies")
        shares = placed.rules.pack and placed.row > 0 and placed.segment == segment
        if placed.segment != segment:
            segment, end = placed.segment, 0
        if not shares:
            start, row, column = math.ceil(end / part) * part, 0, 0
        recorded = placed.first_slot, placed.row, placed.column
        if recorded != (start, row, column) or (shares and placed.end_slot != end):
            raise _refused(
                layer,
                "it is not where the layers before it end",
                f"place {recorded[0]}, row {recorded[1]}, column {recorded[2]} recorded, place {start}, row {row}, "
                f"column {column} derived",
            )
        end, row = placed.end_slot, row + layer.mapped_rows
        column += layer.mapped_columns + (layer.encoding != "differential")


def _check_segments(mapping: MappedModel) -> None:
    """No layer reads what a segment that is loaded later gives."""
    layers = {layer.name: layer for layer in mapping.layers}
    there = dict.fromkeys((tensor.name for tensor in mapping.inputs), 0)
    for step in mapping.program():
        given = max((there[name] for name in step.inputs), default=0)
        if not isinstance(step, Segment):
            layer = layers[step.layer]
            own = 0 if layer.placed is None else layer.placed.segment
            if given > own:
                raise _refused(layer, "it reads what a later segment gives", f"segment {own} reads of segment {given}")
            given = own
        there |= dict.fromkeys(step.outputs, given)


def check_vectors(mapping: MappedModel, feeds: Mapping[str, NDArray[Any]]) -> None:
    """Count the input vectors of every layer in one inference, which counts and prices are multiplied with.

    Args:
        mapping: of a plan from its folder.
        feeds: the inputs of one inference: one sample, or as many as the model takes at a time.

    Raises:
        GateError: BSC504 for a layer that takes another number than is recorded.
    """
    plan = PlanRunner(mapping)
    vectors = dict.fromkeys(plan.layers, 0)

    def results(name: str, codes: NDArray[Any]) -> NDArray[np.float64]:
        layer, arrays = plan.layers[name]
        vectors[name] += len(codes)
        driven = mapped_codes(arrays, codes)
        columns = arrays.codes.reshape(layer.mapped_rows, layer.groups, layer.mapped_columns // layer.groups)
        products: NDArray[np.float64] = np.einsum("vgk,kgn->vgn", driven, columns, dtype=np.float64)
        return products.reshape(len(codes), layer.mapped_columns)

    plan.run(feeds, results)
    for layer in mapping.layers:
        if vectors[layer.name] != layer.vectors:
            raise _refused(
                layer,
                "the recorded 'vectors' are not those of one inference",
                f"{layer.vectors} recorded, {vectors[layer.name]} when it is run",
            )


def _check_layer(layer: MappedLayer, arrays: LayerArrays, seed: int) -> LayerProof:
    _check_places(layer, arrays)
    derived = _Derived.of(layer, arrays)
    for name in ("sums", "gcds", "nonzeros"):
        _require_equal(layer, name, getattr(arrays, name), getattr(derived, name))
    low, high, step = derived.sum_range(layer)
    _check_observed(layer, arrays, low, high, step)
    lowest = arrays.lowest_codes.astype(np.int64)
    highest = lowest + 2 ** arrays.adc_bits.astype(np.int64) - 1
    covered = (lowest * arrays.adc_lsb <= low) & (high <= highest * arrays.adc_lsb) & (step % arrays.adc_lsb == 0)
    conversions, lossless = covered.size, int(np.count_nonzero(covered))
    if layer.adc_policy != "lossless":
        return LayerProof(conversions=conversions, lossless=lossless, vectors=0, attacked=0)
    if lossless < conversions:
        here = tuple(np.argwhere(~covered)[0].tolist())
        raise _refused(
            layer,
            f"the resolution of {_place(layer, here)} does not cover its sums",
            f"{int(arrays.adc_bits[here])} bits in steps of {int(arrays.adc_lsb[here])} from code {int(lowest[here])} "
            f"on, for sums from {int(low[here])} to {int(high[here])} in steps of {int(step[here])}",
        )
    slack = np.minimum(highest * arrays.adc_lsb - high, low - lowest * arrays.adc_lsb)
    vectors = np.concatenate(list(_attacks(layer, arrays, derived, slack, seed)))
    attacked = _attack(layer, replace(arrays, sums=derived.sums, gcds=derived.gcds), vectors)
    return LayerProof(conversions=conversions, lossless=lossless, vectors=len(vectors), attacked=attacked)


def _check_places(layer: MappedLayer, arrays: LayerArrays) -> None:
    """A copy takes a place for each crossbar, and one for each that may have to sum up the inputs of others alone."""
    if layer.placed is None:
        return
    crossbars, each = int(np.count_nonzero(arrays.allocated)), layer.placed.crossbars_per_copy
    empty = int(np.count_nonzero(~arrays.allocated.any(axis=(2, 3)))) if layer.encoding != "differential" else 0
    most = crossbars + empty
    if arrays.allocated.shape[:2] == (1, 1):  # it may share crossbars, and then has a place for each slice and sign
        most = max(most, arrays.allocated.size)
    if not crossbars <= each <= most:
        raise _refused(
            layer, "its copies take other places than its crossbars do", f"{each} places, {crossbars} crossbars"
        )


def _check_observed(
    layer: MappedLayer,
    arrays: LayerArrays,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    step: NDArray[np.uint8],
) -> None:
    """Refuse sums that no data can have caused."""
    for name in ("observed_sums", "observed_lows"):
        seen = getattr(arrays, name)
        if seen is None:
            continue
        sums = seen.astype(np.int64)
        impossible = np.argwhere((sums < low) | (sums > high) | (sums % np.maximum(step, 1) != 0))
        if len(impossible):
            here = tuple(impossible[0].tolist())
            raise _refused(
                layer,
                f"no data can have caused the recorded '{name}' of {_place(layer, here)}",
                f"{int(sums[here])} recorded, for sums from {int(low[here])} to {int(high[here])} in steps of "
                f"{int(step[here])}",
            )


def _attack(layer: MappedLayer, arrays: LayerArrays, vectors: NDArray[np.int64]) -> int:
    """Run input codes (V, G, mapped rows) through every conversion; how many there were."""
    engine = LayerEngine(layer, arrays, ReplayOptions(every_conversion=True))
    engine.results(_over_model_rows(layer, arrays, vectors).astype(np.float64))
    tally = engine.tally
    if tally.differing or tally.clipped:
        raise _refused(
            layer,
            "conversions lose something under attack",
            f"{tally.differing} of {tally.results} results differ, "
            f"{tally.clipped} of {tally.conversions} conversions clipped",
        )
    return tally.conversions


@dataclass(frozen=True, eq=False)
class _Derived:
    """Bounds straight from the cells, each (R, S, P, N)."""

    sums: NDArray[np.uint32]
    gcds: NDArray[np.uint8]
    nonzeros: NDArray[np.uint32]

    @classmethod
    def of(cls, layer: MappedLayer, arrays: LayerArrays) -> "_Derived":
        polarities = 1 if layer.encoding == "offset" else 2
        shape = (layer.row_groups, len(layer.slice_bits), polarities, layer.mapped_columns)
        derived = cls(np.zeros(shape, np.uint32), np.zeros(shape, np.uint8), np.zeros(shape, np.uint32))
        for group, slice_, polarity in np.ndindex(shape[:3]):
            here = group, slice_, polarity
            levels = _levels(layer, arrays, *here)
            derived.sums[here] = levels.sum(axis=0)
            derived.gcds[here] = np.gcd.reduce(levels, axis=0)
            derived.nonzeros[here] = np.count_nonzero(levels, axis=0)
        return derived

    def sum_range(self, layer: MappedLayer) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """Lowest and highest sum that some input causes, and a divisor of all sums, each (R, S, Q, N)."""
        digit_bits = min(layer.dac_bits, layer.input_bits - layer.input_signed)
        high = self.sums.astype(np.int64) * (2**digit_bits - 1)
        if layer.subtraction == "digital":
            return np.zeros_like(high), high, self.gcds
        return -high[:, :, 1:2], high[:, :, 0:1], np.gcd(self.gcds[:, :, 0:1], self.gcds[:, :, 1:2])


def _levels(layer: MappedLayer, arrays: LayerArrays, row_group: int, slice_: int, polarity: int) -> NDArray[np.uint8]:
    """Levels that are programmed for one row group, slice and polarity, (rows, N)."""
    first = row_group * layer.active_rows
    codes = arrays.codes[first : first + layer.active_rows].astype(np.int64)
    if layer.encoding == "offset":
        codes = codes + 2**layer.weight_bits
    elif arrays.centres is not None:
        codes = codes - arrays.centres[first // layer.tile_rows].astype(np.int64)
    magnitude = np.maximum(codes if polarity == 0 else -codes, 0)
    base = 2 ** layer.slice_bits[slice_]
    levels = magnitude // 2 ** sum(layer.slice_bits[:slice_]) % base
    if arrays.flipped is not None:
        levels = np.where(arrays.flipped[row_group, slice_, polarity], base - 1 - levels, levels)
    return np.asarray(levels, np.uint8)


def _attacks(
    layer: MappedLayer, arrays: LayerArrays, derived: _Derived, slack: NDArray[np.int64], seed: int
) -> Iterator[NDArray[np.int64]]:
    """Input codes (V, G, mapped rows): everything driven, the cells of the tightest conversions, and random codes."""
    full = -1 if layer.input_signed else 2**layer.input_bits - 1  # every digit is the highest
    shape = (layer.groups, layer.mapped_rows)
    yield np.full((1, *shape), full)
    low, high = code_limits(layer.input_bits, signed=layer.input_signed)
    yield np.random.default_rng(seed).integers(low, high, (RANDOM_VECTORS, *shape), endpoint=True)
    lowest, highest, _ = derived.sum_range(layer)
    moves = np.flatnonzero(highest > lowest)
    tightest = moves[np.argsort(slack.ravel()[moves], kind="stable")][:ATTACKED]
    for row_group, slice_, conversion, column in np.transpose(np.unravel_index(tightest, slack.shape)).tolist():
        rows = np.s_[row_group * layer.active_rows : (row_group + 1) * layer.active_rows]
        group = column // (layer.mapped_columns // layer.groups)
        step = int(arrays.adc_lsb[row_group, slice_, conversion, column])
        polarities = (0, 1) if layer.cells.analog_pairs else (conversion,)
        for polarity in polarities:
            levels = _levels(layer, arrays, row_group, slice_, polarity)[:, column]
            vectors = np.zeros((2, *shape), np.int64)
            vectors[0, group, rows] = np.where(levels > 0, full, 0)
            # A single cell, one that is not a multiple of the step if there is such a one.
            vectors[1, group, rows.start + int(np.argmax((levels % step > 0) + 0.5 * (levels > 0)))] = 1
            yield vectors


def _over_model_rows(layer: MappedLayer, arrays: LayerArrays, vectors: NDArray[np.int64]) -> NDArray[np.int64]:
    """Input codes of the mapped rows (V, G, K') at their places among the model's rows, (V, G, K)."""
    if arrays.kept_rows is None:
        return vectors
    whole = np.zeros((*vectors.shape[:2], layer.rows), np.int64)
    whole[:, :, arrays.kept_rows] = vectors
    return whole


def _require_equal(layer: MappedLayer, name: str, recorded: NDArray[np.integer], derived: NDArray[np.integer]) -> None:
    differing = np.argwhere(recorded != derived)
    if len(differing):
        here = tuple(differing[0].tolist())
        raise _refused(
            layer,
            f"the recorded '{name}' of {_place(layer, here)} are not those of its cells",
            f"{int(recorded[here])} recorded, {int(derived[here])} derived; {len(differing)} slice columns differ",
        )


def _place(layer: MappedLayer, here: tuple[int, ...]) -> str:
    row_group, slice_, polarity, column = here
    pair = layer.cells.analog_pairs
    return f"row group {row_group}, slice {slice_}{'' if pair else SIGNS[polarity]}, column {column}"


def _refused(layer: MappedLayer, problem: str, seen: str) -> GateError:
    return _altered(f"layer '{layer.name}': {problem}", seen)


def _altered(problem: str, seen: str) -> GateError:
    return GateError(
        "BSC504",
        problem,
        seen=seen,
        fix="the plan was altered or a pass is wrong; compile again, and report it if it stays",
    )
