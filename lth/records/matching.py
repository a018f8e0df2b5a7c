"""The verdict: which arms match the dense network, down to where, how surely: one rule.

A network matches the dense one if its mean test accuracy at early stop is not below it by more
than one standard deviation of the dense network over trials (Frankle et al. 2020, arXiv
1912.05671, Section 4). Trials are a sample, so each level has one of three answers by Student's
95 % interval of the paired difference: it *matches* (the whole interval lies at or above minus the
tolerance), *falls short* (all of it lies below), or is *undecided*. The interval is a statement
about the difference whatever the tolerance, so that it may be computed from the same trials.

A claim "down to X" is one on many levels at once, and X is chosen by the data. Therefore levels are
tested in an order that is fixed beforehand, and the first that fails ends the claim: to match, from
the densest down; to fall short, from the sparsest up. Then each test may have the full 2.5 %, and
all claims on an arm hold together with 95 % (Maurer, Hothorn & Lehmacher 1995; Hsu & Berger 1999,
JASA 94:468, whose bound at the level that fails is the lower end of its interval). The difference
that a sentence ends with is the last level's, which no data chose.

Trials that ended, or of which a level has none, are not a sample of all: such a level is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

from lth.records.intervals import Interval, bootstrap_interval, interval, spread
from lth.records.record import Record
from lth.records.statistics import Cell, Trials, by_trial, differences

WINNER = "winning_ticket"
MEASURE = "test_accuracy"

MATCHES, FALLS_SHORT, UNDECIDED = "matches", "falls short", "undecided"
DIVERGED = "diverged"
"""No trial is left to judge."""


class Match(NamedTuple):
    """An arm at a level against the dense network of the same trials, a row of ``matching.csv``.

    ``difference`` is the mean over ``trials`` of test accuracy at early stop less the dense
    network's, in [-1, 1], with its 95 % interval after Student and by the paired bootstrap, which
    is too narrow for few trials; ``tolerance`` is the standard deviation over trials of the dense
    network's accuracy. ``diverged`` counts members; ``ended`` trials that diverged here or above,
    ``missing`` others without a value here. ``alone`` is the answer of this level's interval, and
    ``verdict`` what may be said of all levels together.
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
    ended: int = 0
    missing: int = 0
    alone: str = ""

    @property
    def student(self) -> Interval:
        """The difference with Student's interval."""
        return Interval(self.difference, self.student_low, self.student_high, self.trials)

    @property
    def whole(self) -> bool:
        """Whether every trial and every member has a value."""
        return not (self.diverged or self.ended or self.missing)


def matching(records: Iterable[Record]) -> list[Match]:
    """Judge every learning rate, arm and level below the dense network."""
    records = list(records)
    cells, found = by_trial(records), list[Match]()
    for lr, arm in dict.fromkeys((c.lr, c.arm) for c in cells if c.level > 0):
        dense = cells.get(Cell(lr, WINNER, 0))
        if dense is not None and dense.values.get(MEASURE):
            levels = [t for c, t in cells.items() if (c.lr, c.arm) == (lr, arm) and c.level > 0]
            line = [t for c, t in cells.items() if (c.lr, c.arm) == (lr, WINNER)]
            study = records[0].study
            found += in_order([_alone(study, t, levels, line, dense) for t in levels])
    return found


def is_matching(difference: Interval, tolerance: float = 0.0) -> bool | None:
    """Whether the difference to the dense network says "matches": None where it cannot tell.

    True if the whole interval lies at or above ``-tolerance``, False if it lies below, else None.
    """
    if difference.low >= -tolerance:
        return True
    return False if difference.high < -tolerance else None


def in_order(rows: Sequence[Match]) -> list[Match]:
    """Give an arm's levels, in their order, the verdicts that hold together (see the module)."""
    down = len(list(takewhile(lambda r: r.alone == MATCHES, rows)))
    up = len(list(takewhile(lambda r: r.alone == FALLS_SHORT, reversed(rows))))
    found = []
    for number, row in enumerate(rows):
        told = number < down or number >= len(rows) - up or row.alone == DIVERGED
        found.append(row._replace(verdict=row.alone if told else UNDECIDED))
    return found


def _alone(
    study: str, at: Trials, levels: Sequence[Trials], line: Sequence[Trials], dense: Trials
) -> Match:
    """Judge one level by itself; ``line`` is the winning tickets', from which all arms hang."""
    own, base = at.values.get(MEASURE, {}), dense.values[MEASURE]
    judged, values = own.keys() & base.keys(), differences(own, base)
    above = (t.ended for t in line if t.cell.level <= at.cell.level)
    lost = at.ended.union(*above) - judged
    wanted = [*levels, *([dense] if at.cell.arm == WINNER else [])]
    missing = frozenset[int]().union(*(t.seen for t in wanted)) - judged - lost
    nothing = Interval(math.nan, -math.inf, math.inf, 0)
    student = interval(values) if values else nothing
    drawn = bootstrap_interval(values) if values else nothing
    row = Match(
        study, *at.cell, at.density, len(values), at.diverged, student.mean, student.low,
        student.high, drawn.low, drawn.high, spread(list(base.values())).std, UNDECIDED,
        len(lost), len(missing),
    )  # fmt: skip
    return row._replace(alone=_answer(row))


def _answer(row: Match) -> str:
    if row.trials == 0:
        return DIVERGED if row.ended else UNDECIDED
    found = is_matching(row.student, row.tolerance) if row.whole else None
    return {True: MATCHES, False: FALLS_SHORT, None: UNDECIDED}[found]
