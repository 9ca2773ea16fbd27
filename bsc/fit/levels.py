"""What the cells of each level have in common, and how they differ: from chip to chip, and from cell to cell.

Chips are told from cells by an analysis of variance with one random factor (Searle, Casella and McCulloch, Variance
Components, 1992, section 3.6). Drift exponents and temperature coefficients, which every cell knows to another
precision, have the mean and variance of a random-effects model (Hedges, Psychological Bulletin 93, 1983, 388-395).
Every number comes with its standard error.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from bsc.fit.readings import ProgrammedCells

_NOT_NORMAL = 1.035
"""Anderson and Darling's statistic, mean and deviation estimated, is above it in 1 % of normal samples.

[dagostino86] D'Agostino and Stephens, Goodness-of-Fit Techniques, 1986, table 4.7.
"""
_KNOWN = 5.0
"""Standard errors that a conductance must be above 0 for its drift exponent and temperature coefficient to count."""


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error; NaN where the data do not tell."""

    value: float
    error: float

    @property
    def known(self) -> bool:
        """Whether the data tell."""
        return math.isfinite(self.value)


UNKNOWN_ESTIMATE = Estimate(math.nan, math.nan)


@dataclass(frozen=True, eq=False, kw_only=True)
class LevelFit:
    """One level; conductances and deviations in siemens.

    Attributes:
        target: what its cells were programmed to.
        cells: how many count, stuck ones left out.
        shift: mean deviation from the target.
        spread: standard deviation from cell to cell on one chip.
        chip_spread: standard deviation from chip to chip; unknown for one chip.
        read_noise: standard deviation of a reading of one cell; unknown where no cell was read again.
        exponent: mean drift exponent.
        exponent_spread: its standard deviation from cell to cell.
        coefficient: mean temperature coefficient, per kelvin.
        deviations: of each cell from the mean of its chip, read noise taken out on average; ascending.
        normal: whether a normal distribution is not refuted at 1 %.
        gap: largest distance between the shares of cells below any deviation, as measured and of a normal distribution.
    """

    target: float
    cells: int
    shift: Estimate
    spread: Estimate
    chip_spread: Estimate
    read_noise: Estimate
    exponent: Estimate
    exponent_spread: Estimate
    coefficient: Estimate
    deviations: NDArray[np.float64]
    normal: bool
    gap: float


