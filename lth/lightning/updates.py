"""What step a training loop is at, whoever steps how many optimizers, and what they train."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch

from lth.errors import LthError


class Updates:
    """Counts updates: training batches on which at least one optimizer made a step.

    Under automatic optimization that is ``trainer.global_step``, gradient accumulation included.
    Under manual optimization Lightning counts the steps of every optimizer, two a batch for a GAN;
    here a batch counts once, however many steps it makes, and not at all if it makes none.
    """

    def __init__(self) -> None:
        self.done = 0
        self._before, self._heard = 0, False
        self._handles: list[Any] = []

    def start(self, trainer: pl.Trainer, saved: int | None) -> None:
        """Take the count up where a checkpoint left it, ``saved`` by the one who counts.

        A manual loop whose checkpoint knows no count is taken to have stepped on every batch.
        """
        if trainer.lightning_module.automatic_optimization:
            self.done = trainer.global_step
        elif saved is not None:
            self.done = saved
        else:
            self.done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        for optimizer in trainer.optimizers:  # Lightning does not count steps of its raw optimizers
            if isinstance(optimizer, torch.optim.Optimizer):
                self._handles.append(optimizer.register_step_post_hook(self._hear))

    def before_batch(self, trainer: pl.Trainer) -> None:
        """A batch begins."""
        self._before, self._heard = trainer.global_step, False

    def after_batch(self, trainer: pl.Trainer) -> bool:
        """A batch has ended: whether it made an update."""
        stepped = self._heard or trainer.global_step > self._before
        self.done += stepped
        return stepped

    def stop(self) -> None:
        """Listen no more."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hear(self, *_: Any) -> None:
        self._heard = True


def per_epoch(trainer: pl.Trainer) -> int | None:
    """Updates of an epoch; None where the loader has no length."""
    batches = trainer.num_training_batches
    return None if batches == math.inf else math.ceil(batches / trainer.accumulate_grad_batches)


def in_all(trainer: pl.Trainer, asked: int | None, who: str, start: int = 0) -> int:
    """Updates of the whole run from step ``start``: as ``asked``, or as the trainer estimates."""
    if asked is not None:
        return asked
    estimate = trainer.estimated_stepping_batches
    if estimate == math.inf or estimate < 1:
        raise LthError(f"{who}: the run has no known end: say steps=, the updates it makes in all")
    return start + int(estimate)


def trained_by(trainer: pl.Trainer, module: pl.LightningModule) -> list[str] | None:
    """Name the parameters that the optimizers hold; None if none is seen to hold any."""
    groups = (g for o in trainer.optimizers for g in getattr(o, "param_groups", ()))
    held = {id(p) for g in groups for p in g["params"]}
    return [n for n, p in module.named_parameters() if id(p) in held] or None
