"""Torch's own optimizers, as a member or a stack of them uses one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lth.recipe.recipe import optimizer_arguments
from lth.spec.build import locate, target_of
from lth.train.job import Job


def forget(where: Tensor, leaf: Tensor, slots: Mapping[str, Any]) -> None:
    """Zero a weight and its moments in place, ``where`` says so."""
    where = where.to(leaf.device)
    with torch.no_grad():
        for value in (leaf, *slots.values()):
            if isinstance(value, Tensor) and value.shape == leaf.shape:
                value.masked_fill_(where, 0.0)


def make_optimizer(job: Job, params: Sequence[Any]) -> torch.optim.Optimizer:
    """Build torch's own optimizer over ``params``; fused where it can be."""
    spec = dict(job.recipe.optimizer)
    factory, given = locate(target_of(spec)), optimizer_arguments(spec)
    fused = factory.__module__.startswith("torch.optim") and factory.__name__ in FUSED
    if fused and not {"fused", "foreach"} & given.keys():
        given["fused"] = True
    return factory(params, lr=job.lr, **given)


FUSED = ("SGD", "Adam", "AdamW", "Adagrad")


def update(optimizer: torch.optim.Optimizer) -> None:
    """Make a step, also where some parameter has its first gradient later than others.

    Torch's fused SGD fails there (it takes all momenta to be there, or none); its plain one does
    what it should, and the steps after are fused again.
    """
    mixed = [g for g in optimizer.param_groups if g.get("fused") and is_mixed(optimizer, g)]
    for group in mixed:
        group["fused"] = False
    try:
        optimizer.step()
    finally:
        for group in mixed:
            group["fused"] = True


def is_mixed(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> bool:
    """Whether of a group of SGD with momentum some parameters have their first gradient now."""
    if not isinstance(optimizer, torch.optim.SGD) or not group["momentum"]:
        return False
    state = optimizer.state
    moved = [p for p in group["params"] if p.grad is not None]
    first = sum(state[p].get("momentum_buffer") is None for p in moved)
    return 0 < first < len(moved)


def set_rate(optimizer: torch.optim.Optimizer, job: Job, factor: float) -> None:
    """Set the learning rate of every group to its member's rate times the schedule's factor."""
    for group in optimizer.param_groups:
        group["lr"] = group.get("base_lr", job.lr) * factor
