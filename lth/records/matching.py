"""The verdict: which arms match the dense network, down to where, how surely: one rule.

A network matches the dense one if its mean test accuracy at early stop is not below it by more
than one standard deviation of the dense network over trials (Frankle et al. 2020, arXiv
1912.05671, Section 4); another metric, of which less may be better, is judged alike. Trials are a
sample, so each level has one of three answers by Student's 95 % interval of the paired difference:
it *matches* (the whole interval lies at or above minus the tolerance), *falls short* (all of it
lies below), or is *undecided*. The interval is a statement about the difference whatever the
tolerance, so that it may be computed from the same trials.

A claim "down to X" is one on many levels at once, and X is chosen by the data. Therefore levels are
tested in an order that is fixed beforehand, and the first that fails ends the claim: to match, from
the densest down; to fall short, from the sparsest up. Then each test may have the full 2.5 %, and
all claims on an arm hold together with 95 % (Maurer, Hothorn & Lehmacher 1995; Hsu & Berger 1999,
JASA 94:468, whose bound at the level that fails is the lower end of its interval). The difference
that a sentence ends with is the last level's, which no data chose.

Trials that ended, or of which a level has none, are not a sample of all: such a level is undecided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

from lth.measured import Measured
from lth.records.intervals import Interval, bootstrap_interval, grouped, interval
from lth.records.judged import ACCURACY, Judged, judged
from lth.records.record import Record
from lth.records.statistics import Cell, Summary, differences, summarise
from lth.types import WINNER

MATCHES, FALLS_SHORT, UNDECIDED = "matches", "falls short", "undecided"
DIVERGED = "diverged"
"""No trial is left to judge."""


class Match(NamedTuple):
    """An arm at a level against the dense network of the same trials, a row of ``matching.csv``.

    ``difference`` is the mean over ``trials`` of what is judged (test accuracy, in [0, 1]) at early
    stop less the dense network's, with its 95 % interval after Student and by the paired bootstrap,
    which is too narrow for few trials; ``tolerance`` is the standard deviation over trials of the
    dense network's. ``diverged`` counts members; ``ended`` trials that diverged here or above,
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


def matching(records: Iterable[Record], measured: Measured = ACCURACY) -> list[Match]:
    """Judge every learning rate, arm and level below the dense network."""
    records = list(records)
    what, cells, rows = judged(records, measured), summarise(records), list[Match]()
    pruned = [s for s in cells.values() if s.cell.level > 0]
    for (lr, _), levels in grouped(pruned, lambda s: (s.cell.lr, s.cell.arm)).items():
        dense = cells.get(Cell(lr, WINNER, 0))
        if dense is not None and dense.trials.get(what.name):
            line = [s for c, s in cells.items() if (c.lr, c.arm) == (lr, WINNER)]
            alone = [_alone(s, levels, line, dense, what) for s in levels]
            rows += in_order([row._replace(study=records[0].study) for row in alone])
    return rows


def is_matching(difference: Interval, tolerance: float = 0.0, higher: bool = True) -> bool | None:
    """Whether the difference to the dense network says "matches": None where it cannot tell.

    True if the whole interval lies at or above ``-tolerance``, False if it lies below, else None;
    where less is better (not ``higher``), the other way round.
    """
    low, high = difference.low, difference.high
    worst, best = (low, high) if higher else (-high, -low)
    return True if worst >= -tolerance else False if best < -tolerance else None


def in_order(rows: Sequence[Match]) -> list[Match]:
    """Give an arm's levels, in their order, the verdicts that hold together (see the module)."""
    down = len(list(takewhile(lambda r: r.alone == MATCHES, rows)))
    up = len(list(takewhile(lambda r: r.alone == FALLS_SHORT, reversed(rows))))
    told = [n < down or n >= len(rows) - up or r.alone == DIVERGED for n, r in enumerate(rows)]
    return [
        r._replace(verdict=r.alone if t else UNDECIDED) for r, t in zip(rows, told, strict=True)
    ]


def claimed(rows: Sequence[Match]) -> tuple[int, int]:
    """Return how many of an arm's levels match, from the densest, and from which it falls short."""
    count = len(rows)
    down = next((n for n, r in enumerate(rows) if r.verdict != MATCHES), count)
    return down, next((n for n in range(count, 0, -1) if rows[n - 1].verdict != FALLS_SHORT), 0)


def _alone(
    at: Summary, levels: Sequence[Summary], line: Sequence[Summary], dense: Summary, what: Judged
) -> Match:
    """Judge one level by itself; ``line`` is the winning tickets', from which all arms hang."""
    own, base = at.trials.get(what.name, {}), dense.trials[what.name]
    paired, values = own.keys() & base.keys(), differences(own, base)
    above = (s.ended for s in line if s.cell.level <= at.cell.level)
    lost = at.ended.union(*above) - paired
    wanted = [*levels, *([dense] if at.cell.arm == WINNER else [])]
    missing = frozenset[int]().union(*(s.seen for s in wanted)) - paired - lost
    student, drawn = interval(values), bootstrap_interval(values)
    row = Match(
        study="", **at.cell._asdict(), density=at.density, trials=len(values), diverged=at.diverged,
        difference=student.mean, student_low=student.low, student_high=student.high,
        bootstrap_low=drawn.low, bootstrap_high=drawn.high, tolerance=dense.values[what.name].std,
        verdict=UNDECIDED, ended=len(lost), missing=len(missing),
    )  # fmt: skip
    return row._replace(alone=_answer(row, what.higher))


def _answer(row: Match, higher: bool) -> str:
    if row.trials == 0:
        return DIVERGED if row.ended else UNDECIDED
    matches = is_matching(row.student, row.tolerance, higher) if row.whole else None
    return {True: MATCHES, False: FALLS_SHORT, None: UNDECIDED}[matches]
