"""Records: the one tidy long table that everything shown anywhere is computed from."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from lth.errors import LthError
from lth.files import demand, reading, write_atomic
from lth.types import MemberId


class Record(NamedTuple):
    """One measured value of one member.

    ``density`` is in [0, 1], or above where a rewrite adds weights; ``split`` is train, validation
    or test; ``metric`` is accuracy (in [0, 1]), loss, early_stop_step or diverged; ``step`` is
    where it was measured, so a member has an accuracy at its early stop and one at its last step.
    ``phase`` counts what a method's moves
    have made at a level, from 1 (0: any other member); ``move`` names the moves that led to it.
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
    phase: int = 0
    move: str = ""

    @property
    def member(self) -> MemberId:
        """Which member of the study it is of."""
        return MemberId(self.trial, self.lr, self.arm, self.level, self.copy, self.phase)


COLUMNS = Record._fields

BEFORE_MOVES = COLUMNS[:-2]
"""The columns of a file that was written before there were methods."""


def last_phases(records: Iterable[Record]) -> list[Record]:
    """Return the rows of what each arm has come to at a level: those of its last phase there.

    A member that diverged on the way has come to that.
    """
    rows = list(records)
    last: dict[tuple[str, float, str, int], int] = defaultdict(int)
    for r in rows:
        arm = r.study, r.lr, r.arm, r.level
        last[arm] = max(last[arm], r.phase)
    if not any(last.values()):
        return rows
    ended = {r[:6]: r.phase for r in rows if r.metric == "diverged"}
    return [
        r for r in rows
        if r.phase == last[r.study, r.lr, r.arm, r.level] or r.phase == ended.get(r[:6])
    ]  # fmt: skip


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
    if not rows or tuple(rows[0]) not in (COLUMNS, BEFORE_MOVES):
        raise LthError(f"{path}: not a records table: its columns must be {','.join(COLUMNS)}")
    kinds = list(get_type_hints(Record).values())[: len(rows[0])]
    with reading(path, "file", mend):
        records = [Record(*(k(v) for k, v in zip(kinds, row, strict=True))) for row in rows[1:]]
        for record in records:
            _check(record)
    return records


def _check(row: Record) -> None:
    """Refuse what no study writes: a number that is none, a density that is no share.

    A rewrite that adds to the network, gates or exits, has more weights than the dense one.
    """
    whole = min(row.trial, row.copy, row.level, row.step, row.phase) >= 0
    demand(whole and 0 < row.lr < math.inf and not math.isnan(row.value), f"no record: {row}")
    most = math.inf if row.phase else 1  # only what moves have made may have more
    demand(0 <= row.density <= most and row.density < math.inf, f"no density: {row.density}")
