"""Every picture of an analysis, whatever has nothing to show left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lth.results.analysis.lines import Point
from lth.results.analysis.table import Row
from lth.results.analysis.tickets import Tickets
from lth.results.figures import Drawing, Note, save_all
from lth.results.figures.analysis import analysis_figure
from lth.results.figures.connections import connections_figure
from lth.results.figures.connectivity import connectivity_figure
from lth.results.figures.layers import layers_figure
from lth.results.figures.masks import masks_figure
from lth.results.figures.sheet import PLAIN, Sheet
from lth.results.figures.survivors import survivors_figure


def draw_analysis(
    rows: Sequence[Row],
    points: Sequence[Point],
    found: Tickets | None,
    folder: Path,
    note: Note | None = None,
    sheet: Sheet = PLAIN,
) -> list[Path]:
    """Write ``analysis``, ``connectivity``, ``layers``, ``connections``, ``survivors``, ``masks``.

    One that cannot be drawn becomes a ``note``.
    """
    drawings: dict[str, Drawing] = {
        "analysis": lambda: analysis_figure(rows, sheet),
        "connectivity": lambda: connectivity_figure(points, sheet) if points else None,
        "layers": lambda: layers_figure(rows, sheet),
        "connections": lambda: connections_figure(found, sheet) if found else None,
        "survivors": lambda: survivors_figure(found, sheet) if found else None,
        "masks": lambda: masks_figure(found, sheet) if found else None,
    }
    return save_all(drawings, folder, note, sheet)
