"""Equal total cost: what a method reaches if it may spend so much in all.

As Renda, Frankle & Carbin 2020 (arXiv 2003.02389, Section 3) compare: search cost and training cost
together against accuracy and density.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lth.records.intervals import grouped
from lth.records.judged import TEST_ACCURACY, Judged
from lth.results.compare.methods import TOLERANCE
from lth.results.compare.rows import Row, trained

ROUND = (1, 2, 3, 5)
"""Budgets are these, times powers of ten."""


class Best(NamedTuple):
    """A method's best network within a budget and a density, as the validation value chooses it."""

    budget: float
    max_density: float
    row: Row


def header(what: Judged) -> list[str]:
    """Return the columns of ``equal_cost.csv``; those after the second are a row's own."""
    return [
        "budget", "max_density", "method", "study", "arm", "lr", "level", "density", "trials",
        f"validation_{what.metric}", what.name, f"{what.split}_low", f"{what.split}_high",
        "total_cost", "total_flops",
    ]  # fmt: skip


def equal_cost(
    rows: Sequence[Row],
    densities: Sequence[float],
    budgets: Sequence[float] | None = None,
    what: Judged = TEST_ACCURACY,
) -> list[Best]:
    """Choose each method's best network per budget (in dense runs) and greatest density.

    Its density is at most ``max_density`` and its total cost, search and training, at most the
    budget; of those the mean *validation* value chooses, the cheaper on ties. A method that is
    too dear has no row. Without ``budgets``, those of ``budgets_of``.
    """
    chosen = []
    for density in densities:
        small = [r for r in trained(rows) if r.level_density <= (1 + TOLERANCE) * density]
        for budget in budgets_of(small) if budgets is None else budgets:
            cheap = grouped((r for r in small if r.total_cost <= budget), lambda r: r.method)
            best = [
                max(own, key=lambda r: (what.merit(r.validation), -r.total_cost))
                for own in cheap.values()
            ]
            best.sort(key=lambda r: (-what.merit(r.mean), r.method))
            chosen += [Best(budget, density, row) for row in best]
    return chosen


def budgets_of(rows: Sequence[Row]) -> list[float]:
    """Return the round numbers of dense runs that buy something: 1, 2, 3, 5, 10, 20, ...

    Each buys what the one before does not, and the last buys all.
    """
    return round_numbers(r.total_cost for r in rows)


def round_numbers(costs: Iterable[float]) -> list[float]:
    """Return the numbers of ``ROUND`` that buy something: the last buys all of the costs above 0.

    >>> round_numbers([0.9, 1.7, 40.0])
    [1.0, 2.0, 50.0]
    """
    costs = sorted(c for c in costs if c > 0)
    if not costs:
        return []
    first, last = (math.floor(math.log10(c)) for c in (costs[0], costs[-1]))
    series = [float(f"{r}e{k}") for k in range(first, last + 2) for r in ROUND]
    bought = [sum(c <= budget for c in costs) for budget in series]
    return [b for b, new, old in zip(series, bought, [0, *bought], strict=False) if new > old]
