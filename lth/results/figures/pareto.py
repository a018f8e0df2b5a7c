"""What networks give for what they cost: the packed file's accuracy against a cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.measured import Measured
from lth.records.budget import judged_of
from lth.records.intervals import grouped
from lth.records.judged import ACCURACY, Judged
from lth.records.record import Record
from lth.results.compare.budget_table import cost
from lth.results.compare.pareto import DENSITY, Point, points, scored
from lth.results.compare.studies import Source
from lth.results.figures.axes import amounts_axis, label_y, plain_amount
from lth.results.figures.labels import Label, line_height, place_labels
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.style import COLOURS, Look, balanced, cut, grey, rc, readable, words

DPI = 130
"""As the other comparison's: a crowd of methods must stay under 250 kB to be kept."""

SIZE = 9.5, 5.0
"""Inches of the figure on a screen."""

LONGEST = 40
"""Letters of a name at most: the panel needs its room."""

AXES = {
    "bytes": "bytes of the packed file", "params": "numbers stored",
    "macs": "multiply-adds per image that dense kernels execute",
    DENSITY: "density: weights kept / those of the dense network",
}  # fmt: skip
"""What the cost axis says."""

REACH = 4.0
"""Values below the best by more than so many times the median's distance leave the panel."""

LEAST = 0.5
"""Points of percent that the panel shows at least."""

SPAN = 3.0
"""The greatest over the least amount that the cost axis shows at least."""

ALIKE = 1.1
"""Networks of which the dearest costs at most so many times the cheapest cost the same."""


def pareto_figure(
    found: Sequence[Point], axis: str, what: Judged, sheet: Sheet = PLAIN
) -> Figure | None:
    """Draw what is judged of the packed file on test against its cost, on a log axis.

    A point per network, the mean over trials, bars are Student's 95 % intervals; what a method ends
    with is joined over levels, what its moves make on the way is small. The line beneath joins the
    front, which validation chooses; of more methods than there are colours those have one that it
    passes. None where there is nothing to draw.
    """
    shown = [p for p in found if p.cost > 0]
    if not shown:
        return None
    methods = grouped(shown, lambda p: p.method)
    sheet = sheet.coarse(DPI)
    with sheet.used():
        figure, (ax,) = sheet.panels(1, 1, SIZE)
        width, height = map(float, figure.get_size_inches())
        lines = line_height() * len(methods) + 0.8 * sheet.font / 10
        figure.set_size_inches(width, max(height, lines))
        letters = min(LONGEST, int(0.36 * width / (0.062 * sheet.font / 10)))
        worst, best = limits(shown, what)
        _front(ax, [p for p in shown if p.front], what)
        looks = _looks(methods, sheet)
        labels = [
            _method(ax, cut(words(method), letters), own, looks[method], what, worst)
            for method, own in methods.items()
        ]
        ax.set_ylim(worst, best)
        _cost_axis(ax, axis, width)
        label_y(ax, f"{what.words} of the packed file{what.percent}")
        sheet.caption(figure, _note(shown))
        place_labels(ax, labels)
    return figure


def _looks(methods: Mapping[str, Sequence[Point]], sheet: Sheet) -> dict[str, Look]:
    """Give every method its look, of a crowd only those on the front a colour."""
    looks = sheet.looks(methods)
    if len(methods) > len(COLOURS):
        front = [m for m, own in methods.items() if any(p.front for p in own)]
        coloured, plain = sheet.looks(front[: len(COLOURS)]), Look(grey(0.55), "o", "-")
        looks = {m: coloured.get(m, plain) for m in methods}
    dense = [m for m, own in methods.items() if all(p.level == 0 for p in own)]
    return looks | dict.fromkeys(dense, Look(grey(0.35), "D", "-"))


def cost_figure(
    records: Sequence[Record], axis: str, measured: Measured = ACCURACY, sheet: Sheet = PLAIN
) -> Figure | None:
    """Draw one study's networks against the bytes of their files, or what they execute.

    None where none was scored or all cost the same, unless they do by bytes and by multiply-adds
    (``macs``): then it is drawn by bytes.
    """
    if not scored(records):
        return None
    what = judged_of(records, measured)
    alone = Source(label="", study=records[0].study, weights=None, records=records)
    found = {name: points([alone], name, what) for name in ("bytes", "macs")}
    differ = {name for name, of in found.items() if _span(of) > ALIKE} or {"bytes"}
    return pareto_figure(found[axis], axis, what, sheet) if axis in differ else None


def _span(points: Sequence[Point]) -> float:
    costs = [p.cost for p in points if p.cost > 0]
    return max(costs) / min(costs) if costs else 1.0


