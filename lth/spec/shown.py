"""How things show themselves in a notebook: small tables of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

MOST = 30
"""Rows of a table that are shown."""


def html_table(
    header: Iterable[str], rows: Mapping[str, Iterable[str]], caption: str = "", most: int = MOST
) -> str:
    """Return a table whose first column names the rows; beyond ``most`` some are left out.

    >>> html_table(["layer", "kept"], {"fc1": ["3"]})
    '<table><tr><th>layer</th><th>kept</th></tr><tr><th>fc1</th><td>3</td></tr></table>'
    """
    shown = [_row(name, cells) for name, cells in rows.items()]
    if len(shown) > most:
        left = f"<tr><th>... {len(shown) - most + 1} more</th></tr>"
        shown = [*shown[: most // 2], left, *shown[len(shown) - (most - most // 2 - 1) :]]
    above = f"<caption style='text-align:left'>{escape(caption)}</caption>" if caption else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    return f"<table>{above}<tr>{head}</tr>{''.join(shown)}</table>"


def _row(name: str, cells: Iterable[str]) -> str:
    values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f"<tr><th>{escape(name)}</th>{values}</tr>"
