"""The figure of a comparison: methods in order of accuracy, and accuracy against total cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.records.intervals import Interval, grouped
from lth.records.judged import Judged
from lth.records.statistics import percent
from lth.results.compare.rows import Comparison, Row, trained
from lth.results.figures.axes import amounts_axis, tidy
from lth.results.figures.labels import SIZE, Label, place_labels
from lth.results.figures.sheet import PLAIN, Sheet, ShownFigure
from lth.results.figures.style import COLOURS, Look, cut, grey, rc, readable, words

DPI = 140
"""Less than the other figures have: a crowd of methods must stay under 250 kB to be kept."""

LONGEST = 44
"""Letters of a name at most: the panels need their room."""

SCREEN, WIDE = 13.0, 9.0
"""Inches of the figure on a screen, and from which on its panels stand side by side."""

REACH = 4.0
"""Accuracies below the best by more than so many times the median's distance leave the panels."""


class Shown(NamedTuple):
    """A network as it is drawn: its value, of shares in percent; ``own`` is the reference's."""

    row: Row
    value: Interval
    look: Look
    own: bool

    def name(self, letters: int = LONGEST) -> str:
        """Return the method in words, cut where it is long."""
        return cut(words(self.row.method), letters)


def comparison_figure(comparison: Comparison, sheet: Sheet = PLAIN) -> Figure | None:
    """Draw what is judged at early stop per method, and against total cost in dense runs.

    First: means with 95 % Student intervals, the reference highlighted, the dense network a band.
    Then: a point per method, joined to those of its other densities; costs on a log scale. Better
    is right and up, also where less is better. Of more methods than there are colours, those have
    one that no cheaper one beats, and the reference. None where every network diverged.
    """
    sheet = sheet.coarse(DPI)
    with sheet.used():
        what, densities = comparison.what, comparison.densities
        looks = _looks(comparison, sheet)
        every = _shown(comparison, [r for r in comparison.rows if r.value is not None], looks)
        shown = [
            _shown(comparison, trained(comparison.at(density)), looks) for density in densities
        ]
        first = [s for at in shown for s in at]
        if not first:
            return None
        dense, pruned = [s for s in every if s.row.level == 0], [s for s in every if s.row.level]
        figure, (left, right), letters = _axes(len(first), sheet)
        worst, best = _limits(what, first, dense[:1], every)
        names = [s.name(letters) + f", {percent(d)}" * (len(densities) > 1)
                 for at, d in zip(shown, densities, strict=True) for s in at]  # fmt: skip
        _dots(left, what, first, dense[:1], names, worst)
        left.set_xlim(worst, best)
        left.set_xlabel(f"{what.words} at early stop{what.percent}")
        right.set_ylim(worst, best)
        right.set_ylabel(left.get_xlabel())
        sheet.caption(figure, _note(comparison, first, len(looks)))
        labels = _against_cost(right, what, pruned, [*dense[:1], *first], worst, letters)
        place_labels(right, labels)
    return figure


def _axes(rows: int, sheet: Sheet) -> tuple[Figure, list[Axes], int]:
    """Return the panels, beside or above each other, and the letters that names may have."""
    width, scale = sheet.options.width or SCREEN, sheet.font / 10
    beside = width >= WIDE
    letters = min(LONGEST, int((0.42 / 2 if beside else 0.36) * width / (0.062 * scale)))
    if beside:
        size = width, max(4.2, 1.1 + 0.2 * rows) * scale
        figure = ShownFigure(size, layout="constrained")
        axes = list(figure.subplots(1, 2, width_ratios=(1, 1.3)))
    else:
        heights = (0.6 + 0.2 * rows) * scale, max(0.62 * width, (0.9 + 0.165 * rows) * scale)
        figure = ShownFigure((width, sum(heights)), layout="constrained")
        axes = list(figure.subplots(2, 1, height_ratios=heights))
    for ax in axes:
        tidy(ax)
    return figure, axes, letters


def _looks(comparison: Comparison, sheet: Sheet) -> dict[str, Look]:
    """Give every method its look: of a crowd those alone that no cheaper one beats have colours."""
    methods = [comparison.reference, *comparison.methods]
    every = sheet.looks(methods)
    looks = {m: every[m] for m in dict.fromkeys(methods)}
    if len(looks) <= len(COLOURS):
        return looks
    rows = [r for d in comparison.densities for r in trained(comparison.at(d))]
    merit = {id(r): comparison.what.merit(r.mean) for r in rows}
    front = [
        r.method for r in rows
        if not any(o.total_cost <= r.total_cost and merit[id(o)] > merit[id(r)] for o in rows)
    ]  # fmt: skip
    coloured = [comparison.reference, *front][: len(COLOURS)]
    return {m: look if m in coloured else Look(grey(0.5), "o", "-") for m, look in looks.items()}


