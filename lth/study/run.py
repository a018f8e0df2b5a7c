"""Run a study: the loop, and everything that is written while it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from lth.errors import LthError, told
from lth.files import write_atomic
from lth.imp import Cohort, loop
from lth.interrupt import gently
from lth.measured import measured_of
from lth.moves.phases import with_phases
from lth.networks.ticket import Ticket
from lth.provenance import now, provenance
from lth.records.budget import Budget, is_budget
from lth.records.record import Record
from lth.records.teachers import taught_points
from lth.spec.trust import targets
from lth.store.entry import Point, StoredMember
from lth.store.study import Study
from lth.study.budgets import Budgets
from lth.study.costs import Costs
from lth.study.holdings import Holdings, Rows, widened
from lth.study.logged import Heard, Logged
from lth.study.progress import Display
from lth.study.setup import Setup
from lth.study.telling import tell_level
from lth.train.exact import exact
from lth.train.trainer import Trainer, store_at
from lth.types import WINNER, MemberId


class AllDiverged(LthError):
    """No member of the study reached its end; ``result`` is what a sweep is told of that."""

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class Journal:
    """What the loop has given so far, beside what the study's folder held, and the files of both.

    ``seen`` are the places that this run has looked at; ``budgets`` measures what they cost.
    """

    def __init__(
        self, setup: Setup, trainer: Trainer, budgets: Budgets | None = None,
        logged: Logged | None = None,
    ) -> None:  # fmt: skip
        self.setup, self.trainer, self.budgets = setup, trainer, budgets
        self.folder = setup.folder
        arms, rates = setup.config["arms"] | setup.config["method"], setup.recipe.rates
        self.held = Holdings(setup.folder, arms, rates, setup.dataset.digest)
        self.logged = logged or Logged(setup)
        self.seen: set[MemberId] = set()
        self.diverged: list[MemberId] = []
        self._costs = Costs(setup, self.held)
        self._changed = False
        prunable = setup.parts.prune.prunable(setup.parts.layers)
        self.about = provenance() | {"data": _about_data(setup), "prunable": prunable}
        self.about["identity"] = setup.identity
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

    def add(self, cohort: Cohort, entries: Mapping[MemberId, StoredMember]) -> list[Record]:
        """Take a level in, and write the files anew: a kill loses none of it. Return its rows."""
        budgets = self.budgets.of(cohort, entries) if self.budgets else {}
        for member, entry in entries.items():
            self._add(member, entry, cohort, budgets.get(member))
        self.write()
        return [r for member in entries for r in self.held.rows[member].records]

    def _add(
        self, member: MemberId, entry: StoredMember, cohort: Cohort, budget: Budget | None
    ) -> None:
        setup, ticket = self.setup, cohort[member]
        # an arm is made of the winner of its level, a phase of what its moves looked at
        winner = ticket if member.phase else cohort[member._replace(arm=WINNER, copy=0)]
        cost, search = self._costs.of(member, winner, ticket, entry)
        asked = setup.recipe.splits  # whoever trained it may have asked for more
        curve = [p for p in entry.curve if p[1] in asked or p[2] == "batch_loss"]
        rows = records_of(setup, member, ticket, entry, cost, search)
        if budget is None:  # one of an earlier command stays, as long as it is of this member
            rows += [r for r in self.held.records_at(member, entry.key) if is_budget(r)]
        else:
            macs = (cost + search) / 2 if setup.costed else None
            points = replace(budget, search_macs=macs).points(ticket.step + entry.about["steps"])
            rows += _rows(setup, member, ticket, entry, points)
        curves = _rows(setup, member, ticket, entry, curve)
        self.held.rows[member] = Rows(rows, curves, entry.key)
        self.seen.add(member)
        if entry.diverged is not None:
            self.diverged.append(member)

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
        store.wait_for_cleaning(display.note)
        logged = Logged(setup, display)
        trainer = setup.trainer(store, Heard(display, logged))
        journal = Journal(setup, trainer, Budgets(setup, trainer, display), logged)
        journal.begin()
        for note in journal.held.notes:
            display.note(note)
        display.study(setup.parts, setup.recipe.steps)
        try:
            with gently(), display, nullcontext() if setup.task else exact():
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
    for cohort, entries in with_phases(loop(setup.parts, trainer), setup.parts, trainer):
        records = journal.add(cohort, entries)
        journal.logged.saw(entries)
        if trainer.trained:  # what a run has that trains nothing, is logged at its end
            level = max(member.level for member in cohort)
            journal.logged.level_ended(level, journal.records, journal.curves)
        tell_level(display, entries, records, journal.records, measured_of(setup.config))
    display.over()


def records_of(
    setup: Setup, place: MemberId, ticket: Ticket, entry: StoredMember, cost: int, search: int
) -> list[Record]:
    """Return the rows of one member; its training and finding its mask cost so many FLOPs."""
    step = ticket.step + entry.about["steps"]
    costs: list[Point] = [
        (step, "train", "training_flops", float(cost)),
        (step, "train", "search_flops", float(search)),
    ]
    costs = [*taught_points(ticket, entry, step), *(costs if setup.costed else [])]
    if entry.diverged is not None:
        diverged = (entry.diverged, "train", "diverged", float(entry.diverged))
        return _rows(setup, place, ticket, entry, [diverged, *costs])
    return _rows(setup, place, ticket, entry, [*entry.measured, *costs])


def _rows(
    setup: Setup, place: MemberId, ticket: Ticket, entry: StoredMember, points: list[Point]
) -> list[Record]:
    """Say where the points belong; the density is that of the network measured at the step."""
    total, at, weights = setup.parts.layers.total, entry.about.get("weights", {}), ticket.weights
    where = (setup.id, place.trial, place.copy, place.lr, place.arm, place.level)
    what = place.phase, ticket.origin.get("move", "")
    return [Record(*where, at.get(str(p[0]), weights) / total, *p, *what) for p in points]


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
    """Return the study on disk, which a run has made; it trusts what this run's user has named."""
    try:
        return Study(setup.folder, trust_in(setup.config))
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


def trust_in(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names that a user trusts by running a study of them: factories, their modules."""
    named = [t for t in targets(config) if t.split(".")[0] not in ("lth", "torch")]
    return tuple(dict.fromkeys([*named, *(t.rpartition(".")[0] for t in named if "." in t)]))


def _about_data(setup: Setup) -> dict[str, Any]:
    data = setup.dataset
    return {"name": data.name, "digest": data.digest, "note": data.note}
