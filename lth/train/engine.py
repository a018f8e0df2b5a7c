"""The small interface behind which a device's way of training a cohort hides, and the CPU's way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from lth.data.dataset import Dataset
from lth.errors import LthError
from lth.networks import masks
from lth.networks.ticket import (
    State,
    draw_model,
    load_state,
    seed_all,
)
from lth.networks.views.see import Views
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import as_floats
from lth.spec.build import build
from lth.train.batches import batches_of
from lth.train.evaluate import measure, taught, teacher_of
from lth.train.habits import habits_of
from lth.train.job import Job
from lth.train.network import Network, holder
from lth.train.optimizer import forget, make_optimizer, set_rate, update
from lth.types import Batch, Mask, Params

Backward = Callable[[Tensor], None]


class Engine(Protocol):
    """Trains R members of one model in lockstep; ``update`` makes every step of ``optimizer``."""

    optimizer: torch.optim.Optimizer
    update: Callable[[torch.optim.Optimizer], None]

    def advance(self, start: int, stop: int, backward: Backward) -> Tensor:
        """Make updates ``start..stop``; return the batch losses, float64 ``[R, stop - start]``."""
        ...

    def evaluate(self, split: str) -> list[dict[str, float]]:
        """Return each member's measures on a whole split, by name: ``loss``, ``accuracy``, ..."""
        ...

    def state(self, member: int) -> State:
        """Copy a member's params (masked) and buffers."""
        ...

    def put(self, member: int, state: State) -> None:
        """Overwrite a member's params and buffers."""
        ...

    def inference_state(self, member: int) -> tuple[State, Mask]:
        """Return the network that a member is outside training, and its mask.

        The same as ``state`` but for a gated member, which then is what its gate leaves.
        """
        ...

    def set_mask(self, member: int, mask: Mask) -> None:
        """Change a member's mask; weights and moments are 0 wherever it was or is not kept."""
        ...

    def batch(self, member: int, step: int) -> Batch:
        """Return a member's batch of update ``step``."""
        ...

    def optimizer_state(self, member: int) -> Params:
        """Copy a member's optimizer state, as tensors named ``<param>/<slot>``."""
        ...

    def put_optimizer_state(self, member: int, state: Params) -> None:
        """Restore what ``optimizer_state`` gave."""
        ...

    def module(self, member: int) -> nn.Module:
        """Return a module that holds a member's parameters and buffers as they lie in memory."""
        ...

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return every member's outputs ``[R, B, ...]`` for prepared inputs ``[B, ...]``."""
        ...

    def keep_masks(self) -> None:
        """Zero pruned weights and their gradients, which a callback of the user's may change."""
        ...


class SequentialEngine:
    """The CPU's way: one member (R = 1) with its own leaf tensors and optimizer."""

    def __init__(self, job: Job, dataset: Dataset) -> None:
        self.job = job
        self.batches = batches_of(job, dataset)
        self.loss = as_loss(build(job.recipe.loss))
        self.measures = job.recipe.evaluator(job.measure)
        self.teacher = teacher_of(job, dataset.train_inputs.device)
        self.schedule = build(job.recipe.schedule)
        model = draw_model(job.ticket.model, 0).to(dataset.train_inputs.device)
        load_state(model, job.ticket.plain_start)
        self.mask, views = job.ticket.mask, job.ticket.built_views()
        self.network = Network(
            model, self.mask, views, compiler=job.compile, changes=job.ticket.dynamics is not None
        )
        self.optimizer = make_optimizer(job, list(self.network.leaves.values()))
        self.update = update
        habits = habits_of(job.ticket.model, dataset)
        self._draws = habits.draws or views.draws
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
            batch = taught(self.teacher, self.batches.take(rows, step))
            set_rate(self.optimizer, self.job, self.schedule(step, self.job.recipe.steps))
            loss = self.loss(as_floats(self._forward(batch.inputs, step)), batch)
            backward(loss)
            network.mask_gradients()
            self.update(self.optimizer)
            self.optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
        return torch.stack(losses).double().unsqueeze(0)

    def evaluate(self, split: str) -> list[dict[str, float]]:
        """Measure the one member; under a gate that samples, the mean of its draws."""
        self.network.model.eval()
        samples = self.network.views.samples
        seeds = [self.job.streams.of("samples", n) for n in range(samples)]
        networks = [self.network.drawn(s) for s in seeds] or [self.network]
        data, rows = self.batches.dataset, (*self.batches.rows(split), self.batches.index(split))
        each = [measure(n, self.measures, data, rows, self.teacher) for n in networks]
        return [{n: math.fsum(v[n] for v in each) / len(each) for n in each[0]}]

    def state(self, member: int) -> State:
        """Copy the params, masked, and the buffers."""
        params = {n: p.detach().cpu().clone() for n, p in self.network.leaves.items()}
        constants = lasting(self.network.views, self.network.constants)
        buffers = (self.network.buffers | constants).items()
        buffers = {n: b.detach().cpu().clone() for n, b in buffers}
        return State(masks.apply(params, self.mask, self.job.ticket.frozen), buffers)

    def inference_state(self, member: int) -> tuple[State, Mask]:
        """Return the state; a gated member's as its gate leaves it outside training."""
        return inference_state(self.network.views, self.state(member), self.mask)

    def set_mask(self, member: int, mask: Mask) -> None:
        """Change the mask, and zero weights and moments where it changed."""
        for name, new in mask.items():
            leaf = self.network.leaves[name]
            forget(~(self.mask[name] & new), leaf, self.optimizer.state[leaf])
        self.mask = mask
        self.network.set_mask(mask)

    def batch(self, member: int, step: int) -> Batch:
        """Return the batch of one update."""
        rows = self.batches.indices(step, step + 1)[0]
        return taught(self.teacher, self.batches.take(rows, step))

    def put(self, member: int, state: State) -> None:
        """Overwrite the params and buffers in place."""
        leaves, buffers = self.network.leaves, self.network.buffers | self.network.constants
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

    def module(self, member: int) -> nn.Module:
        """Return the model itself; where its weights are seen through views, their leaves."""
        network = self.network
        held = {n: id(p) for n, p in network.model.named_parameters()}
        whole = held == {n: id(p) for n, p in network.leaves.items()}
        return network.model if whole else holder(network.leaves, network.buffers)

    def outputs(self, inputs: Tensor) -> Any:
        """Return the one member's outputs."""
        return tree_map(lambda t: t.unsqueeze(0), self.network(inputs))

    def keep_masks(self) -> None:
        """Zero pruned weights and gradients."""
        with torch.no_grad():
            for name, mask in self.network.masks.items():
                self.network.leaves[name].mul_(mask)
        self.network.mask_gradients()

    def _forward(self, inputs: Tensor, step: int) -> Any:
        if self._draws:
            seed_all(self.job.streams.of("model", step))
        return self.network(inputs)


def inference_state(views: Views, state: State, mask: Mask) -> tuple[State, Mask]:
    """Return a state with its gates' masks and factors in its weights, and the mask that is left.

    The scores of the gates are gone from it; what other views own stays.
    """
    if not views.gates:
        return state, mask
    own = state.params | state.buffers
    found = views.final_mask(mask, own)
    seen = views.gates.baked({n: state.params[n] for n in mask}, mask, own)
    gone = own.keys() & (views.own.keys() - views.lasting)
    params = {n: p for n, p in (state.params | seen).items() if n not in gone}
    return State(masks.apply(params, found), state.buffers), found


def lasting(views: Views, tensors: Params) -> Params:
    """Return what of the views' tensors a state holds."""
    return {n: t for n, t in tensors.items() if n in views.lasting}
