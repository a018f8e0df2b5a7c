"""A cohort on its way: blocks, evaluations, early stop, divergence, snapshots, resume.

This is what every engine shares. It runs from block to block and knows no device.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from lth.data.dataset import Dataset
from lth.networks.ticket import State
from lth.recipe.evaluation import LOSS
from lth.store.entry import Point, TrainResult
from lth.store.store import Store
from lth.train.batches import blocks
from lth.train.engine import Backward, Engine
from lth.train.job import Job, this_machine
from lth.train.member import MemberProgress, check_finite, monitored, with_teacher
from lth.types import Mask, Params

MakeEngine = Callable[[Sequence[Job], Dataset], Engine]


class Cohort:
    """Members that train together: what the Lightning module's hooks call."""

    def __init__(
        self, jobs: Sequence[Job], dataset: Dataset, store: Store, make_engine: MakeEngine
    ) -> None:
        self.store = store
        jobs = [with_teacher(job, store) for job in jobs]
        self.engine = make_engine(jobs, dataset)
        self.courses = [MemberProgress(job, job.ticket.step) for job in jobs]
        self._resume()
        self._saved = time.monotonic()

    @property
    def step(self) -> int:
        """The step the cohort has reached."""
        return self.courses[0].step

    @property
    def over(self) -> bool:
        """Whether every member has ended."""
        return all(c.diverged is not None for c in self.courses) or self.step >= self._job.last

    @property
    def _job(self) -> Job:
        return self.courses[0].job

    def blocks(self) -> list[tuple[int, int]]:
        """The blocks still to run, cut at evaluations and snapshots."""
        marks = set(self._evaluations())
        for course in self.courses:
            marks |= {*course.job.snapshots, *course.masking.updates}
        return blocks(self.step, self._job.last, marks)

    def train_block(self, start: int, stop: int, backward: Backward) -> Tensor:
        """Train ``start..stop``, take snapshots; return the batch losses ``[R, stop - start]``."""
        begun = time.perf_counter()
        self._change_masks(start)
        losses = self.engine.advance(start, stop, backward)
        for course, member_losses in zip(self.courses, losses.cpu(), strict=True):
            course.step = stop
            if course.diverged is None:
                course.note_losses(start, member_losses)
        self._take_snapshots()
        self._spent(begun)
        return losses

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are measured on the way."""
        return tuple(self._job.recipe.splits) if self._job.until is None else ()

    @property
    def fresh(self) -> bool:
        """Whether the members are untrained and still to be measured."""
        return bool(self.splits) and self.step == self._job.ticket.step

    @property
    def due(self) -> bool:
        """Whether an evaluation is due at the present step."""
        return self.step in self._evaluations()

    def evaluate(self, split: str) -> list[dict[str, float]]:
        """Measure every member on a split, note it, and return it."""
        begun, values = time.perf_counter(), self.engine.evaluate(split)
        for member, measured in enumerate(values):
            course = self.courses[member]
            if course.diverged is None:
                course.note_evaluation(split, measured)
                if split == "validation" and course.diverged is None:
                    course.masking.note(self.engine, member, course.step)
                    self._keep_if_best(member, monitored(measured, self._job.recipe.monitor))
        self._spent(begun)
        return values

    def _spent(self, begun: float) -> None:
        for course in self.courses:
            course.seconds += (time.perf_counter() - begun) / len(self.courses)

    def _evaluations(self) -> list[int]:
        return (
            []
            if self._job.until is not None
            else self._job.recipe.evaluations(self._job.ticket.step)
        )

    def _change_masks(self, step: int) -> None:
        for member, course in enumerate(self.courses):
            if course.diverged is None and not course.masking.change(self.engine, member, step):
                course.diverged = step

    def _take_snapshots(self) -> None:
        for member, course in enumerate(self.courses):
            if course.step in course.job.snapshots and course.diverged is None:
                course.snapshots[course.step] = self.engine.state(member)

    def _keep_if_best(self, member: int, value: float) -> None:
        course = self.courses[member]
        if course.step < course.masking.settled:
            return  # it is denser still than what it is compared with
        better = operator.gt if self._job.recipe.higher else operator.lt
        if course.best is None or better(value, course.best[0]):  # strictly: the earliest on ties
            course.best = (value, course.step, self.engine.state(member))
            course.masking.keep_best(self.engine, member)

    def finish(self) -> list[TrainResult]:
        """Measure every member at its last step and at its early stop, on all three splits."""
        begun = time.perf_counter()
        finals = [self.engine.inference_state(m) for m in range(len(self.courses))]
        at_end = self._measure()
        early = [c.best[1] if c.best else None for c in self.courses]
        for member, course in enumerate(self.courses):
            if course.best is not None:
                course.masking.put_best(self.engine, member)
                self.engine.put(member, course.best[2])
        at_best = at_end if early == [c.step for c in self.courses] else self._measure()
        self._spent(begun)
        return [
            self._outcome(c, f, end, best)
            for c, f, end, best in zip(self.courses, finals, at_end, at_best, strict=True)
        ]

    def _measure(self) -> list[dict[str, dict[str, float]]]:
        splits = ("train", "validation", "test") if self._job.until is None else ()
        by_split = {split: self.engine.evaluate(split) for split in splits}
        return [{s: v[m] for s, v in by_split.items()} for m in range(len(self.courses))]

    def _outcome(
        self,
        course: MemberProgress,
        final: tuple[State, Mask],
        at_end: dict[str, dict[str, float]],
        at_best: dict[str, dict[str, float]],
    ) -> TrainResult:
        measured: list[Point] = []
        if course.diverged is None and course.best is not None:
            early = course.best[1]
            measured.append((early, "validation", "early_stop_step", float(early)))
            measured += _points(early, at_best)
            measured += [] if early == course.step else _points(course.step, at_end)
        job = course.job
        about = {
            **job.about,
            "ticket": job.ticket.about(),
            "step": job.ticket.step,
            "steps": course.step - job.ticket.step,
            "seconds": course.seconds,
            "machine": this_machine(),
            **course.masking.about(),
        }
        ended, mask = (None, None) if course.diverged is not None else final
        return TrainResult(
            start=job.ticket.start,
            final=ended,
            mask=job.ticket.mask,
            measured=measured,
            curve=course.curve,
            diverged=course.diverged,
            snapshots=course.snapshots,
            about=about,
            frozen=job.ticket.frozen,
            final_mask=mask if course.masking.changes else None,
        )

    def save_partial(self, every: float) -> None:
        """Keep the members' states if the last time was ``every`` seconds ago or more."""
        if time.monotonic() - self._saved < every or not self._keeps_partials:
            return
        for member, course in enumerate(self.courses):
            if course.diverged is None:
                self._save_member(member, course)
        self._saved = time.monotonic()

    @property
    def _keeps_partials(self) -> bool:  # a callback's memory would not be in them
        return self._job.until is None and not self._job.lightning

    def _save_member(self, member: int, course: MemberProgress) -> None:
        tensors = _flatten("now", self.engine.state(member))
        tensors |= {f"optimizer/{n}": t for n, t in self.engine.optimizer_state(member).items()}
        for step, state in course.snapshots.items():
            tensors |= _flatten(f"at-{step}", state)
        about: dict[str, Any] = {
            "step": course.step,
            "curve": course.curve,
            "losses": course.losses,
            "seconds": course.seconds,
            "snapshots": list(course.snapshots),
        }
        if course.best is not None:
            about["best"] = course.best[:2]
            tensors |= _flatten("best", course.best[2])
        masking = course.masking.save(self.engine, member)
        tensors, about = tensors | masking[0], about | masking[1]
        self.store.put_partial(course.job.key, tensors, about)

    def _resume(self) -> None:
        """Go on from the partial entries, if every member has one and all at the same step."""
        if not self._keeps_partials:
            return
        found = [self.store.get_partial(c.job.key) for c in self.courses]
        steps = {kept[1]["step"] for kept in found if kept is not None}
        if None in found or len(steps) != 1:
            return
        for member, (course, kept) in enumerate(zip(self.courses, found, strict=True)):
            assert kept is not None
            tensors, about = kept
            course.masking.restore(self.engine, member, tensors, about)
            self.engine.put(member, _unflatten("now", tensors))
            prefix = "optimizer/"
            slots = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            self.engine.put_optimizer_state(member, slots)
            course.step, course.losses = about["step"], about["losses"]
            course.curve = [tuple(p) for p in about["curve"]]
            course.seconds = about["seconds"]
            course.snapshots = {s: _unflatten(f"at-{s}", tensors) for s in about["snapshots"]}
            if "best" in about:
                course.best = (*about["best"], _unflatten("best", tensors))


def _points(step: int, by_split: Mapping[str, Mapping[str, float]]) -> list[Point]:
    found: list[Point] = []
    for split, values in by_split.items():
        check_finite(values)
        found += [(step, split, n, values[n]) for n in sorted(values, key=lambda n: n == LOSS)]
    return found


def _flatten(prefix: str, state: State) -> Params:
    found = {f"{prefix}/params/{n}": p for n, p in state.params.items()}
    return found | {f"{prefix}/buffers/{n}": b for n, b in state.buffers.items()}


def _unflatten(prefix: str, tensors: Params) -> State:
    def part(kind: str) -> Params:
        start = f"{prefix}/{kind}/"
        return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}

    return State(part("params"), part("buffers"))
