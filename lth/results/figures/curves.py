"""What is judged on the way, against the training step: Frankle & Carbin 2019, Figure 3."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth.measured import Measured
from lth.records.intervals import Spread, grouped, mean, spread
from lth.records.judged import ACCURACY, Judged, judged
from lth.records.record import Record, last_phases
from lth.records.statistics import Cell, without_diverged
from lth.results.figures.axes import is_lowest, label_y
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import cut, grey, shades, share, words
from lth.types import WINNER

SHOWN = (0.513, 0.211, 0.070, 0.036, 0.019)
"""Densities of the paper's figure; a curve is drawn for the level nearest to each."""

CONTROLS = 11
"""As many arms are drawn beside the winning ticket, a panel each."""

ROW = 4
"""Panels in a row, at most."""

Line = list[tuple[int, Spread]]
"""The spread over trials at every step."""


class Curves(NamedTuple):
    """All that is drawn: lines by cell, levels with their colours, those of the controls' panels.

    ``told`` is every arm's density by level.
    """

    lines: Mapping[Cell, Line]
    colours: Mapping[int, Any]
    pair: Sequence[int]
    told: Mapping[str, Mapping[int, float]]
    what: Judged


def curves_figure(
    curves: Iterable[Record],
    records: Iterable[Record] = (),
    measured: Measured = ACCURACY,
    sheet: Sheet = PLAIN,
) -> Figure | None:
    """Draw accuracy against the step: winning tickets, then each other arm dashed beside them.

    Test accuracy where the recipe measures it on the way, else validation accuracy; means over the
    trials that did not diverge, shaded from the least to the greatest. A row per learning rate.
    None where there is no curve.
    """
    finished = without_diverged(curves, records)
    what = judged(finished, measured)
    wanted = last_phases(r for r in finished if (r.split, r.metric) == (what.split, what.metric))
    if not wanted:
        return None
    with sheet.used():
        arms = [arm for arm in dict.fromkeys(r.arm for r in wanted) if arm != WINNER]
        return _figure(_curves(wanted, arms, what), arms, sheet)


def densities(curves: Iterable[Record], arm: str) -> dict[int, float]:
    """Return the density of an arm's curves by level: the mean over members, each at its end."""
    own = (r for r in curves if r.arm == arm)
    members = grouped(own, lambda r: (r.level, r.trial, r.copy, r.lr))
    ends = (max(rows, key=lambda r: r.step) for rows in members.values())
    levels = grouped(ends, lambda r: r.level)
    return {n: mean([r.density for r in rows]) for n, rows in sorted(levels.items())}


def _curves(wanted: Sequence[Record], arms: Sequence[str], what: Judged) -> Curves:
    colours = _colours(densities(wanted, WINNER))
    own = sorted({r.level for r in wanted if r.arm != WINNER})
    pair = [0, *([n for n in colours if n in own] or own)[:2]] if arms else []
    colours = dict.fromkeys(pair, grey(0.5)) | colours
    told = {arm: densities(wanted, arm) for arm in (WINNER, *arms)}
    return Curves(_lines(wanted, what), colours, pair, told, what)


def _lines(curves: Iterable[Record], what: Judged) -> dict[Cell, Line]:
    """Return every line as it is shown: at each step the spread over trials, copies averaged."""
    points = grouped(curves, lambda r: (Cell(r.lr, r.arm, r.level), r.step, r.trial))
    trials = {at: what.factor * mean([r.value for r in rows]) for at, rows in points.items()}
    moments = grouped(trials, lambda at: at[:2])
    spreads = {at: spread([trials[one] for one in own]) for at, own in moments.items()}
    cells = grouped(spreads, lambda at: at[0])
    return {cell: sorted((at[1], spreads[at]) for at in own) for cell, own in cells.items()}


def _colours(density: dict[int, float]) -> dict[int, Any]:
    """Choose the levels to draw, and their colours: the dense network ink, then dark to light."""
    density = {n: d for n, d in density.items() if n > 0 and d > 0}
    near = {min(density, key=lambda n: abs(math.log(density[n] / d))) for d in SHOWN if density}
    chosen = sorted(density) if len(density) <= len(SHOWN) else sorted(near)
    return {0: grey(0.0), **dict(zip(chosen, shades(len(chosen)), strict=True))}


