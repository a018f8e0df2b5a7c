"""The figure of a comparison: methods in order of accuracy, and accuracy against total cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lth.records.statistics import percent
from lth.results.compare.rows import Comparison, Row, trained
from lth.results.figures.labels import FONT, Label, overflow, place_labels
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
    """Draw test accuracy at early stop per method, and against total cost in dense runs.

    Left: means with 95 % Student intervals, the reference highlighted, the dense network a band.
    Right: a point per method, joined to those of its other densities; costs on a log scale. None
    where every network diverged.
    """
    shown = [(row, density) for density in found.densities for row in trained(found.at(density))]
    if not shown:
        return None
    figure = Figure(figsize=(13, max(4.2, 1.3 + 0.2 * len(shown))), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    low, high = _limits(found, [row for row, _ in shown])
    colours = _colours(found)
    _dots(left, found, shown, colours, low)
    left.set_xlim(low, high)
    right.set_ylim(low, high)
    labels = _against_cost(right, found, [row for row, _ in shown], colours, low)
    _label(figure, right, labels)
    return figure


def _colours(found: Comparison) -> dict[str, str]:
    first = next(r.study for r in found.rows if r.method == found.reference)
    studies = sorted({r.study for r in found.rows}, key=lambda name: (name != first, name))
    shades = {s: STUDIES[n % len(STUDIES)] for n, s in enumerate(studies)}
    return {r.method: shades[r.study] for r in found.rows} | {found.reference: REFERENCE}


def _limits(found: Comparison, shown: Sequence[Row]) -> tuple[float, float]:
    """Return the accuracies (in %) between which the panels lie: what is far below leaves them."""
    means, dense = [_percent(r) for r in shown], [_percent(r) for r in _dense(found)[:1]]
    best = max(means)
    reach = max(0.5, REACH * (best - median(means)))
    bottom = min(m for m in [*means, *dense] if m >= best - reach or m in dense)
    top = max(_percent(r) for r in [*trained(found.rows), *_dense(found)])
    span = max(0.5, top - bottom)
    lows = [100 * r.test_low for r in shown if r.test_low and _percent(r) >= bottom]
    highs = [100 * r.test_high for r in shown if r.test_high]
    return (
        max(min([bottom, *lows]), bottom - span / 2) - 0.05 * span,
        min(max([top, *highs]), top + span / 2, 100) + 0.05 * span,
    )


def _percent(row: Row) -> float:
    return 100 * (row.test_accuracy or 0.0)


def _dense(found: Comparison) -> list[Row]:
    return [r for r in found.rows if r.level == 0 and r.test_accuracy is not None]


def _dots(
    ax: Axes, found: Comparison, shown: Sequence[tuple[Row, float]], colours: Mapping[str, str],
    low: float,
) -> None:  # fmt: skip
    for row in _dense(found)[:1]:
        ax.axvline(_percent(row), color=DENSE, lw=1, ls=(0, (5, 3)))
        if row.test_low is not None and row.test_high is not None:
            ax.axvspan(100 * row.test_low, 100 * row.test_high, color="0.9", lw=0, zorder=0)
    several = len(found.densities) > 1
    for place, (row, _) in enumerate(shown):
        _dot(ax, place, row, colours[row.method], low, row.method == found.reference)
    names = [_name(r) + (f", {percent(d)}" if several else "") for r, d in shown]
    ax.set_yticks(range(len(shown)), names, fontsize=FONT)
    for text, (row, _) in zip(ax.get_yticklabels(), shown, strict=True):
        own = row.method == found.reference
        text.set(color=colours[row.method], weight="bold" if own else "normal")
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel("test accuracy at early stop (%)")
    ax.set_title(_title(found, [row for row, _ in shown]), fontsize=9, loc="left")
    tidy(ax)


def _dot(ax: Axes, place: int, row: Row, colour: str, low: float, own: bool) -> None:
    mean = _percent(row)
    if mean < low:
        ax.plot(low, place, marker="<", color=colour, ms=5, clip_on=False)
        ax.annotate(f"{mean:.1f}", (low, place), (6, 0), textcoords="offset points",
                    fontsize=FONT, color=colour, va="center")  # fmt: skip
        return
    bars = None
    if row.test_low is not None and row.test_high is not None:
        bars = [[mean - 100 * row.test_low], [100 * row.test_high - mean]]
    ax.errorbar(mean, place, xerr=bars, marker="o", ms=7 if own else 5, color=colour,
                lw=2.2 if own else 1.4, capsize=2.5, zorder=3)  # fmt: skip


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
    ax: Axes, found: Comparison, shown: Sequence[Row], colours: Mapping[str, str], low: float
) -> list[Label]:
    """Draw every method's points; return a label per method, at its first density shown."""
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in trained(found.rows):
        if row.total_cost:
            lines[row.method].append(row)
    for method, rows in lines.items():
        rows.sort(key=lambda r: r.total_cost or 0)
        xy = [r.total_cost or 0.0 for r in rows], [_percent(r) for r in rows]
        ax.plot(*xy, color=colours[method], lw=0.9, alpha=0.7, marker=".", ms=4, zorder=2)
    labels = {}
    for row in [*_dense(found)[:1], *shown]:
        if not row.total_cost:
            continue
        dense, own = row.level == 0, row.method == found.reference
        colour = DENSE if dense else colours[row.method]
        at, below = max(_percent(row), low), _percent(row) < low
        marker = "D" if dense else "v" if below else "o"
        ax.plot(row.total_cost, at, marker=marker, ms=8 if own else 5.5, color=colour, zorder=4,
                clip_on=False)  # fmt: skip
        text = _name(row) + (f" ({_percent(row):.1f})" if below else "")
        label = Label(text, row.total_cost, at, colour, "bold" if own else "normal")
        labels.setdefault(row.method, label)
    ax.set_xscale("log")
    ax.set_xlabel("total cost: search and training, in dense runs")
    ax.set_ylabel("test accuracy at early stop (%)")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_title("small points: the same method at other densities", fontsize=9, loc="left")
    tidy(ax)
    return list(labels.values())


def _label(figure: Figure, ax: Axes, labels: Sequence[Label]) -> None:
    """Widen the axis of cost until the labels fit inside, and write them."""
    if not labels:
        return  # no cost is known
    left, right = ax.dataLim.x0 / 1.25, ax.dataLim.x1
    ax.set_xlim(left, right * 1.25)
    figure.draw_without_rendering()  # what is placed in inches needs the layout
    inches, room = ax.get_window_extent().width / figure.dpi, 0.0
    for _ in range(4):  # an axis that is wider moves points, and with them labels
        room = min(0.6 * inches, room + max(0.0, overflow(ax, labels)))
        ax.set_xlim(left, left * (right / left) ** (1 / (1 - room / inches)))
    few = ax.get_xlim()[1] / left > 2000
    ax.xaxis.set_major_locator(LogLocator(subs=(1,) if few else (1, 2, 5)))
    place_labels(ax, labels)
