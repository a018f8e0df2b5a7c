"""The one error a user is meant to read, and what others' errors say in its place."""

from __future__ import annotations

import difflib
import os
import sysconfig
import traceback
from collections.abc import Iterable

LONGEST = 1000
"""Characters of a message: whatever it quotes, a tensor or a long list, it stays a line."""


class LthError(ValueError):
    """Bad input or a broken file: one line that names the thing and the mend."""

    def __init__(self, message: object = "") -> None:
        text = " ".join(line.strip() for line in str(message).splitlines() if line.strip())
        super().__init__(text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ...")


HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
LIBRARIES = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")
)


def told(error: BaseException) -> LthError:
    """Return an error of anybody's code as ours: its kind, its first line, file and line."""
    if isinstance(error, LthError):
        return error
    lines = (line.strip() for line in str(error).splitlines())
    first = next((line for line in lines if line), "")
    kind = type(error).__name__
    return LthError(f"{kind}: {first}{where(error)}" if first else f"{kind}{where(error)}")


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, else its kind."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean x?`` if a known name is close, else the list of all."""
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def where(error: BaseException, own: bool = False) -> str:
    """Return `` (mine.py:12, in forward)``: the innermost line of a user's own, else of any's.

    Where it must be their ``own`` and there is none: nothing.
    """
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if is_own(f.filename)), None)
    if frame is None and (own or not frames):
        return ""
    frame = frame or frames[-1]
    path = os.path.relpath(frame.filename) if os.path.isabs(frame.filename) else frame.filename
    path = frame.filename if path.startswith(os.pardir) else path
    return f" ({path}:{frame.lineno}, in {frame.name})"


def is_own(file: str) -> bool:
    """Whether a file is a user's: not of this package, an installed one or Python's library."""
    if file.startswith(("<frozen", HERE)):
        return False
    parts = file.split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts:
        return False
    return not os.path.realpath(file).startswith(LIBRARIES)
