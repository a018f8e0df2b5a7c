"""Axes that say what they must: densities, amounts, names in as many lines as there is room for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from lth.results.figures.style import LETTER, balanced, grey, percent, rc

TICK = 0.46
"""Inches that a density on an axis takes, in a font of 10 points; its neighbours stand apart."""


def density_axis(ax: Axes, densities: Sequence[float], named: Sequence[float] = ()) -> None:
    """Let densities run down from left to right, on a log scale, and name some of ``named``.

    So many are named as stand apart: the papers' 100, 51.2, 21.1, 7.0.
    """
    every = sorted({100 * d for d in densities}, reverse=True)
    marks = sorted({100 * d for d in named}, reverse=True) or every
    margin = 1.12 if every[0] > every[-1] * 1.05 else 1.5
    left, right = every[0] * margin, every[-1] / margin
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(_apart(marks, left / right, _room(ax))))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    ax.set_xlim(left, right)


def _room(ax: Axes) -> float:
    """Return how many labels of densities the axis has room for, before it is laid out."""
    figure, at = ax.get_figure(root=True), ax.get_subplotspec()
    columns = at.get_gridspec().ncols if at is not None else 1
    width = 5.0 if figure is None else figure.get_size_inches()[0]
    font = float(rc("font.size"))
    inches = width / columns - 0.5 * font / 10
    return max(2.0, min(9.0, inches / (TICK * font / 10)))


def _apart(marks: Sequence[float], span: float, room: float) -> list[float]:
    """Choose marks, the first and the last among them, that stand apart on an axis of ``span``."""
    ratio = max(1.05, span ** (1 / room))
    shown = list(marks[:1])
    for mark in marks[1:-1]:
        shown += [mark] if min(shown[-1] / mark, mark / marks[-1]) >= ratio else []
    return shown + ([marks[-1]] if shown[-1] / marks[-1] >= ratio else [])


def amounts_axis(axis: Axis, span: float, room: float, write: Callable[[float], str]) -> None:
    """Mark round amounts on a log axis: as many of 1, 2, 3, 5 times powers of ten as it has room.

    ``span`` is the greatest over the least amount, ``room`` how many labels go beside each other.
    """
    steps = ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
    subs = next((s for s in steps if math.log10(span) * len(s) <= room), (1,))
    axis.set_major_locator(LogLocator(subs=subs, numticks=99))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: write(value))


def plain_amount(text: str) -> str:
    """Drop the zeros behind a round amount's point: ``3.00k`` is ``3k``.

    >>> plain_amount("3.00k"), plain_amount("1.5M"), plain_amount("200")
    ('3k', '1.5M', '200')
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in tuple("kMGT") else (text, "")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + unit


def label_y(ax: Axes, text: str, less: float = 0.0) -> None:
    """Write what the y axis is, in as many lines as the panel's height takes; before a caption.

    ``less`` are inches of the panel's row that something else takes.
    """
    figure, at = ax.get_figure(root=True), ax.get_subplotspec()
    if figure is None or at is None:
        ax.set_ylabel(text)
        return
    font = float(rc("font.size"))
    height = float(figure.get_size_inches()[1]) / at.get_gridspec().nrows - less - 0.5 * font / 10
    letters = max(10, int(height / (LETTER * 0.93 * font / 10)))
    parts = (text.replace(" at ", "\nat ") if len(text) > letters else text).split("\n")
    ax.set_ylabel("\n".join(balanced(part, letters) for part in parts))


def is_lowest(ax: Axes) -> bool:
    """Whether no panel stands beneath this one."""
    at, figure = ax.get_subplotspec(), ax.get_figure(root=True)
    if at is None or figure is None:
        return True
    others = (other.get_subplotspec() for other in figure.axes)
    below = (o for o in others if o is not None and o.rowspan.start > at.rowspan.start)
    return not any(o.colspan.start == at.colspan.start for o in below)


def tidy(ax: Axes) -> None:
    """Leave out what carries nothing; hold what the style says of ticks, whoever draws them."""
    axes: tuple[Literal["x", "y"], ...] = ("x", "y")
    for axis in axes:
        ax.tick_params(
            axis=axis, which="both", color=rc(f"{axis}tick.color"),
            labelcolor=rc("text.color"), labelsize=rc(f"{axis}tick.labelsize"),
            width=rc(f"{axis}tick.major.width"), length=rc(f"{axis}tick.major.size"),
            pad=rc(f"{axis}tick.major.pad"),
        )  # fmt: skip
    ax.grid(axis="y", color=grey(0.9), lw=rc("grid.linewidth"))
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
