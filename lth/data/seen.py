"""Which training examples a member sees, and of which of them it is told the class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lth.errors import LthError
from lth.spec.argument_types import is_whole

UNLABELLED = -100
"""The target of an example whose class is not told: losses of classes leave it out."""


class Seen(NamedTuple):
    """Rows of the training file, int64: all that may be trained on, and those with a label."""

    rows: Tensor
    labelled: Tensor


def examples_of(
    labels: int | None = None, without: int | Sequence[int] | None = None, where: str = "examples"
) -> dict[str, Any]:
    """Return the plain data that `seen` takes: so many labels, no example of some classes."""
    found: dict[str, Any] = {}
    if labels is not None:
        if not is_whole(labels, 1):
            raise LthError(f"{where}.labels={labels!r}: a whole number from 1, or null for all")
        found["labels"] = int(labels)
    if without is not None:
        classes: Any = [without] if is_whole(without, 0) else without
        listed = isinstance(classes, list | tuple)
        if not listed or not classes or not all(is_whole(k, 0) for k in classes):
            raise LthError(f"{where}.without={without!r}: a class, or a list of them, or null")
        found["without"] = sorted({int(k) for k in classes})
    return found


def seen(
    targets: Tensor, train: Tensor, examples: Mapping[str, Any], generator: torch.Generator
) -> Seen:
    """Return what is seen of a trial's training rows ``train``; ``targets`` are those of the file.

    ``without`` leaves out all examples of some classes. Of the rest ``labels`` have their class
    told, as many of every class as there can be, drawn by the generator: of two numbers of labels
    the smaller set lies in the larger.
    """
    rows, of = train, targets.cpu()
    for k in examples.get("without", ()):
        rows = rows[of[rows] != k]
    labels = examples.get("labels")
    if labels is None or labels == len(rows):
        return Seen(rows, rows)
    order = rows[torch.randperm(len(rows), generator=generator)]
    turn, counts = torch.zeros(len(order), dtype=torch.int64), dict[int, int]()
    for place, k in enumerate(of[order].tolist()):  # the n-th of its class comes in turn n
        turn[place] = counts[k] = counts.get(k, 0) + 1
    first = order[turn.argsort(stable=True)][:labels]
    return Seen(rows, first.sort().values)


def check_seen(
    examples: Mapping[str, Any], targets: Tensor, training: int, classes: int, where: str
) -> None:
    """Refuse before work what this data's training split of so many examples cannot give."""
    without = examples.get("without", [])
    if not classes or targets.ndim > 1:
        if examples:
            raise LthError(f"{where}: it chooses examples by their class, and these have not one")
        return
    if without and max(without) >= classes:
        raise LthError(f"{where}.without={without}: the classes are 0..{classes - 1}")
    held = len(targets) - training  # any of them may be held out
    left = int((~torch.isin(targets.cpu(), torch.tensor(without))).sum()) - held
    if without and left < 1:
        raise LthError(f"{where}.without={without}: it leaves nothing to train on")
    if examples.get("labels", 0) > (left if without else training):
        raise LthError(
            f"{where}.labels={examples['labels']}: the training split has "
            f"{left if without else training} examples to label"
        )
