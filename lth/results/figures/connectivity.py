"""The error on the line between two networks: Frankle et al. 2020 (arXiv 1912.05671), Figure 2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth.records.intervals import grouped, spread
from lth.results.analysis.lines import LEVEL, RECALIBRATED, Point
from lth.results.analysis.tickets import HANDFUL, spread_out
from lth.results.figures.axes import label_y
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import cut, grey, palette, share, words

LEAST = 1.25
"""Inches that a panel takes in print at least, in a font of 8 points."""


class Group(NamedTuple):
    """Lines that are drawn in one row of panels."""

    lr: float
    arm: str
    kind: str


def connectivity_figure(points: Sequence[Point], sheet: Sheet = PLAIN) -> Figure:
    """Draw error against alpha: a row per kind of line, a panel per density.

    Means over pairs and trials, the range between the least and the greatest shaded; dashed, and
    not shaded, where BatchNorm's statistics were taken anew.
    """
    kinds = sorted(grouped(points, lambda p: Group(p.lr, p.arm, p.kind)).items())
    groups = {g: grouped(own, lambda p: round(p.density, 6)) for g, own in kinds}
    most = sheet.columns(HANDFUL, LEAST)
    shown = {g: spread_out({d: d for d in levels}, most) for g, levels in groups.items()}
    columns = max(map(len, shown.values()))
    with sheet.used():
        size = (2.5 if columns > 2 else 3.6, 2.6)
        figure, axes = sheet.panels(len(shown) * columns, columns, size, LEAST)
        several = len({g.lr for g in groups}) > 1
        for number, (group, densities) in enumerate(shown.items()):
            row = axes[number * columns : (number + 1) * columns]
            for ax, density in zip(row, densities, strict=False):
                _panel(ax, groups[group][density])
                ax.set_title(share(density) + " of the weights" * (columns < 3))
            _finish(row, len(densities), _name(group, several), last=number == len(shown) - 1)
        _legend(figure, points, sheet)
    return figure


def _colours() -> dict[str, str]:
    return dict(zip(("test", "train"), palette(), strict=False))


def _panel(ax: Axes, points: Iterable[Point]) -> None:
    colours = _colours()
    for (split, norms), line in grouped(points, lambda p: (p.split, p.norms)).items():
        errors = sorted(grouped(line, lambda p: p.alpha).items())
        alphas = [alpha for alpha, _ in errors]
        spreads = [spread([100 * p.error for p in own]) for _, own in errors]
        style = "--" if norms == RECALIBRATED else "-"
        ax.plot(alphas, [s.mean for s in spreads], color=colours[split], ls=style)
        if norms != RECALIBRATED:
            low, high = [s.low for s in spreads], [s.high for s in spreads]
            ax.fill_between(alphas, low, high, color=colours[split], alpha=0.15, lw=0)


def _finish(row: Sequence[Axes], count: int, name: str, last: bool) -> None:
    """Give a row one scale of errors, from zero, and hide the panels that it has no use for."""
    top = max(ax.get_ylim()[1] for ax in row[:count])
    for number, ax in enumerate(row):
        ax.set_visible(number < count)
        ax.set_ylim(-0.02 * top, top)
        ax.set_xlim(0, 1)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.tick_params(labelleft=number == 0)
        if last:
            ax.set_xlabel("alpha")
    label_y(row[0], f"{name}\nerror (%)")


def _name(group: Group, several: bool) -> str:
    name = "to the level above" if group.kind == LEVEL else cut(words(group.arm), 24)
    return name + (f", lr {group.lr:g}" if several else "")


def _legend(figure: Figure, points: Sequence[Point], sheet: Sheet) -> None:
    handles = [Line2D([], [], color=c, label=split) for split, c in _colours().items()]
    if any(p.norms == RECALIBRATED for p in points):
        label = "BatchNorm statistics taken anew"
        handles.append(Line2D([], [], color=grey(0.4), ls="--", label=label))
    lines = grouped(points, lambda p: (p.lr, p.arm, p.kind, p.level))
    pairs = max(len({(p.trial, p.copy, p.to) for p in own}) for own in lines.values())
    several = f"; mean of {pairs} pairs; shaded: least and greatest" if pairs > 1 else "; one pair"
    note = f"error on the line between two networks, by weights remaining{several}"
    sheet.caption(figure, note, handles)
