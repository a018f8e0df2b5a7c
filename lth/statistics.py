"""Statistics over trials: what tables, verdicts, figures and loggers show, computed from records.

Copies of an arm are averaged within their trial first, so every spread is one over trials.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lth.errors import LthError
from lth.records import Record

EARLY = "early_stop_step"


class Spread(NamedTuple):
    """Mean, least, greatest and standard deviation (n - 1; 0 for one) of a value over n trials."""

    mean: float
    low: float
    high: float
    std: float
    n: int


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
    """A cell's values by trial, copies averaged within it: ``values[name][trial]`` (`Summary`)."""

    cell: Cell
    density: float
    members: int
    diverged: int
    values: dict[str, dict[int, float]]


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval over n trials."""

    mean: float
    low: float
    high: float
    n: int


class Moment(NamedTuple):
    """Where a curve's point stands."""

    lr: float
    arm: str
    level: int
    step: int
    split: str
    metric: str


def spread(values: Sequence[float]) -> Spread:
    """Summarise one value per trial.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, low=1.0, high=3.0, std=1.0, n=3)
    """
    n = len(values)
    mean = math.fsum(values) / n
    squares = math.fsum((v - mean) ** 2 for v in values)
    return Spread(mean, min(values), max(values), math.sqrt(squares / max(1, n - 1)), n)


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


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's interval of a mean: ``mean +- t(n - 1) * std / sqrt(n)``; needs two values.

    >>> interval([1.0, 2.0, 3.0]).high.__format__(".3f")
    '4.484'
    """
    from scipy import stats  # half a second, and only intervals need it

    mean, _, _, std, n = spread(values)
    if n < 2:
        return Interval(mean, -math.inf, math.inf, n)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * std / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


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


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Return the percentile interval of the mean, resampling trials with replacement.

    Efron 1979, Annals of Statistics 7(1). With few trials it is too narrow (with 5, by about a
    fifth): ``interval`` is the one to quote then. Needs two values.
    """
    import numpy as np  # its generator draws all at once

    n = len(values)
    if n < 2:
        return Interval(_mean(values), -math.inf, math.inf, n)
    rows = np.random.default_rng(seed).integers(n, size=(draws, n))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.array(values)[rows].mean(1), [tail, 1 - tail])
    return Interval(_mean(values), float(low), float(high), n)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


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
    """Say in one line what a level gave: density and mean test accuracy at early stop per arm."""
    summaries = summarise(records).values()
    several = len({s.cell.lr for s in summaries}) > 1
    parts = []
    for s in summaries:
        accuracy = s.values.get("test_accuracy")
        name = f"{s.cell.arm}{f' (lr {s.cell.lr:g})' if several else ''}"
        parts.append(f"{name} {'diverged' if accuracy is None else f'{accuracy.mean:.2%}'}")
    density = max((s.density for s in summaries), default=0.0)
    return "  ".join([f"density {percent(density)}", *parts])


def percent(share: float) -> str:
    """Write a density as the papers do: three significant digits.

    >>> percent(0.0358), percent(1.0), percent(0.5128)
    ('3.58 %', '100 %', '51.3 %')
    """
    return f"{100 * share:.3g} %"


def _trials(cell: Cell, members: dict[tuple[int, int], list[Record]]) -> Trials:
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    diverged = 0
    for (trial, _), rows in members.items():
        values = member_values(rows)
        diverged += not values
        for name, value in values.items():
            found[name][trial].append(value)
    density = math.fsum(rows[0].density for rows in members.values()) / len(members)
    means = {n: {t: _mean(v) for t, v in trials.items()} for n, trials in found.items()}
    return Trials(cell, density, len(members), diverged, means)


def _summary(trials: Trials) -> Summary:
    spreads = {name: spread(list(found.values())) for name, found in trials.values.items()}
    return Summary(trials.cell, trials.density, trials.members, trials.diverged, spreads)


def _mean_of_trials(trials: dict[int, list[float]]) -> float:
    return math.fsum(math.fsum(v) / len(v) for v in trials.values()) / len(trials)
