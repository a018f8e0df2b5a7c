"""Run a study: the loop, and everything that is written while it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lth.cost import scoring_flops, training_flops
from lth.entry import Entry, Point
from lth.errors import LthError, told
from lth.holdings import Holdings, Rows, widened
from lth.imp import WINNER, Cohort, Line, Place, imp
from lth.interrupt import gently
from lth.logged import Logged
from lth.progress import Display
from lth.provenance import now, provenance
from lth.records import Record, write_atomic
from lth.setup import Setup
from lth.statistics import level_line
from lth.study import Study
from lth.ticket import Ticket
from lth.train.trainer import Trainer, store_at


class AllDiverged(LthError):
    """No member of the study reached its end."""


class Journal:
    """What the loop has given so far, beside what the study's folder held, and the files of both.

    ``seen`` are the places that this run has looked at.
    """

    def __init__(self, setup: Setup, trainer: Trainer) -> None:
        self.setup, self.trainer = setup, trainer
        self.folder = setup.folder
        arms, rates = setup.config["arms"], setup.recipe.rates
        self.held = Holdings(setup.folder, arms, rates, setup.dataset.digest)
        self.logged = Logged(setup)
        self.seen: set[Place] = set()
        self.diverged: list[Place] = []
        self._trained: dict[tuple[Line, int], int] = {}
        self._changed = False
        self.about = provenance() | {"data": _about_data(setup)}
        self._commands = _commands(setup.folder)

    @property
    def records(self) -> list[Record]:
        """The records of the whole study."""
        return self.held.records

    @property
    def curves(self) -> list[Record]:
        """The values on the way of the whole study."""
        return self.held.curves

    def begin(self) -> None:
        """Write the configuration."""
        from omegaconf import OmegaConf

        config = widened(self.setup.config, self.folder, [WINNER, *self.held.arms])
        text = OmegaConf.to_yaml(OmegaConf.create(config))
        write_atomic(self.folder / "config.yaml", text.encode())

    def add(self, cohort: Cohort, entries: Mapping[Place, Entry]) -> list[Record]:
        """Take a level in, and write the files anew: a kill loses none of it. Return its rows."""
        jobs = self.trainer.jobs(cohort)
        for place, entry in entries.items():
            ticket = cohort[place]
            cost = training_flops(
                ticket, self.setup.dataset.input_shape, self.setup.recipe.batch, entry.about
            )
            if place.arm == WINNER:
                self._trained[Line(place.trial, place.lr), place.level] = cost
            search = self._search_flops(place, ticket) if ticket.searched else 0
            self.held.rows[place] = Rows(
                records_of(self.setup, place, ticket, entry, cost, search),
                _rows(self.setup, place, ticket, entry, entry.curve),
                jobs[place].key,
            )
            self.seen.add(place)
            if entry.diverged is not None:
                self.diverged.append(place)
        self.write()
        return [r for place in entries for r in self.held.rows[place].records]

    def _search_flops(self, place: Place, ticket: Ticket) -> int:
        """Return what finding the level's mask cost: training the line's winners, and scoring."""
        line, setup = Line(place.trial, place.lr), self.setup
        levels = setup.parts.search.trained_levels(place.level)
        cost = sum(self._trained[line, level] for level in levels)
        steps = ticket.origin.get("dense_steps")
        if steps is not None:  # an early bird leaves the dense run on its way
            cost = cost * steps // setup.recipe.steps
        elif not levels:  # a network that is not pruned at its start has been trained up to there
            cost = self._trained[line, 0] * ticket.step // setup.recipe.steps
        examples = ticket.origin.get("examples", 0)
        return cost + scoring_flops(setup.parts.model, setup.dataset.input_shape, examples)

    def write(self) -> None:
        """Write records, curves, the index of members, and the provenance."""
        self._changed |= self.held.write()
        counts = {"trained": len(self.trainer.trained), "reused": len(self.trainer.reused)}
        about = self.about | counts | {"written": now(), "config": self.setup.config}
        mine = {k: about[k] for k in ("started", "written", "command", "commit", *counts)}
        added = [mine] if self._changed or counts["trained"] else []
        about["commands"] = [*self._commands, *added]
        write_atomic(self.folder / "provenance.json", json.dumps(about, indent=2).encode())


def execute(setup: Setup, display: Display) -> Journal:
    """Train what is missing, level by level, and keep the study's files true on the way."""
    store = store_at(setup.out)
    with locked(setup.folder, display.note):
        trainer = Trainer(
            setup.data, setup.dataset, setup.recipe, setup.parts.seed, setup.snapshots, store,
            setup.options, display,
        )  # fmt: skip
        journal = Journal(setup, trainer)
        journal.begin()
        for note in journal.held.notes:
            display.note(note)
        display.study(setup.parts, setup.recipe.steps)
        try:
            with gently(), display:
                _go(setup, trainer, journal, display)
            trainer.close()
        except BaseException as error:
            trainer.close()
            journal.logged.abort()
            if isinstance(error, Exception) and not isinstance(error, LthError):
                raise told(error) from error
            raise
    return journal


