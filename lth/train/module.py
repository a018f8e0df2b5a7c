"""A cohort as a LightningModule: a *block* of updates is one batch, so its cost is paid per block.

Its parameters and buffers are the members' (``member0.fc1.weight``), its optimizer is the one that
steps, its validation is Lightning's. Hooks of batches fire once a block; those of an update fire
for every update where the user has given callbacks, plugins or a profiler.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from lth.train.cohort import Cohort
from lth.train.engine import update

NEVER = 2**62
"""Batches between validations, of which there are none."""


class Block(NamedTuple):
    """One batch of the fit: the updates ``start..stop`` of every member."""

    start: int
    stop: int


class CohortModule(pl.LightningModule):
    """R members in training, ``member0`` to ``member<R - 1>``; one optimizer updates them all.

    ``hooked``: the user has given something that may listen, so values are logged. ``stepped``: and
    something that may listen to single updates, so Lightning makes them.
    """

    def __init__(
        self,
        cohort: Cohort,
        after_block: Callable[[Cohort, bool], None],
        hooked: bool = False,
        stepped: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # a block makes many updates
        self.cohort, self._after_block = cohort, after_block
        self.hooked, self.stepped = hooked, stepped
        self.acted_on = bool(cohort.courses[0].job.lightning)
        self.sigterm = signal.getsignal(signal.SIGTERM)
        for number in range(len(cohort.courses)):
            self.add_module(f"member{number}", cohort.engine.module(number))
        if hooked:
            self.save_hyperparameters(_hyperparameters(cohort))

    def forward(self, inputs: Tensor, member: int | None = None) -> Tensor:
        """Return every member's outputs ``[R, B, ...]`` for prepared inputs ``[B, ...]``.

        Or those of one member, ``[B, ...]``.
        """
        outputs = self.cohort.engine.outputs(inputs)
        return outputs if member is None else outputs[member]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizer that steps; the recipe's schedule sets its rates."""
        return [self.cohort.engine.optimizer]

    def on_fit_start(self) -> None:
        """Give SIGTERM back to who heard it before: Lightning's answer keeps nothing."""
        if threading.current_thread() is threading.main_thread() and self.sigterm is not None:
            signal.signal(signal.SIGTERM, self.sigterm)
        if self.stepped:
            self.cohort.engine.update = self._update
        self._count()

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Leave the block as it is: its data lies on the device already."""
        return batch

    def on_train_start(self) -> None:
        """Begin from weights that are masked, whatever a callback did."""
        self._keep_masks()
        if self.cohort.fresh and not self.hooked:
            self._measure()

    def training_step(self, batch: Block, batch_idx: int) -> dict[str, Tensor]:
        """Make a block's updates; return the mean of their batch losses."""
        losses = self.cohort.train_block(*batch, self.manual_backward)
        self._count()
        self.trainer.val_check_batch = 1 if self.cohort.due else NEVER
        self._log("train", [{"batch_loss": mean} for mean in losses.mean(1).tolist()])
        return {"loss": losses.mean()}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep pruned weights' gradients 0, whatever a callback did with them."""
        self._keep_masks()

    def on_train_batch_end(self, outputs: Any, batch: Block, batch_idx: int) -> None:
        """End a block that no validation follows."""
        self._keep_masks()
        if self.cohort.due and not self.hooked:
            self._measure()
        if not (self.hooked and (self.cohort.due or self.trainer.should_stop)):
            self._end_block()

    def on_validation_start(self) -> None:
        """Measure weights that are masked, whatever a callback did."""
        self._keep_masks()

    def validation_step(self, batch: str, batch_idx: int) -> None:
        """Measure every member on a split."""
        self._log(batch, self.cohort.evaluate(batch))

    def on_validation_end(self) -> None:
        """End the block that this validation follows."""
        if not self.trainer.sanity_checking:
            self._end_block()

    def on_train_end(self) -> None:
        """Measure what the members have become, and hand it on."""
        self._keep_masks()
        with self.trainer.precision_plugin.val_step_context():
            self._after_block(self.cohort, True)

    def measure_alone(self, precision: Any) -> None:
        """Measure members that have nothing to train, in the trainer's precision; hand them on."""
        with precision.val_step_context():
            for split in self.cohort.splits:
                self.cohort.evaluate(split)
            self._after_block(self.cohort, True)

    def _measure(self) -> None:
        """Measure without Lightning's validation, which nobody would hear."""
        with self.trainer.precision_plugin.val_step_context():
            for split in self.cohort.splits:
                self.cohort.evaluate(split)

    def _end_block(self) -> None:
        if not self.cohort.over:
            self._after_block(self.cohort, False)

    def _keep_masks(self) -> None:
        if self.acted_on:
            self.cohort.engine.keep_masks()

    def _update(self, optimizer: torch.optim.Optimizer) -> None:
        wrapped: Any = self.optimizers()
        update(wrapped)

    def _count(self) -> None:
        """Let ``global_step`` and the loggers' axis be the cohort's step."""
        loop = self.trainer.fit_loop.epoch_loop
        progress = loop.manual_optimization.optim_step_progress.total
        progress.ready = progress.completed = self.cohort.step
        loop._batches_that_stepped = max(0, self.cohort.step - 1)  # it counts from 0

    def _log(self, split: str, values: list[dict[str, float]]) -> None:
        """Log each member's values, and their means over the members."""
        if not self.hooked:
            return
        named = {
            f"member{number}/{split}/{name}": value
            for number, each in enumerate(values)
            for name, value in each.items()
        }
        for name in values[0]:
            named[f"{split}/{name}"] = sum(each[name] for each in values) / len(values)
        if self.trainer.sanity_checking:  # whose values Lightning drops
            for logger in self.trainer.loggers:
                logger.log_metrics(named, self.cohort.step)
            return
        self.log_dict(named, batch_size=1)


class Blocks:
    """The batches of a fit: the blocks that are still to run, until all members have ended.

    It states a length: Lightning fetches one batch ahead of a stream that has none.
    """

    def __init__(self, cohort: Cohort) -> None:
        self._cohort, self._blocks = cohort, cohort.blocks()

    def __iter__(self) -> Iterator[Block]:
        for number, block in enumerate(self._blocks):
            if number and self._cohort.over:
                return
            yield Block(*block)

    def __len__(self) -> int:
        return len(self._blocks)


class Splits:
    """The batches of a validation: the names of the splits that are measured, each whole."""

    def __init__(self, splits: tuple[str, ...]) -> None:
        self._splits = splits

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __len__(self) -> int:
        return len(self._splits)


def _hyperparameters(cohort: Cohort) -> dict[str, Any]:
    """Return what a logger may note of each member."""
    return {
        f"member{n}": {**course.job.about.get("place", {}), "lr": course.job.lr,
                       "key": course.job.key}
        for n, course in enumerate(cohort.courses)
    }  # fmt: skip
