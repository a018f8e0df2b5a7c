"""What the figures share: words, numbers and plain axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from matplotlib.typing import LineStyleType

DPI = 200

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#555555")
"""Okabe & Ito's palette: told apart by the colour-blind."""

MARKERS = "osD^vPX*"
STROKES: tuple[LineStyleType, ...] = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)))

LETTER = 0.085
"""Inches that a letter of a legend takes, about."""


TICKS = 8
"""As many densities are labelled on an axis, at most."""


class Look(NamedTuple):
    """How an arm is drawn."""

    color: str
    marker: str
    ls: LineStyleType


def look(number: int) -> Look:
    """Return the look of arm ``number``: no two of 64 share colour and marker.

    Every eight the colours come again with other markers, and with another stroke.
    """
    turn = number // len(COLOURS)
    marker = MARKERS[(number + turn) % len(MARKERS)]
    return Look(COLOURS[number % len(COLOURS)], marker, STROKES[turn % len(STROKES)])


def shades(count: int) -> list[tuple[float, ...]]:
    """Return so many colours, dark to light."""
    return [colormaps["viridis"](0.05 + 0.85 * i / max(1, count - 1)) for i in range(count)]


def panels(count: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many panels of a size in inches, row by row; as wide as its title."""
    rows = -(-count // columns)
    width = max(4.6, size[0] * columns)
    figure = Figure((width, size[1] * rows), dpi=DPI, layout="constrained")
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    for ax in axes:
        tidy(ax)
    return figure, axes


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return how many columns of labels fit into so many inches; one at least."""
    each = LETTER * max(map(len, labels), default=0) + 0.55
    return max(1, min(len(labels), int(width / each)))


def legend_above(figure: Figure, handles: Sequence[Any], title: str, columns: int = 0) -> None:
    """Name lines above the panels."""
    figure.legend(
        handles=handles, ncols=columns or len(handles), title=title, title_fontsize=9,
        loc="outside upper center", frameon=False, columnspacing=1.6,
    )  # fmt: skip


def density_axis(ax: Axes, densities: Sequence[float], named: Sequence[float] = ()) -> None:
    """Let densities run down from left to right, on a log scale, and name some of ``named``."""
    every = sorted({100 * d for d in densities}, reverse=True)
    marks = sorted({100 * d for d in named}, reverse=True) or every
    ratio = max(1.05, (marks[0] / marks[-1]) ** (1 / TICKS))
    shown = marks[:1]
    for mark in marks[1:-1]:
        shown += [mark] if min(shown[-1] / mark, mark / marks[-1]) >= ratio else []
    shown += [marks[-1]] if marks[0] / marks[-1] >= 1.05 else []
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    ax.set_xlim(every[0] * 1.12, every[-1] / 1.12)


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
