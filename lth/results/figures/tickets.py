"""Early stop and what is judged against density: Frankle & Carbin 2019, Figures 1, 4 and 5."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.measured import Measured
from lth.records.intervals import grouped
from lth.records.judged import ACCURACY, Judged, judged
from lth.records.record import Record
from lth.records.statistics import EARLY, Cell, Summary, summarise
from lth.results.figures.style import (
    DPI,
    density_axis,
    legend_above,
    legend_columns,
    look,
    tidy,
    words,
)
from lth.types import WINNER

LINE = 0.21
"""Inches that a line of the legend takes; the third and later ones are added to the figure's."""

DODGE, REACH = 0.012, 0.03
"""By which share of its density an arm's points stand beside the next arm's; any one, at most."""


class Panel(NamedTuple):
    """A value to draw against density."""

    name: str
    label: str
    factor: float


def tickets_figure(records: Iterable[Record], measured: Measured = ACCURACY) -> Figure | None:
    """Draw early-stop step and what is judged, at early stop and at the end, against density.

    Points are means over trials, bars run from the least to the greatest; every arm sets out from
    the dense network. One row of panels, or a column per learning rate where there are several.
    None where every network diverged.
    """
    records = list(records)
    what = judged(records, measured)
    summaries = {c: s for c, s in summarise(records).items() if s.density > 0}  # on a log axis
    if not any(s.values for s in summaries.values()):
        return None
    panels = [
        Panel(EARLY, "early-stop step", 1.0),
        Panel(what.name, f"{what.words} at early stop{what.percent}", what.factor),
        Panel(what.end, f"{what.words} at the end{what.percent}", what.factor),
    ]
    rates = list(dict.fromkeys(cell.lr for cell in summaries))
    figure, grid = _panels(len(rates), len(panels))
    for column, lr in zip(grid, rates, strict=True):
        for ax, panel in zip(column, panels, strict=True):
            _draw_panel(ax, summaries, lr, panel)
        if len(rates) > 1:
            column[0].set_title(f"lr {lr:g}")
    for panel, row in zip(panels[1:], list(zip(*grid, strict=True))[1:], strict=True):
        _cut(row[0], summaries, panel, what)  # its scale is shared where there are several columns
    labelled = (column[0] for column in grid)
    _legend(figure, max(labelled, key=lambda ax: len(ax.get_lines())), _note(summaries))
    return figure


def _panels(rates: int, count: int) -> tuple[Figure, list[list[Axes]]]:
    """Return the figure and its panels by learning rate."""
    if rates == 1:
        figure = Figure(figsize=(13, 4.4), dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12)  # type: ignore[union-attr]
        return figure, [list(figure.subplots(1, count))]
    width = 1 + rates * max(2.8, min(4.4, 18 / rates))
    figure = Figure(figsize=(width, 10), dpi=DPI, layout="constrained")
    grid = figure.subplots(count, rates, squeeze=False, sharex=True, sharey="row")
    for ax in grid[:, 1:].flat:
        ax.tick_params(labelleft=False)
    return figure, [list(column) for column in grid.T]


def _draw_panel(ax: Axes, summaries: dict[Cell, Summary], lr: float, panel: Panel) -> None:
    arms = grouped(summaries.values(), lambda s: s.cell.arm)
    dense = summaries.get(Cell(lr, WINNER, 0))
    if dense is not None and panel.name in dense.values:
        mean = panel.factor * dense.values[panel.name].mean
        ax.axhline(mean, color="0.35", lw=1.2, ls=(0, (5, 3)), zorder=1, label="dense network")
    for number, (arm, own) in enumerate(arms.items()):
        levels = [s for s in own if s.cell.lr == lr]
        start = [dense] if arm != WINNER and dense is not None and levels else []
        shown = [s for s in [*start, *levels] if panel.name in s.values]
        if shown:
            beside = 1 + dodge(number, len(arms))  # or the bars hide each other
            _bars(ax, shown, beside, panel, number, arm)
    at = ax.get_subplotspec()
    if at is None or at.is_first_col() or at.get_gridspec().nrows == 1:
        ax.set_ylabel(panel.label)
    ladder = [s.density for s in arms.get(WINNER, [])]
    density_axis(ax, [s.density for s in summaries.values()], ladder)
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
    ax: Axes, shown: Sequence[Summary], beside: float, panel: Panel, number: int, arm: str
) -> None:
    f, spreads = panel.factor, [s.values[panel.name] for s in shown]
    ranges = [[f * (s.mean - s.low) for s in spreads], [f * (s.high - s.mean) for s in spreads]]
    ax.errorbar(
        [100 * s.density * (beside if s.cell.level else 1) for s in shown],
        [f * s.mean for s in spreads], yerr=ranges if max(s.n for s in spreads) > 1 else None,
        **look(number)._asdict(), ms=4.5, lw=1.7, elinewidth=0.9, capsize=2, label=words(arm),
        zorder=3 if arm == WINNER else 2,
    )  # fmt: skip


def _cut(ax: Axes, summaries: dict[Cell, Summary], panel: Panel, what: Judged) -> None:
    """Let values far worse than the tickets' leave the panel, as in the paper."""
    spreads = {c: s.values[panel.name] for c, s in summaries.items() if panel.name in s.values}
    merits = {c: what.merit(panel.factor * spread.mean) for c, spread in spreads.items()}
    dense = min((merit for c, merit in merits.items() if c.level == 0), default=None)
    if dense is None:
        return
    lowest = min(merit for c, merit in merits.items() if c.arm == WINNER)
    least, most = (3.0, 25.0) if what.share else (0.05 * abs(dense), math.inf)
    reach = min(max(least, 3 * (dense - lowest)), most)
    if min(map(what.merit, ax.get_ylim())) < dense - reach:
        best = max(what.merit(panel.factor * end) for s in spreads.values() for end in s[1:3])
        ends = dense - reach, best + 0.05 * (best - dense + reach)
        ax.set_ylim(*sorted(map(what.merit, ends)))


def _legend(figure: Figure, ax: Axes, note: str) -> None:
    handles, labels = ax.get_legend_handles_labels()
    width, height = figure.get_size_inches()
    columns = min(legend_columns(labels, 0.95 * width), 7)
    figure.set_size_inches(width, height + LINE * max(0, -(-len(labels) // columns) - 2))
    legend_above(figure, handles, note, columns)


def _note(summaries: dict[Cell, Summary]) -> str:
    trials = max(s.values[EARLY].n for s in summaries.values() if s.values)
    left_out = sum(s.diverged for s in summaries.values())
    note = f"mean of {trials} trials; bars: least and greatest" if trials > 1 else "one trial"
    return note + (f"; {left_out} networks that diverged are left out" if left_out else "")
