"""A study's loggers: told of every record once, also of those that an earlier command trained."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lth.errors import LthError
from lth.files import write_atomic
from lth.imp import Cohort
from lth.loggers import panels
from lth.loggers.aside import Aside, Loss
from lth.loggers.chosen import loggers_of, named
from lth.loggers.look import look_at
from lth.records.record import COLUMNS, Record, table_bytes
from lth.spec.build import digest
from lth.store.entry import Point, StoredMember
from lth.store.study import Study
from lth.study.progress import Display, attempt, teller
from lth.study.setup import Setup
from lth.train.job import Job
from lth.train.options import Listener
from lth.types import WINNER, MemberId

INTERRUPTED = 30.0
"""Seconds that loggers have to close when a study is interrupted."""

SECOND = 1.0
"""Seconds over which values that are measured on the way are averaged."""


class Told(Aside):
    """One logger, and which arms of which levels it has been told of."""

    def __init__(self, name: str, logger: Any, spec: Mapping[str, Any], threaded: bool) -> None:
        super().__init__(name, logger, threaded)
        run = getattr(logger, "run_key", str)()
        self.key = digest([dict(spec), run] if run else dict(spec))
        self.cells: set[tuple[int, str]] = set()


class Logged(Listener):
    """Opens the loggers when there is something new to tell them.

    It hears of training, too. What they have to say to the user goes to the ``display``.
    """

    def __init__(self, setup: Setup, display: Display | None = None) -> None:
        self.setup, self.display = setup, display
        forks = setup.task is not None and setup.task.settings.devices > 1
        found = named(setup.logger, setup.config["logger"])
        self.loggers = [Told(n, *each, threaded=not forks) for n, each in found.items()]
        self._path = setup.folder / "logged.json"
        self._winners: dict[int, StoredMember] = {}
        self._steps: dict[str, int] = {}
        self._updates = 0
        self._fresh: dict[str, list[float]] = defaultdict(list)
        self._last = time.monotonic()

    def level(self, cohort: Cohort, missing: Sequence[Job], reused: int) -> None:
        """A level begins to train: the loggers are opened before it does."""
        if missing:
            for each in self.loggers:
                self._begin(each)
            self._steps |= {job.key: job.ticket.step for job in missing}
        self._relay()

    def step(self, job: Job, step: int, done: bool) -> None:
        """A member has reached ``step``."""
        made = step - self._steps.get(job.key, job.ticket.step)
        self._updates, self._steps[job.key] = self._updates + max(0, made), step
        self._relay()

    def measured(self, job: Job, points: Sequence[Point]) -> None:
        """A member has been measured on its way: its values go to who watches, once a second."""
        place = job.about.get("place") or {}
        several = len(self.setup.recipe.rates) > 1
        arm = panels.label(float(place.get("lr", job.lr)), str(place.get("arm", "")), several)
        last = {(split, metric): value for _, split, metric, value in points}
        for (split, metric), value in last.items():
            self._fresh[f"{split}_{metric}/{arm}"].append(value)
        if time.monotonic() - self._last >= SECOND:
            self._send()

    def saw(self, entries: Mapping[MemberId, StoredMember]) -> None:
        """Take note of a level's members: of the first winning ticket pictures are shown."""
        for member, entry in sorted(entries.items(), key=lambda item: item[0]):
            if member.arm == WINNER and member.phase == 0:
                self._winners.setdefault(member.level, entry)

    def level_ended(self, level: int, records: Sequence[Record], curves: Sequence[Record]) -> None:
        """Take a level of a run that trains: the whole study's rows, so that means are of all.

        The first call brings the levels above, too.
        """
        self._send()
        last = {name: len(m.lengths) for name, m in self.setup.parts.methods.items()}
        ready = [r for r in records if r.level <= level and r.phase == last.get(r.arm, r.phase)]
        cells = {(r.level, r.arm) for r in ready}
        for each in self.loggers:
            self._begin(each)
            self._tell(each, cells, records, curves)
        self._relay()

    def finish(
        self,
        records: Sequence[Record],
        curves: Sequence[Record],
        figures: Sequence[Path],
        tickets: Sequence[Path],
        analysis: Sequence[Path] = (),
    ) -> list[str]:
        """Log what is not logged yet, and close; return lines for the user."""
        state, marks, lines = _digest(records), self._marks(), list[str]()
        for each in self.loggers:
            if not each.open and not analysis and marks.get(each.key) == state:
                lines.append(f"logged:  nothing new; {each.name} was told of all of it")
                continue
            self._begin(each)
            self._tell(each, {(r.level, r.arm) for r in records}, records, curves)
            if analysis:
                each.tell("pictures", "analysis", [*analysis])
            lines += each.finish(records, curves, figures, tickets)
            if not each.failed:
                marks[each.key] = state
                write_atomic(self._path, json.dumps(marks, indent=2).encode())
            self._relay()
        return lines

    def abort(self) -> None:
        """Close after an error or an interruption."""
        for each in self.loggers:
            each.abort(INTERRUPTED)
        self._relay()

    def _begin(self, each: Told) -> None:
        if not each.open and not each.failed:
            setup = self.setup
            each.start(setup.id, setup.config["name"], setup.config, setup.folder)

    def _tell(
        self,
        each: Told,
        cells: set[tuple[int, str]],
        records: Sequence[Record],
        curves: Sequence[Record],
    ) -> None:
        """Tell of the arms of levels that the logger has not been told of."""
        new = cells - each.cells
        each.cells |= new
        if not new:
            return
        of_new = ([r for r in rows if (r.level, r.arm) in new] for rows in (records, curves))
        each.tell("log", *of_new)
        for level in sorted(level for level, arm in new if arm == WINNER):
            entry, rows = self._winners.get(level), (r for r in records if r.level == level)
            if entry is not None:
                density = next(r.density for r in rows if r.arm == WINNER)
                each.tell("look", level, density, partial(look_at, entry))

    def _send(self) -> None:
        """Send what has been measured since the last time."""
        fresh, self._fresh, self._last = self._fresh, defaultdict(list), time.monotonic()
        if fresh:
            means = {name: sum(values) / len(values) for name, values in fresh.items()}
            for each in self.loggers:
                each.tell_if_idle("live", self._updates, means)
        self._relay()

    def _relay(self) -> None:
        for each in self.loggers:
            for line in each.said():
                if self.display is not None:
                    _say(line, self.display)

    def _marks(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}


