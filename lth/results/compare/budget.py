"""Equal total cost: what a method reaches if it may spend so much in all.

As Renda, Frankle & Carbin 2020 (arXiv 2003.02389, Section 3) compare: search cost and training cost
together against accuracy and density.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from lth.results.compare.rows import TOLERANCE, Row, trained

ROUND = (1, 2, 3, 5)
"""Budgets are these, times powers of ten."""


class Best(NamedTuple):
    """A method's best network within a budget and a density, as validation accuracy chooses it."""

    budget: float
    max_density: float
    method: str
    study: str
    arm: str
    lr: float
    level: int
    density: float
    trials: int
    validation_accuracy: float | None
    test_accuracy: float | None
    test_low: float | None
    test_high: float | None
    total_cost: float | None
    total_flops: float | None


def equal_cost(
    rows: Sequence[Row], densities: Sequence[float], budgets: Sequence[float] | None = None
) -> list[Best]:
    """Choose each method's best network per budget (in dense runs) and greatest density.

    Its density is at most ``max_density`` and its total cost, search and training, at most the
    budget; of those the mean *validation* accuracy chooses, the cheaper on ties. A method that is
    too dear has no row. Without ``budgets``, those of ``budgets_of``.
    """
    found = []
    for density in densities:
        small = [r for r in trained(rows) if r.level_density <= (1 + TOLERANCE) * density]
        for budget in budgets_of(small) if budgets is None else budgets:
            cheap = [r for r in small if r.total_cost is not None and r.total_cost <= budget]
            best = [_best([r for r in cheap if r.method == m]) for m in {r.method for r in cheap}]
            best.sort(key=lambda r: (-(r.test_accuracy or 0), r.method))
            found += [_line(budget, density, row) for row in best]
    return found


def budgets_of(rows: Sequence[Row]) -> list[float]:
    """Return the round numbers of dense runs that buy something: 1, 2, 3, 5, 10, 20, ...

    Each buys what the one before does not, and the last buys all.
    """
    costs = sorted(r.total_cost for r in rows if r.total_cost)
    if not costs:
        return []
    first, last = (math.floor(math.log10(c)) for c in (costs[0], costs[-1]))
    series = [float(f"{r}e{k}") for k in range(first, last + 2) for r in ROUND]
    bought = [sum(c <= budget for c in costs) for budget in series]
    return [b for b, new, old in zip(series, bought, [0, *bought], strict=False) if new > old]


def _best(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda r: (r.validation_accuracy or 0, -(r.total_cost or 0)))


def _line(budget: float, density: float, r: Row) -> Best:
    return Best(
        budget, density, r.method, r.study, r.arm, r.lr, r.level, r.density, r.trials,
        r.validation_accuracy, r.test_accuracy, r.test_low, r.test_high, r.total_cost,
        r.total_flops,
    )  # fmt: skip
