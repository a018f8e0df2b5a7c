"""Where data of one's own lies, and whether it fits in memory: one line where it does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lth.errors import LthError


def place_of(path: Any, what: str, example: str) -> Path:
    """Return ``data.path``, ``~`` expanded: something that is there."""
    if path is None or path in ("", "???"):
        raise LthError(f"data.path: name the {what}, such as data.path={example}")
    if not isinstance(path, str | os.PathLike):
        raise LthError(f"data.path={path!r}: the {what} is named by text, such as {example}")
    try:
        place = Path(path).expanduser()
        there = place.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise LthError(f"data.path={path}: {error}") from None
    if not there:
        where = "" if place.is_absolute() else f" (looked from {Path.cwd()})"
        raise LthError(f"data.path={path}: no such {what}{where}")
    return place


def brief(error: BaseException | None) -> str:
    """Say what a file's or a server's error is, in a few words."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}{'...' if len(text) > 120 else ''}"


def check_memory(size: int, what: str, mend: str) -> None:
    """Refuse what this machine's memory, in bytes, cannot hold: data lies in memory as a whole."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return  # a machine that does not say
    if size > memory > 0:
        raise LthError(
            f"{what} would take {size / 2**30:,.1f} GiB of this machine's {memory / 2**30:,.1f}: "
            f"{mend}"
        )
