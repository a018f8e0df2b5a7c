"""Early stop and what is judged against density: Frankle & Carbin 2019, Figures 1, 4 and 5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.measured import Measured
from lth.records.judged import ACCURACY
from lth.records.record import Record
from lth.results.figures.axes import is_lowest, label_y
from lth.results.figures.ladder import (
    Ladder,
    Panel,
    cut,
    draw_bars,
    draw_dense,
    name_densities,
)
from lth.results.figures.multiples import multiples
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import COLOURS, words
from lth.types import WINNER

DENSITY = "weights remaining (%)"

LEAST = 2.2
"""Inches that a panel takes in print at least, in a font of 8 points."""

MANY = 6
"""Of more arms the lines are thinner."""


def tickets_figure(
    records: Iterable[Record], measured: Measured = ACCURACY, sheet: Sheet = PLAIN, part: int = 1
) -> Figure | None:
    """Draw early-stop step and what is judged, at early stop and at the end, against density.

    Points are means over trials, bars run from the least to the greatest; every arm sets out from
    the dense network. One row of panels, or a column per learning rate where there are several. Of
    more arms than there are colours every one has a panel of its own, before all others in grey:
    what is judged at early stop, or at the end (``part=2``), or the early-stop step (``part=0``).
    None where every network diverged.
    """
    ladder = Ladder.of(records, measured)
    if ladder is None:
        return None
    with sheet.used():
        if len(ladder.arms) > len(COLOURS):
            return multiples(ladder, ladder.panels[part], sheet)
        return _figure(ladder, sheet)


def crowded_figure(
    records: Iterable[Record], measured: Measured, sheet: Sheet, part: int
) -> Figure | None:
    """Draw another part of ``tickets_figure``; None where that shows all parts at once."""
    records = list(records)
    crowd = len({r.arm for r in records}) > len(COLOURS)
    return tickets_figure(records, measured, sheet, part) if crowd else None


def _figure(ladder: Ladder, sheet: Sheet) -> Figure:
    rates, panels = ladder.rates, ladder.panels
    if len(rates) > 1 and sheet.columns(len(rates)) == len(rates):  # a column per learning rate
        cells = [(lr, panel) for panel in panels for lr in rates]
        each = max(2.8, min(4.4, 18 / len(rates)))
        figure, axes = sheet.panels(len(cells), len(rates), (each, 3.1), share="row")
    else:
        cells = [(lr, panel) for lr in rates for panel in panels]
        figure, axes = sheet.panels(len(cells), len(panels), (13 / 3, 3.6), LEAST)
    for ax, (lr, panel) in zip(axes, cells, strict=True):
        _draw_panel(ax, ladder, lr, panel, sheet)
    for panel in panels:
        cut([ax for ax, (_, p) in zip(axes, cells, strict=True) if p == panel], ladder, panel)
    _name_axes(axes, cells, several=len(rates) > 1)
    handles, labels = max((ax.get_legend_handles_labels() for ax in axes), key=lambda x: len(x[1]))
    sheet.caption(figure, ladder.note(), handles, labels)
    return figure


def _draw_panel(ax: Axes, ladder: Ladder, lr: float, panel: Panel, sheet: Sheet) -> None:
    draw_dense(ax, ladder, lr, panel)
    arms, looks = ladder.arms, sheet.looks(ladder.arms)
    thin = {"lw": 0.11 * sheet.font} if len(arms) > MANY else {}
    for number, arm in enumerate(arms):
        shown = ladder.line(lr, arm, panel.name)
        if shown:
            xs = [ladder.beside(s, number, len(arms)) for s in shown]  # or bars hide each other
            order = 3 if arm == WINNER else 2
            draw_bars(ax, xs, shown, panel, looks[arm], label=words(arm), zorder=order, **thin)
    name_densities(ax, ladder)


def _name_axes(axes: Sequence[Axes], cells: Sequence[tuple[float, Panel]], several: bool) -> None:
    """Say once what axes are that panels share."""
    for ax, (lr, panel) in zip(axes, cells, strict=True):
        at = ax.get_subplotspec()
        assert at is not None
        in_grid = several and cells[0][1] == cells[1][1]
        if at.is_first_col() or not in_grid:
            label_y(ax, panel.label)
        else:
            ax.tick_params(labelleft=False)
        if is_lowest(ax):
            ax.set_xlabel(DENSITY)
        if several and (at.is_first_row() or not in_grid):
            ax.set_title(f"lr {lr:g}")
