"""A sweep's figure: what was asked for, against what its jobs vary."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.records.intervals import grouped
from lth.records.judged import Judged
from lth.records.statistics import percent
from lth.results.figures.axes import tidy
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import words
from lth.results.sweep import SweepRow, best_of, is_grid, number_of

SIZE = (6.4, 4.2)
"""Inches of a panel."""

DECADE = 8.0
"""Numbers whose greatest is so many times the least stand on a log axis."""

NAMED = 24
"""So many lines have a name in the legend, at most."""


def sweep_figure(rows: Sequence[SweepRow], what: Judged, sheet: Sheet = PLAIN) -> Figure | None:
    """Draw a grid's rows as lines, those of a search as points; None where nothing varies.

    The axis is the setting of most values, numbers before words; the others are lines. Points of a
    search stand in a panel per setting. Bars are Student's 95 % intervals over trials of all seeds.
    """
    shown = [r for r in rows if r.value is not None]
    names = list(rows[0].settings) if rows else []
    if not shown or not names:
        return None
    count = 1 if is_grid(rows) else len(names)
    with sheet.used():
        figure, axes = sheet.panels(count, min(count, 2), SIZE)
        if is_grid(rows):
            _lines(axes[0], shown, _axis(shown, names), what, sheet)
        else:
            for ax, name in zip(axes, names, strict=True):
                _points(ax, shown, name, what, sheet)
        for ax in axes:
            ax.set_ylabel(_ordinate(shown, what))
        handles, _ = axes[0].get_legend_handles_labels()
        sheet.caption(figure, _title(shown), handles[:NAMED])
    return figure


def _axis(rows: Sequence[SweepRow], names: Sequence[str]) -> str:
    """Return the setting that is drawn along the axis."""

    def rank(name: str) -> tuple[bool, int]:
        values = {r.settings[name] for r in rows}
        return all(number_of(v) is not None for v in values), len(values)

    return max(names, key=rank)


def _lines(ax: Axes, rows: Sequence[SweepRow], axis: str, what: Judged, sheet: Sheet) -> None:
    others = [n for n in rows[0].settings if n != axis]
    lines = grouped(rows, lambda r: tuple(r.settings[n] for n in others))
    at = _places(ax, rows, axis)
    labels = {
        key: ", ".join(_named(n, v) for n, v in zip(others, key, strict=True)) for key in lines
    }
    looks = sheet.looks(labels.values())
    for key, own in lines.items():
        own, look = sorted(own, key=lambda r: at[r.settings[axis]]), looks[labels[key]]
        label = {"label": labels[key]} if others else {}
        places = [at[r.settings[axis]] for r in own]
        style = look._asdict()
        if any(number_of(value) is None for value in at):
            style["ls"] = "none"  # there is nothing between two words
        _bars(ax, places, own, what, **style, **label)


def _points(ax: Axes, rows: Sequence[SweepRow], name: str, what: Judged, sheet: Sheet) -> None:
    """Draw every row against one setting, the best one marked."""
    at = _places(ax, rows, name)
    colours = [look.color for look in sheet.looks(("found", "best")).values()]
    places = [at[r.settings[name]] for r in rows]
    _bars(ax, places, rows, what, color=colours[0], marker="o", ls="none")
    if (best := best_of(rows, what)) is not None and best.value is not None:
        ax.plot(
            at[best.settings[name]], what.factor * best.value.mean, marker="*", ms=13, ls="none",
            color=colours[1], zorder=4,
        )  # fmt: skip


def _bars(ax: Axes, x: Sequence[float], rows: Sequence[SweepRow], what: Judged, **style: object):
    values = [r.value for r in rows if r.value is not None]
    y = [what.factor * v.mean for v in values]
    half = [what.factor * (v.high - v.mean) if v.bounded else 0.0 for v in values]
    ax.errorbar(x, y, yerr=half, lw=1.2, ms=5, elinewidth=0.9, capsize=2, **style)  # type: ignore[arg-type]


def _places(ax: Axes, rows: Sequence[SweepRow], name: str) -> dict[str, float]:
    """Return where each value of a setting stands; numbers in their place, words in a row."""
    values = list(dict.fromkeys(r.settings[name] for r in rows))
    numbers = [number_of(v) for v in values]
    ax.set_xlabel(name)
    tidy(ax)
    known = [n for n in numbers if n is not None]
    if len(known) == len(values):
        if min(known) > 0 and max(known) / min(known) >= DECADE:
            ax.set_xscale("log")
        return dict(zip(values, known, strict=True))
    ax.set_xticks(range(len(values)), [words(v) for v in values], rotation=20, ha="right")
    return {value: float(place) for place, value in enumerate(values)}


def _named(name: str, value: str) -> str:
    """Write a setting of a line: a word stands for itself, a number needs its name."""
    return words(value) if number_of(value) is None else f"{name}={value}"


def _ordinate(rows: Sequence[SweepRow], what: Judged) -> str:
    levels = sorted({r.level for r in rows})
    where = f"level {levels[0]}" if len(levels) == 1 else "the deepest level"
    return f"{what.words} at {where}{what.percent}"


def _title(rows: Sequence[SweepRow]) -> str:
    arms = ", ".join(dict.fromkeys(words(r.arm) for r in rows))
    densities = [r.density for r in rows if math.isfinite(r.density)]
    at = f" at {percent(min(densities))} of the weights" if len(set(densities)) == 1 else ""
    counts = sorted({r.begun for r in rows})
    over = "one trial" if counts[-1] == 1 else f"{counts[-1]} trials; bars: 95 % intervals"
    seeds = len({s for r in rows for s in r.seeds})
    return f"{arms}{at}; {over}" + (f"; {seeds} seeds pooled" if seeds > 1 else "")
