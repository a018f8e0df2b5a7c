"""Records: the one tidy long table that everything shown anywhere is computed from."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from lth.errors import LthError
from lth.files import demand, reading, write_atomic


class Record(NamedTuple):
    """One measured value of one member.

    ``density`` is in [0, 1]; ``split`` is train, validation or test; ``metric`` is accuracy (in
    [0, 1]), loss, early_stop_step or diverged; ``step`` is where it was measured, so a member has
    an accuracy at its early stop and one at its last step.
    """

    study: str
    trial: int
    copy: int
    lr: float
    arm: str
    level: int
    density: float
    step: int
    split: str
    metric: str
    value: float


COLUMNS = Record._fields


def write_csv(path: Path, records: Iterable[Record]) -> None:
    """Write the table of records."""
    write_table(path, COLUMNS, records)


def write_table(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write any table atomically."""
    write_atomic(path, table_bytes(header, rows))


def table_bytes(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """Return a table as CSV; floats in their shortest exact form, so bytes compare."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def read_csv(path: Path) -> list[Record]:
    """Read a table that ``write_csv`` wrote; numbers come back exactly."""
    if not path.is_file():
        raise LthError(f"{path}: no such records; run the study first")
    mend = "run the study again to write it"
    with reading(path, "file", mend), open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, strict=True))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise LthError(f"{path}: not a records table: its columns must be {','.join(COLUMNS)}")
    kinds = list(get_type_hints(Record).values())
    with reading(path, "file", mend):
        found = [Record(*(k(v) for k, v in zip(kinds, row, strict=True))) for row in rows[1:]]
        for row in found:
            _check(row)
    return found


def _check(row: Record) -> None:
    """Refuse what no study writes: a number that is none, a density that is no share."""
    whole = min(row.trial, row.copy, row.level, row.step) >= 0
    demand(whole and 0 < row.lr < math.inf and not math.isnan(row.value), f"no record: {row}")
    demand(0 <= row.density <= 1, f"no density: {row.density}")
