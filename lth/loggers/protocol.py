"""What a logger is: someone who is told the records of a study as they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lth.records.record import Record


class Logger(Protocol):
    """Told of a study once; of one that has nothing new to tell, it is not started."""

    def start(self, name: str, group: str | None, config: dict[str, Any], folder: Path) -> None:
        """A study begins, its files under ``folder``."""
        ...

    def log(self, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Take the study's rows of a level; the first call brings those of the levels above."""
        ...

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path] = (),
    ) -> list[str]:
        """Take the whole tables and the figures; return lines for the user."""
        ...

    def abort(self) -> None:
        """Close after an error or an interruption, keeping what was logged; may come unstarted."""
        ...
