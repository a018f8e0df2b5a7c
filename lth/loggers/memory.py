"""What a run has been told: one that is gone on with must not be told it again."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lth.files import write_atomic
from lth.spec.build import digest


class Memory:
    """The rows that a run holds, in a file beside it, and how far its live axis is.

    Of what was told there counts what came before step ``upto``: a run that was killed may have
    lost the rest. ``begun`` is where the live axis was when the run was opened, ``updates`` where
    it is.
    """

    def __init__(self, path: Path, upto: int = sys.maxsize) -> None:
        self._path, self.updates, self._rows = path, 0, dict[str, int]()
        if upto > 0:
            self._read(upto)
        self.begun = self.updates

    def is_new(self, row: Mapping[str, Any], step: int = 0) -> bool:
        """Whether the run has not been told of a row yet; from now on it has, at that step."""
        key = digest({name: repr(value) for name, value in row.items()})[:16]
        new = key not in self._rows
        if new:
            self._rows[key] = step
        return new

    def keep(self) -> None:
        """Write it, for whoever goes on with the run."""
        content = {"updates": self.updates, "rows": self._rows}
        write_atomic(self._path, json.dumps(content).encode())

    def _read(self, upto: int) -> None:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            rows = {str(k): int(v) for k, v in found["rows"].items()}
            self.updates = int(found["updates"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # then it is told twice: no loss
        self._rows = {key: step for key, step in rows.items() if step < upto}