class Heard(Listener):
    """Who listens to training: the display, and the loggers."""

    def __init__(self, display: Listener, logged: Logged) -> None:
        self._all = (display, logged)
        self.note = display.note

    def level(self, cohort: Cohort, missing: Sequence[Job], reused: int) -> None:
        """Tell both that a level begins."""
        for each in self._all:
            each.level(cohort, missing, reused)

    def step(self, job: Job, step: int, done: bool) -> None:
        """Tell both how far a member is."""
        for each in self._all:
            each.step(job, step, done)

    def measured(self, job: Job, points: Sequence[Point]) -> None:
        """Tell both what a member was measured at."""
        for each in self._all:
            each.measured(job, points)


def log_analysis(
    setup: Setup, study: Study, figures: Sequence[Path], display: Display
) -> list[str]:
    """Log a study that is stored with the figures of its analysis; return lines for the user."""
    logged = Logged(setup, display)
    if not logged.loggers:
        return []
    for place in (p for p in study.members if p.arm == WINNER and p.phase == 0):
        with suppress(LthError):  # what the store has lost, is not shown
            logged.saw({place: study.entry(**place._asdict())})
    drawn = [p for p in sorted((study.folder / "figures").glob("*.png")) if p not in figures]
    try:
        return logged.finish(study.records, study.curves, drawn, [], figures)
    except BaseException:
        logged.abort()
        raise


def log_figures(
    config: Mapping[str, Any], folder: Path, figures: Sequence[Path], tables: Sequence[str],
    display: Display,
) -> None:  # fmt: skip
    """Log what an action has drawn of several studies, and its tables, as a run of its own.

    One that nobody would see by itself, kept offline for want of an account, is not made unasked.
    """
    what, spec = folder.parent.name, config["logger"]
    files = {Path(name).stem: folder / name for name in tables}
    for name, (logger, _) in attempt("logger", lambda: _watching(spec), {}, display).items():
        why = attempt("logger", getattr(logger, "unseen", str), "", display)
        if why:
            display.note(f"{name}: not logged ({why}); logger.mode=offline keeps it")
            continue
        aside = Aside(name, logger)
        aside.start(f"{what}-{folder.name}", what, dict(config), folder)
        aside.tell("pictures", what, [*figures], files)
        lines = aside.finish([], [], [])
        for line in aside.said():
            _say(line, display)
        for line in lines:
            display.say(line)


def _say(line: str, display: Display) -> None:
    """Say a line; that a logger failed, where nothing is displayed, as a warning that kills not."""
    if not isinstance(line, Loss):
        display.note(line)
        return
    try:
        teller(display)(line)
    except Warning:  # they are errors here, but this is none of training's
        print(line, file=sys.stderr)


def _watching(spec: Any) -> dict[str, tuple[Any, Any]]:
    found = named(loggers_of(spec), spec)
    return {name: pair for name, pair in found.items() if hasattr(pair[0], "pictures")}


def _digest(records: Sequence[Record]) -> str:
    return hashlib.sha256(table_bytes(COLUMNS, records)).hexdigest()
