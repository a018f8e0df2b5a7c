"""Which levels a short table shows: the dense network, some on the way, the last."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from lth.measured import Measured
from lth.records.intervals import grouped
from lth.records.judged import ACCURACY
from lth.records.matching import FALLS_SHORT, MATCHES, matching
from lth.records.record import Record
from lth.records.statistics import Summary, summarise
from lth.types import WINNER

MOST = 9
"""Rows of a short table, at most, but for levels that a user has named one by one."""

FEW = 2
"""An arm, or a method, that has no more levels than these is shown at all of them."""


def shown_levels(
    records: Iterable[Record], measured: Measured = ACCURACY, most: int = MOST
) -> dict[float, list[int]]:
    """Return by learning rate the levels that a short table shows.

    They are the first and the last; those at which arms are compared, or one of them is, where
    these are few; those that the verdict on the winning tickets names; and of the others one per
    halving of the density, or per fourth, where halvings are too many.
    """
    records = list(records)
    named = _named(records, measured)
    rates = grouped(summarise(records).values(), lambda s: s.cell.lr)
    return {lr: _chosen(own, named.get(lr, set()), most) for lr, own in rates.items()}


def _named(records: Iterable[Record], measured: Measured) -> dict[float, set[int]]:
    """Return the levels that the verdict on the winning tickets names, by learning rate."""
    found: dict[float, set[int]] = {}
    rows = matching((r for r in records if r.arm == WINNER), measured)
    for lr, own in grouped(rows, lambda row: row.lr).items():
        down = [row.level for row in own if row.verdict == MATCHES][-1:]
        short = [row.level for row in own if row.verdict == FALLS_SHORT][:1]
        found[lr] = {*down, *short}
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
