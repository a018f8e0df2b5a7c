"""Of more arms than there are colours: a panel for each, before all others in grey."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth.results.figures.axes import label_y
from lth.results.figures.ladder import (
    Ladder,
    Panel,
    cut,
    draw_bars,
    draw_dense,
    name_densities,
)
from lth.results.figures.sheet import Sheet
from lth.results.figures.style import Look, grey, words
from lth.results.figures.style import cut as cut_text
from lth.types import WINNER

MOST, SIZE = 6, (2.3, 1.9)
"""Panels in a row on a screen, and the inches of one."""

LEAST = 1.3


def multiples(ladder: Ladder, panel: Panel, sheet: Sheet) -> Figure | None:
    """Draw one value of every arm, beside the winning ticket's and before the others' means."""
    cells = [
        (lr, arm) for lr in ladder.rates for arm in ladder.arms
        if arm != WINNER and ladder.line(lr, arm, panel.name)
    ]  # fmt: skip
    if not cells:
        return None
    figure, axes = sheet.panels(len(cells), MOST, SIZE, LEAST, share=True)
    looks, columns = sheet.looks(ladder.arms), sheet.columns(min(MOST, len(cells)), LEAST)
    own, width = looks[WINNER], float(figure.get_size_inches()[0]) / columns
    letters = max(8, int(0.9 * width / (0.0725 * sheet.font / 10)))
    for ax, (lr, arm) in zip(axes, cells, strict=True):
        draw_dense(ax, ladder, lr, panel)
        _others(ax, ladder, lr, panel)
        for number, (each, look) in enumerate(((WINNER, own), (arm, looks[arm]))):
            _arm(ax, ladder, (lr, each), panel, look._replace(ls="-"), number)
        rate = f"\nlr {lr:g}" if len(ladder.rates) > 1 else ""
        ax.set_title(cut_text(words(arm), letters) + rate, fontsize="small")
        name_densities(ax, ladder)
    cut(axes[:1], ladder, panel)
    _name_axes(axes, panel, columns)
    names: dict[str, Any] = {
        "winning ticket": own.color,
        "the arm named above": grey(0.0),
        "the others": grey(0.8),
    }
    handles = [Line2D([], [], color=c, label=name) for name, c in names.items()]
    handles.append(Line2D([], [], color=grey(0.35), ls=(0, (5, 3)), label="dense network"))
    sheet.caption(figure, f"{panel.label}; {ladder.note()}", handles)
    return figure


def _others(ax: Axes, ladder: Ladder, lr: float, panel: Panel) -> None:
    """Draw all means in grey, as one line that is broken between arms: panels are many."""
    points: list[tuple[float, float]] = []
    for arm in ladder.arms:
        shown = ladder.line(lr, arm, panel.name)
        means = [panel.factor * s.values[panel.name].mean for s in shown]
        points += [*zip([100 * s.density for s in shown], means, strict=True), (nan, nan)]
    ax.plot(*zip(*points, strict=True), color=grey(0.85), lw=0.6, zorder=1)


def _arm(
    ax: Axes, ladder: Ladder, at: tuple[float, str], panel: Panel, look: Look, number: int
) -> None:
    if shown := ladder.line(*at, panel.name):
        xs = [ladder.beside(s, number, 2) for s in shown]
        draw_bars(ax, xs, shown, panel, look, ms=2.5, lw=1.1, capsize=1, label=words(at[1]),
                  zorder=2 + number)  # fmt: skip


def _name_axes(axes: Sequence[Axes], panel: Panel, columns: int) -> None:
    """Name what the panels share at the left and below, where no panel stands beneath."""
    for number, ax in enumerate(axes):
        ax.tick_params(labelleft=number % columns == 0)
        if number + columns >= len(axes):
            ax.set_xlabel("weights (%)", fontsize="small")
        else:
            ax.tick_params(labelbottom=False)
        if number % columns == 0:
            label_y(ax, panel.label.split(" at ")[0])
