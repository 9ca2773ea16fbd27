"""The arrays of a layer, each specified once: axes, type, bounds and what it is.

The fields of `LayerArrays` and `ResolutionTables` are the specification. From it come the check of a graph after every
pass, the check of plan folders, what is written to them, and the text about arrays in plan.schema.json; a new array is
a field here and what computes it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Annotated, Any, Final, get_type_hints

import numpy as np
from numpy.typing import NDArray

from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.mapping.layer import MappedLayer, QuantisedLayer, TiledLayer
from bsc.numeric.tiles import crossbars_with_weights

AXES: Final[Mapping[str, tuple[str, Callable[[Any], int]]]] = {
    "K": ("mapped rows", lambda layer: layer.mapped_rows),
    "N": ("mapped columns", lambda layer: layer.mapped_columns),
    "M": ("columns of the model's matrix", lambda layer: layer.columns),
    "S": ("slices, least significant first", lambda layer: layer.slices),
    "P": ("polarities, 0 positive and 1 negative", lambda layer: layer.cells.polarities),
    "Q": (
        "conversions of a slice: P, or 1 for a pair that is subtracted before",
        lambda layer: layer.cells.conversions,
    ),
    "T": ("row tiles", lambda layer: layer.row_tiles),
    "R": ("row groups: rows driven together, all of a tile by default", lambda layer: layer.row_groups),
    "C": ("column tiles", lambda layer: len(layer.column_tiles()[1])),
}
"""What the letters count, and how many there are in a layer.

Per column is (R, S, P, N), per conversion (R, S, Q, N), per crossbar (T, C, S, P). Not of a layer are V, input vectors,
and B, resolutions from 0 bits on.
"""

KINDS: Final[Mapping[str, str]] = {"i": "signed integer", "u": "unsigned integer", "f": "float", "b": "bool"}
LARGEST: Final = float(np.finfo(np.float64).max)
MAX_CORRECTION: Final = 1 << 53
MAX_STEP: Final = 255

Bound = float | Callable[[Any], float]


def _always(_: QuantisedLayer) -> bool:
    return True


@dataclass(frozen=True)
class ArraySpec:
    """What is known of an array before it is looked at.

    Attributes:
        axes: a letter of `AXES` for each, or B for any size.
        kind: NumPy's letter for the kind of its type, a key of `KINDS`.
        doc: what it is.
        low: lowest value, or a function of the layer.
        high: highest value, likewise.
        stage: the record that axes and bounds are taken from, which is that of the stage that computes it.
        one_for_all: it may have a single entry instead.
        when: whether a layer has it; None if both may be.
        fits: what else must hold, of the layer and its arrays by name.
    """

    axes: str
    kind: str
    doc: str
    _: KW_ONLY
    low: Bound
    high: Bound
    stage: type[QuantisedLayer]
    one_for_all: bool = False
    when: Callable[[Any], bool | None] = _always
    fits: Callable[[Any, Mapping[str, NDArray[Any]]], bool] = lambda _layer, _arrays: True

    def misfit(self, name: str, layer: QuantisedLayer, arrays: Mapping[str, NDArray[Any]]) -> str | None:
        """How the array of that name contradicts the layer, in words; None if it does not."""
        wanted = self.when(layer)
        if name not in arrays:
            return "is missing" if wanted or (wanted is None and not self.fits(layer, arrays)) else None
        if wanted is False:
            return "does not belong there"
        array = arrays[name]
        if array.dtype.kind != self.kind:
            return f"is of type {array.dtype}, not {KINDS[self.kind]}"
        sizes = [AXES[letter][1](layer) if letter in AXES else None for letter in self.axes.split()]
        fits = len(array.shape) == len(sizes) and all(
            wish in {size, None} for size, wish in zip(array.shape, sizes, strict=True)
        )
        if not fits and not (self.one_for_all and array.shape == (1,)):
            return f"has shape {array.shape}, not ({', '.join(self.axes.split())}) of {tuple(sizes)}"
        low, high = (bound(layer) if callable(bound) else bound for bound in (self.low, self.high))
        if array.size and not (low <= array.min().item() and array.max().item() <= high):
            return f"has values outside {low:g} to {high:g}"
        return None if self.fits(layer, arrays) else "does not fit the others"

    def __str__(self) -> str:
        return f"{KINDS[self.kind]} ({', '.join(self.axes.split())}), {self.doc}"


def _is_paired(layer: TiledLayer) -> bool:
    return layer.cells.analog_pairs


def _maybe(_: QuantisedLayer) -> None:
    return None


def _lines_fit(name: str, mapped: Callable[[Any], int], of: Callable[[Any], int]) -> Any:
    """Each line once, ascending unless they were permuted; all of them where no numbers are given."""

    def fits(layer: QuantisedLayer, arrays: Mapping[str, NDArray[Any]]) -> bool:
        numbers = arrays.get(name)
        if numbers is None:
            return mapped(layer) == of(layer)
        return len(np.unique(numbers)) == len(numbers) and (layer.permuted or bool((np.diff(numbers) > 0).all()))

    return fits


def _nonzeros_fit(layer: TiledLayer, arrays: Mapping[str, NDArray[Any]]) -> bool:
    """A column has no more cells above 0 than rows, and its sum is one that so many cells can have."""
    nonzeros, sums = arrays["nonzeros"].astype(np.int64), arrays["sums"].astype(np.int64)
    rows = np.minimum(layer.mapped_rows - np.arange(layer.row_groups) * layer.active_rows, layer.active_rows)
    possible = (nonzeros <= sums) & (sums <= nonzeros * layer.cells.max_level)
    return bool((possible & (nonzeros <= rows[:, None, None, None])).all())


def _centres_fit(layer: TiledLayer, arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Codes less their centres can be stored; the codes themselves were looked at before."""
    if layer.encoding != "centre":
        return True
    stored = layer.cells.stored(arrays["codes"], arrays["centres"], layer.tile_rows)
    return bool((np.abs(stored) <= layer.max_code).all())


