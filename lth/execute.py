"""Run a study: the loop, and everything that is written while it goes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lth.cost import scoring_flops, training_flops
from lth.entry import Entry, Point
from lth.errors import LthError
from lth.imp import WINNER, Cohort, Line, Place, imp
from lth.progress import Display
from lth.provenance import now, provenance
from lth.records import Record, write_atomic, write_csv
from lth.setup import Setup
from lth.statistics import level_line
from lth.study import Study, write_members
from lth.ticket import Ticket
from lth.train.trainer import Trainer, store_at
from lth.trust import targets


class AllDiverged(LthError):
    """No member of the study reached its end."""


class Journal:
    """What the loop has given so far, and the study's files that say so."""

    def __init__(self, setup: Setup, trainer: Trainer) -> None:
        self.setup, self.trainer = setup, trainer
        self.folder = setup.folder
        self.records: list[Record] = []
        self.curves: list[Record] = []
        self.members: dict[Place, str] = {}
        self.diverged: list[Place] = []
        self._trained: dict[tuple[Line, int], int] = {}
        self.about = provenance() | {"data": _about_data(setup)}

    def begin(self) -> None:
        """Write the configuration."""
        from omegaconf import OmegaConf

        text = OmegaConf.to_yaml(OmegaConf.create(self.setup.config))
        write_atomic(self.folder / "config.yaml", text.encode())

    def add(self, cohort: Cohort, entries: Mapping[Place, Entry]) -> None:
        """Take a level in, and write the files anew: a kill loses none of it."""
        jobs = self.trainer.jobs(cohort)
        for place, entry in entries.items():
            ticket = cohort[place]
            cost = training_flops(
                ticket, self.setup.dataset.input_shape, self.setup.recipe.batch, entry.about
            )
            if place.arm == WINNER:
                self._trained[Line(place.trial, place.lr), place.level] = cost
            search = self._search_flops(place, ticket) if ticket.searched else 0
            self.records += records_of(self.setup, place, ticket, entry, cost, search)
            self.curves += _rows(self.setup, place, ticket, entry, entry.curve)
            self.members[place] = jobs[place].key
            if entry.diverged is not None:
                self.diverged.append(place)
        self.write()

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
        write_csv(self.folder / "records.csv", self.records)
        write_csv(self.folder / "curves.csv", self.curves)
        write_members(self.folder / "members.csv", self.members)
        counts = {"trained": len(self.trainer.trained), "reused": len(self.trainer.reused)}
        about = self.about | counts | {"written": now(), "config": self.setup.config}
        write_atomic(self.folder / "provenance.json", json.dumps(about, indent=2).encode())


def execute(setup: Setup, display: Display) -> Journal:
    """Train what is missing, level by level, and keep the study's files true on the way."""
    store = store_at(setup.out)
    with locked(setup.folder):
        trainer = Trainer(
            setup.data, setup.dataset, setup.recipe, setup.parts.seed, setup.snapshots, store,
            setup.options, display,
        )  # fmt: skip
        journal = Journal(setup, trainer)
        journal.begin()
        display.study(setup.parts, setup.recipe.steps)
        try:
            with display:
                _go(setup, trainer, journal, display)
            trainer.close()
        except BaseException as error:
            trainer.close(interrupted=isinstance(error, KeyboardInterrupt))
            setup.logger.abort()
            raise
    return journal


def _go(setup: Setup, trainer: Trainer, journal: Journal, display: Display) -> None:
    started = False
    for cohort, entries in imp(setup.parts, trainer):
        rows, curves = len(journal.records), len(journal.curves)
        new = slice(rows, None), slice(curves, None)
        journal.add(cohort, entries)
        if not started and trainer.trained:  # a run that trains nothing opens none
            setup.logger.start(setup.id, setup.config["name"], setup.config, setup.folder)
            started, new = True, (slice(None), slice(None))
        if started:
            setup.logger.log(journal.records[new[0]], journal.curves[new[1]])
        _warn_of_divergence(entries, display)
        display.ended(level_line(journal.records[rows:]))
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
def locked(folder: Path) -> Iterator[None]:
    """Hold the study's folder; the kernel drops the lock with its owner."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise LthError(
            f"{folder}: this study is running already; wait for it to end, or set another out=DIR"
        ) from None
    except OSError as error:
        raise LthError(f"{folder}: cannot write there ({error.strerror}); set out=DIR") from None
    try:
        yield
    finally:
        lock.release()


def study_of(setup: Setup) -> Study:
    """Return the study on disk, which a run has made; it trusts what this run's user has named."""
    try:
        return Study(setup.folder, trust_in(setup.config))
    except LthError as error:
        raise LthError(f"{error}; run the study first: action=run") from None


def trust_in(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names that a user trusts by running a study of them: factories, their modules."""
    named = [t for t in targets(config) if t.split(".")[0] not in ("lth", "torch")]
    return tuple(dict.fromkeys([*named, *(t.rpartition(".")[0] for t in named if "." in t)]))


def _about_data(setup: Setup) -> dict[str, Any]:
    data = setup.dataset
    return {"name": data.name, "digest": data.digest, "note": data.note}
