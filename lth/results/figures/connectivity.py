"""The error on the line between two networks: Frankle et al. 2020 (arXiv 1912.05671), Figure 2."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lth.records.intervals import mean
from lth.results.analysis.lines import LEVEL, RECALIBRATED, Point
from lth.results.analysis.tickets import spread_out
from lth.results.figures.analysis import Axes, Figure, Line2D, panels
from lth.results.figures.style import percent, words

COLOURS = {"test": "#0072B2", "train": "#D55E00"}


class Group(NamedTuple):
    """Lines that are drawn in one row of panels."""

    lr: float
    arm: str
    kind: str


def connectivity_figure(points: Sequence[Point]) -> Figure:
    """Draw error against alpha: a row per kind of line, a panel per density.

    Means over pairs and trials, the range between the least and the greatest shaded; dashed, and
    not shaded, where BatchNorm's statistics were taken anew.
    """
    groups: dict[Group, dict[float, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for p in points:
        groups[Group(p.lr, p.arm, p.kind)][round(p.density, 6)].append(p)
    shown = {g: spread_out({d: d for d in found}) for g, found in sorted(groups.items())}
    columns = max(map(len, shown.values()))
    figure, axes = panels(len(shown) * columns, columns, (2.5 if columns > 2 else 3.6, 2.6))
    several = len({g.lr for g in groups}) > 1
    for number, (group, densities) in enumerate(shown.items()):
        row = axes[number * columns : (number + 1) * columns]
        for ax, density in zip(row, densities, strict=False):
            _panel(ax, groups[group][density])
            ax.set_title(f"{percent(100 * density)} % of the weights", fontsize=10)
        _finish(row, len(densities), _name(group, several), last=number == len(shown) - 1)
    _legend(figure, points)
    return figure


def _panel(ax: Axes, points: Iterable[Point]) -> None:
    lines: dict[tuple[str, str], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for p in points:
        lines[p.split, p.norms][p.alpha].append(100 * p.error)
    for (split, norms), errors in lines.items():
        alphas, style = sorted(errors), "--" if norms == RECALIBRATED else "-"
        means = [mean(errors[a]) for a in alphas]
        low, high = ([of(errors[a]) for a in alphas] for of in (min, max))
        ax.plot(alphas, means, color=COLOURS[split], ls=style, lw=1.7)
        if norms != RECALIBRATED:
            ax.fill_between(alphas, low, high, color=COLOURS[split], alpha=0.15, lw=0)


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
    row[0].set_ylabel(f"{name}\nerror (%)", fontsize=10)


def _name(group: Group, several: bool) -> str:
    name = "to the level above" if group.kind == LEVEL else words(group.arm)
    return name + (f", lr {group.lr:g}" if several else "")


def _legend(figure: Figure, points: Sequence[Point]) -> None:
    handles = [Line2D([], [], color=c, lw=2.2, label=split) for split, c in COLOURS.items()]
    if any(p.norms == RECALIBRATED for p in points):
        label = "BatchNorm statistics taken anew"
        handles.append(Line2D([], [], color="0.4", ls="--", lw=1.7, label=label))
    pairs = len({(p.trial, p.copy, p.to) for p in points})
    title = "between two networks" + (
        "; shaded: least and greatest over pairs" if pairs > 1 else ""
    )
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), frameon=False,
        title=title, title_fontsize=9,
    )  # fmt: skip
