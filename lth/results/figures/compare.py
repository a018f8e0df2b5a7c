"""The figure of a comparison: methods in order of accuracy, and accuracy against total cost."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lth.records.intervals import Interval, grouped
from lth.records.judged import Judged
from lth.records.statistics import percent
from lth.results.compare.rows import Comparison, Row, trained
from lth.results.figures.labels import FONT, Label, place_labels
from lth.results.figures.style import tidy, words

REFERENCE, DENSE = "#D55E00", "0.35"
STUDIES = ("#0072B2", "#009E73", "#CC79A7", "#B07D00", "#56B4E9", "#8C6D1F", "#882255", "#44AA99",
           "#332288", "#999933")  # fmt: skip
"""A colour per study: Okabe & Ito's, then Tol's; labels tell apart what colours do not."""

DPI = 140
"""Less than the other figures have: a crowd of methods must stay under 250 kB to be kept."""

LONGEST = 44
"""Letters of a name at most: the panels need their room."""

REACH = 4.0
"""Accuracies below the best by more than so many times the median's distance leave the panels."""


class Shown(NamedTuple):
    """A network as it is drawn: its value, of shares in percent; ``own`` is the reference's."""

    row: Row
    value: Interval
    colour: str
    own: bool

    @property
    def name(self) -> str:
        """The method in words, cut where it is long."""
        name = words(self.row.method)
        return name if len(name) <= LONGEST else name[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def comparison_figure(comparison: Comparison) -> Figure | None:
    """Draw what is judged at early stop per method, and against total cost in dense runs.

    Left: means with 95 % Student intervals, the reference highlighted, the dense network a band.
    Right: a point per method, joined to those of its other densities; costs on a log scale. Better
    is right and up, also where less is better. None where every network diverged.
    """
    what, densities = comparison.what, comparison.densities
    every = _shown(comparison, [r for r in comparison.rows if r.value is not None])
    dense, pruned = [s for s in every if s.row.level == 0], [s for s in every if s.row.level]
    shown = [_shown(comparison, trained(comparison.at(density))) for density in densities]
    first = [s for at in shown for s in at]
    if not first:
        return None
    figure = Figure(figsize=(13, max(4.2, 1.3 + 0.2 * len(first))), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    worst, best = _limits(what, first, dense[:1], every)
    names = [s.name + f", {percent(d)}" * (len(densities) > 1)
             for at, d in zip(shown, densities, strict=True) for s in at]  # fmt: skip
    _dots(left, what, first, dense[:1], names, worst)
    left.set_xlim(worst, best)
    left.set_title(_title(comparison, first), fontsize=9, loc="left")
    left.set_xlabel(f"{what.words} at early stop{what.percent}")
    right.set_ylim(worst, best)
    right.set_ylabel(left.get_xlabel())
    place_labels(right, _against_cost(right, what, pruned, [*dense[:1], *first], worst))
    return figure


def _shown(comparison: Comparison, rows: Sequence[Row]) -> list[Shown]:
    """Give every row its colour, its study's, and its value as the figure writes it."""
    first = next(r.study for r in comparison.rows if r.method == comparison.reference)
    studies = sorted({r.study for r in comparison.rows}, key=lambda name: (name != first, name))
    shades = {s: STUDIES[n % len(STUDIES)] for n, s in enumerate(studies)}
    shown = []
    for row in rows:
        assert row.value is not None
        own, (mean, low, high, n) = row.method == comparison.reference, row.value
        colour = DENSE if row.level == 0 else REFERENCE if own else shades[row.study]
        f = comparison.what.factor
        shown.append(Shown(row, Interval(f * mean, f * low, f * high, n), colour, own))
    return shown


def _limits(
    what: Judged, shown: Sequence[Shown], dense: Sequence[Shown], every: Sequence[Shown]
) -> tuple[float, float]:
    """Return the values between which the panels lie, the worst first: what is far off leaves."""
    means, base = ([what.merit(s.value.mean) for s in some] for some in (shown, dense))
    least = 0.5 if what.share else 0.05 * max(map(abs, means))
    reach = max(least, REACH * (max(means) - median(means)))
    bottom = min(m for m in [*means, *base] if m >= max(means) - reach or m in base)
    top = max(what.merit(s.value.mean) for s in every)
    span = max(least, top - bottom) or 1.0
    near = [s.value for s in shown if what.merit(s.value.mean) >= bottom and s.value.bounded]
    ends = [sorted(map(what.merit, value[1:3])) for value in near]
    low = max(min([bottom, *(low for low, _ in ends)]), bottom - span / 2) - 0.05 * span
    high = min(max([top, *(high for _, high in ends)]), top + span / 2)
    high = (min(high, 100) if what.share else high) + 0.05 * span
    return what.merit(low), what.merit(high)


def _dots(
    ax: Axes,
    what: Judged,
    shown: Sequence[Shown],
    dense: Sequence[Shown],
    names: Sequence[str],
    worst: float,
) -> None:
    for _, value, colour, _ in dense:
        ax.axvline(value.mean, color=colour, lw=1, ls=(0, (5, 3)))
        if value.bounded:
            ax.axvspan(value.low, value.high, color="0.9", lw=0, zorder=0)
    for y, (_, value, colour, own) in enumerate(shown):
        mean = value.mean
        if what.merit(mean) < what.merit(worst):
            ax.plot(worst, y, marker="<", color=colour, ms=5, clip_on=False)
            ax.annotate(f"{mean:.1f}", (worst, y), (6, 0), textcoords="offset points",
                        fontsize=FONT, color=colour, va="center")  # fmt: skip
        else:
            bars = [[mean - value.low], [value.high - mean]] if value.bounded else None
            ax.errorbar(mean, y, xerr=bars, marker="o", ms=7 if own else 5, color=colour,
                        lw=2.2 if own else 1.4, capsize=2.5, zorder=3)  # fmt: skip
    ax.set_yticks(range(len(shown)), names, fontsize=FONT)
    for text, each in zip(ax.get_yticklabels(), shown, strict=True):
        text.set(color=each.colour, weight="bold" if each.own else "normal")
    ax.set_ylim(len(shown) - 0.4, -0.6)
    tidy(ax)


def _title(comparison: Comparison, shown: Sequence[Shown]) -> str:
    trials = sorted({s.row.trials for s in shown})
    count = f"{trials[0]} to " * (len(trials) > 1) + f"{trials[-1]} trials"
    densities = " and ".join(percent(d) for d in comparison.densities)
    over = f"mean of {count}, 95 % intervals" if trials[-1] > 1 else "one trial"
    return f"{densities} of the weights; {over}\ndashed, band: dense network"


def _against_cost(
    ax: Axes, what: Judged, pruned: Sequence[Shown], first: Sequence[Shown], worst: float
) -> list[Label]:
    """Draw every method's points; return a label per method, at its first density shown."""
    lines = grouped((s for s in pruned if s.row.total_cost > 0), lambda s: s.row.method)
    for points in lines.values():
        points.sort(key=lambda s: s.row.total_cost)
        xy = [s.row.total_cost for s in points], [s.value.mean for s in points]
        ax.plot(*xy, color=points[0].colour, lw=0.9, alpha=0.7, marker=".", ms=4, zorder=2)
    labels: dict[str, Label] = {}
    for each in (s for s in first if s.row.total_cost > 0):
        row, (mean, *_), colour, own = each
        below = what.merit(mean) < what.merit(worst)
        at, marker = worst if below else mean, "v" if below else "o" if row.level else "D"
        ax.plot(row.total_cost, at, marker=marker, ms=8 if own else 5.5, color=colour, zorder=4,
                clip_on=False)  # fmt: skip
        text = each.name + f" ({mean:.1f})" * below
        label = Label(text, row.total_cost, at, colour, "bold" if own else "normal")
        labels.setdefault(row.method, label)
    ax.set_xscale("log")
    ax.set_xlabel("total cost: search and training, in dense runs")
    left, right = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1,) if right / left > 2000 else (1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_title("small points: the same method at other densities", fontsize=9, loc="left")
    tidy(ax)
    return list(labels.values())
