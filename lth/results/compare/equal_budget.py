"""Equal budgets: the best network that each method has within so many bytes, or multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from lth.records.intervals import grouped
from lth.records.judged import Judged
from lth.results.compare.budget import round_numbers
from lth.results.compare.pareto import Point


class Within(NamedTuple):
    """A method's best network within a budget, as the mean validation value chooses it."""

    budget: float
    point: Point

    def columns(self, axis: str, what: Judged) -> dict[str, Any]:
        """Return the row of ``equal_budget.csv`` by column."""
        return {"budget": self.budget} | self.point.columns(axis, what)


def within_budgets(
    points: Sequence[Point], what: Judged, budgets: Sequence[float] | None = None
) -> list[Within]:
    """Choose each method's best network per budget: its mean cost is at most that.

    Of those the mean *validation* value chooses, the cheaper on ties; test is only reported. A
    method that has nothing so small has no row. Without ``budgets``, those of ``round_budgets``.
    """
    found = []
    for budget in round_budgets(points) if budgets is None else sorted(budgets):
        methods = grouped((p for p in points if p.cost <= budget), lambda p: p.method)
        best = [
            max(own, key=lambda p: (what.merit(p.validation), -p.cost)) for own in methods.values()
        ]
        best.sort(key=lambda p: (-what.merit(p.value.mean), p.method))
        found += [Within(float(budget), point) for point in best]
    return found


def round_budgets(points: Sequence[Point]) -> list[float]:
    """Return the round numbers 1, 2, 3, 5 times powers of ten that buy what the last does not.

    Up to the first that buys everything that a method has made: the dense networks are no reason
    for a greater one.
    """
    return round_numbers(p.cost for p in points if p.level > 0)


def too_small(budgets: Sequence[float] | None, points: Sequence[Point], axis: str) -> list[str]:
    """Say of the budgets that were asked for which buy nothing."""
    least = min((p.cost for p in points), default=math.inf)
    return [
        f"budgets={budget:g}: no network is within it; the least has {least:,.6g} ({axis})"
        for budget in budgets or ()
        if budget < least
    ]
