"""Hydra's callback around a sweep: a folder of its own before, a table and a figure after it.

Errors of a callback are warnings to Hydra; what must stop a sweep ends the command itself.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lth.errors import LthError
from lth.study.jobs import DONE, FAILED, FOLDER, SweepJob, read_jobs
from lth.study.launchers import LOUD, kind_of

USED = ("multirun.yaml", "optimization_results.yaml", "sweep.csv")
"""What a folder holds that is a sweep's already."""

EVERY = 2.0
"""Seconds between looks at jobs that print elsewhere."""


class Sweep:
    """What Hydra calls before and after a sweep; of one run it does nothing.

    ``folder`` is the sweep's, once it has begun in this process.
    """

    folder: Path | None = None
    watch: Watch | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Give the sweep a folder of its own, and check what an optimizer needs."""
        try:
            folder = claim(Path(str(config.hydra.sweep.dir)))
            _point(config, folder)
            for line in _optimizing(config):
                print(line, flush=True)
        except LthError as error:
            _refuse(error)
        except OSError as error:
            _refuse(LthError(f"{config.hydra.sweep.dir}: cannot write there ({error.strerror})"))
        Sweep.folder = folder
        launcher: Any = OmegaConf.to_container(config.hydra.launcher, resolve=False)
        kind = kind_of(launcher)
        print(f"sweep: {folder} (jobs by {kind})", flush=True)
        if kind not in LOUD:
            _say_where(kind, config)
            Sweep.watch = Watch(folder)
            threading.Thread(target=Sweep.watch.go_on, daemon=True).start()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Show the sweep's table, and draw its figure."""
        end_sweep()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Nothing."""

    def on_run_end(self, config: DictConfig, **_: Any) -> None:
        """Nothing."""

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Nothing."""

    def on_job_end(self, config: DictConfig, **_: Any) -> None:
        """Nothing."""


def end_sweep() -> None:
    """Show the table of the sweep that this process began, once."""
    folder, Sweep.folder = Sweep.folder, None
    if folder is None:
        return
    if Sweep.watch is not None:
        Sweep.watch.over.set()
        Sweep.watch.look()
        Sweep.watch = None
    from rich.console import Console

    from lth.study.progress import Display
    from lth.study.sweep_report import report

    display = Display(Console())
    try:
        report(folder, display)
    except LthError as error:
        display.note(f"the sweep's table: {error}")


def claim(folder: Path) -> Path:
    """Make a sweep's folder, under another name where a sweep lies there already."""
    number, wanted = 1, folder
    while True:
        wanted.mkdir(parents=True, exist_ok=True)
        if not any((wanted / name).exists() for name in USED):
            try:
                (wanted / FOLDER).mkdir()  # one of several sweeps that begin at once makes it
                return wanted
            except FileExistsError:
                pass
        number += 1
        wanted = folder.with_name(f"{folder.name}-{number}")


def _point(config: DictConfig, folder: Path) -> None:
    """Let the sweep, and each of its jobs wherever it composes its configuration, use a folder."""
    escaped = str(folder).replace("'", "\\'")
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{escaped}'")


def _optimizing(config: DictConfig) -> list[str]:
    """Check what is optimized, and let optuna look for the better end of it."""
    from lth.records.objective import is_higher_better, objective_of

    values: Any = OmegaConf.to_container(config, resolve=False)
    asked = objective_of(values.get("optimize"))
    sweeper = config.hydra.sweeper
    if not str(sweeper.get("_target_", "")).endswith("OptunaSweeper"):
        return []
    wanted = "maximize" if is_higher_better(asked, values) else "minimize"
    direction = getattr(sweeper.direction, "name", sweeper.direction)
    if direction != wanted:
        given = list(config.hydra.overrides.hydra)
        if any(str(o).lstrip("+").startswith("hydra.sweeper.direction=") for o in given):
            raise LthError(
                f"hydra.sweeper.direction={direction}: {asked.words} is better the other way: "
                f"leave it out, or say {wanted}"
            )
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweeper.direction = wanted
    return [f"optuna: {wanted} {asked.words} ({sweeper.n_trials} jobs)"]


def _say_where(kind: str, config: DictConfig) -> None:
    if kind.startswith("submitit"):
        logs = str(config.hydra.launcher.submitit_folder)
        print(f"logs: {logs} (%j: the job's number; what it prints: *_log.out)", flush=True)


class Watch:
    """Says of each job that prints elsewhere when it begins and when it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.over = folder, threading.Event()
        self._seen: dict[int, str] = {}
        self._one = threading.Lock()

    def go_on(self) -> None:
        """Look again and again."""
        while not self.over.wait(EVERY):
            self.look()

    def look(self) -> None:
        """Print what is new since the last look."""
        with self._one:
            for job in read_jobs(self.folder):
                mark = f"{job.state} {job.process} {job.host}"
                if self._seen.get(job.number) != mark:
                    self._seen[job.number] = mark
                    print(told(job), flush=True)


def told(job: SweepJob) -> str:
    """Say in one line what a job is doing."""
    settings = " ".join(text.lstrip("+") for text in job.overrides)
    took = "" if job.seconds is None else f" after {job.seconds:.0f} s"
    where = f"; log: {job.log}" if job.log else ""
    if job.state == FAILED:
        return f"job {job.number}: failed{took}: {job.error}{where}"
    if job.state == DONE:
        return f"job {job.number}: done{took}" + ("" if job.study is None else f": {job.study}")
    return f"job {job.number}: {job.state}{took} on {job.host}: {settings}{where}"


def _refuse(error: LthError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr, flush=True)
    sys.exit(1)
