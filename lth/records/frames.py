"""Tables as pandas takes them; pandas is an extra, asked for when it is needed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lth.errors import LthError
from lth.files import reading

if TYPE_CHECKING:
    from pandas import DataFrame

Rows = list[dict[str, Any]]
"""A table: a value by column's name, row by row; None where a cell is empty."""


def frame(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> DataFrame:
    """Return a table as a ``pandas.DataFrame``; one without rows has its columns."""
    try:
        import pandas
    except ImportError:
        raise LthError("to_pandas needs pandas, which is not here: pip install pandas") from None
    return pandas.DataFrame.from_records([tuple(r) for r in rows], columns=list(columns))


def read_rows(path: Path) -> Rows:
    """Read a CSV file of lth's; what reads as a number is one."""
    with reading(path, "table", "make it again"), open(path, newline="", encoding="utf-8") as file:
        return [{k: _value(v) for k, v in row.items()} for row in csv.DictReader(file, strict=True)]


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return {"": None, "True": True, "False": False}.get(text, text)
