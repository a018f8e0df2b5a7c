"""Numbers over trials: mean, spread, and the intervals of a mean."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Mean, least, greatest and standard deviation (n - 1; 0 for one) of a value over n trials."""

    mean: float
    low: float
    high: float
    std: float
    n: int


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval over n trials; unbounded where they give none."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def bounded(self) -> bool:
        """Whether the trials give an interval: there are several, and they differ."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def spread(values: Sequence[float]) -> Spread:
    """Summarise one value per trial.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, low=1.0, high=3.0, std=1.0, n=3)
    """
    n, middle = len(values), mean(values)
    squares = math.fsum((v - middle) ** 2 for v in values)
    return Spread(middle, min(values), max(values), math.sqrt(squares / max(1, n - 1)), n)


def mean(values: Collection[float]) -> float:
    """Average, exactly rounded and never outside the values' range: of equal ones, that value.

    >>> mean([0.045] * 3), math.fsum([0.045] * 3) / 3
    (0.045, 0.045000000000000005)
    """
    return min(max(math.fsum(values) / len(values), min(values)), max(values))


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's interval of a mean: ``mean +- t(n - 1) * std / sqrt(n)``.

    Unbounded where the values do not differ, be it one or several: a sample without spread (of
    counts, which accuracies are, quite possible) does not say how far off its mean is.

    >>> interval([1.0, 2.0, 3.0]).high.__format__(".3f"), interval([1.0, 1.0]).high
    ('4.484', inf)
    """
    from scipy import stats  # half a second, and only intervals need it

    middle, _, _, std, n = spread(values)
    if not _differ(values):
        return Interval(middle, -math.inf, math.inf, n)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * std / math.sqrt(n)
    return Interval(middle, middle - half, middle + half, n)


def _differ(values: Sequence[float]) -> bool:
    """Whether values differ by more than the rounding of a difference of accuracies."""
    return max(values) - min(values) > 1e-9 * max(1.0, *map(abs, values))


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Return the percentile interval of the mean, resampling trials with replacement.

    Efron 1979, Annals of Statistics 7(1). With few trials it is too narrow (with 5, by about a
    fifth): ``interval`` is the one to quote then. Unbounded where the values do not differ.
    """
    import numpy as np  # its generator draws all at once

    n = len(values)
    if not _differ(values):
        return Interval(mean(values), -math.inf, math.inf, n)
    rows = np.random.default_rng(seed).integers(n, size=(draws, n))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.array(values)[rows].mean(1), [tail, 1 - tail])
    return Interval(mean(values), float(low), float(high), n)
