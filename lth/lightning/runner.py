"""The trainer of a task: members one at a time in this process, each an ordinary fit."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from lth.data.dataset import Dataset
from lth.errors import LthError, told
from lth.identity import Walk, described, structure, tensor_digest
from lth.lightning import position, task, values
from lth.lightning.fitting import fit, silence
from lth.lightning.keep_mask import KeepMask
from lth.lightning.member import Follow, History, check_snapshots
from lth.lightning.task import Task, data_of, module_of
from lth.lightning.values import at, points
from lth.lightning.watch import Watch
from lth.networks.drawn import drawing, load_state, seed_all
from lth.networks.ticket import Ticket, tensors_digest
from lth.spec.build import digest
from lth.store.entry import Point, StoredMember, TrainResult
from lth.store.store import Store
from lth.streams import stream_seed
from lth.train.job import Job, Streams, this_machine
from lth.train.key import Identities, Identity
from lth.train.options import Listener, Options
from lth.train.trainer import Trainer
from lth.train.work import Stopped, one_thread, stop_after_block
from lth.types import MemberId

EVALUATED = ("validation", "test")


class TaskIdentities(Identities):
    """Identities of a task's members: the module's code and data's content, what trains them."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.data = data_identity(task)
        self.numerics = numerics()
        self._modules: dict[float, Identity] = {}
        self._positions: dict[str, str] = {}

    def of(self, job: Job, start: str | None = None) -> Identity:
        """Return the identity of a member; ``start`` is the position that it begins at."""
        ticket, streams = job.ticket, job.streams
        module, settings = self._module(job.lr), self.task.settings
        parts: dict[str, Any] = {
            "numerics": self.numerics.parts, "data": self.data.parts, "module": module.parts,
            "lr": float(job.lr), "monitor": [settings.monitor, settings.measured.higher],
            "trainer": described(settings.counted),
            "streams": {"seed": streams.seed, "trial": streams.trial, "level": streams.level,
                        "noise": streams.noise},
            "start": tensors_digest(ticket.start.params),
            "buffers": tensors_digest(ticket.start.buffers),
            "mask": {n: tensor_digest(m) for n, m in ticket.mask.items() if not m.all()},
            "step": ticket.step,
        }  # fmt: skip
        parts |= {"position": digest(start)} if start is not None else {}
        parts |= {"frozen": tensors_digest(ticket.frozen)} if ticket.frozen else {}
        return Identity(parts, self.data.pieces | module.pieces)

    def _module(self, lr: float) -> Identity:
        """Digest the module's factory, and the module that it makes, at a rate."""
        if lr not in self._modules:
            settings, pieces = self.task.settings, dict[str, str]()
            walk = Walk(structure(module_of(settings, self.task.seed, 0, lr)))
            parts = {"factory": described(settings.at(lr), pieces), "structure": walk.digest}
            self._modules[lr] = Identity(parts, pieces | walk.pieces)
        return self._modules[lr]


def data_identity(task: Task) -> Identity:
    """Return the identity of a task's data: its code and arguments, and what its loaders give."""
    pieces = dict(task.facts.pieces)
    code = described(task.settings.data, pieces) if task.settings.data else None
    return Identity({"class": code, "content": task.facts.content}, pieces)


def numerics() -> Identity:
    """Return the identity of the code here that a member's numbers run through."""
    walk = Walk(Follow, KeepMask, position.Position, values.points, values.logged, run_member,
                measure, task.data_of, task.module_of)  # fmt: skip
    return Identity({"code": walk.digest}, walk.pieces)