def limits(points: Sequence[Point], what: Judged) -> tuple[float, float]:
    """Return the values between which the panel lies, the worst first: what is far off leaves."""
    merits = [what.merit(what.factor * p.value.mean) for p in points]
    top, middle = max(merits), median(merits)
    least = LEAST if what.share else 0.05 * max(map(abs, merits))
    reach = max(least, REACH * (top - middle))
    low = min(m for m in merits if m >= top - reach)
    span = max(least, top - low)
    ends = [what.merit(what.factor * e) for p in points if p.value.bounded for e in p.value[1:3]]
    inside = [e for e in ends if low - span / 2 <= e <= top + span / 2]
    low, high = min([low, *inside]) - 0.06 * span, max([top, *inside]) + 0.06 * span
    return what.merit(low), what.merit(high)


def _front(ax: Axes, points: Sequence[Point], what: Judged) -> None:
    line = sorted(points, key=lambda p: p.cost)
    ax.plot(
        [p.cost for p in line], [what.factor * p.value.mean for p in line], color=grey(0.6), lw=6,
        alpha=0.35, solid_capstyle="round", zorder=1,
    )  # fmt: skip


def _paths(points: Sequence[Point]) -> list[list[Point]]:
    """Return the networks of each method and level, from its first move's to its last's."""
    ways = grouped(points, lambda p: (p.study, p.arm, p.lr, p.level)).values()
    return [sorted(way, key=lambda p: p.phase) for way in ways]


def _method(
    ax: Axes, name: str, points: Sequence[Point], look: Look, what: Judged, worst: float
) -> Label:
    """Draw a method's networks; return its label, at the dearest end that is in the panel.

    What it ends with, a network a level, is joined and has bars; what its moves make on the way is
    small, hollow, and joined to what comes of it.
    """
    colour, marker, stroke = look
    paths = _paths(points)
    own = sorted((path[-1] for path in paths), key=lambda p: p.cost)
    x = [p.cost for p in own]
    y = [what.factor * p.value.mean for p in own]
    inside = [what.merit(v) >= what.merit(worst) for v in y]
    bars = [
        [what.factor * (p.value.mean - p.value.low) if p.value.bounded else 0.0 for p in own],
        [what.factor * (p.value.high - p.value.mean) if p.value.bounded else 0.0 for p in own],
    ]
    bars = [[b if there else 0.0 for b, there in zip(side, inside, strict=True)] for side in bars]
    last = max((n for n, there in enumerate(inside) if there), default=None)
    text = name + (f" ({y[-1]:.4g})" if last is None else "")
    ax.errorbar(
        x, y, yerr=bars, color=colour, marker=marker, ls=stroke, lw=1.0, elinewidth=0.9, zorder=3,
        label=text,
    )  # fmt: skip
    for left in (at for at, there in zip(x, inside, strict=True) if not there):
        ax.plot(left, worst, marker="v", ms=5, color=colour, clip_on=False)
    for path in paths:
        way = [(p.cost, what.factor * p.value.mean) for p in path]
        ax.plot(
            *zip(*way, strict=True), color=colour, marker=marker, ms=3, mfc="white", mew=0.7,
            ls=":", lw=0.7, markevery=slice(len(way) - 1), zorder=2,
        )  # fmt: skip
    at = worst if last is None else y[last]
    return Label(
        text,
        x[-1 if last is None else last],
        at,
        readable(grey(0.35) if colour == grey(0.55) else colour),
    )


def _cost_axis(ax: Axes, axis: str, width: float) -> None:
    ax.set_xscale("log")
    left, right = ax.get_xlim()
    if right / left < SPAN:  # what costs alike is to look alike
        middle = math.sqrt(left * right)
        left, right = middle / math.sqrt(SPAN), middle * math.sqrt(SPAN)
        ax.set_xlim(left, right)
    room = 0.62 * width / (0.05 * float(rc("font.size")))
    amounts_axis(ax.xaxis, right / left, room, lambda value: plain_amount(cost(value, axis)))
    letters = int(0.6 * width / (0.08 * float(rc("font.size")) / 10))
    ax.set_xlabel(balanced(AXES[axis], letters))


def _note(points: Sequence[Point]) -> str:
    trials = sorted({p.trials for p in points})
    count = f"{trials[0]} to " * (len(trials) > 1) + f"{trials[-1]} trials"
    over = f"mean of {count}; bars: 95 % intervals" if trials[-1] > 1 else "one trial"
    small = "hollow: before the last move; " if any(len(p) > 1 for p in _paths(points)) else ""
    return f"{over}; {small}wide grey line: the front (on validation none gives more for less)"
