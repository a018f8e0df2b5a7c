"""The rows of a comparison, from records alone: one per method and density.

A row holds a method's results, what they cost, and how they differ from the reference, an arm of
the first study. Costs are in dense runs: the FLOPs of training the first study's dense
network once (``lth.networks.cost``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lth.errors import LthError
from lth.records.intervals import bootstrap_interval, interval, mean
from lth.records.matching import MEASURE
from lth.records.statistics import EARLY, differences
from lth.results.compare.methods import (
    SEARCH,
    TOLERANCE,
    TRAINING,
    Result,
    alike,
    apart,
    dense_run,
    mean_of,
    nearest,
    results,
)
from lth.results.compare.studies import Source
from lth.types import WINNER

__all__ = ["TOLERANCE", "Comparison", "Row", "compare", "trained"]


class Row(NamedTuple):
    """A method at a density; means over trials, with 95 % intervals (``low``, ``high``).

    ``level_density`` is the density of the study's winning ticket at that level, ``density`` the
    method's own, as in the records; what is not known is None.
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
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    test_low: float | None = None
    test_high: float | None = None
    test_accuracy_end: float | None = None
    end_low: float | None = None
    end_high: float | None = None
    training_cost: float | None = None
    search_cost: float | None = None
    total_cost: float | None = None
    training_flops: float | None = None
    search_flops: float | None = None
    total_flops: float | None = None
    reference_level: int | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    pairs: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Rows by density and accuracy; the densities to show; the reference's name; a dense run."""

    rows: list[Row]
    densities: list[float]
    reference: str
    dense_flops: float

    @property
    def methods(self) -> list[str]:
        """Names of the methods, the dense network aside."""
        return list(dict.fromkeys(r.method for r in self.rows if r.level > 0))

    def at(self, density: float) -> list[Row]:
        """Return each method's row at a density, and the dense network's; the best first.

        The dense network's difference is to the reference at the least density shown.
        """
        found = {r.method: r for r in self.rows if r.level == 0}
        if density != self.densities[-1]:
            found = {name: r._replace(difference=None) for name, r in found.items()}
        near = [r for r in self.rows if r.level > 0 and alike(r.level_density, density)]
        for row in sorted(near, key=lambda r: apart(r.level_density, density)):
            found.setdefault(row.method, row)
        return sorted(found.values(), key=_rank)


def compare(
    sources: Sequence[Source], levels: Sequence[int] | None = None, arm: str = WINNER
) -> Comparison:
    """Compare the methods of studies at the densities of ``levels`` of the reference.

    That is ``arm`` of the first study. Without ``levels``: at the density that most methods have
    records of, the least on ties.
    """
    found, first = results(sources), sources[0]
    winners = [r for r in found if r.source is first and r.level and r.trials.cell.arm == arm]
    if not winners:
        raise LthError(f"{first.study}: no pruned network yet; name another study first")
    rates = list(dict.fromkeys(r.lr for r in first.records))
    reference = min(winners, key=lambda r: rates.index(r.trials.cell.lr)).method
    own = [r for r in winners if r.method == reference]
    densities = _asked(own, levels) if levels else [_shared(found)]
    unit = dense_run(found, first)
    rows = [_row(r, unit, _against(r, own, densities[-1])) for r in found]
    place = sorted(rows, key=lambda r: (-round(r.level_density, 4), *_rank(r)))
    return Comparison(place, densities, reference, unit)


def trained(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of pruned networks that have an accuracy: some trial did not diverge."""
    return [r for r in rows if r.level > 0 and r.test_accuracy is not None]


def _asked(own: Sequence[Result], levels: Sequence[int]) -> list[float]:
    """Return the reference's densities at the levels that are asked for, the densest first."""
    there = {r.level: r.density for r in own}
    for level in levels:
        if level not in there:
            known = ", ".join(map(str, sorted(there)))
            raise LthError(f"levels={level}: the reference, {own[0].method}, has levels {known}")
    return sorted({there[level] for level in levels}, reverse=True)


def _shared(found: Sequence[Result]) -> float:
    pruned = [r for r in found if r.level]

    def rank(density: float) -> tuple[int, float]:
        return -len({r.method for r in pruned if alike(r.density, density)}), density

    return min({r.density for r in pruned}, key=rank)


def _against(result: Result, own: Sequence[Result], shown: float) -> Result | None:
    """Return what a result is paired with: the reference at its density, the dense at ``shown``."""
    if result.method == own[0].method:
        return None
    return nearest(result.density if result.level else shown, own)


def _row(result: Result, unit: float, against: Result | None) -> Row:
    trials, (lr, arm, level) = result.trials, result.trials.cell
    total = result.source.weights
    return Row(
        result.method, result.source.study, arm, lr, level, result.density, trials.density,
        len(result.values(MEASURE)), trials.diverged,
        weights=None if total is None else round(trials.density * total),
        **_accuracies(result), **_costs(result, unit), **_difference(result, against),
    )  # fmt: skip


def _accuracies(result: Result) -> dict[str, Any]:
    if not result.values(EARLY):
        return {}  # all diverged
    return {
        EARLY: mean_of(result.values(EARLY)),
        "validation_accuracy": mean_of(result.values("validation_accuracy")),
        MEASURE: mean_of(result.values(MEASURE)),
        **_bounds("test", interval, result.values(MEASURE).values()),
        "test_accuracy_end": mean_of(result.values("test_accuracy_end")),
        **_bounds("end", interval, result.values("test_accuracy_end").values()),
    }


def _bounds(name: str, kind: Any, values: Iterable[float]) -> dict[str, float]:
    """Return ``<name>_low`` and ``<name>_high``; one value, or equal ones, have no interval."""
    found = kind(list(values))
    return {f"{name}_low": found.low, f"{name}_high": found.high} if found.bounded else {}


def _costs(result: Result, unit: float) -> dict[str, float]:
    if not (result.values(TRAINING) and result.values(SEARCH)):
        return {}
    parts = {"training": mean_of(result.values(TRAINING)), "search": mean_of(result.values(SEARCH))}
    parts["total"] = sum(parts.values())
    in_runs = {f"{name}_cost": flops / unit for name, flops in parts.items()}
    return in_runs | {f"{name}_flops": flops for name, flops in parts.items()}


def _difference(result: Result, against: Result | None) -> dict[str, Any]:
    """Return the mean over paired trials, with Student's interval and the bootstrap's."""
    found = differences(result.values(MEASURE), against.values(MEASURE)) if against else []
    if not found or against is None:
        return {}
    return {
        "reference_level": against.level,
        "difference": mean(found),
        **_bounds("difference", interval, found),
        **_bounds("bootstrap", bootstrap_interval, found),
        "pairs": len(found),
    }


def _rank(row: Row) -> tuple[float, str]:
    return 1 if row.test_accuracy is None else -row.test_accuracy, row.method
