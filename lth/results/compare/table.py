"""The tables of a comparison for the terminal: one row per method."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from lth.records.intervals import Interval, grouped
from lth.records.judged import TEST_ACCURACY, Judged
from lth.records.statistics import percent
from lth.records.table import fitting, plain_table
from lth.results.compare.budget import Best
from lth.results.compare.rows import Comparison, Row

WIDE = 100
"""Columns of a terminal that hold density, weights and trials of every row too."""

TRAIN, SEARCH, EARLY = "cost:\ntrain", "\nsearch", "early\nstop"

LEAVING = (SEARCH, TRAIN, EARLY, "at\nend %", "at\nend", "\nn", "\ntotal")
"""What a narrow terminal does without, in this order: the files have it all."""

NAME, NUMBER = 16, 6
"""Least columns of a name and of a number."""


def comparison_tables(comparison: Comparison, width: int = 80) -> list[Table]:
    """Return a table per density that is shown, the best method first."""
    return [_table(comparison, density, width) for density in comparison.densities]


def budget_tables(
    best: Sequence[Best], width: int = 80, what: Judged = TEST_ACCURACY
) -> list[Table]:
    """Return a table per greatest density: a column per budget, the best of each bold."""
    limits = grouped(best, lambda b: b.max_density)
    return [_budget_table(own, density, width, what) for density, own in limits.items()]


def legend(comparison: Comparison) -> str:
    """Say what the columns are."""
    run, what = comparison.dense_flops, comparison.what
    cost = "no cost is known" if run is None else f"cost in dense runs, of {run:.3g} FLOPs"
    return (
        f"({what.split if what.share else what.words} at early stop, ± half its 95 % interval; "
        f"{cost}; difference to {comparison.reference}, paired over trials)"
    )


def budget_legend(what: Judged = TEST_ACCURACY) -> str:
    """Say what the columns of the second table are."""
    shown = f"{what.split} %" if what.share else what.words
    return (
        f"({shown} of what validation {what.metric} chooses for at most so many dense runs in all)"
    )


def _table(comparison: Comparison, density: float, width: int) -> Table:
    rows, what, wide = comparison.at(density), comparison.what, width >= WIDE
    trials = {r.trials for r in rows}
    several = len(trials) > 1
    same = "" if wide or several else f"; {_count(rows[0].trials)}"
    table = plain_table(f"at {percent(density)} of the weights{same}")
    name = min(NAME, width // 3)
    table.add_column("\nmethod", overflow="fold", min_width=name)
    heads = ["\ndensity", "\nweights"] * wide + ["\nn"] * (wide or several) + _heads(what)
    cells = []
    for row in rows:
        weights = "" if row.weights is None else f"{row.weights:,}"
        first = [percent(row.density), weights] * wide + [str(row.trials)] * (wide or several)
        cells.append([*first, *_numbers(row, row.method == comparison.reference, what)])
    columns = dict(zip(heads, zip(*cells, strict=True), strict=True))
    columns = fitting(columns, width - name, LEAVING)
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for row, shown in zip(rows, zip(*columns.values(), strict=True), strict=True):
        own = row.method == comparison.reference
        style = "bold" if own else "dim" if row.level == 0 else ""
        table.add_row(escape(row.method), *shown, style=style)
    return table


def _heads(what: Judged) -> list[str]:
    """Return the heads of a row's numbers."""
    unit = " %" * what.share
    difference = "difference\n(points)" if unit else "\ndifference"
    costs = [TRAIN, SEARCH, "\ntotal"]
    return [f"\n{what.split}{unit}", f"at\nend{unit}", EARLY, *costs, difference]


def _count(trials: int) -> str:
    return "one trial" if trials == 1 else f"{trials} trials"


def _numbers(row: Row, own: bool, what: Judged) -> list[str]:
    costs = [""] * 3
    if row.cost is not None:
        training, search, run = row.cost
        costs = [_cost(training / run), _cost(search / run), _cost(row.total_cost)]
    if row.value is None or row.end is None:
        return ["diverged" if row.diverged else "-", "", "", *costs, ""]
    test = _between(row.value, what)
    if row.diverged:
        test += f"\n{row.diverged} diverged"
    difference = "reference" if own else _between(row.difference, what, "+")
    early = f"{row.early_stop_step:,.0f}"
    return [test, what.text(row.end.mean), early, *costs, difference]


def _between(value: Interval | None, what: Judged, sign: str = "", half: bool = True) -> str:
    """Write a mean with the half width of its interval, shares in points."""
    if value is None:
        return ""
    return what.with_half(value, sign) if half else what.text(value.mean, sign)


def _cost(runs: float) -> str:
    """Write a cost in dense runs to three digits or two decimals.

    >>> _cost(0.0563), _cost(4.73), _cost(21.62), _cost(0.001), _cost(0.0)
    ('0.06', '4.73', '21.6', '<0.01', '0')
    """
    if runs < 0.005:
        return "<0.01" if runs else "0"
    return f"{runs:.2f}" if runs < 10 else f"{runs:.1f}" if runs < 100 else f"{runs:,.0f}"


def _budget_table(best: Sequence[Best], density: float, width: int, what: Judged) -> Table:
    columns = {b: own for b, own in sorted(grouped(best, lambda b: b.budget).items())}
    top = {budget: max(what.merit(b.row.mean) for b in own) for budget, own in columns.items()}
    half = width - 24 >= 12 * len(columns)
    table = plain_table(f"best of at most {percent(density)} of the weights, by total cost allowed")
    table.add_column("method", overflow="fold", min_width=NAME)
    for budget in columns:
        table.add_column(f"{budget:g}", justify="right", no_wrap=True, min_width=NUMBER)
    last = {b.row.method: what.merit(b.row.mean) for own in columns.values() for b in own}
    for method in sorted(last, key=lambda m: (-last[m], m)):  # by what the greatest budget buys
        own = {b.budget: b.row for b in best if b.row.method == method}
        cells = []
        for budget in columns:
            row = own.get(budget)
            text = _between(row and row.value, what, half=half)
            highest = row is not None and what.merit(row.mean) == top[budget]
            cells.append(f"[bold]{text}[/bold]" if highest else text)
        table.add_row(escape(method), *cells)
    return table
