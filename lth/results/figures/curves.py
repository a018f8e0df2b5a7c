"""What is judged on the way, against the training step: Frankle & Carbin 2019, Figure 3."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth.measured import Measured
from lth.records.intervals import grouped, mean
from lth.records.judged import ACCURACY, Judged, judged
from lth.records.record import Record, last_phases
from lth.records.statistics import Cell, curve_means, without_diverged
from lth.results.figures.style import DPI, legend_above, percent, shades, tidy, words
from lth.types import WINNER

SHOWN = (0.513, 0.211, 0.070, 0.036, 0.019)
"""Densities of the paper's figure; a curve is drawn for the level nearest to each."""


def curves_figure(
    curves: Iterable[Record], records: Iterable[Record] = (), measured: Measured = ACCURACY
) -> Figure | None:
    """Draw accuracy against the step: winning tickets on the left, one control dashed on the right.

    Test accuracy where the recipe measures it on the way, else validation accuracy; means over the
    trials that did not diverge. A row per learning rate. None where there is no curve.
    """
    finished = without_diverged(curves, records)
    what = judged(finished, measured)
    wanted = last_phases(r for r in finished if (r.split, r.metric) == (what.split, what.metric))
    if not wanted:
        return None
    lines = _lines(wanted, what)
    rates, arms = ({getattr(k, part): None for k in lines} for part in ("lr", "arm"))
    control = next((arm for arm in arms if arm != WINNER), None)
    colours = _colours(densities(wanted, WINNER))
    own = sorted({r.level for r in wanted if r.arm == control})
    pair = [0, *([n for n in colours if n in own] or own)[:2]] if control else []
    colours = dict.fromkeys(pair, "0.5") | colours
    size = (11.0 if control else 6.5, 0.9 + 4.0 * len(rates))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    grid = figure.subplots(len(rates), 1 + bool(pair), squeeze=False, sharex=True, sharey="row")
    for row, lr in zip(grid, rates, strict=True):
        for level, colour in colours.items():
            _line(row[0], lines.get(Cell(lr, WINNER, level)), colour, "-")
        for level in pair:
            _line(row[1], lines.get(Cell(lr, WINNER, level)), colours[level], "-")
            _line(row[1], lines.get(Cell(lr, control or "", level)), colours[level], "--")
        _finish_row(row, f"lr {lr:g}: " if len(rates) > 1 else "", control, what)
        row[0].set_ylabel(what.words + what.percent)
    for ax in grid[-1]:
        ax.set_xlabel("training step")
    _legends(figure, grid[0], wanted, colours, pair, control)
    return figure


def densities(curves: Iterable[Record], arm: str) -> dict[int, float]:
    """Return the density of an arm's curves by level: the mean over members, each at its end."""
    own = (r for r in curves if r.arm == arm)
    members = grouped(own, lambda r: (r.level, r.trial, r.copy, r.lr))
    ends = (max(rows, key=lambda r: r.step) for rows in members.values())
    levels = grouped(ends, lambda r: r.level)
    return {n: mean([r.density for r in rows]) for n, rows in sorted(levels.items())}


def _lines(curves: Iterable[Record], what: Judged) -> dict[Cell, list[tuple[int, float]]]:
    """Return the points (step, value as shown) of every mean curve."""
    cells = grouped(curve_means(curves).items(), lambda item: Cell(*item[0][:3]))
    return {c: sorted((m.step, what.factor * v) for m, v in own) for c, own in cells.items()}


def _colours(density: dict[int, float]) -> dict[int, str | tuple[float, ...]]:
    """Choose the levels to draw, and their colours: the dense network black, then dark to light."""
    density = {n: d for n, d in density.items() if n > 0 and d > 0}
    near = {min(density, key=lambda n: abs(math.log(density[n] / d))) for d in SHOWN if density}
    chosen = sorted(density) if len(density) <= len(SHOWN) else sorted(near)
    return {0: "black", **dict(zip(chosen, shades(len(chosen)), strict=True))}


def _line(ax: Axes, points: list[tuple[int, float]] | None, colour: object, style: str) -> None:
    if points:
        ax.plot(*zip(*points, strict=True), color=colour, ls=style, lw=1.7)


def _finish_row(row: Sequence[Axes], prefix: str, control: str | None, what: Judged) -> None:
    """Title a row and leave the climb from chance out: what is compared is the best."""
    for ax, title in zip(row, ("winning tickets", f"against {words(control or '')}"), strict=False):
        ax.set_title(prefix + title, fontsize=11)
        tidy(ax)
    drawn = [line.get_xydata() for ax in row for line in ax.get_lines()]
    points = [(x, what.merit(y)) for line in drawn for x, y in line]  # type: ignore[union-attr]
    if points:
        last = max(x for x, _ in points)
        late = [y for x, y in points if x >= last / 4]
        span = max(1.0 if what.share else 0.01 * abs(max(late)), max(late) - min(late)) or 1.0
        ends = min(late) - 0.3 * span, max(y for _, y in points) + 0.08 * span
        row[0].set_ylim(*sorted(map(what.merit, ends)))


def _legends(
    figure: Figure, row: Sequence[Axes], curves: Sequence[Record], colours: dict, pair: list[int],
    control: str | None,
) -> None:  # fmt: skip
    """Name the tickets' densities above, and in its panel a control's where they are others."""
    texts = {
        arm: {n: f"{percent(100 * d)} %" for n, d in densities(curves, arm or "").items()}
        for arm in (WINNER, control)
    }
    told = texts[WINNER]
    handles = [
        Line2D([], [], color=c, lw=2.2, label=told[n]) for n, c in colours.items() if n in told
    ]
    for arm, style in ((WINNER, "-"), (control, "--")) if control else ():
        handles.append(Line2D([], [], color="0.4", ls=style, lw=1.7, label=words(arm)))
    legend_above(figure, handles, "weights remaining")
    own = {n: text for n, text in texts[control].items() if n in pair}
    if any(text != told.get(n, f"{percent(0.0)} %") for n, text in own.items()):
        row[1].legend(
            handles=[Line2D([], [], color=colours[n], ls="--", label=t) for n, t in own.items()],
            title=f"{words(control or '')}'s own", title_fontsize=9, fontsize=9, frameon=False,
            loc="lower right",
        )  # fmt: skip
