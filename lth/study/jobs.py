"""The jobs of a sweep, as files in its folder: what each was told, and what became of it.

Whoever launches them, in this process, another, or on another machine with the same disk, a job
writes ``jobs/<number>.json`` when it begins and when it ends; the sweep's table is made of these.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from lth.study.launchers import cores_of, log_of

FOLDER = "jobs"

RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped"
"""What a job is; one that is stopped goes on when it is started again."""


@dataclass(frozen=True)
class SweepJob:
    """One job: its settings, its study's folder, and what it returned to the sweeper.

    ``outcome`` is what was asked for, by trial (``lth.results.sweep.Value``); ``log`` is where it
    prints, where that is a file.
    """

    number: int
    overrides: tuple[str, ...]
    state: str = RUNNING
    begun: float = 0.0
    ended: float | None = None
    study: str | None = None
    value: float | None = None
    outcome: dict[str, Any] | None = None
    error: str | None = None
    log: str | None = None
    host: str = ""
    process: int = 0

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while it does."""
        return None if self.ended is None else self.ended - self.begun


class Result(NamedTuple):
    """What a job gave: its study's folder, the value for a sweeper, and what that is made of."""

    study: str
    value: float | None
    outcome: dict[str, Any] | None


class JobFile:
    """The file of one job of a sweep that runs here."""

    def __init__(
        self, sweep: Path, number: int, overrides: Sequence[str], log: str | None = None
    ) -> None:
        self.path = sweep / FOLDER / f"{number}.json"
        self.job = SweepJob(
            number, tuple(overrides), begun=time.time(), log=log, host=platform.node(),
            process=os.getpid(),
        )  # fmt: skip
        self._write()

    def end(self, state: str, **changes: Any) -> None:
        """Say what became of it."""
        self.job = replace(self.job, state=state, ended=time.time(), **changes)
        self._write()

    def _write(self) -> None:
        from lth.files import write_atomic  # which waits for torch, as --help need not

        text = json.dumps(asdict(self.job), indent=2, allow_nan=True)
        try:
            write_atomic(self.path, text.encode())
        except OSError:
            pass  # the study's own files say what matters; a sweep's table does without this job


class NoFile:
    """Of a job that is no sweep's."""

    def end(self, state: str, **_: Any) -> None:
        """Nothing is taken down."""


def begin_job(hydra: Mapping[str, Any], overrides: Sequence[str], trainer: Any) -> JobFile:
    """Begin the file of the job that Hydra runs here, and give the job its share of the cores.

    ``trainer.workers`` is set where it is auto, unless the job has the machine for itself.
    """
    from lth.train.options import count_cores

    launcher, about = hydra["launcher"], hydra["job"]
    cores = cores_of(launcher, count_cores())
    if cores is not None and isinstance(trainer, dict) and trainer.get("workers") == "auto":
        trainer["workers"] = cores if cores > 1 else 0
    log = log_of(launcher, about.get("id"))
    return JobFile(Path(str(hydra["sweep"]["dir"])), int(about["num"]), overrides, log)


def read_jobs(sweep: Path) -> list[SweepJob]:
    """Return the jobs of a sweep by number; a file that is not whole is left out."""
    found = []
    for path in (sweep / FOLDER).glob("*.json"):
        try:
            found.append(_read(path))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
    return sorted(found, key=lambda job: job.number)


def _read(path: Path) -> SweepJob:
    about = json.loads(path.read_text(encoding="utf-8"))  # a value may be infinite: what diverged
    names = {f.name for f in fields(SweepJob)}
    known = {k: v for k, v in about.items() if k in names}
    return SweepJob(**{**known, "overrides": tuple(map(str, about["overrides"]))})
