"""The rows of a comparison, from records alone: one per method and density.

A method is an arm of a study at a learning rate. A row holds its results, what they cost, and how
they differ from the reference, an arm of the first study. Costs are in dense runs: the FLOPs of
training the first study's dense network once (``lth.networks.cost``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from lth.errors import LthError
from lth.measured import Measured
from lth.records.intervals import Interval, bootstrap_interval, interval
from lth.records.judged import ACCURACY, Judged, judged
from lth.records.statistics import EARLY, differences
from lth.results.compare.methods import (
    SEARCH,
    TRAINING,
    Result,
    alike,
    apart,
    dense_run,
    results,
)
from lth.results.compare.studies import Source
from lth.types import WINNER


class Cost(NamedTuple):
    """FLOPs of training a network and of finding its mask and start; ``run``, of a dense run."""

    training: float
    search: float
    run: float

    @property
    def total(self) -> float:
        """Both together, in dense runs."""
        return (self.training + self.search) / self.run


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method at a density; means over trials with Student's 95 % intervals, None if not known.

    ``level_density`` is the density of the study's winning ticket at that level, ``density`` the
    method's own, as in the records. ``value`` is what is judged, at early stop, ``end`` the same at
    the last step, ``difference`` that of ``value`` to the reference, over the trials of both;
    ``bootstrap`` gives it the paired bootstrap's interval.
    """

    method: str
    study: str
    arm: str
    lr: float
    level: int
    level_density: float
    density: float
    trials: int
    diverged: int
    weights: int | None = None
    early_stop_step: float | None = None
    validation: float | None = None
    value: Interval | None = None
    end: Interval | None = None
    cost: Cost | None = None
    reference_level: int | None = None
    difference: Interval | None = None
    bootstrap: Interval | None = None

    @property
    def mean(self) -> float | None:
        """The judged value, if some trial has one."""
        return None if self.value is None else self.value.mean

    @property
    def total_cost(self) -> float:
        """Search and training in dense runs, NaN if not known."""
        return math.nan if self.cost is None else self.cost.total

    def columns(self, what: Judged) -> dict[str, Any]:
        """Return the row of ``compare.csv`` by column."""
        names = "method study arm lr level level_density density trials diverged weights"
        training, search, run = self.cost or (None, None, None)
        flops = {"training": training, "search": search, "total": _sum(training, search)}
        return (
            {name: getattr(self, name) for name in [*names.split(), "early_stop_step"]}
            | {f"validation_{what.metric}": self.validation}
            | _ends(what.name, self.value, what.split)
            | _ends(what.end, self.end, "end")
            | {f"{k}_cost": v if v is None or run is None else v / run for k, v in flops.items()}
            | {f"{k}_flops": v for k, v in flops.items()}
            | {"reference_level": self.reference_level}
            | _ends("difference", self.difference, "difference")
            | _ends(None, self.bootstrap, "bootstrap")
            | {"pairs": self.difference and self.difference.n}
        )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _ends(name: str | None, found: Interval | None, bounds: str) -> dict[str, float | None]:
    """Return mean, low and high by column; one value, or equal ones, have no interval."""
    mean, low, high = found[:3] if found else (None, None, None)
    ends = {f"{bounds}_low": low, f"{bounds}_high": high}
    if found is None or not found.bounded:
        ends = dict.fromkeys(ends, None)
    return ends if name is None else {name: mean, **ends}


@dataclass(frozen=True)
class Comparison:
    """Rows by density and merit; the densities to show; the reference's name; a dense run.

    ``dense_flops`` is None where the records hold no FLOPs.
    """

    rows: list[Row]
    densities: list[float]
    reference: str
    dense_flops: float | None
    what: Judged

    @property
    def methods(self) -> list[str]:
        """Names of the methods, the dense network aside."""
        return list(dict.fromkeys(r.method for r in self.rows if r.level > 0))

    def at(self, density: float) -> list[Row]:
        """Return each method's row at a density, and the dense network's; the best first.

        The dense network's difference is to the reference at the least density shown.
        """
        shown = {r.method: r for r in self.rows if r.level == 0}
        if density != self.densities[-1]:
            shown = {name: replace(r, difference=None) for name, r in shown.items()}
        near = [r for r in self.rows if r.level > 0 and alike(r.level_density, density)]
        for row in sorted(near, key=lambda r: apart(r.level_density, density)):
            shown.setdefault(row.method, row)
        return sorted(shown.values(), key=lambda r: _rank(r, self.what))


