"""Methods: arms of several studies, named so that each name is one, with their values by trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lth.errors import LthError
from lth.records.intervals import mean
from lth.records.matching import MEASURE
from lth.records.statistics import Trials, by_trial
from lth.results.compare.studies import Source
from lth.types import WINNER

DENSE = "dense network"
TRAINING, SEARCH = "train_training_flops_end", "train_search_flops_end"

TOLERANCE = 0.05
"""Densities that differ by less, relative to each other, are one: a small network's are rounded."""


class Result(NamedTuple):
    """A method at a level; ``density`` is that of its study's winning ticket there."""

    method: str
    source: Source
    trials: Trials
    density: float

    @property
    def level(self) -> int:
        """The level; 0 is the dense network's."""
        return self.trials.cell.level

    def values(self, name: str) -> Mapping[int, float]:
        """Return a measure's value of every trial that has one."""
        return self.trials.values.get(name, {})


def names(sources: Sequence[Source]) -> dict[tuple[str, str, float], str]:
    """Name every method (study, arm, lr), each name once.

    The arm where a study has no label, else ``label`` for its winning ticket and ``label, arm`` for
    its other arms; with the learning rate where a study has several.
    """
    short: dict[tuple[str, str, float], str] = {}
    full: dict[tuple[str, str, float], str] = {}
    for s in sources:
        several = len({r.lr for r in s.records}) > 1
        for arm, lr in dict.fromkeys((r.arm, r.lr) for r in s.records):
            rate = f"lr {lr:g}" if several else ""
            own = "" if s.label and arm == WINNER else arm
            short[s.study, arm, lr] = ", ".join(filter(None, (s.label, own, rate)))
            full[s.study, arm, lr] = ", ".join(filter(None, (s.study, arm, rate)))
    return short if len({*short.values(), DENSE}) > len(short) else full


def results(sources: Sequence[Source]) -> list[Result]:
    """Return every method's levels; a dense network that an earlier study has too is left out."""
    named, found, dense = names(sources), list[Result](), list[Result]()
    for source in sources:
        cells = by_trial(source.records)
        for cell, trials in cells.items():
            name = named[source.study, cell.arm, cell.lr]
            winner = cells.get(cell._replace(arm=WINNER), trials)
            result = Result(name, source, trials, winner.density)
            if cell.level > 0:
                found.append(result)
            elif not any(_same(d, result) for d in dense):
                dense.append(result._replace(method=f"{name}: {DENSE}" if dense else DENSE))
    return [*dense, *found]


def dense_run(found: Sequence[Result], first: Source) -> float:
    """Return the FLOPs of training the first study's dense network: the unit of cost."""
    for r in found:
        if r.source is first and r.level == 0 and r.values(TRAINING):
            return mean_of(r.values(TRAINING))
    raise LthError(
        f"{first.study}: no training_flops of a dense network that reached its end, the unit of "
        "cost; run it again"
    )


def mean_of(values: Mapping[int, float]) -> float:
    """Average over trials."""
    return mean(list(values.values()))


def nearest(density: float, among: Sequence[Result]) -> Result | None:
    """Return the result at this density, within ``TOLERANCE``."""
    near = [r for r in among if alike(r.density, density)]
    return min(near, key=lambda r: apart(r.density, density), default=None)


def alike(a: float, b: float) -> bool:
    """Whether two densities are one: not apart by more than ``TOLERANCE``, relative."""
    return max(a, b) <= (1 + TOLERANCE) * min(a, b)


def apart(a: float, b: float) -> float:
    """Return how far apart two densities are: ``|log(a / b)|``."""
    return abs(math.log(a / b)) if a > 0 and b > 0 else math.inf


def _same(a: Result, b: Result) -> bool:
    """Whether every trial that both have came out the same."""
    one, other = a.values(MEASURE), b.values(MEASURE)
    both = one.keys() & other.keys()
    return all(one[t] == other[t] for t in both) and (bool(both) or one == other)
