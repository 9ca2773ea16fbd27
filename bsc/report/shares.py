"""Figures that follow from those of slices: mean and largest resolution, and what is proved."""

from collections.abc import Sequence

from bsc.report.document import SliceFigures


def mean_bits(slices: Sequence[SliceFigures]) -> float | None:
    """Bits assigned, mean over what is converted; what never is counts as 0, and None stands for nothing at all."""
    counts = [(int(bits), count) for part in slices for bits, count in part.assigned_bits.items()]
    conversions = sum(count for _, count in counts)
    return sum(bits * count for bits, count in counts) / conversions if conversions else None


def largest_bits(slices: Sequence[SliceFigures]) -> int:
    """The largest resolution assigned; 0 where nothing is converted."""
    return max((int(bits) for part in slices for bits in part.assigned_bits), default=0)


def proved_share(slices: Sequence[SliceFigures]) -> float | None:
    """What is proved to lose nothing, over all that is converted; None where nothing is."""
    conversions = sum(part.conversions for part in slices)
    return sum(part.lossless for part in slices) / conversions if conversions else None
