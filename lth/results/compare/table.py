"""The tables of a comparison for the terminal: one row per method."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from lth.records.statistics import percent
from lth.results.compare.budget import Best
from lth.results.compare.rows import Comparison, Row

WIDE = 100
"""Columns of a terminal that hold density, weights and trials of every row too."""

NAME, NUMBER = 16, 6
"""Least columns of a name and of a number."""


def comparison_tables(found: Comparison, width: int = 80) -> list[Table]:
    """Return a table per density that is shown, the best method first."""
    return [_table(found, density, width >= WIDE) for density in found.densities]


def budget_tables(best: Sequence[Best], width: int = 80) -> list[Table]:
    """Return a table per greatest density: a column per budget, the best of each bold."""
    limits = dict.fromkeys(b.max_density for b in best)
    return [_budget_table([b for b in best if b.max_density == d], d, width) for d in limits]


def legend(found: Comparison) -> str:
    """Say what the columns are."""
    return (
        f"(test at early stop, ± half its 95 % interval; cost in dense runs, of "
        f"{found.dense_flops:.3g} FLOPs; difference to {found.reference}, paired over trials)"
    )


BUDGETS = "(test % of what validation accuracy chooses for at most so many dense runs in all)"


def _table(found: Comparison, density: float, wide: bool) -> Table:
    rows = found.at(density)
    trials = {r.trials for r in rows}
    same = "" if wide or len(trials) > 1 else f"; {_count(rows[0].trials)}"
    table = _plain(f"at {percent(density)} of the weights{same}")
    table.add_column("\nmethod", overflow="fold", min_width=NAME)
    for head in _heads(wide, several=len(trials) > 1):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        own = row.method == found.reference
        style = "bold" if own else "dim" if row.level == 0 else ""
        cells = _identity(row, wide, several=len(trials) > 1) + _numbers(row, own)
        table.add_row(escape(row.method), *cells, style=style)
    return table


def _count(trials: int) -> str:
    return "one trial" if trials == 1 else f"{trials} trials"


def _plain(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD,
        padding=0, show_edge=False,
    )  # fmt: skip


def _heads(wide: bool, several: bool) -> list[str]:
    first = ["\ndensity", "\nweights"] * wide + ["\nn"] * (wide or several)
    return [
        *first, "\ntest %", "at\nend %", "early\nstop", "cost:\ntrain", "\nsearch", "\ntotal",
        "difference\n(points)",
    ]  # fmt: skip


def _identity(row: Row, wide: bool, several: bool) -> list[str]:
    weights = "" if row.weights is None else f"{row.weights:,}"
    first = [percent(row.density), weights] * wide
    return [*first, str(row.trials)] if wide or several else first


def _numbers(row: Row, own: bool) -> list[str]:
    costs = [_cost(c) for c in (row.training_cost, row.search_cost, row.total_cost)]
    if row.test_accuracy is None or row.test_accuracy_end is None:
        return ["diverged", "", "", *costs, ""]
    test = _between(row.test_accuracy, row.test_high)
    if row.diverged:
        test += f"\n{row.diverged} diverged"
    end = f"{100 * row.test_accuracy_end:.2f}"
    difference = "reference" if own else _between(row.difference, row.difference_high, "+")
    return [test, end, f"{row.early_stop_step:,.0f}", *costs, difference]


def _between(mean: float | None, high: float | None, sign: str = "") -> str:
    """Write a mean in points with the half width of its interval."""
    if mean is None:
        return ""
    half = "" if high is None else f" ±{100 * (high - mean):.2f}"
    return f"{100 * mean:{sign}.2f}{half}"


def _cost(runs: float | None) -> str:
    """Write a cost in dense runs to three digits or two decimals.

    >>> _cost(0.0563), _cost(4.73), _cost(21.62), _cost(0.001), _cost(0.0)
    ('0.06', '4.73', '21.6', '<0.01', '0')
    """
    if runs is None or runs == 0:
        return "" if runs is None else "0"
    if runs < 0.005:
        return "<0.01"
    return f"{runs:.2f}" if runs < 10 else f"{runs:.1f}" if runs < 100 else f"{runs:,.0f}"


def _budget_table(best: Sequence[Best], density: float, width: int) -> Table:
    budgets = sorted({b.budget for b in best})
    cells = {(b.method, b.budget): b for b in best}
    top = {x: max(b.test_accuracy or 0 for b in best if b.budget == x) for x in budgets}
    half = width - 24 >= 12 * len(budgets)
    table = _plain(f"best of at most {percent(density)} of the weights, by total cost allowed")
    table.add_column("method", overflow="fold", min_width=NAME)
    for budget in budgets:
        table.add_column(f"{budget:g}", justify="right", no_wrap=True, min_width=NUMBER)
    for method in _by_accuracy(best):
        row = [cells.get((method, budget)) for budget in budgets]
        table.add_row(escape(method), *(_cell(b, half, top) for b in row))
    return table


def _by_accuracy(best: Sequence[Best]) -> list[str]:
    """Order methods by what the greatest budget buys them."""
    last = {b.method: b.test_accuracy or 0 for b in sorted(best, key=lambda b: b.budget)}
    return sorted(last, key=lambda method: (-last[method], method))


def _cell(best: Best | None, half: bool, top: dict[float, float]) -> str:
    if best is None:
        return ""
    text = _between(best.test_accuracy, best.test_high if half else None)
    return f"[bold]{text}[/bold]" if best.test_accuracy == top[best.budget] else text
