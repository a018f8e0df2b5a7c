"""The CSV logger: one line per learning rate, arm and level, for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lth.records.record import Record, write_table
from lth.records.statistics import EARLY, Summary, summarise

SPLITS = ("test", "validation", "train")
MEASURES = (
    EARLY,
    *(f"{split}_{metric}{at}" for split in SPLITS for metric in ("accuracy", "loss")
      for at in ("", "_end")),
)  # fmt: skip
"""What a line holds the mean, least and greatest of: at early stop, and (``_end``) at the end."""

HEADER = (
    "lr", "arm", "level", "density", "trials", "members", "diverged",
    *(f"{name}_{part}" for name in MEASURES for part in ("mean", "min", "max")),
)  # fmt: skip


class CsvLogger:
    """Keeps ``levels.csv`` in the study's folder true after every level."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._records: list[Record] = []

    def start(self, name: str, group: str | None, config: dict[str, Any], folder: Path) -> None:
        """Choose the file."""
        self._path, self._records = folder / "levels.csv", []

    def log(self, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Write the lines of all levels so far."""
        self._records += records
        self._write(self._records)

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path] = (),
    ) -> list[str]:
        """Write the lines of the whole study; say where."""
        self._write(records)
        return [f"levels:  {self._path}"] if self._path else []

    def abort(self) -> None:
        """Keep the file as it is after the last level."""

    def _write(self, records: Sequence[Record]) -> None:
        if self._path is not None:
            write_levels(self._path, records)


def csv_logger() -> CsvLogger:
    """Write ``levels.csv`` into the study's folder."""
    return CsvLogger()


def write_levels(path: Path, records: Iterable[Record]) -> None:
    """Write one line per learning rate, arm and level."""
    write_table(path, HEADER, (_line(s) for s in summarise(records).values()))


def _line(summary: Summary) -> list[Any]:
    trials = summary.values[EARLY].n if summary.values else 0
    line = [*summary.cell, summary.density, trials, summary.members, summary.diverged]
    for name in MEASURES:
        found = summary.values.get(name)
        line += [found.mean, found.low, found.high] if found else ["", "", ""]
    return line
