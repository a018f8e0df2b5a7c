"""Networks as they are measured: over a split, with a teacher's outputs where there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lth.data.dataset import Dataset
from lth.errors import LthError
from lth.networks.ticket import network_of
from lth.recipe.evaluation import EVALUATION_BATCH, Measures, as_floats
from lth.train.job import Job
from lth.types import Batch


def measure(
    network: Callable[[Tensor], Any],
    measures: Measures,
    dataset: Dataset,
    rows: Sequence[Tensor],
    teacher: nn.Module | None = None,
) -> dict[str, float]:
    """Return the measures of a network, as it is, over raw inputs and targets (and their rows)."""
    total: dict[str, tuple[float, float]] = {}
    with torch.no_grad():
        for parts in zip(*(part.split(EVALUATION_BATCH) for part in rows), strict=True):
            batch = taught(teacher, Batch(dataset.prepare(parts[0]), *parts[1:]))
            sums = measures(as_floats(network(batch.inputs)), batch)
            for name, (top, count) in sums.items():
                before = total.get(name, (0.0, 0.0))
                total[name] = before[0] + float(top), before[1] + float(count)
    return measures.values(total)


def teacher_of(job: Job, device: torch.device) -> nn.Module | None:
    """Return the network of a member's teacher, in evaluation mode."""
    if job.ticket.teacher is None:
        return None
    if job.teacher is None:
        raise LthError(f"teacher {job.ticket.teacher[:12]}: it has not been looked up in a store")
    network = network_of(job.teacher.model, job.teacher.baked())
    return network.to(device).eval().requires_grad_(False)


def taught(teacher: nn.Module | None, batch: Batch) -> Batch:
    """Return the batch with the teacher's outputs on it."""
    if teacher is None:
        return batch
    with torch.no_grad():
        return batch._replace(teacher=as_floats(teacher(batch.inputs)))
