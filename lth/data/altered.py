"""Data sets made of another: with random labels, or with fewer training images."""

from __future__ import annotations

from dataclasses import replace

import torch

from lth.data.dataset import Dataset
from lth.data.own import dataset_of
from lth.errors import LthError
from lth.streams import stream


def random_labels(
    of: Dataset, share: float = 1.0, seed: int = 0, root: str | None = None
) -> Dataset:
    """Give a share of the training file's images a label drawn uniformly; the test set stays.

    So does a validation split of the data's own (Zhang et al. 2017, arXiv 1611.03530). The labels
    depend on ``seed`` alone: all trials have the same. ``root`` is for the data set inside.
    """
    if isinstance(share, bool) or not 0 <= share <= 1:
        raise LthError(f"data.share={share}: a share of the labels, in [0, 1]")
    of = dataset_of(of, "data.of")
    generator = stream("labels", seed)
    targets = of.train_targets
    drawn = torch.randint(of.classes, targets.shape, generator=generator)
    chosen = torch.rand(targets.shape, generator=generator) < share
    chosen[_drawn_from(of) :] = False
    changed = torch.where(chosen, drawn, targets)
    note = f"{of.note} random labels: {share:g}".strip()
    return replace(of, name=f"{of.name}-random", train_targets=changed, note=note)


def subset(of: Dataset, images: int, seed: int = 0, root: str | None = None) -> Dataset:
    """Keep so many images of the training file, drawn by ``seed``; the test set stays.

    So does a validation split of the data's own, and so do the normalisation constants. ``root`` is
    for the data set inside.
    """
    of = dataset_of(of, "data.of")
    total, least = _drawn_from(of), 1 if of.own_validation else of.validation + 1
    if isinstance(images, bool) or not least <= images <= total:
        raise LthError(f"data.images={images}: it must lie in {least}..{total}")
    rows = torch.randperm(total, generator=stream("subset", seed))[:images].sort().values
    rows = torch.cat([rows, torch.arange(total, len(of.train_targets))])
    return replace(
        of, name=f"{of.name}-{images}", train_inputs=of.train_inputs[rows],
        train_targets=of.train_targets[rows],
    )  # fmt: skip


def _drawn_from(of: Dataset) -> int:
    """Return how many rows may be drawn from; a validation split of the data's own lies behind."""
    return of.training if of.own_validation else len(of.train_targets)