def _go(setup: Setup, trainer: Trainer, journal: Journal, display: Display) -> None:
    for cohort, entries in imp(setup.parts, trainer):
        records = journal.add(cohort, entries)
        if trainer.trained:  # what a run has that trains nothing, is logged at its end
            level = max(place.level for place in cohort)
            journal.logged.level(level, journal.records, journal.curves)
        _warn_of_divergence(entries, display)
        display.ended(level_line(records))
    display.over()


def _warn_of_divergence(entries: Mapping[Place, Entry], display: Display) -> None:
    found = [(p, e.diverged) for p, e in entries.items() if e.diverged is not None]
    if found:
        (place, step), more = found[0], len(found) - 1
        display.note(
            f"diverged: {place.arm}, lr {place.lr:g}, trial {place.trial}, level {place.level}, at "
            f"step {step}" + (f", and {more} more" if more else "") + "; it is recorded as such"
        )


def records_of(
    setup: Setup, place: Place, ticket: Ticket, entry: Entry, cost: int, search: int
) -> list[Record]:
    """Return the rows of one member; its training and finding its mask cost so many FLOPs."""
    step = ticket.step + entry.about["steps"]
    costs: list[Point] = [
        (step, "train", "training_flops", float(cost)),
        (step, "train", "search_flops", float(search)),
    ]
    if entry.diverged is not None:
        diverged = (entry.diverged, "train", "diverged", float(entry.diverged))
        return _rows(setup, place, ticket, entry, [diverged, *costs])
    return _rows(setup, place, ticket, entry, [*entry.measured, *costs])


def _rows(
    setup: Setup, place: Place, ticket: Ticket, entry: Entry, points: list[Point]
) -> list[Record]:
    """Say where the points belong; the density is that of the network measured at the step."""
    total, at, weights = setup.parts.layers.total, entry.about.get("weights", {}), ticket.weights
    where = (setup.id, place.trial, place.copy, place.lr, place.arm, place.level)
    return [Record(*where, at.get(str(p[0]), weights) / total, *p) for p in points]


@contextmanager
def locked(folder: Path, note: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the study's folder; the kernel drops the lock with its owner.

    Another process that has it is waited for: what it trains need not be trained again, so a sweep
    or an array of jobs over the trials, levels or arms of one study just works.
    """
    from filelock import FileLock, Timeout

    path = folder.resolve()
    if path in _here:
        raise LthError(
            f"{folder}: this study is running already; wait for it to end, or set another out=DIR"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            note(f"{folder}: another command is running this study; waiting for it to end")
            lock.acquire(timeout=-1)
    except OSError as error:
        raise LthError(f"{folder}: cannot write there ({error.strerror}); set out=DIR") from None
    _here.add(path)
    try:
        yield
    finally:
        _here.discard(path)
        lock.release()


_here: set[Path] = set()  # what this process holds: it would wait for itself for ever


def study_of(setup: Setup) -> Study:
    """Return the study on disk, which a run has made."""
    try:
        return Study(setup.folder)
    except LthError as error:
        raise LthError(f"{error}; run the study first: action=run") from None


def _commands(folder: Path) -> list[dict[str, Any]]:
    """Return the commands that have contributed to the study, oldest first."""
    try:
        about = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        keys = ("started", "written", "command", "commit", "trained", "reused")
        return about.get("commands") or [{k: about.get(k) for k in keys}]
    except (OSError, ValueError, AttributeError):
        return []


def _about_data(setup: Setup) -> dict[str, Any]:
    data = setup.dataset
    return {"name": data.name, "digest": data.digest, "note": data.note}
