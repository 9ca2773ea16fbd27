"""What the passes that assign ADC resolutions have in common, and what others may ask them.

A policy is a pass of this kind in a file of its own and in the table `passes.PASSES`: whether the hardware can have its
resolutions, what data it needs, what stands in for it in a search and how it is asked for on the command line is all
said here or there, so that nobody else knows one policy from another.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from bsc.errors import DoesNotFitError, UsageError
from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.hardware.target import Adc
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import LayerPass
from bsc.ir.stages import layer_record
from bsc.mapping.layer import AdcAssignment, AdcPolicy, TiledLayer
from bsc.numeric.column_stats import SumRange, sum_range
from bsc.numeric.sharing import AdcSharing


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a pass needs to know of column sums on calibration data.

    Attributes:
        granularity: what shares one resolution and step.
        vectors: input vectors that are read of each layer, about; all of them if there are fewer.
        seed: of the choice of vectors.
        squared_error: whether the squared error of every resolution is wanted.
        mean: whether the mean error of every resolution is.
        sensitivity: whether the effect of squared error on the model's outputs is wanted.
        prices: whether the prices of reading crossbars are.
    """

    granularity: AdcSharing
    vectors: int
    seed: int
    squared_error: bool
    mean: bool
    sensitivity: bool
    prices: bool


@dataclass(frozen=True, kw_only=True)
class PolicyWord:
    """One way to ask for a pass: `--adc NAME`, or `--adc NAME=N` if it has a number.

    Attributes:
        name: the word.
        meaning: a few words for `--help`; N stands for the number.
        options: of the pass, beside its granularity.
        number: option that takes the number, as written in a pipeline text; None for a word without one.
    """

    name: str
    meaning: str
    options: dict[str, str] = field(default_factory=dict)
    number: str | None = None

    @property
    def usage(self) -> str:
        """What to write."""
        return self.name if self.number is None else f"{self.name}=N"


class AdcPass(LayerPass):
    """A pass that gives every conversion of a tiled layer its resolution.

    Attributes:
        words: how it is asked for on the command line.
        has_noise_price: it has an option `noise_price`, above 0: the higher, the less accuracy is lost.
        granularity: what shares one resolution: each "column", "tile" (crossbar) or "slice" of a layer.
    """

    stage = "assign"
    words: ClassVar[tuple[PolicyWord, ...]] = ()
    has_noise_price: ClassVar[bool] = False

    granularity: AdcSharing

    @property
    @abstractmethod
    def policy_name(self) -> AdcPolicy:
        """What plans and reports call it."""

    @property
    def uniform_bits(self) -> int | None:
        """The resolution of all conversions where there is only one, whatever the model; else None."""
        return None

    def observes(self) -> Observation | None:
        """What must be attached to the graph's layers before `run`; None for a pass that needs no data."""
        return None

    def lossless(self) -> "AdcPass":
        """The pass that stands in for this one for as long as there are no data; itself if it needs none."""
        return self

    def with_noise_price(self, noise_price: float) -> Self:
        """The pass with another noise price; only for those that have one."""
        raise NotImplementedError(f"'{self.name}' has no noise price: {noise_price}")

    def due(self, layer: CrossbarLayer) -> bool:
        """Whether a layer has no resolutions yet."""
        return layer.adc is None

    def not_offered(self, adc: Adc) -> DoesNotFitError | None:
        """BSC403 if the target's converters cannot have these resolutions."""
        offered, bits = adc.granularity.value, self.uniform_bits
        if offered == "fixed":
            fits, fix, theirs = bits == adc.bits, f"choose --adc fixed={adc.bits}", f"fixed at {adc.bits} bits"
        else:
            fits = bits is not None or adc.offers(self.granularity)
            fix, theirs = f"choose --granularity {offered}", f"per {offered}"
        if fits:
            return None
        return DoesNotFitError(
            "BSC403",
            f"pass '{self.name}': the target's ADCs cannot have these resolutions; theirs are {theirs}",
            seen=f"{self.policy_name} resolutions for each {self.granularity}" if bits is None else f"{bits} bits",
            fix=f"{fix}, or another --hw",
        )

    def tiled(self, layer: CrossbarLayer) -> TiledLayer:
        """What the passes before it have found of a layer.

        Raises:
            ModelError: BSC309 if one of them is missing.
        """
        return layer_record(TiledLayer, layer, self.name)

    def assigned(self, layer: CrossbarLayer) -> CrossbarLayer:
        """The layer with the record of this assignment."""
        adc = AdcAssignment(adc_policy=self.policy_name, adc_granularity=self.granularity)
        return replace(layer, adc=adc)

    def sum_range(self, arrays: Mapping[str, NDArray[Any]], layer: TiledLayer) -> SumRange:
        """The sums that every conversion can meet, (R, S, Q, N)."""
        return sum_range(arrays["sums"], arrays["gcds"], layer.cells, layer.max_digit)

    def require_convertible(self, layer: TiledLayer, bits: int) -> None:
        """Refuse resolutions that no ADC has. Raises `DoesNotFitError` BSC401."""
        if bits > MAX_ADC_BITS:
            raise DoesNotFitError(
                "BSC401",
                f"layer '{layer.name}': a lossless conversion needs more than {MAX_ADC_BITS} bits",
                seen=f"{bits} bits for {layer.bits_per_cell}-bit cells, {layer.dac_bits}-bit DAC, "
                f"{layer.active_rows} rows",
                fix="use fewer rows, fewer bits per cell or a narrower DAC",
            )


NO_MOMENTS = "no moments of the layers' inputs"
"""What is seen of a layer for a pass that has `input_vectors`, without calibration data."""


def needs_data(consumer: str, seen: str = "no observations of the column sums") -> UsageError:
    """The error of a pass that was given no calibration data."""
    return UsageError(
        "BSC201",
        f"pass '{consumer}' needs calibration data",
        seen=seen,
        fix="give typical inputs with --calib FILE.npz",
    )
