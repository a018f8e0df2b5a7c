"""What a figure is drawn on: its size and style, the words over it, and every arm's look."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth.results.figure_options import FigureOptions
from lth.results.figures.axes import tidy
from lth.results.figures.style import LETTER, Look, cut, legend_columns, looks, settings, wrapped

DPI = 200
FONT, IN_PRINT = 10.0, {2.0: 6.0, 4.5: 7.0, 8.0: 8.0}
"""Points of the font on a screen, and in print by the greatest width in inches that has it."""

LEAST = 1.9
"""Inches that a panel takes in print at least, in a font of 8 points."""

FLAT, BROAD = 0.78, (3.0, 0.58)
"""The height of a panel in print over its width, at most; of one of so many inches, that."""

LINE = 0.175
"""Inches that a line of a legend or a title takes, in a font of 10 points."""

_LOCK = threading.RLock()
"""Matplotlib's settings are one for the process: threads that draw do so one after another."""


class ShownFigure(Figure):
    """A figure that a notebook shows by itself, also where nobody has imported pyplot."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


@dataclass(frozen=True)
class Sheet:
    """What a figure is drawn on.

    ``about`` says of which model, data and length it is; ``arms`` are all of the study's, so that
    each looks the same in every figure.
    """

    options: FigureOptions = field(default_factory=FigureOptions)
    about: str = ""
    arms: tuple[str, ...] = ()
    dpi: int | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let matplotlib draw in this style, and as it was before afterwards."""
        wanted: Any = settings(self.options.style, self.font, self._dots)
        with _LOCK, mpl.rc_context(wanted):
            yield

    @property
    def font(self) -> float:
        """The size of the font in points."""
        if self.options.font is not None:
            return self.options.font
        width = self.options.width
        return next((f for w, f in IN_PRINT.items() if width is not None and width < w), FONT)

    @property
    def _dots(self) -> int:
        return self.options.dpi or self.dpi or DPI

    def coarse(self, dpi: int) -> Sheet:
        """Return a sheet with fewer dots, unless they were asked for: a file may be too large."""
        return replace(self, dpi=min(dpi, DPI))

    def lines(self, count: int) -> float:
        """Return the inches that so many lines of a legend or a title take."""
        return LINE * count * self.font / 10

    def letters(self, width: float) -> int:
        """Return how many letters of a legend's name go into so many inches."""
        return int((0.97 * width / (0.0833 * self.font) - 0.6) / LETTER)

    def title_letters(self, ax: Axes) -> int:
        """Return how many letters go above a panel, 34 at most."""
        figure, place = ax.figure, ax.get_subplotspec()
        assert place is not None
        each = float(figure.get_figwidth()) / place.get_gridspec().ncols  # type: ignore[union-attr]
        return min(34, int(0.88 * each / (LETTER * self.font / 10)))

    def looks(self, arms: Iterable[str]) -> dict[str, Look]:
        """Return the look of every arm, those of the study first."""
        return looks([*self.arms, *arms])

    def columns(self, most: int, least: float = LEAST) -> int:
        """Return how many panels of at least so many inches stand side by side, ``most`` at most.

        The inches are for a font of 8 points.
        """
        width = self.options.width
        if width is None:
            return most
        return max(1, min(most, int(width / (least * self.font / 8) + 0.05)))

    def panels(
        self,
        count: int,
        most: int,
        size: tuple[float, float],
        least: float = LEAST,
        share: bool | str = False,
        extra: float = 0.0,
    ) -> tuple[Figure, list[Axes]]:
        """Return a figure of panels, row by row, ``most`` in a row: on a screen of that size.

        In print as many in a row as fit, and as flat as on the screen. ``share`` is that of the
        y axis: ``True``, or ``"row"``; ``extra`` are inches of a row that a legend takes.
        """
        columns = self.columns(min(most, count), least)
        rows = -(-count // columns)
        width = self.options.width or max(4.6, size[0] * columns)
        each = width / columns
        height = size[1] if self.options.width is None else self._height(each, size)
        figure = ShownFigure((width, (height + extra) * rows), layout="constrained")
        axes = []
        for number in range(count):
            first = 0 if share is True else number - number % columns
            beside = axes[first] if share and first < number else None
            axes.append(figure.add_subplot(rows, columns, number + 1, sharey=beside))
        for ax in axes:
            tidy(ax)
        return figure, axes

    def _height(self, width: float, size: tuple[float, float]) -> float:
        """Return the height in inches of a panel in print: flat, and no lower than it reads."""
        flat = BROAD[1] if width >= BROAD[0] else FLAT
        wanted = width * min(size[1] / size[0], flat)
        return max(1.3 * self.font / 8, min(wanted, size[1]))

    def caption(
        self, figure: Figure, note: str, handles: Sequence[Any] = (), labels: Sequence[str] = ()
    ) -> None:
        """Say above the panels what they show, and what every line is; the figure grows by that."""
        width, height = map(float, figure.get_size_inches())
        said = [self.about, note] if self.options.title else []
        text = _lines([part for part in said if part], 0.97 * width, 0.833 * self.font)
        names = [
            cut(n, self.letters(width)) for n in labels or [str(h.get_label()) for h in handles]
        ]
        lines = text.count("\n") + bool(text)
        if handles:
            columns = _balanced(len(names), legend_columns(names, 0.97 * width, 0.833 * self.font))
            lines += -(-len(names) // columns)
            legend = figure.legend(
                handles, names, ncols=columns, title=text or None, loc="outside upper center",
                frameon=False, columnspacing=1.4, handlelength=2.2, handletextpad=0.5,
                borderpad=0.2,
            )  # fmt: skip
            legend.get_title().set_multialignment("center")
        elif text:
            figure.suptitle(text)
        figure.set_size_inches(width, height + self.lines(lines))


def _lines(parts: Sequence[str], width: float, font: float) -> str:
    """Write parts in one line, where that is not too long, else each in lines of its own."""
    one = wrapped("; ".join(parts), width, font)
    return one if "\n" not in one else wrapped("\n".join(parts), width, font)


def _balanced(count: int, columns: int) -> int:
    """Return as few columns as need no more lines: five names are three and two, not four and one.

    >>> _balanced(5, 4), _balanced(3, 4)
    (3, 3)
    """
    return -(-count // -(-count // columns)) if count else 1


PLAIN = Sheet()
"""A sheet for a screen, as light as paper, which knows of no study."""
