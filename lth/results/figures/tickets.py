"""Early stop and accuracy against density: Frankle & Carbin 2019, Figures 1, 4 and 5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lth.records.intervals import Spread
from lth.records.matching import WINNER
from lth.records.record import Record
from lth.records.statistics import EARLY, Cell, Summary, summarise
from lth.results.figures.style import DPI, legend_columns, look, percent, tidy, words

TICKS = 8
"""As many densities are labelled on an axis, at most."""

LINE = 0.21
"""Inches that a line of the legend takes; the third and later ones are added to the figure's."""

DODGE, REACH = 0.012, 0.03
"""By which share of its density an arm's points stand beside the next arm's; any one, at most."""


class Panel(NamedTuple):
    """A value to draw against density."""

    name: str
    label: str
    factor: float


PANELS = (
    Panel(EARLY, "early-stop step", 1.0),
    Panel("test_accuracy", "test accuracy at early stop (%)", 100.0),
    Panel("test_accuracy_end", "test accuracy at the end (%)", 100.0),
)


def tickets_figure(records: Iterable[Record]) -> Figure:
    """Draw early-stop step and test accuracy, at early stop and at the end, against density.

    Points are means over trials, bars run from the least to the greatest; every arm sets out from
    the dense network. One row of panels, or a column per learning rate where there are several.
    """
    summaries = {c: s for c, s in summarise(records).items() if s.density > 0}  # on a log axis
    rates = list(dict.fromkeys(cell.lr for cell in summaries))
    figure, grid = _panels(len(rates))
    for column, lr in zip(grid, rates, strict=True):
        for ax, panel in zip(column, PANELS, strict=True):
            _draw_panel(ax, summaries, lr, panel)
        if len(rates) > 1:
            column[0].set_title(f"lr {lr:g}")
    for panel, row in zip(PANELS, zip(*grid, strict=True), strict=True):
        _cut(row, summaries, panel)
    labelled = (column[0] for column in grid)
    _legend(figure, max(labelled, key=lambda ax: len(ax.get_lines())), _note(summaries))
    return figure


def _panels(rates: int) -> tuple[Figure, list[list[Axes]]]:
    """Return the figure and its panels by learning rate."""
    if rates == 1:
        figure = Figure(figsize=(13, 4.4), dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12)  # type: ignore[union-attr]
        return figure, [list(figure.subplots(1, len(PANELS)))]
    width = 1 + rates * max(2.8, min(4.4, 18 / rates))
    figure = Figure(figsize=(width, 10), dpi=DPI, layout="constrained")
    grid = figure.subplots(len(PANELS), rates, squeeze=False, sharex=True, sharey="row")
    for ax in grid[:, 1:].flat:
        ax.tick_params(labelleft=False)
    return figure, [list(column) for column in grid.T]


def _draw_panel(ax: Axes, summaries: dict[Cell, Summary], lr: float, panel: Panel) -> None:
    arms = list(dict.fromkeys(cell.arm for cell in summaries))
    dense = summaries.get(Cell(lr, WINNER, 0))
    if dense is not None and panel.name in dense.values:
        mean = panel.factor * dense.values[panel.name].mean
        ax.axhline(mean, color="0.35", lw=1.2, ls=(0, (5, 3)), zorder=1, label="dense network")
    for number, arm in enumerate(arms):
        levels = [s for c, s in summaries.items() if (c.lr, c.arm) == (lr, arm)]
        start = [dense] if arm != WINNER and dense is not None and levels else []
        shown = [s for s in [*start, *levels] if panel.name in s.values]
        if shown:
            spreads = [s.values[panel.name] for s in shown]
            beside = 1 + dodge(number, len(arms))  # or the bars hide each other
            x = [100 * s.density * (beside if s.cell.level else 1) for s in shown]
            _bars(ax, x, spreads, panel, number, arm)
    at = ax.get_subplotspec()
    if at is None or at.is_first_col() or at.get_gridspec().nrows == 1:
        ax.set_ylabel(panel.label)
    _density_axis(ax, summaries)
    if at is None or at.is_last_row():
        ax.set_xlabel("weights remaining (%)")
    tidy(ax)


def dodge(number: int, arms: int) -> float:
    """Return by which share of its density an arm's points are drawn beside it: 3 % at most.

    >>> [dodge(n, 3) for n in range(3)], max(abs(dodge(n, 40)) for n in range(40))
    ([-0.012, 0.0, 0.012], 0.03)
    """
    middle = (arms - 1) / 2
    return min(DODGE, REACH / middle) * (number - middle) if middle else 0.0


def _bars(
    ax: Axes, x: list[float], spreads: list[Spread], panel: Panel, number: int, arm: str
) -> None:
    f = panel.factor
    ranges = [[f * (s.mean - s.low) for s in spreads], [f * (s.high - s.mean) for s in spreads]]
    ax.errorbar(
        x, [f * s.mean for s in spreads], yerr=ranges if max(s.n for s in spreads) > 1 else None,
        **look(number)._asdict(), ms=4.5, lw=1.7, elinewidth=0.9, capsize=2, label=words(arm),
        zorder=3 if arm == WINNER else 2,
    )  # fmt: skip


def _cut(row: Sequence[Axes], summaries: dict[Cell, Summary], panel: Panel) -> None:
    """Let accuracies far below the tickets leave the panel, as in the paper."""
    spreads = {c: s.values[panel.name] for c, s in summaries.items() if panel.name in s.values}
    found = {c: panel.factor * spread.mean for c, spread in spreads.items()}
    dense = [mean for c, mean in found.items() if c.level == 0]
    if panel.name != EARLY and dense:
        lowest = min(mean for c, mean in found.items() if c.arm == WINNER)
        reach = min(max(3.0, 3 * (min(dense) - lowest)), 25.0)
        bottom, _ = row[0].get_ylim()  # shared where there are several columns
        if bottom < min(dense) - reach:
            best = max(panel.factor * spread.high for spread in spreads.values())
            row[0].set_ylim(min(dense) - reach, best + 0.05 * (best - min(dense) + reach))


def _density_axis(ax: Axes, summaries: dict[Cell, Summary]) -> None:
    """Label the tickets' densities, thinned so that they can be read; dense on the left."""
    ladder = [s.density for c, s in summaries.items() if c.arm == WINNER]
    marks = sorted({100 * d for d in ladder}, reverse=True)
    every = [100 * s.density for s in summaries.values()]
    step = max(1, -(-len(marks) // TICKS))
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(marks[::step]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    ax.set_xlim(max(every) * 1.15, min(every) / 1.15)


def _legend(figure: Figure, ax: Axes, note: str) -> None:
    handles, labels = ax.get_legend_handles_labels()
    width, height = figure.get_size_inches()
    columns = min(legend_columns(labels, 0.95 * width), 7)
    figure.set_size_inches(width, height + LINE * max(0, -(-len(labels) // columns) - 2))
    figure.legend(
        handles, labels, loc="outside upper center", ncols=columns, frameon=False, title=note,
        title_fontsize=9, columnspacing=1.6,
    )  # fmt: skip


def _note(summaries: dict[Cell, Summary]) -> str:
    trials = max((s.values[EARLY].n for s in summaries.values() if s.values), default=0)
    left_out = sum(s.diverged for s in summaries.values())
    note = f"mean of {trials} trials; bars: least and greatest" if trials > 1 else "one trial"
    return note + (f"; {left_out} networks that diverged are left out" if left_out else "")
