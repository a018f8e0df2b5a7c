"""A study's logger: told of every record once, also of those that an earlier command trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from lth.files import write_atomic
from lth.loggers.none import NoLogger
from lth.records.record import COLUMNS, Record, table_bytes
from lth.spec.build import digest, target_of
from lth.study.setup import Setup


class Logged:
    """Opens the logger when there is something new to tell it."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.logger = setup, setup.logger
        self._open = False
        self._told: set[int] = set()
        self._path = setup.folder / "logged.json"
        self._key = digest(setup.config["logger"])

    def level(self, level: int, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Take a level of a run that trains: the whole study's rows, so that means are of all.

        The first call brings the levels above, too.
        """
        self._begin()
        self._tell({r.level for r in records if r.level <= level}, records, curves)

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path],
    ) -> list[str]:
        """Log what is not logged yet, and close; return lines for the user."""
        if isinstance(self.logger, NoLogger):
            return []
        state, marks = _digest(records), self._marks()
        if not self._open:
            if marks.get(self._key) == state:
                return [f"logged:  nothing new; {self._name} was told of all of it"]
            self._begin()
        self._tell({r.level for r in records}, records, curves)
        lines = self.logger.finish(records, curves, figures, tickets)
        self._open = False
        if not getattr(self.logger, "failed", False):
            write_atomic(self._path, json.dumps(marks | {self._key: state}, indent=2).encode())
        return lines

    def abort(self) -> None:
        """Close after an error or an interruption."""
        self.logger.abort()

    @property
    def _name(self) -> str:
        return target_of(self.setup.config["logger"]).rpartition(".")[2]

    def _begin(self) -> None:
        if not self._open:
            setup = self.setup
            self.logger.start(setup.id, setup.config["name"], setup.config, setup.folder)
            self._open = True

    def _tell(self, levels: set[int], records: Sequence[Record], curves: Sequence[Record]) -> None:
        new = levels - self._told
        self._told |= new
        if new:
            self.logger.log(
                [r for r in records if r.level in new], [r for r in curves if r.level in new]
            )

    def _marks(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}


def _digest(records: Sequence[Record]) -> str:
    return hashlib.sha256(table_bytes(COLUMNS, records)).hexdigest()
