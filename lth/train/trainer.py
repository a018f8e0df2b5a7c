"""The front of training: ask the store first, train what is missing, by the device's own way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lth.data.dataset import Dataset
from lth.errors import LthError, told
from lth.imp import Cohort
from lth.networks.ticket import Ticket
from lth.recipe.recipe import Recipe
from lth.spec.build import Spec
from lth.store.entry import StoredMember
from lth.store.store import Store
from lth.train.batches import batches_of
from lth.train.check_views import check_views
from lth.train.job import Job, Streams
from lth.train.key import Identities
from lth.train.options import Listener, Options
from lth.train.pool import ENOUGH, Pool, WorkerCall
from lth.train.trainer_options import TrainerOptions, acting
from lth.train.work import Stopped, one_thread, stop_after_block, work
from lth.types import MemberId

FEW = 8
"""So many calls are worth starting workers for."""

TURNS = 5
"""How often a level is looked at again, where other jobs come between."""


class Trainer:
    """Trains cohorts: a function ``cohort -> entries`` with a store behind it."""

    def __init__(
        self,
        data: Spec,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        snapshots: Sequence[int],
        store: Store,
        options: Options,
        listener: Listener,
        identities: Identities | None = None,
    ) -> None:
        self.data, self.dataset, self.recipe, self.seed = data, dataset, recipe, seed
        self.snapshots, self.store, self.options = tuple(snapshots), store, options
        self.listener = listener
        self.identities = identities or Identities(dataset)
        self.trained: set[str] = set()
        self.reused: set[str] = set()
        self._pool: Pool | None = None
        self._told = False
        self._last: tuple[Cohort, dict[MemberId, Job]] = {}, {}
        self._viewed: set[str] = set()

    def __call__(self, cohort: Cohort) -> dict[MemberId, StoredMember]:
        """Return every member's entry; what the store lacks is trained.

        A job beside this one may publish a member without the states that this study needs, so
        what has been trained is looked at again.
        """
        jobs = self.jobs(cohort)
        entries = self.look_up(jobs)
        self.reused |= {jobs[p].key for p in entries}
        for turn in range(TURNS):
            missing = list({j.key: j for p, j in jobs.items() if p not in entries}.values())
            again = [] if not self.snapshots else self._without_snapshots(jobs, entries)
            if turn == 0:
                self.reused -= {j.key for j in again if j.replace}
                self._tell_of_curves(entries.values())
                self.listener.level(cohort, missing + again, len(jobs) - len(missing))
            if not missing + again:
                return entries
            self._run(missing + again)
            self.trained |= {j.key for j in missing + again if j.until is None}
            entries = self.look_up(jobs)
        raise LthError(
            f"{self.store.root}: other jobs keep replacing what this one trains; let them end first"
        )

    def jobs(self, cohort: Cohort) -> dict[MemberId, Job]:
        """Describe each member's training, under its key; a cohort asked about again, once."""
        if cohort is not self._last[0]:
            jobs = {place: self._job(place, ticket) for place, ticket in cohort.items()}
            self._last = cohort, jobs
        return dict(self._last[1])

    def look_up(self, jobs: Mapping[MemberId, Job]) -> dict[MemberId, StoredMember]:
        """Return the entries that the store has."""
        found = {place: self.store.get(job.key) for place, job in jobs.items()}
        return {  # a full mask is known without its names: here it has those of this study
            place: replace(entry, names=tuple(jobs[place].ticket.mask))
            for place, entry in found.items() if entry is not None
        }  # fmt: skip

    def _tell_of_curves(self, entries: Iterable[StoredMember]) -> None:
        """Say once that a curve asked for now was not taken when a member trained."""
        if self._told:
            return
        had = [{split for _, split, metric, _ in e.curve if metric == "loss"} for e in entries]
        lacking = sorted({s for splits in had for s in {*self.recipe.splits} - splits})
        if lacking:
            self._told = True
            self.listener.note(
                f"some stored members have no curve of {' and '.join(lacking)}: recipe.curves "
                "counts for what trains now; to train them anew, name another out=DIR"
            )

    def close(self) -> None:
        """End the worker processes; one that trains keeps its member's state first."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _job(self, place: MemberId, ticket: Ticket) -> Job:
        job = Job(
            ticket=ticket,
            data=self.data,
            recipe=self.recipe.for_ticket(ticket.stretch, ticket.changes, ticket.step),
            lr=ticket.changes.get("lr", place.lr),
            streams=Streams(self.seed, place.trial, place.level, ticket.noise),
            precision=str(self.options.precision),
            compile=self.options.compile,
            snapshots=self.snapshots if place.level == 0 else (),
            measure=self.recipe.loss,
            lightning=acting(self.options.lightning),
        )
        found = self.identities.of(job)
        about = _about(job) | {"identity": found.parts, "pieces": found.pieces}
        about["examples"] = self._examples(job)
        return replace(job, key=found.key, about=about | {"place": place._asdict()})

    def _examples(self, job: Job) -> dict[str, Any]:
        """Say what a member trains on: the data set, how many examples it has, how many are told.

        ``labelled`` counts those of the trial's training split whose class the member is told.
        """
        data, labelled = self.dataset, self.dataset.training
        if data.examples or job.ticket.examples:
            labelled = len(batches_of(job, data).labelled)
        return {"data": data.name, "training": data.training, "labelled": labelled}

    def _without_snapshots(
        self, jobs: Mapping[MemberId, Job], entries: Mapping[MemberId, StoredMember]
    ) -> list[Job]:
        """Jobs that make the dense run's missing states: bit-identical on a CPU, else all anew."""
        found = []
        for place, entry, lacking in self._lacking(entries):
            again = replace(jobs[place], until=max(lacking), snapshots=tuple(lacking))
            if entry.about["steps"] + entry.about["step"] < max(lacking):
                raise LthError(_stopped_before(place, entry, max(lacking)))
            anew_only = self.options.on_gpu or jobs[place].lightning
            found.append(self._anew(jobs[place], entry) if anew_only else again)
        if found and self.options.on_gpu:
            self.listener.note(
                f"{len(found)} dense members are trained again: the store has no state at "
                f"step {self.snapshots}, and a GPU does not give the same bits twice"
            )
        return found

    def _lacking(
        self, entries: Mapping[MemberId, StoredMember]
    ) -> Iterator[tuple[MemberId, StoredMember, list[int]]]:
        """Yield the dense members that lack states on the way, and the steps of these."""
        for place, entry in entries.items():
            lacking = [s for s in self.snapshots if not entry.has(s)]
            if place.level == 0 and lacking and entry.diverged is None:
                yield place, entry, lacking

    def _anew(self, job: Job, entry: StoredMember) -> Job:
        """Train a member once more, and keep the states that other studies need, too."""
        whole = {*self.snapshots, *entry.snapshots}
        return replace(job, replace=True, snapshots=tuple(sorted(whole)))

    @property
    def lightning(self) -> TrainerOptions:
        """What the user hands to Lightning's Trainer; its files lie beside the store."""
        return TrainerOptions(self.options.lightning, self.store.root.parent / "lightning")

    def _rehearse(self) -> None:
        """Make Lightning's Trainer once, so that what it refuses is refused before any work."""
        if self.options.lightning and not self.trained:
            from lth.train.fits import rehearse

            rehearse(self.lightning, str(self.options.precision))

    def _try_views(self, jobs: Sequence[Job]) -> None:
        """Try each kind of view once, so that what it cannot do is told before any work."""
        for net in (job.ticket.net for job in jobs if job.ticket.views):
            kind = repr((net.model, net.gate, net.views))
            if kind not in self._viewed:
                check_views(net)
                self._viewed.add(kind)

    def _run(self, jobs: Sequence[Job]) -> None:
        self._rehearse()
        self._try_views(jobs)
        if self.options.on_gpu:
            from lth.train.stacked import run_stacked

            with stop_after_block(self.listener.note) as stop:
                run_stacked(
                    jobs, self.dataset, self.store, self.options, self.listener, stop=stop,
                    lightning=self.lightning,
                )  # fmt: skip
            return
        pool = self._workers(jobs)
        if pool is None:
            self._run_here(jobs)
            return
        with stop_after_block(lambda _: None) as stop:
            pool.run(jobs, self.listener.step, stop, self.listener.measured)

    def call(self, calls: Sequence[WorkerCall], done: Callable[[], None]) -> bool:
        """Have workers make calls, each about a job; say whether there were workers for that.

        None are started for fewer calls than are made here while they start.
        """
        few = self._pool is None and len(calls) < FEW
        pool = None if self.options.on_gpu or few else self._workers([c.job for c in calls])
        if pool is not None:
            with stop_after_block(lambda _: None) as stop:
                pool.run(calls, lambda *_: done(), stop)
        return pool is not None

    def _workers(self, jobs: Sequence[Job]) -> Pool | None:
        """Return the worker processes, if there are any that can build what the jobs name."""
        mine = str(self.options.lightning)
        if self.options.alone or any("__main__." in str(_specs(j)) + mine for j in jobs):
            return None
        if self._pool is None:
            self._pool = Pool(
                self.options.processes, self.data, self.store.root,
                str(self.options.precision), self.lightning,
            )  # fmt: skip
        return self._pool

    def _run_here(self, jobs: Sequence[Job]) -> None:
        """Train one after the other; one that fails does not keep the others from their end."""
        from lth.train.engine import SequentialEngine

        waiting, errors = iter(jobs), list[Exception]()
        with one_thread(), stop_after_block(self.listener.note) as stop:
            while len(errors) < ENOUGH:
                try:
                    work(
                        ([job] for job in waiting), self.dataset, self.store,
                        lambda group, found: SequentialEngine(group[0], found), self.listener.step,
                        str(self.options.precision), stop=stop, lightning=self.lightning,
                        tell=self.listener.measured,
                    )  # fmt: skip
                    break
                except Stopped:
                    raise
                except Exception as error:
                    errors.append(error)
        if errors:
            raise told(errors[0]) from errors[0]


def store_at(out: Path) -> Store:
    """Return the store that the studies under ``out`` share; a folder not writable is refused."""
    root = out / "store"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise LthError(
            f"out={out}: cannot write there ({error.strerror}); name another folder with out=DIR"
        ) from None
    store = Store(root)
    store.sweep()
    return store


def _stopped_before(place: MemberId, entry: StoredMember, step: int) -> str:
    return (
        f"trainer.callbacks: they ended the dense network of trial {place.trial}, lr {place.lr:g}, "
        f"at step {entry.about['steps']}, but the study looks at its step {step}: rewind earlier, "
        "or let it train longer"
    )


def _about(job: Job) -> dict[str, Any]:
    return {"lr": job.lr, "batch": job.recipe.batch, "model": job.ticket.model}


def _specs(job: Job) -> list[Any]:
    return [job.ticket.model, job.data, job.recipe]
