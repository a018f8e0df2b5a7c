"""Statistics over trials: what tables, verdicts, figures and loggers show, computed from records.

Copies of an arm are averaged within their trial first, so every spread is one over trials.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lth.errors import LthError
from lth.records.intervals import Interval, Spread, interval, mean, spread
from lth.records.record import Record

EARLY = "early_stop_step"


class Cell(NamedTuple):
    """Where a summary stands: a learning rate, an arm, a level."""

    lr: float
    arm: str
    level: int


@dataclass(frozen=True)
class Summary:
    """A cell's values over trials.

    ``values`` maps ``early_stop_step``, and ``<split>_<metric>`` at early stop and
    ``<split>_<metric>_end`` at the last step, to their spreads; a cell whose members all diverged
    has none. ``members`` counts them all, ``diverged`` those that did.
    """

    cell: Cell
    density: float
    members: int
    diverged: int
    values: dict[str, Spread]


@dataclass(frozen=True)
class Trials:
    """A cell's values by trial, copies averaged within it: ``values[name][trial]`` (`Summary`).

    ``seen`` holds every trial that has a member here, ``ended`` those of which one diverged.
    """

    cell: Cell
    density: float
    members: int
    diverged: int
    values: dict[str, dict[int, float]]
    seen: frozenset[int] = frozenset()
    ended: frozenset[int] = frozenset()


class Moment(NamedTuple):
    """Where a curve's point stands."""

    lr: float
    arm: str
    level: int
    step: int
    split: str
    metric: str


def summarise(records: Iterable[Record]) -> dict[Cell, Summary]:
    """Summarise every cell, in the order of rate, arm (as first seen) and level."""
    return {cell: _summary(trials) for cell, trials in by_trial(records).items()}


def by_trial(records: Iterable[Record]) -> dict[Cell, Trials]:
    """Return every cell's values by trial, in the order of rate, arm (as first seen) and level."""
    members: dict[Cell, dict[tuple[int, int], list[Record]]] = defaultdict(dict)
    arms: dict[str, int] = {}
    for r in records:
        arms.setdefault(r.arm, len(arms))
        members[Cell(r.lr, r.arm, r.level)].setdefault((r.trial, r.copy), []).append(r)
    order = sorted(members, key=lambda c: (c.lr, arms[c.arm], c.level))
    return {cell: _trials(cell, members[cell]) for cell in order}


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
    found = by_trial(r for r in records if Cell(r.lr, r.arm, r.level) in (a, b))
    one, other = (found[c].values.get(measure, {}) if c in found else {} for c in (a, b))
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
    """Name one member's values; empty if it diverged."""
    early = next((r.step for r in rows if r.metric == EARLY), None)
    if early is None:
        return {}
    last = max(r.step for r in rows)
    found = {EARLY: float(early)}
    for r in rows:
        if r.metric != EARLY:
            found |= {f"{r.split}_{r.metric}": r.value} if r.step == early else {}
            found |= {f"{r.split}_{r.metric}_end": r.value} if r.step == last else {}
    return found


def curve_means(curves: Iterable[Record]) -> dict[Moment, float]:
    """Average every point of the curves over trials (copies within a trial first)."""
    found: dict[Moment, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for r in curves:
        moment = Moment(r.lr, r.arm, r.level, r.step, r.split, r.metric)
        found[moment][r.trial].append(r.value)
    return {m: _mean_of_trials(trials) for m, trials in found.items()}


def without_diverged(curves: Iterable[Record], records: Iterable[Record]) -> list[Record]:
    """Drop the curves of members that diverged: a mean must not change its members on the way."""
    gone = {r[1:6] for r in records if r.metric == "diverged"}
    return [r for r in curves if r[1:6] not in gone]


def level_line(records: Sequence[Record]) -> str:
    """Say in one line what a level gave: density and mean test accuracy at early stop per arm.

    The density is the first arm's, the winning ticket's; an arm that has another names its own.
    """
    summaries = list(summarise(records).values())
    several = len({s.cell.lr for s in summaries}) > 1
    density = percent(summaries[0].density) if summaries else percent(0.0)
    parts = []
    for s in summaries:
        accuracy, own = s.values.get("test_accuracy"), percent(s.density)
        about = [f"lr {s.cell.lr:g}"] * several + [f"at {own}"] * (own != density)
        name = f"{s.cell.arm} ({', '.join(about)})" if about else s.cell.arm
        parts.append(f"{name} {'diverged' if accuracy is None else f'{accuracy.mean:.2%}'}")
    return "  ".join([f"density {density}", *parts])


def percent(share: float) -> str:
    """Write a density as the papers do: three significant digits.

    >>> percent(0.0358), percent(1.0), percent(0.5128)
    ('3.58 %', '100 %', '51.3 %')
    """
    return f"{100 * share:.3g} %"


def _trials(cell: Cell, members: dict[tuple[int, int], list[Record]]) -> Trials:
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    ended = []
    for (trial, _), rows in members.items():
        values = member_values(rows)
        ended += [] if values else [trial]
        for name, value in values.items():
            found[name][trial].append(value)
    density = mean([_density(rows) for rows in members.values()])
    means = {n: {t: mean(v) for t, v in trials.items()} for n, trials in found.items()}
    seen = frozenset(trial for trial, _ in members)
    return Trials(cell, density, len(members), len(ended), means, seen, frozenset(ended))


def _density(rows: Sequence[Record]) -> float:
    """Return a member's density at early stop, where its accuracy is taken: training may change it.

    One that diverged has that of its first row.
    """
    return next((r.density for r in rows if r.metric == EARLY), rows[0].density)


def _summary(trials: Trials) -> Summary:
    spreads = {name: spread(list(found.values())) for name, found in trials.values.items()}
    return Summary(trials.cell, trials.density, trials.members, trials.diverged, spreads)


def _mean_of_trials(trials: dict[int, list[float]]) -> float:
    return mean([mean(v) for v in trials.values()])
