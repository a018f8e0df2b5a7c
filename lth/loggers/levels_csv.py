"""The CSV logger: one line per learning rate, arm and level, for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lth.measured import Measured, measured_of
from lth.records.budget import PREFIX, is_budget
from lth.records.judged import ACCURACY, judged
from lth.records.record import Record, write_table
from lth.records.statistics import EARLY, summarise

SPLITS = ("test", "validation", "train")
ASIDE = ("diverged", "training_flops", "search_flops", EARLY)
"""Metrics that have no columns of their own; early stop has them without a split."""


class CsvLogger:
    """Keeps ``levels.csv`` in the study's folder true after every level."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._records: list[Record] = []

    def start(self, name: str, group: str | None, config: dict[str, Any], folder: Path) -> None:
        """Choose the file."""
        self._path, self._records, self._measured = folder / "levels.csv", [], measured_of(config)

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
            write_levels(self._path, records, self._measured)


def csv_logger() -> CsvLogger:
    """Write ``levels.csv`` into the study's folder."""
    return CsvLogger()


def write_levels(path: Path, records: Iterable[Record], measured: Measured = ACCURACY) -> None:
    """Write ``levels_table`` as CSV."""
    write_table(path, *levels_table(records, measured))


def levels_table(
    records: Iterable[Record], measured: Measured = ACCURACY
) -> tuple[list[str], list[list[Any]]]:
    """Return a header, and one line per learning rate, arm and level.

    It holds mean, least and greatest of every metric, what is judged first, at early stop and (as
    ``_end``) at the end; of a budget what is measured, at the end alone.
    """
    records = list(records)
    metrics = dict.fromkeys(
        [judged(records, measured).metric, "loss", *(r.metric for r in records)]
    )
    names = [EARLY] + [
        f"{split}_{metric}{at}" for split in SPLITS for metric in metrics
        if metric not in ASIDE and not metric.startswith(PREFIX) for at in ("", "_end")
    ]  # fmt: skip
    names += dict.fromkeys(f"{r.split}_{r.metric}_end" for r in records if is_budget(r))
    columns = ("lr", "arm", "level", "density", "trials", "members", "diverged")
    header = [*columns, *(f"{name}_{part}" for name in names for part in ("mean", "min", "max"))]
    lines = []
    for s in summarise(records).values():
        trials = s.values[EARLY].n if s.values else 0
        values = [v for n in names for v in (s.values[n][:3] if n in s.values else [""] * 3)]
        lines.append([*s.cell, s.density, trials, s.members, s.diverged, *values])
    return header, lines
