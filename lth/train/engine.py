"""The small interface behind which a device's way of training a cohort hides, and the CPU's way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from lth.data.dataset import Dataset
from lth.errors import LthError
from lth.networks import masks
from lth.networks.ticket import (
    State,
    draw_model,
    load_state,
    seed_all,
)
from lth.recipe.recipe import optimizer_arguments
from lth.spec.build import build, locate, target_of
from lth.train.batches import Batches
from lth.train.habits import habits_of
from lth.train.job import Job
from lth.train.network import Network
from lth.types import Loss, Mask, Params

EVALUATION_BATCH = 500
"""Rows per forward pass of an evaluation; part of the numerics."""

Backward = Callable[[Tensor], None]


class Engine(Protocol):
    """Trains R members of one model in lockstep."""

    def advance(self, start: int, stop: int, backward: Backward) -> Tensor:
        """Make updates ``start..stop``; return the batch losses, float64 ``[R, stop - start]``."""
        ...

    def evaluate(self, split: str) -> list[tuple[float, float]]:
        """Return each member's (mean loss, accuracy) on a whole split."""
        ...

    def state(self, member: int) -> State:
        """Copy a member's params (masked) and buffers."""
        ...

    def put(self, member: int, state: State) -> None:
        """Overwrite a member's params and buffers."""
        ...

    def found(self, member: int) -> tuple[State, Mask]:
        """Return the network that a member is outside training, and its mask.

        The same as ``state`` but for a gated member, whose state is scores.
        """
        ...

    def set_mask(self, member: int, mask: Mask) -> None:
        """Change a member's mask; weights and moments are 0 wherever it was or is not kept."""
        ...

    def batch(self, member: int, step: int) -> tuple[Tensor, Tensor]:
        """Return a member's batch of update ``step``: prepared inputs, targets."""
        ...

    def optimizer_state(self, member: int) -> Params:
        """Copy a member's optimizer state, as tensors named ``<param>/<slot>``."""
        ...

    def put_optimizer_state(self, member: int, state: Params) -> None:
        """Restore what ``optimizer_state`` gave."""
        ...


