"""No logger: the study's own files are all there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lth.records.record import Record


class NoLogger:
    """Takes what a logger takes (``lth.loggers.protocol``), and keeps nothing."""

    def start(self, name: str, group: str | None, config: dict[str, Any], folder: Path) -> None:
        """Drop it."""

    def log(self, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Drop it."""

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path] = (),
    ) -> list[str]:
        """Return no lines."""
        return []

    def abort(self) -> None:
        """Drop it."""


def none() -> NoLogger:
    """Log nowhere."""
    return NoLogger()
