"""Worker processes: on a CPU each trains one member at a time, on one intra-op thread.

They are spawned once, kept for the whole study, and gone with their parent. A job crosses as bytes;
what it gave goes through the store, so nothing large comes back and nothing finished is lost.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn, Protocol

from lth.data.dataset import Dataset
from lth.data.own import data_of
from lth.errors import LthError, told
from lth.interrupt import held, start_tracker
from lth.spec.build import Spec
from lth.store.entry import Point
from lth.store.store import Store
from lth.train.cohort import MakeEngine
from lth.train.engine import Engine, SequentialEngine
from lth.train.job import Job
from lth.train.key import Identities, check_same
from lth.train.trainer_options import TrainerOptions
from lth.train.work import Stopped, Tell, nobody, one_thread, work

PATIENCE = 10.0
"""Seconds a worker has to keep its member's state when the study is interrupted."""

LOOK = 0.2
"""Seconds between looks whether to stop."""

ENOUGH = 3
"""Members that may fail before no further one is begun: what fails so often always does."""


class WorkerCall(Protocol):
    """Something else for a worker to do, with its data and its store: see ``Pool.run``.

    It raises nothing: what it could not do is for the process that asked to find out.
    """

    @property
    def job(self) -> Job:
        """What it is about."""
        ...

    @property
    def key(self) -> str:
        """Its name among what is asked for."""
        ...

    @property
    def steps(self) -> int:
        """How long it takes, next to others."""
        ...

    def __call__(self, dataset: Dataset, store: Store, identities: Identities) -> None:
        """Do it."""
        ...


class Pool:
    """Workers that train jobs side by side."""

    def __init__(
        self,
        workers: int,
        data: Spec,
        store: Path,
        precision: str,
        lightning: TrainerOptions | None = None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        start_tracker()
        self._processes: dict[Connection, Any] = {}
        self._heard: set[Connection] = set()  # from those that have started
        with _no_main_module(), held():  # workers never hear a signal: the parent decides
            for number in range(workers):
                here, there = context.Pipe()
                process = context.Process(
                    target=_serve,
                    args=(there, data, store, precision, lightning),
                    name=f"lth-worker-{number}",
                    daemon=True,
                )
                process.start()
                there.close()
                self._processes[here] = process

    def run(
        self,
        jobs: Sequence[Any],
        report: Callable[[Any, int, bool], None],
        stop: Callable[[], bool] = lambda: False,
        tell: Tell = nobody,
    ) -> None:
        """Train all ``jobs``, the longest first; raise the first error when the others are done.

        A job that is none but a ``WorkerCall`` is called.
        """
        waiting = sorted(jobs, key=lambda job: -job.steps)[::-1]
        by_key = {job.key: job for job in jobs}
        errors: list[LthError] = []
        # one that is starting does not read yet: a job sent to it would block, deaf to Ctrl-C
        busy = {c for c in self._processes if c not in self._heard or _give(c, waiting)}
        while busy:
            for connection in wait(busy, LOOK):
                assert isinstance(connection, Connection)
                try:
                    key, step, done, points = self._receive(connection)
                    if key:
                        tell(by_key[key], points)
                        report(by_key[key], step, done)
                except _Failed as failed:
                    errors.append(failed.error)
                    done = True
                    if failed.died:
                        busy.discard(connection)
                        continue
                if done and (len(errors) >= ENOUGH or not _give(connection, waiting)):
                    busy.discard(connection)
            if stop():
                raise Stopped
            if not waiting or len(errors) >= ENOUGH:
                busy &= self._heard
        if errors:
            raise errors[0]
        if waiting:
            raise LthError("no worker is left to train: run again, what is trained is kept")

    def close(self) -> None:
        """End the workers; one that is training keeps its member's state first."""
        for connection in self._processes:
            try:
                connection.send_bytes(b"")
            except OSError:
                pass  # it is gone already
        for connection, process in self._processes.items():
            process.join(PATIENCE if connection in self._heard else 0)
            if process.is_alive():
                process.kill()
                process.join(PATIENCE)
        for connection in self._processes:
            connection.close()

    def _receive(self, connection: Connection) -> tuple[str, int, bool, list[Point]]:
        try:
            kind, *content = connection.recv()
        except (EOFError, ConnectionResetError):
            raise _Failed(self._obituary(self._processes.pop(connection)), died=True) from None
        self._heard.add(connection)
        if kind == "failed":
            error = LthError(content[0])
            error.__cause__ = Elsewhere(content[1])
            raise _Failed(error)
        return content[0], content[1], content[2], content[3]

    def _obituary(self, process: Any) -> LthError:
        process.join(PATIENCE)
        return LthError(
            f"{process.name} died (exit code {process.exitcode}; -9 is often a lack of memory): "
            "what it had trained is kept; run again, with fewer trainer.workers"
        )


class Elsewhere(Exception):
    """What happened in a worker, with its traceback as text."""


class _Failed(Exception):
    """A member could not be trained, or its worker died."""

    def __init__(self, error: LthError, died: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.died = error, died


def _give(connection: Any, waiting: list[Any]) -> bool:
    if not waiting:
        return False
    # plain pickle: torch's own moves tensors through shared memory, often tiny in containers
    try:
        connection.send_bytes(pickle.dumps(waiting[-1]))
        waiting.pop()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has died; what it has to say of that is still to be received
    return True


def _serve(
    connection: Connection,
    data: Spec,
    root: Path,
    precision: str,
    lightning: TrainerOptions | None,
) -> None:
    """Run in a worker: take jobs until told to end; a job that fails does not end it."""
    threading.Thread(target=_follow_parent, daemon=True).start()

    idle, fresh = threading.Event(), list[Point]()

    def take() -> Iterator[list[Job]]:
        while content := connection.recv_bytes():
            idle.clear()
            given = pickle.loads(content)
            if isinstance(given, Job):
                yield [given]
            else:
                given(dataset, Store(root), identities)
                report(given, 0, True)

    def report(job: Any, step: int, done: bool) -> None:
        if done:
            idle.set()  # what the parent says from here on is the next job
        connection.send(("step", job.key, step, done, fresh))
        fresh.clear()

    def stop() -> bool:
        return not idle.is_set() and connection.poll()

    def fail(error: BaseException) -> None:
        idle.set()
        connection.send(("failed", str(told(error)), traceback.format_exc()))

    with suppress(OSError, Stopped):  # the parent is gone, or wants to stop
        try:
            connection.send(("ready", "", 0, True, []))
            jobs, dataset = take(), data_of(data, quiet=True)
            identities = Identities(dataset)
            make_engine = _checked(identities)
            while not _ended(jobs):
                try:
                    with one_thread():
                        work(
                            jobs, dataset, Store(root), make_engine, report, precision,
                            stop=stop, lightning=lightning, tell=lambda _, new: fresh.extend(new),
                        )  # fmt: skip
                except Stopped:
                    raise
                except BaseException as error:
                    fail(error)
        except Stopped:
            raise
        except BaseException as error:  # of the data
            fail(error)
    connection.close()
    os._exit(0)  # all it made is in the store; taking torch down would cost a second


def _ended(jobs: Iterator[list[Job]]) -> bool:
    return inspect.getgeneratorstate(jobs) == inspect.GEN_CLOSED  # type: ignore[arg-type]


def _checked(identities: Identities) -> MakeEngine:
    """Make engines of jobs that are here what they were where they come from."""

    def make(group: Sequence[Job], dataset: Dataset) -> Engine:
        check_same(group[0], identities.of(group[0]))
        return SequentialEngine(group[0], dataset)

    return make


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
