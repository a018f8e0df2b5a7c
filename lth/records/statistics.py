"""Statistics over trials: what tables, verdicts, figures and loggers show, computed from records.

Copies of an arm are averaged within their trial first, so every spread is one over trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lth.errors import LthError
from lth.measured import Measured
from lth.records.intervals import Interval, Spread, grouped, interval, mean, spread
from lth.records.judged import ACCURACY, judged
from lth.records.record import Record, last_phases

EARLY = "early_stop_step"


class Cell(NamedTuple):
    """Where a summary stands: a learning rate, an arm, a level."""

    lr: float
    arm: str
    level: int


class Moment(NamedTuple):
    """Where a curve's point stands."""

    lr: float
    arm: str
    level: int
    step: int
    split: str
    metric: str


@dataclass(frozen=True)
class Summary:
    """A cell's members over trials: ``members`` counts them all, ``diverged`` those that did.

    ``trials[name][trial]`` is a value, copies averaged within the trial: ``early_stop_step``, and
    ``<split>_<metric>`` at early stop and ``<split>_<metric>_end`` at the last step. ``seen`` holds
    every trial that has a member here, ``ended`` those of which one diverged.
    """

    cell: Cell
    density: float
    members: int
    diverged: int
    trials: dict[str, dict[int, float]]
    seen: frozenset[int]
    ended: frozenset[int]

    @cached_property
    def values(self) -> dict[str, Spread]:
        """The values' spreads over trials; none where all members diverged."""
        return {name: spread(list(own.values())) for name, own in self.trials.items()}


def summarise(records: Iterable[Record]) -> dict[Cell, Summary]:
    """Summarise every cell, in the order of rate, arm (as first seen) and level."""
    rows = last_phases(records)
    members = grouped(rows, lambda r: (Cell(r.lr, r.arm, r.level), r.trial, r.copy))
    cells = grouped(members, lambda member: member[0])
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    order = sorted(cells, key=lambda c: (c.lr, arms.index(c.arm), c.level))
    return {c: _summary(c, {own[1:]: members[own] for own in cells[c]}) for c in order}


def _summary(cell: Cell, members: Mapping[tuple[int, int], Sequence[Record]]) -> Summary:
    values = {member: member_values(rows) for member, rows in members.items()}
    named = [(name, trial, v) for (trial, _), own in values.items() for name, v in own.items()]
    trials = {
        name: {t: mean([v for *_, v in one]) for t, one in grouped(own, lambda x: x[1]).items()}
        for name, own in grouped(named, lambda x: x[0]).items()
    }
    ended = [trial for (trial, _), own in values.items() if not own]
    return Summary(
        cell=cell, density=mean([_density(rows) for rows in members.values()]),
        members=len(members), diverged=len(ended), trials=trials,
        seen=frozenset(trial for trial, _ in members), ended=frozenset(ended),
    )  # fmt: skip


def paired_difference(
    records: Iterable[Record], a: Cell, b: Cell, measure: str = "test_accuracy"
) -> Interval:
    """Return the interval of ``a - b`` over the trials that both have: trials are paired.

    They share data order, split and (but for a reinit) initial weights, so the difference within a
    trial varies less than its parts.
    """
    return interval(paired_values(records, a, b, measure))


def paired_values(
    records: Iterable[Record], a: Cell, b: Cell, measure: str = "test_accuracy"
) -> list[float]:
    """Return ``a - b`` of every trial that both have, copies averaged within the trial."""
    cells = summarise(r for r in records if Cell(r.lr, r.arm, r.level) in (a, b))
    one, other = (cells[c].trials.get(measure, {}) if c in cells else {} for c in (a, b))
    if not one.keys() & other.keys():
        raise LthError(f"no trial has {measure} at both {a} and {b}")
    return differences(one, other)


def differences(one: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """Return ``one - other`` of every trial that both have, in the order of trials.

    >>> differences({0: 3.0, 1: 5.0}, {1: 1.0, 2: 9.0})
    [4.0]
    """
    return [one[t] - other[t] for t in sorted(one.keys() & other.keys())]


def member_values(rows: Sequence[Record]) -> dict[str, float]:
    """Name one member's values; empty if it diverged. Without an early stop it is the last step."""
    if any(r.metric == "diverged" for r in rows):
        return {}
    last = max(r.step for r in rows)
    early = next((r.step for r in rows if r.metric == EARLY), last)
    values = {EARLY: float(early)}
    for r in rows:
        if r.metric != EARLY:
            values |= {f"{r.split}_{r.metric}": r.value} if r.step == early else {}
            values |= {f"{r.split}_{r.metric}_end": r.value} if r.step == last else {}
    return values


def _density(rows: Sequence[Record]) -> float:
    """Return a member's density at early stop, where it is judged: training may change it.

    One that diverged has that of its first row.
    """
    return next((r.density for r in rows if r.metric == EARLY), rows[0].density)


def curve_means(curves: Iterable[Record]) -> dict[Moment, float]:
    """Average every point of the curves over trials (copies within a trial first)."""
    points = grouped(
        last_phases(curves),
        lambda r: (Moment(r.lr, r.arm, r.level, r.step, r.split, r.metric), r.trial),
    )
    trials = {key: mean([r.value for r in rows]) for key, rows in points.items()}
    moments = grouped(trials, lambda key: key[0])
    return {moment: mean([trials[key] for key in keys]) for moment, keys in moments.items()}


def without_diverged(curves: Iterable[Record], records: Iterable[Record]) -> list[Record]:
    """Drop the curves of members that diverged: a mean must not change its members on the way."""
    gone = {r[1:6] for r in records if r.metric == "diverged"}
    return [r for r in curves if r[1:6] not in gone]


def level_line(records: Sequence[Record], measured: Measured = ACCURACY) -> str:
    """Say in one line what a level gave: density and the judged value at early stop per arm.

    The density is the first arm's, the winning ticket's; an arm that has another names its own.
    """
    summaries, what = list(summarise(records).values()), judged(records, measured)
    several = len({s.cell.lr for s in summaries}) > 1
    density = percent(summaries[0].density) if summaries else percent(0.0)
    parts = []
    for s in summaries:
        value, own = s.values.get(what.name), percent(s.density)
        about = [f"lr {s.cell.lr:g}"] * several + [f"at {own}"] * (own != density)
        name = f"{s.cell.arm} ({', '.join(about)})" if about else s.cell.arm
        lacks = "-" if s.values else "diverged"
        text = what.text(value.mean) + "%" * what.share if value else lacks
        parts.append(f"{name} {text}")
    return "  ".join([f"density {density}", *parts])


def counted(number: int, what: str) -> str:
    """Write a number of things.

    >>> counted(1, "trial"), counted(5, "level")
    ('1 trial', '5 levels')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def percent(share: float) -> str:
    """Write a density as the papers do: three significant digits.

    >>> percent(0.0358), percent(1.0), percent(0.5128)
    ('3.58 %', '100 %', '51.3 %')
    """
    return f"{100 * share:.3g} %"
