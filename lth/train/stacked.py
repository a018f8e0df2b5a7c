"""The GPU's way: which members are stacked, how many, and which train alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from lth.data.dataset import Dataset
from lth.errors import LthError
from lth.networks.ticket import draw_model, load_state, memory_key
from lth.spec.build import digest
from lth.store.store import Store
from lth.train.alike import agrees, group_alike
from lth.train.engine import Engine, SequentialEngine
from lth.train.exact import exact
from lth.train.habits import draws_random_numbers, habits_of
from lth.train.job import Job
from lth.train.network import Network
from lth.train.options import Listener, Options
from lth.train.trainer_options import TrainerOptions
from lth.train.vmap_engine import VmapEngine
from lth.train.work import work


def run_stacked(
    jobs: Sequence[Job],
    dataset: Dataset,
    store: Store,
    options: Options,
    listener: Listener,
    device: str = "cuda",
    stop: Callable[[], bool] = lambda: False,
    lightning: TrainerOptions | None = None,
) -> None:
    """Train all jobs in stacks of one model and step; a stack that does not fit is halved."""
    dataset = dataset.to(device)
    most = options.chunk or len(jobs)
    for waiting in group_alike(jobs):
        # a member's random numbers must not depend on its company, nor what a callback does
        limit = 1 if waiting[0].lightning or trains_alone(waiting[0], dataset) else most
        while waiting:
            chunk, rest = waiting[:limit], waiting[limit:]
            try:
                work(
                    [chunk], dataset, store, make_engine, listener.step, str(options.precision),
                    "cuda" if device == "cuda" else "cpu", stop, lightning, listener.measured,
                )  # fmt: skip
            except torch.OutOfMemoryError:
                if len(chunk) == 1:
                    raise LthError(
                        "one member alone does not fit in the GPU's memory: lower recipe.batch"
                    ) from None
                most = limit = max(1, len(chunk) // 2)
                rest = waiting
                torch.cuda.empty_cache()
                listener.note(f"{len(chunk)} members do not fit in memory; going on with {limit}")
            waiting = rest


def make_engine(jobs: Sequence[Job], dataset: Dataset) -> Engine:
    """Stack the jobs; one that cannot be stacked comes alone, and trains as on a CPU."""
    if len(jobs) == 1 and trains_alone(jobs[0], dataset):
        return SequentialEngine(jobs[0], dataset)
    return VmapEngine(jobs, dataset)


def trains_alone(job: Job, dataset: Dataset) -> bool:
    """Whether a member draws random numbers, replaces its buffers, or is not itself in a stack.

    That is tried in exact float32: else two ways to one gradient differ by what a GPU rounds off.
    """
    if draws_random_numbers(job, dataset) or habits_of(job.ticket.model, dataset).replaces:
        return True
    key = memory_key(job.ticket.model) + digest([job.ticket.views, job.ticket.gate])
    if key not in _unstackable:
        try:
            with exact():
                _unstackable[key] = not _agrees(job, dataset)
        except (LthError, torch.OutOfMemoryError):
            raise
        except Exception:  # whatever it is that a vmap does not take
            _unstackable[key] = True
    return _unstackable[key]


def _agrees(job: Job, dataset: Dataset) -> bool:
    job = replace(job, compile=None, ticket=replace(job.ticket, teacher=None))
    stack = VmapEngine([job] * 2, dataset)
    model = draw_model(job.ticket.model, 0).to(stack.device)
    load_state(model, job.ticket.plain_start)
    alone = Network(model, job.ticket.mask, job.ticket.built_views())
    inputs = dataset.prepare(dataset.train_inputs[:32])
    with torch.no_grad():  # what goes by its data, an early exit say, does so where it is measured
        stack.model.eval()
        stack._run(torch.stack([inputs, inputs]))
    return agrees(stack.model.train(), stack._run, stack.leaves, alone, inputs)


_unstackable: dict[str, bool] = {}  # a pure function's memory, nothing else
