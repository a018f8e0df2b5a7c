"""The figures, in the style of Frankle & Carbin 2019 (arXiv 1803.03635), from records alone.

Each is a function that returns a ``matplotlib.figure.Figure``, to be changed and saved at will;
``Sheet`` says how it looks.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lth.files import write_atomic
from lth.measured import Measured
from lth.records.judged import ACCURACY
from lth.records.record import Record
from lth.results.analysis.histories import histories
from lth.results.figure_options import FORMATS, FigureOptions, about, figure_options
from lth.results.figures.curves import curves_figure
from lth.results.figures.over_steps import over_steps_figure
from lth.results.figures.pareto import cost_figure
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.tickets import crowded_figure, tickets_figure
from lth.results.figures.zeros import zeros_figure
from lth.store.study import Study

__all__ = [
    "FigureOptions", "Sheet", "curves_figure", "draw", "draw_over_steps", "drawn", "said", "save",
    "save_all", "sheet_of", "tickets_figure", "told",
]  # fmt: skip


Drawing = Callable[[], Figure | None]
"""Makes a figure; None where there is nothing to show."""

Note = Callable[[str], None]

DATES: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""What of a file's metadata is left out, that the same figure gives the same bytes."""


def sheet_of(
    config: Mapping[str, Any],
    arms: Iterable[str] = (),
    studies: Sequence[Mapping[str, Any]] | None = None,
) -> Sheet:
    """Return the sheet that a configuration asks for: ``sheet_of(study.config, arms)``.

    ``arms`` are all of a study's, which look the same in its figures; of several ``studies``, by
    their configurations, figures say what they share.
    """
    said = about(*([config] if studies is None else studies))
    return Sheet(figure_options(config), said, tuple(dict.fromkeys(arms)))


def draw(
    records: Sequence[Record],
    curves: Sequence[Record],
    folder: Path,
    note: Note | None = None,
    measured: Measured = ACCURACY,
    sheet: Sheet = PLAIN,
) -> list[Path]:
    """Write ``tickets`` and ``curves``, of budgets ``pareto`` and ``zeros``, in the formats asked.

    Of more arms than there are colours ``tickets`` shows one value, and there are two more figures.
    Whatever has nothing to show is left out.
    """
    drawings: dict[str, Drawing] = {
        "tickets": lambda: tickets_figure(records, measured, sheet),
        "tickets_end": partial(crowded_figure, records, measured, sheet, 2),
        "tickets_early_stop": partial(crowded_figure, records, measured, sheet, 0),
        "curves": lambda: curves_figure(curves, records, measured, sheet),
        "pareto": lambda: cost_figure(records, "bytes", measured, sheet),
        "pareto_macs": lambda: cost_figure(records, "macs", measured, sheet),
        "zeros": lambda: zeros_figure(records, sheet),
    }
    return save_all(drawings, folder, note, sheet)


def draw_over_steps(study: Study, note: Note | None = None, sheet: Sheet = PLAIN) -> list[Path]:
    """Write ``over_steps`` where a mask of the study changed while its member trained."""
    drawing = {"over_steps": lambda: over_steps_figure(histories(study), sheet)}
    return save_all(drawing, study.folder / "figures", note, sheet)


def save_all(
    drawings: Mapping[str, Drawing], folder: Path, note: Note | None, sheet: Sheet = PLAIN
) -> list[Path]:
    """Write each figure that there is; one that fails becomes a ``note``, and costs no other."""
    drawn = []
    for name, drawing in drawings.items():
        paths = [folder / f"{name}.{kind}" for kind in sheet.options.formats]
        try:
            figure = drawing()
            _collect(name, figure)
            drawn += [save(figure, path, sheet) for path in paths if figure is not None]
        except Exception as error:
            if note is None:
                raise
            older = "; the one there is older" if paths[0].exists() else ""
            note(f"{paths[0].name}: not drawn ({said(error)}){older}; the records are complete")
    return drawn


def said(error: Exception) -> str:
    """Say an error in one line, with its kind: ``ValueError: ...``."""
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {first}"


def told(paths: Sequence[Path]) -> list[str]:
    """Name figures, each once whatever its formats are: ``figures/tickets.png, .pdf``."""
    names: dict[Path, list[str]] = {}
    for path in paths:
        names.setdefault(path.with_suffix(""), []).append(path.suffix)
    return [f"{stem}{', '.join(kinds)}" for stem, kinds in names.items()]


def save(figure: Figure, path: Path, sheet: Sheet = PLAIN) -> Path:
    """Write a figure as PNG, PDF or SVG, as the path's suffix says, atomically.

    The same figure gives the same bytes: no dates, no random ids.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(f"{path}: a figure is written as one of {', '.join(FORMATS)}")
    content = io.BytesIO()
    with sheet.used():
        figure.savefig(content, format=kind, metadata=DATES[kind])
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
