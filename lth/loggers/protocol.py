"""What a logger is: someone who is told the records of a study as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lth.loggers.look import Look
from lth.records.record import Record


class Logger(Protocol):
    """Told of a study once; of one that has nothing new to tell, it is not started.

    It is called in a thread of its own (lth/loggers/aside.py): it may take its time, and what it
    raises costs one line and no study.
    """

    def start(
        self, name: str, group: str | None, config: dict[str, Any], folder: Path
    ) -> list[str] | None:
        """A study begins, its files under ``folder``; lines that are returned are said at once."""
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


class Watching(Logger, Protocol):
    """A logger that is told more: each method more is optional, and looked for by its name."""

    def load(self) -> None:
        """Import the libraries it needs: called first, and in the study's own thread."""
        ...

    def live(self, updates: int, values: Mapping[str, float]) -> None:
        """Take what is measured while a level trains, by ``<split>_<metric>/<arm>``.

        ``updates`` counts those of all members that this command trains. Values of one second are
        averaged; where the logger is slow, some are left out.
        """
        ...

    def look(self, level: int, density: float, at: Callable[[], Look | None]) -> None:
        """Look at the first trial's winning ticket of a level: ``at()`` reads it from the store."""
        ...

    def run_key(self) -> str:
        """Name the run that the environment asks for; what another run was told, this was not."""
        ...
