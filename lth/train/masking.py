"""A member's mask on its way: schedules that change it, and how many weights it keeps when."""

from __future__ import annotations

from typing import Any

import torch
from torch.func import functional_call

from lth.networks import masks
from lth.networks.ticket import State, draw_model, layers_of
from lth.pruning.dynamic import Dynamics, MaskUpdate
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import as_floats
from lth.spec.build import build
from lth.streams import stream
from lth.train.engine import Engine
from lth.train.job import Job
from lth.types import Batch, Mask, Params


class Masking:
    """The mask of one member; for most it never changes, and all of this is idle."""

    def __init__(self, job: Job) -> None:
        ticket, steps = job.ticket, job.recipe.steps
        self.job = job
        self.dynamics: Dynamics | None = build(ticket.dynamics) if ticket.dynamics else None
        self.changes = self.dynamics is not None or ticket.gate is not None
        self.updates = self.dynamics.updates(steps) if self.dynamics else ()
        self.settled = self.dynamics.settled(steps) if self.dynamics else 0
        self.kept: list[tuple[int, dict[str, int]]] = []  # by the step from which on
        if self.dynamics is not None:
            self.kept.append((ticket.step, masks.kept(ticket.mask)))
        self.weights: dict[str, int] = {}  # kept in all, by the step of an evaluation
        self.best: Mask = ticket.mask

    def change(self, engine: Engine, member: int, step: int) -> bool:
        """Change the mask if it is due before update ``step``; False if the member has diverged."""
        if self.dynamics is None or step not in self.updates:
            return True
        state, mask = engine.inference_state(member)
        weights = {n: state.params[n] for n in mask}
        gradient = None
        if self._by_gradient(step):
            gradient = dense_gradient(self.job, state, mask, engine.batch(member, step))
        if not all(_finite(tensors) for tensors in (weights, gradient or {})):
            return False
        generator = stream("dynamics", self.dynamics.seed, step)
        steps = self.job.recipe.steps
        new = self.dynamics(MaskUpdate(step, steps, weights, mask, generator, gradient))
        engine.set_mask(member, new)
        self.kept.append((step, masks.kept(new)))
        return True

    def note(self, engine: Engine, member: int, step: int) -> None:
        """Note at an evaluation how many weights the member keeps."""
        if self.changes:
            mask = engine.inference_state(member)[1]
            self.weights[str(step)] = masks.weights(mask, layers_of(self.job.ticket.model))

    def keep_best(self, engine: Engine, member: int) -> None:
        """Remember the mask of the best state so far."""
        if self.dynamics is not None:
            self.best = engine.inference_state(member)[1]

    def put_best(self, engine: Engine, member: int) -> None:
        """Go back to the mask of the best state."""
        if self.dynamics is not None:
            engine.set_mask(member, self.best)

    def about(self) -> dict[str, Any]:
        """Return what an entry says of a mask that changed: nothing if it did not."""
        if not self.changes:
            return {}
        found: dict[str, Any] = {"weights": self.weights}
        if self.dynamics is not None:
            found |= {"kept": self.kept, "gradients": self.gradients}
        return found

    @property
    def gradients(self) -> int:
        """Gradients by every weight that were taken so far."""
        return sum(self._by_gradient(step) for step, _ in self.kept[1:])

    def _by_gradient(self, step: int) -> bool:
        """Whether the change before ``step`` took a gradient: those that grow come first."""
        if self.dynamics is None or not self.dynamics.needs_gradient:
            return False
        asks = getattr(self.dynamics, "by_gradient", None)
        return asks is None or asks(step, self.job.recipe.steps)

    def save(self, engine: Engine, member: int) -> tuple[Params, dict[str, Any]]:
        """Return what ``restore`` needs: tensors and plain data."""
        if self.dynamics is None:
            return {}, self.about()
        parts = {"mask": engine.inference_state(member)[1], "best_mask": self.best}
        tensors = {f"{k}/{n}": m.clone() for k, mask in parts.items() for n, m in mask.items()}
        return tensors, self.about()  # clones: the two may be one, and safetensors wants each whole

    def restore(self, engine: Engine, member: int, tensors: Params, about: dict[str, Any]) -> None:
        """Go on from what ``save`` gave."""
        self.weights = about.get("weights", {})
        if self.dynamics is not None:
            self.kept = [(step, kept) for step, kept in about["kept"]]
            names = self.job.ticket.mask
            engine.set_mask(member, {n: tensors[f"mask/{n}"] for n in names})
            self.best = {n: tensors[f"best_mask/{n}"] for n in names}


def dense_gradient(job: Job, state: State, mask: Mask, batch: Batch) -> Params:
    """Return the gradient of the batch's loss by every prunable weight as seen, pruned ones too.

    Nothing of the member changes: norms write to copies, random numbers come from the step's own.
    """
    model, loss = draw_model(job.ticket.model, 0).train(), as_loss(build(job.recipe.loss))
    device = batch.inputs.device
    views, own = job.ticket.built_views().others, state.params | state.buffers
    names = [n for n, _ in model.named_parameters()], [n for n, _ in model.named_buffers()]
    params = {n: state.params[n] for n in names[0]}
    seen = views.baked(params, mask, own) if views else params
    leaves = {n: p.to(device, copy=True).requires_grad_(n in mask) for n, p in seen.items()}
    buffers = {n: state.buffers[n].to(device, copy=True) for n in names[1]}
    with torch.random.fork_rng():
        torch.manual_seed(job.streams.of("model", int(batch.step or 0)))
        outputs = functional_call(model, (leaves, buffers), (batch.inputs,))
    by = [leaves[n] for n in mask]
    found = torch.autograd.grad(loss(as_floats(outputs), batch), by, materialize_grads=True)
    return {n: g.detach().cpu() for n, g in zip(mask, found, strict=True)}  # 0 where not used


def _finite(tensors: Params) -> bool:
    return all(bool(t.isfinite().all()) for t in tensors.values())