class SequentialEngine:
    """The CPU's way: one member (R = 1) with its own leaf tensors and optimizer."""

    def __init__(self, job: Job, dataset: Dataset) -> None:
        self.job = job
        self.batches = Batches(dataset, job.streams, job.recipe.batch)
        self.loss = build(job.recipe.loss)
        self.measure = build(job.measure or job.recipe.loss)
        self.schedule = build(job.recipe.schedule)
        model = draw_model(job.ticket.model, 0).to(dataset.train_inputs.device)
        load_state(model, job.ticket.start)
        frozen = {n: f.to(dataset.train_inputs.device) for n, f in job.ticket.frozen.items()}
        self.mask = job.ticket.mask
        self.network = Network(
            model, self.mask, compiler=job.compile, frozen=frozen,
            gate=build(job.ticket.gate) if job.ticket.gate else None,
            changes=job.ticket.dynamics is not None,
        )  # fmt: skip
        self.optimizer = make_optimizer(job, list(self.network.leaves.values()))
        habits = habits_of(job.ticket.model, dataset)
        self._draws = habits.draws or job.ticket.gate is not None
        if job.compile is not None and habits.replaces:
            raise LthError(
                f"trainer.compile={job.compile}: the model puts other tensors in the place of its "
                f"buffers ({habits.replaces[0]}), which a compiled one loses: leave compile out"
            )

    def advance(self, start: int, stop: int, backward: Backward) -> Tensor:
        """Make updates ``start..stop``, one after the other."""
        network, losses = self.network, []
        network.model.train()
        for step, rows in zip(range(start, stop), self.batches.indices(start, stop), strict=True):
            inputs, targets = self.batches.take(rows, step)
            set_rate(self.optimizer, self.job, self.schedule(step, self.job.recipe.steps))
            loss = self.loss(self._forward(inputs, step).float(), targets)
            backward(loss)
            network.mask_gradients()
            update(self.optimizer)
            self.optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
        return torch.stack(losses).double().unsqueeze(0)

    def evaluate(self, split: str) -> list[tuple[float, float]]:
        """Measure the one member; under a gate that samples, the mean of its draws."""
        self.network.model.eval()
        data, rows = self.batches.dataset, self.batches.rows(split)
        samples = getattr(self.network.gate, "samples", 0)
        if not samples:
            return [measure(self.network, self.measure, data, rows)]
        seeds = [self.job.streams.of("samples", n) for n in range(samples)]
        found = [measure(self.network.drawn(s), self.measure, data, rows) for s in seeds]
        losses, accuracies = zip(*found, strict=True)
        return [(math.fsum(losses) / samples, math.fsum(accuracies) / samples)]

    def state(self, member: int) -> State:
        """Copy the params, masked, and the buffers."""
        params = {n: p.detach().cpu().clone() for n, p in self.network.leaves.items()}
        buffers = {n: b.detach().cpu().clone() for n, b in self.network.buffers.items()}
        return State(masks.apply(params, self.mask, self.job.ticket.frozen), buffers)

    def found(self, member: int) -> tuple[State, Mask]:
        """Return the state; a gated member's as its gate leaves it outside training."""
        state, gate = self.state(member), self.network.gate
        if gate is None:
            return state, self.mask
        mask = {n: m & gate.mask(n, state.params[n]) for n, m in self.mask.items()}
        seen = {n: p.cpu() for n, p in self.network.gated().items()}
        return State(masks.apply(state.params | seen, mask), state.buffers), mask

    def set_mask(self, member: int, mask: Mask) -> None:
        """Change the mask, and zero weights and moments where it changed."""
        for name, new in mask.items():
            leaf = self.network.leaves[name]
            forget(~(self.mask[name] & new), leaf, self.optimizer.state[leaf])
        self.mask = mask
        self.network.set_mask(mask)

    def batch(self, member: int, step: int) -> tuple[Tensor, Tensor]:
        """Return the batch of one update."""
        return self.batches.take(self.batches.indices(step, step + 1)[0], step)

    def put(self, member: int, state: State) -> None:
        """Overwrite the params and buffers in place."""
        leaves, buffers = self.network.leaves, self.network.buffers
        with torch.no_grad():
            for name, value in state.params.items():
                leaves[name].copy_(value)
            for name, value in state.buffers.items():
                buffers[name].copy_(value)

    def optimizer_state(self, member: int) -> Params:
        """Copy the optimizer's tensors."""
        found: Params = {}
        for name, leaf in self.network.leaves.items():
            for slot, value in self.optimizer.state[leaf].items():
                if value is not None:
                    found[f"{name}/{slot}"] = torch.as_tensor(value).detach().clone()
        return found

    def put_optimizer_state(self, member: int, state: Params) -> None:
        """Restore the optimizer's tensors."""
        for key, value in state.items():
            name, _, slot = key.rpartition("/")
            self.optimizer.state[self.network.leaves[name]][slot] = value.clone()

    def _forward(self, inputs: Tensor, step: int) -> Tensor:
        if self._draws:
            seed_all(self.job.streams.of("model", step))
        return self.network(inputs)


def measure(
    network: Callable[[Tensor], Tensor], loss: Loss, dataset: Dataset, rows: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Return (mean loss, accuracy) of a network, as it is, over raw inputs and targets."""
    inputs, targets = rows
    total, right = 0.0, 0
    with torch.no_grad():
        for part, answers in zip(
            inputs.split(EVALUATION_BATCH), targets.split(EVALUATION_BATCH), strict=True
        ):
            logits = network(dataset.prepare(part)).float()
            total += float(loss(logits, answers)) * len(part)
            right += int((logits.argmax(1) == answers).sum())
    return total / len(targets), right / len(targets)


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
    mixed = [g for g in optimizer.param_groups if g.get("fused") and _is_mixed(optimizer, g)]
    for group in mixed:
        group["fused"] = False
    try:
        optimizer.step()
    finally:
        for group in mixed:
            group["fused"] = True


def _is_mixed(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> bool:
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
