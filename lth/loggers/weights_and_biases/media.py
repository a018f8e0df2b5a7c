"""What is more than a number: charts, tables, pictures, histograms and artifacts of a run."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lth.loggers.levels_csv import levels_table
from lth.loggers.look import Look, pictures_among
from lth.loggers.panels import BUDGET_COLUMNS, Chart
from lth.measured import Measured
from lth.records.budget import TEST
from lth.records.record import Record

TABLE_ROWS = 200_000
"""What a table of wandb can hold."""


def lines(chart: Chart) -> Any:
    """Return lines over one axis as wandb's own line chart; its table stands aside."""
    import wandb

    names = list(chart.lines)
    xs = [[x for x, _ in chart.lines[n]] for n in names]
    ys = [[y for _, y in chart.lines[n]] for n in names]
    return wandb.plot.line_series(
        xs=xs, ys=ys, keys=names, title=chart.title, xname=chart.axis, split_table=True
    )


def pareto(rows: Sequence[Sequence[Any]]) -> Any:
    """Return what packed networks test at against their bytes, as wandb's own scatter chart."""
    import wandb

    names: list[Any] = ["network", "level", "phase", "density", *BUDGET_COLUMNS]
    table = wandb.Table(columns=names, data=[list(row) for row in rows])
    title = "what the packed file tests at, against its bytes"
    return wandb.plot.scatter(table, "bytes", TEST, title=title, split_table=True)


def tables(records: Sequence[Record], measured: Measured, columns: Sequence[str]) -> dict[str, Any]:
    """Return the table of levels, means and ranges, and that of all records."""
    header, rows = levels_table(records, measured)
    cells = [[None if cell == "" else cell for cell in row] for row in rows]
    found = [list(r) for r in records[:TABLE_ROWS]]
    return {"levels": _table(header, cells), "records": _table(list(columns), found)}


def table_of(path: Path) -> Any:
    """Return a table of a CSV file, what is a number in it as a number."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    return _table(header, [[_number(cell) for cell in row] for row in rows[:TABLE_ROWS]])


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None


def _table(header: Sequence[str], rows: list[Any]) -> Any:
    import wandb

    return wandb.Table(columns=list(header), data=rows, allow_mixed_types=True)


def images(paths: Sequence[Path]) -> list[Any]:
    """Return figures as the pictures of one panel; what is no picture is left out.

    A panel shows pictures of one size: smaller ones get a white margin.
    """
    import wandb
    from PIL import Image

    drawn = [_opened(p) for p in pictures_among(paths)]
    width, height = (max(p.size[n] for _, p in drawn) if drawn else 0 for n in (0, 1))
    found = []
    for path, pixels in drawn:
        page: Any = str(path)
        if pixels.size != (width, height):
            page = Image.new("RGB", (width, height), "white")
            page.paste(pixels)
        found.append(wandb.Image(page, caption=path.stem))
    return found


def _opened(path: Path) -> tuple[Path, Any]:
    from PIL import Image

    with Image.open(path) as opened:
        return path, opened.convert("RGB")


def of_look(look: Look) -> dict[str, Any]:
    """Return the histogram of the weights that are kept, and the masks as one panel."""
    import wandb

    masks = [wandb.Image(p, caption=name) for name, p in look.pictures.items()]
    histogram: Any = np.histogram(look.kept, bins=64)
    return {"weights": wandb.Histogram(np_histogram=histogram), "masks": masks}


def ticket_artifact(name: str, tickets: Sequence[Path]) -> Any:
    """Return the files of tickets as one artifact, as they lie below their common folder."""
    import wandb

    artifact = wandb.Artifact(re.sub(r"[^\w.-]", "-", name), type="ticket")
    root = os.path.commonpath([path.parent for path in tickets])
    for path in tickets:
        artifact.add_file(str(path), name=os.path.relpath(path, root))
    return artifact
