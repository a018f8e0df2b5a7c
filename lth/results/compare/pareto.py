"""What networks give for what they cost: points, and the front that none of them beats.

An axis is what is to be little: bytes, multiply-adds, numbers stored, or density. What is judged is
the packed file (``lth.records.budget``); whatever is chosen is chosen on validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lth.errors import LthError
from lth.records.budget import TEST, VALIDATION, WEIGH, Weighed, is_budget, weighed
from lth.records.intervals import Interval, interval, mean
from lth.records.judged import Judged
from lth.records.record import Record
from lth.results.compare.methods import DENSE, names
from lth.results.compare.studies import Source

DENSITY = "density"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A network: a method at a level and phase; means over trials.

    ``cost`` is of the axis, ``value`` what is judged of the packed file on test with Student's
    95 % interval, ``validation`` the mean that choices go by. ``front``: no network that costs no
    more is better on validation.
    """

    method: str
    study: str
    arm: str
    lr: float
    level: int
    phase: int
    density: float
    cost: float
    value: Interval
    validation: float
    trials: int
    moves: str = ""
    front: bool = False
    quantities: Mapping[str, float]

    def columns(self, axis: str, what: Judged) -> dict[str, Any]:
        """Return the row of ``pareto.csv`` by column."""
        plain = "method study arm lr level phase moves density trials".split()
        low, high = self.value[1:3] if self.value.bounded else (None, None)
        return (
            {name: getattr(self, name) for name in plain}
            | dict(self.quantities)
            | {f"validation_{what.metric}": self.validation, what.name: self.value.mean}
            | {f"{what.split}_low": low, f"{what.split}_high": high}
            | {"axis": axis, "front": int(self.front)}
        )


def points(sources: Sequence[Source], axis: str, what: Judged) -> list[Point]:
    """Return the networks of studies that have been weighed, the front marked, by cost.

    A dense network that an earlier study has too is left out.
    """
    named, found = names(sources), list[Point]()
    for source in sources:
        own = weighed(source.records)
        if not own:
            raise LthError(f"{source.study}: {_why_none(source.records)}")
        rates = len({w.spot.lr for w in own})
        for each in own:
            point = _point(each, source, named[source.study, each.spot.arm, each.spot.lr], axis)
            if point is not None and point.level == 0:
                point = _dense(point, [p for p in found if p.level == 0], rates)
            found += [] if point is None else [point]
    if not found:
        raise LthError(f"{', '.join(s.study for s in sources)}: no {axis} and {what.metric} of any "
                       "packed file; a task's networks are weighed, not run")  # fmt: skip
    return sorted(front(found, what), key=lambda p: (p.cost, p.method, p.level, p.phase))


def front(found: Iterable[Point], what: Judged) -> list[Point]:
    """Mark the points that none beats: cheaper and no worse, or better and no dearer.

    Better is by the validation mean.
    """
    every = list(found)

    def beaten(point: Point) -> bool:
        cost, merit = point.cost, what.merit(point.validation)
        return any(
            (other.cost, -what.merit(other.validation)) != (cost, -merit)
            and other.cost <= cost and what.merit(other.validation) >= merit
            for other in every
        )  # fmt: skip

    return [replace(p, front=not beaten(p)) for p in every]


def _point(found: Weighed, source: Source, method: str, axis: str) -> Point | None:
    """Return a network as a point; None where it lacks the axis or was not scored."""
    lacking = {TEST, VALIDATION} - found.values.keys()
    if lacking or (axis != DENSITY and axis not in found.values):
        return None
    spot, tested = found.spot, list(found.trials[TEST].values())
    counted = {n: found.mean(n) for n in found.values if n not in (TEST, VALIDATION, "raw")}
    return Point(
        method=method, study=source.study, arm=spot.arm, lr=spot.lr, level=spot.level,
        phase=spot.phase, density=found.density,
        cost=found.density if axis == DENSITY else found.mean(axis), value=interval(tested),
        validation=mean(list(found.trials[VALIDATION].values())), trials=len(tested),
        moves=found.moves, quantities=counted,
    )  # fmt: skip


def _why_none(records: Iterable[Record]) -> str:
    """Say why a study has no budgets."""
    metrics = {r.metric for r in records}
    if "diverged" in metrics and not metrics - {"diverged", "training_flops", "search_flops"}:
        return "every member diverged: there is nothing to weigh"
    return f"nothing of it has been weighed: {WEIGH}"


def _dense(point: Point, others: Sequence[Point], rates: int) -> Point | None:
    """Name a dense network as one; None where an earlier study has it too."""
    if any(p.quantities == point.quantities and p.value == point.value for p in others):
        return None
    plain = DENSE if rates == 1 else f"{DENSE}, lr {point.lr:g}"
    taken = any(p.method == plain for p in others)
    return replace(point, method=f"{point.method}: {DENSE}" if taken else plain)


def scored(records: Iterable[Record]) -> bool:
    """Whether records hold budgets of networks that were run."""
    return any(is_budget(r) and r.split == VALIDATION for r in records)
