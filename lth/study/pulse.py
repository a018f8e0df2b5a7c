"""How far a level is, and a word of it in time where no live display shows it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lth.records.statistics import counted

EVERY = 25.0
"""Seconds of silence after which a log says how far it is: at least every half minute."""

WINDOW = 60.0
"""Seconds over which steps per second are taken."""

SEVERAL = 3
"""Members that are named one by one; more are summed up."""


class Pulse:
    """Calls ``tell`` in a thread of its own whenever nothing was said for so many seconds."""

    def __init__(self, tell: Callable[[], None], every: float = EVERY) -> None:
        self._tell, self._every = tell, every
        self._last = time.monotonic()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self.said()
        self._over.clear()
        self._thread = threading.Thread(target=self._run, name="lth-pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and be silent from here on."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None

    def said(self) -> None:
        """Something has been said just now."""
        self._last = time.monotonic()

    def _run(self) -> None:
        while not self._over.wait(max(0.01, self._last + self._every - time.monotonic())):
            if time.monotonic() - self._last >= self._every:
                self.said()
                self._tell()


class Pace:
    """Steps made and to make: how many a second, and how long the rest takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.done = self.total = 0
        self._marks: deque[tuple[float, int]] = deque()

    def begin(self) -> None:
        """A level begins: what lies between levels counts for no step."""
        self._marks = deque([(self._clock(), self.done)])

    def made(self, steps: int) -> None:
        """So many steps more have been made."""
        self.done += steps
        now = self._clock()
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and self._marks[1][0] < now - WINDOW:
            self._marks.popleft()

    @property
    def rate(self) -> float:
        """Steps per second of late, 0 while there are none."""
        if not self._marks:
            return 0.0
        begun, done = self._marks[0]
        return (self.done - done) / max(1e-9, self._clock() - begun)

    @property
    def words(self) -> str:
        """Say it: ``512 steps/s  4 min left``."""
        rate = self.rate
        if rate <= 0:
            return "starting"
        left = duration(max(0, self.total - self.done) / rate)
        return f"{rate:,.0f} steps/s  {left} left" if rate >= 10 else (
            f"{rate:.2g} steps/s  {left} left"
        )  # fmt: skip


def duration(seconds: float) -> str:
    """Write a time as one says it.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def members_at(members: Sequence[tuple[Mapping[str, Any], int, int]]) -> str:
    """Say which members train and where they are: (place, step, last step) of each.

    >>> members_at([({"arm": "rigl", "trial": 2}, 300, 600)])
    'rigl trial 2 step 300 of 600'
    """
    if len(members) <= SEVERAL:
        return ", ".join(
            f"{place.get('arm', 'member')} trial {place.get('trial', 0)} step {at:,} of {last:,}"
            for place, at, last in members
        )
    arms = list(dict.fromkeys(str(place.get("arm", "member")) for place, *_ in members))
    more = len(arms) - SEVERAL
    named = ", ".join(arms[:SEVERAL]) + f" and {counted(more, 'more arm')}" * (more > 0)
    least = min(members, key=lambda member: member[1])
    return f"{named}: {len(members)} members, step {least[1]:,} of {least[2]:,}"
