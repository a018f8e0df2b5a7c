"""Worker processes: on a CPU each trains one member at a time, on one intra-op thread.

They are spawned once, kept for the whole study, and gone with their parent. A job crosses as bytes;
what it gave goes through the store, so nothing large comes back and nothing finished is lost.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

from lth.data.own import data_of
from lth.errors import LthError
from lth.spec import Spec
from lth.train.job import Job
from lth.train.work import Report, Stopped, one_thread, work

PATIENCE = 10.0
"""Seconds a worker has to keep its member's state when the study is interrupted."""


class Pool:
    """Workers that train jobs side by side."""

    def __init__(self, workers: int, data: Spec, store: Path, precision: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._connections: list[Any] = []
        self._processes: list[Any] = []
        with _no_main_module():
            for number in range(workers):
                here, there = context.Pipe()
                process = context.Process(
                    target=_serve,
                    args=(there, self._stop, data, store, precision),
                    name=f"lth-worker-{number}",
                    daemon=True,
                )
                process.start()
                there.close()
                self._connections.append(here)
                self._processes.append(process)

    def run(self, jobs: Sequence[Job], report: Report) -> None:
        """Train all ``jobs``, the longest first; raise the first error a worker meets."""
        waiting = sorted(jobs, key=lambda job: -job.steps)[::-1]
        by_key = {job.key: job for job in jobs}
        busy = {c for c in self._connections if _give(c, waiting)}
        while busy:
            for connection in wait(busy):
                assert isinstance(connection, Connection)
                key, step, done = self._receive(connection)
                report(by_key[key], step, done)
                if done and not _give(connection, waiting):
                    busy.discard(connection)

    def close(self, interrupted: bool = False) -> None:
        """End the workers; when interrupted they keep their members' states first."""
        if interrupted:
            self._stop.set()
        for connection in self._connections:
            try:
                connection.send_bytes(b"")
            except OSError:
                pass  # it is gone already
        for process in self._processes:
            process.join(PATIENCE)
            if process.is_alive():
                process.terminate()
                process.join(PATIENCE)
        for connection in self._connections:
            connection.close()

    def _receive(self, connection: Connection) -> tuple[str, int, bool]:
        try:
            kind, *content = connection.recv()
        except (EOFError, ConnectionResetError):
            process = self._processes[self._connections.index(connection)]
            process.join(PATIENCE)
            raise LthError(
                f"{process.name} died (exit code {process.exitcode}; -9 is often a lack of "
                "memory): what it had trained is kept; run again, with fewer trainer.workers"
            ) from None
        if kind == "refused":
            raise LthError(content[0])
        if kind == "failed":
            raise RuntimeError(f"a worker failed:\n{content[0]}")
        return content[0], content[1], content[2]


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _give(connection: Any, waiting: list[Job]) -> bool:
    if not waiting:
        return False
    # plain pickle: torch's own moves tensors through shared memory, often tiny in containers
    try:
        connection.send_bytes(pickle.dumps(waiting[-1]))
        waiting.pop()
    except BrokenPipeError:
        pass  # it has died; what it has to say of that is still to be received
    return True


def _serve(connection: Connection, stop: Any, data: Spec, root: Path, precision: str) -> None:
    """Run in a worker: take jobs until told to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_follow_parent, daemon=True).start()

    def jobs() -> Iterator[list[Job]]:
        while content := connection.recv_bytes():
            job: Job = pickle.loads(content)
            check_same(job, identities.of(job))
            yield [job]

    def report(job: Job, step: int, done: bool) -> None:
        connection.send(("step", job.key, step, done))

    try:
        from lth.store import Store
        from lth.train.engine import InTurn
        from lth.train.key import Identities, check_same

        with one_thread():
            dataset = data_of(data, quiet=True)
            identities = Identities(dataset)
            work(
                jobs(), dataset, Store(root), lambda group, found: InTurn(group[0], found),
                report, precision, stop=stop.is_set,
            )  # fmt: skip
    except (Stopped, EOFError, BrokenPipeError):
        pass
    except LthError as error:
        connection.send(("refused", str(error)))
    except BaseException:
        connection.send(("failed", traceback.format_exc()))
    connection.close()
    os._exit(0)  # all it made is in the store; taking torch down would cost a second


def _follow_parent() -> NoReturn:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep spawned workers from running the user's script again: they import all by name.

    Nor must they be told of a launcher's own way to start processes, which they do not know.
    """
    method = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    main = sys.modules["__main__"]
    hidden = {n: main.__dict__.pop(n) for n in ("__file__", "__spec__") if n in main.__dict__}
    main.__dict__["__spec__"] = None
    try:
        yield
    finally:
        main.__dict__.pop("__spec__")
        main.__dict__.update(hidden)
        try:
            multiprocessing.set_start_method(method, force=True)
        except ValueError:
            pass  # the launcher's (joblib's loky), known only to the launcher
