"""Batches as functions of the step: order, augmentation and splits need no generator state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lth.data.dataset import Dataset, split
from lth.data.seen import UNLABELLED, seen
from lth.streams import stream
from lth.train.job import Job, Streams
from lth.types import Batch


class Batches:
    """The batches of one member: a fresh permutation per epoch, laid end to end and cut evenly.

    Batch ``s`` holds places ``s * B .. (s + 1) * B`` of that sequence, so every example is seen
    once per epoch and every batch is full, wherever an epoch ends. ``examples`` (lth/data/seen.py)
    lie over the data set's own: a member that is ``taught`` sees them all, with the target -100
    where there is no label, another one the labelled ones alone.
    """

    def __init__(
        self,
        dataset: Dataset,
        streams: Streams,
        batch: int,
        examples: Mapping[str, Any] | None = None,
        taught: bool = False,
    ) -> None:
        self.dataset, self.streams, self.batch = dataset, streams, batch
        self.train, self.validation = split(dataset, stream("split", streams.seed, streams.trial))
        self.labelled = self.train
        self._epochs: dict[int, Tensor] = {}
        self._targets = dataset.train_targets
        if chosen := {**dataset.examples, **(examples or {})}:
            self._choose(chosen, taught)

    def _choose(self, examples: Mapping[str, Any], taught: bool) -> None:
        streams, of = self.streams, self.dataset.train_targets
        generator = stream("labels", streams.seed, streams.trial)
        rows, self.labelled = seen(of, self.train, examples, generator)
        self.train = rows if taught else self.labelled
        if len(self.labelled) < len(self.train):
            told = torch.full_like(of, UNLABELLED)
            told[self.labelled] = of[self.labelled]
            self._targets = told

    def indices(self, start: int, stop: int) -> Tensor:
        """Rows of the training file for updates ``start..stop``: int64 ``[stop - start, B]``."""
        size = len(self.train)
        first, last = start * self.batch, stop * self.batch
        needed = range(first // size, (last - 1) // size + 1)
        orders = torch.cat([self._epoch(epoch) for epoch in needed])
        offset = needed.start * size
        return orders[first - offset : last - offset].reshape(stop - start, self.batch)

    def take(self, rows: Tensor, step: int) -> Batch:
        """Return the batch of update ``step``, augmented and prepared."""
        data = self.dataset
        inputs = data.prepare(self.augment(data.train_inputs[rows], step))
        return Batch(inputs, self.targets(rows), rows, step)

    def targets(self, rows: Tensor) -> Tensor:
        """Return the targets of training rows as they are told: -100 where they are not."""
        return self._targets[rows]

    def augment(self, inputs: Tensor, step: int) -> Tensor:
        """Augment the raw batch of update ``step``."""
        change = self.dataset.augment
        if change is None:
            return inputs
        generator = torch.Generator().manual_seed(self.streams.of("augment", step))
        return change(inputs, change.draw(len(inputs), generator).to(inputs.device))

    def rows(self, name: str) -> tuple[Tensor, Tensor]:
        """Raw inputs and targets of a split; of training the examples with a label."""
        data = self.dataset
        if name == "test":
            return data.test_inputs, data.test_targets
        index = self.index(name)
        return data.train_inputs[index], data.train_targets[index]

    def index(self, name: str) -> Tensor:
        """Rows of a split in its file: int64 ``[N]``."""
        device = self.dataset.train_inputs.device
        if name == "test":
            return torch.arange(len(self.dataset.test_targets), device=device)
        return (self.labelled if name == "train" else self.validation).to(device)

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            generator = torch.Generator().manual_seed(self.streams.of("order", epoch))
            order = self.train[torch.randperm(len(self.train), generator=generator)]
            self._epochs = {e: o for e, o in self._epochs.items() if e >= epoch - 1} | {
                epoch: order
            }
        return self._epochs[epoch]


def batches_of(job: Job, dataset: Dataset) -> Batches:
    """Return the batches of a job's member."""
    ticket = job.ticket
    taught = ticket.teacher is not None
    return Batches(dataset, job.streams, job.recipe.batch, ticket.examples, taught)


def sees(job: Job) -> str:
    """Name what a member sees, apart from its streams: alike names, alike batches."""
    ticket = job.ticket
    chosen = sorted(ticket.examples.items())
    return repr((chosen, ticket.teacher is not None))


def blocks(start: int, stop: int, marks: set[int], longest: int = 500) -> list[tuple[int, int]]:
    """Cut ``start..stop`` at every mark, and into pieces no longer than ``longest``.

    >>> blocks(0, 10, {4}, 5)
    [(0, 4), (4, 9), (9, 10)]
    """
    found, here = [], start
    while here < stop:
        there = min([stop, here + longest, *(m for m in marks if here < m)])
        found.append((here, there))
        here = there
    return found
