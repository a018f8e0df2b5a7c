"""The plan: what a study would train and what the store has already, without training anything."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import median

from lth.imp import Cohort, loop
from lth.moves.phases import begins_at, levels_of, with_phases
from lth.pruning.experiment import Experiment
from lth.pruning.rules import kept_by_level
from lth.spec.shown import html_table
from lth.store.entry import StoredMember
from lth.store.store import Store
from lth.study.setup import Setup
from lth.train.job import this_machine
from lth.train.options import Listener
from lth.types import WINNER, MemberId, PruningChain


@dataclass(repr=False)
class Plan:
    """Members and steps to train, and the members in the store, by arm.

    ``bytes`` of disk; ``seconds`` are estimated, None where nothing alike was trained here.
    """

    to_train: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    steps: int = 0
    bytes: int = 0
    seconds_per_step: float | None = None
    workers: int = 1
    on_gpu: bool = False
    measured: float | None = None
    memory: int = 0

    @property
    def seconds(self) -> float | None:
        """Estimated time on this machine, None if it has measured nothing alike."""
        if self.measured is not None:
            return self.measured
        if self.seconds_per_step is None:
            return 0.0 if self.steps == 0 else None
        return self.steps * self.seconds_per_step / self.workers

    @property
    def members(self) -> int:
        """How many members are to train."""
        return self.to_train.total()

    def __repr__(self) -> str:
        seconds = self.seconds
        time = "time unmeasured" if seconds is None else f"about {seconds:,.0f} s"
        return (
            f"Plan({self.members:,} members to train, {self.stored.total():,} in the store; "
            f"{self.steps:,} steps, {time} on {self.workers} worker(s), "
            f"{self.bytes / 1e6:,.1f} MB of disk)"
        )

    def _repr_html_(self) -> str:
        arms = self.to_train | self.stored
        rows = {a: (f"{self.to_train[a]:,}", f"{self.stored[a]:,}") for a in arms}
        return html_table(("arm", "to train", "in the store"), rows, repr(self))


def plan(setup: Setup) -> Plan:
    """Walk the stored chain, re-deriving masks; below a missing winner all counts as to-train."""
    store = Store(setup.out / "store")
    trainer = setup.trainer(store, Listener())
    planned = Plan()
    planned.on_gpu = setup.options.on_gpu
    if not planned.on_gpu:
        planned.workers = setup.options.processes
    kept = kept_by_level(setup.parts.prune, setup.parts.layers, max(setup.parts.route, default=0))
    reached: dict[PruningChain, int] = defaultdict(
        lambda: -1
    )  # the last level whose winner is known
    ended: set[tuple[PruningChain, str]] = set()
    seen: set[MemberId] = set()

    def kept_at(level: int) -> int:
        return kept[min(level, len(kept) - 1)]

    def look_up(cohort: Cohort) -> dict[MemberId, StoredMember]:
        jobs = trainer.jobs(cohort)
        entries = trainer.look_up(jobs)
        again: set[MemberId] = set()
        seen.update(jobs)
        for place, job in jobs.items():
            entry = entries.get(place)
            if entry is None:
                _count(planned, setup, place.arm, 1, job.steps, kept_at(place.level))
                continue
            planned.stored[place.arm] += 1
            chain = PruningChain(place.trial, place.lr)
            if entry.diverged is not None:
                ended.add((chain, place.arm))
            if place.level == 0 and entry.diverged is None:
                lacking = [s for s in setup.snapshots if not entry.has(s)]
                planned.steps += max(lacking, default=0)
                again |= {place} if lacking else set()
        entries = {p: e for p, e in entries.items() if p not in again}
        for place in cohort:
            if place.arm == WINNER:
                reached[PruningChain(place.trial, place.lr)] = place.level
        return entries

    for _ in with_phases(loop(setup.parts, look_up), setup.parts, look_up):
        pass
    for line in setup.parts.lines:
        levels = [0, *setup.parts.route] if (line, WINNER) not in ended else []
        for level in (n for n in levels if n > reached[line]):
            _count_level(planned, setup, level, kept[level])
        for member, steps in _phases(setup.parts, line):
            hangs = begins_at(setup.parts.methods[member.arm]) is None
            above = WINNER if hangs else member.arm
            if member not in seen and not ended & {(line, above), (line, member.arm)}:
                _count(planned, setup, member.arm, 1, steps, kept_at(member.level))
    planned.seconds_per_step = _seconds_per_step(setup, store)
    return planned


MARGIN, ROOM = 1.5, 300.0
"""What a cluster is asked for: so many times the time that is expected, and seconds to start in."""


def measure(setup: Setup, planned: Plan) -> Plan:
    """Time a few steps of the study on this machine, and say by them how long it takes."""
    from lth.study.timing import Work, seconds_of, timed

    if not planned.to_train:
        return replace(planned, measured=0.0)
    timing = timed(setup)
    levels = len({0, *setup.parts.route})
    work = Work(planned.steps, planned.to_train.total(), levels)
    seconds = seconds_of(work, timing, setup, planned.workers)
    processes = 1 if planned.workers == 1 else planned.workers + 1
    return replace(planned, measured=seconds, memory=timing.memory * processes)


def slurm_lines(planned: Plan) -> list[str]:
    """Return the lines to paste: what to ask Slurm for, of a job alone and of a sweep's."""
    if not planned.seconds:
        return []
    seconds = MARGIN * planned.seconds + ROOM
    minutes = math.ceil(seconds / 60)
    clock = f"{minutes // 60:02}:{minutes % 60:02}:00"
    asked = "--gpus=1" if planned.on_gpu else f"--cpus-per-task={planned.workers}"
    if planned.memory:
        asked += f" --mem={math.ceil(1.25 * planned.memory / 2**30)}G"
    return [
        f"for Slurm (half as long again, and five minutes): sbatch --time={clock} {asked}",
        f"or, in a sweep: hydra/launcher=slurm hydra.launcher.timeout_min={minutes}",
    ]


