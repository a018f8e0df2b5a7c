"""Ctrl-C, and the SIGTERM that clusters send before they kill: one line, and nothing lost.

Whatever lies on disk is whole at any moment, so the command ends at once wherever it is; but while
a study trains (``gently``) the first signal is an exception, so that members' states are kept.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
KEPT = "what is trained is kept; the same command goes on from there"
SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """A signal came while a study trains."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _State:
    gentle = False
    quiet = False


def install(quiet: bool = False) -> None:
    """Let the command hear both signals; one that is ignored (nohup) stays so."""
    _State.quiet = quiet
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _hear)


@contextmanager
def gently() -> Iterator[None]:
    """Let the first signal be an exception; the next ends at once."""
    before, _State.gentle = _State.gentle, True
    try:
        yield
    finally:
        _State.gentle = before


@contextmanager
def held() -> Iterator[None]:
    """Hold signals back for a moment: a process that is started meanwhile never hears them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def aside() -> None:
    """Hear signals in a thread aside, for a command whose jobs run in a launcher's processes.

    Those inherit that the signals are held back, until each job hears them itself (``alone``).
    """
    if not hasattr(signal, "pthread_sigmask"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    Thread(target=_await, daemon=True).start()


def alone() -> None:
    """Hear signals as a job in a launcher's process: its parent says so, and takes it along."""
    if _State.quiet:
        return  # one process does several jobs
    install(quiet=True)
    Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _await() -> None:
    number = signal.sigwait(SIGNALS)
    for child in _children():
        with suppress(OSError):  # one that does not hear yet might wait for us for ever
            os.kill(int(child), signal.SIGTERM if _hears(child) else signal.SIGKILL)
    leave(number)


def _children() -> list[str]:
    """Return the processes that this one has started, where the system lists them."""
    threads = Path("/proc/self/task")
    with suppress(OSError):
        return [c for t in threads.iterdir() for c in (t / "children").read_text().split()]
    return []


def _hears(process: str) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    return not blocked >> (signal.SIGTERM - 1) & 1


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def start_tracker() -> None:
    """Start Python's own helper process beforehand: that lets go of signals that are held."""
    if os.name == "posix":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()


@contextmanager
def mute() -> Iterator[None]:
    """Let processes started meanwhile have no say on the terminal."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _hear(number: int, frame: FrameType | None) -> None:
    if not _State.gentle:
        leave(number)
    _State.gentle = False
    raise Interrupted(number)


def leave(number: int) -> NoReturn:
    """Say so in one line and be gone; nothing is left that would have to be tidied up."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # in the middle of a print, or closed, or nobody reads
            if select.select([], [stream], [], 0)[1]:
                stream.flush()
    with suppress(OSError):
        if os.isatty(1):
            os.write(1, SHOW_CURSOR)
        if not _State.quiet:
            os.write(2, f"{WORDS[signal.Signals(number)]}: {KEPT}\n".encode())
    os._exit(128 + number)
