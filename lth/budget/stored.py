"""Budgets of stored members: measured once, kept beside the entry, measured again where damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path

from lth.files import demand, parse, write_atomic
from lth.records.budget import Budget
from lth.spec.build import digest
from lth.store.entry import StoredMember

NAME = "budget.json"
"""The file beside an entry's own."""


def kept_budget(entry: StoredMember, key: str) -> Budget | None:
    """Return the budget that is kept of a stored member; None where there is none, and whole."""
    return _read(entry.folder / NAME, key)


def budget_of_stored(entry: StoredMember, key: str, measure: Callable[[], Budget]) -> Budget:
    """Return the budget of a stored member; one under another ``key``, or damaged, made anew."""
    kept = kept_budget(entry, key)
    if kept is not None:
        return kept
    found = measure()
    content = {"key": key, "budget": asdict(found)}
    with suppress(OSError):  # a store that cannot be written to: it is measured again next time
        text = json.dumps(content | {"checksum": digest(content)})
        write_atomic(entry.folder / NAME, text.encode(), into=True)
    return found


def _read(path: Path, key: str) -> Budget | None:
    """Return the budget that a file keeps under a key; None where it is not there and whole."""
    try:
        content = parse(path.read_bytes())
        checksum = content.pop("checksum")
        demand(digest(content) == checksum, "its checksum does not fit")
        if content["key"] != key:
            return None
        values = content["budget"]
        demand(values.keys() == {f.name for f in fields(Budget)}, "it lacks a value")
        numbers = [v for n, v in values.items() if n != "measure" and v is not None]
        demand(all(math.isfinite(v) for v in numbers), "no number")
        return Budget(**values)
    except Exception:  # none, or whatever a damaged file makes of it
        return None
