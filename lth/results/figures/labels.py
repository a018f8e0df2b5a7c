"""Labels in a column beside the axes, each tied to its point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

FONT = 8
LINE = 1.4 * FONT / 72
"""Height of a label, in inches."""


class Label(NamedTuple):
    """A label: its text, the point it names (in data coordinates), its colour."""

    text: str
    x: float
    y: float
    colour: str
    weight: str = "normal"


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Return heights in [0, 1] at least ``gap`` apart, near those wanted, which descend.

    >>> spread([1.0, 1.0, 0.5], 0.25), spread([0.25, 0.0, 0.0], 0.25)
    ([1.0, 0.75, 0.5], [0.5, 0.25, 0.0])
    """
    heights: list[float] = []
    for y in wanted:
        heights.append(min(y, heights[-1] - gap) if heights else y)
    for number, y in enumerate(reversed(heights)):  # what fell below the axes pushes up
        heights[-1 - number] = max(y, number * gap)
    return heights


def place_labels(ax: Axes, labels: Sequence[Label]) -> None:
    """Write labels right of the axes, in the order of their points' heights."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # what is placed in inches needs the layout
    gap = min(LINE * figure.dpi / ax.get_window_extent().height, 1 / max(1, len(labels) - 1))
    to_axes = ax.transData + ax.transAxes.inverted()
    at = {label: to_axes.transform((label.x, label.y))[1] for label in labels}
    order = sorted(labels, key=lambda label: -at[label])
    for label, y in zip(order, spread([at[label] for label in order], gap), strict=True):
        ax.annotate(
            label.text, (label.x, label.y), (1.03, y), textcoords="axes fraction", fontsize=FONT,
            color=label.colour, weight=label.weight, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.5, "alpha": 0.6},
        )  # fmt: skip
