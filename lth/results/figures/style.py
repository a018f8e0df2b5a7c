"""What the figures share: words, numbers and plain axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.typing import LineStyleType

DPI = 200

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#555555")
"""Okabe & Ito's palette: told apart by the colour-blind."""

MARKERS = "osD^vPX*"
STROKES: tuple[LineStyleType, ...] = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)))

LETTER = 0.085
"""Inches that a letter of a legend takes, about."""


class MaskUpdate(NamedTuple):
    """How an arm is drawn."""

    color: str
    marker: str
    ls: LineStyleType


def look(number: int) -> MaskUpdate:
    """Return the look of arm ``number``: no two of 64 share colour and marker.

    Every eight the colours come again with other markers, and with another stroke.
    """
    turn = number // len(COLOURS)
    marker = MARKERS[(number + turn) % len(MARKERS)]
    return MaskUpdate(COLOURS[number % len(COLOURS)], marker, STROKES[turn % len(STROKES)])


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return how many columns of labels fit into so many inches; one at least."""
    each = LETTER * max(map(len, labels), default=0) + 0.55
    return max(1, min(len(labels), int(width / each)))


def tidy(ax: Axes) -> None:
    """Leave out what carries nothing."""
    ax.grid(axis="y", color="0.92", lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def words(arm: str) -> str:
    """Write an arm's name in words."""
    return arm.replace("_", " ")


def percent(value: float) -> str:
    """Write as the papers do: 100, 51.3, 3.6, 0.42."""
    return f"{value:.0f}" if value > 99.95 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
