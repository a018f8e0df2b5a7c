"""Budgets of stored members: measured once, kept beside the entry, measured again where damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lth.budget.measure import measured
from lth.files import demand, parse, write_atomic
from lth.identity import Walk
from lth.records.budget import Budget
from lth.spec.build import digest
from lth.store.entry import StoredMember

NAME = "budget.json"
"""The file beside an entry's own."""


def budget_key(*given: Any) -> str:
    """Name what a budget depends on beside the member: the code that measures, and plain data."""
    return digest([Walk(measured).digest, *given])


def budget_of_stored(
    entry: StoredMember, key: str, measure: Callable[[], Budget]
) -> tuple[Budget, bool]:
    """Return the budget of a stored member, and whether it was there already.

    What is kept under another ``key``, or damaged, is measured anew.
    """
    path = entry.folder / NAME
    kept = _read(path, key)
    if kept is not None:
        return kept, True
    found = measure()
    content = {"key": key, "budget": asdict(found)}
    with suppress(OSError):  # a store that cannot be written to: it is measured again next time
        text = json.dumps(content | {"checksum": digest(content)})
        write_atomic(path, text.encode(), into=True)
    return found, False


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
