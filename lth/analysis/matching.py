"""Matching, with confidence: the paired bootstrap over trials."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lth.records import Record
from lth.statistics import Cell, Interval, paired_values


def bootstrap(
    records: Iterable[Record],
    a: Cell,
    b: Cell,
    measure: str = "test_accuracy",
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of the mean of ``a - b``, resampling paired trials.

    Efron 1979. With few trials it is too narrow (with 5, by about a fifth); Student's interval,
    ``lth.statistics.paired_difference``, is the one to quote then.
    """
    values = np.array(paired_values(records, a, b, measure))
    generator = np.random.default_rng(seed)
    drawn = values[generator.integers(len(values), size=(draws, len(values)))].mean(1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(values.mean()), float(low), float(high), len(values))


def is_matching(interval: Interval, tolerance: float = 0.0) -> bool | None:
    """Whether the difference to the dense network says "matches": None where it cannot tell.

    True if the whole interval lies at or above ``-tolerance``, False if it lies below, else None.
    """
    if interval.low >= -tolerance:
        return True
    return False if interval.high < -tolerance else None
