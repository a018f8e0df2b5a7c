"""No logger: the study's own files are all there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lth.records.record import Record


class NoLogger:
    """Hears nothing."""

    def start(self, name: str, group: str | None, config: dict[str, Any], folder: Path) -> None:
        """Hear nothing."""

    def log(self, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Hear nothing."""

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path] = (),
    ) -> list[str]:
        """Say nothing."""
        return []

    def abort(self) -> None:
        """Hear nothing."""


def none() -> NoLogger:
    """Log nowhere."""
    return NoLogger()
