"""What the figures share: words, numbers and plain axes."""

from __future__ import annotations

from matplotlib.axes import Axes

DPI = 200


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