def _figure(shown: Curves, arms: Sequence[str], sheet: Sheet) -> Figure:
    rates = list(dict.fromkeys(cell.lr for cell in shown.lines))
    drawn = ["", *arms[:CONTROLS]]
    size = (5.5, 4.0) if len(drawn) > 1 else (6.5, 4.0)
    size = size if len(drawn) < 3 else (3.6, 2.9)
    figure, axes = sheet.panels(len(rates) * len(drawn), min(ROW, len(drawn)), size)
    letters = sheet.title_letters(axes[0])
    for number, lr in enumerate(rates):
        own = axes[number * len(drawn) : (number + 1) * len(drawn)]
        for ax, arm in zip(own, drawn, strict=True):
            _panel(ax, shown, lr, arm)
            prefix = f"lr {lr:g}: " if len(rates) > 1 else ""
            name = f"against {words(arm)}" if arm else "winning tickets"
            ax.set_title(cut(prefix + name, letters))
        _limit(own, shown.what)
    for ax in axes:
        at = ax.get_subplotspec()
        assert at is not None
        first = at.is_first_col()
        label_y(ax, shown.what.words + shown.what.percent if first else "")
        ax.tick_params(labelleft=first)
        ax.set_xlabel("training step" if is_lowest(ax) else "")
    _legend(figure, shown, arms, sheet)
    return figure


def _panel(ax: Axes, shown: Curves, lr: float, arm: str) -> None:
    for level in shown.pair if arm else shown.colours:
        _line(ax, shown.lines.get(Cell(lr, WINNER, level)), shown.colours[level], "-")
        if arm:
            _line(ax, shown.lines.get(Cell(lr, arm, level)), shown.colours[level], "--")
    if arm:
        _name_own(ax, shown, arm)


def _line(ax: Axes, line: Line | None, colour: Any, style: str) -> None:
    """Draw a mean, and shade from the least to the greatest where there are several trials."""
    if not line:
        return
    steps = [step for step, _ in line]
    ax.plot(steps, [s.mean for _, s in line], color=colour, ls=style)
    if max(s.n for _, s in line) > 1:
        low, high = [s.low for _, s in line], [s.high for _, s in line]
        ax.fill_between(steps, low, high, color=colour, alpha=0.16, lw=0)


def _limit(row: Sequence[Axes], what: Judged) -> None:
    """Leave the climb from chance out of a row of panels: what is compared is the best."""
    drawn = [line.get_xydata() for ax in row for line in ax.get_lines()]
    points = [(x, what.merit(y)) for line in drawn for x, y in line]  # type: ignore[union-attr]
    if not points:
        return
    last = max(x for x, _ in points)
    late = [y for x, y in points if x >= last / 4]
    span = max(1.0 if what.share else 0.01 * abs(max(late)), max(late) - min(late)) or 1.0
    bands = [path for ax in row for band in ax.collections for path in band.get_paths()]
    best = [what.merit(float(y)) for path in bands for _, y in path.vertices]  # type: ignore
    ends = min(late) - 0.3 * span, max([*best, *(y for _, y in points)]) + 0.08 * span
    for ax in row:
        ax.set_ylim(*sorted(map(what.merit, ends)))


def _name_own(ax: Axes, shown: Curves, arm: str) -> None:
    """Name a control's densities in its panel, where they are others than the tickets'."""
    told = {n: share(d) for n, d in shown.told[WINNER].items()}
    own = {n: share(d) for n, d in shown.told[arm].items() if n in shown.pair}
    if any(text != told.get(n, share(0.0)) for n, text in own.items()):
        colours = shown.colours
        ax.legend(
            handles=[Line2D([], [], color=colours[n], ls="--", label=t) for n, t in own.items()],
            title=f"{cut(words(arm), 24)}'s own", frameon=False, loc="lower right",
        )  # fmt: skip


def _legend(figure: Figure, shown: Curves, arms: Sequence[str], sheet: Sheet) -> None:
    """Name the tickets' densities and what is dashed, and say what is shaded."""
    told = {n: share(d) for n, d in shown.told[WINNER].items()}
    handles = [
        Line2D([], [], color=c, label=told[n]) for n, c in shown.colours.items() if n in told
    ]
    dashed = words(arms[0]) if len(arms) == 1 else "the other arm"
    names = {"-": words(WINNER), "--": dashed} if arms else {}
    handles += [Line2D([], [], color=grey(0.4), ls=s, label=name) for s, name in names.items()]
    trials = max((s.n for line in shown.lines.values() for _, s in line), default=1)
    several = f"mean of {trials} trials; shaded: least and greatest" if trials > 1 else "one trial"
    more = len(arms) - CONTROLS
    rest = f"; {more} more arms are not drawn" if more > 0 else ""
    sheet.caption(figure, f"colours: weights remaining; {several}{rest}", handles)
