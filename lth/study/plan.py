"""The plan: what a study would train and what the store has already, without training anything."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from lth.imp import Cohort, imp
from lth.pruning.rules import kept_by_level
from lth.store.entry import StoredMember
from lth.store.store import Store
from lth.study.setup import Setup
from lth.train.job import this_machine
from lth.types import WINNER, MemberId, PruningChain


class Silent:
    """A listener that hears nothing."""

    def level(self, cohort: Cohort, missing: Sequence[object], reused: int) -> None:
        """Hear nothing."""

    def step(self, job: object, step: int, done: bool) -> None:
        """Hear nothing."""

    def note(self, text: str) -> None:
        """Hear nothing."""


@dataclass
class Plan:
    """Members and steps to train, and the members in the store, by arm."""

    to_train: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    steps: int = 0
    bytes: int = 0
    seconds_per_step: float | None = None
    workers: int = 1

    @property
    def seconds(self) -> float | None:
        """Estimated time on this machine, None if it has measured nothing alike."""
        if self.seconds_per_step is None:
            return 0.0 if self.steps == 0 else None
        return self.steps * self.seconds_per_step / self.workers


def plan(setup: Setup) -> Plan:
    """Walk the stored chain, re-deriving masks; below a missing winner all counts as to-train."""
    store = Store(setup.out / "store")
    trainer = setup.trainer(store, Silent())
    found = Plan()
    if not setup.options.on_gpu:
        found.workers = setup.options.processes
    kept = kept_by_level(setup.parts.prune, setup.parts.layers, max(setup.parts.route, default=0))
    reached: dict[PruningChain, int] = defaultdict(
        lambda: -1
    )  # the last level whose winner is known
    over: set[PruningChain] = set()

    def look_up(cohort: Cohort) -> dict[MemberId, StoredMember]:
        jobs = trainer.jobs(cohort)
        entries = trainer.look_up(jobs)
        again: set[MemberId] = set()
        for place, job in jobs.items():
            entry = entries.get(place)
            if entry is None:
                _count(found, setup, place.arm, 1, job.steps, kept[place.level])
                continue
            found.stored[place.arm] += 1
            if place.arm == WINNER and entry.diverged is not None:
                over.add(PruningChain(place.trial, place.lr))
            elif place.level == 0:
                lacking = [s for s in setup.snapshots if not entry.has(s)]
                found.steps += max(lacking, default=0)
                again |= {place} if lacking else set()
        entries = {p: e for p, e in entries.items() if p not in again}
        for place in cohort:
            if place.arm == WINNER:
                reached[PruningChain(place.trial, place.lr)] = place.level
        return entries

    for _ in imp(setup.parts, look_up):
        pass
    for line in set(setup.parts.lines) - over:
        levels = [0, *setup.parts.route]
        for level in (n for n in levels if n > reached[line]):
            _count_level(found, setup, level, kept[level])
    found.seconds_per_step = _seconds_per_step(setup, store)
    return found


def _count_level(found: Plan, setup: Setup, level: int, kept: int) -> None:
    """Count a whole level of a line whose winner is not known yet."""
    start = getattr(setup.parts.rewind, "step", 0)
    arms = setup.parts.arms if level in setup.parts.levels else {}
    counts = {WINNER: 1} | {n: c for n, (_, c) in arms.items() if n != WINNER}
    for arm, copies in counts.items():
        steps = setup.recipe.steps - (start if arm == WINNER else 0)
        _count(found, setup, arm, copies, steps, kept)


def _count(found: Plan, setup: Setup, arm: str, members: int, steps: int, kept: int) -> None:
    found.to_train[arm] += members
    found.steps += members * steps
    # start and final weights in float32, a bit of mask per weight, and the JSON beside them
    found.bytes += members * (8 * kept + setup.parts.layers.total // 8 + 20_000)


def _seconds_per_step(setup: Setup, store: Store) -> float | None:
    """Return the median over members of the same model and batch that this machine has trained."""
    wanted = {"model": setup.parts.model, "batch": setup.recipe.batch, "machine": this_machine()}
    speeds = [
        about["seconds"] / about["steps"]
        for about in store.abouts()
        if about.get("steps") and all(about.get(k) == v for k, v in wanted.items())
    ]
    return median(speeds) if speeds else None
