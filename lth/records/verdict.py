"""The verdict in words: a plain sentence per learning rate and arm, and the rule behind them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from lth.measured import Measured
from lth.records.intervals import Interval, grouped
from lth.records.judged import ACCURACY, TEST_ACCURACY, Judged, judged
from lth.records.matching import DIVERGED, MATCHES, UNDECIDED, Match, claimed, matching
from lth.records.record import Record
from lth.records.statistics import percent
from lth.records.teachers import teachers
from lth.types import WINNER

NAMES = {
    "winning_ticket": "tickets", "random_reinit": "reinitialised ones",
    "random_mask": "random masks", "small_dense": "small dense networks",
    "small_dense_longer": "small dense networks trained longer",
}  # fmt: skip


def verdict(records: Iterable[Record], measured: Measured = ACCURACY) -> list[str]:
    """Return a sentence per learning rate and arm, and the rule: ``matching.csv`` in words.

    Behind it, what the teachers of distilled arms have seen.
    """
    records = list(records)
    rates, what = sorted({r.lr for r in records}), judged(records, measured)
    arms = grouped(matching(records, measured), lambda row: (row.lr, row.arm))
    lines = []
    for lr in rates:
        prefix = f"lr {lr:g}: " if len(rates) > 1 else ""
        own = sorted((arms[key] for key in arms if key[0] == lr), key=lambda r: r[0].arm != WINNER)
        told = [sentence(rows, what, n == 0) for n, rows in enumerate(own)]
        lines += [prefix + text for text in told or [_nothing(records, lr, what)]]
    lines += _rule([rows[0] for rows in arms.values()], what) if arms else []
    return lines + teachers(records)


def so_far(records: Iterable[Record], measured: Measured = ACCURACY) -> list[str]:
    """Return what may be said while a study goes: the sentences without their ends and the rule."""
    records = list(records)
    what, rows = judged(records, measured), matching(records, measured)
    rates = grouped(rows, lambda row: row.lr)
    lines = []
    for lr, of_rate in rates.items():
        prefix = f"lr {lr:g}: " if len(rates) > 1 else ""
        arms = grouped(of_rate, lambda row: row.arm)
        for number, arm in enumerate(sorted(arms, key=lambda name: name != WINNER)):
            lines.append(prefix + _claimed(arms[arm], what, number == 0))
    return lines


def sentence(rows: Sequence[Match], what: Judged, first: bool = True) -> str:
    """Say of one arm's levels, in order, down to where it matches, and what the trials leave open.

    It ends with the difference at the last level, with Student's interval.
    """
    count, last, down = len(rows), rows[-1], claimed(rows)[0]
    lowest = "the lowest trained" if last.density <= min(r.density for r in rows) else "the last"
    where = f"at {percent(last.density)}, {lowest}: "
    if down == count:
        where = f"{lowest}: "
    alone = sum(r.alone == MATCHES for r in rows)
    more = f"; taken alone, {alone} of {count} levels match" if alone > down else ""
    end = f"; {where}{difference(last, what)}" if last.trials else ""
    return f"{_claimed(rows, what, first)}{end}{more}"


def _claimed(rows: Sequence[Match], what: Judged, first: bool) -> str:
    """Say what one arm does; of an arm that has no plural its own name is the subject."""
    count, last, (down, short) = len(rows), rows[-1], claimed(rows)
    name, one = NAMES.get(last.arm, last.arm.replace("_", " ")), last.arm not in NAMES
    match, fall = ("matches", "falls") if one else ("match", "fall")
    claims = []
    if down:
        claims.append(f"{match}{' the dense network' * first} down to {_at(rows[down - 1])}")
    if down < short:
        claims.append(_open(rows[down:short], last, what, not claims, "is" if one else "are"))
    if short < count:
        already = f"{fall} short{' of the dense network,' * first} at {_at(rows[0])} already"
        claims.append(already if short == 0 else f"{fall} short from {_at(rows[short])} on")
    return f"{name} {_listed(claims)}"


def difference(row: Match, what: Judged) -> str:
    """Write a row's difference to the dense network, and how many trials it is over.

    ``+0.34 points (-0.02 to 0.70)``, ``+1.00 points, over 2 of 5 trials; 3 diverged``.
    """
    return ", ".join(filter(None, (points(row.student, what), _left(row))))


def points(found: Interval, what: Judged = TEST_ACCURACY) -> str:
    """Write a difference with its interval where there is one, of shares in percentage points.

    >>> points(Interval(0.00341, -0.0002, 0.00699, 5)), points(Interval(-0.01, -9.0, 9.0, 1))
    ('+0.34 points (-0.02 to 0.70)', '-1.00 points (-900.00 to 900.00)')
    """
    unit = "points" if what.share else f"in {what.metric}"
    between = f" ({what.text(found.low)} to {what.text(found.high)})" if found.bounded else ""
    return f"{what.text(found.mean, '+')} {unit}{between}"


def _nothing(records: Sequence[Record], lr: float, what: Judged) -> str:
    if not any(r.level > 0 for r in records if r.lr == lr):
        return "only the dense network was trained: there is nothing to compare"
    dense = {r.metric for r in records if (r.lr, r.arm, r.level) == (lr, WINNER, 0)}
    why = f"has no {what.words}" if dense else "is not there"
    why = "diverged" if "diverged" in dense else why
    return f"the dense network {why}: there is nothing to match"


def _at(row: Match) -> str:
    return f"{percent(row.density)} of the weights"


def _open(rows: Sequence[Match], last: Match, what: Judged, first: bool, are: str) -> str:
    """Say where the trials cannot tell, and why at the first such level, which ends the claim."""
    start, end = percent(rows[0].density), percent(rows[-1].density)
    where = f"at {start}" if start == end else f"from {start} to {end}"
    where += " of the weights" * first
    if all(r.verdict == DIVERGED for r in rows):
        return f"diverged {where}, {_left(rows[0])}"
    told = last.trials and _left(rows[0]) == _left(last) != ""  # at the end of the sentence
    return f"{are} {UNDECIDED} {where}" + ("" if told else f" ({_why(rows[0], what)})")


def _why(row: Match, what: Judged) -> str:
    if not row.whole:
        return _left(row)
    if row.trials == 1:
        return "one trial cannot tell"
    if not row.student.bounded:
        return f"{row.trials} trials without a spread cannot tell"
    if row.alone == UNDECIDED:
        worst = row.student_low if what.higher else row.student_high
        told = points(Interval(row.difference, -math.inf, math.inf, row.trials), what)
        return f"{told}, but maybe {what.text(worst)}"
    return f"it falls short at {percent(row.density)}, but not at every level from there on"


def _left(row: Match) -> str:
    """Say how many trials are judged, where it is not all of them."""
    if row.whole:
        return ""
    total = row.trials + row.ended + row.missing
    if row.ended == total:
        return f"all {total} trials" if total > 1 else "the one trial"
    lost = [f"{row.ended} diverged"] * (row.ended > 0)
    lost += [f"{row.missing} missing"] * (row.missing > 0)
    if not lost:
        lost = [f"{row.diverged} {'copy' if row.diverged == 1 else 'copies'} diverged"]
    return f"over {row.trials} of {total} trials; {', '.join(lost)}"


def _listed(claims: Sequence[str]) -> str:
    return ", ".join(claims[:-1]) + " and " * (len(claims) > 1) + claims[-1]


def _rule(firsts: Sequence[Match], what: Judged) -> list[str]:
    """Say what it takes to match, in the numbers of this study."""
    margins = {r.lr: what.text(r.tolerance) for r in firsts}
    several = "; ".join(f"lr {lr:g}: {margin}" for lr, margin in margins.items())
    margin = several if len(margins) > 1 else next(iter(margins.values()))
    most = max(r.trials + r.ended + r.missing for r in firsts)
    rule = (
        f"(to match: {what.words} at early stop surely not {'below' if what.higher else 'above'} "
        f"the dense network's by more than its standard deviation over trials ({margin}"
        f"{' points' * what.share}), by Student's 95 % interval of the paired difference over the "
        f"{most} trials, which is in brackets. Levels are judged in order and the first that fails "
        "ends a claim, so that all claims on an arm hold together; where trials diverged nothing "
        "is claimed)"
    )
    if most == 1:
        rule = (
            "(one trial has no spread to judge by: nothing can be said to match or to fall short)"
        )
    note = ["(judged on validation data: no test split)"] * (what.split == "validation")
    return [*note, rule]
