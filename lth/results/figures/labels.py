"""Labels beside their points: spread so that none covers another, each tied to its point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

FONT = 8
LINE = 1.4 * FONT / 72
"""Height of a label, in inches."""

GAP = 0.16
"""Inches between the points and their labels."""


class Label(NamedTuple):
    """A label: its text, the point it names (in data coordinates), its colour."""

    text: str
    x: float
    y: float
    colour: str
    weight: str = "normal"


def width_of(label: Label) -> float:
    """Return about how wide a label is, in inches."""
    return (0.66 if label.weight == "bold" else 0.56) * FONT / 72 * len(label.text)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move heights as little as possible (least squares) so that they lie ``gap`` apart.

    ``wanted`` descends and so does what is returned, within ``low`` and ``high``. With
    ``z_i = y_i + i * gap`` this is isotonic regression: pool adjacent violators.

    >>> spread([5.0, 5.0, 1.0], 1.0, 0.0, 9.0)
    [5.5, 4.5, 1.0]
    """
    blocks: list[tuple[float, int]] = []  # mean of z, how many
    for number, y in enumerate(wanted):
        mean, count = y + number * gap, 1
        while blocks and blocks[-1][0] < mean:
            before, more = blocks.pop()
            mean, count = (before * more + mean * count) / (more + count), more + count
        blocks.append((mean, count))
    flat = [mean for mean, count in blocks for _ in range(count)]
    found = [min(z, high) - number * gap for number, z in enumerate(flat)]
    last = len(found) - 1
    return [max(y, low + (last - number) * gap) for number, y in enumerate(found)]


class MemberId(NamedTuple):
    """A place in the figure, in inches: a point's, or the middle of a label's left edge."""

    x: float
    y: float


def place_labels(ax: Axes, labels: Sequence[Label]) -> None:
    """Write labels right of their points, once the figure has its final layout.

    Points of about one x have their labels in one column; a label that would cover another's point
    or text stands in that one's column instead.
    """
    for label, (x, y) in zip(labels, _places(ax, labels), strict=True):
        at = ax.transData.inverted().transform((x * ax.figure.dpi, y * ax.figure.dpi))
        _write(ax, label, float(at[0]), float(at[1]))


def overflow(ax: Axes, labels: Sequence[Label]) -> float:
    """Return by how many inches the labels would reach out of the axes, on the right."""
    ends = (p.x + width_of(k) for p, k in zip(_places(ax, labels), labels, strict=True))
    return max(ends) - ax.get_window_extent().x1 / ax.figure.dpi


def _places(ax: Axes, labels: Sequence[Label]) -> list[MemberId]:
    dpi, box = ax.figure.dpi, ax.get_window_extent()
    points = [MemberId(*(ax.transData.transform((k.x, k.y)) / dpi)) for k in labels]
    low, high = box.y0 / dpi + LINE / 2, box.y1 / dpi - LINE / 2
    return settle(points, [width_of(k) for k in labels], low, high)


def settle(
    points: Sequence[MemberId], widths: Sequence[float], low: float, high: float
) -> list[MemberId]:
    """Return where the labels of ``points`` go."""
    column = _columns(points)
    while True:
        places = _spread_columns(points, column, low, high)
        moves = _clashes(points, places, widths, column)
        if not moves:
            return places
        column = [moves.get(n, c) for n, c in enumerate(column)]  # to the right: this ends


def _columns(points: Sequence[MemberId]) -> list[int]:
    """Number the columns of labels: points closer in x than a label's gap share one."""
    found, number, last = [0] * len(points), 0, None
    for n in sorted(range(len(points)), key=lambda n: points[n].x):
        if last is not None and points[n].x > last + 2 * GAP:
            number += 1
        found[n], last = number, points[n].x
    return found


def _spread_columns(
    points: Sequence[MemberId], column: Sequence[int], low: float, high: float
) -> list[MemberId]:
    places = dict[int, MemberId]()
    home = _columns(points)
    for number in set(column):
        inside = sorted(
            (n for n, c in enumerate(column) if c == number), key=lambda n: -points[n].y
        )
        x = max(points[n].x for n, c in enumerate(home) if c == number) + GAP
        ys = spread([points[n].y for n in inside], LINE, low, high)
        places |= {n: MemberId(x, y) for n, y in zip(inside, ys, strict=True)}
    return [places[n] for n in range(len(points))]


def _clashes(
    points: Sequence[MemberId],
    places: Sequence[MemberId],
    widths: Sequence[float],
    column: Sequence[int],
) -> dict[int, int]:
    """Return the labels that cover a point or a label of a column further right, and which."""
    home, found = _columns(points), dict[int, int]()
    for n, place in enumerate(places):
        end = place.x + widths[n] + LINE / 2
        for other, point in enumerate(points):
            near = point.x < end and abs(point.y - place.y) < 0.8 * LINE
            if near and home[other] > column[n]:
                found[n] = min(home[other], found.get(n, home[other]))
            text = places[other]
            near = text.x < end and abs(text.y - place.y) < 0.8 * LINE
            if near and column[other] > column[n]:
                found[n] = min(column[other], found.get(n, column[other]))
    return found


def _write(ax: Axes, label: Label, x: float, y: float) -> None:
    ax.plot([label.x, x], [label.y, y], color=label.colour, lw=0.5, alpha=0.6, zorder=1.5)
    ax.text(
        x, y, label.text, color=label.colour, fontsize=FONT, va="center", weight=label.weight,
        path_effects=[withStroke(linewidth=2, foreground="white")], zorder=5, in_layout=False,
    )  # fmt: skip
