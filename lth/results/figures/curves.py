"""Accuracy on the way, against the training step: Frankle & Carbin 2019, Figure 3."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth.records.intervals import mean
from lth.records.matching import WINNER
from lth.records.record import Record
from lth.records.statistics import Cell, curve_means, without_diverged
from lth.results.figures.style import DPI, percent, tidy, words

SHOWN = (0.513, 0.211, 0.070, 0.036, 0.019)
"""Densities of the paper's figure; a curve is drawn for the level nearest to each."""


def curves_figure(curves: Iterable[Record], records: Iterable[Record] = ()) -> Figure:
    """Draw accuracy against the step: winning tickets on the left, one control dashed on the right.

    Test accuracy where the recipe measures it on the way, else validation accuracy; means over the
    trials that did not diverge. A row per learning rate.
    """
    wanted = accuracies(curves, records)
    lines = _lines(wanted)
    rates, arms = (
        list(dict.fromkeys(k.lr for k in lines)),
        list(dict.fromkeys(r.arm for r in wanted)),
    )
    control = next((arm for arm in arms if arm != WINNER), None)
    colours = _colours(wanted)
    pair = _beside(colours, sorted({r.level for r in wanted if r.arm == control}))
    colours = dict.fromkeys(pair, "0.5") | colours
    size = (11.0 if control else 6.5, 0.9 + 4.0 * len(rates))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    grid = figure.subplots(
        len(rates), 2 if control else 1, squeeze=False, sharex=True, sharey="row"
    )
    for row, lr in zip(grid, rates, strict=True):
        for level, colour in colours.items():
            _line(row[0], lines.get(Cell(lr, WINNER, level)), colour, "-")
        for level in pair if control else ():
            _line(row[1], lines.get(Cell(lr, WINNER, level)), colours[level], "-")
            _line(row[1], lines.get(Cell(lr, control or "", level)), colours[level], "--")
        _finish_row(row, f"lr {lr:g}: " if len(rates) > 1 else "", control)
        row[0].set_ylabel(f"{wanted[0].split} accuracy (%)")
    for ax in grid[-1]:
        ax.set_xlabel("training step")
    _curves_legend(figure, colours, densities(wanted, WINNER), control)
    if control:
        _own_legend(grid[0][1], colours, pair, wanted, control)
    return figure


def _beside(colours: Iterable[int], own: Sequence[int]) -> list[int]:
    """Return the levels at which a control is drawn: two that the tickets are drawn at, if any."""
    return [0, *([n for n in colours if n in own] or own)[:2]]


def densities(curves: Iterable[Record], arm: str) -> dict[int, float]:
    """Return the density of an arm's curves by level: the mean over members, each at its end."""
    ends: dict[int, dict[tuple[int, int, float], Record]] = {}
    for r in curves:
        if r.arm == arm:
            found = ends.setdefault(r.level, {})
            member = r.trial, r.copy, r.lr
            if member not in found or found[member].step <= r.step:
                found[member] = r
    return {n: mean([r.density for r in found.values()]) for n, found in sorted(ends.items())}


def accuracies(curves: Iterable[Record], records: Iterable[Record]) -> list[Record]:
    """Return what the figure shows: test accuracy if measured on the way, else validation."""
    found = without_diverged((r for r in curves if r.metric == "accuracy"), records)
    split = "test" if any(r.split == "test" for r in found) else "validation"
    return [r for r in found if r.split == split]


def _lines(curves: Iterable[Record]) -> dict[Cell, list[tuple[int, float]]]:
    """Return the points (step, percent) of every mean curve."""
    lines: dict[Cell, list[tuple[int, float]]] = {}
    for m, value in curve_means(curves).items():
        lines.setdefault(Cell(m.lr, m.arm, m.level), []).append((m.step, 100 * value))
    return {cell: sorted(points) for cell, points in lines.items()}


def _colours(curves: Sequence[Record]) -> dict[int, str | tuple[float, ...]]:
    """Choose the levels to draw, and their colours: the dense network black, then dark to light."""
    density = {n: d for n, d in densities(curves, WINNER).items() if n > 0 and d > 0}
    near = [min(density, key=lambda n: abs(math.log(density[n] / d))) for d in SHOWN if density]
    chosen = sorted(density) if len(density) <= len(SHOWN) else sorted(set(near))
    shades = [colormaps["viridis"](0.05 + 0.85 * i / max(1, len(chosen) - 1))
              for i in range(len(chosen))]  # fmt: skip
    return {0: "black", **dict(zip(chosen, shades, strict=True))}


def _line(ax: Axes, points: list[tuple[int, float]] | None, colour: object, style: str) -> None:
    if points:
        ax.plot(*zip(*points, strict=True), color=colour, ls=style, lw=1.7)


def _finish_row(row: Sequence[Axes], prefix: str, control: str | None) -> None:
    """Title a row and leave the climb from chance out: what is compared is the top."""
    for ax, title in zip(row, ("winning tickets", f"against {words(control or '')}"), strict=False):
        ax.set_title(prefix + title, fontsize=11)
        tidy(ax)
    drawn = [line.get_xydata() for ax in row for line in ax.get_lines()]
    points = [(x, y) for line in drawn for x, y in line]  # type: ignore[union-attr]
    if points:
        last = max(x for x, _ in points)
        late = [y for x, y in points if x >= last / 4]
        span = max(1.0, max(late) - min(late))
        row[0].set_ylim(min(late) - 0.3 * span, max(y for _, y in points) + 0.08 * span)


def _curves_legend(
    figure: Figure, colours: dict, density: dict[int, float], control: str | None
) -> None:
    handles = [
        Line2D([], [], color=colour, lw=2.2, label=f"{percent(100 * density[level])} %")
        for level, colour in colours.items()
        if level in density
    ]
    if control:
        for arm, style in ((WINNER, "-"), (control, "--")):
            handles.append(Line2D([], [], color="0.4", ls=style, lw=1.7, label=words(arm)))
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), frameon=False,
        title="weights remaining", title_fontsize=9, columnspacing=1.6,
    )  # fmt: skip


def _own_legend(
    ax: Axes, colours: dict, levels: Sequence[int], curves: Sequence[Record], control: str
) -> None:
    """Name the control's densities where they are not the tickets'."""
    ladder, own = densities(curves, WINNER), densities(curves, control)
    told = {n: f"{percent(100 * own[n])} %" for n in levels if n in own}
    if all(text == f"{percent(100 * ladder.get(n, 0.0))} %" for n, text in told.items()):
        return
    ax.legend(
        handles=[Line2D([], [], color=colours[n], ls="--", label=text) for n, text in told.items()],
        title=f"{words(control)}'s own", title_fontsize=9, fontsize=9, frameon=False,
        loc="lower right",
    )  # fmt: skip
