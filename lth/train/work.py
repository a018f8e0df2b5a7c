"""Work through cohorts in this process: a Lightning fit each, one after the other."""

from __future__ import annotations

import ctypes
import gc
import platform
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

from lth.data.dataset import Dataset
from lth.interrupt import SIGNALS
from lth.store.entry import Point
from lth.store.store import Store
from lth.train.cohort import Cohort, MakeEngine
from lth.train.job import Job
from lth.train.trainer_options import TrainerOptions

SAVE_EVERY = 120.0
"""Seconds between a member's partial entries."""

Report = Callable[[Job, int, bool], None]
"""Called as ``report(job, step, done)`` after every block."""

Tell = Callable[[Job, Sequence[Point]], None]
"""Called as ``tell(job, points)`` with the points of a member's curve that are new."""


def nobody(job: Job, points: Sequence[Point]) -> None:
    """Tell nobody what is measured on the way."""


class Stopped(Exception):
    """Training was asked to stop; the members' states are kept."""


def work(
    groups: Iterable[Sequence[Job]],
    dataset: Dataset,
    store: Store,
    make_engine: MakeEngine,
    report: Report,
    precision: str = "32",
    accelerator: str = "cpu",
    stop: Callable[[], bool] = lambda: False,
    lightning: TrainerOptions | None = None,
    tell: Tell = nobody,
) -> None:
    """Train every group of jobs as a cohort and publish its members as each ends."""
    from lth.train.fits import Fits  # Lightning takes seconds to import

    def after_block(cohort: Cohort, ended: bool) -> None:
        if ended:
            publish_members(cohort, store)
        else:
            cohort.save_partial(SAVE_EVERY)
        for course in cohort.courses:
            known = told.get(course.job.key, 0)
            told[course.job.key] = len(course.curve)
            if points := course.curve[known:]:
                tell(course.job, points)
            report(course.job, course.step, ended)
        if stop():
            if not ended:
                cohort.save_partial(0.0)
            raise Stopped

    told: dict[str, int] = {}
    if accelerator != "cpu":
        gc.collect()  # Lightning's circles hold the memory of the stack before
    fits = Fits(after_block, precision, accelerator, lightning)
    for jobs in groups:
        fits.fit(Cohort(jobs, dataset, store, make_engine))


def publish_members(cohort: Cohort, store: Store) -> None:
    """Put what the cohort gave into the store."""
    for course, outcome in zip(cohort.courses, cohort.finish(), strict=True):
        job = course.job
        if job.until is None:
            store.publish(job.key, outcome, replace=job.replace)
            continue
        entry = store.get(job.key)
        if entry is not None:
            for step, state in course.snapshots.items():
                entry.keep(step, state)


@contextmanager
def stop_after_block(note: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C or SIGTERM end the block under way and keep its members.

    So does the signal by which a job of submitit's hears that its time is nearly over.

    The next ends at once. Gives ``stop`` for ``work``. Signals reach the main thread only; where
    SIGINT is ignored (a shell's background jobs) or not Python's to handle, it stays so.
    """
    pressed: list[int] = []
    before = _handlers()

    def press(number: int, *_: object) -> None:
        pressed.append(number)
        _restore(before)
        with suppress(RuntimeError):  # it came in the middle of a print
            note("stopping after this block of steps, to keep it; Ctrl-C again stops at once")

    for number in before:
        signal.signal(number, press)
    try:
        yield lambda: bool(pressed)
    except Stopped:
        pass
    finally:
        _restore(before)
    if pressed:
        handler = before[pressed[0]]
        if callable(handler):  # the command's own, or Python's: it raises
            handler(pressed[0], None)
            raise KeyboardInterrupt
        raise SystemExit(128 + pressed[0])


def _handlers() -> dict[int, Any]:
    """Return who hears the signals that are ours to hear: none but in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in (*SIGNALS, *_requeueing())}
    deaf = (signal.SIG_IGN, None)
    return {
        n: h for n, h in found.items()
        if callable(h) or (n == signal.SIGTERM and h not in deaf)
    }  # fmt: skip


def _requeueing() -> list[int]:
    """Return the signal by which submitit is told that a job's time is nearly over, if it is.

    Its own handler requeues the job and ends it at once; here what trains is kept first.
    """
    number = getattr(signal, "SIGUSR2", None)
    if number is None:  # not on Windows
        return []
    owner = str(getattr(signal.getsignal(number), "__module__", ""))
    return [int(number)] if owner.startswith("submitit.") else []


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run with one intra-op thread (more change the bits) and leave the caller's random state."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_memory()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def keep_memory() -> None:
    """Let the C library keep freed megabytes instead of handing each back to the kernel.

    The masked weights are made anew in every step; with glibc's defaults that is a page fault per
    4 KB of them, a third of a LeNet step.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # the M_* constants of malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 64 << 20)
