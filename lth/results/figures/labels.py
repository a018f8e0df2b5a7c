"""Labels in a column beside the axes, each tied to its point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression

from lth.results.figures.style import rc

SIZE = 0.8
"""A label's font over the figure's."""


class Label(NamedTuple):
    """A label: its text, the point it names (in data coordinates), its colour."""

    text: str
    x: float
    y: float
    colour: Any
    weight: str = "normal"


def line_height() -> float:
    """Return the height of a label in inches, in the style in use."""
    return 1.4 * SIZE * float(rc("font.size")) / 72


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move heights in [0, 1], which descend, as little as possible so that they lie ``gap`` apart.

    With ``z_i = y_i + i * gap`` this is isotonic regression.

    >>> spread([0.5, 0.5, 0.0], 0.25), spread([1.0, 1.0], 0.25)
    ([0.625, 0.375, 0.0], [1.0, 0.75])
    """
    steps = gap * np.arange(len(wanted))
    free = isotonic_regression(np.array(wanted) + steps, increasing=False).x - steps
    return np.maximum(np.minimum(free, 1 - steps), steps[::-1]).tolist()


def place_labels(ax: Axes, labels: Sequence[Label]) -> None:
    """Write labels right of the axes, in the order of their points' heights."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # what is placed in inches needs the layout
    height = ax.get_window_extent().height
    gap = min(line_height() * figure.dpi / height, 1 / max(1, len(labels) - 1))
    to_axes = ax.transData + ax.transAxes.inverted()
    at = {label: to_axes.transform((label.x, label.y))[1] for label in labels}
    order = sorted(labels, key=lambda label: -at[label])
    for label, y in zip(order, spread([at[label] for label in order], gap), strict=True):
        ax.annotate(
            label.text, (label.x, label.y), (1.03, y), textcoords="axes fraction",
            fontsize=SIZE * float(rc("font.size")), color=label.colour,
            weight=label.weight, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.5, "alpha": 0.6,
                        "relpos": (0, 0.5)},
        )  # fmt: skip
