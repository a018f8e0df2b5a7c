"""Methods: arms of several studies, named so that each name is one, with their values by trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lth.errors import LthError
from lth.records.judged import Judged
from lth.records.statistics import Summary, summarise
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
    summary: Summary
    density: float

    @property
    def level(self) -> int:
        """The level; 0 is the dense network's."""
        return self.summary.cell.level

    def values(self, name: str) -> Mapping[int, float]:
        """Return a measure's value of every trial that has one."""
        return self.summary.trials.get(name, {})

    def mean(self, name: str) -> float | None:
        """Average a measure over trials, if any has it."""
        spread = self.summary.values.get(name)
        return spread and spread.mean


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


def results(sources: Sequence[Source], what: Judged) -> list[Result]:
    """Return every method's levels; a dense network that an earlier study has too is left out."""
    named, pruned, dense = names(sources), list[Result](), list[Result]()
    for source in sources:
        cells = summarise(source.records)
        for cell, summary in cells.items():
            name = named[source.study, cell.arm, cell.lr]
            winner = cells.get(cell._replace(arm=WINNER), summary)
            result = Result(name, source, summary, winner.density)
            if cell.level > 0:
                pruned.append(result)
            elif not any(_same(d.values(what.name), result.values(what.name)) for d in dense):
                dense.append(result._replace(method=f"{name}: {DENSE}" if dense else DENSE))
    return [*dense, *pruned]


def _same(one: Mapping[int, float], other: Mapping[int, float]) -> bool:
    """Whether every trial that both have came out the same."""
    both = one.keys() & other.keys()
    return all(one[t] == other[t] for t in both) and (bool(both) or one == other)


def dense_run(every: Sequence[Result], first: Source) -> float | None:
    """Return the FLOPs of training the first study's dense network: the unit of cost.

    None where its records hold no FLOPs at all: then nothing has a cost.
    """
    if not any(r.metric == "training_flops" for r in first.records):
        return None
    for r in every:
        if r.source is first and r.level == 0 and r.values(TRAINING):
            return r.mean(TRAINING)
    raise LthError(
        f"{first.study}: no training_flops of a dense network that reached its end, the unit of "
        "cost; run it again"
    )


def alike(a: float, b: float) -> bool:
    """Whether two densities are one: not apart by more than ``TOLERANCE``, relative."""
    return max(a, b) <= (1 + TOLERANCE) * min(a, b)


def apart(a: float, b: float) -> float:
    """Return how far apart two densities are: ``|log(a / b)|``."""
    return abs(math.log(a / b)) if a > 0 and b > 0 else math.inf