def _shown(comparison: Comparison, rows: Sequence[Row], looks: Mapping[str, Look]) -> list[Shown]:
    """Give every row its look, its method's, and its value as the figure writes it."""
    shown = []
    for row in rows:
        assert row.value is not None
        mean, low, high, n = row.value
        look = Look(grey(0.35), "D", "-") if row.level == 0 else looks[row.method]
        f = comparison.what.factor
        own = row.method == comparison.reference
        shown.append(Shown(row, Interval(f * mean, f * low, f * high, n), look, own))
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
    size, font = _sizes()
    for _, value, look, _ in dense:
        ax.axvline(value.mean, color=look.color, lw=0.22 * size, ls=(0, (5, 3)))
        if value.bounded:
            ax.axvspan(value.low, value.high, color=grey(0.9), lw=0, zorder=0)
    for y, (_, value, look, own) in enumerate(shown):
        mean = value.mean
        if what.merit(mean) < what.merit(worst):
            ax.plot(worst, y, marker="<", color=look.color, ms=1.1 * size, clip_on=False)
            ax.annotate(f"{mean:.1f}", (worst, y), (6, 0), textcoords="offset points",
                        fontsize=font, color=readable(look.color), va="center")  # fmt: skip
        else:
            bars = [[mean - value.low], [value.high - mean]] if value.bounded else None
            ax.errorbar(mean, y, xerr=bars, marker=look.marker, ms=(1.5 if own else 1.1) * size,
                        color=look.color, lw=(0.5 if own else 0.3) * size, zorder=3)  # fmt: skip
    ax.set_yticks(range(len(shown)), names, fontsize=font)
    for text, each in zip(ax.get_yticklabels(), shown, strict=True):
        text.set(color=_as_text(each), weight="bold" if each.own else "normal")
    ax.set_ylim(len(shown) - 0.4, -0.6)


def _sizes() -> tuple[float, float]:
    """Return the size of a mark and of a label's font in points, in the style in use."""
    return float(rc("lines.markersize")), SIZE * float(rc("font.size"))


def _note(comparison: Comparison, shown: Sequence[Shown], methods: int) -> str:
    trials = sorted({s.row.trials for s in shown})
    count = f"{trials[0]} to " * (len(trials) > 1) + f"{trials[-1]} trials"
    densities = " and ".join(percent(d) for d in comparison.densities)
    over = f"mean of {count}, bars: 95 % intervals" if trials[-1] > 1 else "one trial"
    crowd = "; in colour: the reference, and what no cheaper one beats" * (methods > len(COLOURS))
    return (
        f"at {densities} of the weights; {over}; dashed, band: dense network; small points: the "
        f"same method at other densities{crowd}"
    )


def _against_cost(
    ax: Axes,
    what: Judged,
    pruned: Sequence[Shown],
    first: Sequence[Shown],
    worst: float,
    letters: int,
) -> list[Label]:
    """Draw every method's points; return a label per method, at its first density shown."""
    lines = grouped((s for s in pruned if s.row.total_cost > 0), lambda s: s.row.method)
    for points in lines.values():
        points.sort(key=lambda s: s.row.total_cost)
        xy = [s.row.total_cost for s in points], [s.value.mean for s in points]
        ax.plot(*xy, color=points[0].look.color, lw=0.2 * _sizes()[0], alpha=0.7, marker=".",
                ms=0.9 * _sizes()[0], zorder=2)  # fmt: skip
    labels: dict[str, Label] = {}
    for each in (s for s in first if s.row.total_cost > 0):
        label = _point(ax, each, what, worst, letters)
        labels.setdefault(each.row.method, label)
    _cost_axis(ax, 0.3 * _width(ax))
    return list(labels.values())


def _point(ax: Axes, each: Shown, what: Judged, worst: float, letters: int) -> Label:
    """Draw a method with its interval, where that is in the panel; return its label."""
    row, (mean, low, high, _), look, own = each
    size, colour = _sizes()[0], _as_text(each)
    below = what.merit(mean) < what.merit(worst)
    at, marker = (worst, "v") if below else (mean, look.marker)
    ax.plot(row.total_cost, at, marker=marker, ms=(1.7 if own else 1.2) * size, color=look.color,
            zorder=4, clip_on=False)  # fmt: skip
    if each.value.bounded and not below:
        ax.plot([row.total_cost] * 2, [low, high], color=look.color, lw=0.2 * size, zorder=3)
    text = each.name(letters) + f" ({mean:.1f})" * below
    return Label(text, row.total_cost, at, colour, "bold" if own else "normal")


def _as_text(each: Shown) -> Any:
    """Return a colour that can be read."""
    return readable(grey(0.35) if each.look.color == grey(0.5) else each.look.color)


def _width(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    return SCREEN if figure is None else float(figure.get_size_inches()[0])


def _cost_axis(ax: Axes, width: float) -> None:
    ax.set_xscale("log")
    ax.set_xlabel("total cost: search and training, in dense runs")
    left, right = ax.get_xlim()
    amounts_axis(
        ax.xaxis, right / left, width / (0.05 * float(rc("font.size"))), lambda v: f"{v:g}"
    )
