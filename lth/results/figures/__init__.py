"""The figures, in the style of Frankle & Carbin 2019 (arXiv 1803.03635), from records alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lth.files import write_atomic
from lth.measured import Measured
from lth.records.judged import ACCURACY
from lth.records.record import Record
from lth.results.analysis.histories import histories
from lth.results.figures.curves import curves_figure
from lth.results.figures.over_steps import over_steps_figure
from lth.results.figures.pareto import bytes_figure
from lth.results.figures.tickets import tickets_figure
from lth.results.figures.zeros import zeros_figure
from lth.store.study import Study

__all__ = [
    "curves_figure", "draw", "draw_over_steps", "drawn", "said", "save", "save_all",
    "tickets_figure",
]  # fmt: skip


Drawing = Callable[[], Figure | None]
"""Makes a figure; None where there is nothing to show."""

Note = Callable[[str], None]


def draw(
    records: Sequence[Record],
    curves: Sequence[Record],
    folder: Path,
    note: Note | None = None,
    measured: Measured = ACCURACY,
) -> list[Path]:
    """Write ``tickets.png`` and ``curves.png``, of budgets ``pareto.png`` and ``zeros.png``.

    Whatever has nothing to show is left out.
    """
    drawings: dict[str, Drawing] = {
        "tickets": lambda: tickets_figure(records, measured),
        "curves": lambda: curves_figure(curves, records, measured),
        "pareto": lambda: bytes_figure(records, measured),
        "zeros": lambda: zeros_figure(records),
    }
    return save_all(drawings, folder, note)


def draw_over_steps(study: Study, note: Note | None = None) -> list[Path]:
    """Write ``over_steps.png`` where a mask of the study changed while its member trained."""
    drawing = {"over_steps": lambda: over_steps_figure(histories(study))}
    return save_all(drawing, study.folder / "figures", note)


def save_all(drawings: Mapping[str, Drawing], folder: Path, note: Note | None) -> list[Path]:
    """Write each figure that there is; one that fails becomes a ``note``, and costs no other."""
    drawn = []
    for name, drawing in drawings.items():
        path = folder / f"{name}.png"
        try:
            figure = drawing()
            _collect(name, figure)
            if figure is not None:
                drawn.append(save(figure, path))
        except Exception as error:
            if note is None:
                raise
            older = "; the one there is older" if path.exists() else ""
            note(f"{path.name}: not drawn ({said(error)}){older}; the records are complete")
    return drawn


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


_collected: ContextVar[dict[str, Figure] | None] = ContextVar("collected", default=None)


@contextmanager
def drawn() -> Iterator[dict[str, Figure]]:
    """Collect the figures that are written inside of the block, by name."""
    found: dict[str, Figure] = {}
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def _collect(name: str, figure: Figure | None) -> None:
    found = _collected.get()
    if found is not None and figure is not None:
        found[name] = figure
