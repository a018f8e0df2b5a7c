"""TicketData: the batches of a study's member as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytorch_lightning as pl
from torch import Tensor

from lth.data.dataset import Dataset
from lth.errors import LthError
from lth.spec.argument_types import is_whole
from lth.train.batches import Batches
from lth.train.evaluate import EVALUATION_BATCH
from lth.train.job import Streams

Batch = tuple[Tensor, Tensor]


class Loader:
    """Batches by number, with a length; every ``iter`` asks anew where to start."""

    def __init__(self, length: int, batches: Callable[[], Iterator[Batch]]) -> None:
        self.length, self.batches = length, batches

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def __len__(self) -> int:
        return self.length


class TicketData(pl.LightningDataModule):
    """The batches that a member of a study trains on, in the order of its steps.

    ``dataset`` is one of ``lth.data``; ``seed``, ``trial``, ``level`` and ``noise`` name the
    streams of the split, the order and the augmentation, as in a study; batch t is that of update
    ``step + t``, also after ``fit(ckpt_path=)``. An epoch is as many full batches as the training
    examples make (at least one); its last examples open the next epoch. Inputs come augmented and
    normalised, ``[B, ...]``. Under DDP each rank takes its share of every batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int,
        *,
        seed: int = 0,
        trial: int = 0,
        level: int = 0,
        noise: int = 0,
        step: int = 0,
    ) -> None:
        super().__init__()
        if not is_whole(batch, 1):
            raise LthError(f"TicketData: batch={batch!r}: a whole number from 1")
        self.dataset, self.step = dataset, step
        self.batches = Batches(dataset, Streams(seed, trial, level, noise), batch)

    def train_dataloader(self) -> Loader:
        """Return an epoch's batches, from the step that the trainer is at."""
        length = max(1, len(self.batches.train) // self.batches.batch)
        return Loader(length, lambda: self._train(length))

    def val_dataloader(self) -> Loader:
        """Return the trial's validation examples."""
        return self._whole("validation")

    def test_dataloader(self) -> Loader:
        """Return the test examples."""
        return self._whole("test")

    def _train(self, length: int) -> Iterator[Batch]:
        begun = 0
        if self.trainer is not None:
            begun = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed
        left = length - begun % length  # of an epoch that a checkpoint was saved in
        first = self.step + begun
        for step in range(first, first + left):
            rows = self.batches.indices(step, step + 1)[0]
            batch = self.batches.take(rows, step)
            yield self._share(batch.inputs), self._share(batch.targets)

    def _whole(self, name: str) -> Loader:
        inputs, targets = self.batches.rows(name)
        length = -(-len(targets) // EVALUATION_BATCH)

        def parts() -> Iterator[Batch]:
            pairs = zip(
                inputs.split(EVALUATION_BATCH), targets.split(EVALUATION_BATCH), strict=True
            )
            for part, answers in pairs:
                yield self.dataset.prepare(part), answers

        return Loader(length, parts)

    def _share(self, tensor: Tensor) -> Tensor:
        trainer = self.trainer
        if trainer is None or trainer.world_size == 1:
            return tensor
        return tensor[trainer.global_rank :: trainer.world_size]
