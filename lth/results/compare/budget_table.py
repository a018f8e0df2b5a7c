"""The tables of a comparison at equal budgets, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from lth.records.budget_table import short
from lth.records.intervals import grouped
from lth.records.judged import Judged
from lth.records.statistics import percent
from lth.records.table import fitting, plain_table
from lth.results.compare.equal_budget import Within
from lth.results.compare.pareto import DENSITY, Point

NAME, NUMBER = 16, 6
"""Least columns of a name and of a number."""

LEAVING = ("n", "phase", "validation", "level")
"""What a narrow terminal does without, in this order: the files have it all."""

UNITS = {"bytes": "bytes", "macs": "multiply-adds per image", "params": "numbers stored"}


def axis_tables(
    points: Sequence[Point], best: Sequence[Within], axis: str, what: Judged, width: int = 80
) -> list[Table]:
    """Return the table of the front, and that of every method's best network by budget."""
    return [_front_table(points, axis, what, width), *_budget_tables(best, axis, what, width)]


def axis_legend(what: Judged) -> str:
    """Say what the tables hold."""
    return (
        f"({what.words} of the packed file, ± half its 95 % interval; of what is within a budget, "
        f"as means over trials, the mean validation {what.metric} chooses)"
    )


def _front_table(points: Sequence[Point], axis: str, what: Judged, width: int) -> Table:
    front = [p for p in points if p.front]
    less = f"has fewer {UNITS[axis]}" if axis in UNITS else "is less dense"
    table = plain_table(f"front: no network {less} and validates better")
    name = min(NAME, width // 3)
    table.add_column("method", overflow="fold", min_width=name)
    columns = {
        "level": [str(p.level) for p in front],
        "phase": [str(p.phase or "") for p in front],
        axis: [cost(p.cost, axis) for p in front],
        "validation": [what.text(p.validation) for p in front],
        what.split: [what.with_half(p.value) for p in front],
        "n": [str(p.trials) for p in front],
    }
    if not any(columns["phase"]):
        del columns["phase"]
    columns = fitting(columns, width - name, LEAVING)
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for p, cells in zip(front, zip(*columns.values(), strict=True), strict=True):
        table.add_row(escape(p.method), *cells)
    return table


def _budget_tables(best: Sequence[Within], axis: str, what: Judged, width: int) -> list[Table]:
    """Return a table with a column per budget; of many budgets several, side after side."""
    columns = grouped(best, lambda b: b.budget)
    each = 14 if any(b.point.value.bounded for b in best) else 8
    room = max(1, (width - NAME) // each)
    budgets = list(columns)
    return [
        _budget_table(best, budgets[n : n + room], axis, what) for n in range(0, len(budgets), room)
    ]


def _budget_table(
    best: Sequence[Within], budgets: Sequence[float], axis: str, what: Judged
) -> Table:
    within = f"within so many {UNITS[axis]}" if axis in UNITS else "of at most such a density"
    table = plain_table(f"each method's best {within}")
    table.add_column("method", overflow="fold", min_width=NAME)
    for budget in budgets:
        table.add_column(cost(budget, axis), justify="right", no_wrap=True, min_width=NUMBER)
    shown = [b for b in best if b.budget in budgets]
    top = {
        budget: max(what.merit(b.point.value.mean) for b in own)
        for budget, own in grouped(shown, lambda b: b.budget).items()
    }
    last = {b.point.method: what.merit(b.point.value.mean) for b in shown}
    for method in sorted(last, key=lambda m: (-last[m], m)):  # by what the greatest budget buys
        own = {b.budget: b.point for b in shown if b.point.method == method}
        cells = []
        for budget in budgets:
            point = own.get(budget)
            text = "" if point is None else what.with_half(point.value)
            highest = point is not None and what.merit(point.value.mean) == top[budget]
            cells.append(f"[bold]{text}[/bold]" if highest else text)
        table.add_row(escape(method), *cells)
    return table


def cost(value: float, axis: str) -> str:
    """Write a cost as its axis does.

    >>> cost(27000, "bytes"), cost(0.036, "density")
    ('27.0k', '3.6 %')
    """
    return percent(value) if axis == DENSITY else short(value)
