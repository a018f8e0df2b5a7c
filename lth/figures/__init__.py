"""The figures, in the style of Frankle & Carbin 2019 (arXiv 1803.03635), from records alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lth.figures.curves import accuracies, curves_figure
from lth.figures.tickets import tickets_figure
from lth.records import Record, write_atomic
from lth.statistics import EARLY

__all__ = ["curves_figure", "draw", "save", "tickets_figure"]


def draw(records: Sequence[Record], curves: Sequence[Record], folder: Path) -> list[Path]:
    """Write ``tickets.png`` and ``curves.png``; whatever has nothing to show is left out."""
    found = []
    if any(r.metric == EARLY for r in records):
        found.append(save(tickets_figure(records), folder / "tickets.png"))
    if accuracies(curves, records):
        found.append(save(curves_figure(curves, records), folder / "curves.png"))
    return found


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, atomically."""
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    write_atomic(path, content.getvalue())
    return path
