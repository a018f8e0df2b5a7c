"""TicketModule: a ticket as a LightningModule, trained by a recipe in an ordinary Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lth.errors import LthError
from lth.lightning.keep_mask import KeepMask
from lth.lightning.prune_during import PruneDuring
from lth.networks.drawn import seed_all
from lth.networks.ticket import Ticket, network_for
from lth.pruning.dynamic import Dynamics, MaskUpdate
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import as_floats
from lth.recipe.recipe import Recipe
from lth.spec.build import build
from lth.spec.names import locate
from lth.spec.plain import spec_of
from lth.train.job import Job, Streams
from lth.train.optimizer import is_mixed, make_optimizer
from lth.types import Batch, Mask, Params


class TicketModule(pl.LightningModule):
    """Train a ticket as the fast trainer does, bit for bit on a CPU, in any ``pl.Trainer``.

    ``recipe`` is a ``Recipe`` or a mapping of its fields. The learning rate of update t is
    ``lr * schedule(t, steps)``, t absolute: a ticket of step k starts at k, and ``steps_left`` says
    how many updates are left of the recipe, ``pl.Trainer(max_steps=module.steps_left)``. The mask
    is kept by a ``KeepMask`` of the module's own; a ticket's ``dynamics`` by a ``PruneDuring``.

    Batches are ``(inputs [B, ...], targets [B])``, such as ``TicketData`` gives. ``train_loss``,
    ``val_loss``, ``val_accuracy``, ``test_loss`` and ``test_accuracy`` are logged. With ``seed``
    (and ``trial``, ``level``) what the network draws in training, dropout, comes from the streams
    of a study's member; without, from torch's global generator. ``network`` is the plain network,
    made by the ticket's factory or, where that is not there, by ``model`` (a factory or a network).
    """

    def __init__(
        self,
        ticket: Ticket,
        recipe: Recipe | Mapping[str, Any],
        *,
        lr: float | None = None,
        seed: int | None = None,
        trial: int = 0,
        level: int = 0,
        model: Any = None,
    ) -> None:
        super().__init__()
        if not isinstance(ticket, Ticket):
            raise LthError(
                f"TicketModule: ticket is a {type(ticket).__name__}: give one of study.ticket(...) "
                "or Ticket.load(path)"
            )
        for name in ("gate", "views", "teacher", "examples"):
            if getattr(ticket, name):
                raise LthError(
                    f"TicketModule: this ticket has {name}: use lth.run, or train .module()"
                )
        whole = recipe_of(recipe)
        recipe = whole.for_ticket(ticket.stretch, ticket.changes, ticket.step)
        lr = ticket.changes.get("lr", lr)
        if lr is None and len(recipe.rates) > 1:
            raise LthError(f"TicketModule: recipe.lr={recipe.lr}: say which, lr=")
        self.ticket, self.recipe, self.seeded = ticket, recipe, seed is not None
        streams = Streams(seed or 0, trial, level, ticket.noise)
        rate = recipe.rates[0] if lr is None else lr
        self.job = Job(ticket=ticket, data={}, recipe=recipe, lr=rate, streams=streams)
        self.network = network_for(ticket.model, ticket.start, model)
        self.loss, self.measures = as_loss(build(recipe.loss)), whole.evaluator()
        self.schedule = build(recipe.schedule)
        self._plain: list[Any] = []  # groups of the optimizer that make this step unfused

    @property
    def steps_left(self) -> int:
        """Updates that the recipe makes from the ticket's step on."""
        return self.job.steps

    @property
    def step(self) -> int:
        """The absolute step of the update to come."""
        return self.ticket.step + self.trainer.global_step

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, ``[B, K]``."""
        return self.network(inputs)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        inputs, targets = batch
        if self.seeded:
            seed_all(self.job.streams.of("model", self.step))
        whole = Batch(inputs, targets, step=self.step)
        loss = self.loss(as_floats(self(inputs)), whole)
        self.log("train_loss", loss, batch_size=len(targets))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log ``val_loss``, ``val_accuracy`` and whatever else the recipe measures."""
        self._log_measures("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log ``test_loss`` and ``test_accuracy``."""
        self._log_measures("test", batch)

    def configure_optimizers(self) -> Any:
        """Return the recipe's optimizer, and its schedule as a factor per step."""
        optimizer = make_optimizer(self.job, list(self.network.parameters()))
        optimizer.register_step_post_hook(self._fuse_again)
        start, steps = self.ticket.step, self.recipe.steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda done: self.schedule(start + done, steps)
        )
        return {
            "optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}
        }  # fmt: skip

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return the callback that keeps the ticket's mask."""
        mask = {f"network.{n}": m for n, m in self.ticket.mask.items()}
        if not mask:
            return []
        if self.ticket.dynamics is not None:
            start, steps = self.ticket.step, self.recipe.steps
            schedule = ByPlainNames(build(self.ticket.dynamics))
            return [PruneDuring(schedule, mask=mask, steps=steps, start=start)]
        return [KeepMask(mask, {f"network.{n}": f for n, f in self.ticket.frozen.items()})]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step by torch's plain SGD where its fused one fails, as the fast trainer does."""
        fused = (g for g in optimizer.param_groups if g.get("fused"))
        self._plain = [g for g in fused if is_mixed(optimizer, g)]
        for group in self._plain:
            group["fused"] = False

    def _fuse_again(self, *_: Any) -> None:
        for group in self._plain:
            group["fused"] = True

    def _log_measures(self, split: str, batch: tuple[Tensor, Tensor]) -> None:
        whole = Batch(*batch)
        sums = self.measures(as_floats(self(whole.inputs)), whole)
        means = self.measures.values({n: (float(top), float(of)) for n, (top, of) in sums.items()})
        for name, value in means.items():
            self.log(f"{split}_{name}", value, batch_size=len(whole.targets), sync_dist=True)


class ByPlainNames:
    """A mask schedule that sees the network's own names, without ``network.``."""

    def __init__(self, schedule: Dynamics) -> None:
        self.schedule, self.seed = schedule, schedule.seed
        self.updates, self.settled = schedule.updates, schedule.settled
        self.needs_gradient = schedule.needs_gradient

    def __call__(self, look: MaskUpdate) -> Mask:
        """Return the next mask, under the module's names."""
        mask, weights = without_prefix(look.mask), without_prefix(look.weights)
        gradient = None if look.gradient is None else without_prefix(look.gradient)
        own = replace(look, mask=mask, weights=weights, gradient=gradient)
        return {f"network.{n}": m for n, m in self.schedule(own).items()}


def without_prefix(tensors: Params) -> Params:
    """Return tensors under the network's own names."""
    return {n.removeprefix("network."): t for n, t in tensors.items()}


def recipe_of(given: Recipe | Mapping[str, Any]) -> Recipe:
    """Return a recipe; in a mapping the optimizer, schedule and loss may be factories or names.

    >>> recipe_of({"steps": 9, "batch": 2, "lr": 0.1, "optimizer": torch.optim.SGD}).steps
    9
    """
    if isinstance(given, Recipe):
        return given
    if not isinstance(given, Mapping):
        raise LthError(f"recipe: a Recipe or a mapping, not a {type(given).__name__}")
    found = dict(given)
    for part in ("optimizer", "schedule", "loss"):
        value = found.get(part)
        if value is not None and not isinstance(value, Mapping):
            found[part] = spec_of(locate(value) if isinstance(value, str) else value)
    try:
        return Recipe(**found)
    except TypeError as error:
        raise LthError(f"recipe: {str(error).removeprefix('Recipe.__init__() ')}") from None
