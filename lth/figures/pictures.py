"""Every picture of an analysis, whatever has nothing to show left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lth.analysis.lines import Point
from lth.analysis.table import Row
from lth.analysis.tickets import Tickets
from lth.figures import save
from lth.figures.analysis import Figure, analysis_figure
from lth.figures.connections import connections_figure
from lth.figures.connectivity import connectivity_figure
from lth.figures.layers import layers_figure
from lth.figures.survivors import survivors_figure


def draw_analysis(
    rows: Sequence[Row], points: Sequence[Point], found: Tickets | None, folder: Path
) -> list[Path]:
    """Write ``analysis``, ``connectivity``, ``layers``, ``connections`` and ``survivors.png``."""
    figures: dict[str, Figure | None] = {
        "analysis": analysis_figure(rows),
        "connectivity": connectivity_figure(points) if points else None,
        "layers": layers_figure(rows),
        "connections": connections_figure(found) if found else None,
        "survivors": survivors_figure(found) if found else None,
    }
    return [save(f, folder / f"{name}.png") for name, f in figures.items() if f is not None]