def level_targets(cells: ProgrammedCells, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Conductances of numbered levels: evenly spaced between the means of the lowest and the highest one (L,)."""
    levels = int(cells.level.max()) + 1
    ends = [float(cells.conductance[good & (cells.level == level)].mean()) for level in (0, levels - 1)]
    return np.linspace(max(ends[0], 0.0), ends[1], levels)


def level_fit(cells: ProgrammedCells, good: NDArray[np.bool_], level: int, target: float) -> LevelFit:
    """What is said of one level.

    Args:
        cells: all of them.
        good: those that are not stuck (I,).
        level: which one; two good cells of it at least.
        target: its conductance.
    """
    here = good & (cells.level == level)
    conductance, reading = cells.conductance[here], cells.variances[0][here]
    mean, within, between, residuals = _variance_components(conductance, cells.chip[here])
    cell_variance = max(within.value - float(reading.mean()), 0.0)
    shrunk = residuals * math.sqrt(cell_variance / within.value) if within.value else residuals
    freedom = int(cells.read_freedom[level])
    noise = float(cells.read_deviation[level])
    known = here & (cells.conductance > _KNOWN * np.sqrt(cells.variances[0]))
    exponent, exponent_spread = _random_effect(cells.exponent[known], cells.variances[1][known])
    coefficient, _ = _random_effect(cells.coefficient[known], cells.variances[2][known])
    normal, gap = _normality(residuals)
    return LevelFit(
        target=target,
        cells=int(here.sum()),
        shift=Estimate(mean.value - target, mean.error),
        spread=_root(Estimate(cell_variance, within.error)),
        chip_spread=_root(between),
        read_noise=Estimate(noise, noise / math.sqrt(2 * freedom)) if freedom else UNKNOWN_ESTIMATE,
        exponent=exponent,
        exponent_spread=exponent_spread,
        coefficient=coefficient,
        deviations=np.sort(shrunk),
        normal=normal,
        gap=gap,
    )


def _variance_components(
    values: NDArray[np.float64], chips: NDArray[np.intp]
) -> tuple[Estimate, Estimate, Estimate, NDArray[np.float64]]:
    """Mean over chips, variance within them, variance between them, and what is left of each value (I,)."""
    _, of, counts = np.unique(chips, return_inverse=True, return_counts=True)
    total, number = len(values), len(counts)
    means = np.bincount(of, values) / counts
    residuals = values - means[of]
    squares = float(residuals @ residuals)
    within = squares / max(total - number, 1)
    # The error of a variance follows from the fourth moment; for a normal distribution it is 2 s^4 / n.
    fourth = float((residuals**4).mean())
    within_error = math.sqrt(max(fourth - within**2, 0.0) / total)
    # Residuals of a chip add up to 0, which makes them smaller than the errors.
    residuals = residuals * math.sqrt(total / max(total - number, 1))
    if number < 2:
        mean = Estimate(float(means[0]), math.sqrt(within / total))
        return mean, Estimate(within, within_error), UNKNOWN_ESTIMATE, residuals
    grand = float(counts @ means) / total
    between_mean_square = float(counts @ (means - grand) ** 2) / (number - 1)
    even = (total - float(counts @ counts) / total) / (number - 1)
    between = max((between_mean_square - within) / even, 0.0)
    between_error = math.sqrt(2 * between_mean_square**2 / (number - 1) + 2 * within**2 / max(total - number, 1)) / even
    mean = Estimate(float(means.mean()), float(means.std(ddof=1)) / math.sqrt(number))
    return mean, Estimate(within, within_error), Estimate(between, between_error), residuals


def _random_effect(values: NDArray[np.float64], variances: NDArray[np.float64]) -> tuple[Estimate, Estimate]:
    """Mean and standard deviation over cells of a quantity that each of them knows to another precision.

    Cells count alike: weights by precision would follow the conductance, on which the estimate's own error depends.
    """
    there = np.isfinite(values)
    values, variances = values[there], variances[there]
    number = len(values)
    if number < 2:
        return UNKNOWN_ESTIMATE, UNKNOWN_ESTIMATE
    total = float(values.var(ddof=1))
    fourth = float(((values - values.mean()) ** 4).mean())
    spread = Estimate(max(total - float(variances.mean()), 0.0), math.sqrt(max(fourth - total**2, 0.0) / number))
    return Estimate(float(values.mean()), math.sqrt(total / number)), _root(spread)


def _root(variance: Estimate) -> Estimate:
    """The standard deviation of a variance; where it is within its error of 0, so is its root."""
    if not variance.known:
        return variance
    root = math.sqrt(variance.value)
    return Estimate(root, variance.error / (2 * root) if variance.value > variance.error else math.sqrt(variance.error))


def _normality(residuals: NDArray[np.float64]) -> tuple[bool, float]:
    """Whether they may be normal [dagostino86], and the largest gap between shares."""
    deviation = float(residuals.std())
    number = len(residuals)
    if deviation == 0:
        return True, 0.0
    distribution = NormalDist()
    ordered = np.sort(residuals - residuals.mean()) / deviation
    shares = np.clip([distribution.cdf(value) for value in ordered.tolist()], 1e-300, 1 - 1e-16)
    place = np.arange(1, number + 1)
    statistic = -number - float((2 * place - 1) @ (np.log(shares) + np.log1p(-shares[::-1]))) / number
    statistic *= 1 + 0.75 / number + 2.25 / number**2
    gap = float(max((place / number - shares).max(), (shares - (place - 1) / number).max()))
    return statistic <= _NOT_NORMAL, gap
