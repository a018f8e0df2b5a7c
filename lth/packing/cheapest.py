"""The cheapest of several ways to code a thing, found by trying them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from lth.errors import LthError
from lth.files import demand
from lth.packing.adaptive import choice
from lth.packing.coder import Coder, Recorder

T = TypeVar("T")

CODINGS = ("cheapest", "huffman", "arithmetic")
"""Which entropy codes may be used."""


class Unfit(Exception):
    """A way to code something does not fit it."""


def cheapest(coder: Coder, ways: Sequence[Callable[[Coder], T]]) -> T:
    """Code by the way that takes the fewest bits, the first of equals, and which one it is.

    A way that does not fit what is given raises ``Unfit`` as it writes.
    """
    if not isinstance(coder, Recorder):
        return ways[choice(coder, len(ways))](coder)
    tried: list[tuple[int, int, Recorder, T]] = []
    for number, way in enumerate(ways):
        trial = Recorder(coder.coding)
        try:
            found = way(trial)
        except Unfit:
            continue
        tried.append((trial.cost, number, trial, found))
    if not tried:
        raise Unfit
    _, number, best, found = min(tried, key=lambda t: t[:2])
    choice(coder, len(ways), number)
    coder.add(best)
    return found


def check_coding(coding: str) -> str:
    """Refuse an unknown entropy code."""
    if coding not in CODINGS:
        raise LthError(f"pack: coding={coding}: it is one of {', '.join(CODINGS)}")
    return coding


def needs(coder: Coder, coding: str) -> None:
    """Say that a way is of one entropy code, where another was asked for."""
    if isinstance(coder, Recorder) and coder.coding not in (coding, "cheapest"):
        raise Unfit


def within(coder: Coder, holds: bool) -> None:
    """Say that a way does not fit what is too large for it; a file that says so is damaged."""
    if isinstance(coder, Recorder):
        fits(holds)
    demand(holds, "it is too large to be coded so")


def fits(holds: bool) -> None:
    """Say that a way does not fit where something does not hold."""
    if not holds:
        raise Unfit
