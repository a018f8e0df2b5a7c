"""Which members can be stacked: one model and recipe, an optimizer that treats each entry alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lth.errors import LthError
from lth.networks.ticket import memory_key
from lth.spec.build import digest, target_of
from lth.train.job import Job
from lth.train.network import Network

ELEMENTWISE = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam")
"""Optimizers of torch.optim that treat every entry of a tensor alike and alone."""


def group_alike(jobs: Sequence[Job]) -> list[list[Job]]:
    """Group jobs that can be stacked: one model and recipe, the same first and last step."""

    def kind(job: Job) -> tuple[str, list[str], int, int, str, str]:
        return (
            memory_key(job.ticket.model), sorted(job.ticket.mask),
            job.ticket.step, job.last, digest(asdict(job.recipe)),
            digest([list(job.ticket.views.values()), job.ticket.gate, job.ticket.teacher is None]),
        )  # fmt: skip

    return [list(group) for _, group in groupby(sorted(jobs, key=kind), key=kind)]


def agrees(
    stacked: nn.Module,
    run: Callable[[Tensor], Any],
    leaves: Mapping[str, Tensor],
    alone: Network,
    inputs: Tensor,
) -> bool:
    """Whether two members in a stack have the gradients of one alone, also the second time."""
    if any(isinstance(m, nn.Embedding) and m.padding_idx is not None for m in stacked.modules()):
        return False  # a vmap gives all but the first member's padding a gradient
    for _ in range(2):
        _mean_square(run(torch.stack([inputs, inputs]))).backward()
        alone.model.train()
        _mean_square(alone(inputs)).backward()
        alone.mask_gradients()
    return all(_close(leaves[n].grad, p.grad) for n, p in alone.leaves.items())


def _mean_square(outputs: Any) -> Tensor:
    """Return a scalar that all of a network's outputs have a say in."""
    found = [o.float().square().mean() for o in tree_leaves(outputs) if isinstance(o, Tensor)]
    return torch.stack(found).sum() if len(found) > 1 else found[0]


def _close(two: Tensor | None, one: Tensor | None) -> bool:
    """Compare each of two members' gradients, of half the loss, with one's."""
    if two is None or one is None:
        return two is one
    apart = (2 * two - one).float().norm()
    return bool(apart <= 0.02 * one.float().norm() + 1e-5)


def equal_rates(jobs: Sequence[Job]) -> Iterator[tuple[int, int]]:
    """Yield where jobs of one learning rate begin and end; they come sorted by it."""
    first = 0
    for _, group in groupby(jobs, key=lambda job: job.lr):
        last = first + len(list(group))
        yield first, last
        first = last


def check_elementwise(job: Job) -> None:
    """Refuse an optimizer that mixes entries: stacked, it would mix members."""
    target = target_of(job.recipe.optimizer)
    if not target.startswith("torch.optim.") or target.rpartition(".")[2] not in ELEMENTWISE:
        raise LthError(
            f"recipe.optimizer={target}: a GPU trains stacked members, so it must be one of "
            f"{', '.join(ELEMENTWISE)}; or set trainer=cpu"
        )
