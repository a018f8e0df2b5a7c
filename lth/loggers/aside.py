"""A logger in a thread of its own: whatever it does, training neither waits for it nor fails."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from lth.loggers.protocol import Logger

PATIENCE = 600.0
"""Seconds that a logger has, at the end of a study, for what it has still to do."""

MOST_WAITING = 100
"""Calls that may wait before what is measured on the way is left out."""

LOOK = 0.05
"""Seconds between looks whether it is done, so that an interruption is heard."""

Call = tuple[str, tuple[Any, ...]]


class Loss(str):
    """A line that tells that a logger has failed."""


class Aside:
    """Tells a logger beside the work; where it fails, it says so in a line and tells no more.

    ``threaded=False`` tells it in this thread: for who starts processes by forking.
    """

    def __init__(self, name: str, logger: Logger, threaded: bool = True) -> None:
        self.name, self.logger, self.failed = name, logger, False
        self.open = False
        self._threaded = threaded
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lines: list[str] = []

    def start(self, *about: Any) -> None:
        """Begin a study.

        A logger's ``load`` imports what it needs here, in the study's thread: two threads that
        import modules of one library at a time can each wait for the other, and Python then raises
        in either.
        """
        self.open = True
        try:
            getattr(self.logger, "load", lambda: None)()
        except (Exception, SystemExit) as error:
            self._fail("load", error)
        self.tell("start", *about)

    def tell(self, method: str, *arguments: Any) -> None:
        """Call a method of the logger, if it has it, when what came before is done."""
        if self.failed or not self.open or not hasattr(self.logger, method):
            return
        if not self._threaded:
            self._call(method, arguments)
            return
        if self._thread is None:
            name = f"lth-logger-{self.name}"
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._thread.start()
        self._calls.put((method, arguments))

    def tell_if_idle(self, method: str, *arguments: Any) -> None:
        """Call a method unless the logger is behind already: it must not get further behind."""
        if self._calls.qsize() < MOST_WAITING:
            self.tell(method, *arguments)

    def finish(self, *arguments: Any) -> list[str]:
        """Tell of the end, wait until all is told, and return the logger's lines for the user."""
        self.tell("finish", *arguments)
        self._close(PATIENCE)
        return [] if self.failed else self._lines

    def abort(self, seconds: float = PATIENCE) -> None:
        """End after an error or an interruption; wait no longer than so many seconds."""
        self.tell("abort")
        self._close(seconds)

    def said(self) -> list[str]:
        """Return the lines for the user that have come since the last look."""
        found = []
        while not self._said.empty():
            found.append(self._said.get())
        return found

    def _close(self, seconds: float) -> None:
        thread, self._thread, self.open = self._thread, None, False
        if thread is None:
            return
        self._calls.put(None)
        for _ in range(int(seconds / LOOK)):
            thread.join(LOOK)
            if not thread.is_alive():
                return
        self.failed = True
        self._said.put(
            Loss(f"logger {self.name}: it has not ended in {seconds:.0f} s; it is left alone")
        )

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if not self.failed:
                self._call(*call)

    def _call(self, method: str, arguments: Sequence[Any]) -> None:
        try:
            found = getattr(self.logger, method)(*arguments)
            if method == "start":
                for line in found or ():
                    self._said.put(line)
            elif method == "finish":
                self._lines = list(found or ())
        except BaseException as error:  # also SystemExit, as some raise without a network
            self._fail(method, error)
            if not self._threaded and not isinstance(error, Exception):
                raise

    def _fail(self, method: str, error: BaseException) -> None:
        """Say that the logger is left out, and close it."""
        self.failed = True
        words = f"logger: left out ({_words(error)}); the study goes on without {self.name}"
        self._said.put(Loss(f"{words}, the records are complete"))
        if method != "abort":
            _quietly(getattr(self.logger, "abort", lambda: None))


def _words(error: BaseException) -> str:
    """Say kind and reason: the first line, and of a setting that does not fit which it is, too."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    count = 3 if "validation error" in lines[0] else 1  # as pydantic words it
    return f"{type(error).__name__}: {' '.join(line.strip() for line in lines[:count])}"


def _quietly(call: Callable[[], Any]) -> None:
    try:
        call()
    except BaseException:  # it has been told of once
        return
