"""How long training takes here: a few updates and measurements of the study itself, timed."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from lth.errors import LthError
from lth.imp import dense
from lth.store.entry import TrainResult, write_entry
from lth.store.store import Store
from lth.study.setup import Setup
from lth.train.engine import Engine
from lth.train.evaluate import EVALUATION_BATCH
from lth.train.job import Job
from lth.train.options import Listener
from lth.train.work import one_thread
from lth.types import WINNER, MemberId

LONG = 2.0
"""Seconds that updates are timed for, at least two."""


class Timing(NamedTuple):
    """Seconds of one member: per update, per example that is measured, and to store it."""

    step: float
    example: float
    member: float
    memory: int  # bytes that this process took at its most


class Work(NamedTuple):
    """What is to be timed: updates and members in all, and how many members a level has."""

    steps: int
    members: int
    levels: int


def timed(setup: Setup) -> Timing:
    """Time the dense network of the first trials, as this machine trains it.

    On a GPU as many members as the study has dense networks are stacked; on a CPU one trains on one
    core, as each of the workers does.
    """
    if setup.task is not None:
        raise LthError(
            "plan.measure=true: not with task=lightning: train one dense network, by trials=1 "
            "levels=0, and action=plan goes by that"
        )
    jobs = _jobs(setup)
    with one_thread(), torch.autocast(
        "cuda" if setup.options.on_gpu else "cpu", torch.bfloat16,
        enabled=setup.options.precision == "bf16",
    ):  # fmt: skip
        engine = _engine(setup, jobs)
        seconds = _per_update(engine, jobs[0], setup) / len(jobs)
        example = _per_example(engine, setup) / len(jobs)
    return Timing(seconds, example, _to_store(setup, jobs[0]), _memory())


def seconds_of(work: Work, timing: Timing, setup: Setup, workers: int) -> float:
    """Return how long the work takes on so many workers.

    ``steps * step + examples * example + members * member``, over the workers; the members of a
    level wait for its last one.
    """
    recipe, data = setup.recipe, setup.dataset
    sizes = {
        "train": data.training, "validation": data.validation, "test": len(data.test_targets),
    }  # fmt: skip
    on_the_way = sum(sizes[split] for split in recipe.splits) / recipe.eval_every
    at_the_end = 2 * sum(sizes.values())  # at early stop and at the last step
    examples = work.steps * on_the_way + work.members * at_the_end
    total = work.steps * timing.step + examples * timing.example + work.members * timing.member
    each = max(1.0, work.members / max(1, work.levels))
    return total / each * math.ceil(each / workers) if work.members else 0.0


def _jobs(setup: Setup) -> list[Job]:
    lines = setup.parts.lines if setup.options.on_gpu else setup.parts.lines[:1]
    lines = lines[: setup.options.chunk or len(lines)]
    cohort = {MemberId(*c, WINNER, 0, 0): dense(setup.parts, c) for c in lines}
    trainer = setup.trainer(Store(setup.out / "store"), Listener())
    return [replace(job, snapshots=()) for job in trainer.jobs(cohort).values()]


def _engine(setup: Setup, jobs: Sequence[Job]) -> Engine:
    from lth.train.engine import SequentialEngine

    if not setup.options.on_gpu:
        return SequentialEngine(jobs[0], setup.dataset)
    from lth.train.stacked import make_engine

    return make_engine(jobs, setup.dataset.to("cuda"))


def _per_update(engine: Engine, job: Job, setup: Setup) -> float:
    last = setup.recipe.steps
    if last <= job.ticket.step:
        return 0.0

    def advance(count: int) -> None:
        for _ in range(count):  # the same updates again, where the run has few
            engine.advance(job.ticket.step, job.ticket.step + 1, lambda loss: loss.backward())

    advance(1)  # the first one draws memory
    return _timed(advance, setup)


def _per_example(engine: Engine, setup: Setup) -> float:
    rows = min(EVALUATION_BATCH, len(setup.dataset.test_targets))
    inputs = setup.dataset.test_inputs[:rows]
    device = "cuda" if setup.options.on_gpu else "cpu"
    engine.module(0).eval()

    def measure(count: int) -> None:
        with torch.no_grad():
            for _ in range(count):
                engine.outputs(setup.dataset.prepare(inputs).to(device))

    return _timed(measure, setup) / rows


def _timed(run: Callable[[int], None], setup: Setup) -> float:
    """Return the seconds of one run of many: twice as many, until they take long enough."""
    count = 1
    while True:
        begun = time.perf_counter()
        run(count)
        if setup.options.on_gpu:
            torch.cuda.synchronize()
        took = time.perf_counter() - begun
        if took >= LONG / 2 or count >= 1 << 20:
            return took / count
        count *= 2


def _to_store(setup: Setup, job: Job) -> float:
    """Write what one member would leave, once."""
    start = job.ticket.start
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        write_entry(Path(folder), TrainResult(start=start, final=start, mask=job.ticket.mask))
        return time.perf_counter() - begun


def _memory() -> int:
    """Return the most bytes that this process has held, 0 where the system does not say."""
    try:
        import resource
        import sys

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    except ImportError:
        return 0
