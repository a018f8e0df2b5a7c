"""What looking at studies gives: tables, figures, and what there was to say."""

from __future__ import annotations

import io
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from lth.errors import LthError, nearest
from lth.records.frames import Rows, frame, read_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

DPI = 100
"""Dots per inch of a figure in a notebook."""

LINES = 40
"""Lines of text that a notebook is shown."""


class Figures(dict[str, "Figure"]):
    """Figures of matplotlib by name, belonging to no window: ``figures["tickets"].savefig(...)``.

    A notebook's cell that ends with it shows them all, each once.
    """

    def __repr__(self) -> str:
        return f"Figures({', '.join(self)})"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if not self:
            display({"text/plain": repr(self)}, raw=True)
        for name, figure in self.items():
            data, about = picture(figure)
            bundle = {"image/png": b64encode(data).decode(), "text/plain": f"<Figure {name}>"}
            display(bundle, raw=True, metadata={"image/png": about})


def picture(figure: Figure) -> tuple[bytes, dict[str, int]]:
    """Return a figure as a notebook shows it, a PNG that is not large, and its width on screen."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue(), {"width": round(96 * figure.get_figwidth())}


def show_in_notebooks() -> None:
    """Let a cell that ends with a figure show it, as one of pyplot's is shown; once is enough."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or shell.display_formatter is None:
        return
    from matplotlib.figure import Figure

    formatter = shell.display_formatter.formatters["image/png"]
    try:
        formatter.lookup_by_type(Figure)
    except KeyError:  # nobody has said yet how figures are shown
        formatter.for_type(Figure, picture)


@dataclass(frozen=True, repr=False)
class Results:
    """What ``lth.analyse`` and ``lth.compare`` give: ``tables`` and ``figures`` by name.

    ``folder`` has them as files, ``notes`` are the warnings, ``text`` is what a terminal shows.
    """

    folder: Path
    tables: Mapping[str, Rows]
    figures: Figures = field(default_factory=Figures)
    notes: tuple[str, ...] = ()
    text: str = ""

    @property
    def table(self) -> Rows:
        """The first table."""
        return next(iter(self.tables.values()), [])

    @property
    def figure(self) -> Figure | None:
        """The first figure, if one could be drawn."""
        return next(iter(self.figures.values()), None)

    def to_pandas(self, name: str | None = None) -> DataFrame:
        """Return a table as a ``pandas.DataFrame``: the first, if none is named."""
        name = next(iter(self.tables), "") if name is None else name
        if name not in self.tables:
            raise LthError(f"to_pandas: there is no table {name}{nearest(name, self.tables)}")
        rows = self.tables[name]
        columns = list(rows[0]) if rows else []
        return frame(columns, [list(row.values()) for row in rows])

    def __str__(self) -> str:
        return self.text or repr(self)

    def __repr__(self) -> str:
        tables = ", ".join(f"{name} ({len(rows)} rows)" for name, rows in self.tables.items())
        figures, notes = ", ".join(self.figures) or "none", len(self.notes)
        return f"Results({self.folder}; tables {tables}; figures {figures}; notes {notes})"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display({"text/plain": repr(self), "text/html": self._repr_html_()}, raw=True)
        if self.figures:
            self.figures._ipython_display_()

    def _repr_html_(self) -> str:
        lines = self.text.splitlines()
        left = [f"... {len(lines) - LINES} lines more in .text"] * (len(lines) > LINES)
        return f"<pre>{escape(chr(10).join([*lines[:LINES], *left, repr(self)]))}</pre>"


def results(
    folder: Path, names: Sequence[str], figures: Figures, notes: Sequence[str], text: str
) -> Results:
    """Read the tables that lie in a folder, and put them together with the rest."""
    tables = {n: read_rows(folder / f"{n}.csv") for n in names if (folder / f"{n}.csv").is_file()}
    return Results(folder, tables, figures, tuple(notes), text)
