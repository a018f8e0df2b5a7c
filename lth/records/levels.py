"""Which levels a short table shows: the dense network, some on the way, the last."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from lth.measured import Measured
from lth.records.intervals import grouped
from lth.records.judged import ACCURACY
from lth.records.matching import claimed, matching
from lth.records.record import Record
from lth.records.statistics import Summary, summarise
from lth.types import WINNER

MOST = 10
"""Rows of a short table, at most, but for levels that a user has named one by one."""

ARMS = 3
"""So many arms are few: the levels that the verdict names of each are shown."""

FEW = 2
"""An arm, or a method, that has no more levels than these is shown at all of them."""


def shown_levels(
    records: Iterable[Record], measured: Measured = ACCURACY, most: int = MOST
) -> dict[float, list[int]]:
    """Return by learning rate the levels that a short table shows.

    They are the first and the last; those at which arms are compared, or one of them is, where
    these are few; those that the verdict names; and of the others one per
    halving of the density, or per fourth, where halvings are too many.
    """
    records = list(records)
    named = _named(records, measured)
    rates = grouped(summarise(records).values(), lambda s: s.cell.lr)
    return {lr: _chosen(own, named.get(lr, set()), most) for lr, own in rates.items()}


def _named(records: Sequence[Record], measured: Measured) -> dict[float, set[int]]:
    """Return the levels that the verdict names, of all arms if they are few, by learning rate."""
    arms = list(dict.fromkeys(r.arm for r in records))
    told = arms if len(arms) <= ARMS else [WINNER]
    rows = matching((r for r in records if r.arm in (*told, WINNER)), measured)
    found: dict[float, set[int]] = {}
    for (lr, _), own in grouped(rows, lambda row: (row.lr, row.arm)).items():
        down, short = claimed(own)
        ends = [down - 1, *([down, short - 1] if down < short else []), short]
        found.setdefault(lr, set()).update(own[n].level for n in ends if 0 <= n < len(own))
    return found


def _chosen(summaries: Collection[Summary], named: Collection[int], most: int) -> list[int]:
    levels = sorted({s.cell.level for s in summaries})
    if len(levels) <= most:
        return levels
    compared = {s.cell.level for s in summaries if s.cell.arm != WINNER}
    keep = {levels[0], levels[-1], *named} | (compared if len(compared) <= most - 2 else set())
    for own in grouped(summaries, lambda s: s.cell.arm).values():
        keep |= {s.cell.level for s in own} if len(own) <= FEW else set()
    densities = _densities(summaries)
    for power in range(1, 64):
        wider = keep | _marks(densities, 2.0**power)
        if len(wider) <= most:
            return sorted(wider)
    return sorted(keep)


def _densities(summaries: Iterable[Summary]) -> dict[int, float]:
    """Return each level's density, the winning ticket's where it is there."""
    found: dict[int, float] = {}
    for s in sorted(summaries, key=lambda s: s.cell.arm != WINNER):
        found.setdefault(s.cell.level, s.density)
    return found


def _marks(densities: Mapping[int, float], factor: float) -> set[int]:
    """Return the levels nearest to 1/factor, 1/factor^2, ... of the weights, down to the last."""
    depth = {n: -math.log(d, factor) for n, d in densities.items() if 0 < d <= 1}
    last = int(max(depth.values(), default=0.0))
    return {min(depth, key=lambda n: abs(depth[n] - mark)) for mark in range(1, last + 1)}