def compare(
    sources: Sequence[Source],
    levels: Sequence[int] | None = None,
    arm: str = WINNER,
    measured: Measured = ACCURACY,
) -> Comparison:
    """Compare the methods of studies at the densities of ``levels`` of the reference.

    That is ``arm`` of the first study. Without ``levels``: at the density that most methods have
    records of, the least on ties.
    """
    what = judged((r for source in sources for r in source.records), measured)
    every, first = results(sources, what), sources[0]
    winners = [r for r in every if r.source is first and r.level and r.summary.cell.arm == arm]
    if not winners:
        raise LthError(f"{first.study}: no pruned network yet; name another study first")
    rates = list(dict.fromkeys(r.lr for r in first.records))
    reference = min(winners, key=lambda r: rates.index(r.summary.cell.lr)).method
    own = [r for r in winners if r.method == reference]
    densities = _asked(own, levels) if levels else [_shared(every)]
    run = dense_run(every, first)
    rows = [_row(r, run, _against(r, own, densities[-1]), what) for r in every]
    order = sorted(rows, key=lambda r: (-round(r.level_density, 4), *_rank(r, what)))
    return Comparison(order, densities, reference, run, what)


def trained(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of pruned networks that have a value: some trial did not diverge."""
    return [r for r in rows if r.level > 0 and r.value is not None]


def _asked(own: Sequence[Result], levels: Sequence[int]) -> list[float]:
    """Return the reference's densities at the levels that are asked for, the densest first."""
    there = {r.level: r.density for r in own}
    for level in levels:
        if level not in there:
            known = ", ".join(map(str, sorted(there)))
            raise LthError(f"levels={level}: the reference, {own[0].method}, has levels {known}")
    return sorted({there[level] for level in levels}, reverse=True)


def _shared(every: Sequence[Result]) -> float:
    pruned = [r for r in every if r.level]

    def rank(density: float) -> tuple[int, float]:
        return -len({r.method for r in pruned if alike(r.density, density)}), density

    return min({r.density for r in pruned}, key=rank)


def _against(result: Result, own: Sequence[Result], shown: float) -> Result | None:
    """Return what a result is paired with: the reference at its density, the dense at ``shown``."""
    if result.method == own[0].method:
        return None
    density = result.density if result.level else shown
    near = [r for r in own if alike(r.density, density)]
    return min(near, key=lambda r: apart(r.density, density), default=None)


def _row(result: Result, run: float | None, against: Result | None, what: Judged) -> Row:
    summary, values = result.summary, result.values(what.name)
    total, base = result.source.weights, against.values(what.name) if against else {}
    training, search, cost = result.mean(TRAINING), result.mean(SEARCH), None
    if run is not None and training is not None and search is not None:
        cost = Cost(training, search, run)
    pairs = differences(values, base)
    return Row(
        method=result.method, study=result.source.study, **summary.cell._asdict(),
        level_density=result.density, density=summary.density, trials=len(values),
        diverged=summary.diverged, weights=total and round(summary.density * total),
        early_stop_step=result.mean(EARLY), validation=result.mean(f"validation_{what.metric}"),
        value=_interval(values.values()), end=_interval(result.values(what.end).values()),
        cost=cost,
        reference_level=against.level if against and pairs else None,
        difference=_interval(pairs), bootstrap=bootstrap_interval(pairs) if pairs else None,
    )  # fmt: skip


def _interval(values: Iterable[float]) -> Interval | None:
    known = list(values)
    return interval(known) if known else None


def _rank(row: Row, what: Judged) -> tuple[float, str]:
    return -what.merit(row.mean), row.method
