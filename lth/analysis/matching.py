"""Matching, with confidence: every arm and level against the dense network of the same trials.

A network matches within one standard deviation of the dense network (Frankle et al. 2020, arXiv
1912.05671, Section 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lth.records import Record
from lth.statistics import (
    Cell,
    Interval,
    Spread,
    Trials,
    bootstrap_interval,
    by_trial,
    differences,
    interval,
    paired_values,
    spread,
)
from lth.verdict import MEASURE, WINNER

MATCHES, FALLS_SHORT, UNDECIDED = "matches", "falls short", "undecided"


class Match(NamedTuple):
    """An arm at a level against the dense network of the same trials, a row of ``matching.csv``.

    ``difference`` is the mean over ``trials`` of test accuracy at early stop less the dense
    network's, in [-1, 1], with its 95 % interval after Student and by the paired bootstrap, which
    is too narrow for few trials; ``tolerance`` is the standard deviation over trials of the dense
    network's accuracy. The verdict is by Student's interval.
    """

    study: str
    lr: float
    arm: str
    level: int
    density: float
    trials: int
    diverged: int
    difference: float
    student_low: float
    student_high: float
    bootstrap_low: float
    bootstrap_high: float
    tolerance: float
    verdict: str


def is_matching(difference: Interval, tolerance: float = 0.0) -> bool | None:
    """Whether the difference to the dense network says "matches": None where it cannot tell.

    True if the whole interval lies at or above ``-tolerance``, False if it lies below, else None.
    """
    if difference.low >= -tolerance:
        return True
    return False if difference.high < -tolerance else None


def bootstrap(
    records: Iterable[Record],
    a: Cell,
    b: Cell,
    measure: str = MEASURE,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of the mean of ``a - b``, resampling paired trials.

    Efron 1979. With few trials it is too narrow (with 5, by about a fifth); Student's interval,
    ``lth.statistics.paired_difference``, is the one to quote then.
    """
    return bootstrap_interval(paired_values(records, a, b, measure), confidence, draws, seed)


def matching(records: Iterable[Record]) -> Iterator[Match]:
    """Judge every learning rate, arm and level below the dense network."""
    records = list(records)
    cells = by_trial(records)
    for cell, trials in cells.items():
        first = cells.get(Cell(cell.lr, WINNER, 0))
        dense = first.values.get(MEASURE) if first else None
        if cell.level > 0 and dense:
            yield _match(records[0].study, trials, dense)


def _match(study: str, trials: Trials, dense: dict[int, float]) -> Match:
    values = differences(trials.values.get(MEASURE, {}), dense)
    nothing = Interval(math.nan, -math.inf, math.inf, 0)
    student = interval(values) if values else nothing
    drawn = bootstrap_interval(values) if values else nothing
    margin = spread(list(dense.values()))
    return Match(
        study, *trials.cell, trials.density, len(values), trials.diverged, student.mean,
        student.low, student.high, drawn.low, drawn.high, margin.std,
        _word(student, trials.diverged, margin),
    )  # fmt: skip


def _word(student: Interval, diverged: int, dense: Spread) -> str:
    """Say what the interval allows; where some diverged, the rest is not called a match."""
    if student.n == 0:
        return FALLS_SHORT
    found = is_matching(student, dense.std)
    whole = diverged == 0 and student.n == dense.n
    if found is None or (found and not whole):
        return UNDECIDED
    return MATCHES if found else FALLS_SHORT