def _crossbars_are_needed(layer: TiledLayer, arrays: Mapping[str, NDArray[Any]]) -> bool:
    """All exist, or those that do hold a cell above 0."""
    sums, exists = arrays.get("sums"), arrays["allocated"]
    if sums is None or sums.shape[::3] != (layer.row_groups, layer.mapped_columns):
        return True  # which is told by its own row
    holds = crossbars_with_weights(sums, layer.column_tiles()[1], layer.groups_per_tile)
    return holds.shape == exists.shape and (not (exists & ~holds).any() or bool(exists.all()))


def _conversions_are_on_crossbars(layer: TiledLayer, arrays: Mapping[str, NDArray[Any]]) -> bool:
    exists = arrays.get("allocated")
    if exists is None:
        return True
    converted = crossbars_with_weights(arrays["adc_bits"], layer.column_tiles()[1], layer.groups_per_tile)
    read = exists.any(axis=3, keepdims=True) if _is_paired(layer) else exists
    return converted.shape == read.shape and not (converted & ~read).any()


def _zero_is_a_code(_: TiledLayer, arrays: Mapping[str, NDArray[Any]]) -> bool:
    """A pair without cells is then read as 0, and one that is not converted likewise."""
    bits, low = arrays.get("adc_bits"), arrays.get("adc_low")
    if bits is None or low is None or bits.shape != low.shape:
        return True  # which is told by their own rows
    return bool((low + (1 << bits.astype(np.int64)) > 0).all())


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerArrays:
    """The arrays of one layer. Letters of axes are those of `AXES`."""

    codes: Annotated[
        NDArray[Any],
        ArraySpec(
            "K N",
            "i",
            "weight codes with their sign",
            low=lambda layer: -layer.max_code,
            high=lambda layer: layer.max_code,
            stage=QuantisedLayer,
        ),
    ]
    weight_scale: Annotated[
        NDArray[Any],
        ArraySpec(
            "M",
            "f",
            "value of one weight code, one for all columns or each its own",
            low=0,
            high=LARGEST,
            stage=QuantisedLayer,
            one_for_all=True,
        ),
    ]
    bias: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "M", "f", "what is added to the results", low=-LARGEST, high=LARGEST, stage=QuantisedLayer, when=_maybe
        ),
    ] = None
    kept_rows: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "K",
            "i",
            "the model's row of each mapped row; absent where all are mapped in their order",
            low=0,
            high=lambda layer: layer.rows - 1,
            stage=QuantisedLayer,
            when=_maybe,
            fits=_lines_fit("kept_rows", lambda layer: layer.mapped_rows, lambda layer: layer.rows),
        ),
    ] = None
    kept_columns: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "N",
            "i",
            "the model's column of each mapped column; absent where all are mapped in their order",
            low=0,
            high=lambda layer: layer.columns - 1,
            stage=QuantisedLayer,
            when=_maybe,
            fits=_lines_fit("kept_columns", lambda layer: layer.mapped_columns, lambda layer: layer.columns),
        ),
    ] = None
    centres: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "T N",
            "i",
            "what is taken from the codes of each column",
            low=lambda layer: -layer.max_code,
            high=lambda layer: layer.max_code,
            stage=TiledLayer,
            when=lambda layer: layer.encoding == "centre",
            fits=_centres_fit,
        ),
    ] = None
    flipped: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "R S P N",
            "b",
            "columns that hold top - level",
            low=0,
            high=1,
            stage=TiledLayer,
            when=lambda layer: layer.flip,
        ),
    ] = None
    sums: Annotated[
        NDArray[Any],
        ArraySpec(
            "R S P N",
            "u",
            "sum of the cell levels of each column",
            low=0,
            high=lambda layer: layer.max_sum,
            stage=TiledLayer,
        ),
    ]
    gcds: Annotated[
        NDArray[Any],
        ArraySpec(
            "R S P N",
            "u",
            "greatest common divisor of the cell levels of each column, 0 if all are 0",
            low=0,
            high=lambda layer: layer.cells.max_level,
            stage=TiledLayer,
        ),
    ]
    nonzeros: Annotated[
        NDArray[Any],
        ArraySpec(
            "R S P N",
            "u",
            "cells of each column that are not at level 0",
            low=0,
            high=lambda layer: layer.active_rows,
            stage=TiledLayer,
            fits=_nonzeros_fit,
        ),
    ]
    allocated: Annotated[
        NDArray[Any],
        ArraySpec(
            "T C S P",
            "b",
            "crossbars that exist: all, those with a cell above 0, or those of them that are worth reading",
            low=0,
            high=1,
            stage=TiledLayer,
            fits=_crossbars_are_needed,
        ),
    ]
    observed_sums: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "R S Q N",
            "u",
            "highest sum, or 0, that each conversion met on calibration data",
            low=0,
            high=lambda layer: layer.max_sum * layer.max_digit,
            stage=TiledLayer,
            when=lambda layer: layer.observed is not None,
        ),
    ] = None
    observed_lows: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "R S Q N",
            "i",
            "lowest sum, or 0, likewise; of pairs alone",
            low=lambda layer: -layer.max_sum * layer.max_digit,
            high=0,
            stage=TiledLayer,
            when=lambda layer: layer.observed is not None and _is_paired(layer),
        ),
    ] = None
    adc_bits: Annotated[
        NDArray[Any],
        ArraySpec(
            "R S Q N",
            "u",
            "resolution of each conversion, 0 where nothing is converted",
            low=0,
            high=MAX_ADC_BITS,
            stage=MappedLayer,
            fits=_conversions_are_on_crossbars,
        ),
    ]
    adc_lsb: Annotated[
        NDArray[Any], ArraySpec("R S Q N", "u", "cell units of one ADC code", low=1, high=MAX_STEP, stage=MappedLayer)
    ]
    adc_low: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "R S Q N",
            "i",
            "lowest ADC code, at most 0 and so that 0 is a code; of pairs alone, 0 for all else",
            low=-(1 << MAX_ADC_BITS),
            high=0,
            stage=MappedLayer,
            when=_is_paired,
            fits=_zero_is_a_code,
        ),
    ] = None
    correction: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "N",
            "i",
            "whole numbers that are added to the results",
            low=-MAX_CORRECTION,
            high=MAX_CORRECTION,
            stage=MappedLayer,
            when=_maybe,
        ),
    ] = None

    @property
    def lowest_codes(self) -> NDArray[np.int32]:
        """Lowest ADC code of every conversion (R, S, Q, N)."""
        return np.zeros(self.adc_bits.shape, np.int32) if self.adc_low is None else self.adc_low

    @property
    def signs(self) -> NDArray[np.int8]:
        """Whether what a conversion reads is added or, its column being flipped, taken away: 1 or -1, (R, S, Q, N)."""
        signs = np.ones(self.adc_bits.shape, np.int8)
        return signs if self.flipped is None else np.where(self.flipped, -signs, signs)

    def by_name(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by attribute name."""
        return dict(_present(self))


@dataclass(frozen=True, eq=False, kw_only=True)
class ResolutionTables:
    """What 0, 1, ... bits would do to every conversion; B is one more than the most that one needs to be lossless.

    Passes that trade resolution for error read them; a mapping does not keep them.
    """

    step: Annotated[
        NDArray[Any], ArraySpec("R S Q N B", "u", "best step", low=1, high=MAX_STEP, stage=TiledLayer, when=_maybe)
    ]
    low: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "R S Q N B",
            "i",
            "lowest code that goes with it; of pairs alone",
            low=-(1 << MAX_ADC_BITS),
            high=0,
            stage=TiledLayer,
            when=_maybe,
        ),
    ] = None
    beyond: Annotated[
        NDArray[Any],
        ArraySpec(
            "R S Q N B",
            "u",
            "observed conversions that clip, with it or at a step of one unit at best, whichever are more",
            low=0,
            high=(1 << 32) - 1,
            stage=TiledLayer,
            when=_maybe,
        ),
    ]
    squared_error: Annotated[
        NDArray[Any],
        ArraySpec(
            "R S Q N B",
            "f",
            "expected squared error of a result in squares of cell units, 0 where all that was seen is held",
            low=0,
            high=LARGEST,
            stage=TiledLayer,
            when=_maybe,
        ),
    ]
    mean: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "R S Q N B",
            "f",
            "expected error of a result in cell units, if a pass asks for it",
            low=-LARGEST,
            high=LARGEST,
            stage=TiledLayer,
            when=_maybe,
        ),
    ] = None

    sensitivity: Annotated[
        NDArray[Any] | None,
        ArraySpec(
            "S",
            "f",
            "noise-to-signal ratio of the model's outputs for a squared error of one weight code squared",
            low=0,
            high=LARGEST,
            stage=TiledLayer,
            when=_maybe,
        ),
    ] = None

    def by_name(self) -> dict[str, NDArray[Any]]:
        """The tables that are there, by attribute name."""
        return dict(_present(self))


def _present(arrays: LayerArrays | ResolutionTables) -> Iterator[tuple[str, NDArray[Any]]]:
    for each in fields(arrays):
        array = getattr(arrays, each.name)
        if array is not None:
            yield each.name, array


def _specs(kind: type[Any]) -> dict[str, ArraySpec]:
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: hints[each.name].__metadata__[0] for each in fields(kind)}


SAVED: Final[Mapping[str, ArraySpec]] = _specs(LayerArrays)
"""The arrays of a mapping, by name: what safetensors files hold."""

SPECS: Final[Mapping[str, ArraySpec]] = {**SAVED, **_specs(ResolutionTables)}
"""All arrays that passes may give a layer."""


def array_key(layer: str, name: str) -> str:
    """Where a graph has an array of a layer. Raises `KeyError` for an array without a specification."""
    if name not in SPECS:
        raise KeyError(name)
    return f"{name} of {layer}"


def misfits(
    layer: QuantisedLayer, arrays: Mapping[str, NDArray[Any]], specs: Mapping[str, ArraySpec] = SAVED
) -> Iterator[tuple[str, str]]:
    """The arrays that contradict the record of their layer, and how.

    Args:
        layer: as far as the stages have come; arrays of later ones are not looked at.
        arrays: by name.
        specs: of the arrays that there may be.
    """
    for name, spec in specs.items():
        if isinstance(layer, spec.stage):
            problem = spec.misfit(name, layer, arrays)
            if problem is not None:
                yield name, problem


def described() -> dict[str, dict[str, str]]:
    """The arrays of a mapping and the letters of their axes, for those who read plan folders without bsc."""
    letters = {letter: words for letter, (words, _) in AXES.items()}
    return {"arrays": {name: str(spec) for name, spec in SAVED.items()}, "axes": letters}