def _phases(experiment: Experiment, chain: PruningChain) -> Iterator[tuple[MemberId, int]]:
    """Yield what a chain's methods come to, and how long each phase is."""
    for name, method in experiment.methods.items():
        for level in levels_of(method, experiment):
            for phase, steps in enumerate(method.lengths, start=1):
                yield MemberId(*chain, name, level, 0, phase), steps


def _count_level(planned: Plan, setup: Setup, level: int, kept: int) -> None:
    """Count a whole level of a line whose winner is not known yet."""
    start = getattr(setup.parts.rewind, "step", 0)
    arms = setup.parts.arms if level in setup.parts.levels else {}
    counts = {WINNER: 1} | {n: c for n, (_, c) in arms.items() if n != WINNER}
    for arm, copies in counts.items():
        steps = setup.recipe.steps - (start if arm == WINNER else 0)
        _count(planned, setup, arm, copies, steps, kept)


def _count(planned: Plan, setup: Setup, arm: str, members: int, steps: int, kept: int) -> None:
    planned.to_train[arm] += members
    planned.steps += members * steps
    # start and final weights in float32, a bit of mask per weight, and the JSON beside them
    planned.bytes += members * (8 * kept + setup.parts.layers.total // 8 + 20_000)
    if arm == WINNER and kept == setup.parts.layers.total:  # a dense run's states on the way
        planned.bytes += members * 4 * kept * len(setup.snapshots)


def _seconds_per_step(setup: Setup, store: Store) -> float | None:
    """Return the median over members of the same model and batch that this machine has trained."""
    wanted = {"model": setup.parts.model, "batch": setup.recipe.batch, "machine": this_machine()}
    speeds = [
        about["seconds"] / about["steps"]
        for about in store.abouts()
        if about.get("steps") and all(about.get(k) == v for k, v in wanted.items())
    ]
    return median(speeds) if speeds else None
