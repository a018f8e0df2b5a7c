"""The figure of a comparison: methods in order of accuracy, and accuracy against total cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lth.records.intervals import Interval, grouped
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


def comparison_figure(found: Comparison) -> Figure | None:
    """Draw what is judged at early stop per method, and against total cost in dense runs.

    Left: means with 95 % Student intervals, the reference highlighted, the dense network a band.
    Right: a point per method, joined to those of its other densities; costs on a log scale. Better
    is right and up, also where less is better. None where every network diverged.
    """
    shown = [(row, density) for density in found.densities for row in trained(found.at(density))]
    if not shown:
        return None
    figure = Figure(figsize=(13, max(4.2, 1.3 + 0.2 * len(shown))), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    worst, best = _limits(found, [row for row, _ in shown])
    colours = _colours(found)
    _dots(left, found, shown, colours, worst)
    left.set_xlim(worst, best)
    right.set_ylim(worst, best)
    place_labels(right, _against_cost(right, found, [row for row, _ in shown], colours, worst))
    return figure


def _colours(found: Comparison) -> dict[str, str]:
    first = next(r.study for r in found.rows if r.method == found.reference)
    studies = sorted({r.study for r in found.rows}, key=lambda name: (name != first, name))
    shades = {s: STUDIES[n % len(STUDIES)] for n, s in enumerate(studies)}
    return {r.method: shades[r.study] for r in found.rows} | {found.reference: REFERENCE}


def _limits(found: Comparison, shown: Sequence[Row]) -> tuple[float, float]:
    """Return the values between which the panels lie, the worst first: what is far off leaves."""
    what, dense = found.what, _dense(found)[:1]
    means, base = ([what.merit(_shown(r, found).mean) for r in rows] for rows in (shown, dense))
    least = 0.5 if what.share else 0.05 * max(map(abs, means))
    reach = max(least, REACH * (max(means) - median(means)))
    bottom = min(m for m in [*means, *base] if m >= max(means) - reach or m in base)
    top = max(what.merit(_shown(r, found).mean) for r in [*trained(found.rows), *_dense(found)])
    span = max(least, top - bottom) or 1.0
    near = (_shown(r, found) for r in shown if what.merit(_shown(r, found).mean) >= bottom)
    ends = [sorted(map(what.merit, value[1:3])) for value in near if value.bounded]
    low = max(min([bottom, *(low for low, _ in ends)]), bottom - span / 2) - 0.05 * span
    high = min(max([top, *(high for _, high in ends)]), top + span / 2)
    high = (min(high, 100) if what.share else high) + 0.05 * span
    return what.merit(low), what.merit(high)


def _shown(row: Row, found: Comparison) -> Interval:
    """Return a row's value as the figure shows it: of shares, percent."""
    assert row.value is not None
    mean, low, high, n = row.value
    factor = found.what.factor
    return Interval(factor * mean, factor * low, factor * high, n)


def _dense(found: Comparison) -> list[Row]:
    return [r for r in found.rows if r.level == 0 and r.value is not None]


def _dots(
    ax: Axes, found: Comparison, shown: Sequence[tuple[Row, float]], colours: Mapping[str, str],
    worst: float,
) -> None:  # fmt: skip
    for row in _dense(found)[:1]:
        dense = _shown(row, found)
        ax.axvline(dense.mean, color=DENSE, lw=1, ls=(0, (5, 3)))
        if dense.bounded:
            ax.axvspan(dense.low, dense.high, color="0.9", lw=0, zorder=0)
    several = len(found.densities) > 1
    for place, (row, _) in enumerate(shown):
        own = row.method == found.reference
        _dot(ax, place, _shown(row, found), colours[row.method], found, worst, own)
    names = [_name(r) + (f", {percent(d)}" if several else "") for r, d in shown]
    ax.set_yticks(range(len(shown)), names, fontsize=FONT)
    for text, (row, _) in zip(ax.get_yticklabels(), shown, strict=True):
        own = row.method == found.reference
        text.set(color=colours[row.method], weight="bold" if own else "normal")
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel(_axis(found))
    ax.set_title(_title(found, [row for row, _ in shown]), fontsize=9, loc="left")
    tidy(ax)


def _dot(
    ax: Axes, place: int, value: Interval, colour: str, found: Comparison, worst: float, own: bool
) -> None:
    if found.what.merit(value.mean) < found.what.merit(worst):
        ax.plot(worst, place, marker="<", color=colour, ms=5, clip_on=False)
        ax.annotate(f"{value.mean:.1f}", (worst, place), (6, 0), textcoords="offset points",
                    fontsize=FONT, color=colour, va="center")  # fmt: skip
        return
    bars = [[value.mean - value.low], [value.high - value.mean]] if value.bounded else None
    ax.errorbar(value.mean, place, xerr=bars, marker="o", ms=7 if own else 5, color=colour,
                lw=2.2 if own else 1.4, capsize=2.5, zorder=3)  # fmt: skip


def _axis(found: Comparison) -> str:
    return f"{found.what.words} at early stop{found.what.percent}"


def _name(row: Row) -> str:
    name = words(row.method)
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _title(found: Comparison, shown: Sequence[Row]) -> str:
    trials = sorted({r.trials for r in shown})
    count = f"{trials[0]} to " * (len(trials) > 1) + f"{trials[-1]} trials"
    densities = " and ".join(percent(d) for d in found.densities)
    over = f"mean of {count}, 95 % intervals" if trials[-1] > 1 else "one trial"
    return f"{densities} of the weights; {over}\ndashed, band: dense network"


def _against_cost(
    ax: Axes, found: Comparison, shown: Sequence[Row], colours: Mapping[str, str], worst: float
) -> list[Label]:
    """Draw every method's points; return a label per method, at its first density shown."""
    lines = grouped((r for r in trained(found.rows) if r.total_cost > 0), lambda r: r.method)
    for method, rows in lines.items():
        rows.sort(key=lambda r: r.total_cost)
        xy = [r.total_cost for r in rows], [_shown(r, found).mean for r in rows]
        ax.plot(*xy, color=colours[method], lw=0.9, alpha=0.7, marker=".", ms=4, zorder=2)
    labels: dict[str, Label] = {}
    for row in [*_dense(found)[:1], *shown]:
        if not row.total_cost > 0:
            continue
        dense, own, mean = row.level == 0, row.method == found.reference, _shown(row, found).mean
        colour = DENSE if dense else colours[row.method]
        below = found.what.merit(mean) < found.what.merit(worst)
        at, marker = worst if below else mean, "D" if dense else "v" if below else "o"
        ax.plot(row.total_cost, at, marker=marker, ms=8 if own else 5.5, color=colour, zorder=4,
                clip_on=False)  # fmt: skip
        text = _name(row) + (f" ({mean:.1f})" if below else "")
        label = Label(text, row.total_cost, at, colour, "bold" if own else "normal")
        labels.setdefault(row.method, label)
    ax.set_xscale("log")
    ax.set_xlabel("total cost: search and training, in dense runs")
    ax.set_ylabel(_axis(found))
    left, right = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1,) if right / left > 2000 else (1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_title("small points: the same method at other densities", fontsize=9, loc="left")
    tidy(ax)
    return list(labels.values())
