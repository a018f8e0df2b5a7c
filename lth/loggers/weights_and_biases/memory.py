"""What a run has been told: one that is resumed on a server must not be told it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lth.files import write_atomic
from lth.spec.build import digest


class Memory:
    """The rows that a run holds, in a file beside it, and how far its live axis is.

    ``begun`` is where that was when the run was opened, ``updates`` where it is.
    """

    def __init__(self, path: Path, fresh: bool) -> None:
        self._path, self.updates, self._rows = path, 0, set[str]()
        if not fresh:
            self._read()
        self.begun = self.updates

    def is_new(self, row: Mapping[str, Any]) -> bool:
        """Whether the run has not been told of a row yet; from now on it has."""
        key = digest({name: repr(value) for name, value in row.items()})[:16]
        new = key not in self._rows
        self._rows.add(key)
        return new

    def keep(self) -> None:
        """Write it, for whoever goes on with the run."""
        content = {"updates": self.updates, "rows": sorted(self._rows)}
        write_atomic(self._path, json.dumps(content).encode())

    def _read(self) -> None:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self.updates, self._rows = int(found["updates"]), {*map(str, found["rows"])}
        except (OSError, ValueError, KeyError, TypeError):
            self.updates, self._rows = 0, set()  # then it is told twice: no loss
