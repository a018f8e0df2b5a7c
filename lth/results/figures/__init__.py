"""The figures, in the style of Frankle & Carbin 2019 (arXiv 1803.03635), from records alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lth.files import write_atomic
from lth.records.record import Record
from lth.records.statistics import EARLY
from lth.results.figures.curves import accuracies, curves_figure
from lth.results.figures.tickets import tickets_figure

__all__ = ["curves_figure", "draw", "said", "save", "save_all", "tickets_figure"]


Drawing = Callable[[], Figure | None]
"""Makes a figure; None where there is nothing to show."""

Note = Callable[[str], None]


def draw(
    records: Sequence[Record], curves: Sequence[Record], folder: Path, note: Note | None = None
) -> list[Path]:
    """Write ``tickets.png`` and ``curves.png``; whatever has nothing to show is left out."""
    some = any(r.metric == EARLY for r in records)
    drawings: dict[str, Drawing] = {
        "tickets": lambda: tickets_figure(records) if some else None,
        "curves": lambda: curves_figure(curves, records) if accuracies(curves, records) else None,
    }
    return save_all(drawings, folder, note)


def save_all(drawings: Mapping[str, Drawing], folder: Path, note: Note | None) -> list[Path]:
    """Write each figure that there is; one that fails becomes a ``note``, and costs no other."""
    found = []
    for name, drawing in drawings.items():
        path = folder / f"{name}.png"
        try:
            figure = drawing()
            if figure is not None:
                found.append(save(figure, path))
        except Exception as error:
            if note is None:
                raise
            older = "; the one there is older" if path.exists() else ""
            note(f"{path.name}: not drawn ({said(error)}){older}; the records are complete")
    return found


def said(error: Exception) -> str:
    """Say an error in one line, with its kind: ``ValueError: ...``."""
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {first}"


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, atomically."""
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    write_atomic(path, content.getvalue())
    return path
