"""The rows of a sweep: what its jobs vary, and what each combination gave; seeds are pooled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lth.records.intervals import Interval, grouped, interval, mean
from lth.records.judged import Judged

SEED = "seed"


class Value(NamedTuple):
    """What one job's study gave: the objective of its arm at its level, by trial.

    ``begun`` counts the trials; one without a value diverged. ``dense`` are the dense network's.
    """

    arm: str
    level: int
    lr: float
    density: float
    begun: int
    trials: Mapping[int, float]
    dense: Mapping[int, float]


class Finished(NamedTuple):
    """A job that has ended: its settings by name, its study's folder, its value if it has one."""

    number: int
    settings: Mapping[str, str]
    study: str
    value: Value | None
    error: str | None = None


@dataclass(frozen=True)
class SweepRow:
    """One combination of what varies, over the trials of all its seeds."""

    settings: Mapping[str, str]
    jobs: tuple[int, ...]
    studies: tuple[str, ...]
    seeds: tuple[str, ...]
    arm: str
    level: int
    density: float
    begun: int
    value: Interval | None
    dense: Interval | None
    errors: tuple[str, ...] = ()

    @property
    def ended(self) -> int:
        """How many trials diverged."""
        return self.begun - (self.value.n if self.value is not None else 0)

    def merit(self, what: Judged) -> float:
        """Return the mean, turned so that more is better; worst where a trial diverged."""
        whole = self.value is not None and not self.ended
        return what.merit(self.value.mean if whole and self.value is not None else None)


def varied(jobs: Sequence[Finished]) -> list[str]:
    """Return the settings that differ between jobs, but for the seed, in the order given.

    >>> made = [Finished(n, {"seed": "0", "lr": str(n)}, "", None) for n in (1, 2)]
    >>> varied(made)
    ['lr']
    """
    names = dict.fromkeys(name for job in jobs for name in job.settings if name != SEED)
    return [n for n in names if len({job.settings.get(n) for job in jobs}) > 1]


def rows_of(jobs: Sequence[Finished]) -> list[SweepRow]:
    """Return a row per combination of what varies, in the order of the jobs."""
    names = varied(jobs)
    groups = grouped(jobs, lambda job: tuple(job.settings.get(n, "") for n in names))
    return [_row(dict(zip(names, key, strict=True)), own) for key, own in groups.items()]


def _row(settings: Mapping[str, str], jobs: Sequence[Finished]) -> SweepRow:
    told = {job.study: job.value for job in jobs if job.value is not None}  # a study counts once
    values = list(told.values())
    found = [v for value in values for v in value.trials.values()]
    dense = [v for value in values for v in value.dense.values()]
    first = values[0] if values else None
    return SweepRow(
        settings=settings, jobs=tuple(job.number for job in jobs),
        studies=tuple(dict.fromkeys(job.study for job in jobs if job.study)),
        seeds=tuple(dict.fromkeys(job.settings.get(SEED, "") for job in jobs)),
        arm=first.arm if first else "", level=first.level if first else 0,
        density=mean([v.density for v in values]) if values else math.nan,
        begun=sum(v.begun for v in values), value=interval(found) if found else None,
        dense=interval(dense) if dense else None,
        errors=tuple(job.error for job in jobs if job.error),
    )  # fmt: skip


def best_of(rows: Iterable[SweepRow], what: Judged) -> SweepRow | None:
    """Return the row that is best on the split that chooses; None of fewer than two."""
    valued = [r for r in rows if math.isfinite(r.merit(what))]
    return max(valued, key=lambda r: r.merit(what)) if len(valued) > 1 else None


def is_grid(rows: Sequence[SweepRow]) -> bool:
    """Whether the rows are every combination of a few values, and not points of a search."""
    names = list(rows[0].settings) if rows else []
    sizes = [len({r.settings[n] for r in rows}) for n in names]
    return math.prod(sizes) == len(rows)


def number_of(text: str) -> float | None:
    """Return a setting's value as a number, None where it is none.

    >>> number_of("1e-3"), number_of("lenet"), number_of("true")
    (0.001, None, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def columns(row: SweepRow, what: Judged) -> dict[str, Any]:
    """Return a row of ``sweep.csv``."""
    unknown = Interval(math.nan, math.nan, math.nan, 0)
    value, dense = row.value or unknown, row.dense or unknown
    return {
        **row.settings, "seeds": " ".join(row.seeds), "trials": row.begun, "diverged": row.ended,
        "arm": row.arm, "level": row.level, "density": row.density, "split": what.split,
        "metric": what.metric, "mean": value.mean, "low": value.low, "high": value.high,
        "dense": dense.mean, "jobs": " ".join(map(str, row.jobs)),
        "studies": " ".join(row.studies), "error": "; ".join(row.errors),
    }  # fmt: skip