class TaskTrainer(Trainer):
    """Trains a task's cohorts, or looks them up."""

    def __init__(
        self, task: Task, snapshots: Sequence[int], store: Store, options: Options,
        listener: Listener, identities: TaskIdentities,
    ) -> None:  # fmt: skip
        super().__init__(
            task.settings.data or {}, cast(Dataset, task.data), task.recipe, task.seed, snapshots,
            store, options, listener, identities,
        )  # fmt: skip
        self.task, self._own = task, identities
        self._dense: dict[tuple[int, float], StoredMember] = {}
        self._starts: dict[str, str | None] = {}

    def look_up(self, jobs: Mapping[MemberId, Job]) -> dict[MemberId, StoredMember]:
        """Return the entries that the store has; dense ones tell later levels where they begin."""
        found = super().look_up(jobs)
        self._dense |= {(p.trial, p.lr): e for p, e in found.items() if p.level == 0}
        return found

    def _tell_of_curves(self, entries: Iterable[StoredMember]) -> None:
        """Say nothing: what a module logs is what there is."""

    def _job(self, place: MemberId, ticket: Ticket) -> Job:
        job = Job(
            ticket=ticket, data=self.data, recipe=self.recipe, lr=place.lr,
            streams=Streams(self.seed, place.trial, place.level, ticket.noise),
            snapshots=self.snapshots if place.level == 0 else (),
        )  # fmt: skip
        start = self._start(place, ticket)
        found = self._own.of(job, start)
        self._starts[found.key] = start
        about = {
            "lr": job.lr, "batch": self.recipe.batch, "model": ticket.model,
            "place": place._asdict(), "identity": found.parts, "pieces": found.pieces,
        }  # fmt: skip
        return replace(job, key=found.key, about=about)

    def _start(self, place: MemberId, ticket: Ticket) -> str | None:
        """Return the position that a ticket of a later step begins at: the dense run's there."""
        if ticket.step == 0:
            return None
        dense = self._dense.get((place.trial, place.lr))
        found = {} if dense is None else dense.about.get("positions", {})
        if str(ticket.step) not in found:
            raise LthError(
                f"rewind.step={ticket.step}: the dense run of trial {place.trial} was not looked "
                "at there"
            )
        return found[str(ticket.step)]

    def _without_snapshots(
        self, jobs: Mapping[MemberId, Job], entries: Mapping[MemberId, StoredMember]
    ) -> list[Job]:
        """Dense members whose states on the way are missing train anew, to the same end."""
        return [self._anew(jobs[place], entry) for place, entry, _ in self._lacking(entries)]

    def _run(self, jobs: Sequence[Job]) -> None:
        errors = list[Exception]()
        with one_thread(), stop_after_block(self.listener.note) as stop:
            for job in jobs:
                if not job.replace and self.store.get(job.key) is not None:
                    continue  # another job has made it meanwhile
                try:
                    self._train(job, stop)
                except Stopped:
                    raise
                except Exception as error:
                    errors.append(error)
                    if len(errors) == 3:
                        break
        if errors:
            raise told(errors[0]) from errors[0]

    def _train(self, job: Job, stop: Any) -> None:
        partial, watch = self.store.root / "partial" / f"{job.key}.ckpt", Watch()

        def report(step: int) -> None:
            if points := watch.new():
                self.listener.measured(job, points)
            self.listener.step(job, step, False)

        task = replace(self.task, settings=watch.beside(self.task.settings))
        result = run_member(task, job, self._starts.get(job.key), partial, report, stop)
        self.store.publish(job.key, result, replace=job.replace)
        partial.unlink(missing_ok=True)
        self.listener.step(job, job.last, True)


def run_member(
    task: Task, job: Job, start: str | None, partial: Path, report: Any = None, stop: Any = None
) -> TrainResult:
    """Train one member of a task and measure it."""
    begun, settings, streams = time.perf_counter(), task.settings, job.streams
    split = stream_seed("split", streams.seed, streams.trial)
    with drawing(split), tempfile.TemporaryDirectory() as folder:
        module = module_of(settings, streams.seed, streams.trial, job.lr)
        load_state(module, job.ticket.start)
        data = data_of(settings, streams.seed, streams.trial)
        crossing = Path(folder) / "course.pt" if settings.devices > 1 else None
        follow = Follow(
            streams, settings.monitor, settings.measured.higher, job.snapshots, start, partial,
            crossing,
        )  # fmt: skip
        follow.report, follow.stop = report or follow.report, stop or follow.stop
        mask = KeepMask(job.ticket.mask, job.ticket.frozen)
        seed_all(split)  # what a data module draws in its setup
        fit(settings.make(callbacks=[*settings.trainer["callbacks"], mask, follow]), module, data)
        course = follow.course if crossing is None else History.read(crossing)
        check_snapshots(course, job.snapshots)
        measured = _measured(task, job, course, module, data)
    step = job.ticket.step
    about = {
        **job.about, "ticket": job.ticket.about(), "step": step, "steps": course.step - step,
        "seconds": time.perf_counter() - begun, "machine": this_machine(),
        "positions": course.positions,
    }  # fmt: skip
    ended = course.diverged is None
    return TrainResult(
        start=job.ticket.start, final=course.final if ended else None, mask=job.ticket.mask,
        measured=measured if ended else [], curve=course.curve, diverged=course.diverged,
        snapshots=course.snapshots, about=about, frozen=job.ticket.frozen,
    )  # fmt: skip


def _measured(task: Task, job: Job, course: History, module: Any, data: Any) -> list[Point]:
    """Return the values at early stop and at the end, each of the state that it is of."""
    if course.diverged is not None:
        return []
    if course.best is None or course.final is None:
        raise LthError(
            f"task.monitor={task.settings.monitor}: a whole fit has not logged it; it has logged "
            f"{', '.join(sorted(course.names)) or 'nothing'}"
        )
    early, split = course.best[1], stream_seed("split", job.streams.seed, job.streams.trial)
    found: list[Point] = [(early, "validation", "early_stop_step", float(early))]
    moments = {early: course.best[2], course.step: course.final}
    for step, state in moments.items():
        # of several ranks each has seen its part of the validation data
        whole = ("train", "validation") if task.settings.devices == 1 else ("train",)
        known = at(course.curve, step, whole)
        found += known
        load_state(module, state)
        stages = [s for s in EVALUATED if not any(p[1] == s for p in known)]
        for stage in stages:
            if task.facts.tests if stage == "test" else task.facts.validates:
                seed_all(split)
                found += points(measure(task, module, data, stage), stage, step)
    return found


def measure(task: Task, module: Any, data: Any, stage: str) -> dict[str, float]:
    """Return what a module logs over a whole split, on one device."""
    trainer = task.settings.make(devices=1, strategy="auto", callbacks=[], logger=False)
    loop = trainer.test if stage == "test" else trainer.validate
    with silence():
        loop(module, datamodule=data, verbose=False)
    return {n: float(v) for n, v in trainer.callback_metrics.items()}
