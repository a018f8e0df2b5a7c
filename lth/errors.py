"""The one error a user is meant to read."""

from __future__ import annotations

import traceback
from pathlib import Path

LONGEST = 1000
"""Characters of a message: whatever it quotes, a tensor or a long list, it stays a line."""


class LthError(ValueError):
    """Bad input or a broken file: one line that names the thing and the mend."""

    def __init__(self, message: object = "") -> None:
        text = " ".join(line.strip() for line in str(message).splitlines() if line.strip())
        super().__init__(text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ...")


def told(error: BaseException) -> str:
    """Say in one line what an error of the user's own code was, and where: file and line."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    said = f"{type(error).__name__}: {first}" if first else type(error).__name__
    mine = Path(__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "site-packages" not in path.parts and mine not in path.parents and path.is_file():
            return f"{said} ({path.name}, line {frame.lineno})"
    return said
